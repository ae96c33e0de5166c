// Upstream's bufferization of scf takes builtin tensors only: what would not end is an error.

// RUN: quant-opt %s --split-input-file --verify-diagnostics \
// RUN:   --one-shot-bufferize=bufferize-function-boundaries
// RUN: not quant-opt %s --split-input-file --one-shot-bufferize=must-infer-memory-space \
// RUN:   2>&1 | FileCheck %s
// CHECK: the memory space of a result is unknown; bufferize with a default memory space

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<64x128, #q4>

func.func @from(%c: i1, %a: !qlinear.activations<2x128>, %b: !qlinear.activations<2x128>)
    -> tensor<2x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x128, #q4>
  %x = scf.if %c -> !qlinear.activations<2x128> {
    scf.yield %a : !qlinear.activations<2x128>
  } else {
    scf.yield %b : !qlinear.activations<2x128>
  }
  // expected-error @below {{'qlinear.linear' op has quantized activations that come from or go to 'scf.if', where only builtin tensors can be bufferized; quantize them on the side of it where they are used}}
  %y = qlinear.linear %x, %w
      : (!qlinear.activations<2x128>, !qlinear.weight<64x128, #q4>) -> tensor<2x64xf32>
  return %y : tensor<2x64xf32>
}

// -----

func.func @to(%c: i1, %a: tensor<2x128xf32>, %b: !qlinear.activations<2x128>) {
  %x = scf.if %c -> !qlinear.activations<2x128> {
    // expected-error @below {{has quantized activations that come from or go to 'scf.yield'}}
    %q = qlinear.quantize_activations %a : tensor<2x128xf32> -> !qlinear.activations<2x128>
    scf.yield %q : !qlinear.activations<2x128>
  } else {
    scf.yield %b : !qlinear.activations<2x128>
  }
  return
}

// -----

func.func @loop(%n: index, %a: tensor<2x128xf32>) {
  // expected-error @below {{has quantized activations that come from or go to 'scf.for'}}
  %q = qlinear.quantize_activations %a : tensor<2x128xf32> -> !qlinear.activations<2x128>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%b = %q) -> !qlinear.activations<2x128> {
    scf.yield %b : !qlinear.activations<2x128>
  }
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @space(%w: !qlinear.weight<64x128, #q4>) -> tensor<64x128xf32> {
  %d = qlinear.dequantize %w : !qlinear.weight<64x128, #q4> -> tensor<64x128xf32>
  return %d : tensor<64x128xf32>
}
