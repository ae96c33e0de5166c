// Code for arm64, made on whatever machine: the target's name says the architecture. No
// library of arm64 is needed to link an artifact.

// RUN: quant-compile %s --target=cpu:neon-i8mm --emit=llvm -o - | FileCheck %s --check-prefixes=CODE,I8MM
// RUN: quant-compile %s --target=cpu:neon-dotprod --emit=llvm -o - | FileCheck %s --check-prefixes=CODE,DOTPROD
// RUN: quant-compile %s --target=cpu:neon --emit=llvm -o - | FileCheck %s --check-prefixes=CODE,NEON
// RUN: quant-compile %s --target=cpu:neon-dotprod --emit=obj -o %t.o
// RUN: llvm-readobj -h %t.o | FileCheck %s --check-prefix=ELF
// RUN: quant-compile %s --target=cpu:arm64 -o %t.so --header=%t.h --save-temps=%t.temps
// RUN: llvm-readobj -h --needed-libs --dyn-syms %t.so | FileCheck %s --check-prefixes=ELF,SO
// RUN: FileCheck %s --check-prefix=MANIFEST --input-file=%t.temps/manifest.json
// The same functions and the same header as of any target.
// RUN: quant-compile %s --target=cpu:portable -o %t.host.so --header=%t.host.h
// RUN: diff %t.h %t.host.h
// A GPU's code and the emulated device go with CPUs of any architecture.
// RUN: quant-compile %s --target=cuda:sm_90,cuda:emulated,cpu:neon --emit=obj -o %t.gpu.o
// RUN: llvm-readobj -h %t.gpu.o | FileCheck %s --check-prefix=ELF

// RUN: not quant-compile %s --target=cpu:avx2,cpu:neon -o %t.no.so 2>&1 | FileCheck %s --check-prefix=MIXED
// MIXED: error: cpu:avx2 is for x86-64 and cpu:neon for arm64; an artifact has code for one architecture: compile one for each
// RUN: not quant-compile %s --target=cpu:arm64,cpu:x86-64 -o %t.no.so 2>&1 | FileCheck %s --check-prefix=GROUPS
// GROUPS: error: cpu:neon-i8mm is for arm64 and cpu:amx for x86-64

// RUN: not env PATH=%t.none %obj/bin/quant-compile %s --target=cpu:neon -o %t.no.so 2>&1 | FileCheck %s --check-prefix=LINKER
// LINKER: error: no linker for arm64: neither ld.lld-22 nor ld.lld is on PATH; install lld, or use --emit=obj

// CODE: target triple = "aarch64
// CODE-LABEL: define {{.*}}void @cpu_neon{{[a-z0-9_]*}}.linear0_m1(
// Half a unit is four times four rows of two vectors, and a vector four registers.
// I8MM-COUNT-64: call <4 x i32> @llvm.aarch64.neon.usdot.v4i32.v16i8
// I8MM-NOT: call {{.*}}@llvm.aarch64.neon.{{us?dot|sdot|smull}}
// DOTPROD-COUNT-64: call <4 x i32> @llvm.aarch64.neon.sdot.v4i32.v16i8
// DOTPROD-NOT: call {{.*}}@llvm.aarch64.neon.{{us?dot|sdot|smull}}
// NEON-COUNT-128: call <8 x i16> @llvm.aarch64.neon.smull.v8i16
// NEON-NOT: call {{.*}}@llvm.aarch64.neon.{{us?dot|sdot|smull}}

// ELF: Arch: aarch64
// SO-DAG: Name: qlinear_artifact
// SO-DAG: Name: narrow
// SO-DAG: Name: qlr_call
// SO-DAG: libQLinearRuntime.so
// MANIFEST: "target":"cpu:neon-i8mm"
// MANIFEST: "target":"cpu:neon-dotprod"
// MANIFEST: "target":"cpu:neon"

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
qlinear.parameter @w : !qlinear.weight<16x256, #q4>
func.func @narrow(%x: !qlinear.activations<1x256>) -> tensor<1x16xf32> {
  %w = qlinear.load @w : !qlinear.weight<16x256, #q4>
  %y = qlinear.linear %x, %w
      : (!qlinear.activations<1x256>, !qlinear.weight<16x256, #q4>) -> tensor<1x16xf32>
  return %y : tensor<1x16xf32>
}
