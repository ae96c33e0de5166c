// The pipelines that quant-compile runs, from quant-opt: linears fuse, then become
// launches of kernels for the target.

// RUN: quant-opt %s --qlinear-cuda=target=cuda:sm_80 | FileCheck %s --check-prefixes=CHECK,CUDA
// RUN: quant-opt %s --qlinear-cpu=target=cpu:portable | FileCheck %s --check-prefixes=CHECK,CPU
// RUN: quant-opt %s "--qlinear-cpu=fuse=false" | FileCheck %s --check-prefix=APART
// RUN: not quant-opt %s --qlinear-cuda=target=cuda:nope 2>&1 | FileCheck %s --check-prefix=BAD

// BAD: unknown target 'cuda:nope'; targets are cuda:sm_NN

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @gate : !qlinear.weight<16x64, #q4>
qlinear.parameter @up : !qlinear.weight<16x64, #q4>

// Both weights go into one kernel, with the product in its epilogue.
// CHECK-LABEL: func.func @f
// CHECK-NOT: qlinear.linear
// CUDA: qlinear.launch {{.*}} weights(%{{[^,]*}}, %{{[^,]*}}) ins(%{{[a-z0-9]+}})
// CPU: qlinear.launch {{.*}} ins(
// CPU: qlinear.launch {{.*}} weights(%{{[^,]*}}, %{{[^,]*}}) ins(
// CHECK-NOT: arith.mulf {{.*}} tensor
// CHECK: return
// APART: arith.mulf {{.*}} : tensor<?x16xf32>
func.func @f(%x: tensor<?x64xbf16>) -> tensor<?x16xf32> {
  %g = qlinear.load @gate : !qlinear.weight<16x64, #q4>
  %u = qlinear.load @up : !qlinear.weight<16x64, #q4>
  %a = qlinear.linear %x, %g : (tensor<?x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xf32>
  %b = qlinear.linear %x, %u : (tensor<?x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xf32>
  %y = arith.mulf %a, %b : tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
