// What a kernel is made of, and the launch that takes the linear's place.
//
// RUN: quant-opt %s --qlinear-to-gpu | FileCheck %s

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
#q6 = #qlinear.encoding<i6, group = 16, symmetric, scale = i8 * block<256, f16>>

// One weight: one segment. Copies start before anything waits, the row constants are
// staged before the wait for the previous kernel, the activations after it; the copies of
// the last stage do not delay the loads of x, and go on while x is quantized.
// CHECK-LABEL: func.func @one
// A block for each of the 132 multiprocessors.
// CHECK: qlinear.launch [#qlinear.variant<rows = 1, kernel = @qlinear_kernels::@linear0_m1, grid = 132, block = 384, smem = {{[0-9]+}}>,
// CHECK-SAME: rows = 2, kernel = @qlinear_kernels::@linear0_m2, grid = 132,
// CHECK-SAME: rows = 4, kernel = @qlinear_kernels::@linear0_m4, grid = 132,
// CHECK-SAME: rows = 8, kernel = @qlinear_kernels::@linear0_m8, grid = 132,
// CHECK-SAME: rows = 16, kernel = @qlinear_kernels::@linear0_m16, {{.*}}before = <rows = 16, kernel = @qlinear_kernels::@linear0_prepare,
// CHECK-SAME: rows = 2147483647, kernel = @qlinear_kernels::@linear0_many,
// CHECK-SAME: weights(%arg1) ins(%arg0) temps [#qlinear.temp<bytes = 16, bytes_per_row = 10756>] pdl
func.func @one(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<21504x5376, #q4>)
    -> tensor<?x21504xbf16> {
  %y = qlinear.linear %x, %w
      : (tensor<?x5376xbf16>, !qlinear.weight<21504x5376, #q4>) -> tensor<?x21504xbf16>
  return %y : tensor<?x21504xbf16>
}

// The same linear again: no new kernel.
// CHECK-LABEL: func.func @shared
// CHECK: kernel = @qlinear_kernels::@linear0_m1
func.func @shared(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<21504x5376, #q4>)
    -> tensor<?x21504xbf16> {
  %y = qlinear.linear %x, %w
      : (tensor<?x5376xbf16>, !qlinear.weight<21504x5376, #q4>) -> tensor<?x21504xbf16>
  return %y : tensor<?x21504xbf16>
}

// Gate and up share tiles: one walk over two weights; the epilogue is in the kernel.
// CHECK-LABEL: func.func @epilogue
// 100 rows are 7 tiles, but every multiprocessor has a block, beside which one more fits.
// CHECK: kernel = @qlinear_kernels::@linear1_m1, grid = 132, block = 384, smem = 76816>
func.func @epilogue(%x: tensor<1x256xf32>, %g: !qlinear.weight<100x256, #q4>,
                    %u: !qlinear.weight<100x256, #q4>, %bias: tensor<100xf16>)
    -> tensor<1x100xf32> {
  %y = qlinear.linear %x, %g, %u extras(%bias)
      : (tensor<1x256xf32>, !qlinear.weight<100x256, #q4>, !qlinear.weight<100x256, #q4>,
         tensor<100xf16>) -> tensor<1x100xf32> {
  ^bb0(%a: f32, %b: f32, %c: f16):
    %0 = arith.extf %c : f16 to f32
    %1 = arith.addf %a, %0 : f32
    %2 = arith.mulf %1, %b : f32
    qlinear.yield %2 : f32
  }
  return %y : tensor<1x100xf32>
}

// Two weights of different N and encoding: two segments in one kernel.
// CHECK-LABEL: func.func @segments
// 32 and 8 tiles.
// CHECK: rows = 1, kernel = @qlinear_kernels::@linear2_m1, grid = 132,
// CHECK-SAME: rows = 8, kernel = @qlinear_kernels::@linear2_m8, grid = 132,
func.func @segments(%a: !qlinear.activations<?x512>, %q: !qlinear.weight<512x512, #q4>,
                    %v: !qlinear.weight<128x512, #q6>)
    -> (tensor<?x512xf16>, tensor<?x128xf16>) {
  %y:2 = qlinear.linear %a, %q, %v
      : (!qlinear.activations<?x512>, !qlinear.weight<512x512, #q4>,
         !qlinear.weight<128x512, #q6>) -> (tensor<?x512xf16>, tensor<?x128xf16>)
  return %y#0, %y#1 : tensor<?x512xf16>, tensor<?x128xf16>
}

// CHECK-LABEL: func.func @quantize
// A thread for 16 columns; for 64 rows 16 blocks of 128.
// CHECK: qlinear.launch [#qlinear.variant<rows = 1, kernel = @qlinear_kernels::@quantize0_m1, grid = 1, block = 128>
// CHECK-SAME: rows = 8, kernel = @qlinear_kernels::@quantize0_m8, grid = 2, block = 128>
// CHECK-SAME: rows = 64, kernel = @qlinear_kernels::@quantize0_m64, grid = 16, block = 128>
// CHECK-SAME: (tensor<?x512xf32>) -> !qlinear.activations<?x512>
func.func @quantize(%x: tensor<?x512xf32>) -> !qlinear.activations<?x512> {
  %a = qlinear.quantize_activations %x : tensor<?x512xf32> -> !qlinear.activations<?x512>
  return %a : !qlinear.activations<?x512>
}

// A long K, which two blocks share where there are several rows; clusters fill the grid.
// CHECK-LABEL: func.func @split
// CHECK: rows = 1, kernel = @qlinear_kernels::@linear3_m1, grid = 132,
// CHECK-SAME: rows = 2, kernel = @qlinear_kernels::@linear3_m2, grid = 132,
func.func @split(%x: tensor<2x21504xbf16>, %w: !qlinear.weight<5376x21504, #q4>)
    -> tensor<2x5376xbf16> {
  %y = qlinear.linear %x, %w
      : (tensor<2x21504xbf16>, !qlinear.weight<5376x21504, #q4>) -> tensor<2x5376xbf16>
  return %y : tensor<2x5376xbf16>
}

// More items than the chip runs at once: 4 blocks for each multiprocessor.
// CHECK-LABEL: func.func @quantize_many
// CHECK: @quantize1_m1, grid = 11, block = 128>
// CHECK-SAME: @quantize1_m8, grid = 84, block = 128>
// CHECK-SAME: @quantize1_m64, grid = 528, block = 128>
func.func @quantize_many(%x: tensor<?x21504xf32>) -> !qlinear.activations<?x21504> {
  %a = qlinear.quantize_activations %x : tensor<?x21504xf32> -> !qlinear.activations<?x21504>
  return %a : !qlinear.activations<?x21504>
}

// The kernels' module, after the functions.
// CHECK: gpu.module @qlinear_kernels [#nvvm.target<O = 3, chip = "sm_90"
// CHECK: gpu.func @linear0_m1(%[[W:[^:]*]]: !llvm.ptr, %[[X:[^:]*]]: !llvm.ptr, %[[Y:[^:]*]]: !llvm.ptr, %{{[^:]*}}: !llvm.ptr, %[[ROWS:[^:]*]]: i32) kernel
// CHECK-SAME: known_block_size = array<i32: 384, 1, 1>
// The encoding is printed by its name.
// CHECK: %[[SPEC:u4_g32_zero.*]] = qlinear.spec #u4_g32_zero
// CHECK: llvm.call @ql_walk_init(%{{[^%]*}}%{{[^%]*}}%{{[^%]*}}%[[SPEC]],
// CHECK: llvm.call @ql_walk_weight(%{{.*}}, %{{.*}}, %[[W]])
// CHECK: scf.if
// CHECK-NEXT: llvm.call @ql_walk_start(%{{.*}}, %c0_i32{{.*}}, %c2_i32
// CHECK: llvm.call @ql_ptx_launch_dependents
// CHECK: llvm.call @ql_stage_rows
// CHECK: llvm.call @ql_ptx_wait_prior_grids
// CHECK: llvm.call @ql_load_activations({{.*}}%[[X]]
// CHECK: scf.if
// CHECK-NEXT: llvm.call @ql_walk_start(%{{.*}}, %c2_i32{{.*}}, %c3_i32
// CHECK: llvm.call @ql_walk_take
// CHECK: llvm.call @ql_stage_activations({{.*}}%[[X]]
// CHECK: llvm.call @ql_ptx_barrier
// CHECK: llvm.call @ql_walk_multiply
// CHECK: llvm.call @ql_ptx_barrier
// CHECK: scf.for %{{.*}} step %c384_i32
// CHECK: llvm.call @ql_walk_total
// CHECK: arith.truncf %{{.*}} : f32 to bf16
// CHECK: llvm.getelementptr %[[Y]]
// CHECK: llvm.store
// CHECK: gpu.return

// N = 100 is no multiple of 16, so rows past it are not stored.
// CHECK: gpu.func @linear1_m1
// CHECK-COUNT-2: llvm.call @ql_walk_weight
// CHECK-COUNT-2: llvm.call @ql_walk_total
// CHECK: arith.cmpi slt
// CHECK: scf.if
// CHECK: llvm.load %{{.*}} : !llvm.ptr -> f16
// CHECK: arith.extf
// CHECK: arith.addf
// CHECK: arith.mulf

// CHECK: gpu.func @linear2_m1
// CHECK: llvm.call @ql_stage_quantized
// CHECK-COUNT-2: llvm.call @ql_walk_start
// CHECK: llvm.call @ql_ptx_barrier
// CHECK: llvm.call @ql_await_codes
// CHECK-COUNT-2: llvm.call @ql_walk_multiply

// Of a cluster, each block hands its sums on and finishes its own tiles.
// CHECK: gpu.func @linear3_m1
// CHECK-NOT: ql_ptx_cluster
// CHECK: gpu.func @linear3_m2
// CHECK-SAME: nvvm.cluster_dim = array<i32: 2, 1, 1>
// CHECK: llvm.call @ql_ptx_cluster_rank
// CHECK: llvm.call @ql_ptx_cluster_arrive
// CHECK: llvm.call @ql_walk_multiply
// CHECK: llvm.call @ql_ptx_cluster_wait
// CHECK: llvm.call @ql_walk_total
// CHECK: llvm.call @ql_gather_store
// CHECK: llvm.call @ql_ptx_cluster_arrive
// CHECK: llvm.call @ql_ptx_cluster_wait
// CHECK: llvm.call @ql_gather_total
// CHECK: llvm.store

// CHECK-NOT: gpu.func @linear4
// CHECK: gpu.func @quantize0_m1
// CHECK: llvm.call @ql_quantize
