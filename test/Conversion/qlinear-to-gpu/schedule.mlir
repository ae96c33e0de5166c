// A schedule says which kernels there are and what each is made of; what it leaves out is
// chosen as qlinear-schedule does.
//
// RUN: quant-opt %s --qlinear-to-gpu=target=cuda:sm_80 | FileCheck %s

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK-LABEL: func.func @given
// CHECK: qlinear.launch [#qlinear.variant<rows = 2, kernel = @qlinear_kernels::@linear0_m2, grid = 8, block = 128, smem = {{[0-9]+}}>] weights
// CHECK-NOT: pdl
func.func @given(%x: tensor<2x256xf16>, %w: !qlinear.weight<160x256, #q8>)
    -> tensor<2x160xf16> {
  %y = qlinear.linear %x, %w
      {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 2, grid = 8, warps = 4>]>}
      : (tensor<2x256xf16>, !qlinear.weight<160x256, #q8>) -> tensor<2x160xf16>
  return %y : tensor<2x160xf16>
}

// At most one block per tile of 16 rows.
// CHECK-LABEL: func.func @small
// CHECK: rows = 1, kernel = @qlinear_kernels::@linear1_m1, grid = 3, block = 384
func.func @small(%x: tensor<1x256xf16>, %w: !qlinear.weight<33x256, #q8>)
    -> tensor<1x33xf16> {
  %y = qlinear.linear %x, %w
      : (tensor<1x256xf16>, !qlinear.weight<33x256, #q8>) -> tensor<1x33xf16>
  return %y : tensor<1x33xf16>
}

// CHECK-LABEL: func.func @separate
// CHECK: %[[A:.*]] = qlinear.launch {{.*}}@quantize0_m1{{.*}} ins(%arg0)
// CHECK-SAME: -> !qlinear.activations<1x256>
// CHECK: qlinear.launch {{.*}} ins(%[[A]])
func.func @separate(%x: tensor<1x256xf16>, %w: !qlinear.weight<32x256, #q8>)
    -> tensor<1x32xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<quantize = separate>}
      : (tensor<1x256xf16>, !qlinear.weight<32x256, #q8>) -> tensor<1x32xf16>
  return %y : tensor<1x32xf16>
}

// Two schedules of one linear are two sets of kernels; the same schedule again is not.
// CHECK-LABEL: func.func @schedules
// CHECK: @linear[[#FIRST:]]_m1, grid = 2, block = 64,
// CHECK: @linear[[#FIRST+1]]_m1, grid = 4, block = 64,
// CHECK: @linear[[#FIRST+2]]_m1, grid = 2, block = 32,
// CHECK: @linear[[#FIRST]]_m1, grid = 2, block = 64,
// CHECK: return
func.func @schedules(%x: tensor<1x512xf16>, %w: !qlinear.weight<64x512, #q8>)
    -> (tensor<1x64xf16>, tensor<1x64xf16>, tensor<1x64xf16>, tensor<1x64xf16>) {
  %0 = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, grid = 2, warps = 2>]>}
      : (tensor<1x512xf16>, !qlinear.weight<64x512, #q8>) -> tensor<1x64xf16>
  %1 = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, grid = 4, warps = 2>]>}
      : (tensor<1x512xf16>, !qlinear.weight<64x512, #q8>) -> tensor<1x64xf16>
  %2 = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, grid = 2, warps = 1>]>}
      : (tensor<1x512xf16>, !qlinear.weight<64x512, #q8>) -> tensor<1x64xf16>
  %3 = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, grid = 2, warps = 2>]>}
      : (tensor<1x512xf16>, !qlinear.weight<64x512, #q8>) -> tensor<1x64xf16>
  return %0, %1, %2, %3 : tensor<1x64xf16>, tensor<1x64xf16>, tensor<1x64xf16>, tensor<1x64xf16>
}
