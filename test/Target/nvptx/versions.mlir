// The PTX version of each chip: the oldest that has it and what kernels for it use, as a
// driver refuses PTX that is newer than itself; or the one that is asked for.
//
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_75}))' -o %t | FileCheck %s -DCHIP=sm_75 -DVERSION=7.4
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_80}))' -o %t | FileCheck %s -DCHIP=sm_80 -DVERSION=7.4
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_86}))' -o %t | FileCheck %s -DCHIP=sm_86 -DVERSION=7.4
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_87}))' -o %t | FileCheck %s -DCHIP=sm_87 -DVERSION=7.4
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_89}))' -o %t | FileCheck %s -DCHIP=sm_89 -DVERSION=7.8
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_90}))' -o %t | FileCheck %s -DCHIP=sm_90 -DVERSION=8.0
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_90a}))' -o %t | FileCheck %s -DCHIP=sm_90a -DVERSION=8.0
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_100}))' -o %t | FileCheck %s -DCHIP=sm_100 -DVERSION=8.6
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_103}))' -o %t | FileCheck %s -DCHIP=sm_103 -DVERSION=9.0
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_110}))' -o %t | FileCheck %s -DCHIP=sm_110 -DVERSION=9.0
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_120}))' -o %t | FileCheck %s -DCHIP=sm_120 -DVERSION=8.7
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_121}))' -o %t | FileCheck %s -DCHIP=sm_121 -DVERSION=9.0
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_100a}))' -o %t | FileCheck %s -DCHIP=sm_100a -DVERSION=8.6
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_103a}))' -o %t | FileCheck %s -DCHIP=sm_103a -DVERSION=9.0
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_103f}))' -o %t | FileCheck %s -DCHIP=sm_103f -DVERSION=9.0
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_120a}))' -o %t | FileCheck %s -DCHIP=sm_120a -DVERSION=8.7
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_120f}))' -o %t | FileCheck %s -DCHIP=sm_120f -DVERSION=8.8
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_121f}))' -o %t | FileCheck %s -DCHIP=sm_121f -DVERSION=9.0
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_90 ptx-version=8.4}))' -o %t | FileCheck %s -DCHIP=sm_90 -DVERSION=8.4

// The chip of the module, where no other is given.
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx))' -o %t | FileCheck %s -DCHIP=sm_86 -DVERSION=7.4

// CHECK: .version [[VERSION]]
// CHECK-NEXT: .target [[CHIP]]{{$}}
gpu.module @kernels [#nvvm.target<chip = "sm_86">] {
  llvm.func @nothing() attributes {nvvm.kernel} {
    llvm.return
  }
}
