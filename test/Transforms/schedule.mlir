// Schedules from a table where it has an entry, else from the cost model; what has
// one keeps it. An entry for exactly the linear's M goes before one for any.
//
// RUN: quant-opt %s --qlinear-schedule='target=cuda:sm_90 table=%S/Inputs/schedules.json' | FileCheck %s
// RUN: not quant-opt %s --qlinear-schedule=target=tpu 2>&1 | FileCheck %s --check-prefix=TARGET
// TARGET: error: unknown target 'tpu'; targets are cuda:sm_NN, cuda:emulated and cpu:ISA

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK-LABEL: func.func @f
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<grid = 132, warps = 12, stages = 2, copy = bulk, pdl = true>
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<rows = [1], grid = 7, stages = 5, copy = bulk>
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<grid = 3>
func.func @f(%x: tensor<?x256xf16>, %a: !qlinear.weight<64x256, #q8>,
             %b: !qlinear.weight<96x256, #q8>)
    -> (tensor<?x64xf16>, tensor<?x96xf16>, tensor<?x96xf16>) {
  %0 = qlinear.linear %x, %a
      : (tensor<?x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<?x64xf16>
  %1 = qlinear.linear %x, %b
      : (tensor<?x256xf16>, !qlinear.weight<96x256, #q8>) -> tensor<?x96xf16>
  %2 = qlinear.linear %x, %b {schedule = #qlinear.schedule<grid = 3>}
      : (tensor<?x256xf16>, !qlinear.weight<96x256, #q8>) -> tensor<?x96xf16>
  return %0, %1, %2 : tensor<?x64xf16>, tensor<?x96xf16>, tensor<?x96xf16>
}

// CHECK-LABEL: func.func @m
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<rows = [4], grid = 9, copy = bulk>
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<rows = [1], grid = 7, stages = 5, copy = bulk>
func.func @m(%x: tensor<4x256xf16>, %z: tensor<2x256xf16>,
             %b: !qlinear.weight<96x256, #q8>) -> (tensor<4x96xf16>, tensor<2x96xf16>) {
  %0 = qlinear.linear %x, %b
      : (tensor<4x256xf16>, !qlinear.weight<96x256, #q8>) -> tensor<4x96xf16>
  %1 = qlinear.linear %z, %b
      : (tensor<2x256xf16>, !qlinear.weight<96x256, #q8>) -> tensor<2x96xf16>
  return %0, %1 : tensor<4x96xf16>, tensor<2x96xf16>
}

// Warps with four units and more have three stages; long rows are shared by two blocks.
// CHECK-LABEL: func.func @long
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<rows = [1], grid = 132, copy = bulk, pdl = true>
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<rows = [1], grid = 132, warps = 12, stages = 2, copy = bulk, pdl = true, split_k = 2>
func.func @long(%x: tensor<1x5376xf16>, %z: tensor<1x16384xf16>,
                %a: !qlinear.weight<4832x5376, #q8>, %b: !qlinear.weight<1536x16384, #q8>)
    -> (tensor<1x4832xf16>, tensor<1x1536xf16>) {
  %0 = qlinear.linear %x, %a
      : (tensor<1x5376xf16>, !qlinear.weight<4832x5376, #q8>) -> tensor<1x4832xf16>
  %1 = qlinear.linear %z, %b
      : (tensor<1x16384xf16>, !qlinear.weight<1536x16384, #q8>) -> tensor<1x1536xf16>
  return %0, %1 : tensor<1x4832xf16>, tensor<1x1536xf16>
}
