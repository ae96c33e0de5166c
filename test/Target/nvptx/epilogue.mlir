// Math functions of an epilogue become arithmetic; what has no expansion is an error.
//
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-to-gpu,gpu.module(qlinear-print-ptx))' -o %t.mlir | FileCheck %s
// RUN: sed 's/math.tanh/math.cbrt/' %s | not quant-opt --pass-pipeline='builtin.module(qlinear-to-gpu,gpu.module(qlinear-print-ptx))' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=ERROR

// ERROR: error: 'math.cbrt' on 'f32' has no expansion for GPU kernels; express it by exp, log, tanh, erf, sin, cos or sqrt on f32

// CHECK-NOT: call
// CHECK: .entry linear0_m1
// CHECK-NOT: call
// CHECK: sqrt.rn.f32
// CHECK-NOT: call

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
func.func @f(%x: tensor<1x256xbf16>, %w: !qlinear.weight<64x256, #q4>)
    -> tensor<1x64xf16> {
  %y = qlinear.linear %x, %w : (tensor<1x256xbf16>, !qlinear.weight<64x256, #q4>)
      -> tensor<1x64xf16> {
  ^bb0(%a: f32):
    %0 = math.tanh %a : f32
    %1 = math.exp %0 : f32
    %2 = math.erf %1 : f32
    %3 = math.absf %2 : f32
    %4 = math.rsqrt %3 : f32
    %5 = math.sin %4 : f32
    %6 = math.powf %3, %5 : f32
    %7 = math.log %6 : f32
    %8 = arith.truncf %7 : f32 to f16
    qlinear.yield %8 : f16
  }
  return %y : tensor<1x64xf16>
}
