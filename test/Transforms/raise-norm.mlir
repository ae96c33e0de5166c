// RMS norms that frontends write in linalg.

// RUN: quant-opt %s -split-input-file --qlinear-raise --qlinear-flatten-rows --canonicalize \
// RUN:   --qlinear-fuse --canonicalize | FileCheck %s

#map = affine_map<(m, k) -> (m, k)>
#row = affine_map<(m, k) -> (m, 0)>
#vec = affine_map<(m, k) -> (k)>

// As torch-mlir has transformers' LlamaRMSNorm: each step is an operation, the square is a
// power, sums keep their dimension, the result is rounded to bf16 before it is scaled. All of it
// is one operation afterwards.
// CHECK-LABEL: func.func @rms
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xbf16>, %[[W:.*]]: tensor<64xbf16>)
// CHECK-NEXT: %[[N:.*]] = qlinear.norm rms %[[X]] extras(%[[W]]) epsilon = 9.99999974E-6 : (tensor<?x64xbf16>, tensor<64xbf16>) -> tensor<?x64xbf16> {
// CHECK-NEXT: ^bb0(%[[A:.*]]: f32, %{{.*}}: f32, %[[S:.*]]: bf16):
// CHECK-NEXT:   %[[T:.*]] = arith.truncf %[[A]] : f32 to bf16
// CHECK-NEXT:   %[[P:.*]] = arith.mulf %[[S]], %[[T]] : bf16
// CHECK-NEXT:   qlinear.yield %[[P]] : bf16
// CHECK-NEXT: }
// CHECK-NEXT: return %[[N]]
func.func @rms(%x: tensor<?x64xbf16>, %w: tensor<64xbf16>) -> tensor<?x64xbf16> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %k = arith.constant 6.400000e+01 : f32
  %eps = arith.constant 9.99999974E-6 : f32
  %two = arith.constant 2.0 : f32
  %m = tensor.dim %x, %c0 : tensor<?x64xbf16>
  %e = tensor.empty(%m) : tensor<?x64xf32>
  %xf = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<?x64xbf16>) outs(%e : tensor<?x64xf32>) {
  ^bb0(%a: bf16, %o: f32):
    %0 = arith.extf %a : bf16 to f32
    linalg.yield %0 : f32
  } -> tensor<?x64xf32>
  %sq = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%xf : tensor<?x64xf32>) outs(%e : tensor<?x64xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = math.powf %a, %two : f32
    linalg.yield %0 : f32
  } -> tensor<?x64xf32>
  %e1 = tensor.empty(%m) : tensor<?x1xf32>
  %f1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<?x1xf32>) -> tensor<?x1xf32>
  %s = linalg.generic {indexing_maps = [#map, #row], iterator_types = ["parallel", "reduction"]} ins(%sq : tensor<?x64xf32>) outs(%f1 : tensor<?x1xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.addf %a, %o : f32
    linalg.yield %0 : f32
  } -> tensor<?x1xf32>
  %r = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%s : tensor<?x1xf32>) outs(%e1 : tensor<?x1xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.divf %a, %k : f32
    %1 = arith.addf %0, %eps : f32
    %2 = math.rsqrt %1 : f32
    linalg.yield %2 : f32
  } -> tensor<?x1xf32>
  %n = linalg.generic {indexing_maps = [#map, #row, #map], iterator_types = ["parallel", "parallel"]} ins(%xf, %r : tensor<?x64xf32>, tensor<?x1xf32>) outs(%e : tensor<?x64xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %0 = arith.mulf %a, %b : f32
    linalg.yield %0 : f32
  } -> tensor<?x64xf32>
  %eb = tensor.empty(%m) : tensor<?x64xbf16>
  %t = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%n : tensor<?x64xf32>) outs(%eb : tensor<?x64xbf16>) {
  ^bb0(%a: f32, %o: bf16):
    %0 = arith.truncf %a : f32 to bf16
    linalg.yield %0 : bf16
  } -> tensor<?x64xbf16>
  %y = linalg.generic {indexing_maps = [#vec, #map, #map], iterator_types = ["parallel", "parallel"]} ins(%w, %t : tensor<64xbf16>, tensor<?x64xbf16>) outs(%eb : tensor<?x64xbf16>) {
  ^bb0(%a: bf16, %b: bf16, %o: bf16):
    %0 = arith.mulf %a, %b : bf16
    linalg.yield %0 : bf16
  } -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}

// -----

// As JAX has Gemma's, after elementwise fusion: a batch, one plus the scale, the mean by a
// factor, the quotient with a root.
#map = affine_map<(b, m, k) -> (b, m, k)>
#row = affine_map<(b, m, k) -> (b, m)>
#vec = affine_map<(b, m, k) -> (k)>
#one = affine_map<(k) -> (k)>
// CHECK-LABEL: func.func @gemma
// CHECK: qlinear.norm rms %{{.*}} extras(%{{.*}}) epsilon = 9.99999997E-7 : (tensor<6x32xf16>, tensor<32xf32>) -> tensor<6x32xf16> {
// CHECK: ^bb0(%[[A:.*]]: f32, %{{.*}}: f32, %[[S:.*]]: f32):
// CHECK:   %[[W:.*]] = arith.addf %[[S]], %{{.*}} : f32
// CHECK:   arith.mulf %[[A]], %[[W]] : f32
// CHECK:   arith.truncf
// CHECK-NOT: linalg.generic
func.func @gemma(%x: tensor<2x3x32xf16>, %w: tensor<32xf32>) -> tensor<2x3x32xf16> {
  %zero = arith.constant 0.0 : f32
  %e1 = tensor.empty() : tensor<2x3xf32>
  %f1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<2x3xf32>) -> tensor<2x3xf32>
  %s = linalg.generic {indexing_maps = [#map, #row],
      iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x : tensor<2x3x32xf16>) outs(%f1 : tensor<2x3xf32>) {
  ^bb0(%a: f16, %o: f32):
    %0 = arith.extf %a : f16 to f32
    %1 = arith.mulf %0, %0 : f32
    %2 = arith.addf %o, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<2x3xf32>
  %ew = tensor.empty() : tensor<32xf32>
  %w1 = linalg.generic {indexing_maps = [#one, #one], iterator_types = ["parallel"]}
      ins(%w : tensor<32xf32>) outs(%ew : tensor<32xf32>) {
  ^bb0(%a: f32, %o: f32):
    %c = arith.constant 1.0 : f32
    %0 = arith.addf %a, %c : f32
    linalg.yield %0 : f32
  } -> tensor<32xf32>
  %e = tensor.empty() : tensor<2x3x32xf16>
  %y = linalg.generic {indexing_maps = [#map, #row, #vec, #map],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x, %s, %w1 : tensor<2x3x32xf16>, tensor<2x3xf32>, tensor<32xf32>)
      outs(%e : tensor<2x3x32xf16>) {
  ^bb0(%a: f16, %b: f32, %g: f32, %o: f16):
    %part = arith.constant 3.125e-02 : f32
    %eps = arith.constant 1.0e-06 : f32
    %0 = arith.mulf %b, %part : f32
    %1 = arith.addf %0, %eps : f32
    %2 = math.sqrt %1 : f32
    %3 = arith.extf %a : f16 to f32
    %4 = arith.divf %3, %2 : f32
    %5 = arith.mulf %4, %g : f32
    %6 = arith.truncf %5 : f32 to f16
    linalg.yield %6 : f16
  } -> tensor<2x3x32xf16>
  return %y : tensor<2x3x32xf16>
}
