// Schedules for CPUs.
//
// RUN: quant-opt %s --qlinear-schedule=target=cpu:avx2 --mlir-print-local-scope | FileCheck %s

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK-LABEL: func.func @f
// CHECK: #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1, tiles = 1>, #qlinear.cpu_gemv<rows = 2, tiles = 1>, #qlinear.cpu_gemv<rows = 4, tiles = 1>, #qlinear.cpu_gemm<rows = any, tokens = 64, tiles = 2>]>
// CHECK: #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 3, tiles = 4>, #qlinear.cpu_gemv<rows = 5, tiles = 1>, #qlinear.cpu_gemm<rows = 100, tokens = 32, tiles = 2>]>
func.func @f(%x: tensor<?x256xf16>, %a: !qlinear.weight<64x256, #q8>)
    -> (tensor<?x64xf16>, tensor<?x64xf16>) {
  %0 = qlinear.linear %x, %a
      : (tensor<?x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<?x64xf16>
  %1 = qlinear.linear %x, %a {schedule = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 3, tiles = 4>, #qlinear.cpu_gemv<rows = 5>, #qlinear.cpu_gemm<rows = 100, tokens = 32>]>}
      : (tensor<?x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<?x64xf16>
  return %0, %1 : tensor<?x64xf16>, tensor<?x64xf16>
}

// A static M gets the kernels up to the first that takes all rows, and does not share a
// unit among more rows than there are.
// CHECK-LABEL: func.func @two
// CHECK: #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1, tiles = 1>, #qlinear.cpu_gemv<rows = 2, tiles = 1>]>
func.func @two(%x: tensor<2x256xf16>, %a: !qlinear.weight<64x256, #q8>) -> tensor<2x64xf16> {
  %0 = qlinear.linear %x, %a
      : (tensor<2x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<2x64xf16>
  return %0 : tensor<2x64xf16>
}
// CHECK-LABEL: func.func @five
// CHECK: #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1, tiles = 1>, #qlinear.cpu_gemv<rows = 2, tiles = 1>, #qlinear.cpu_gemv<rows = 4, tiles = 1>, #qlinear.cpu_gemm<rows = any, tokens = 8, tiles = 2>]>
func.func @five(%x: tensor<5x256xf16>, %a: !qlinear.weight<64x256, #q8>) -> tensor<5x64xf16> {
  %0 = qlinear.linear %x, %a
      : (tensor<5x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<5x64xf16>
  return %0 : tensor<5x64xf16>
}

// Work items have more tiles where there are many; the largest weight decides.
// CHECK-LABEL: func.func @large
// CHECK: #qlinear.cpu_gemm<rows = any, tokens = 24, tiles = 2>]>
// CHECK: #qlinear.cpu_gemm<rows = any, tokens = 24, tiles = 8>]>
func.func @large(%x: tensor<17x256xf16>, %a: !qlinear.weight<3136x256, #q8>, %b: !qlinear.weight<64x256, #q8>, %c: !qlinear.weight<100000x256, #q8>)
    -> (tensor<17x64xf16>, tensor<17x3136xf16>, tensor<17x100000xf16>) {
  %0:2 = qlinear.linear %x, %b, %a
      : (tensor<17x256xf16>, !qlinear.weight<64x256, #q8>, !qlinear.weight<3136x256, #q8>) -> (tensor<17x64xf16>, tensor<17x3136xf16>)
  %1 = qlinear.linear %x, %c
      : (tensor<17x256xf16>, !qlinear.weight<100000x256, #q8>) -> tensor<17x100000xf16>
  return %0#0, %0#1, %1 : tensor<17x64xf16>, tensor<17x3136xf16>, tensor<17x100000xf16>
}

// Float activations have kernels for few rows.
// CHECK-LABEL: func.func @floats
// CHECK: #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1, tiles = 1>, #qlinear.cpu_gemv<rows = 2, tiles = 1>, #qlinear.cpu_gemv<rows = 4, tiles = 1>, #qlinear.cpu_gemv<rows = 8, tiles = 1>]>
func.func @floats(%x: tensor<?x256xf16>, %a: !qlinear.weight<64x256, #q8>) -> tensor<?x64xf16> {
  %0 = qlinear.linear %x, %a {activations = #qlinear.activation_format<float>}
      : (tensor<?x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<?x64xf16>
  return %0 : tensor<?x64xf16>
}
