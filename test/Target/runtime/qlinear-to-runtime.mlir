// RUN: quant-opt %s --split-input-file --pass-pipeline='builtin.module(qlinear-to-cpu,one-shot-bufferize{bufferize-function-boundaries},qlinear-to-runtime{target=cpu:portable})' | FileCheck %s
// RUN: quant-opt %s --split-input-file --pass-pipeline='builtin.module(qlinear-cuda{target=cuda:sm_90},one-shot-bufferize{bufferize-function-boundaries},qlinear-to-runtime{target=cuda:sm_90})' | FileCheck %s --check-prefix=CUDA

// On a CUDA target the kernels are PTX (and, where there is ptxas, a cubin).
// CUDA-LABEL: func.func @twice
// CUDA-COUNT-4: llvm.call @qlinear.launch
// CUDA: return
// CUDA: .target sm_90
// CUDA: llvm.func @qlr_program_launch

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<16x64, #q8> from "blk.0"

// Two launches of the same kernel are calls of one function; a buffer whose rows may
// have gaps is copied; kernels and parameters are gone.
// CHECK-NOT: qlinear.parameter
// CHECK-LABEL: func.func @twice
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<4x64xf32, strided<[?, ?], offset: ?>>
// CHECK: %[[DENSE:.*]] = memref.alloc() {alignment = 64 : i64} : memref<4x64xf32>
// CHECK: memref.copy %[[X]], %[[DENSE]]
// CHECK: %[[P:.*]] = memref.extract_aligned_pointer_as_index %[[DENSE]]
// CHECK: llvm.call @qlinear.launch[[QUANTIZE:[0-9]]](%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) : (i64, i64, i64, i64) -> ()
// CHECK: memref.dealloc %[[DENSE]]
// CHECK: llvm.call @qlinear.launch[[LINEAR:[0-9]]]
// CHECK: llvm.call @qlinear.launch[[QUANTIZE]]
// CHECK: llvm.call @qlinear.launch[[LINEAR]]
// CHECK-NOT: qlinear.
// CHECK: return
// CHECK-DAG: llvm.mlir.global internal constant @qlinear.artifact
// CHECK-DAG: llvm.mlir.global internal @qlinear.program() {{.*}}: !llvm.ptr
// CHECK-DAG: llvm.func internal @qlinear.cpu_portable.linear0_m4(%{{.*}}: !llvm.ptr
// CHECK-DAG: llvm.func @qlinear_open(%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr) -> i32
// CHECK-DAG: llvm.func @qlinear_set_stream(%{{.*}}: !llvm.ptr) -> i32
// CHECK-DAG: llvm.func @qlinear_close()
// CHECK-DAG: llvm.func @qlr_program_launch(!llvm.ptr, !llvm.ptr, i32, !llvm.ptr, i32, !llvm.ptr, i32) -> i32
func.func @twice(%x: tensor<4x64xf32>, %z: tensor<4x64xf32>) -> (tensor<4x16xf32>, tensor<4x16xf32>) {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q8>
  %a = qlinear.linear %x, %w
      : (tensor<4x64xf32>, !qlinear.weight<16x64, #q8>) -> tensor<4x16xf32>
  %b = qlinear.linear %z, %w
      : (tensor<4x64xf32>, !qlinear.weight<16x64, #q8>) -> tensor<4x16xf32>
  return %a, %b : tensor<4x16xf32>, tensor<4x16xf32>
}

// -----

// Nothing is launched: nothing changes.
// CHECK-LABEL: func.func @none
// CHECK-NOT: llvm
func.func @none() { return }
