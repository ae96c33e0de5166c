// RUN: quant-opt %s --qlinear-to-reference --split-input-file --verify-diagnostics
// RUN: not quant-opt %s --qlinear-to-reference="accumulate=f16" --split-input-file 2>&1 | FileCheck %s --check-prefix=TYPE
// RUN: not quant-opt %s --qlinear-to-reference="weights=%t.none" --split-input-file 2>&1 | FileCheck %s --check-prefix=FILE

// TYPE: error: accumulate=f16 is not a type of sums; use f64 or f32
// FILE: error: 'qlinear.load' op {{.*}}to-reference-errors.mlir.tmp.none

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<8x64, #q>
func.func @load(%x: tensor<4x64xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{'qlinear.load' op has no reference: the weight is in an archive; name the archive with the option weights=FILE}}
  %w = qlinear.load @w : !qlinear.weight<8x64, #q>
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// -----

#a = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
#b = #qlinear.encoding<i8, group = 32, symmetric, scale = u8 * row<f16>>
func.func @reencode(%w: !qlinear.weight<8x64, #a>) -> !qlinear.weight<8x64, #b> {
  // expected-error @below {{'qlinear.reencode' op has no reference: the metadata can be re-encoded only where the weight is a constant}}
  %v = qlinear.reencode %w : !qlinear.weight<8x64, #a> to !qlinear.weight<8x64, #b>
  return %v : !qlinear.weight<8x64, #b>
}

// -----

func.func private @k()
func.func @launch(%x: tensor<4x64xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{'qlinear.launch' op has no reference: it is compiled already; run qlinear-to-reference before the lowering}}
  %y = qlinear.launch [#qlinear.variant<rows = 2, kernel = @k, items = 1>] ins(%x) : (tensor<4x64xf32>) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// -----

// Ops that nobody can lower are named.
#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @unknown(%w: !qlinear.weight<8x64, #q>) -> tensor<8x64xf32> {
  // expected-error @below {{failed to legalize operation 'builtin.unrealized_conversion_cast'}}
  %v = builtin.unrealized_conversion_cast %w : !qlinear.weight<8x64, #q> to !qlinear.activations<8x64>
  %d = qlinear.dequantize %v : !qlinear.activations<8x64> -> tensor<8x64xf32>
  return %d : tensor<8x64xf32>
}

// -----

func.func @bytes(%x: memref<4x64xf32>, %a: memref<4x320xi8>) {
  // expected-error @below {{has no reference: its quantized activations are bytes in a buffer; run qlinear-to-reference before one-shot-bufferize}}
  qlinear.quantize_activations %x outs(%a : memref<4x320xi8>) : memref<4x64xf32>
  return
}
