// Our pipelines compile the linears and leave all else as it was: operations that nobody
// here knows, calls, control flow. The result verifies.

// RUN: %mlir_opt %s --allow-unregistered-dialect --load-dialect-plugin=%libs/QLinearPlugin.so \
// RUN:   --load-pass-plugin=%libs/QLinearPlugin.so \
// RUN:   --pass-pipeline='builtin.module(qlinear-cpu{target=cpu:portable})' -o %t.mlir
// RUN: %mlir_opt %t.mlir --allow-unregistered-dialect --load-dialect-plugin=%libs/QLinearPlugin.so \
// RUN:   | FileCheck %s --check-prefixes=CHECK,CPU
// RUN: %mlir_opt %s --allow-unregistered-dialect --load-dialect-plugin=%libs/QLinearPlugin.so \
// RUN:   --load-pass-plugin=%libs/QLinearPlugin.so \
// RUN:   --pass-pipeline='builtin.module(qlinear-cuda{target=cuda:sm_90})' -o %t.mlir
// RUN: %mlir_opt %t.mlir --allow-unregistered-dialect --load-dialect-plugin=%libs/QLinearPlugin.so \
// RUN:   | FileCheck %s --check-prefixes=CHECK,CUDA

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @qkv : !qlinear.weight<64x128, #q4>
qlinear.parameter @out : !qlinear.weight<128x64, #q4>

// CHECK: func.func private @unknown(tensor<?x128xf32>) -> tensor<?x128xf32>
func.func private @unknown(tensor<?x128xf32>) -> tensor<?x128xf32>

// CHECK-LABEL: func.func @block
// CHECK-SAME: %[[X:.*]]: tensor<?x128xf32>, %[[N:.*]]: index
// CHECK: scf.for {{.*}} iter_args(%[[A:.*]] = %[[X]])
// CHECK: %[[NORM:.*]] = {{(func\.)?}}call @unknown(%[[A]])
// CPU: qlinear.launch {{.*}} ins(%[[NORM]])
// CPU: %[[Q:.*]] = qlinear.launch {{.*}} weights(%qkv)
// CUDA: %[[Q:.*]] = qlinear.launch {{.*}} weights(%qkv) ins(%[[NORM]])
// CHECK: %[[ATTENTION:.*]] = "other.attention"(%[[Q]], %[[A]]) {heads = 4 : i64} : (tensor<?x64xf32>, tensor<?x128xf32>) -> tensor<?x64xf32>
// CHECK: %[[Y:.*]] = qlinear.launch {{.*}} weights(%out)
// CHECK: "other.side_effect"(%[[Y]])
// CHECK: scf.yield %[[Y]]
// CHECK-NOT: qlinear.linear
// CPU: llvm.func @linear{{.*}} attributes {qlinear.kernel}
// CUDA: gpu.module
func.func @block(%x: tensor<?x128xf32>, %n: index) -> tensor<?x128xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%a = %x) -> tensor<?x128xf32> {
    %norm = func.call @unknown(%a) : (tensor<?x128xf32>) -> tensor<?x128xf32>
    %wq = qlinear.load @qkv : !qlinear.weight<64x128, #q4>
    %wo = qlinear.load @out : !qlinear.weight<128x64, #q4>
    %q = qlinear.linear %norm, %wq
        : (tensor<?x128xf32>, !qlinear.weight<64x128, #q4>) -> tensor<?x64xf32>
    %b = "other.attention"(%q, %a) {heads = 4 : i64}
        : (tensor<?x64xf32>, tensor<?x128xf32>) -> tensor<?x64xf32>
    %o = qlinear.linear %b, %wo
        : (tensor<?x64xf32>, !qlinear.weight<128x64, #q4>) -> tensor<?x128xf32>
    "other.side_effect"(%o) : (tensor<?x128xf32>) -> ()
    scf.yield %o : tensor<?x128xf32>
  }
  return %y : tensor<?x128xf32>
}
