// Kernels for many tokens by warps, for chips with less shared memory: jobs are as large
// as it and the work allow.
//
// RUN: quant-opt %s --mlir-print-local-scope --qlinear-schedule=target=cuda:sm_80 | FileCheck %s
// RUN: quant-opt %s --mlir-print-local-scope --qlinear-schedule=target=cuda:sm_86 | FileCheck %s --check-prefix=LESS
// RUN: quant-opt %s --mlir-print-local-scope --qlinear-schedule=target=cuda:sm_120a | FileCheck %s --check-prefix=LESS
//
// What is said stays, and is refused with its numbers where there is no room.
// RUN: sed 's/%%x, %%w :/%%x, %%w {schedule = #qlinear.schedule<kernels = [#qlinear.gemm<rows = any, tokens = 128>]>} :/' %s > %t
// RUN: not quant-opt %t --qlinear-schedule=target=cuda:sm_86 2>&1 | FileCheck %s --check-prefix=SAID
// SAID: error: schedule: the gemm kernel of K = 5376 with 1 tiles, tokens = 128 and stages = 2 needs {{[0-9]+}} bytes of shared memory, and sm_86 has 101376; use fewer stages, tiles or warps
//
// Equal fields for several numbers of rows are one kernel.
//
// RUN: quant-opt %s --mlir-print-local-scope --qlinear-to-gpu=target=cuda:sm_86 | FileCheck %s --check-prefix=KERNELS
// RUN: quant-opt %s --mlir-print-local-scope --qlinear-to-gpu=target=cuda:sm_90a | FileCheck %s --check-prefix=GROUPS

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK-LABEL: @large
// CHECK: #qlinear.gemm<rows = 128, tokens = 64, dot = mma, {{[^>]*}} warps = 9, tiles = 2, stages = 2,
// CHECK-SAME: #qlinear.gemm<rows = any, tokens = 64, dot = mma, {{[^>]*}} warps = 9, tiles = 2, stages = 2,
// LESS-LABEL: @large
// LESS: #qlinear.gemm<rows = 16, tokens = 16, dot = mma,
// LESS-SAME: #qlinear.gemm<rows = 64, tokens = 64, dot = mma, {{[^>]*}} warps = 3, tiles = 2, stages = 2,
// LESS-SAME: #qlinear.gemm<rows = any, tokens = 64, dot = mma, {{[^>]*}} warps = 3, tiles = 2, stages = 2,
//
// KERNELS-LABEL: @large
// KERNELS: rows = 64, kernel = @qlinear_kernels::@linear0_m64, grid = 84,
// KERNELS-SAME: rows = 128, kernel = @qlinear_kernels::@linear0_m64, grid = 84,
// KERNELS-SAME: rows = 2147483647, kernel = @qlinear_kernels::@linear0_m64, grid = 84,
// GROUPS-LABEL: @large
// GROUPS: rows = 192, kernel = @qlinear_kernels::@linear0_m192, grid = 132,
// GROUPS-SAME: rows = 256, kernel = @qlinear_kernels::@linear0_m256, grid = 132,
// GROUPS-SAME: rows = 384, kernel = @qlinear_kernels::@linear0_m192, grid = 132,
// GROUPS-SAME: rows = 512, kernel = @qlinear_kernels::@linear0_m256, grid = 132,
// GROUPS-SAME: rows = 2147483647, kernel = @qlinear_kernels::@linear0_m256, grid = 132,
func.func @large(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<43008x5376, #q4>) -> tensor<?x43008xbf16> {
  %y = qlinear.linear %x, %w : (tensor<?x5376xbf16>, !qlinear.weight<43008x5376, #q4>) -> tensor<?x43008xbf16>
  return %y : tensor<?x43008xbf16>
}

// A small matrix has too few tiles for fewer tokens.
// CHECK-LABEL: @few_tiles
// CHECK: #qlinear.gemm<rows = 128, tokens = 128, dot = mma,
// CHECK-SAME: #qlinear.gemm<rows = any, tokens = 64, dot = mma,
func.func @few_tiles(%x: tensor<?x8192xbf16>, %w: !qlinear.weight<5376x8192, #q4>) -> tensor<?x5376xbf16> {
  %y = qlinear.linear %x, %w : (tensor<?x8192xbf16>, !qlinear.weight<5376x8192, #q4>) -> tensor<?x5376xbf16>
  return %y : tensor<?x5376xbf16>
}

// Codes of 8 bits take twice the room: fewer tokens, and warps of one tile each.
// CHECK-LABEL: @eight
// CHECK: #qlinear.gemm<rows = any, tokens = 64, dot = mma, {{[^>]*}} warps = 5, tiles = 2, stages = 2,
// LESS-LABEL: @eight
// LESS: #qlinear.gemm<rows = 16, tokens = 16, {{[^>]*}} warps = 3, tiles = 3, stages = 2,
// LESS-SAME: #qlinear.gemm<rows = any, tokens = 32, dot = mma, {{[^>]*}} warps = 7, tiles = 1, stages = 2,
func.func @eight(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<43008x5376, #q8>) -> tensor<?x43008xbf16> {
  %y = qlinear.linear %x, %w : (tensor<?x5376xbf16>, !qlinear.weight<43008x5376, #q8>) -> tensor<?x43008xbf16>
  return %y : tensor<?x43008xbf16>
}
