// The PTX of one kernel: dot products in dp4a, wide loads, asynchronous copies, no
// calls and no local memory; only what the architecture has.
//
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-to-gpu{target=cuda:sm_90},gpu.module(qlinear-print-ptx))' -o %t.mlir > %t.90
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-to-gpu{target=cuda:sm_80},gpu.module(qlinear-print-ptx))' -o %t.mlir > %t.80
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-to-gpu{target=cuda:sm_75},gpu.module(qlinear-print-ptx))' -o %t.mlir > %t.75
// RUN: FileCheck %s --check-prefix=SM90 < %t.90
// RUN: FileCheck %s --check-prefix=SM80 < %t.80
// RUN: FileCheck %s --check-prefix=SM75 < %t.75
// RUN: not grep -E '\.local|call' %t.90 %t.80 %t.75
// RUN: not grep -E 'griddepcontrol|mbarrier|bulk' %t.80 %t.75
// RUN: not grep cp.async %t.75

// A lane's 4 rows of 32 codes are 32 dot products of 4; 2 more sum the codes where
// activations are quantized, which is unrolled at most 6 times.
// RUN: grep -c dp4a %t.90 | FileCheck %s --check-prefix=COUNT
// COUNT: {{^(34|36|38|40|42|44)$}}

// SM90: .version 8.0
// SM90: .target sm_90
// SM90: .entry linear0_m1(
// SM90-DAG: .reqntid 384
// SM90-DAG: .minnctapersm 2
// SM90-DAG: cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint
// SM90-DAG: mbarrier.try_wait
// SM90-DAG: griddepcontrol.launch_dependents
// SM90-DAG: griddepcontrol.wait
// SM90-DAG: dp4a.u32.s32
// SM90-DAG: ld.shared.v4
// SM90-DAG: ld.global.cg.v4.u32

// SM80: .version 7.4
// SM80: .target sm_80
// SM80-DAG: cp.async.cg.shared.global
// SM80-DAG: cp.async.wait_group 2
// SM80-DAG: dp4a.u32.s32
// SM80-DAG: ld.shared.v4

// SM75: .version 7.4
// SM75: .target sm_75
// SM75-DAG: ld.global.nc.L1::no_allocate.v4.u32
// SM75-DAG: dp4a.u32.s32

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
func.func @f(%x: tensor<1x5376xbf16>, %w: !qlinear.weight<21504x5376, #q4>)
    -> tensor<1x21504xbf16> {
  %y = qlinear.linear %x, %w
      : (tensor<1x5376xbf16>, !qlinear.weight<21504x5376, #q4>) -> tensor<1x21504xbf16>
  return %y : tensor<1x21504xbf16>
}
