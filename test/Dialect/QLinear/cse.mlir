// Equal values are computed once, whatever makes them.
// RUN: quant-opt %s --cse | FileCheck %s

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
!w = !qlinear.weight<8x64, #q>

qlinear.parameter @w : !w

// CHECK-LABEL: func @same
// CHECK-NEXT: %[[W:.*]] = qlinear.load
// CHECK-NEXT: %[[A:.*]] = qlinear.quantize_activations
// CHECK-NEXT: %[[Y:.*]] = qlinear.linear %[[A]], %[[W]]
// CHECK-NEXT: return %[[Y]], %[[Y]]
func.func @same(%x: tensor<?x64xbf16>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %w = qlinear.load @w : !w
  %a = qlinear.quantize_activations %x : tensor<?x64xbf16> -> !qlinear.activations<?x64>
  %0 = qlinear.linear %a, %w : (!qlinear.activations<?x64>, !w) -> tensor<?x8xf32>
  %v = qlinear.load @w : !w
  %b = qlinear.quantize_activations %x : tensor<?x64xbf16> -> !qlinear.activations<?x64>
  %1 = qlinear.linear %b, %v : (!qlinear.activations<?x64>, !w) -> tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// Equal epilogues, and different ones.
// CHECK-LABEL: func @regions
// CHECK-COUNT-2: qlinear.linear
// CHECK-NOT: qlinear.linear
func.func @regions(%x: tensor<?x64xbf16>, %w: !w) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  %0 = qlinear.linear %x, %w : (tensor<?x64xbf16>, !w) -> tensor<?x8xf32> {
  ^bb0(%p: f32):
    %3 = arith.mulf %p, %p : f32
    qlinear.yield %3 : f32
  }
  %1 = qlinear.linear %x, %w : (tensor<?x64xbf16>, !w) -> tensor<?x8xf32> {
  ^bb0(%p: f32):
    %3 = arith.mulf %p, %p : f32
    qlinear.yield %3 : f32
  }
  %2 = qlinear.linear %x, %w : (tensor<?x64xbf16>, !w) -> tensor<?x8xf32> {
  ^bb0(%p: f32):
    %3 = arith.addf %p, %p : f32
    qlinear.yield %3 : f32
  }
  return %0, %1, %2 : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}
