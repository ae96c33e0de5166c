// Codes 3 with scale 0.5 (q - 1): every weight is 1. The input's rows are all ones, so
// that every result is 32 + the bias. 1 / 127 * 127 is exact.
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = f32, offset = f32>
func.func @biased(%x: tensor<2x32xf32>) -> tensor<2x4xf32> {
  %codes = arith.constant dense<3> : tensor<4x32xi4>
  %scales = arith.constant dense<0.5> : tensor<4x1xf32>
  %zeros = arith.constant dense<1.0> : tensor<4x1xf32>
  %bias = arith.constant dense<[0.0, 1.0, 2.0, 3.0]> : tensor<4xf32>
  %w = qlinear.pack %codes, %scales offsets(%zeros)
      : (tensor<4x32xi4>, tensor<4x1xf32>, tensor<4x1xf32>) -> !qlinear.weight<4x32, #q4>
  %y = qlinear.linear %x, %w extras(%bias)
      : (tensor<2x32xf32>, !qlinear.weight<4x32, #q4>, tensor<4xf32>) -> tensor<2x4xf32> {
  ^bb0(%p: f32, %b: f32):
    %s = arith.addf %p, %b : f32
    qlinear.yield %s : f32
  }
  return %y : tensor<2x4xf32>
}
