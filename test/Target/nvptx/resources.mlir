// The budget of the main encodings: registers (for one and two rows at most 80, so that
// two blocks of 384 threads fit on a multiprocessor; for four at most 128, so that one of
// 512 threads does; for eight at most 168, so that one of 384 does), no spills, no local memory, and the instructions that multiply one unit: by
// dp4a with one row, on tensor cores with eight.
//
// REQUIRES: ptxas
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-to-gpu,gpu.module(qlinear-print-ptx{ptxas-log=true}))' -o %t.mlir | FileCheck %s
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-to-gpu,gpu.module(qlinear-print-ptx))' -o %t.mlir > %t.ptx
// RUN: %python %S/Inputs/loop_size.py < %t.ptx | FileCheck %s --check-prefix=LOOP

// CHECK: Function properties for linear7_m4{{[[:space:]].*}}0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads{{[[:space:]].*}}Used {{[1-9]?[0-9]|1[01][0-9]|12[0-8]}} registers
// CHECK: Function properties for linear7_m2{{[[:space:]].*}}0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads{{[[:space:]].*}}Used {{[1-7]?[0-9]|80}} registers
// CHECK: Function properties for linear6_m4{{[[:space:]].*}}0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads{{[[:space:]].*}}Used {{[1-9]?[0-9]|1[01][0-9]|12[0-8]}} registers
// CHECK: Function properties for linear6_m2{{[[:space:]].*}}0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads{{[[:space:]].*}}Used {{[1-7]?[0-9]|80}} registers
// CHECK-COUNT-3: Function properties for linear{{[3-5]}}_m8{{[[:space:]].*}}0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads{{[[:space:]].*}}Used {{[1-9]?[0-9]|1[0-5][0-9]|16[0-8]}} registers
// CHECK-COUNT-3: Function properties for linear{{[0-2]}}_m1{{[[:space:]].*}}0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads{{[[:space:]].*}}Used {{[1-7]?[0-9]|80}} registers
// CHECK-NOT: bytes stack frame

// LOOP-DAG: linear0_m1: 1{{[0-9][0-9]}} instructions, 32 products
// LOOP-DAG: linear1_m1: 1{{[0-9][0-9]}} instructions, 32 products
// LOOP-DAG: linear2_m1: 2{{[0-4][0-9]}} instructions, 32 products

// LOOP-DAG: linear3_m8: 2{{[0-9][0-9]}} instructions, 8 products
// LOOP-DAG: linear4_m8: 2{{[0-9][0-9]}} instructions, 8 products
// LOOP-DAG: linear5_m8: {{3[0-9][0-9]|4[0-4][0-9]}} instructions, 16 products

#q4_row = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
#q4_k = #qlinear.encoding<u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>>
#q6_k = #qlinear.encoding<i6, group = 16, symmetric, scale = i8 * block<256, f16>>

func.func @f(%x: tensor<1x5376xbf16>, %a: !qlinear.weight<21504x5376, #q4_row>,
             %b: !qlinear.weight<21504x5376, #q4_k>, %c: !qlinear.weight<21504x5376, #q6_k>)
    -> (tensor<1x21504xbf16>, tensor<1x21504xbf16>, tensor<1x21504xbf16>) {
  %0 = qlinear.linear %x, %a
      : (tensor<1x5376xbf16>, !qlinear.weight<21504x5376, #q4_row>) -> tensor<1x21504xbf16>
  %1 = qlinear.linear %x, %b
      : (tensor<1x5376xbf16>, !qlinear.weight<21504x5376, #q4_k>) -> tensor<1x21504xbf16>
  %2 = qlinear.linear %x, %c
      : (tensor<1x5376xbf16>, !qlinear.weight<21504x5376, #q6_k>) -> tensor<1x21504xbf16>
  return %0, %1, %2 : tensor<1x21504xbf16>, tensor<1x21504xbf16>, tensor<1x21504xbf16>
}

#eight = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 8, copy = bulk, stages = 3>], pdl = true>
func.func @g(%x: tensor<8x5376xbf16>, %a: !qlinear.weight<21504x5376, #q4_row>,
             %b: !qlinear.weight<21504x5376, #q4_k>, %c: !qlinear.weight<21504x5376, #q6_k>)
    -> (tensor<8x21504xbf16>, tensor<8x21504xbf16>, tensor<8x21504xbf16>) {
  %0 = qlinear.linear %x, %a {schedule = #eight}
      : (tensor<8x5376xbf16>, !qlinear.weight<21504x5376, #q4_row>) -> tensor<8x21504xbf16>
  %1 = qlinear.linear %x, %b {schedule = #eight}
      : (tensor<8x5376xbf16>, !qlinear.weight<21504x5376, #q4_k>) -> tensor<8x21504xbf16>
  %2 = qlinear.linear %x, %c {schedule = #eight}
      : (tensor<8x5376xbf16>, !qlinear.weight<21504x5376, #q6_k>) -> tensor<8x21504xbf16>
  return %0, %1, %2 : tensor<8x21504xbf16>, tensor<8x21504xbf16>, tensor<8x21504xbf16>
}

#two_and_four = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 2, copy = bulk, stages = 3>, #qlinear.gemv<rows = 4, copy = bulk, stages = 3>], pdl = true>
func.func @h(%x: tensor<4x5376xbf16>, %a: !qlinear.weight<21504x5376, #q4_row>,
             %b: !qlinear.weight<21504x5376, #q4_k>)
    -> (tensor<4x21504xbf16>, tensor<4x21504xbf16>) {
  %0 = qlinear.linear %x, %a {schedule = #two_and_four}
      : (tensor<4x5376xbf16>, !qlinear.weight<21504x5376, #q4_row>) -> tensor<4x21504xbf16>
  %1 = qlinear.linear %x, %b {schedule = #two_and_four}
      : (tensor<4x5376xbf16>, !qlinear.weight<21504x5376, #q4_k>) -> tensor<4x21504xbf16>
  return %0, %1 : tensor<4x21504xbf16>, tensor<4x21504xbf16>
}
