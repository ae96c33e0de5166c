// After a kernel of few blocks, a norm's or one that quantizes, a linear has no two blocks
// on a multiprocessor, but as many registers as if: a block of another kernel fits beside.
//
// RUN: quant-opt %s --mlir-print-local-scope --qlinear-schedule=target=cuda:sm_90a | FileCheck %s
// RUN: quant-compile %s --target=cuda:sm_90a --emit=ptx -o - | FileCheck %s --check-prefix=PTX

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
qlinear.parameter @up : !qlinear.weight<14336x4096, #q4> from "up"
qlinear.parameter @down : !qlinear.weight<4096x14336, #q4> from "down"

// CHECK-LABEL: @norm
// CHECK: gemv<rows = 1, {{[^>]*}} warps = 12, stages = 3, early = 2, {{[^>]*}} resident = 1,
// CHECK-SAME: gemv<rows = 2, {{[^>]*}} warps = 12, stages = 3, early = 2, {{[^>]*}} resident = 1,
// CHECK: gemv<rows = 1, {{[^>]*}} warps = 12, stages = 3, early = 2, {{[^>]*}} resident = 2,
// CHECK-SAME: gemv<rows = 2, {{[^>]*}} resident = 2,
//
// PTX: .entry linear0_m1(
// PTX: .minnctapersm 2
// PTX: .entry linear1_m1(
// PTX: .minnctapersm 2
func.func @norm(%x: tensor<?x4096xbf16>) -> tensor<?x4096xbf16> {
  %n = qlinear.norm rms %x epsilon = 1.0e-06 : (tensor<?x4096xbf16>) -> tensor<?x4096xbf16>
  %wu = qlinear.load @up : !qlinear.weight<14336x4096, #q4>
  %h = qlinear.linear %n, %wu : (tensor<?x4096xbf16>, !qlinear.weight<14336x4096, #q4>) -> tensor<?x14336xbf16>
  %wd = qlinear.load @down : !qlinear.weight<4096x14336, #q4>
  %y = qlinear.linear %h, %wd : (tensor<?x14336xbf16>, !qlinear.weight<4096x14336, #q4>) -> tensor<?x4096xbf16>
  return %y : tensor<?x4096xbf16>
}

// CHECK-LABEL: @quantized
// CHECK: gemv<rows = 1, {{[^>]*}} resident = 1,
func.func @quantized(%x: tensor<?x4096xbf16>) -> tensor<?x14336xbf16> {
  %q = qlinear.quantize_activations %x : tensor<?x4096xbf16> -> !qlinear.activations<?x4096>
  %wu = qlinear.load @up : !qlinear.weight<14336x4096, #q4>
  %h = qlinear.linear %q, %wu : (!qlinear.activations<?x4096>, !qlinear.weight<14336x4096, #q4>) -> tensor<?x14336xbf16>
  return %h : tensor<?x14336xbf16>
}

// What is said stays.
// CHECK-LABEL: @said
// CHECK: gemv<rows = 1, {{[^>]*}} resident = 2,
func.func @said(%x: tensor<1x4096xbf16>) -> tensor<1x14336xbf16> {
  %n = qlinear.norm rms %x epsilon = 1.0e-06 : (tensor<1x4096xbf16>) -> tensor<1x4096xbf16>
  %wu = qlinear.load @up : !qlinear.weight<14336x4096, #q4>
  %h = qlinear.linear %n, %wu {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, resident = 2>]>}
      : (tensor<1x4096xbf16>, !qlinear.weight<14336x4096, #q4>) -> tensor<1x14336xbf16>
  return %h : tensor<1x14336xbf16>
}
