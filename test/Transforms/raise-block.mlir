// The MLP block of a decoder with its norms, activations and residuals in plain linalg: after
// raising and fusing it has the operations of examples/blocks, each of which is a launch: the
// output projection with the residual, the norm, gate and up with the activation, down with the
// residual.

// RUN: quant-opt %s --qlinear-raise --canonicalize --cse --qlinear-fuse --canonicalize | FileCheck %s

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
#map = affine_map<(m, k) -> (m, k)>
#row = affine_map<(m, k) -> (m, 0)>
#vec = affine_map<(m, k) -> (k)>
qlinear.parameter @o : !qlinear.weight<64x64, #q4>
qlinear.parameter @gate : !qlinear.weight<128x64, #q4>
qlinear.parameter @up : !qlinear.weight<128x64, #q4>
qlinear.parameter @down : !qlinear.weight<64x128, #q4>

// CHECK-LABEL: func.func @rest
// CHECK-SAME: (%[[A:.*]]: tensor<?x64xbf16>, %[[R:.*]]: tensor<?x64xbf16>, %[[W:.*]]: tensor<64xbf16>)
// CHECK-NOT: linalg
// CHECK: %[[H:.*]] = qlinear.linear %[[A]], %{{.*}} extras(%[[R]])
// CHECK-NOT: linalg
// CHECK: %[[N:.*]] = qlinear.norm rms %[[H]] extras(%[[W]]) epsilon = 9.99999974E-6 : (tensor<?x64xbf16>, tensor<64xbf16>) -> tensor<?x64xbf16>
// CHECK-NOT: linalg
// CHECK: %[[P:.*]] = qlinear.linear %[[N]], %{{.*}}, %{{.*}} : {{.*}} -> tensor<?x128xbf16>
// CHECK: math.exp
// CHECK-NOT: linalg
// CHECK: %[[Y:.*]] = qlinear.linear %[[P]], %{{.*}} extras(%[[H]])
// CHECK-NOT: linalg
// CHECK: return %[[Y]]
func.func @rest(%att: tensor<?x64xbf16>, %res: tensor<?x64xbf16>, %w: tensor<64xbf16>) -> tensor<?x64xbf16> {
  %wo = qlinear.load @o : !qlinear.weight<64x64, #q4>
  %oo = qlinear.linear %att, %wo : (tensor<?x64xbf16>, !qlinear.weight<64x64, #q4>) -> tensor<?x64xbf16>
  %c00 = arith.constant 0 : index
  %rows = tensor.dim %att, %c00 : tensor<?x64xbf16>
  %e0 = tensor.empty(%rows) : tensor<?x64xbf16>
  %h = linalg.generic {indexing_maps = [#map, #map, #map], iterator_types = ["parallel", "parallel"]}
      ins(%res, %oo : tensor<?x64xbf16>, tensor<?x64xbf16>) outs(%e0 : tensor<?x64xbf16>) {
  ^bb0(%p: bf16, %q: bf16, %out: bf16):
    %0 = arith.addf %p, %q : bf16
    linalg.yield %0 : bf16
  } -> tensor<?x64xbf16>
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %k = arith.constant 6.400000e+01 : f32
  %eps = arith.constant 9.99999974E-6 : f32
  %two = arith.constant 2.0 : f32
  %m = tensor.dim %h, %c0 : tensor<?x64xbf16>
  %e = tensor.empty(%m) : tensor<?x64xf32>
  %hf = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%h : tensor<?x64xbf16>) outs(%e : tensor<?x64xf32>) {
  ^bb0(%a: bf16, %o: f32):
    %0 = arith.extf %a : bf16 to f32
    linalg.yield %0 : f32
  } -> tensor<?x64xf32>
  %sq = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%hf : tensor<?x64xf32>) outs(%e : tensor<?x64xf32>) {
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
  %nn = linalg.generic {indexing_maps = [#map, #row, #map], iterator_types = ["parallel", "parallel"]} ins(%hf, %r : tensor<?x64xf32>, tensor<?x1xf32>) outs(%e : tensor<?x64xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %0 = arith.mulf %a, %b : f32
    linalg.yield %0 : f32
  } -> tensor<?x64xf32>
  %eb = tensor.empty(%m) : tensor<?x64xbf16>
  %t = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%nn : tensor<?x64xf32>) outs(%eb : tensor<?x64xbf16>) {
  ^bb0(%a: f32, %o: bf16):
    %0 = arith.truncf %a : f32 to bf16
    linalg.yield %0 : bf16
  } -> tensor<?x64xbf16>
  %n = linalg.generic {indexing_maps = [#vec, #map, #map], iterator_types = ["parallel", "parallel"]} ins(%w, %t : tensor<64xbf16>, tensor<?x64xbf16>) outs(%eb : tensor<?x64xbf16>) {
  ^bb0(%a: bf16, %b: bf16, %o: bf16):
    %0 = arith.mulf %a, %b : bf16
    linalg.yield %0 : bf16
  } -> tensor<?x64xbf16>
  %wg = qlinear.load @gate : !qlinear.weight<128x64, #q4>
  %wu = qlinear.load @up : !qlinear.weight<128x64, #q4>
  %g = qlinear.linear %n, %wg : (tensor<?x64xbf16>, !qlinear.weight<128x64, #q4>) -> tensor<?x128xbf16>
  %u = qlinear.linear %n, %wu : (tensor<?x64xbf16>, !qlinear.weight<128x64, #q4>) -> tensor<?x128xbf16>
  %e2 = tensor.empty(%rows) : tensor<?x128xbf16>
  %silu = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]}
      ins(%g : tensor<?x128xbf16>) outs(%e2 : tensor<?x128xbf16>) {
  ^bb0(%p: bf16, %out: bf16):
    %one = arith.constant 1.0 : f32
    %0 = arith.extf %p : bf16 to f32
    %1 = arith.negf %0 : f32
    %2 = math.exp %1 : f32
    %3 = arith.addf %2, %one : f32
    %4 = arith.divf %0, %3 : f32
    %5 = arith.truncf %4 : f32 to bf16
    linalg.yield %5 : bf16
  } -> tensor<?x128xbf16>
  %both = linalg.generic {indexing_maps = [#map, #map, #map], iterator_types = ["parallel", "parallel"]}
      ins(%silu, %u : tensor<?x128xbf16>, tensor<?x128xbf16>) outs(%e2 : tensor<?x128xbf16>) {
  ^bb0(%p: bf16, %q: bf16, %out: bf16):
    %0 = arith.mulf %p, %q : bf16
    linalg.yield %0 : bf16
  } -> tensor<?x128xbf16>
  %wd = qlinear.load @down : !qlinear.weight<64x128, #q4>
  %d = qlinear.linear %both, %wd : (tensor<?x128xbf16>, !qlinear.weight<64x128, #q4>) -> tensor<?x64xbf16>
  %y = linalg.generic {indexing_maps = [#map, #map, #map], iterator_types = ["parallel", "parallel"]}
      ins(%h, %d : tensor<?x64xbf16>, tensor<?x64xbf16>) outs(%e0 : tensor<?x64xbf16>) {
  ^bb0(%p: bf16, %q: bf16, %out: bf16):
    %0 = arith.addf %p, %q : bf16
    linalg.yield %0 : bf16
  } -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}
