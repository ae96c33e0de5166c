// RUN: quant-opt %s --qlinear-fold-constants --canonicalize --remarks-filter='qlinear.*' 2> %t.err | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.err

#q4 = #qlinear.encoding<u4, group = 16, zero, scale = bf16, offset = u4>
#q8 = #qlinear.encoding<i8, group = row, symmetric, scale = f32>
#ab = affine_map<(a, b) -> (a, b)>
#ba = affine_map<(a, b) -> (b, a)>
#a = affine_map<(a, b) -> (a)>

ml_program.global private @bias(dense<[1.0, 2.0]> : tensor<2xf32>) : tensor<2xf32>

// Transposed codes; a scale rounded to bf16 (to even: 1 + 2^-8 lies between two), which is the
// largest of a row divided by 4; a zero from a shift; an extra from a resource and a global.
// CHECK-LABEL: func.func @fold
// CHECK-DAG: %[[Q:.*]] = arith.constant dense<{{\[\[}}0, 2, 4, 6, -8, -6, -4, -2, 1, 3, 5, 7, -7, -5, -3, -1], [1, {{.*}}]]> : tensor<2x16xi4>
// CHECK-DAG: %[[S:.*]] = arith.constant dense<{{\[\[}}1.000000e+00], [1.015630e+00]]> : tensor<2x1xbf16>
// CHECK-DAG: %[[Z:.*]] = arith.constant dense<{{\[\[}}3], [-7]]> : tensor<2x1xi4>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[5.000000e+00, 4.000000e+00]> : tensor<2xf32>
// CHECK: qlinear.pack %[[Q]], %[[S]] offsets(%[[Z]])
// CHECK: qlinear.linear %{{.*}} extras(%[[B]])
// CHECK-NOT: linalg
func.func @fold(%x: tensor<3x16xf32>) -> tensor<3x2xf32> {
  %q16 = arith.constant dense<[[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11], [12, 13], [14, 15],
      [1, 0], [3, 2], [5, 4], [7, 6], [9, 8], [11, 10], [13, 12], [15, 14]]> : tensor<16x2xi16>
  %qe = tensor.empty() : tensor<2x16xi4>
  %q = linalg.generic {indexing_maps = [#ba, #ab], iterator_types = ["parallel", "parallel"]}
      ins(%q16 : tensor<16x2xi16>) outs(%qe : tensor<2x16xi4>) {
  ^bb0(%v: i16, %o: i4):
    %0 = arith.trunci %v : i16 to i4
    linalg.yield %0 : i4
  } -> tensor<2x16xi4>
  %values = arith.constant dense<[[1.0, 4.015625, -2.0], [4.046875, 0.0, 4.0]]> : tensor<2x3xf32>
  %least = arith.constant dense<0.0> : tensor<2xf32>
  %most = linalg.generic {indexing_maps = [#ab, #a], iterator_types = ["parallel", "reduction"]}
      ins(%values : tensor<2x3xf32>) outs(%least : tensor<2xf32>) {
  ^bb0(%v: f32, %o: f32):
    %0 = arith.maximumf %v, %o : f32
    linalg.yield %0 : f32
  } -> tensor<2xf32>
  %four = arith.constant dense<4.0> : tensor<2xf32>
  %quarter = arith.divf %most, %four : tensor<2xf32>
  %s1 = arith.truncf %quarter : tensor<2xf32> to tensor<2xbf16>
  %s = tensor.expand_shape %s1 [[0, 1]] output_shape [2, 1] : tensor<2xbf16> into tensor<2x1xbf16>
  %z8 = arith.constant dense<[[0x35], [-97]]> : tensor<2x1xi8>
  %by = arith.constant dense<4> : tensor<2x1xi8>
  %zs = arith.shrui %z8, %by : tensor<2x1xi8>
  %z = arith.trunci %zs : tensor<2x1xi8> to tensor<2x1xi4>
  %w = qlinear.pack %q, %s offsets(%z) : (tensor<2x16xi4>, tensor<2x1xbf16>, tensor<2x1xi4>) -> !qlinear.weight<2x16, #q4>
  %b0 = arith.constant dense_resource<b> : tensor<2xf32>
  %b1 = ml_program.global_load_const @bias : tensor<2xf32>
  %b = arith.addf %b0, %b1 : tensor<2xf32>
  %y = qlinear.linear %x, %w extras(%b) : (tensor<3x16xf32>, !qlinear.weight<2x16, #q4>, tensor<2xf32>) -> tensor<3x2xf32> {
  ^bb0(%v: f32, %c: f32):
    %0 = arith.addf %v, %c : f32
    qlinear.yield %0 : f32
  }
  return %y : tensor<3x2xf32>
}

// What depends on an argument, and what has no value (a shift by more than the width), stay.
// REMARK: [Missed] FoldConstants {{.*}} Reason="it depends on argument 0"
// REMARK: [Missed] FoldConstants {{.*}} Reason="it depends on 'arith.shli'"
// CHECK-LABEL: func.func @stays
// CHECK: arith.xori
// CHECK: arith.shli
func.func @stays(%q: tensor<2x4xi8>) -> (!qlinear.weight<2x4, #q8>, !qlinear.weight<2x4, #q8>) {
  %one = arith.constant dense<1> : tensor<2x4xi8>
  %nine = arith.constant dense<9> : tensor<2x4xi8>
  %s = arith.constant dense<1.0> : tensor<2x1xf32>
  %q0 = arith.xori %q, %one : tensor<2x4xi8>
  %w0 = qlinear.pack %q0, %s : (tensor<2x4xi8>, tensor<2x1xf32>) -> !qlinear.weight<2x4, #q8>
  %q1 = arith.shli %one, %nine : tensor<2x4xi8>
  %w1 = qlinear.pack %q1, %s : (tensor<2x4xi8>, tensor<2x1xf32>) -> !qlinear.weight<2x4, #q8>
  return %w0, %w1 : !qlinear.weight<2x4, #q8>, !qlinear.weight<2x4, #q8>
}

{-#
  dialect_resources: { builtin: { b: "0x040000000000804000000040" } }
#-}
