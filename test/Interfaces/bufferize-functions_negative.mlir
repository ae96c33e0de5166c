// A conditional that hands on quantized activations in another function than our operations:
// found where all functions are bufferized together.

// RUN: timeout 120 quant-opt %s --verify-diagnostics --one-shot-bufferize=bufferize-function-boundaries

func.func private @only(%c: i1, %a: !qlinear.activations<2x128>, %b: !qlinear.activations<2x128>)
    -> !qlinear.activations<2x128> {
  // expected-error @below {{'scf.execute_region' takes or returns}}
  %x = scf.execute_region -> !qlinear.activations<2x128> {
    scf.yield %a : !qlinear.activations<2x128>
  }
  return %x : !qlinear.activations<2x128>
}
func.func @caller(%c: i1, %d: tensor<2x128xf32>) -> !qlinear.activations<2x128> {
  %q = qlinear.quantize_activations %d : tensor<2x128xf32> -> !qlinear.activations<2x128>
  %y = call @only(%c, %q, %q) : (i1, !qlinear.activations<2x128>, !qlinear.activations<2x128>) -> !qlinear.activations<2x128>
  return %y : !qlinear.activations<2x128>
}
