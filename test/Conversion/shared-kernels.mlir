// Linears have one kernel if everything that it depends on is the same. Each linear here
// differs from the first in one thing; the last is the first one again.

// RUN: sed 's/KERNEL/gemv/; s/OTHER/warps = 4/' %s | quant-opt --pass-pipeline='builtin.module(qlinear-to-gpu{target=cuda:sm_90})' | FileCheck %s --check-prefixes=CHECK,GPU
// RUN: sed 's/KERNEL/cpu_gemv/; s/OTHER/tiles = 3/' %s | quant-opt --pass-pipeline='builtin.module(qlinear-to-cpu{target=cpu})' | FileCheck %s --check-prefixes=CHECK,CPU

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
#q5 = #qlinear.encoding<u5, group = 32, zero, scale = bf16, offset = bf16>
!w = !qlinear.weight<32x64, #q4>
!w5 = !qlinear.weight<32x64, #q5>
!wk = !qlinear.weight<32x128, #q4>
!x = tensor<?x64xf32>
!y = tensor<?x32xf32>
#one = #qlinear.schedule<kernels = [#qlinear.KERNEL<rows = 1>]>
qlinear.parameter @w : !w
qlinear.parameter @v : !w
qlinear.parameter @w5 : !w5
qlinear.parameter @wk : !wk

// CHECK-LABEL: func.func @linears
// CPU: %[[Q:.*]] = qlinear.launch {{.*}}@quantize0
// CHECK: @linear0_m1{{.*}} weights(
// The encoding, the type of the bias, of the result and of x, K, the schedule.
// CHECK: @linear1_m1{{.*}} weights(
// CHECK: @linear2_m1{{.*}} weights(
// CHECK: @linear3_m1{{.*}} weights(
// On the CPU kernels take quantized activations, whatever x was.
// GPU: @linear4_m1{{.*}} weights(
// GPU: @linear5_m1{{.*}} weights(
// GPU: @linear6_m1{{.*}} weights(
// CPU: qlinear.launch {{.*}}@quantize1
// CPU: @linear0_m1{{.*}} weights(
// CPU: qlinear.launch {{.*}}@quantize2
// CPU: @linear4_m1{{.*}} weights(
// CPU: @linear5_m1{{.*}} weights(
// The operation of the epilogue, its operands, a constant, the type of a value in it.
// An extra of each row instead of one for all; no epilogue, and two types of results.
// GPU: @linear7_m1{{.*}} weights(
// GPU: @linear8_m1{{.*}} weights(
// GPU: @linear9_m1{{.*}} weights(
// GPU: @linear10_m1{{.*}} weights(
// GPU: @linear11_m1{{.*}} weights(
// GPU: @linear12_m1{{.*}} weights(
// GPU: @linear13_m1{{.*}} weights(
// GPU: @linear14_m1{{.*}} weights(
// GPU: @linear15_m1{{.*}} weights(
// CPU: @linear6_m1{{.*}} weights(
// CPU: @linear7_m1{{.*}} weights(
// CPU: @linear8_m1{{.*}} weights(
// CPU: @linear9_m1{{.*}} weights(
// CPU: @linear10_m1{{.*}} weights(
// CPU: @linear11_m1{{.*}} weights(
// CPU: @linear12_m1{{.*}} weights(
// CPU: @linear13_m1{{.*}} weights(
// CPU: @linear14_m1{{.*}} weights(
// CHECK: @linear0_m1{{.*}} weights(
func.func @linears(%x: !x, %xh: tensor<?x64xf16>, %xk: tensor<?x128xf32>, %b: tensor<32xf32>, %bh: tensor<32xf16>, %r: !y)
    -> (!y, !y, !y, tensor<?x32xf16>, !y, !y, !y, !y, !y, !y, !y, !y, !y, !y, !y, tensor<?x32xf16>, !y) {
  %w = qlinear.load @w : !w
  %v = qlinear.load @v : !w
  %w5 = qlinear.load @w5 : !w5
  %wk = qlinear.load @wk : !wk
  %y0 = qlinear.linear %x, %w extras(%b) {schedule = #one} : (!x, !w, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %1 = arith.addf %p, %c : f32
    qlinear.yield %1 : f32
  }
  %y1 = qlinear.linear %x, %w5 extras(%b) {schedule = #one} : (!x, !w5, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %1 = arith.addf %p, %c : f32
    qlinear.yield %1 : f32
  }
  %y2 = qlinear.linear %x, %w extras(%bh) {schedule = #one} : (!x, !w, tensor<32xf16>) -> !y {
  ^bb0(%p: f32, %c: f16):
    %0 = arith.extf %c : f16 to f32
    %1 = arith.addf %p, %0 : f32
    qlinear.yield %1 : f32
  }
  %y3 = qlinear.linear %x, %w extras(%b) {schedule = #one} : (!x, !w, tensor<32xf32>) -> tensor<?x32xf16> {
  ^bb0(%p: f32, %c: f32):
    %1 = arith.addf %p, %c : f32
    %2 = arith.truncf %1 : f32 to f16
    qlinear.yield %2 : f16
  }
  %y4 = qlinear.linear %xh, %w extras(%b) {schedule = #one} : (tensor<?x64xf16>, !w, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %1 = arith.addf %p, %c : f32
    qlinear.yield %1 : f32
  }
  %y5 = qlinear.linear %xk, %wk extras(%b) {schedule = #one} : (tensor<?x128xf32>, !wk, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %1 = arith.addf %p, %c : f32
    qlinear.yield %1 : f32
  }
  %y6 = qlinear.linear %x, %w extras(%b) {schedule = #qlinear.schedule<kernels = [#qlinear.KERNEL<rows = 1, OTHER>]>} : (!x, !w, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %1 = arith.addf %p, %c : f32
    qlinear.yield %1 : f32
  }
  %y7 = qlinear.linear %x, %w extras(%b) {schedule = #one} : (!x, !w, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %1 = arith.subf %p, %c : f32
    qlinear.yield %1 : f32
  }
  %y8 = qlinear.linear %x, %w extras(%b) {schedule = #one} : (!x, !w, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %1 = arith.subf %c, %p : f32
    qlinear.yield %1 : f32
  }
  %y9 = qlinear.linear %x, %w extras(%b) {schedule = #one} : (!x, !w, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %k = arith.constant 2.0 : f32
    %1 = arith.addf %p, %c : f32
    %9 = arith.mulf %1, %k : f32
    qlinear.yield %9 : f32
  }
  %y10 = qlinear.linear %x, %w extras(%b) {schedule = #one} : (!x, !w, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %k = arith.constant 3.0 : f32
    %1 = arith.addf %p, %c : f32
    %9 = arith.mulf %1, %k : f32
    qlinear.yield %9 : f32
  }
  %y12 = qlinear.linear %x, %w extras(%b) {schedule = #one} : (!x, !w, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %0 = arith.truncf %p : f32 to f16
    %1 = arith.extf %0 : f16 to f32
    %2 = arith.addf %1, %c : f32
    qlinear.yield %2 : f32
  }
  %y13 = qlinear.linear %x, %w extras(%b) {schedule = #one} : (!x, !w, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %0 = arith.truncf %p : f32 to bf16
    %1 = arith.extf %0 : bf16 to f32
    %2 = arith.addf %1, %c : f32
    qlinear.yield %2 : f32
  }
  %y14 = qlinear.linear %x, %w extras(%r) {schedule = #one} : (!x, !w, !y) -> !y {
  ^bb0(%p: f32, %c: f32):
    %1 = arith.addf %p, %c : f32
    qlinear.yield %1 : f32
  }
  %y15 = qlinear.linear %x, %w {schedule = #one} : (!x, !w) -> !y
  %y16 = qlinear.linear %x, %w {schedule = #one} : (!x, !w) -> tensor<?x32xf16>
  %y11 = qlinear.linear %x, %v extras(%b) {schedule = #one} : (!x, !w, tensor<32xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %1 = arith.addf %p, %c : f32
    qlinear.yield %1 : f32
  }
  return %y0, %y1, %y2, %y3, %y4, %y5, %y6, %y7, %y8, %y9, %y10, %y12, %y13, %y14, %y15, %y16, %y11 : !y, !y, !y, tensor<?x32xf16>, !y, !y, !y, !y, !y, !y, !y, !y, !y, !y, !y, tensor<?x32xf16>, !y
}

// Each block has x quantized for itself: the other's cannot be seen.
// CHECK-LABEL: func.func @blocks
// CPU: scf.if
// CPU: %[[A:.*]] = qlinear.launch {{.*}}@quantize0
// CPU: qlinear.launch {{.*}}@linear{{.*}} ins(%[[A]]
// CPU: else
// CPU: %[[B:.*]] = qlinear.launch {{.*}}@quantize0
// CPU: qlinear.launch {{.*}}@linear{{.*}} ins(%[[B]]
func.func @blocks(%c: i1, %x: !x) -> !y {
  %w = qlinear.load @w : !w
  %v = qlinear.load @v : !w
  %y = scf.if %c -> !y {
    %0 = qlinear.linear %x, %w {schedule = #one} : (!x, !w) -> !y
    scf.yield %0 : !y
  } else {
    %0 = qlinear.linear %x, %v {schedule = #one} : (!x, !w) -> !y
    scf.yield %0 : !y
  }
  return %y : !y
}
