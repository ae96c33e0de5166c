// RUN: not quant-opt %s --split-input-file --qlinear-to-gpu=target=cuda:sm_75 2>&1 | FileCheck %s
// RUN: not quant-opt %s --split-input-file --qlinear-to-gpu=target=cuda:sm_52 2>&1 | FileCheck %s --check-prefix=CHIP

// CHIP: error: unknown target 'cuda:sm_52'; GPU targets are cuda:emulated, and cuda:CHIP with CHIP one of sm_75,

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// One row of activations is more than the shared memory of a block, even in phases.
// CHECK: error: K = 524288: a quarter of the activations and the copy ring do not fit into 65536 bytes of shared memory of sm_75; use fewer warps, or a chip with more
func.func @large(%x: tensor<1x524288xf16>, %w: !qlinear.weight<16x524288, #q8>)
    -> tensor<1x16xf16> {
  %y = qlinear.linear %x, %w
      : (tensor<1x524288xf16>, !qlinear.weight<16x524288, #q8>) -> tensor<1x16xf16>
  return %y : tensor<1x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule has a kernel for rows = 16, but a GPU kernel takes at most 8; use rows = [1, 2, 4, 8]
func.func @rows(%x: tensor<?x64xf16>, %w: !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<rows = [1, 16]>}
      : (tensor<?x64xf16>, !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

func.func @buffers(%x: memref<4x64xf32>, %w: !qlinear.weight<8x64, #q8>, %y: memref<4x8xf32>) {
  // CHECK: error: 'qlinear.linear' is on buffers; kernels are made of operations on tensors: run qlinear-to-gpu before one-shot-bufferize
  qlinear.linear %x, %w outs(%y)
      : (memref<4x64xf32>, !qlinear.weight<8x64, #q8>, memref<4x8xf32>) -> ()
  return
}
