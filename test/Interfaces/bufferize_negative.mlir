// Upstream's bufferization of scf takes builtin tensors only: what would not end is an error,
// with an analysis and without.

// RUN: timeout 120 quant-opt %s --split-input-file --verify-diagnostics \
// RUN:   --one-shot-bufferize=bufferize-function-boundaries
// RUN: not timeout 120 quant-opt %s --split-input-file --one-shot-bufferize="bufferize-function-boundaries copy-before-write" \
// RUN:   2>&1 | FileCheck %s --check-prefix=COPY
// COPY: error: 'scf.if' takes or returns quantized activations, where
// COPY: error: 'scf.if' takes or returns
// COPY: error: 'scf.for' takes or returns
// COPY: error: 'scf.while' takes or returns
// COPY: error: 'scf.if' takes or returns
// RUN: not timeout 120 quant-opt %s --split-input-file --one-shot-bufferize=must-infer-memory-space \
// RUN:   2>&1 | FileCheck %s
// CHECK: the memory space of a result is unknown; bufferize with a default memory space

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<64x128, #q4>

func.func @from(%c: i1, %a: !qlinear.activations<2x128>, %b: !qlinear.activations<2x128>)
    -> tensor<2x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x128, #q4>
  // expected-error @below {{'scf.if' takes or returns quantized activations, where only builtin tensors can be bufferized; quantize them on the side of it where they are used}}
  %x = scf.if %c -> !qlinear.activations<2x128> {
    scf.yield %a : !qlinear.activations<2x128>
  } else {
    scf.yield %b : !qlinear.activations<2x128>
  }
  %y = qlinear.linear %x, %w
      : (!qlinear.activations<2x128>, !qlinear.weight<64x128, #q4>) -> tensor<2x64xf32>
  return %y : tensor<2x64xf32>
}

// -----

func.func @to(%c: i1, %a: tensor<2x128xf32>, %b: !qlinear.activations<2x128>) {
  // expected-error @below {{'scf.if' takes or returns}}
  %x = scf.if %c -> !qlinear.activations<2x128> {
    %q = qlinear.quantize_activations %a : tensor<2x128xf32> -> !qlinear.activations<2x128>
    scf.yield %q : !qlinear.activations<2x128>
  } else {
    scf.yield %b : !qlinear.activations<2x128>
  }
  return
}

// -----

func.func @loop(%n: index, %a: tensor<2x128xf32>) {
  %q = qlinear.quantize_activations %a : tensor<2x128xf32> -> !qlinear.activations<2x128>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // expected-error @below {{'scf.for' takes or returns}}
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%b = %q) -> !qlinear.activations<2x128> {
    scf.yield %b : !qlinear.activations<2x128>
  }
  return
}

// -----

// Taken, but not returned.
func.func @while(%c: i1, %a: tensor<2x128xf32>) {
  %q = qlinear.quantize_activations %a : tensor<2x128xf32> -> !qlinear.activations<2x128>
  // expected-error @below {{'scf.while' takes or returns}}
  scf.while (%b = %q) : (!qlinear.activations<2x128>) -> () {
    scf.condition(%c)
  } do {
    scf.yield %q : !qlinear.activations<2x128>
  }
  return
}

// -----

// Of values that none of our operations has a part in, before and after one that has others.
func.func @apart(%c: i1, %a: !qlinear.activations<2x128>, %b: !qlinear.activations<2x128>,
                 %d: tensor<2x128xf32>) -> !qlinear.activations<2x128> {
  %p = qlinear.quantize_activations %d : tensor<2x128xf32> -> !qlinear.activations<2x128>
  // expected-error @below {{'scf.if' takes or returns}}
  %x = scf.if %c -> !qlinear.activations<2x128> {
    scf.yield %a : !qlinear.activations<2x128>
  } else {
    scf.yield %b : !qlinear.activations<2x128>
  }
  %q = qlinear.quantize_activations %d : tensor<2x128xf32> -> !qlinear.activations<2x128>
  return %x : !qlinear.activations<2x128>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @space(%w: !qlinear.weight<64x128, #q4>) -> tensor<64x128xf32> {
  %d = qlinear.dequantize %w : !qlinear.weight<64x128, #q4> -> tensor<64x128xf32>
  return %d : tensor<64x128xf32>
}
