// Schedules that no kernel of sm_90 can follow.
//
// RUN: not quant-opt %s --split-input-file --qlinear-schedule=target=cuda:sm_90 2>&1 | FileCheck %s

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule: split_k = 2 does not divide the 3 units of K = 768, whole ones of 256 columns
func.func @split(%x: tensor<?x768xf16>, %w: !qlinear.weight<16x768, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 4, split_k = 2>]>}
      : (tensor<?x768xf16>, !qlinear.weight<16x768, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule: split_k = 2 does not divide the 4 units of K = 800, whole ones of 256 columns
func.func @tail(%x: tensor<?x800xf16>, %w: !qlinear.weight<16x800, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 4, split_k = 2>]>}
      : (tensor<?x800xf16>, !qlinear.weight<16x800, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// A field that is given, and what follows from another.
// CHECK: error: schedule: early = 4 is more than stages = 2
func.func @early(%x: tensor<?x64xf16>, %w: !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, early = 4>]>}
      : (tensor<?x64xf16>, !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// Each warp has one unit to take ahead.
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
// CHECK: error: schedule: ahead = true is for one weight, or for weights of one encoding in one epilogue, as each warp has one unit; use ahead = false
func.func @ahead(%x: tensor<1x512xf16>, %v: !qlinear.weight<16x512, #q8>, %w: !qlinear.weight<16x512, #q4>)
    -> tensor<1x16xf32> {
  %y = qlinear.linear %x, %v, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, stages = 3, ahead = true>]>}
      : (tensor<1x512xf16>, !qlinear.weight<16x512, #q8>, !qlinear.weight<16x512, #q4>) -> tensor<1x16xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %q : f32
    qlinear.yield %r : f32
  }
  return %y : tensor<1x16xf32>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule: dot = dp4a multiplies int8 activations, but the linear's are float; use dot = mma or fma
func.func @floats(%x: tensor<?x256xf16>, %w: !qlinear.weight<16x256, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {activations = #qlinear.activation_format<float>, schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 4, dot = dp4a>]>}
      : (tensor<?x256xf16>, !qlinear.weight<16x256, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule: dot = fma multiplies float activations, but the linear's are int8; use dot = mma or dp4a
func.func @codes(%x: tensor<?x256xf16>, %w: !qlinear.weight<16x256, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 4, dot = fma>]>}
      : (tensor<?x256xf16>, !qlinear.weight<16x256, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}
