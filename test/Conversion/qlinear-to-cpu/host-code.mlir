// REQUIRES: avx2
// RUN: quant-opt %s -o /dev/null --pass-pipeline='builtin.module(qlinear-to-cpu,qlinear-print-host-llvm{isa=avx512vnni})' > %t.avx512vnni
// RUN: FileCheck %s --check-prefix=INLINED --input-file=%t.avx512vnni
// RUN: FileCheck %s --check-prefix=PREFETCH --input-file=%t.avx512vnni
// RUN: quant-opt %s -o /dev/null --pass-pipeline='builtin.module(qlinear-to-cpu,qlinear-print-host-llvm{isa=avx2})' > %t.avx2
// RUN: FileCheck %s --check-prefix=INLINED --input-file=%t.avx2
// RUN: quant-opt %s -o /dev/null --pass-pipeline='builtin.module(qlinear-to-cpu,qlinear-print-host-llvm{isa=portable})' > %t.portable
// RUN: FileCheck %s --check-prefix=INLINED --input-file=%t.portable
// RUN: FileCheck %s --check-prefix=VNNI --input-file=%t.avx512vnni
// RUN: FileCheck %s --check-prefix=AVX2 --input-file=%t.avx2

// The micro-kernels are inlined and their constants folded: with AVX-512 one unit of 16
// rows x 256 columns is straight-line code, 64 dot products of 64 bytes each (a load of 4-bit
// codes feeds two), and the weights are prefetched: 36 lines, up to a multiple of 8.

#q4_row = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>

func.func @f(%x: !qlinear.activations<1x512>, %w: !qlinear.weight<32x512, #q4_row>) -> tensor<1x32xf32> {
  %y = qlinear.linear %x, %w : (!qlinear.activations<1x512>, !qlinear.weight<32x512, #q4_row>) -> tensor<1x32xf32>
  return %y : tensor<1x32xf32>
}

// INLINED-LABEL: define void @linear0_m1(ptr {{.*}}, i32 {{.*}}, i64 {{.*}}, i64 {{.*}})
// INLINED-NOT: call {{.*}} @{{[^l]}}
// INLINED: {{^}}}

// PREFETCH-COUNT-40: call void @llvm.prefetch.p0(ptr {{.*}}, i32 0, i32 2, i32 1)
// PREFETCH-NOT: call void @llvm.prefetch

// VNNI-COUNT-64: call <16 x i32> @llvm.x86.avx512.vpdpbusd.512
// VNNI-NOT: call <16 x i32> @llvm.x86.avx512.vpdpbusd.512

// With fewer registers four rows at a time: 2 x 16 halves of 32 bytes.
// AVX2-COUNT-32: call <16 x i16> @llvm.x86.avx2.pmadd.ub.sw
// AVX2-NOT: call <16 x i16> @llvm.x86.avx2.pmadd.ub.sw
