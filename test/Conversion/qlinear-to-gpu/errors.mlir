// RUN: not quant-opt %s --split-input-file --qlinear-to-gpu=target=cuda:sm_75 2>&1 | FileCheck %s
// RUN: not quant-opt %s --split-input-file --qlinear-to-gpu=target=cuda:sm_52 2>&1 | FileCheck %s --check-prefix=CHIP

// CHIP: error: unknown target 'cuda:sm_52'; GPU targets are cuda:emulated, and cuda:CHIP with CHIP one of sm_75,

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// One row of activations is more than the shared memory of a block, even in phases.
// CHECK: error: the kernel for 1 rows of K = 524288 needs {{[0-9]+}} bytes of shared memory, and sm_75 has 65536; use more phases, fewer stages or warps
func.func @large(%x: tensor<1x524288xf16>, %w: !qlinear.weight<16x524288, #q8>)
    -> tensor<1x16xf16> {
  %y = qlinear.linear %x, %w
      : (tensor<1x524288xf16>, !qlinear.weight<16x524288, #q8>) -> tensor<1x16xf16>
  return %y : tensor<1x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule: dot = mma needs sm_80 or later, but the target is cuda:sm_75; leave the schedule to qlinear-schedule, or change the field
func.func @feature(%x: tensor<?x64xf16>, %w: !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 8, dot = mma>]>}
      : (tensor<?x64xf16>, !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule: 2 resident blocks of 32 warps are 2048 threads, and a multiprocessor has 1024, but the target is cuda:sm_75; leave
func.func @threads(%x: tensor<?x64xf16>, %w: !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 8, resident = 2, warps = 32>]>}
      : (tensor<?x64xf16>, !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule: split_k above 1 needs sm_90 or later, but the target is cuda:sm_75
func.func @cluster(%x: tensor<?x64xf16>, %w: !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 8, split_k = 2>]>}
      : (tensor<?x64xf16>, !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule: the kernel #qlinear.cpu_gemv<rows = 1> is for CPUs, but the target is cuda:sm_75
func.func @family(%x: tensor<?x64xf16>, %w: !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1>]>}
      : (tensor<?x64xf16>, !qlinear.weight<16x64, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// What is said is not given up for what fits: with more phases it would.
// CHECK: error: schedule: the kernel for 8 rows of K = 16384 needs {{[0-9]+}} bytes of shared memory, and sm_75 has 65536; use more phases, fewer stages or warps
func.func @memory(%x: tensor<?x16384xf16>, %w: !qlinear.weight<16x16384, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1>, #qlinear.gemv<rows = 8, phases = 1>]>}
      : (tensor<?x16384xf16>, !qlinear.weight<16x16384, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule: the kernel for 8 rows of K = 16384 needs {{[0-9]+}} bytes of shared memory, and sm_75 has 65536
func.func @complete(%x: tensor<?x16384xf16>, %w: !qlinear.weight<16x16384, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 8, dot = dp4a, copy = load, grid = 3, warps = 4, stages = 1, early = 1, ahead = false, x_copy = load, resident = 0, phases = 1, split_k = 1>], quantize = inside, pdl = false>}
      : (tensor<?x16384xf16>, !qlinear.weight<16x16384, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule: the kernel for 4 rows of K = 8192 needs {{[0-9]+}} bytes of shared memory, and sm_75 has {{[0-9]+}} for each of 2 blocks; use more phases
func.func @resident(%x: tensor<?x8192xf16>, %w: !qlinear.weight<16x8192, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 4, phases = 1, resident = 2>]>}
      : (tensor<?x8192xf16>, !qlinear.weight<16x8192, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK: error: schedule: phases = 4 leaves the last without any of 5 units of K; use less
func.func @phases(%x: tensor<?x1280xf16>, %w: !qlinear.weight<16x1280, #q8>) -> tensor<?x16xf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, phases = 4>]>}
      : (tensor<?x1280xf16>, !qlinear.weight<16x1280, #q8>) -> tensor<?x16xf16>
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

// -----

// More weights than a kernel takes: a choice is not cut into several kernels.
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @experts(%x: tensor<?x64xf32>, %i: tensor<?x2xi32>, %w: !qlinear.weight<64x64, #q4>) -> tensor<?x32xf32> {
  // expected-error @below {{the 9 weights of a grouped_linear are too many for one kernel; use several operations}}
  %y:9 = qlinear.grouped_linear %x by %i, %w, %w, %w, %w, %w, %w, %w, %w, %w experts = 4
      : (tensor<?x64xf32>, tensor<?x2xi32>, !qlinear.weight<64x64, #q4>, !qlinear.weight<64x64, #q4>, !qlinear.weight<64x64, #q4>, !qlinear.weight<64x64, #q4>, !qlinear.weight<64x64, #q4>, !qlinear.weight<64x64, #q4>, !qlinear.weight<64x64, #q4>, !qlinear.weight<64x64, #q4>, !qlinear.weight<64x64, #q4>)
        -> (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>)
  return %y#0 : tensor<?x32xf32>
}
