// Rows of a weight in a program: with the kernels of two targets, and by linalg.

// DEFINE: %{libraries} = %mlir_libs/libmlir_runner_utils.so,%mlir_libs/libmlir_c_runner_utils.so,%libs/libQLinearRuntime.so
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu{target=cpu:portable},qlinear-finish)' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{libraries} | FileCheck %s
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cuda{target=cuda:emulated},qlinear-finish)' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{libraries} | FileCheck %s
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-to-reference,qlinear-finish)' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{libraries} | FileCheck %s

// On buffers it is the same operation.
// RUN: quant-opt %s --one-shot-bufferize="bufferize-function-boundaries" | FileCheck %s --check-prefix=BUFFERS
// BUFFERS: qlinear.embedding %{{.*}} of %{{.*}} outs(%{{.*}}) : (memref<5x1xi32{{.*}}>, !qlinear.weight<3x16, {{.*}}>, memref<5x16xf32{{.*}}>) -> ()

func.func private @printMemrefF32(tensor<*xf32>) attributes {llvm.emit_c_interface}

#q4 = #qlinear.encoding<i4, group = 16, symmetric, scale = f32>
func.func @main() {
  %codes = arith.constant dense<[[0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1],
                                 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
                                 [7, -8, 7, -8, 7, -8, 7, -8, 7, -8, 7, -8, 7, -8, 7, -8]]> : tensor<3x16xi4>
  %scales = arith.constant dense<[[1.0], [0.5], [2.0]]> : tensor<3x1xf32>
  %w = qlinear.pack %codes, %scales : (tensor<3x16xi4>, tensor<3x1xf32>) -> !qlinear.weight<3x16, #q4>
  %i = arith.constant dense<[[2], [0], [-1], [1], [3]]> : tensor<5x1xi32>
  %y = qlinear.embedding %i of %w : (tensor<5x1xi32>, !qlinear.weight<3x16, #q4>) -> tensor<5x16xf32>
  // CHECK: [14, -16, 14, -16, 14, -16, 14, -16, 14, -16, 14, -16, 14, -16, 14, -16]
  // CHECK-NEXT: [0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1]
  // CHECK-NEXT: {{nan, .*nan, .*nan}}
  // CHECK-NEXT: [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
  // CHECK-NEXT: {{nan, .*nan, .*nan}}
  %any = tensor.cast %y : tensor<5x16xf32> to tensor<*xf32>
  call @printMemrefF32(%any) : (tensor<*xf32>) -> ()
  return
}
