// Passes shrink a module too, as long as the failure stays.
// RUN: quant-reduce %s --opt-reduction-pass='opt-pass=canonicalize test=%S/Inputs/has-reencode.sh' \
// RUN:   | FileCheck %s
// RUN: quant-reduce %s --opt-reduction-pass='opt-pass=qlinear-fuse test=%S/Inputs/has-reencode.sh' \
// RUN:   | FileCheck %s --check-prefix=FUSED

// Unused loads go, the re-encoding that matters stays.
// CHECK-NOT: qlinear.load @b
// CHECK: qlinear.reencode
// FUSED: qlinear.reencode
#a = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
#b = #qlinear.encoding<i8, group = 32, symmetric, scale = u8 * row<f16>>
qlinear.parameter @a : !qlinear.weight<8x64, #a>
qlinear.parameter @b : !qlinear.weight<8x64, #a>
func.func @f() -> !qlinear.weight<8x64, #b> {
  %a = qlinear.load @a : !qlinear.weight<8x64, #a>
  %unused = qlinear.load @b : !qlinear.weight<8x64, #a>
  %v = qlinear.reencode %a : !qlinear.weight<8x64, #a> to !qlinear.weight<8x64, #b>
  return %v : !qlinear.weight<8x64, #b>
}
