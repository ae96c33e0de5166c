// A layer norm as torch-mlir has it: each step is an operation, sums keep their dimension; the
// scale and the shift are separate. All of it is one operation afterwards.

// RUN: quant-opt %s --qlinear-raise --qlinear-flatten-rows --canonicalize --qlinear-fuse --canonicalize \
// RUN:   | FileCheck %s

#map = affine_map<(m, k) -> (m, k)>
#row = affine_map<(m, k) -> (m, 0)>
#vec = affine_map<(m, k) -> (k)>

// CHECK-LABEL: func.func @layer
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xf32>, %[[W:.*]]: tensor<64xf32>, %[[B:.*]]: tensor<64xf32>)
// CHECK-NEXT: %[[N:.*]] = qlinear.norm layer %[[X]] extras(%[[W]], %[[B]]) epsilon = 9.99999974E-6 : (tensor<?x64xf32>, tensor<64xf32>, tensor<64xf32>) -> tensor<?x64xf32> {
// CHECK-NEXT: ^bb0(%[[A:.*]]: f32, %{{.*}}: f32, %[[S:.*]]: f32, %[[T:.*]]: f32):
// CHECK-NEXT:   %[[P:.*]] = arith.mulf %[[A]], %[[S]] : f32
// CHECK-NEXT:   %[[Q:.*]] = arith.addf %[[P]], %[[T]] : f32
// CHECK-NEXT:   qlinear.yield %[[Q]] : f32
// CHECK-NEXT: }
// CHECK-NEXT: return %[[N]]
func.func @layer(%x: tensor<?x64xf32>, %w: tensor<64xf32>, %b: tensor<64xf32>) -> tensor<?x64xf32> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %k = arith.constant 6.400000e+01 : f32
  %eps = arith.constant 9.99999974E-6 : f32
  %m = tensor.dim %x, %c0 : tensor<?x64xf32>
  %e = tensor.empty(%m) : tensor<?x64xf32>
  %e1 = tensor.empty(%m) : tensor<?x1xf32>
  %f1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<?x1xf32>) -> tensor<?x1xf32>
  %s = linalg.generic {indexing_maps = [#map, #row], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<?x64xf32>) outs(%f1 : tensor<?x1xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.addf %a, %o : f32
    linalg.yield %0 : f32
  } -> tensor<?x1xf32>
  %mean = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%s : tensor<?x1xf32>) outs(%e1 : tensor<?x1xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.divf %a, %k : f32
    linalg.yield %0 : f32
  } -> tensor<?x1xf32>
  %c = linalg.generic {indexing_maps = [#map, #row, #map], iterator_types = ["parallel", "parallel"]} ins(%x, %mean : tensor<?x64xf32>, tensor<?x1xf32>) outs(%e : tensor<?x64xf32>) {
  ^bb0(%a: f32, %r: f32, %o: f32):
    %0 = arith.subf %a, %r : f32
    linalg.yield %0 : f32
  } -> tensor<?x64xf32>
  %sq = linalg.generic {indexing_maps = [#map, #map, #map], iterator_types = ["parallel", "parallel"]} ins(%c, %c : tensor<?x64xf32>, tensor<?x64xf32>) outs(%e : tensor<?x64xf32>) {
  ^bb0(%a: f32, %r: f32, %o: f32):
    %0 = arith.mulf %a, %r : f32
    linalg.yield %0 : f32
  } -> tensor<?x64xf32>
  %q = linalg.generic {indexing_maps = [#map, #row], iterator_types = ["parallel", "reduction"]} ins(%sq : tensor<?x64xf32>) outs(%f1 : tensor<?x1xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.addf %a, %o : f32
    linalg.yield %0 : f32
  } -> tensor<?x1xf32>
  %r = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%q : tensor<?x1xf32>) outs(%e1 : tensor<?x1xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.divf %a, %k : f32
    %1 = arith.addf %0, %eps : f32
    %2 = math.rsqrt %1 : f32
    linalg.yield %2 : f32
  } -> tensor<?x1xf32>
  %n = linalg.generic {indexing_maps = [#map, #row, #map], iterator_types = ["parallel", "parallel"]} ins(%c, %r : tensor<?x64xf32>, tensor<?x1xf32>) outs(%e : tensor<?x64xf32>) {
  ^bb0(%a: f32, %f: f32, %o: f32):
    %0 = arith.mulf %a, %f : f32
    linalg.yield %0 : f32
  } -> tensor<?x64xf32>
  %p = linalg.generic {indexing_maps = [#map, #vec, #map], iterator_types = ["parallel", "parallel"]} ins(%n, %w : tensor<?x64xf32>, tensor<64xf32>) outs(%e : tensor<?x64xf32>) {
  ^bb0(%a: f32, %f: f32, %o: f32):
    %0 = arith.mulf %a, %f : f32
    linalg.yield %0 : f32
  } -> tensor<?x64xf32>
  %y = linalg.generic {indexing_maps = [#map, #vec, #map], iterator_types = ["parallel", "parallel"]} ins(%p, %b : tensor<?x64xf32>, tensor<64xf32>) outs(%e : tensor<?x64xf32>) {
  ^bb0(%a: f32, %f: f32, %o: f32):
    %0 = arith.addf %a, %f : f32
    linalg.yield %0 : f32
  } -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
