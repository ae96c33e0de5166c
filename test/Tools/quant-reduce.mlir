// The reducer drops what the failure does not need.
// RUN: quant-reduce %s --reduction-tree='traversal-mode=0 test=%S/Inputs/has-reencode.sh' | FileCheck %s

// CHECK-NOT: qlinear.linear
// CHECK: qlinear.reencode
// CHECK-NOT: qlinear.linear
#a = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
#b = #qlinear.encoding<i8, group = 32, symmetric, scale = u8 * row<f16>>
func.func @unrelated(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #a>) -> tensor<4x8xf32> {
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #a>) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}
func.func @culprit(%w: !qlinear.weight<8x64, #a>) -> !qlinear.weight<8x64, #b> {
  %v = qlinear.reencode %w : !qlinear.weight<8x64, #a> to !qlinear.weight<8x64, #b>
  return %v : !qlinear.weight<8x64, #b>
}
