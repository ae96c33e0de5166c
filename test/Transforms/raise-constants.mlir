// RUN: quant-opt %s --allow-unregistered-dialect --qlinear-raise --canonicalize --split-input-file \
// RUN:   --remarks-filter='qlinear.*' 2> %t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=AS < %t.remarks

// Codes, scales and zeros that are computed from constants are evaluated, and take as few
// bits as their values need.

#ab = affine_map<(a, b) -> (a, b)>
#abc = affine_map<(a, b, c) -> (a, b, c)>
#ab0 = affine_map<(a, b, c) -> (a, b, 0)>

// Two codes in a byte, the first in the lower half; zeros as bytes; scales in f16 of f32.
// AS: encoding="u4, group = 16, zero, scale = f16, offset = u4"
// CHECK-LABEL: func.func @pairs
// CHECK-DAG: %[[Q:.*]] = arith.constant dense<{{\[\[}}1, 2, 3, 4, {{.*}}]]> : tensor<1x32xi{{4|8}}>
// CHECK-DAG: %[[S:.*]] = arith.constant dense<{{\[\[}}5.000000e-01, 2.500000e-01]]> : tensor<1x2xf16>
// CHECK-DAG: %[[Z:.*]] = arith.constant dense<{{\[\[}}3, 8]]> : tensor<1x2xi{{4|8}}>
// CHECK: qlinear.pack %[[Q]], %[[S]] offsets(%[[Z]])
func.func @pairs(%x: tensor<3x32xf32>, %init: tensor<3x1xf32>) -> tensor<3x1xf32> {
  %bytes = arith.constant dense<[[0x21, 0x43, 0x65, -121, -87, -53, -19, 15, 0, 0, 0, 0, 0, 0, 0, 1]]> : tensor<1x16xi8>
  %s32 = arith.constant dense<[[0.5, 0.25]]> : tensor<1x2xf32>
  %z8 = arith.constant dense<[[3, 8]]> : tensor<1x2xi8>
  %c15 = arith.constant 15 : i8
  %c4 = arith.constant 4 : i8
  %e = tensor.empty() : tensor<1x16xi8>
  %low = linalg.generic {indexing_maps = [#ab, #ab], iterator_types = ["parallel", "parallel"]}
      ins(%bytes : tensor<1x16xi8>) outs(%e : tensor<1x16xi8>) {
  ^bb0(%a: i8, %o: i8):
    %0 = arith.andi %a, %c15 : i8
    linalg.yield %0 : i8
  } -> tensor<1x16xi8>
  %high = linalg.generic {indexing_maps = [#ab, #ab], iterator_types = ["parallel", "parallel"]}
      ins(%bytes : tensor<1x16xi8>) outs(%e : tensor<1x16xi8>) {
  ^bb0(%a: i8, %o: i8):
    %0 = arith.shrui %a, %c4 : i8
    linalg.yield %0 : i8
  } -> tensor<1x16xi8>
  %l = tensor.expand_shape %low [[0], [1, 2]] output_shape [1, 16, 1] : tensor<1x16xi8> into tensor<1x16x1xi8>
  %h = tensor.expand_shape %high [[0], [1, 2]] output_shape [1, 16, 1] : tensor<1x16xi8> into tensor<1x16x1xi8>
  %both = tensor.concat dim(2) %l, %h : (tensor<1x16x1xi8>, tensor<1x16x1xi8>) -> tensor<1x16x2xi8>
  %flat = tensor.collapse_shape %both [[0], [1, 2]] : tensor<1x16x2xi8> into tensor<1x32xi8>
  %q = tensor.expand_shape %flat [[0], [1, 2]] output_shape [1, 2, 16] : tensor<1x32xi8> into tensor<1x2x16xi8>
  %se = tensor.empty() : tensor<1x2xf16>
  %s16 = linalg.generic {indexing_maps = [#ab, #ab], iterator_types = ["parallel", "parallel"]}
      ins(%s32 : tensor<1x2xf32>) outs(%se : tensor<1x2xf16>) {
  ^bb0(%a: f32, %o: f16):
    %0 = arith.truncf %a : f32 to f16
    linalg.yield %0 : f16
  } -> tensor<1x2xf16>
  %s = tensor.expand_shape %s16 [[0], [1, 2]] output_shape [1, 2, 1] : tensor<1x2xf16> into tensor<1x2x1xf16>
  %z = tensor.expand_shape %z8 [[0], [1, 2]] output_shape [1, 2, 1] : tensor<1x2xi8> into tensor<1x2x1xi8>
  %we = tensor.empty() : tensor<1x2x16xf32>
  %w3 = linalg.generic {indexing_maps = [#abc, #ab0, #ab0, #abc], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q, %s, %z : tensor<1x2x16xi8>, tensor<1x2x1xf16>, tensor<1x2x1xi8>) outs(%we : tensor<1x2x16xf32>) {
  ^bb0(%a: i8, %b: f16, %c: i8, %o: f32):
    %0 = arith.uitofp %a : i8 to f32
    %1 = arith.uitofp %c : i8 to f32
    %2 = arith.subf %0, %1 : f32
    %3 = arith.extf %b : f16 to f32
    %4 = arith.mulf %2, %3 : f32
    linalg.yield %4 : f32
  } -> tensor<1x2x16xf32>
  %w = tensor.collapse_shape %w3 [[0], [1, 2]] : tensor<1x2x16xf32> into tensor<1x32xf32>
  %te = tensor.empty() : tensor<32x1xf32>
  %t = linalg.transpose ins(%w : tensor<1x32xf32>) outs(%te : tensor<32x1xf32>) permutation = [1, 0]
  %y = linalg.matmul ins(%x, %t : tensor<3x32xf32>, tensor<32x1xf32>) outs(%init : tensor<3x1xf32>) -> tensor<3x1xf32>
  return %y : tensor<3x1xf32>
}

// -----

#kn = affine_map<(k, n) -> (k, n)>
#group = affine_map<(k, n) -> (k floordiv 16, n)>
#word = affine_map<(k, j, i) -> (k, j)>
#shift = affine_map<(k, j, i) -> (i)>
#kji = affine_map<(k, j, i) -> (k, j, i)>

// Eight codes in a word, along n, and shifts that are counted; the zero is an i64.
// AS: encoding="u4, group = row, zero, scale = f32, offset = i4"
// CHECK-LABEL: func.func @words
// CHECK-DAG: %[[Q:.*]] = arith.constant dense<"0x0F0100040506070809{{.*}}"> : tensor<8x16xi4>
// CHECK-DAG: %[[Z:.*]] = arith.constant dense<{{\[\[}}5], [-7], [1], [2], [3], [4], [5], [6]]> : tensor<8x1xi4>
// CHECK-NOT: linalg
// CHECK: qlinear.pack %[[Q]], %{{.*}} offsets(%[[Z]])
func.func @words(%x: tensor<3x16xf32>, %init: tensor<3x8xf32>) -> tensor<3x8xf32> {
  %words = arith.constant dense<[[-1985229329], [1], [0x70000000], [4], [5], [6], [7], [8], [9], [-1], [-2], [12], [13], [14], [15], [16]]> : tensor<16x1xi32>
  %z = arith.constant dense<[[5, -7, 1, 2, 3, 4, 5, 6]]> : tensor<1x8xi64>
  %s = arith.constant dense<[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]]> : tensor<1x8xf32>
  %c4 = arith.constant 4 : i64
  %c15 = arith.constant 15 : i64
  %ie = tensor.empty() : tensor<8xi64>
  %shifts = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]} outs(%ie : tensor<8xi64>) {
  ^bb0(%o: i64):
    %0 = linalg.index 0 : index
    %1 = arith.index_cast %0 : index to i64
    %2 = arith.muli %1, %c4 : i64
    linalg.yield %2 : i64
  } -> tensor<8xi64>
  %ue = tensor.empty() : tensor<16x1x8xi64>
  %u = linalg.generic {indexing_maps = [#word, #shift, #kji], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%words, %shifts : tensor<16x1xi32>, tensor<8xi64>) outs(%ue : tensor<16x1x8xi64>) {
  ^bb0(%a: i32, %b: i64, %o: i64):
    %0 = arith.extsi %a : i32 to i64
    %1 = arith.shrsi %0, %b : i64
    %2 = arith.andi %1, %c15 : i64
    linalg.yield %2 : i64
  } -> tensor<16x1x8xi64>
  %q = tensor.collapse_shape %u [[0], [1, 2]] : tensor<16x1x8xi64> into tensor<16x8xi64>
  %we = tensor.empty() : tensor<16x8xf32>
  %w = linalg.generic {indexing_maps = [#kn, #group, #group, #kn], iterator_types = ["parallel", "parallel"]}
      ins(%q, %z, %s : tensor<16x8xi64>, tensor<1x8xi64>, tensor<1x8xf32>) outs(%we : tensor<16x8xf32>) {
  ^bb0(%a: i64, %b: i64, %c: f32, %o: f32):
    %0 = arith.subi %a, %b : i64
    %1 = arith.sitofp %0 : i64 to f32
    %2 = arith.mulf %1, %c : f32
    linalg.yield %2 : f32
  } -> tensor<16x8xf32>
  %y = linalg.matmul ins(%x, %w : tensor<3x16xf32>, tensor<16x8xf32>) outs(%init : tensor<3x8xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>

// The range of codes that are arguments, by what is done to them: low nibbles with a sign.
// AS: encoding="i4, group = 32, symmetric, scale = f32"
// CHECK-LABEL: func.func @low_nibbles
func.func @low_nibbles(%q: tensor<8x64xi8>, %s: tensor<8x2xf32>, %x: tensor<64xf32>, %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<8x64xi8>, tensor<8x2xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %c = arith.constant 4 : i8
    %0 = arith.shli %a, %c : i8
    %1 = arith.shrsi %0, %c : i8
    %2 = arith.sitofp %1 : i8 to f32
    %3 = arith.mulf %2, %b : f32
    linalg.yield %3 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// The same through insertions into another tensor: high and low nibbles of arguments.
// AS: encoding="u4, group = 32, zero, scale = f32, offset = u4"
// CHECK-LABEL: func.func @halves
func.func @halves(%bytes: tensor<8x32xi8>, %s: tensor<8x2xf32>, %x: tensor<64xf32>, %init: tensor<8xf32>) -> tensor<8xf32> {
  %c15 = arith.constant 15 : i8
  %c4 = arith.constant 4 : i8
  %e8 = tensor.empty() : tensor<8x32xi8>
  %low = linalg.generic {indexing_maps = [#nk, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%bytes : tensor<8x32xi8>) outs(%e8 : tensor<8x32xi8>) {
  ^bb0(%a: i8, %o: i8):
    %0 = arith.andi %a, %c15 : i8
    linalg.yield %0 : i8
  } -> tensor<8x32xi8>
  %high = linalg.generic {indexing_maps = [#nk, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%bytes : tensor<8x32xi8>) outs(%e8 : tensor<8x32xi8>) {
  ^bb0(%a: i8, %o: i8):
    %0 = arith.shrui %a, %c4 : i8
    linalg.yield %0 : i8
  } -> tensor<8x32xi8>
  %qe = tensor.empty() : tensor<8x64xi8>
  %q0 = tensor.insert_slice %low into %qe[0, 0] [8, 32] [1, 1] : tensor<8x32xi8> into tensor<8x64xi8>
  %q = tensor.insert_slice %high into %q0[0, 32] [8, 32] [1, 1] : tensor<8x32xi8> into tensor<8x64xi8>
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<8x64xi8>, tensor<8x2xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %c8 = arith.constant 8 : i8
    %0 = arith.subi %a, %c8 : i8
    %1 = arith.sitofp %0 : i8 to f32
    %2 = arith.mulf %1, %b : f32
    linalg.yield %2 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#blocks = affine_map<(n, k) -> (n floordiv 4, k floordiv 32)>
#x = affine_map<(m, n, k) -> (m, k)>
#w = affine_map<(m, n, k) -> (n, k)>
#y = affine_map<(m, n, k) -> (m, n)>
// Gate and up from one weight of which each takes half of the rows; four rows share a scale.
// AS-COUNT-2: encoding="i8, group = 32, symmetric, scale = f32"
// CHECK-LABEL: func.func @slices
// CHECK: tensor.extract_slice %{{.*}}[0, 0] [8, 64] [1, 1] : tensor<16x64xi8>
// CHECK: %[[GATE:.*]] = qlinear.pack
// CHECK: qlinear.linear %arg2, %[[GATE]]
// CHECK: %[[UP:.*]] = qlinear.pack
// CHECK: qlinear.linear %arg2, %[[UP]]
func.func @slices(%q: tensor<16x64xi8>, %s: tensor<4x2xf32>, %x: tensor<3x64xf32>, %init: tensor<3x8xf32>) -> (tensor<3x8xf32>, tensor<3x8xf32>) {
  %e = tensor.empty() : tensor<16x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #blocks, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<16x64xi8>, tensor<4x2xf32>) outs(%e : tensor<16x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<16x64xf32>
  %gate = tensor.extract_slice %w[0, 0] [8, 64] [1, 1] : tensor<16x64xf32> to tensor<8x64xf32>
  %up = tensor.extract_slice %w[8, 0] [8, 64] [1, 1] : tensor<16x64xf32> to tensor<8x64xf32>
  %0 = linalg.matmul indexing_maps = [#x, #w, #y] ins(%x, %gate : tensor<3x64xf32>, tensor<8x64xf32>) outs(%init : tensor<3x8xf32>) -> tensor<3x8xf32>
  %1 = linalg.matmul indexing_maps = [#x, #w, #y] ins(%x, %up : tensor<3x64xf32>, tensor<8x64xf32>) outs(%init : tensor<3x8xf32>) -> tensor<3x8xf32>
  return %0, %1 : tensor<3x8xf32>, tensor<3x8xf32>
}

// -----

// int8 with the scale after the product, as PyTorch writes it: the product is raised.
// AS: "aten.mm became qlinear.linear", encoding="i8, group = row, symmetric, scale = f32"
// CHECK-LABEL: func.func @scale_after
// CHECK: qlinear.linear
// CHECK: "torch.aten.mul.Tensor"
func.func @scale_after(%x: tensor<2x64xf32>, %q: tensor<8x64xi8>, %s: tensor<8xf32>) -> tensor<2x8xf32> {
  %t = "torch.constant.int"() {value = 6 : i64} : () -> !torch.int
  %f = "torch.aten.to.dtype"(%q, %t) : (tensor<8x64xi8>, !torch.int) -> tensor<8x64xf32>
  %w = "torch.aten.t"(%f) : (tensor<8x64xf32>) -> tensor<64x8xf32>
  %y = "torch.aten.mm"(%x, %w) : (tensor<2x64xf32>, tensor<64x8xf32>) -> tensor<2x8xf32>
  %r = "torch.aten.mul.Tensor"(%y, %s) : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  return %r : tensor<2x8xf32>
}
