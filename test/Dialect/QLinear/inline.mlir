// Functions of linears are inlined like any other.
// RUN: quant-opt %s --inline | FileCheck %s

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @up : !qlinear.weight<8x64, #q>

func.func private @ffn(%x: tensor<?x64xf32>) -> tensor<?x8xf32> {
  %w = qlinear.load @up : !qlinear.weight<8x64, #q>
  %y = qlinear.linear %x, %w : (tensor<?x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<?x8xf32> {
  ^bb0(%p: f32):
    %0 = arith.negf %p : f32
    qlinear.yield %0 : f32
  }
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func @main
// CHECK-NOT: call
// Loads are named after their parameter.
// CHECK: %up = qlinear.load @up
// CHECK: qlinear.linear
// CHECK: arith.negf
// CHECK-NOT: call
func.func @main(%x: tensor<?x64xf32>) -> tensor<?x8xf32> {
  %y = call @ffn(%x) : (tensor<?x64xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
