// The target is said once: the kernels' is the module's, and whoever asks for another one
// is told so. What a pass leaves for another is named with the pass that takes it.

// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu{target=cpu:portable})' -o %t.cpu.mlir
// RUN: FileCheck %s --check-prefix=ATTRIBUTE < %t.cpu.mlir
// ATTRIBUTE: module attributes {qlinear.target = "cpu:portable"}
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cuda{target=cuda:sm_80})' -o %t.cuda.mlir
//
// Passes read it: no option is needed after the kernels are made, or if the source says it.
// RUN: quant-opt %t.cuda.mlir --pass-pipeline='builtin.module(one-shot-bufferize{bufferize-function-boundaries},qlinear-to-runtime)' -o %t.done.mlir
// RUN: FileCheck %s --check-prefix=READ < %t.done.mlir
// READ-NOT: qlinear.target
// READ: .target sm_80
// RUN: sed 's/^module/module attributes {qlinear.target = "cuda:sm_86"}/' %s > %t.said.mlir
// RUN: quant-opt %t.said.mlir --pass-pipeline='builtin.module(qlinear-cuda)' | FileCheck %s --check-prefix=SAID
// SAID: chip = "sm_86"
// RUN: sed 's/^module/module attributes {qlinear.target = 90 : i32}/' %s | not quant-opt --qlinear-to-cpu 2>&1 | FileCheck %s --check-prefix=STRING
// STRING: error: the attribute qlinear.target is 90 : i32; it has to be a string such as "cuda:sm_90" or "cpu"
//
// RUN: not quant-opt %t.said.mlir --pass-pipeline='builtin.module(qlinear-cuda{target=cuda:sm_90})' 2>&1 | FileCheck %s --check-prefix=UNLIKE
// UNLIKE: error: the target 'cuda:sm_90' is not the module's, qlinear.target = "cuda:sm_86"; leave the option out, or compile another copy of the module for it
// RUN: not quant-opt %t.said.mlir --qlinear-to-cpu 2>&1 | FileCheck %s --check-prefix=TO-CPU
// TO-CPU: error: the target is 'cuda:sm_86'; qlinear-to-cpu makes kernels for cpu and cpu:ISA, run qlinear-to-gpu for this one
// RUN: not quant-opt %s --qlinear-to-gpu=target=cpu:avx2 2>&1 | FileCheck %s --check-prefix=TO-GPU
// TO-GPU: error: the target is 'cpu:avx2'; qlinear-to-gpu makes kernels for cuda:sm_NN and cuda:emulated, run qlinear-to-cpu for this one
// RUN: not quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu{target=cuda:sm_90})' 2>&1 | FileCheck %s --check-prefix=CPU
// CPU: error: qlinear-cpu does not compile for 'cuda:sm_90'; use qlinear-cuda{target=cuda:sm_90}
// RUN: not quant-opt %s --pass-pipeline='builtin.module(qlinear-cuda{target=cpu:portable})' 2>&1 | FileCheck %s --check-prefix=CUDA
// CUDA: error: qlinear-cuda does not compile for 'cpu:portable'; use qlinear-cpu{target=cpu:portable}
// RUN: not quant-opt %s --pass-pipeline='builtin.module(qlinear-cuda{target=cuda:sm_80,cuda:sm_90})' 2>&1 | FileCheck %s --check-prefix=TWO
// TWO: error: kernels are made for one GPU target at a time, not for 'cuda:sm_80,cuda:sm_90'; compile a copy of the module for each
// RUN: not quant-opt %s --qlinear-schedule='target=cpu table=h100' 2>&1 | FileCheck %s --check-prefix=TABLE
// TABLE: error: schedules are measured for one instruction set, but the target is 'cpu'; say which, for example target=cpu:avx2
//
// RUN: not quant-opt %t.cuda.mlir --pass-pipeline='builtin.module(one-shot-bufferize{bufferize-function-boundaries},qlinear-to-runtime{target=cpu})' 2>&1 | FileCheck %s --check-prefix=RUNTIME
// RUNTIME: error: the target 'cpu' is not the module's, qlinear.target = "cuda:sm_80"
// RUN: not quant-opt %t.cpu.mlir --pass-pipeline='builtin.module(qlinear-finish{target=cpu:avx2})' 2>&1 | FileCheck %s --check-prefix=ISA
// ISA: error: the target 'cpu:avx2' is not the module's, qlinear.target = "cpu:portable"
//
// RUN: not quant-opt %s --pass-pipeline='builtin.module(qlinear-finish)' 2>&1 | FileCheck %s --check-prefix=LINEAR
// LINEAR: error: 'qlinear.linear' is left: qlinear-cpu or qlinear-cuda makes kernels of it; run one of them, then one-shot-bufferize, before qlinear-to-runtime
// RUN: not quant-opt %t.cpu.mlir --pass-pipeline='builtin.module(one-shot-bufferize{bufferize-function-boundaries},convert-to-llvm)' 2>&1 | FileCheck %s --check-prefix=LLVM
// LLVM: error: 'qlinear.{{.*}}' is left; qlinear-to-runtime makes calls of launches, and qlinear-finish runs all that comes after qlinear-cpu or qlinear-cuda

module {
  qlinear.parameter @w : !qlinear.weight<64x64, #qlinear.encoding<i8, group = 32, symmetric, scale = f16>>
  func.func @f(%x: tensor<2x64xf32>) -> tensor<2x64xf32> {
    %w = qlinear.load @w : !qlinear.weight<64x64, #qlinear.encoding<i8, group = 32, symmetric, scale = f16>>
    %y = qlinear.linear %x, %w : (tensor<2x64xf32>, !qlinear.weight<64x64, #qlinear.encoding<i8, group = 32, symmetric, scale = f16>>) -> tensor<2x64xf32>
    return %y : tensor<2x64xf32>
  }
}
