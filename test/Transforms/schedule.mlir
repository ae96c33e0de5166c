// Schedules are complete after the pass. What a schedule says stays; what it leaves out comes
// from a table where that has an entry, else from the cost model.
//
// RUN: quant-opt %s --mlir-print-local-scope --qlinear-schedule='target=cuda:sm_90 table=%S/Inputs/schedules.json' | FileCheck %s
// RUN: not quant-opt %s --qlinear-schedule=target=tpu 2>&1 | FileCheck %s --check-prefix=TARGET
// TARGET: error: unknown target 'tpu'; targets are cuda:sm_NN, cuda:emulated and cpu:ISA

// It does nothing to a schedule that is complete.
// RUN: quant-opt %s --qlinear-schedule=target=cuda:sm_90 -o %t.once
// RUN: quant-opt %t.once --qlinear-schedule=target=cuda:sm_90 | diff %t.once -

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK-LABEL: func.func @f
// By the cost model: dp4a for one and two rows, whose blocks share a multiprocessor with
// the next kernel's, else tensor cores; the last stage after x where there are three.
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<kernels = [
// CHECK-SAME: #qlinear.gemv<rows = 1, dot = dp4a, copy = bulk, grid = 132, warps = 12, stages = 2, early = 2, ahead = false, x_copy = bulk, resident = 2, phases = 1, split_k = 1>,
// CHECK-SAME: #qlinear.gemv<rows = 2, dot = dp4a, copy = bulk, grid = 132, warps = 12, stages = 2, early = 2, ahead = false, x_copy = bulk, resident = 2, phases = 1, split_k = 1>,
// CHECK-SAME: #qlinear.gemv<rows = 4, dot = mma, copy = bulk, grid = 132, warps = 12, stages = 2, early = 2, ahead = false, x_copy = load, resident = 1, phases = 1, split_k = 1>,
// CHECK-SAME: #qlinear.gemv<rows = 8, dot = mma, copy = bulk, grid = 132, warps = 12, stages = 2, early = 2, ahead = false, x_copy = bulk, resident = 1, phases = 1, split_k = 1>,
// CHECK-SAME: #qlinear.gemm<rows = 16, tokens = 16, dot = mma, copy = bulk, grid = 132, warps = 1, tiles = 1, stages = 4, split_k = 1>,
// CHECK-SAME: #qlinear.gemm<rows = any, tokens = 128, dot = mma, {{[^>]*}}>], quantize = inside, pdl = true>
// From the table, with what it leaves out.
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<kernels = [
// CHECK-SAME: #qlinear.gemv<rows = 1, dot = dp4a, copy = bulk, grid = 7, warps = 8, stages = 5, early = 5, ahead = false, x_copy = bulk, resident = 0, phases = 1, split_k = 1>,
// CHECK-SAME: #qlinear.gemv<rows = 2, dot = dp4a, copy = bulk, grid = 5,
// CHECK-SAME: #qlinear.gemv<rows = 8, dot = mma, copy = async, grid = 6, warps = 12, stages = 2, early = 2, ahead = false, x_copy = load, resident = 0, phases = 1, split_k = 1>,
// Tables that know no kernels for many rows get the cost model's.
// CHECK-SAME: #qlinear.gemm<rows = 16, {{.*}}#qlinear.gemm<rows = any, {{[^>]*}}>], quantize = inside, pdl = false>
func.func @f(%x: tensor<?x256xf16>, %a: !qlinear.weight<64x256, #q8>,
             %b: !qlinear.weight<96x256, #q8>)
    -> (tensor<?x64xf16>, tensor<?x96xf16>) {
  %0 = qlinear.linear %x, %a
      : (tensor<?x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<?x64xf16>
  %1 = qlinear.linear %x, %b
      : (tensor<?x256xf16>, !qlinear.weight<96x256, #q8>) -> tensor<?x96xf16>
  return %0, %1 : tensor<?x64xf16>, tensor<?x96xf16>
}

// Floats go to tensor cores for any number of rows, the last stage follows them; without a
// ring they are multiplied row by row. An entry of the table is for one format.
// CHECK-LABEL: func.func @floats
// CHECK: #qlinear.gemv<rows = 1, dot = mma, copy = bulk, grid = 132, warps = 12, stages = 2, early = 2, ahead = false,
// CHECK-SAME: #qlinear.gemv<rows = 8, dot = mma, {{.*}}>], quantize = inside, pdl = true>
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, dot = mma, copy = bulk, grid = 9, warps = 7,
// CHECK: #qlinear.gemv<rows = 1, dot = fma, copy = load,
// CHECK: #qlinear.gemv<rows = 2, dot = fma, copy = bulk, {{.*}}stages = 2,
func.func @floats(%x: tensor<?x256xf16>, %a: !qlinear.weight<64x256, #q8>,
                  %b: !qlinear.weight<96x256, #q8>)
    -> (tensor<?x64xf16>, tensor<?x96xf16>, tensor<?x64xf16>, tensor<?x64xf16>) {
  %0 = qlinear.linear %x, %a {activations = #qlinear.activation_format<float>}
      : (tensor<?x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<?x64xf16>
  %1 = qlinear.linear %x, %b {activations = #qlinear.activation_format<float>}
      : (tensor<?x256xf16>, !qlinear.weight<96x256, #q8>) -> tensor<?x96xf16>
  %2 = qlinear.linear %x, %a {activations = #qlinear.activation_format<float>, schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, copy = load>]>}
      : (tensor<?x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<?x64xf16>
  %3 = qlinear.linear %x, %a {activations = #qlinear.activation_format<float>, schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 2, dot = fma>]>}
      : (tensor<?x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<?x64xf16>
  return %0, %1, %2, %3 : tensor<?x64xf16>, tensor<?x96xf16>, tensor<?x64xf16>, tensor<?x64xf16>
}

// A static M gets the kernels up to the first that takes all rows.
// CHECK-LABEL: func.func @m
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, {{[^>]*}}>, #qlinear.gemv<rows = 2, {{[^>]*}}>, #qlinear.gemv<rows = 8, {{[^>]*}}>]
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, {{[^>]*}}>, #qlinear.gemv<rows = 2, {{[^>]*}}>]
func.func @m(%x: tensor<4x256xf16>, %z: tensor<2x256xf16>,
             %b: !qlinear.weight<96x256, #q8>) -> (tensor<4x96xf16>, tensor<2x96xf16>) {
  %0 = qlinear.linear %x, %b
      : (tensor<4x256xf16>, !qlinear.weight<96x256, #q8>) -> tensor<4x96xf16>
  %1 = qlinear.linear %z, %b
      : (tensor<2x256xf16>, !qlinear.weight<96x256, #q8>) -> tensor<2x96xf16>
  return %0, %1 : tensor<4x96xf16>, tensor<2x96xf16>
}

// So by the cost model, also where the rest of a schedule is given; more rows than eight have a kernel of their own.
// CHECK-LABEL: func.func @rows
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, {{[^>]*}}>, #qlinear.gemv<rows = 2, {{[^>]*}}>, #qlinear.gemv<rows = 4, {{[^>]*}}>], quantize = inside, pdl = false>
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, {{[^>]*}}>], quantize
// CHECK: qlinear.linear {{.*}} #qlinear.schedule<kernels = [#qlinear.gemm<rows = any, tokens = 16, {{[^>]*}}>], quantize
func.func @rows(%x: tensor<3x256xf16>, %y: tensor<1x256xf16>, %z: tensor<9x256xf16>,
                %a: !qlinear.weight<64x256, #q8>)
    -> (tensor<3x64xf16>, tensor<1x64xf16>, tensor<9x64xf16>) {
  %0 = qlinear.linear %x, %a {schedule = #qlinear.schedule<pdl = false>}
      : (tensor<3x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<3x64xf16>
  %1 = qlinear.linear %y, %a
      : (tensor<1x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<1x64xf16>
  %2 = qlinear.linear %z, %a
      : (tensor<9x256xf16>, !qlinear.weight<64x256, #q8>) -> tensor<9x64xf16>
  return %0, %1, %2 : tensor<3x64xf16>, tensor<1x64xf16>, tensor<9x64xf16>
}

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>

// Warps with four units and more have three stages, and take the first unit ahead; four rows
// get more warps. Long rows are shared by two blocks, but not one row of them; where bulk copies
// bring x, nothing starts late.
// CHECK-LABEL: func.func @long
// CHECK: #qlinear.gemv<rows = 1, dot = dp4a, copy = bulk, grid = 132, warps = 12, stages = 3, early = 2, ahead = true, x_copy = bulk, resident = 2, phases = 1, split_k = 1>
// CHECK-SAME: #qlinear.gemv<rows = 4, dot = mma, copy = bulk, grid = 132, warps = 16, stages = 3, early = 2, ahead = false, x_copy = load, resident = 1, phases = 1, split_k = 1>]
// CHECK: #qlinear.gemv<rows = 1, {{.*}}split_k = 1>,
// CHECK-SAME: #qlinear.gemv<rows = 2, {{.*}}split_k = 2>]
// CHECK: #qlinear.gemv<rows = 1, dot = dp4a, copy = bulk, grid = 132, warps = 12, stages = 3, early = 2, ahead = false,
// CHECK-SAME: #qlinear.gemv<rows = 4, dot = mma, copy = bulk, grid = 132, warps = 16, stages = 3, early = 2, ahead = false, x_copy = load, resident = 1, phases = 1, split_k = 1>,
// CHECK-SAME: #qlinear.gemv<rows = 8, dot = mma, copy = bulk, grid = 132, warps = 12, stages = 3, early = 3, ahead = false, x_copy = bulk, resident = 1, phases = 1, split_k = 1>]
func.func @long(%x: tensor<4x5376xf16>, %z: tensor<2x16384xf16>, %q: !qlinear.activations<8x5376>,
                %a: !qlinear.weight<5376x5376, #q4>, %b: !qlinear.weight<1536x16384, #q4>)
    -> (tensor<4x5376xf16>, tensor<2x1536xf16>, tensor<8x5376xf16>) {
  %0 = qlinear.linear %x, %a
      : (tensor<4x5376xf16>, !qlinear.weight<5376x5376, #q4>) -> tensor<4x5376xf16>
  %1 = qlinear.linear %z, %b
      : (tensor<2x16384xf16>, !qlinear.weight<1536x16384, #q4>) -> tensor<2x1536xf16>
  %2 = qlinear.linear %q, %a
      : (!qlinear.activations<8x5376>, !qlinear.weight<5376x5376, #q4>) -> tensor<8x5376xf16>
  return %0, %1, %2 : tensor<4x5376xf16>, tensor<2x1536xf16>, tensor<8x5376xf16>
}

// Where shared memory is short, what is given is kept and the rest gives way.
// CHECK-LABEL: func.func @short
// CHECK: #qlinear.gemv<rows = 8, dot = mma, copy = bulk, grid = 132, warps = 12, stages = {{[12]}}, early = {{[12]}}, {{.*}}phases = {{[234]}}, split_k = 1>
// CHECK: #qlinear.gemv<rows = 8, dot = mma, copy = bulk, grid = 132, warps = 4, stages = 3, {{.*}}phases = 5, split_k = 1>
func.func @short(%x: tensor<8x43008xf16>, %w: !qlinear.weight<4832x43008, #q8>)
    -> (tensor<8x4832xf16>, tensor<8x4832xf16>) {
  %0 = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 8, split_k = 1>]>}
      : (tensor<8x43008xf16>, !qlinear.weight<4832x43008, #q8>) -> tensor<8x4832xf16>
  %1 = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 8, split_k = 1, warps = 4, stages = 3, phases = 5>]>}
      : (tensor<8x43008xf16>, !qlinear.weight<4832x43008, #q8>) -> tensor<8x4832xf16>
  return %0, %1 : tensor<8x4832xf16>, tensor<8x4832xf16>
}
