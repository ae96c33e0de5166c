// RUN: quant-opt %s --allow-unregistered-dialect --qlinear-raise --split-input-file \
// RUN:   --remarks-filter='qlinear.*' -o %t.mlir 2>&1 | FileCheck %s
// RUN: FileCheck %s --check-prefix=STAYS < %t.mlir

// Operations of torch, ONNX and IREE that stay as they are, and a remark says why.
// STAYS-NOT: qlinear.

// K = 50, in blocks of 32.
// CHECK: [Missed] Raise {{.*}} Reason="padded last block: K = 50 is not a multiple of block_size = 32; pad x and B, or use a block_size that divides", Remark="onnx.MatMulNBits of a quantized weight stays"
func.func @padded(%x: tensor<2x50xf32>, %b: tensor<8x2x16xui8>, %s: tensor<16xf32>) -> tensor<2x8xf32> {
  %y = "onnx.MatMulNBits"(%x, %b, %s) {K = 50 : si64, N = 8 : si64, bits = 4 : si64, block_size = 32 : si64}
      : (tensor<2x50xf32>, tensor<8x2x16xui8>, tensor<16xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="weight_prepacked = 1: B is in the order of one kernel; write the model without prepacked weights"
func.func @prepacked(%x: tensor<2x64xf32>, %b: tensor<8x2x16xui8>, %s: tensor<16xf32>) -> tensor<2x8xf32> {
  %y = "onnx.MatMulNBits"(%x, %b, %s) {K = 64 : si64, N = 8 : si64, bits = 4 : si64, block_size = 32 : si64, weight_prepacked = 1 : si64}
      : (tensor<2x64xf32>, tensor<8x2x16xui8>, tensor<16xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="bits = 3; codes of 2, 4 or 8 bits fill bytes"
func.func @bits(%x: tensor<2x64xf32>, %b: tensor<8x2x12xui8>, %s: tensor<16xf32>) -> tensor<2x8xf32> {
  %y = "onnx.MatMulNBits"(%x, %b, %s) {K = 64 : si64, N = 8 : si64, bits = 3 : si64, block_size = 32 : si64}
      : (tensor<2x64xf32>, tensor<8x2x12xui8>, tensor<16xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="onnx.MatMulNBits with N = 8, K = 64, bits = 4 has 256 bytes in B and 16 scales; these shapes differ"
func.func @shape(%x: tensor<2x64xf32>, %b: tensor<8x2x16xui8>, %s: tensor<8xf32>) -> tensor<2x8xf32> {
  %y = "onnx.MatMulNBits"(%x, %b, %s) {K = 64 : si64, N = 8 : si64, bits = 4 : si64, block_size = 32 : si64}
      : (tensor<2x64xf32>, tensor<8x2x16xui8>, tensor<8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="g_idx: the groups are not consecutive columns; sort the columns of B and of x by g_idx"
func.func @g_idx(%x: tensor<2x64xf32>, %b: tensor<8x2x16xui8>, %s: tensor<16xf32>, %g: tensor<64xi32>) -> tensor<2x8xf32> {
  %none = "onnx.NoValue"() {value} : () -> none
  %y = "onnx.MatMulNBits"(%x, %b, %s, %none, %g) {K = 64 : si64, N = 8 : si64, bits = 4 : si64, block_size = 32 : si64}
      : (tensor<2x64xf32>, tensor<8x2x16xui8>, tensor<16xf32>, none, tensor<64xi32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="zeros of 8 bytes; each row has 3 of 4 bits in 2 bytes"
func.func @zeros(%x: tensor<2x96xf32>, %b: tensor<8x3x16xui8>, %s: tensor<24xf32>, %z: tensor<8xui8>) -> tensor<2x8xf32> {
  %y = "onnx.MatMulNBits"(%x, %b, %s, %z) {K = 96 : si64, N = 8 : si64, bits = 4 : si64, block_size = 32 : si64}
      : (tensor<2x96xf32>, tensor<8x3x16xui8>, tensor<24xf32>, tensor<8xui8>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="block_size = 48 does not divide 64 (padded last block); pad the codes, or choose a block that divides", Remark="onnx.MatMul of a quantized weight stays"
func.func @onnx_block(%x: tensor<2x64xf32>, %q: tensor<64x8xi8>, %s: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %w = "onnx.DequantizeLinear"(%q, %s) {axis = 0 : si64, block_size = 48 : si64} : (tensor<64x8xi8>, tensor<2x8xf32>) -> tensor<64x8xf32>
  %y = "onnx.MatMul"(%x, %w) : (tensor<2x64xf32>, tensor<64x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="the dequantized value has another user", Remark="aten.linear of a quantized weight stays"
func.func @another_user(%x: tensor<2x64xf32>, %q: tensor<8x64xi8>, %s: tensor<8x2xf32>) -> (tensor<2x8xf32>, tensor<8x64xf32>) {
  %w = "torch.operator"(%q, %s) {name = "torch.torchao.dequantize_affine"} : (tensor<8x64xi8>, tensor<8x2xf32>) -> tensor<8x64xf32>
  %y = "torch.aten.linear"(%x, %w) : (tensor<2x64xf32>, tensor<8x64xf32>) -> tensor<2x8xf32>
  return %y, %w : tensor<2x8xf32>, tensor<8x64xf32>
}

// -----

// The transposition is shared, not the dequantization itself.
// CHECK: Reason="the dequantized value has another user"
func.func @another_user_of_transposed(%x: tensor<2x64xf32>, %q: tensor<8x64xi8>, %s: tensor<8x2xf32>) -> (tensor<2x8xf32>, tensor<64x8xf32>) {
  %w = "torch.operator"(%q, %s) {name = "torch.torchao.dequantize_affine"} : (tensor<8x64xi8>, tensor<8x2xf32>) -> tensor<8x64xf32>
  %t = "torch.aten.t"(%w) : (tensor<8x64xf32>) -> tensor<64x8xf32>
  %y = "torch.aten.mm"(%x, %t) : (tensor<2x64xf32>, tensor<64x8xf32>) -> tensor<2x8xf32>
  return %y, %t : tensor<2x8xf32>, tensor<64x8xf32>
}

// -----

// CHECK: Reason="block_size = 48 does not divide 64 (padded last block); pad the codes, or choose a block that divides"
func.func @torch_block(%x: tensor<2x64xf32>, %q: tensor<8x64xi8>, %s: tensor<8x2xf32>) -> tensor<2x8xf32> {
  %w = "torch.operator"(%q, %s) {name = "torch.torchao.dequantize_affine", block_size = [1, 48]} : (tensor<8x64xi8>, tensor<8x2xf32>) -> tensor<8x64xf32>
  %y = "torch.aten.linear"(%x, %w) : (tensor<2x64xf32>, tensor<8x64xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="the group is not constant: group_size is no constant"
func.func @dynamic_group(%x: tensor<2x64xf32>, %q: tensor<8x64xi8>, %s: tensor<8x2xf32>, %z: tensor<8x2xi32>, %i: !torch.int) -> tensor<2x8xf32> {
  %w = "torch.quantized_decomposed.dequantize_per_channel_group"(%q, %s, %z, %i, %i, %i, %i) : (tensor<8x64xi8>, tensor<8x2xf32>, tensor<8x2xi32>, !torch.int, !torch.int, !torch.int, !torch.int) -> tensor<8x64xf32>
  %y = "torch.aten.linear"(%x, %w) : (tensor<2x64xf32>, tensor<8x64xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="the group is not constant: the shape of the codes or scales is known only at run time"
func.func @dynamic_shape(%x: tensor<2x64xf32>, %q: tensor<8x?xi8>, %s: tensor<8x?xf32>) -> tensor<2x8xf32> {
  %w = "torch.operator"(%q, %s) {name = "torch.torchao.dequantize_affine"} : (tensor<8x?xi8>, tensor<8x?xf32>) -> tensor<8x64xf32>
  %y = "torch.aten.linear"(%x, %w) : (tensor<2x64xf32>, tensor<8x64xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="the code 9 at 3 is outside of its range, quant_min = -8 to quant_max = 7"
func.func @range(%x: tensor<2x16xf32>, %s: tensor<1x1xf32>) -> tensor<2x1xf32> {
  %q = arith.constant dense<[[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<1x16xi8>
  %w = "torch.operator"(%q, %s) {name = "torch.torchao.dequantize_affine", quant_min = -8 : i64, quant_max = 7 : i64} : (tensor<1x16xi8>, tensor<1x1xf32>) -> tensor<1x16xf32>
  %y = "torch.aten.linear"(%x, %w) : (tensor<2x16xf32>, tensor<1x16xf32>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// -----

// CHECK: Reason="the quantized factor is the left one; transpose the product, y^T = w^T x^T"
func.func @left(%x: tensor<64x3xf32>, %q: tensor<8x64xi8>, %s: tensor<8x2xf32>) -> tensor<8x3xf32> {
  %w = "torch.operator"(%q, %s) {name = "torch.torchao.dequantize_affine"} : (tensor<8x64xi8>, tensor<8x2xf32>) -> tensor<8x64xf32>
  %y = "torch.aten.mm"(%w, %x) : (tensor<8x64xf32>, tensor<64x3xf32>) -> tensor<8x3xf32>
  return %y : tensor<8x3xf32>
}

// -----

// CHECK: Reason="onnx.Gemm with alpha other than 1; multiply in an operation of its own"
func.func @alpha(%x: tensor<2x64xf32>, %q: tensor<64x8xi8>, %s: tensor<8xf32>) -> tensor<2x8xf32> {
  %w = "onnx.DequantizeLinear"(%q, %s) {axis = 1 : si64} : (tensor<64x8xi8>, tensor<8xf32>) -> tensor<64x8xf32>
  %y = "onnx.Gemm"(%x, %w) {alpha = 2.0 : f32} : (tensor<2x64xf32>, tensor<64x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// The result is narrower than x.
// CHECK: Reason="the accumulator is narrower than the input, which is rounded before the product"
func.func @narrow(%x: tensor<2x64xf32>, %q: tensor<8x64xi8>, %s: tensor<8x2xf32>) -> tensor<2x8xf16> {
  %w = "torch.operator"(%q, %s) {name = "torch.torchao.dequantize_affine"} : (tensor<8x64xi8>, tensor<8x2xf32>) -> tensor<8x64xf32>
  %y = "torch.aten.linear"(%x, %w) : (tensor<2x64xf32>, tensor<8x64xf32>) -> tensor<2x8xf16>
  return %y : tensor<2x8xf16>
}

// -----

// Types without a shape.
// CHECK: Reason="the operands and the result of aten.linear are not all tensors of known shape and type, the weight a matrix; run shape inference before"
func.func @unranked(%x: !torch.vtensor<[2,64],f32>, %q: !torch.vtensor<[8,64],si8>, %s: !torch.vtensor<[8,2],f32>) -> !torch.vtensor {
  %w = "torch.operator"(%q, %s) {name = "torch.torchao.dequantize_affine"} : (!torch.vtensor<[8,64],si8>, !torch.vtensor<[8,2],f32>) -> !torch.vtensor
  %y = "torch.aten.linear"(%x, %w) : (!torch.vtensor<[2,64],f32>, !torch.vtensor) -> !torch.vtensor
  return %y : !torch.vtensor
}

// -----

// Nobody verifies operations of dialects that are not linked.
// CHECK: Reason="the result of torchao.dequantize_affine has another shape than its operands make"
func.func @shapes(%x: tensor<2x32xf32>, %q: tensor<8x64xi8>, %s: tensor<8x2xf32>) -> tensor<2x8xf32> {
  %w = "torch.operator"(%q, %s) {name = "torch.torchao.dequantize_affine"} : (tensor<8x64xi8>, tensor<8x2xf32>) -> tensor<8x32xf32>
  %y = "torch.aten.linear"(%x, %w) : (tensor<2x32xf32>, tensor<8x32xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="iree_linalg_ext.dequantize_affine: an indexing map does not fit the rank of its operand"
func.func @maps(%x: tensor<3x64xf32>, %q: tensor<64x8xi8>, %s: tensor<2x8xf32>, %e: tensor<64x8xf32>, %init: tensor<3x8xf32>) -> tensor<3x8xf32> {
  %w = "iree_linalg_ext.dequantize_affine"(%q, %s, %e)
      {indexing_maps = [affine_map<(k, n) -> (k, n)>, affine_map<(k, n) -> (n)>, affine_map<(k, n) -> (k, n)>]}
      : (tensor<64x8xi8>, tensor<2x8xf32>, tensor<64x8xf32>) -> tensor<64x8xf32>
  %y = linalg.matmul ins(%x, %w : tensor<3x64xf32>, tensor<64x8xf32>) outs(%init : tensor<3x8xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

// CHECK: Reason="the bias is not a tensor; add it in an operation of its own"
func.func @bias(%x: tensor<2x64xf32>, %q: tensor<8x64xi8>, %s: tensor<8xf32>, %b: f32) -> tensor<2x8xf32> {
  %w = "torch.quantized_decomposed.dequantize_per_channel"(%q, %s) {axis = 0 : i64} : (tensor<8x64xi8>, tensor<8xf32>) -> tensor<8x64xf32>
  %y = "torch.aten.linear"(%x, %w, %b) : (tensor<2x64xf32>, tensor<8x64xf32>, f32) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// CHECK: Reason="aten.mul.Tensor stands between the quantized weight and aten.mm, and is not seen through; lower the module to linalg before, or apply scales to the result"
func.func @scaled_before(%x: tensor<2x64xf32>, %q: tensor<64x8xi8>, %s: tensor<8xf32>) -> tensor<2x8xf32> {
  %t = "torch.constant.int"() {value = 6 : i64} : () -> !torch.int
  %f = "torch.aten.to.dtype"(%q, %t) : (tensor<64x8xi8>, !torch.int) -> tensor<64x8xf32>
  %w = "torch.aten.mul.Tensor"(%f, %s) : (tensor<64x8xf32>, tensor<8xf32>) -> tensor<64x8xf32>
  %y = "torch.aten.mm"(%x, %w) : (tensor<2x64xf32>, tensor<64x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}
