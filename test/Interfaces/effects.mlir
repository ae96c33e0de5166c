// Upstream's CSE, DCE and loop-invariant code motion: free on tensors, bound to the memory
// they read and write on buffers.

// RUN: %mlir_opt %s --allow-unregistered-dialect --load-dialect-plugin=%libs/QLinearPlugin.so \
// RUN:   --pass-pipeline='builtin.module(canonicalize,cse,func.func(loop-invariant-code-motion))' \
// RUN:   | FileCheck %s

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<64x128, #q4>

// On tensors equal linears are one, and it leaves the loop; an unused one vanishes.
// CHECK-LABEL: func.func @tensors
// CHECK: qlinear.load
// CHECK-NEXT: %[[Y:.*]] = qlinear.linear
// CHECK-NEXT: scf.for
// CHECK-NOT: qlinear
// CHECK: "test.use"(%[[Y]], %[[Y]])
func.func @tensors(%x: tensor<4x128xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    %w = qlinear.load @w : !qlinear.weight<64x128, #q4>
    %v = qlinear.load @w : !qlinear.weight<64x128, #q4>
    %y = qlinear.linear %x, %w
        : (tensor<4x128xf32>, !qlinear.weight<64x128, #q4>) -> tensor<4x64xf32>
    %z = qlinear.linear %x, %v
        : (tensor<4x128xf32>, !qlinear.weight<64x128, #q4>) -> tensor<4x64xf32>
    %unused = qlinear.dequantize %v : !qlinear.weight<64x128, #q4> -> tensor<64x128xf32>
    "test.use"(%y, %z) : (tensor<4x64xf32>, tensor<4x64xf32>) -> ()
  }
  return
}

// On buffers each stays where it is: the second writes the buffer again after a store.
// CHECK-LABEL: func.func @buffers
// CHECK: scf.for
// CHECK: qlinear.linear
// CHECK-NEXT: memref.store
// CHECK-NEXT: qlinear.linear
// CHECK-NEXT: qlinear.quantize_activations
func.func @buffers(%x: memref<4x128xf32>, %y: memref<4x64xf32>, %a: memref<4x320xi8>,
                   %f: f32, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    %w = qlinear.load @w : !qlinear.weight<64x128, #q4>
    qlinear.linear %x, %w outs(%y)
        : (memref<4x128xf32>, !qlinear.weight<64x128, #q4>, memref<4x64xf32>) -> ()
    memref.store %f, %y[%c0, %c0] : memref<4x64xf32>
    qlinear.linear %x, %w outs(%y)
        : (memref<4x128xf32>, !qlinear.weight<64x128, #q4>, memref<4x64xf32>) -> ()
    qlinear.quantize_activations %x outs(%a : memref<4x320xi8>) : memref<4x128xf32>
  }
  return
}
