// Which kernels multiply up to 16 tokens where groups of warps may: warps, if each block
// has one job of eight tiles or more.
//
// RUN: quant-opt %s --mlir-print-local-scope --qlinear-schedule=target=cuda:sm_90a | FileCheck %s

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
#q6 = #qlinear.encoding<i6, group = 16, symmetric, scale = i8 * row<bf16>>
#wgmma = #qlinear.schedule<kernels = [#qlinear.gemm<rows = 16, dot = wgmma>]>
#split = #qlinear.schedule<kernels = [#qlinear.gemm<rows = 16, split_k = 4>]>

// 21 tiles of each block.
// CHECK-LABEL: @large
// CHECK: #qlinear.gemm<rows = 16, tokens = 16, dot = mma, copy = bulk, grid = 132, warps = 7, tiles = 3, stages = 3, split_k = 1>
// CHECK-SAME: #qlinear.gemm<rows = 32, tokens = 32, dot = wgmma,
// CHECK-SAME: #qlinear.gemm<rows = 48, tokens = 48, dot = wgmma,
// CHECK-SAME: #qlinear.gemm<rows = 64, tokens = 64, dot = wgmma,
// CHECK-SAME: #qlinear.gemm<rows = 96, tokens = 96, dot = wgmma, {{[^>]*}} warps = 12,
// CHECK-SAME: #qlinear.gemm<rows = 128, tokens = 128, dot = wgmma, {{[^>]*}} warps = 8,
// CHECK-SAME: #qlinear.gemm<rows = 160, tokens = 160, dot = wgmma, {{[^>]*}} warps = 8,
// CHECK-SAME: #qlinear.gemm<rows = 192, tokens = 192, dot = wgmma,
// CHECK-SAME: #qlinear.gemm<rows = 224, tokens = 224, dot = wgmma,
// CHECK-SAME: #qlinear.gemm<rows = 256, tokens = 256, dot = wgmma,
// CHECK-SAME: #qlinear.gemm<rows = 384, tokens = 192, dot = wgmma,
func.func @large(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<43008x5376, #q4>) -> tensor<?x43008xbf16> {
  %y = qlinear.linear %x, %w : (tensor<?x5376xbf16>, !qlinear.weight<43008x5376, #q4>) -> tensor<?x43008xbf16>
  return %y : tensor<?x43008xbf16>
}

// Known rows.
// CHECK-LABEL: @known
// CHECK: #qlinear.gemm<rows = any, tokens = 16, dot = mma, {{[^>]*}} warps = 4, tiles = 3,
func.func @known(%x: tensor<12x5376xbf16>, %w: !qlinear.weight<21504x5376, #q4>) -> tensor<12x21504xbf16> {
  %y = qlinear.linear %x, %w : (tensor<12x5376xbf16>, !qlinear.weight<21504x5376, #q4>) -> tensor<12x21504xbf16>
  return %y : tensor<12x21504xbf16>
}

// 8 tiles of half of K in a cluster; many jobs of a block; what is asked for.
// CHECK-LABEL: @small
// CHECK: #qlinear.gemm<rows = 16, tokens = 16, dot = wgmma,
func.func @small(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<16384x5376, #q4>) -> tensor<?x16384xbf16> {
  %y = qlinear.linear %x, %w : (tensor<?x5376xbf16>, !qlinear.weight<16384x5376, #q4>) -> tensor<?x16384xbf16>
  return %y : tensor<?x16384xbf16>
}
// CHECK-LABEL: @head
// CHECK: #qlinear.gemm<rows = 16, tokens = 16, dot = wgmma,
func.func @head(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<262144x5376, #q6>) -> tensor<?x262144xbf16> {
  %y = qlinear.linear %x, %w : (tensor<?x5376xbf16>, !qlinear.weight<262144x5376, #q6>) -> tensor<?x262144xbf16>
  return %y : tensor<?x262144xbf16>
}
// CHECK-LABEL: @said
// CHECK: #qlinear.gemm<rows = 16, tokens = 16, dot = wgmma,
// CHECK: #qlinear.gemm<rows = 16, tokens = 16, dot = wgmma, {{[^>]*}} split_k = 4>
func.func @said(%x: tensor<16x5376xbf16>, %w: !qlinear.weight<43008x5376, #q4>) -> (tensor<16x43008xbf16>, tensor<16x43008xbf16>) {
  %y = qlinear.linear %x, %w {schedule = #wgmma} : (tensor<16x5376xbf16>, !qlinear.weight<43008x5376, #q4>) -> tensor<16x43008xbf16>
  %z = qlinear.linear %x, %w {schedule = #split} : (tensor<16x5376xbf16>, !qlinear.weight<43008x5376, #q4>) -> tensor<16x43008xbf16>
  return %y, %z : tensor<16x43008xbf16>, tensor<16x43008xbf16>
}

// Jobs end where a weight ends: 66 and 66 of 8 tiles are 132, 132 and 1 are one too many.
// CHECK-LABEL: @even
// CHECK: #qlinear.gemm<rows = any, tokens = 16, dot = mma,
func.func @even(%x: tensor<16x5376xbf16>, %w: !qlinear.weight<8448x5376, #q4>, %v: !qlinear.weight<8448x5376, #q4>) -> (tensor<16x8448xbf16>, tensor<16x8448xbf16>) {
  %y:2 = qlinear.linear %x, %w, %v : (tensor<16x5376xbf16>, !qlinear.weight<8448x5376, #q4>, !qlinear.weight<8448x5376, #q4>) -> (tensor<16x8448xbf16>, tensor<16x8448xbf16>)
  return %y#0, %y#1 : tensor<16x8448xbf16>, tensor<16x8448xbf16>
}
// CHECK-LABEL: @uneven
// CHECK: #qlinear.gemm<rows = any, tokens = 16, dot = wgmma,
func.func @uneven(%x: tensor<16x5376xbf16>, %w: !qlinear.weight<16816x5376, #q4>, %v: !qlinear.weight<80x5376, #q4>) -> (tensor<16x16816xbf16>, tensor<16x80xbf16>) {
  %y:2 = qlinear.linear %x, %w, %v : (tensor<16x5376xbf16>, !qlinear.weight<16816x5376, #q4>, !qlinear.weight<80x5376, #q4>) -> (tensor<16x16816xbf16>, tensor<16x80xbf16>)
  return %y#0, %y#1 : tensor<16x16816xbf16>, tensor<16x80xbf16>
}
