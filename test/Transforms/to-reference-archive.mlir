// Weights from an archive: their values, then what can be wrong with them.
// RUN: %python %S/Inputs/to_reference_archive.py %t
// RUN: quant-opt %s --qlinear-to-reference=weights=%t.safetensors --split-input-file --verify-diagnostics

#q = #qlinear.encoding<i6, group = 16, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<21x160, #q> from "blk.9.up"
func.func @missing() -> tensor<21x160xf32> {
  // expected-error-re @below {{'qlinear.load' op the archive {{.*}}.safetensors has no weight 'blk.9.up'}}
  %w = qlinear.load @w : !qlinear.weight<21x160, #q>
  %d = qlinear.dequantize %w : !qlinear.weight<21x160, #q> -> tensor<21x160xf32>
  return %d : tensor<21x160xf32>
}

// -----

#q = #qlinear.encoding<i6, group = 16, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<21x160, #q> from "blk.0.up"
func.func @different() -> tensor<21x160xf32> {
  // expected-error-re @below {{'qlinear.load' op the weight 'blk.0.up' of the archive {{.*}}.safetensors is 21x160, u4, group = 32, zero, scale = u8 * row<bf16>, offset = {{.*}}, but is declared as '!qlinear.weight<21x160, #qlinear.encoding<i6, group = 16, symmetric, scale = f16>>'}}
  %w = qlinear.load @w : !qlinear.weight<21x160, #q>
  %d = qlinear.dequantize %w : !qlinear.weight<21x160, #q> -> tensor<21x160xf32>
  return %d : tensor<21x160xf32>
}
