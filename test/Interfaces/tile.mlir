// The transform dialect of the distribution's mlir-opt tiles a linear along M and fuses it
// into the loop of its user. What the tiled module computes is compared in
// tile-run.test.

// RUN: %mlir_opt %s --load-dialect-plugin=%libs/QLinearPlugin.so \
// RUN:   --pass-pipeline='builtin.module(transform-preload-library{transform-library-paths=%S/Inputs/tile.transform.mlir},transform-interpreter,canonicalize,cse)' \
// RUN:   | FileCheck %s

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<64x128, #q4>

// Rows of x and of the M x N extra; the weight and the bias as a whole; the epilogue.
// CHECK-LABEL: func.func @tile
// CHECK-SAME: %[[X:.*]]: tensor<?x128xbf16>, %[[B:.*]]: tensor<64xf32>, %[[R:.*]]: tensor<?x64xf32>)
// CHECK: %[[W:.*]] = qlinear.load @w
// CHECK: scf.for %[[M:.*]] = {{.*}} iter_args(%[[ACC:.*]] =
// CHECK: %[[XT:.*]] = tensor.extract_slice %[[X]][%[[M]], 0] [%[[T:.*]], 128] [1, 1]
// CHECK: %[[RT:.*]] = tensor.extract_slice %[[R]][%[[M]], 0] [%[[T]], 64] [1, 1]
// CHECK: %[[Y:.*]] = qlinear.linear %[[XT]], %[[W]] extras(%[[B]], %[[RT]])
// CHECK-NEXT: ^bb0
// CHECK: tensor.insert_slice %[[Y]] into %[[ACC]][%[[M]], 0] [%[[T]], 64] [1, 1]
func.func @tile(%x: tensor<?x128xbf16>, %b: tensor<64xf32>, %r: tensor<?x64xf32>)
    -> tensor<?x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x128, #q4>
  %y = qlinear.linear %x, %w extras(%b, %r) {tile}
      : (tensor<?x128xbf16>, !qlinear.weight<64x128, #q4>, tensor<64xf32>, tensor<?x64xf32>)
        -> tensor<?x64xf32> {
  ^bb0(%a: f32, %c: f32, %d: f32):
    %0 = arith.addf %a, %c : f32
    %1 = arith.addf %0, %d : f32
    qlinear.yield %1 : f32
  }
  return %y : tensor<?x64xf32>
}

// Activations that are quantized: a tile quantizes its rows.
// CHECK-LABEL: func.func @fuse
// CHECK: scf.forall (%{{.*}}) in (2) shared_outs
// CHECK: %[[XT:.*]] = tensor.extract_slice %{{.*}} : tensor<4x128xf32> to tensor<2x128xf32>
// CHECK: %[[A:.*]] = qlinear.quantize_activations %[[XT]] : tensor<2x128xf32> -> !qlinear.activations<2x128>
// CHECK: %[[Y:.*]] = qlinear.linear %[[A]], %{{.*}} : (!qlinear.activations<2x128>, !qlinear.weight<64x128, #{{.*}}>) -> tensor<2x64xf32>
// CHECK: linalg.generic {{.*}} ins(%[[Y]] : tensor<2x64xf32>)
func.func @fuse(%x: tensor<4x128xf32>) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x128, #q4>
  %q = qlinear.quantize_activations %x : tensor<4x128xf32> -> !qlinear.activations<4x128>
  %y = qlinear.linear %q, %w {fuse}
      : (!qlinear.activations<4x128>, !qlinear.weight<64x128, #q4>) -> tensor<4x64xf32>
  %e = tensor.empty() : tensor<4x64xf32>
  %z = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>,
      affine_map<(m, n) -> (m, n)>], iterator_types = ["parallel", "parallel"]}
      ins(%y : tensor<4x64xf32>) outs(%e : tensor<4x64xf32>) attrs = {tile} {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.mulf %a, %a : f32
    linalg.yield %0 : f32
  } -> tensor<4x64xf32>
  return %z : tensor<4x64xf32>
}
