// The kernel for many rows on matrix tiles: no machine of ours runs it, but it assembles, and
// kernels for few rows have none of it. (Its arithmetic is in unittests/Kernels, on a model
// of the instructions.) Q4_K has a sum per chunk, so 8 of them, 4 at a time, each of two
// halves.
// RUN: quant-compile %s --target=cpu:amx --emit=obj -o %t.o
// RUN: llvm-objdump -d --no-show-raw-insn --x86-asm-syntax=intel %t.o > %t.s
// RUN: FileCheck %s --input-file=%t.s
// RUN: FileCheck %s --input-file=%t.s --check-prefix=FEW

// FEW-LABEL: <cpu_amx.linear0_m1>:
// FEW-NOT:     {{tilezero|tileload|tdpb}}
// FEW-LABEL: <cpu_amx.linear0_many>:

// CHECK-LABEL: <cpu_amx.linear0_many>:
// CHECK:         ldtilecfg
// CHECK-COUNT-4: tilezero
// CHECK-COUNT-8: tdpbsud tmm{{[0-3]}}, tmm{{[45]}}, tmm{{[67]}}
// CHECK-COUNT-4: tilestored
// CHECK:         vcvtdq2ps zmm
// CHECK-COUNT-4: tilezero
// CHECK-COUNT-8: tdpbsud
// CHECK-COUNT-4: tilestored
// CHECK:         tilerelease

#q4_k = #qlinear.encoding<u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>>

qlinear.parameter @w : !qlinear.weight<64x512, #q4_k> from "w"

func.func @f(%x: tensor<?x512xf32>) -> tensor<?x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x512, #q4_k>
  %y = qlinear.linear %x, %w : (tensor<?x512xf32>, !qlinear.weight<64x512, #q4_k>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
