// RUN: quant-opt %s --qlinear-quantize-activations | FileCheck %s
// RUN: quant-opt %s --qlinear-quantize-activations="min-users=1" | FileCheck %s --check-prefix=ALWAYS

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<16x64, #q4>
qlinear.parameter @v : !qlinear.weight<32x64, #q4>

// Two users: quantized once.
// CHECK-LABEL: func @shared
// CHECK: %[[A:.*]] = qlinear.quantize_activations %arg0 : tensor<?x64xbf16> -> !qlinear.activations<?x64>
// CHECK: qlinear.linear %[[A]]
// CHECK: qlinear.linear %[[A]]
func.func @shared(%x: tensor<?x64xbf16>) -> (tensor<?x16xbf16>, tensor<?x32xbf16>) {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q4>
  %v = qlinear.load @v : !qlinear.weight<32x64, #q4>
  %y = qlinear.linear %x, %w : (tensor<?x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xbf16>
  %z = qlinear.linear %x, %v : (tensor<?x64xbf16>, !qlinear.weight<32x64, #q4>) -> tensor<?x32xbf16>
  return %y, %z : tensor<?x16xbf16>, tensor<?x32xbf16>
}

// One user and few rows: inside the kernel.
// CHECK-LABEL: func @single
// CHECK-NOT: quantize_activations
// ALWAYS-LABEL: func @single
// ALWAYS: quantize_activations
func.func @single(%x: tensor<2x64xbf16>) -> tensor<2x16xbf16> {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q4>
  %y = qlinear.linear %x, %w : (tensor<2x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<2x16xbf16>
  return %y : tensor<2x16xbf16>
}

// One user, as many rows as min-rows.
// CHECK-LABEL: func @rows
// CHECK: quantize_activations
func.func @rows(%x: tensor<4x64xbf16>) -> tensor<4x16xbf16> {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q4>
  %y = qlinear.linear %x, %w : (tensor<4x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<4x16xbf16>
  return %y : tensor<4x16xbf16>
}
