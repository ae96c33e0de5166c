// RUN: quant-opt %s --qlinear-quantize-activations --remarks-filter='qlinear.*' -o %t.mlir 2>&1 \
// RUN:   | FileCheck %s
// RUN: FileCheck %s --check-prefix=STAYS < %t.mlir

// Every linear here quantizes inside its kernel, and a remark says why.
// STAYS-NOT: quantize_activations

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<16x64, #q4>

// Those that stay floats are not counted.
// CHECK: Reason="the linear says activations = float", Remark="x is not quantized"
// CHECK: :[[@LINE+4]]:8: remark: {{.*}}Reason="1 linears read it, less than min-users = 2
func.func @floats(%x: tensor<?x64xbf16>) -> (tensor<?x16xbf16>, tensor<?x16xbf16>) {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q4>
  %y = qlinear.linear %x, %w {activations = #qlinear.activation_format<float>} : (tensor<?x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xbf16>
  %z = qlinear.linear %x, %w : (tensor<?x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xbf16>
  return %y, %z : tensor<?x16xbf16>, tensor<?x16xbf16>
}

// One row less than min-rows.
// CHECK: [Missed] QuantizeActivations {{.*}} Reason="1 linears read it, less than min-users = 2, and M = 3 is less than min-rows = 4", Remark="x is quantized inside its kernels"
func.func @rows(%x: tensor<3x64xbf16>) -> tensor<3x16xbf16> {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q4>
  %y = qlinear.linear %x, %w : (tensor<3x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<3x16xbf16>
  return %y : tensor<3x16xbf16>
}

// M may be 1.
// CHECK: Reason="1 linears read it, less than min-users = 2, and an M that is not known is less than min-rows = 4"
func.func @dynamic(%x: tensor<?x64xbf16>) -> tensor<?x16xbf16> {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q4>
  %y = qlinear.linear %x, %w : (tensor<?x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xbf16>
  return %y : tensor<?x16xbf16>
}

// Two linears, which read two inputs.
// CHECK-COUNT-2: Reason="1 linears read it
func.func @inputs(%x: tensor<?x64xbf16>, %z: tensor<?x64xbf16>) -> (tensor<?x16xbf16>, tensor<?x16xbf16>) {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q4>
  %0 = qlinear.linear %x, %w : (tensor<?x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xbf16>
  %1 = qlinear.linear %z, %w : (tensor<?x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xbf16>
  return %0, %1 : tensor<?x16xbf16>, tensor<?x16xbf16>
}

// What is on buffers, or int8 already, is not looked at: no remark.
// CHECK-NOT: Missed
func.func @others(%a: !qlinear.activations<?x64>, %x: memref<8x64xbf16>, %y: memref<8x16xbf16>) -> tensor<?x16xbf16> {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q4>
  qlinear.linear %x, %w outs(%y) : (memref<8x64xbf16>, !qlinear.weight<16x64, #q4>, memref<8x16xbf16>) -> ()
  %0 = qlinear.linear %a, %w : (!qlinear.activations<?x64>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xbf16>
  return %0 : tensor<?x16xbf16>
}
