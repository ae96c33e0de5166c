// One-shot bufferization of the distribution's mlir-opt keeps our operations and turns
// their tensors into memrefs.

// RUN: %mlir_opt %s --load-dialect-plugin=%libs/QLinearPlugin.so \
// RUN:   --pass-pipeline='builtin.module(one-shot-bufferize{bufferize-function-boundaries allow-return-allocs-from-loops function-boundary-type-conversion=identity-layout-map},canonicalize,cse)' \
// RUN:   | FileCheck %s

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<64x128, #q4>

// A result is a new buffer of the rows of x.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: %[[X:.*]]: memref<?x128xbf16>) -> memref<?x64xf32>
// CHECK: %[[M:.*]] = memref.dim %[[X]]
// CHECK: %[[Y:.*]] = memref.alloc(%[[M]]) {{.*}}: memref<?x64xf32>
// CHECK: qlinear.linear %[[X]], %{{.*}} outs(%[[Y]]) : (memref<?x128xbf16>, !qlinear.weight<64x128, #{{.*}}>, memref<?x64xf32>) -> ()
// CHECK: return %[[Y]]
func.func @linear(%x: tensor<?x128xbf16>) -> tensor<?x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x128, #q4>
  %y = qlinear.linear %x, %w
      : (tensor<?x128xbf16>, !qlinear.weight<64x128, #q4>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// With outs the result is written in place; the epilogue and its extras come along.
// CHECK-LABEL: func.func @in_place
// CHECK-SAME: %[[X:.*]]: memref<4x128xbf16>, %[[B:.*]]: memref<64xf32>, %[[Y:.*]]: memref<4x64xf32>
// CHECK-NOT: alloc
// CHECK: qlinear.linear %[[X]], %{{.*}} extras(%[[B]]) outs(%[[Y]])
// CHECK-NEXT: ^bb0(%{{.*}}: f32, %{{.*}}: f32):
// CHECK-NEXT: arith.addf
// CHECK: return
func.func @in_place(%x: tensor<4x128xbf16>, %b: tensor<64xf32>,
                    %out: tensor<4x64xf32> {bufferization.writable = true}) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x128, #q4>
  %y = qlinear.linear %x, %w extras(%b) outs(%out)
      : (tensor<4x128xbf16>, !qlinear.weight<64x128, #q4>, tensor<64xf32>, tensor<4x64xf32>)
        -> tensor<4x64xf32> {
  ^bb0(%a: f32, %c: f32):
    %s = arith.addf %a, %c : f32
    qlinear.yield %s : f32
  }
  return %y : tensor<4x64xf32>
}

// What outs replaces is read afterwards: a copy is needed.
// CHECK-LABEL: func.func @conflict
// CHECK-SAME: %[[X:.*]]: memref<4x128xbf16>, %[[OLD:.*]]: memref<4x64xf32>
// CHECK: %[[NEW:.*]] = memref.alloc
// CHECK: qlinear.linear %[[X]], %{{.*}} outs(%[[NEW]])
// CHECK: linalg.add ins(%[[NEW]], %[[OLD]]
func.func @conflict(%x: tensor<4x128xbf16>,
                    %old: tensor<4x64xf32> {bufferization.writable = true}) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x128, #q4>
  %y = qlinear.linear %x, %w outs(%old)
      : (tensor<4x128xbf16>, !qlinear.weight<64x128, #q4>, tensor<4x64xf32>) -> tensor<4x64xf32>
  %e = tensor.empty() : tensor<4x64xf32>
  %s = linalg.add ins(%y, %old : tensor<4x64xf32>, tensor<4x64xf32>)
      outs(%e : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %s : tensor<4x64xf32>
}

// Quantized activations are the bytes of their rows, also across functions.
// CHECK-LABEL: func.func @activations
// CHECK-SAME: %[[X:.*]]: memref<?x128xf32>) -> memref<?x320xi8>
// CHECK: %[[A:.*]] = memref.alloc(%{{.*}}) {{.*}}: memref<?x320xi8>
// CHECK: qlinear.quantize_activations %[[X]] outs(%[[A]] : memref<?x320xi8>) : memref<?x128xf32>
// CHECK: return %[[A]]
func.func @activations(%x: tensor<?x128xf32>) -> !qlinear.activations<?x128> {
  %a = qlinear.quantize_activations %x : tensor<?x128xf32> -> !qlinear.activations<?x128>
  return %a : !qlinear.activations<?x128>
}

// CHECK-LABEL: func.func @quantized
// CHECK-SAME: %[[A:.*]]: memref<?x320xi8>
// CHECK: memref.alloc(%{{.*}}) {{.*}}: memref<?x64xf32>
// CHECK: qlinear.linear %[[A]], %{{.*}} outs(
// CHECK: memref.alloc(%{{.*}}) {{.*}}: memref<?x128xf32>
// CHECK: qlinear.dequantize %[[A]] outs(%{{.*}} : memref<?x128xf32>) : memref<?x320xi8>
func.func @quantized(%a: !qlinear.activations<?x128>) -> (tensor<?x64xf32>, tensor<?x128xf32>) {
  %w = qlinear.load @w : !qlinear.weight<64x128, #q4>
  %y = qlinear.linear %a, %w
      : (!qlinear.activations<?x128>, !qlinear.weight<64x128, #q4>) -> tensor<?x64xf32>
  %d = qlinear.dequantize %a : !qlinear.activations<?x128> -> tensor<?x128xf32>
  return %y, %d : tensor<?x64xf32>, tensor<?x128xf32>
}

// A loop that carries its rows.
// CHECK-LABEL: func.func @loop
// CHECK: scf.for
// CHECK: qlinear.linear
func.func @loop(%x: tensor<2x128xf32>, %n: index) -> tensor<2x128xf32> {
  %p = qlinear.load @square : !qlinear.weight<128x128, #q4>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%a = %x) -> tensor<2x128xf32> {
    %b = qlinear.linear %a, %p
        : (tensor<2x128xf32>, !qlinear.weight<128x128, #q4>) -> tensor<2x128xf32>
    scf.yield %b : tensor<2x128xf32>
  }
  return %y : tensor<2x128xf32>
}
qlinear.parameter @square : !qlinear.weight<128x128, #q4>

// A weight is a handle of its components, constants or not.
// CHECK-LABEL: func.func @packed
// CHECK-SAME: %[[Q:.*]]: memref<64x128xi4>, %[[S:.*]]: memref<64x4xbf16>
// CHECK: %[[Z:.*]] = memref.get_global @{{.*}} : memref<64x4xbf16>
// CHECK: %[[W:.*]] = qlinear.pack %[[Q]], %[[S]] offsets(%[[Z]]) : (memref<64x128xi4>, memref<64x4xbf16>, memref<64x4xbf16>)
// CHECK: qlinear.dequantize %[[W]] outs(%{{.*}} : memref<64x128xf32>) : !qlinear.weight
func.func @packed(%q: tensor<64x128xi4>, %s: tensor<64x4xbf16>) -> tensor<64x128xf32> {
  %z = arith.constant dense<8.0> : tensor<64x4xbf16>
  %w = qlinear.pack %q, %s offsets(%z)
      : (tensor<64x128xi4>, tensor<64x4xbf16>, tensor<64x4xbf16>) -> !qlinear.weight<64x128, #q4>
  %d = qlinear.dequantize %w : !qlinear.weight<64x128, #q4> -> tensor<64x128xf32>
  return %d : tensor<64x128xf32>
}
