// The tables that the compiler comes with have the shapes they were measured for; reading
// one checks every entry.
//
// RUN: quant-opt %s --qlinear-schedule='target=cuda:sm_90 table=h200' | FileCheck %s
// RUN: quant-opt %s --qlinear-schedule='target=cuda:sm_90a table=h200' | FileCheck %s --check-prefixes=CHECK,VARIANT
// RUN: quant-opt %s --qlinear-schedule='target=cuda:sm_90 table=h100' | FileCheck %s --check-prefix=H100
// RUN: %python -c "import json; t = [e for d in ('h100', 'h200') for e in json.load(open('%src/share/schedules/' + d + '.json'))]; assert len(t) > 19 and all(e['us'][m] <= 1.01 * e['model_us'][m] for e in t for m in e['us']), t"

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>

// What a table leaves out is the cost model's.
// CHECK: #qlinear.gemv<rows = 4, dot = mma, copy = bulk, grid = 132, warps = 16, stages = 2, early = 2,
// What is measured for a chip serves its variants, which have more kernels.
// VARIANT: #qlinear.gemm<rows = 16, tokens = 16, dot = wgmma,
// H100: #qlinear.gemv<rows = 4, dot = mma, copy = bulk, grid = 132, warps = 12, stages = 2, early = 2,
func.func @kv(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<4096x5376, #q4>)
    -> tensor<?x4096xbf16> {
  %y = qlinear.linear %x, %w
      : (tensor<?x5376xbf16>, !qlinear.weight<4096x5376, #q4>) -> tensor<?x4096xbf16>
  return %y : tensor<?x4096xbf16>
}
