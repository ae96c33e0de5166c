// An attribute of the user's own stays on what an operation becomes, on every target and
// through every pass on the way. It does not keep kernels from being shared.

// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu{target=cpu},one-shot-bufferize{bufferize-function-boundaries})' | FileCheck %s
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cuda{target=cuda:sm_90},one-shot-bufferize{bufferize-function-boundaries})' | FileCheck %s

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @a : !qlinear.weight<64x64, #q8>
qlinear.parameter @b : !qlinear.weight<64x64, #q8>

// CHECK-LABEL: func.func @f
// CHECK: qlinear.launch {{.*}}quantize0{{.*}} {my.quantize}
// CHECK: qlinear.launch {{.*}}@linear0_m1{{.*}} {my.a, my.b, my.both = 1 : i32}
// CHECK-LABEL: func.func @g
// CHECK: qlinear.launch {{.*}}@linear0_m1{{.*}} {my.c}
func.func @f(%x: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %a = qlinear.load @a : !qlinear.weight<64x64, #q8>
  %b = qlinear.load @b : !qlinear.weight<64x64, #q8>
  %q = qlinear.quantize_activations %x {my.quantize} : tensor<?x64xf32> -> !qlinear.activations<?x64>
  %y = qlinear.linear %q, %a {my.a, my.both = 1 : i32} : (!qlinear.activations<?x64>, !qlinear.weight<64x64, #q8>) -> tensor<?x64xf32>
  %n = arith.negf %y : tensor<?x64xf32>
  %z = qlinear.linear %q, %b {my.b, my.both = 2 : i32} : (!qlinear.activations<?x64>, !qlinear.weight<64x64, #q8>) -> tensor<?x64xf32>
  return %n, %z : tensor<?x64xf32>, tensor<?x64xf32>
}
func.func @g(%x: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %q = qlinear.quantize_activations %x : tensor<?x64xf32> -> !qlinear.activations<?x64>
  %a = qlinear.load @a : !qlinear.weight<64x64, #q8>
  %b = qlinear.load @b : !qlinear.weight<64x64, #q8>
  %y = qlinear.linear %q, %a {my.c} : (!qlinear.activations<?x64>, !qlinear.weight<64x64, #q8>) -> tensor<?x64xf32>
  %n = arith.negf %y : tensor<?x64xf32>
  %z = qlinear.linear %q, %b : (!qlinear.activations<?x64>, !qlinear.weight<64x64, #q8>) -> tensor<?x64xf32>
  return %n, %z : tensor<?x64xf32>, tensor<?x64xf32>
}
