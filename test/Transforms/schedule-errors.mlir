// What is wrong with a table is said by its name and the entry's number and key.
//
// RUN: rm -rf %t && mkdir %t
// RUN: %python %S/Inputs/schedule_tables.py quant-opt %s %t | FileCheck %s
// CHECK:      not-json: 1: {{.*}}error: schedule table not-json.json:
// CHECK:      deep: 1: {{.*}}error: schedule table deep.json nests more than 64 deep at offset 64
// CHECK:      not-a-list: 1: {{.*}}error: schedule table not-a-list.json is not a JSON array
// CHECK:      no-weights: 1: {{.*}}error: schedule table no-weights.json, entry 1 needs "target", "weights" and "schedule"
// CHECK:      no-n: 1: {{.*}}entry 1 (cuda:sm_90): a weight needs "encoding", "n" and "k"
// CHECK:      negative: 1: {{.*}}entry 1 (cuda:sm_90, -96x256 <i8, group = 32, symmetric, scale = f16>): "n" and "k" have to be positive
// CHECK:      target: 1: {{.*}}entry 1: unknown target 'gpu:9'; targets are cuda:sm_NN, cuda:emulated and cpu:ISA
// CHECK:      m: 1: {{.*}}entry 1 has "m", but an entry is for any M; its schedule has a kernel for each number of rows
// CHECK:      activations: 1: {{.*}}entry 1: "activations" is 'int4'; it is int8 (the default) or float
// CHECK:      encoding: 1: {{.*}}entry 1 (cuda:sm_90, 96x256 <u4, group = 31, {{.*}}>): {{.*}}31
// CHECK:      shape: 1: {{.*}}entry 1 (cuda:sm_90, 96x416 <i8, group = 128, {{.*}}>): K = 416 is not a multiple of {{.*}}128
// CHECK:      schedule: 1: {{.*}}warps = 99
// CHECK:      no-schedule: 1:
// CHECK:      entry 1 (cuda:sm_90, 96x256 <{{.*}}>): 'bulk' is not a #qlinear.schedule
// CHECK:      cpu: 1: {{.*}}the kernel #qlinear.cpu_gemv<rows = 1> is for CPUs, but the target is cuda:sm_90
// CHECK:      gpu: 1: {{.*}}the kernel #qlinear.gemv<rows = 1, copy = bulk> is for GPUs, but the target is cpu:avx2
// CHECK:      bulk: 1: {{.*}}error: schedule table bulk.json, entry 0 (cuda:sm_80, 96x256 <i8, group = 32, symmetric, scale = f16>): copy = bulk needs sm_90 or later, but the target is cuda:sm_80; measure the table on it
// CHECK:      async: 1: {{.*}}copy = async needs sm_80 or later, but the target is cuda:sm_75
// CHECK:      pdl: 1: {{.*}}pdl = true needs sm_90 or later, but the target is cuda:sm_80
// CHECK:      other-target: 0: {{.*}}warning: schedule table other-target.json has no entry for the target cuda:sm_90; the cost model chooses all schedules
//
// Files and names.
// RUN: not quant-opt %s --qlinear-schedule='table=%t/none.json' 2>&1 | FileCheck %s --check-prefix=FILE
// FILE: error: cannot read the schedule table {{.*}}none.json: No such file or directory{{$}}
// RUN: not quant-opt %s --qlinear-schedule='table=h900' 2>&1 | FileCheck %s --check-prefix=NAME
// NAME: error: cannot read the schedule table h900: No such file or directory; the compiler comes with: h100, h200{{$}}
// RUN: quant-opt %s --qlinear-schedule='table=h200' | FileCheck %s --check-prefix=SHIPPED
// SHIPPED: #schedule = #qlinear.schedule<

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<?x256xf16>, %b: !qlinear.weight<96x256, #q8>) -> tensor<?x96xf16> {
  %0 = qlinear.linear %x, %b
      : (tensor<?x256xf16>, !qlinear.weight<96x256, #q8>) -> tensor<?x96xf16>
  return %0 : tensor<?x96xf16>
}
