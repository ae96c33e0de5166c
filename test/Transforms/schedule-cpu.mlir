// Schedules for CPUs.
//
// RUN: quant-opt %s --qlinear-schedule=target=cpu:avx2 --mlir-print-local-scope | FileCheck %s

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK-LABEL: func.func @f
// CHECK: #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1, tiles = 1>, #qlinear.cpu_gemv<rows = 2, tiles = 1>, #qlinear.cpu_gemv<rows = 4, tiles = 1>, #qlinear.cpu_gemv<rows = 8, tiles = 1>]>
// CHECK: #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 3, tiles = 4>, #qlinear.cpu_gemv<rows = 5, tiles = 1>]>
func.func @f(%x: tensor<?x256xf16>, %a: !qlinear.weight<64x256, #q8>)
    -> (tensor<?x64xf16>, tensor<?x64xf16>) {
  %0 = qlinear.linear %x, %a
      : (tensor<?x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<?x64xf16>
  %1 = qlinear.linear %x, %a {schedule = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 3, tiles = 4>, #qlinear.cpu_gemv<rows = 5>]>}
      : (tensor<?x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<?x64xf16>
  return %0, %1 : tensor<?x64xf16>, tensor<?x64xf16>
}

// A static M gets the kernels up to the first that takes all rows.
// CHECK-LABEL: func.func @m
// CHECK: #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1, tiles = 1>, #qlinear.cpu_gemv<rows = 2, tiles = 1>, #qlinear.cpu_gemv<rows = 4, tiles = 1>]>
func.func @m(%x: tensor<3x256xf16>, %a: !qlinear.weight<64x256, #q8>) -> tensor<3x64xf16> {
  %0 = qlinear.linear %x, %a
      : (tensor<3x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<3x64xf16>
  return %0 : tensor<3x64xf16>
}
