// What goes wrong between a gpu.module and a cubin.
//
// RUN: rm -rf %t && split-file %s %t
// RUN: not quant-opt %t/kernel.mlir --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_52}))' 2>&1 | FileCheck %s --check-prefix=CHIP
// CHIP: error: unknown chip 'sm_52'; known are sm_75, sm_80, sm_86, sm_87, sm_89, sm_90, sm_100, sm_103, sm_110, sm_120 and sm_121; with a at the end sm_90, sm_100, sm_103, sm_110, sm_120 and sm_121; with f sm_100, sm_103, sm_110, sm_120 and sm_121
// RUN: not quant-opt %t/kernel.mlir --qlinear-to-gpu=target=cuda:sm_52 2>&1 | FileCheck %s --check-prefix=TARGET
// TARGET: error: unknown target 'cuda:sm_52'; GPU targets are cuda:emulated, and cuda:CHIP with CHIP one of sm_75, sm_80, sm_86, sm_87, sm_89, sm_90, sm_100, sm_103, sm_110, sm_120 and sm_121; with a at the end sm_90, sm_100, sm_103, sm_110, sm_120 and sm_121; with f sm_100, sm_103, sm_110, sm_120 and sm_121
// RUN: not quant-opt %t/calls.mlir --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx))' 2>&1 | FileCheck %s --check-prefix=CALLS
// CALLS: error: kernels call 'elsewhere', which no device code defines; the epilogue uses an operation of the math dialect without a GPU expansion
// RUN: not quant-opt %t/signature.mlir --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx))' 2>&1 | FileCheck %s --check-prefix=SIGNATURE
// SIGNATURE: error: micro-kernel 'ql_divide' is called as i64 (i32, i32), but it is i32 (i32, i32); the call and kernels/ have to be changed together

// A ptxas that fails, and one that takes its output away.
// RUN: mkdir %t/fails %t/removes %t/empty
// RUN: printf '#!/bin/sh\necho out of registers\nexit 3\n' > %t/fails/ptxas
// RUN: printf '#!/bin/sh\nfor a in "$@"; do last=$a; done\nexec rm "$last"\n' > %t/removes/ptxas
// RUN: chmod +x %t/fails/ptxas %t/removes/ptxas
// RUN: not env PATH=%t/fails:/usr/bin:/bin %obj/bin/quant-opt %t/kernel.mlir --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{ptxas-log}))' 2>&1 | FileCheck %s --check-prefix=FAILS
// FAILS: error: ptxas ({{.*}}fails/ptxas) failed for sm_80:{{.*}}out of registers
// RUN: not env PATH=%t/removes:/usr/bin:/bin %obj/bin/quant-opt %t/kernel.mlir --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{ptxas-log}))' 2>&1 | FileCheck %s --check-prefix=REMOVES
// REMOVES: error: cannot read what ptxas wrote: No such file or directory
// RUN: not env TMPDIR=%t/none PATH=%t/fails:/usr/bin:/bin %obj/bin/quant-opt %t/kernel.mlir --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{ptxas-log}))' 2>&1 | FileCheck %s --check-prefix=TEMPORARY
// TEMPORARY: error: cannot make a temporary file for ptxas: No such file or directory

//--- kernel.mlir
gpu.module @kernels {
  llvm.func @nothing() attributes {nvvm.kernel} {
    llvm.return
  }
}

//--- calls.mlir
gpu.module @kernels {
  llvm.func @elsewhere()
  llvm.func @calls() attributes {nvvm.kernel} {
    llvm.call @elsewhere() : () -> ()
    llvm.return
  }
}

//--- signature.mlir
gpu.module @kernels {
  llvm.func @ql_divide(i32, i32) -> i64
  llvm.func @calls(%a: i32, %p: !llvm.ptr) attributes {nvvm.kernel} {
    %0 = llvm.call @ql_divide(%a, %a) : (i32, i32) -> i64
    llvm.store %0, %p : i64, !llvm.ptr
    llvm.return
  }
}
