// Constant weights of one type are told apart by what they hold, also where they have
// become globals; equal ones are one. The first column of a row of f is the sum of a
// row of x times the code of the weight: 64, 128, and 64 again.

// DEFINE: %{libraries} = %mlir_libs/libmlir_runner_utils.so,%mlir_libs/libmlir_c_runner_utils.so,%libs/libQLinearRuntime.so
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu{target=cpu:portable},qlinear-finish)' -o %t.mlir
// RUN: mlir-runner %t.mlir -e main --entry-point-result=void --shared-libs=%{libraries} | FileCheck %s
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu{target=cpu:portable fuse=false},qlinear-finish)' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{libraries} | FileCheck %s
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cuda{target=cuda:emulated},qlinear-finish)' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{libraries} | FileCheck %s
//
// The two that are equal are stored once.
// RUN: grep -o 'constant\.[0-9]' %t.mlir | sort -u | count 2

// CHECK-COUNT-2: [64, 64, 64, 64]
// CHECK-COUNT-2: [128, 128, 128, 128]
// CHECK-COUNT-2: [64, 64, 64, 64]

#e = #qlinear.encoding<i8, group = 64, symmetric, scale = f32>
func.func private @printMemrefF32(tensor<*xf32>) attributes {llvm.emit_c_interface}
func.func private @f(%x: tensor<2x64xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) {
  %one = arith.constant dense<1> : tensor<4x64xi8>
  %two = arith.constant dense<2> : tensor<4x64xi8>
  %s = arith.constant dense<1.0> : tensor<4x1xf32>
  %a = qlinear.pack %one, %s : (tensor<4x64xi8>, tensor<4x1xf32>) -> !qlinear.weight<4x64, #e>
  %b = qlinear.pack %two, %s : (tensor<4x64xi8>, tensor<4x1xf32>) -> !qlinear.weight<4x64, #e>
  %c = qlinear.pack %one, %s : (tensor<4x64xi8>, tensor<4x1xf32>) -> !qlinear.weight<4x64, #e>
  %y = qlinear.linear %x, %a : (tensor<2x64xf32>, !qlinear.weight<4x64, #e>) -> tensor<2x4xf32>
  %z = qlinear.linear %x, %b : (tensor<2x64xf32>, !qlinear.weight<4x64, #e>) -> tensor<2x4xf32>
  %v = qlinear.linear %x, %c : (tensor<2x64xf32>, !qlinear.weight<4x64, #e>) -> tensor<2x4xf32>
  return %y, %z, %v : tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>
}
func.func @main() {
  %x = arith.constant dense<1.0> : tensor<2x64xf32>
  %y, %z, %v = call @f(%x) : (tensor<2x64xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>)
  %py = tensor.cast %y : tensor<2x4xf32> to tensor<*xf32>
  %pz = tensor.cast %z : tensor<2x4xf32> to tensor<*xf32>
  %pv = tensor.cast %v : tensor<2x4xf32> to tensor<*xf32>
  call @printMemrefF32(%py) : (tensor<*xf32>) -> ()
  call @printMemrefF32(%pz) : (tensor<*xf32>) -> ()
  call @printMemrefF32(%pv) : (tensor<*xf32>) -> ()
  return
}
