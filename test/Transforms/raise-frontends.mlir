// RUN: quant-opt %s --allow-unregistered-dialect --qlinear-raise --split-input-file > %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: FileCheck %s --check-prefix=GONE < %t.mlir

// Operations of dialects that are not linked; everything of them is gone afterwards.
// GONE-NOT: {{dequantize|"torch\.|"onnx\.|dcast|linalg.fill}}

// A PT2E export of torchao in torch-mlir's types: operands in the order of the schema,
// and a bias. The range says that the i8 codes have four bits.
// CHECK: #qlinear.encoding<i4, group = 32, zero, scale = f32, offset = i8>
// CHECK-LABEL: @ao
// CHECK-DAG: %[[S:.*]] = "torch_c.to_builtin_tensor"(%arg2)
// CHECK-DAG: %[[Z:.*]] = "torch_c.to_builtin_tensor"(%arg3)
// CHECK-DAG: %[[X:.*]] = "torch_c.to_builtin_tensor"(%arg0)
// CHECK: arith.trunci %{{.*}} : i8 to i4
// CHECK: %[[W:.*]] = qlinear.pack %{{.*}}, %[[S]] offsets(%[[Z]])
// CHECK: qlinear.linear %[[X]], %[[W]]
// CHECK: arith.addf
// CHECK: %[[Y:.*]] = "torch_c.from_builtin_tensor"
// CHECK-NEXT: return %[[Y]]
func.func @ao(%x: !torch.vtensor<[?,64],f32>, %q: !torch.vtensor<[8,64],si8>, %s: !torch.vtensor<[8,2],f32>, %z: !torch.vtensor<[8,2],si8>, %b: !torch.vtensor<[8],f32>) -> !torch.vtensor<[?,8],f32> {
  %c1 = "torch.constant.int"() <{value = 1 : i64}> : () -> !torch.int
  %c32 = "torch.constant.int"() <{value = 32 : i64}> : () -> !torch.int
  %c6 = "torch.constant.int"() <{value = 6 : i64}> : () -> !torch.int
  %lo = "torch.constant.int"() <{value = -8 : i64}> : () -> !torch.int
  %hi = "torch.constant.int"() <{value = 7 : i64}> : () -> !torch.int
  %l = "torch.prim.ListConstruct"(%c1, %c32) : (!torch.int, !torch.int) -> !torch.list<int>
  %w = "torch.operator"(%q, %l, %s, %z, %c1, %lo, %hi, %c6) <{name = "torch.torchao.dequantize_affine"}> : (!torch.vtensor<[8,64],si8>, !torch.list<int>, !torch.vtensor<[8,2],f32>, !torch.vtensor<[8,2],si8>, !torch.int, !torch.int, !torch.int, !torch.int) -> !torch.vtensor<[8,64],f32>
  %y = "torch.aten.linear"(%x, %w, %b) : (!torch.vtensor<[?,64],f32>, !torch.vtensor<[8,64],f32>, !torch.vtensor<[8],f32>) -> !torch.vtensor<[?,8],f32>
  return %y : !torch.vtensor<[?,8],f32>
}

// -----

// The same on builtin tensors, with parameters as attributes; i32 zeros are read as f32.
// CHECK: #qlinear.encoding<u4, group = 32, zero, scale = f16, offset = f32>
// CHECK-LABEL: @ao2
// CHECK: arith.trunci %{{.*}} : i8 to i4
// CHECK: arith.sitofp %{{.*}} : i32 to f32
// CHECK: qlinear.pack %{{.*}}, %arg2 offsets
// CHECK: %[[Y:.*]] = qlinear.linear %arg0
// CHECK-NEXT: return %[[Y]]
func.func @ao2(%x: tensor<2x64xf16>, %q: tensor<8x64xi8>, %s: tensor<8x2xf16>, %z: tensor<8x2xi32>) -> tensor<2x8xf16> {
  %w = "torch.operator"(%q, %s, %z) {name = "torch.torchao.dequantize_affine", block_size = [1, 32], quant_min = 0 : i64, quant_max = 15 : i64} : (tensor<8x64xi8>, tensor<8x2xf16>, tensor<8x2xi32>) -> tensor<8x64xf16>
  %t = "torch.aten.t"(%w) : (tensor<8x64xf16>) -> tensor<64x8xf16>
  %y = "torch.operator"(%x, %t) {name = "torch.aten.mm"} : (tensor<2x64xf16>, tensor<64x8xf16>) -> tensor<2x8xf16>
  return %y : tensor<2x8xf16>
}

// -----

// Bytes of two codes, unpacked when run; the zero is 8. Two dynamic dimensions of rows.
// CHECK: #qlinear.encoding<u4, group = 32, zero, scale = f16, offset = u4>
// CHECK-LABEL: @nbits
// CHECK: linalg.generic {{.*}} ins(%{{.*}} : tensor<8x32xi8>) outs(%{{.*}} : tensor<8x64xi4>)
// CHECK: arith.constant dense<-8> : tensor<8x2xi4>
// CHECK: %[[Y:.*]] = qlinear.linear {{.*}} -> tensor<?x8xf16>
// CHECK: tensor.expand_shape %[[Y]] {{.*}} into tensor<?x?x8xf16>
func.func @nbits(%x: !torch.vtensor<[?,?,64],f16>, %b: !torch.vtensor<[8,2,16],ui8>, %s: !torch.vtensor<[16],f16>) -> !torch.vtensor<[?,?,8],f16> {
  %y = "torch.operator"(%x, %b, %s) <{name = "onnx.MatMulNBits"}> {torch.onnx.K = 64 : si64, torch.onnx.N = 8 : si64, torch.onnx.bits = 4 : si64, torch.onnx.block_size = 32 : si64} : (!torch.vtensor<[?,?,64],f16>, !torch.vtensor<[8,2,16],ui8>, !torch.vtensor<[16],f16>) -> !torch.vtensor<[?,?,8],f16>
  return %y : !torch.vtensor<[?,?,8],f16>
}

// -----

// Constants are unpacked now: codes, lowest first, and two zeros of one byte, 7 and 8.
// CHECK-LABEL: @nbits_const
// CHECK-DAG: arith.constant dense<{{\[\[}}0, 0, 1, 0, 2, 0, {{.*}} : tensor<1x64xi4>
// CHECK-DAG: arith.constant dense<{{\[\[}}7, -8]]> : tensor<1x2xi4>
// CHECK: qlinear.linear %arg0
func.func @nbits_const(%x: tensor<2x64xf32>, %s: tensor<1x2xf32>) -> tensor<2x1xf32> {
  %b = arith.constant dense<"0x000102030405060708090A0B0C0D0E0F000102030405060708090A0B0C0D0E0F"> : tensor<1x2x16xi8>
  %z = arith.constant dense<0x87> : tensor<1xui8>
  %y = "onnx.MatMulNBits"(%x, %b, %s, %z) {K = 64 : i64, N = 1 : i64, bits = 4 : i64, block_size = 32 : i64} : (tensor<2x64xf32>, tensor<1x2x16xi8>, tensor<1x2xf32>, tensor<1xui8>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// -----

// ONNX-MLIR's operations.
// CHECK: #qlinear.encoding<u8, group = 16, zero, scale = f32, offset = u8>
// CHECK-LABEL: @dql
// CHECK: tensor.bitcast %arg1 : tensor<8x64xui8> to tensor<8x64xi8>
// CHECK: qlinear.linear %arg0
func.func @dql(%x: tensor<2x64xf32>, %q: tensor<8x64xui8>, %s: tensor<8x4xf32>, %z: tensor<8x4xui8>) -> tensor<2x8xf32> {
  %w = "onnx.DequantizeLinear"(%q, %s, %z) {axis = 1 : si64, block_size = 16 : si64} : (tensor<8x64xui8>, tensor<8x4xf32>, tensor<8x4xui8>) -> tensor<8x64xf32>
  %t = "onnx.Transpose"(%w) {perm = [1, 0]} : (tensor<8x64xf32>) -> tensor<64x8xf32>
  %y = "onnx.MatMul"(%x, %t) : (tensor<2x64xf32>, tensor<64x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// Operations that torch-mlir has of its own.
// CHECK: #qlinear.encoding<i4, group = 32, zero, scale = f32, offset = f32>
// CHECK-LABEL: @group
// CHECK: qlinear.linear
func.func @group(%x: !torch.vtensor<[3,64],f32>, %q: !torch.vtensor<[8,64],si8>, %s: !torch.vtensor<[8,2],f32>, %z: !torch.vtensor<[8,2],si64>) -> !torch.vtensor<[3,8],f32> {
  %lo = "torch.constant.int"() <{value = -8 : i64}> : () -> !torch.int
  %hi = "torch.constant.int"() <{value = 7 : i64}> : () -> !torch.int
  %dt = "torch.constant.int"() <{value = 1 : i64}> : () -> !torch.int
  %gs = "torch.constant.int"() <{value = 32 : i64}> : () -> !torch.int
  %none = "torch.constant.none"() : () -> !torch.none
  %w = "torch.quantized_decomposed.dequantize_per_channel_group"(%q, %s, %z, %lo, %hi, %dt, %gs, %none) : (!torch.vtensor<[8,64],si8>, !torch.vtensor<[8,2],f32>, !torch.vtensor<[8,2],si64>, !torch.int, !torch.int, !torch.int, !torch.int, !torch.none) -> !torch.vtensor<[8,64],f32>
  %y = "torch.aten.linear"(%x, %w, %none) : (!torch.vtensor<[3,64],f32>, !torch.vtensor<[8,64],f32>, !torch.none) -> !torch.vtensor<[3,8],f32>
  return %y : !torch.vtensor<[3,8],f32>
}

// -----

// The quant dialect: blocks of 32 columns, i4 zeros.
// CHECK: #qlinear.encoding<i4, group = 32, zero, scale = f32, offset = i4>
// CHECK-LABEL: @quant(
// CHECK-DAG: %[[Z:.*]] = arith.constant dense<{{\[\[}}1, 2], [0, -1]]> : tensor<2x2xi4>
// CHECK-DAG: %[[S:.*]] = arith.constant dense<{{\[\[}}5.000000e-01, 2.500000e-01], [1.000000e+00, 2.000000e+00]]> : tensor<2x2xf32>
// CHECK: qlinear.pack %arg1, %[[S]] offsets(%[[Z]])
func.func @quant(%x: tensor<3x64xf32>, %q: tensor<2x64xi4>) -> tensor<3x2xf32> {
  %0 = quant.scast %q : tensor<2x64xi4> to tensor<2x64x!quant.uniform<i4:f32:{0:1, 1:32}, {{0.5:1, 0.25:2},{1.0,2.0:-1}}>>
  %1 = quant.dcast %0 : tensor<2x64x!quant.uniform<i4:f32:{0:1, 1:32}, {{0.5:1, 0.25:2},{1.0,2.0:-1}}>> to tensor<2x64xf32>
  %t0 = tensor.empty() : tensor<64x2xf32>
  %t = linalg.transpose ins(%1 : tensor<2x64xf32>) outs(%t0 : tensor<64x2xf32>) permutation = [1, 0]
  %e = arith.constant dense<0.0> : tensor<3x2xf32>
  %y = linalg.matmul ins(%x, %t : tensor<3x64xf32>, tensor<64x2xf32>) outs(%e : tensor<3x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

// A scale per row, and an argument of the quantized type.
// CHECK: #qlinear.encoding<i8, group = row, symmetric, scale = f32>
// CHECK-LABEL: @quant_axis
// CHECK: %[[Q:.*]] = quant.scast %arg1
// CHECK: qlinear.pack %[[Q]]
func.func @quant_axis(%x: tensor<3x64xf32>, %q: tensor<2x64x!quant.uniform<i8:f32:0, {0.5,0.25}>>) -> tensor<3x2xf32> {
  %1 = quant.dcast %q : tensor<2x64x!quant.uniform<i8:f32:0, {0.5,0.25}>> to tensor<2x64xf32>
  %t0 = tensor.empty() : tensor<64x2xf32>
  %t = linalg.transpose ins(%1 : tensor<2x64xf32>) outs(%t0 : tensor<64x2xf32>) permutation = [1, 0]
  %e = arith.constant dense<0.0> : tensor<3x2xf32>
  %y = linalg.matmul ins(%x, %t : tensor<3x64xf32>, tensor<64x2xf32>) outs(%e : tensor<3x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

// IREE's operation, in a contraction of linalg.
// CHECK: #qlinear.encoding<i8, group = 32, zero, scale = f32, offset = i8>
// CHECK-LABEL: @iree
// CHECK: qlinear.pack %{{.*}}, %arg2 offsets(%arg3)
// CHECK: qlinear.linear
func.func @iree(%x: tensor<3x4x32xf32>, %q: tensor<8x4x32xi8>, %s: tensor<8x4xf32>, %z: tensor<8x4xi8>) -> tensor<3x8xf32> {
  %i = tensor.empty() : tensor<8x4x32xf32>
  %w = "iree_linalg_ext.dequantize_affine"(%q, %s, %z, %i) <{indexing_maps = [affine_map<(n,g,k)->(n,g,k)>, affine_map<(n,g,k)->(n,g)>, affine_map<(n,g,k)->(n,g)>, affine_map<(n,g,k)->(n,g,k)>], operandSegmentSizes = array<i32: 3, 1>}> : (tensor<8x4x32xi8>, tensor<8x4xf32>, tensor<8x4xi8>, tensor<8x4x32xf32>) -> tensor<8x4x32xf32>
  %e = arith.constant dense<0.0> : tensor<3x8xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(m, n, g, k) -> (m, g, k)>,
      affine_map<(m, n, g, k) -> (n, g, k)>, affine_map<(m, n, g, k) -> (m, n)>],
      iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %w : tensor<3x4x32xf32>, tensor<8x4x32xf32>) outs(%e : tensor<3x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %2 = arith.mulf %a, %b : f32
    %3 = arith.addf %o, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}
