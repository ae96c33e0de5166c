// The PTX of each device operation of sm_80 (kernels/cuda/Intrinsics.h): the instruction
// with its qualifiers, and every operand where the PTX manual wants it. A store before
// and one after stay where the operation orders memory.
//
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_80}))' -o %t.mlir > %t.ptx
// RUN: FileCheck %s --match-full-lines < %t.ptx
// RUN: %if ptxas %{ %ptxas -arch=sm_80 %t.ptx -o %t.cubin %}

gpu.module @operations {
// CHECK-LABEL: .visible .entry thread(
// CHECK: mov.u32 [[R:%r[0-9]+]], %tid.x;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @thread(%to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_thread() : () -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_thread() -> i32

// CHECK-LABEL: .visible .entry block(
// CHECK: mov.u32 [[R:%r[0-9]+]], %ctaid.x;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @block(%to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_block() : () -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_block() -> i32

// Barrier 0, all threads.
// CHECK-LABEL: .visible .entry barrier(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: bar.sync 0;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @barrier(%word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_barrier() : () -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_barrier()

// CHECK-LABEL: .visible .entry warp_barrier(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: bar.warp.sync -1;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @warp_barrier(%word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_warp_barrier() : () -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_warp_barrier()

// Value, lane mask, clamp (no segments), members.
// CHECK-LABEL: .visible .entry shuffle_xor(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [shuffle_xor_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [shuffle_xor_param_1];
// CHECK: shfl.sync.bfly.b32 [[R:%r[0-9]+]], [[A]], [[B]], 31, -1;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @shuffle_xor(%a0: i32, %a1: i32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_shuffle_xor(%a0, %a1) : (i32, i32) -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_shuffle_xor(i32, i32) -> i32

// CHECK-LABEL: .visible .entry any(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [any_param_0];
// CHECK: setp.ne.b32 [[P:%p[0-9]+]], [[A]], 0;
// CHECK: vote.sync.any.pred [[Q:%p[0-9]+]], [[P]], -1;
// CHECK: selp.b32 [[R:%r[0-9]+]], 1, 0, [[Q]];
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @any(%a0: i32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_any(%a0) : (i32) -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_any(i32) -> i32

// CHECK-LABEL: .visible .entry half_fma(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [half_fma_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [half_fma_param_1];
// CHECK-DAG: ld.param.b32 [[C:%r[0-9]+]], [half_fma_param_2];
// CHECK: // begin inline asm
// CHECK-NEXT: fma.rn.f16x2 [[R:%r[0-9]+]], [[A]], [[B]], [[C]];
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @half_fma(%a0: i32, %a1: i32, %a2: i32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_half_fma(%a0, %a1, %a2) : (i32, i32, i32) -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_half_fma(i32, i32, i32) -> i32

// The instruction names the upper half first.
// CHECK-LABEL: .visible .entry half_pair(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [half_pair_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [half_pair_param_1];
// CHECK: // begin inline asm
// CHECK-NEXT: cvt.rn.f16x2.f32 [[R:%r[0-9]+]], [[B]], [[A]];
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @half_pair(%a0: f32, %a1: f32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_half_pair(%a0, %a1) : (f32, f32) -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_half_pair(f32, f32) -> i32

// The first operand's bytes are unsigned, the second's signed.
// CHECK-LABEL: .visible .entry dp4a(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [dp4a_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [dp4a_param_1];
// CHECK-DAG: ld.param.b32 [[C:%r[0-9]+]], [dp4a_param_2];
// CHECK: dp4a.u32.s32 [[R:%r[0-9]+]], [[A]], [[B]], [[C]];
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @dp4a(%a0: i32, %a1: i32, %a2: i32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_dp4a(%a0, %a1, %a2) : (i32, i32, i32) -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_dp4a(i32, i32, i32) -> i32

// Bytes 0 to 3, bytes 4 to 7, selector.
// CHECK-LABEL: .visible .entry byte_permute(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [byte_permute_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [byte_permute_param_1];
// CHECK-DAG: ld.param.b32 [[C:%r[0-9]+]], [byte_permute_param_2];
// CHECK: prmt.b32 [[R:%r[0-9]+]], [[A]], [[B]], [[C]];
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @byte_permute(%a0: i32, %a1: i32, %a2: i32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_byte_permute(%a0, %a1, %a2) : (i32, i32, i32) -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_byte_permute(i32, i32, i32) -> i32

// CHECK-LABEL: .visible .entry exp2(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [exp2_param_0];
// CHECK: ex2.approx.ftz.f32 [[R:%r[0-9]+]], [[A]];
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @exp2(%a0: f32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_exp2(%a0) : (f32) -> f32
  llvm.store %r, %to : f32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_exp2(f32) -> f32

// CHECK-LABEL: .visible .entry reciprocal(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [reciprocal_param_0];
// CHECK: rcp.approx.ftz.f32 [[R:%r[0-9]+]], [[A]];
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @reciprocal(%a0: f32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_reciprocal(%a0) : (f32) -> f32
  llvm.store %r, %to : f32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_reciprocal(f32) -> f32

// D, A (unsigned), B (signed), C.
// CHECK-LABEL: .visible .entry mma32(
// CHECK-DAG: ld.param.v4.b32 {[[A0:%r[0-9]+]], [[A1:%r[0-9]+]], [[A2:%r[0-9]+]], [[A3:%r[0-9]+]]}, [mma32_param_0];
// CHECK-DAG: ld.param.v2.b32 {[[B0:%r[0-9]+]], [[B1:%r[0-9]+]]}, [mma32_param_1];
// CHECK-DAG: ld.param.v4.b32 {[[C0:%r[0-9]+]], [[C1:%r[0-9]+]], [[C2:%r[0-9]+]], [[C3:%r[0-9]+]]}, [mma32_param_2];
// CHECK: // begin inline asm
// CHECK-NEXT: mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {[[R0:%r[0-9]+]],[[R1:%r[0-9]+]],[[R2:%r[0-9]+]],[[R3:%r[0-9]+]]}, {[[A0]],[[A1]],[[A2]],[[A3]]}, {[[B0]],[[B1]]}, {[[C0]],[[C1]],[[C2]],[[C3]]};
// CHECK-NEXT: // end inline asm
// CHECK: st.global.v4.b32 [{{%rd[0-9]+}}], {[[R0]], [[R1]], [[R2]], [[R3]]};
llvm.func @mma32(%a0: vector<4xi32>, %a1: vector<2xi32>, %a2: vector<4xi32>, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_mma32(%a0, %a1, %a2) : (vector<4xi32>, vector<2xi32>, vector<4xi32>) -> vector<4xi32>
  llvm.store %r, %to : vector<4xi32>, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_mma32(vector<4xi32>, vector<2xi32>, vector<4xi32>) -> vector<4xi32>

// CHECK-LABEL: .visible .entry mma_half(
// CHECK-DAG: ld.param.v4.b32 {[[A0:%r[0-9]+]], [[A1:%r[0-9]+]], [[A2:%r[0-9]+]], [[A3:%r[0-9]+]]}, [mma_half_param_0];
// CHECK-DAG: ld.param.v2.b32 {[[B0:%r[0-9]+]], [[B1:%r[0-9]+]]}, [mma_half_param_1];
// CHECK-DAG: ld.param.v4.b32 {[[C0:%r[0-9]+]], [[C1:%r[0-9]+]], [[C2:%r[0-9]+]], [[C3:%r[0-9]+]]}, [mma_half_param_2];
// CHECK: // begin inline asm
// CHECK-NEXT: mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {[[R0:%r[0-9]+]],[[R1:%r[0-9]+]],[[R2:%r[0-9]+]],[[R3:%r[0-9]+]]}, {[[A0]],[[A1]],[[A2]],[[A3]]}, {[[B0]],[[B1]]}, {[[C0]],[[C1]],[[C2]],[[C3]]};
// CHECK-NEXT: // end inline asm
// CHECK: st.global.v4.b32 [{{%rd[0-9]+}}], {[[R0]], [[R1]], [[R2]], [[R3]]};
llvm.func @mma_half(%a0: vector<4xi32>, %a1: vector<2xi32>, %a2: vector<4xf32>, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_mma_half(%a0, %a1, %a2) : (vector<4xi32>, vector<2xi32>, vector<4xf32>) -> vector<4xf32>
  llvm.store %r, %to : vector<4xf32>, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_mma_half(vector<4xi32>, vector<2xi32>, vector<4xf32>) -> vector<4xf32>

// CHECK-LABEL: .visible .entry mma16(
// CHECK-DAG: ld.param.v2.b32 {[[A0:%r[0-9]+]], [[A1:%r[0-9]+]]}, [mma16_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [mma16_param_1];
// CHECK-DAG: ld.param.v4.b32 {[[C0:%r[0-9]+]], [[C1:%r[0-9]+]], [[C2:%r[0-9]+]], [[C3:%r[0-9]+]]}, [mma16_param_2];
// CHECK: // begin inline asm
// CHECK-NEXT: mma.sync.aligned.m16n8k16.row.col.s32.u8.s8.s32 {[[R0:%r[0-9]+]],[[R1:%r[0-9]+]],[[R2:%r[0-9]+]],[[R3:%r[0-9]+]]}, {[[A0]],[[A1]]}, {[[B]]}, {[[C0]],[[C1]],[[C2]],[[C3]]};
// CHECK-NEXT: // end inline asm
// CHECK: st.global.v4.b32 [{{%rd[0-9]+}}], {[[R0]], [[R1]], [[R2]], [[R3]]};
llvm.func @mma16(%a0: vector<2xi32>, %a1: i32, %a2: vector<4xi32>, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_mma16(%a0, %a1, %a2) : (vector<2xi32>, i32, vector<4xi32>) -> vector<4xi32>
  llvm.store %r, %to : vector<4xi32>, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_mma16(vector<2xi32>, i32, vector<4xi32>) -> vector<4xi32>

// CHECK-LABEL: .visible .entry load_matrices(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [load_matrices_param_0];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: ldmatrix.sync.aligned.m8n8.x4.shared.b16 {[[R0:%r[0-9]+]],[[R1:%r[0-9]+]],[[R2:%r[0-9]+]],[[R3:%r[0-9]+]]}, [[[A]]];
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
// CHECK: st.global.v4.b32 [{{%rd[0-9]+}}], {[[R0]], [[R1]], [[R2]], [[R3]]};
llvm.func @load_matrices(%a0: !llvm.ptr<3>, %to: !llvm.ptr<1>, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  %r = llvm.call @ql_ptx_load_matrices(%a0) : (!llvm.ptr<3>) -> vector<4xi32>
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.store %r, %to : vector<4xi32>, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_load_matrices(!llvm.ptr<3>) -> vector<4xi32>

// Loads of what never changes: nothing orders them.
// CHECK-LABEL: .visible .entry stream16(
// CHECK-DAG: ld.param.b64 [[A:%rd[0-9]+]], [stream16_param_0];
// CHECK: // begin inline asm
// CHECK-NEXT: ld.global.nc.L1::no_allocate.v4.u32 {[[R0:%r[0-9]+]],[[R1:%r[0-9]+]],[[R2:%r[0-9]+]],[[R3:%r[0-9]+]]}, [[[A]]];
// CHECK-NEXT: // end inline asm
// CHECK-NOT: {{.*ld.global.*}}
// CHECK: st.global.v4.b32 [{{%rd[0-9]+}}], {[[R0]], [[R1]], [[R2]], [[R3]]};
llvm.func @stream16(%a0: !llvm.ptr, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %unused = llvm.call @ql_ptx_stream16(%a0) : (!llvm.ptr) -> vector<4xi32>
  %r = llvm.call @ql_ptx_stream16(%a0) : (!llvm.ptr) -> vector<4xi32>
  llvm.store %r, %to : vector<4xi32>, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_stream16(!llvm.ptr) -> vector<4xi32>

// CHECK-LABEL: .visible .entry stream8(
// CHECK-DAG: ld.param.b64 [[A:%rd[0-9]+]], [stream8_param_0];
// CHECK: // begin inline asm
// CHECK-NEXT: ld.global.nc.L1::no_allocate.v2.u32 {[[R0:%r[0-9]+]],[[R1:%r[0-9]+]]}, [[[A]]];
// CHECK-NEXT: // end inline asm
// CHECK-NOT: {{.*ld.global.*}}
// CHECK: st.global.v2.b32 [{{%rd[0-9]+}}], {[[R0]], [[R1]]};
llvm.func @stream8(%a0: !llvm.ptr, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %unused = llvm.call @ql_ptx_stream8(%a0) : (!llvm.ptr) -> vector<2xi32>
  %r = llvm.call @ql_ptx_stream8(%a0) : (!llvm.ptr) -> vector<2xi32>
  llvm.store %r, %to : vector<2xi32>, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_stream8(!llvm.ptr) -> vector<2xi32>

// CHECK-LABEL: .visible .entry stream4(
// CHECK-DAG: ld.param.b64 [[A:%rd[0-9]+]], [stream4_param_0];
// CHECK: // begin inline asm
// CHECK-NEXT: ld.global.nc.L1::no_allocate.u32 [[R:%r[0-9]+]], [[[A]]];
// CHECK-NEXT: // end inline asm
// CHECK-NOT: {{.*ld.global.*}}
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @stream4(%a0: !llvm.ptr, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %unused = llvm.call @ql_ptx_stream4(%a0) : (!llvm.ptr) -> i32
  %r = llvm.call @ql_ptx_stream4(%a0) : (!llvm.ptr) -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_stream4(!llvm.ptr) -> i32

// A load that stays behind what is before it, and past L1.
// CHECK-LABEL: .visible .entry load16_l2(
// CHECK-DAG: ld.param.b64 [[A:%rd[0-9]+]], [load16_l2_param_0];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: ld.global.cg.v4.u32 {[[R0:%r[0-9]+]],[[R1:%r[0-9]+]],[[R2:%r[0-9]+]],[[R3:%r[0-9]+]]}, [[[A]]];
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
// CHECK: st.global.v4.b32 [{{%rd[0-9]+}}], {[[R0]], [[R1]], [[R2]], [[R3]]};
llvm.func @load16_l2(%a0: !llvm.ptr, %to: !llvm.ptr<1>, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  %r = llvm.call @ql_ptx_load16_l2(%a0) : (!llvm.ptr) -> vector<4xi32>
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.store %r, %to : vector<4xi32>, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_load16_l2(!llvm.ptr) -> vector<4xi32>

// To, from, bytes.
// CHECK-LABEL: .visible .entry async_copy16(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [async_copy16_param_0];
// CHECK-DAG: ld.param.b64 [[B:%rd[0-9]+]], [async_copy16_param_1];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: cp.async.cg.shared.global [[[A]]], [[[B]]], 16;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @async_copy16(%a0: !llvm.ptr<3>, %a1: !llvm.ptr, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_async_copy16(%a0, %a1) : (!llvm.ptr<3>, !llvm.ptr) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_async_copy16(!llvm.ptr<3>, !llvm.ptr)

// CHECK-LABEL: .visible .entry async_commit(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: cp.async.commit_group;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @async_commit(%word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_async_commit() : () -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_async_commit()
// Groups that may be under way.
// CHECK-LABEL: .visible .entry async_wait(
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 0;
// CHECK: cp.async.wait_group 0;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: cp.async.wait_group 1;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
// CHECK: cp.async.wait_group 2;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 3;
// CHECK: cp.async.wait_group 3;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 4;
// CHECK: cp.async.wait_group 4;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 5;
// CHECK: cp.async.wait_group 5;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 6;
// CHECK: cp.async.wait_group 6;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 7;
// CHECK: cp.async.wait_group 7;
// CHECK-NOT: {{.*(cp.async|bra).*}}
// CHECK: ret;
llvm.func @async_wait(%word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %c0 = llvm.mlir.constant(0 : i32) : i32
  %c1 = llvm.mlir.constant(1 : i32) : i32
  %c2 = llvm.mlir.constant(2 : i32) : i32
  %c3 = llvm.mlir.constant(3 : i32) : i32
  %c4 = llvm.mlir.constant(4 : i32) : i32
  %c5 = llvm.mlir.constant(5 : i32) : i32
  %c6 = llvm.mlir.constant(6 : i32) : i32
  %c7 = llvm.mlir.constant(7 : i32) : i32
  llvm.store %c0, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_async_wait(%c0) : (i32) -> ()
  llvm.store %c1, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_async_wait(%c1) : (i32) -> ()
  llvm.store %c2, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_async_wait(%c2) : (i32) -> ()
  llvm.store %c3, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_async_wait(%c3) : (i32) -> ()
  llvm.store %c4, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_async_wait(%c4) : (i32) -> ()
  llvm.store %c5, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_async_wait(%c5) : (i32) -> ()
  llvm.store %c6, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_async_wait(%c6) : (i32) -> ()
  llvm.store %c7, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_async_wait(%c7) : (i32) -> ()
  llvm.return
}
llvm.func @ql_ptx_async_wait(i32)

// CHECK-LABEL: .visible .entry mbarrier_init_count(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [mbarrier_init_count_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [mbarrier_init_count_param_1];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: mbarrier.init.shared.b64 [[[A]]], [[B]];
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @mbarrier_init_count(%a0: !llvm.ptr<3>, %a1: i32, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_mbarrier_init_count(%a0, %a1) : (!llvm.ptr<3>, i32) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_mbarrier_init_count(!llvm.ptr<3>, i32)

// CHECK-LABEL: .visible .entry mbarrier_arrive(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [mbarrier_arrive_param_0];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: {
// CHECK-NEXT: .reg .b64 state;
// CHECK-NEXT: mbarrier.arrive.shared.b64 state, [[[A]]];
// CHECK-NEXT: }
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @mbarrier_arrive(%a0: !llvm.ptr<3>, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_mbarrier_arrive(%a0) : (!llvm.ptr<3>) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_mbarrier_arrive(!llvm.ptr<3>)

// CHECK-LABEL: .visible .entry mbarrier_poll(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [mbarrier_poll_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [mbarrier_poll_param_1];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: {
// CHECK-NEXT: .reg .pred done;
// CHECK-NEXT: again:
// CHECK-NEXT: mbarrier.test_wait.parity.shared.b64 done, [[[A]]], [[B]];
// CHECK-NEXT: @!done bra again;
// CHECK-NEXT: }
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @mbarrier_poll(%a0: !llvm.ptr<3>, %a1: i32, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_mbarrier_poll(%a0, %a1) : (!llvm.ptr<3>, i32) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_mbarrier_poll(!llvm.ptr<3>, i32)

// CHECK-LABEL: .visible .entry blocks(
// CHECK: mov.u32 [[R:%r[0-9]+]], %nctaid.x;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @blocks(%to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_blocks() : () -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_blocks() -> i32

// The barrier's number, and 128 threads.
// CHECK-LABEL: .visible .entry group_barrier(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [group_barrier_param_1];
// CHECK: bar.sync [[A]], 128;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @group_barrier(%word: !llvm.ptr<1>, %id: i32) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_group_barrier(%id) : (i32) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_group_barrier(i32)

// Value, lane, clamp (no segments), members.
// CHECK-LABEL: .visible .entry uniform(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [uniform_param_0];
// CHECK: shfl.sync.idx.b32 [[R:%r[0-9]+]], [[A]], 0, 31, -1;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @uniform(%a: i32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_uniform(%a) : (i32) -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_uniform(i32) -> i32

// No instruction, in its place.
// CHECK-LABEL: .visible .entry pin(
// CHECK: st.volatile.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: // end inline asm
// CHECK: st.volatile.global.b32 [{{%rd[0-9]+}}], {{%r[0-9]+}};
llvm.func @pin(%a: i32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  llvm.store volatile %one, %to : i32, !llvm.ptr<1>
  %r = llvm.call @ql_ptx_pin(%a) : (i32) -> i32
  llvm.store volatile %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_pin(i32) -> i32

// Releases what was written, and acquires.
// CHECK-LABEL: .visible .entry count(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: atom.add.acq_rel.gpu.global.u32 [[R:%r[0-9]+]], [{{%rd[0-9]+}}], 1;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @count(%counter: !llvm.ptr, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  llvm.store %one, %to : i32, !llvm.ptr<1>
  %r = llvm.call @ql_ptx_count(%counter) : (!llvm.ptr) -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_count(!llvm.ptr) -> i32

// Waits by reading, and acquires.
// CHECK-LABEL: .visible .entry await_count(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK-DAG: ld.param.b32 [[V:%r[0-9]+]], [await_count_param_1];
// CHECK: // begin inline asm
// CHECK: again:
// CHECK-NEXT: ld.acquire.gpu.global.u32 now, [{{%rd[0-9]+}}];
// CHECK-NEXT: setp.eq.u32 done, now, [[V]];
// CHECK-NEXT: @!done bra again;
// CHECK: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @await_count(%counter: !llvm.ptr, %value: i32, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_await_count(%counter, %value) : (!llvm.ptr, i32) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_await_count(!llvm.ptr, i32)
}
