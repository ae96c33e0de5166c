// What cannot be tiled says why.

// RUN: not quant-opt %s --split-input-file --transform-interpreter 2>&1 | FileCheck %s

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>

// There is one loop: N is none.
// CHECK: error: too many tiles provided, expected at most 1 found 2
module attributes {transform.with_named_sequence} {
  func.func @columns(%x: tensor<4x128xf32>, %w: !qlinear.weight<64x128, #q4>) -> tensor<4x64xf32> {
    %y = qlinear.linear %x, %w
        : (tensor<4x128xf32>, !qlinear.weight<64x128, #q4>) -> tensor<4x64xf32>
    return %y : tensor<4x64xf32>
  }
  transform.named_sequence @__transform_main(%root: !transform.any_op) {
    %0 = transform.structured.match ops{["qlinear.linear"]} in %root
        : (!transform.any_op) -> !transform.any_op
    %1, %2:2 = transform.structured.tile_using_for %0 tile_sizes [2, 16]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>

// CHECK: error: 'qlinear.linear' op has quantized activations from elsewhere, of which there is no tile; tile it before qlinear-quantize-activations
module attributes {transform.with_named_sequence} {
  func.func @activations(%x: !qlinear.activations<4x128>, %w: !qlinear.weight<64x128, #q4>)
      -> tensor<4x64xf32> {
    %y = qlinear.linear %x, %w
        : (!qlinear.activations<4x128>, !qlinear.weight<64x128, #q4>) -> tensor<4x64xf32>
    return %y : tensor<4x64xf32>
  }
  transform.named_sequence @__transform_main(%root: !transform.any_op) {
    %0 = transform.structured.match ops{["qlinear.linear"]} in %root
        : (!transform.any_op) -> !transform.any_op
    %1, %2 = transform.structured.tile_using_for %0 tile_sizes [2]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>

// CHECK: error: 'qlinear.linear' op is on buffers and cannot be tiled; tile it before one-shot-bufferize
module attributes {transform.with_named_sequence} {
  func.func @buffers(%x: memref<4x128xf32>, %w: !qlinear.weight<64x128, #q4>, %y: memref<4x64xf32>) {
    qlinear.linear %x, %w outs(%y)
        : (memref<4x128xf32>, !qlinear.weight<64x128, #q4>, memref<4x64xf32>) -> ()
    return
  }
  transform.named_sequence @__transform_main(%root: !transform.any_op) {
    %0 = transform.structured.match ops{["qlinear.linear"]} in %root
        : (!transform.any_op) -> !transform.any_op
    %1, %2 = transform.structured.tile_using_for %0 tile_sizes [2]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>

// CHECK: error: 'qlinear.linear' op cannot be tiled along N = 64, since its weight is a whole; tile its user along M only
module attributes {transform.with_named_sequence} {
  func.func @user(%x: tensor<4x128xf32>, %w: !qlinear.weight<64x128, #q4>, %e: tensor<4x64xf32>)
      -> tensor<4x64xf32> {
    %y = qlinear.linear %x, %w
        : (tensor<4x128xf32>, !qlinear.weight<64x128, #q4>) -> tensor<4x64xf32>
    %z = linalg.exp ins(%y : tensor<4x64xf32>) outs(%e : tensor<4x64xf32>) -> tensor<4x64xf32>
    return %z : tensor<4x64xf32>
  }
  transform.named_sequence @__transform_main(%root: !transform.any_op) {
    %0 = transform.structured.match ops{["linalg.exp"]} in %root
        : (!transform.any_op) -> !transform.any_op
    %1, %2 = transform.structured.tile_using_forall %0 tile_sizes [0, 16]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    %3 = transform.structured.match ops{["qlinear.linear"]} in %root
        : (!transform.any_op) -> !transform.any_op
    %4, %5 = transform.structured.fuse_into_containing_op %3 into %2
        : (!transform.any_op, !transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
