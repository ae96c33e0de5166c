#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
qlinear.parameter @w : !qlinear.weight<96x512, #q4>
func.func @linear(%x: tensor<?x512xbf16>) -> tensor<?x96xf32> {
  %w = qlinear.load @w : !qlinear.weight<96x512, #q4>
  %y = qlinear.linear %x, %w
      : (tensor<?x512xbf16>, !qlinear.weight<96x512, #q4>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}
