#e = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<96x96, #e>
func.func @f(%x: tensor<1x96xbf16>) -> tensor<1x96xbf16> {
  %w = qlinear.load @w : !qlinear.weight<96x96, #e>
  %y = qlinear.linear %x, %w
      : (tensor<1x96xbf16>, !qlinear.weight<96x96, #e>) -> tensor<1x96xbf16>
  return %y : tensor<1x96xbf16>
}
