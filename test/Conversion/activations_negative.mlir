// Quantized activations that a loop or a conditional hands on: bufferization would not end.

// RUN: quant-opt %s --qlinear-to-cpu --split-input-file --verify-diagnostics
// RUN: quant-opt %s --qlinear-to-gpu --split-input-file --verify-diagnostics

func.func @conditional(%c: i1, %a: !qlinear.activations<2x128>, %b: !qlinear.activations<2x128>) -> !qlinear.activations<2x128> {
  // expected-error @below {{'scf.if' takes or returns quantized activations, where only builtin tensors can be bufferized; quantize them on the side of it where they are used}}
  %x = scf.if %c -> !qlinear.activations<2x128> {
    scf.yield %a : !qlinear.activations<2x128>
  } else {
    scf.yield %b : !qlinear.activations<2x128>
  }
  return %x : !qlinear.activations<2x128>
}

// -----

func.func @loop(%n: index, %a: !qlinear.activations<2x128>) -> !qlinear.activations<2x128> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // expected-error @below {{'scf.for' takes or returns quantized activations}}
  %x = scf.for %i = %c0 to %n step %c1 iter_args(%y = %a) -> !qlinear.activations<2x128> {
    scf.yield %y : !qlinear.activations<2x128>
  }
  return %x : !qlinear.activations<2x128>
}
