// The pipelines that quant-compile runs, from quant-opt: linears fuse, then become
// launches of kernels for the target.

// RUN: quant-opt %s --qlinear-cuda=target=cuda:sm_80 | FileCheck %s --check-prefixes=CHECK,CUDA
// RUN: quant-opt %s --qlinear-cpu=target=cpu:portable | FileCheck %s --check-prefixes=CHECK,CPU
// RUN: quant-opt %s "--qlinear-cpu=fuse=false" | FileCheck %s --check-prefix=APART
// RUN: not quant-opt %s --qlinear-cuda=target=cuda:nope 2>&1 | FileCheck %s --check-prefix=BAD

// A table of measured schedules goes before the cost model and the CPU's defaults; two
// fused weights are one entry.
// RUN: quant-opt %s "--qlinear-cuda=target=cuda:sm_80 schedule-table=%S/Inputs/schedules.json" | FileCheck %s --check-prefix=TABLE
// RUN: quant-opt %s "--qlinear-cpu=target=cpu:portable schedule-table=%S/Inputs/schedules.json" | FileCheck %s --check-prefix=TABLE
// RUN: quant-compile %s --target=cpu:portable --emit=mlir -o - --schedule-table %S/Inputs/schedules.json | FileCheck %s --check-prefix=TABLE
// RUN: quant-compile %s --target=cuda:sm_80 --emit=mlir -o - --schedule-table %S/Inputs/schedules.json | FileCheck %s --check-prefix=TABLE
// RUN: quant-compile %s --target=cuda:sm_86 --emit=mlir -o - --schedule-table %S/Inputs/schedules.json | FileCheck %s --check-prefix=OTHER
// RUN: not quant-compile %s --emit=mlir -o - --schedule-table %t.none 2>&1 | FileCheck %s --check-prefix=FILE

// TABLE: qlinear.launch {{.}}#qlinear.variant<rows = 3, {{[^>]*}}>] weights(%{{[^,]*}}, %{{[^,]*}})
// OTHER: rows = 4
// FILE: error: cannot read the schedule table {{.*}}.none: No such file or directory

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
