// Caches of a program: written in place by a launch, where they lie dense or with gaps, and copied
// first where what they were is read later. With the kernels of two targets, and by linalg.

// DEFINE: %{libraries} = %mlir_libs/libmlir_runner_utils.so,%mlir_libs/libmlir_c_runner_utils.so,%libs/libQLinearRuntime.so
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu{target=cpu:portable},qlinear-finish)' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{libraries} | FileCheck %s
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cuda{target=cuda:emulated},qlinear-finish)' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{libraries} | FileCheck %s
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-to-reference,qlinear-finish)' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{libraries} | FileCheck %s

func.func private @printMemrefF32(tensor<*xf32>) attributes {llvm.emit_c_interface}

func.func private @print(%y: tensor<5x4xf32>) {
  %any = tensor.cast %y : tensor<5x4xf32> to tensor<*xf32>
  call @printMemrefF32(%any) : (tensor<*xf32>) -> ()
  return
}

// Two heads for each of two tokens; a quarter of a turn: (a, b, c, d) becomes (-c, -d, a, b).
func.func private @write(%cache: tensor<5x4xf32>) -> tensor<5x4xf32> {
  %x = arith.constant dense<[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
                             [9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0]]> : tensor<2x8xf32>
  %cos = arith.constant dense<0.0> : tensor<2x4xf32>
  %sin = arith.constant dense<1.0> : tensor<2x4xf32>
  %at = arith.constant dense<[[3, 0], [-1, 1]]> : tensor<2x2xi32>
  %y = qlinear.rotary %x by %cos, %sin head = 4 into(%cache at %at)
      : (tensor<2x8xf32>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<5x4xf32>, tensor<2x2xi32>) -> tensor<5x4xf32>
  return %y : tensor<5x4xf32>
}

func.func @main() {
  %half = arith.constant 0.5 : f32
  %e = tensor.empty() : tensor<5x4xf32>
  %cache = linalg.fill ins(%half : f32) outs(%e : tensor<5x4xf32>) -> tensor<5x4xf32>
  // CHECK: [-7, -8, 5, 6]
  // CHECK-NEXT: [-15, -16, 13, 14]
  // CHECK-NEXT: [0.5, 0.5, 0.5, 0.5]
  // CHECK-NEXT: [-3, -4, 1, 2]
  // CHECK-NEXT: [0.5, 0.5, 0.5, 0.5]
  %dense = call @write(%cache) : (tensor<5x4xf32>) -> tensor<5x4xf32>
  call @print(%dense) : (tensor<5x4xf32>) -> ()
  // What it was is read here.
  // CHECK: [0.5, 0.5, 0.5, 0.5]
  // CHECK-NEXT: [0.5, 0.5, 0.5, 0.5]
  call @print(%cache) : (tensor<5x4xf32>) -> ()

  // Columns of a wider one.
  // CHECK: [-7, -8, 5, 6]
  // CHECK-NEXT: [-15, -16, 13, 14]
  // CHECK-NEXT: [0.25, 0.25, 0.25, 0.25]
  // CHECK-NEXT: [-3, -4, 1, 2]
  // CHECK-NEXT: [0.25, 0.25, 0.25, 0.25]
  %quarter = arith.constant 0.25 : f32
  %w = tensor.empty() : tensor<5x12xf32>
  %wide = linalg.fill ins(%quarter : f32) outs(%w : tensor<5x12xf32>) -> tensor<5x12xf32>
  %part = tensor.extract_slice %wide[0, 4] [5, 4] [1, 1] : tensor<5x12xf32> to tensor<5x4xf32>
  %gaps = call @write(%part) : (tensor<5x4xf32>) -> tensor<5x4xf32>
  call @print(%gaps) : (tensor<5x4xf32>) -> ()
  return
}
