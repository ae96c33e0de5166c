// A norm that only the downstream project knows, and a gated layer for QLinear.
// RUN: llm-opt --llm-lower-gated %s | FileCheck %s

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>

qlinear.parameter @gate : !qlinear.weight<256x128, #q4> from "blk.0.ffn_gate"
qlinear.parameter @up : !qlinear.weight<256x128, #q4> from "blk.0.ffn_up"

// CHECK-LABEL: func.func @block
func.func @block(%x: tensor<?x128xf32>) -> tensor<?x256xf32> {
  // CHECK: %[[NORM:.*]] = llm.rms_norm
  %n = llm.rms_norm %x : tensor<?x128xf32>
  %gate = qlinear.load @gate : !qlinear.weight<256x128, #q4>
  %up = qlinear.load @up : !qlinear.weight<256x128, #q4>
  // CHECK: qlinear.linear %[[NORM]],
  // CHECK: arith.maximumf
  // CHECK: qlinear.yield
  // CHECK-NOT: llm.gated
  %y = llm.gated %n, %gate, %up
      : (tensor<?x128xf32>, !qlinear.weight<256x128, #q4>, !qlinear.weight<256x128, #q4>)
        -> tensor<?x256xf32>
  return %y : tensor<?x256xf32>
}
