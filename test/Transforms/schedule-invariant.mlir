// Kernels with which a row's results do not depend on the rows beside it: all add in one
// order.
//
// RUN: quant-opt %s --mlir-print-local-scope --qlinear-schedule='target=cuda:sm_90a batch-invariant' | FileCheck %s --check-prefix=GROUPS
// RUN: quant-opt %s --mlir-print-local-scope --qlinear-schedule='target=cuda:sm_90 batch-invariant' | FileCheck %s --check-prefix=WARPS
// RUN: quant-opt %s --mlir-print-local-scope --qlinear-schedule='target=cpu batch-invariant' | FileCheck %s --check-prefix=CPU
// RUN: quant-opt %s --mlir-print-local-scope '--qlinear-cuda=target=cuda:emulated batch-invariant=true' | FileCheck %s --check-prefix=PIPELINE
// RUN: not quant-opt %s --qlinear-schedule='target=cuda:sm_75 batch-invariant' 2>&1 | FileCheck %s --check-prefix=OLD
// RUN: not quant-opt %s --qlinear-schedule='target=cuda:sm_90 table=h200 batch-invariant' 2>&1 | FileCheck %s --check-prefix=TABLE
// RUN: not quant-compile %src/test/Runtime/Inputs/linear.mlir --target=cuda:sm_90 --schedule-table=h200 --batch-invariant --emit=mlir -o - 2>&1 | FileCheck %s --check-prefix=TABLE

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>

// Few tiles: four blocks share K for any number of rows, or none does.
// GROUPS-LABEL: @few
// GROUPS-NOT: gemv
// GROUPS: kernels = [#qlinear.gemm<rows = 16, tokens = 16, dot = wgmma, {{[^>]*}} split_k = 1>, #qlinear.gemm<rows = 32, {{[^>]*}} dot = wgmma, {{[^>]*}} split_k = 1>
// GROUPS-SAME: #qlinear.gemm<rows = any, {{[^>]*}} dot = wgmma, {{[^>]*}} split_k = 1>], quantize = inside, pdl = true>
// WARPS-LABEL: @few
// WARPS-NOT: gemv
// WARPS: kernels = [#qlinear.gemm<rows = 16, tokens = 16, dot = mma, {{[^>]*}} split_k = 4>
// WARPS-SAME: #qlinear.gemm<rows = any, tokens = 128, dot = mma, {{[^>]*}} split_k = 4>]
// CPU-LABEL: @few
// CPU: #qlinear.schedule<kernels = [#qlinear.cpu_gemm<rows = any, tokens = 64, tiles = 4>]>
func.func @few(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<4096x5376, #q4>) -> tensor<?x4096xbf16> {
  %y = qlinear.linear %x, %w : (tensor<?x5376xbf16>, !qlinear.weight<4096x5376, #q4>) -> tensor<?x4096xbf16>
  return %y : tensor<?x4096xbf16>
}

// A known number of rows makes no difference, nor does it whether others use x.
// GROUPS-LABEL: @known
// GROUPS: kernels = [#qlinear.gemm<rows = any, tokens = 16, dot = wgmma, {{[^>]*}} split_k = 1>]
// GROUPS: kernels = [#qlinear.gemm<rows = any, tokens = 16, dot = wgmma, {{[^>]*}} split_k = 1>]
// CPU-LABEL: @known
// CPU: #qlinear.schedule<kernels = [#qlinear.cpu_gemm<rows = any, tokens = 8, tiles = 4>]>
// PIPELINE-LABEL: func.func @known
// PIPELINE-NOT: quantize
// PIPELINE: qlinear.launch {{.*}} weights(%arg1, %arg2)
func.func @known(%x: tensor<4x5376xbf16>, %w: !qlinear.weight<4096x5376, #q4>, %v: !qlinear.weight<4096x5376, #q4>) -> (tensor<4x4096xbf16>, tensor<4x4096xbf16>) {
  %y = qlinear.linear %x, %w : (tensor<4x5376xbf16>, !qlinear.weight<4096x5376, #q4>) -> tensor<4x4096xbf16>
  %z = qlinear.linear %x, %v : (tensor<4x5376xbf16>, !qlinear.weight<4096x5376, #q4>) -> tensor<4x4096xbf16>
  return %y, %z : tensor<4x4096xbf16>, tensor<4x4096xbf16>
}

// OLD: error: {{.*}}the schedule is not batch-invariant: {{.*}}gemv<rows = 1, {{.*}} quantizes or adds in another way than kernels for other rows; use #qlinear.gemm kernels for all, or leave the schedule to qlinear-schedule
// TABLE: error: batch-invariant kernels are not measured: the table 'h200' has those of which each is the fastest for its rows; leave out one of the two

// Where up to 16 rows would have kernels that add in another order.
// GROUPS-LABEL: @large
// GROUPS: kernels = [#qlinear.gemm<rows = 16, tokens = 16, dot = wgmma, {{[^>]*}} split_k = 1>
// GROUPS-NOT: dot = mma
// GROUPS: return
func.func @large(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<43008x5376, #q4>) -> tensor<?x43008xbf16> {
  %y = qlinear.linear %x, %w : (tensor<?x5376xbf16>, !qlinear.weight<43008x5376, #q4>) -> tensor<?x43008xbf16>
  return %y : tensor<?x43008xbf16>
}
