// A table of 256 codes is a constant in the memory of the module whose kernels look it
// up. Smaller ones are found in registers, and other kernels have no table at all.
//
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-to-gpu{target=cuda:sm_80},gpu.module(qlinear-print-ptx))' -o %t.mlir | FileCheck %s
// RUN: sed s/example8/i8/ %s > %t.i8.mlir
// RUN: quant-opt %t.i8.mlir --pass-pipeline='builtin.module(qlinear-to-gpu{target=cuda:sm_80},gpu.module(qlinear-print-ptx))' -o %t.mlir | FileCheck %s --check-prefix=NONE
// RUN: sed s/example8/example3/ %s > %t.3.mlir
// RUN: quant-opt %t.3.mlir --pass-pipeline='builtin.module(qlinear-to-gpu{target=cuda:sm_80},gpu.module(qlinear-print-ptx))' -o %t.mlir | FileCheck %s --check-prefix=NONE

// A last byte of 0 is left out.
// CHECK: .global .align 1 .b8 [[TABLE:[_A-Za-z0-9]+]][256] = {128, {{.*}}, 4, 2};
// CHECK: .entry
// CHECK: [[TABLE]]
// CHECK: ld.global{{[.a-z]*}}.b8
// NONE-NOT: .global .align
// NONE: .entry
// NONE-NOT: .local

#weight = #qlinear.encoding<example8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<1x512xbf16>, %w: !qlinear.weight<64x512, #weight>) -> tensor<1x64xbf16> {
  %y = qlinear.linear %x, %w : (tensor<1x512xbf16>, !qlinear.weight<64x512, #weight>) -> tensor<1x64xbf16>
  return %y : tensor<1x64xbf16>
}
