// The PTX of each device operation of sm_90, as intrinsics-sm_80.mlir does.
//
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_90}))' -o %t.mlir > %t.ptx
// RUN: FileCheck %s --match-full-lines < %t.ptx
// RUN: %if ptxas %{ %ptxas -arch=sm_90 %t.ptx -o %t.cubin %}

// Both files have all operations that there are, and so have the kernels that run on the
// emulated device and on GPUs (unittests/Gpu).
// RUN: llvm-nm --defined-only --format=just-symbols %obj/kernels/cuda-intrinsics.bc | sort > %t.defined
// RUN: grep -ho '^// CHECK-LABEL: .visible .entry [a-z0-9_]*' %S/intrinsics-sm_80.mlir %S/intrinsics-sm_90a.mlir %s | sed 's/.* /ql_ptx_/' | sort | diff %t.defined -
// RUN: llvm-nm --undefined-only --format=just-symbols %obj/unittests/Gpu/intrinsics-sm_90a.bc | grep ql_ptx_ | sort | diff %t.defined -

gpu.module @operations {
// CHECK-LABEL: .visible .entry cluster_rank(
// CHECK: // begin inline asm
// CHECK-NEXT: mov.u32 [[R:%r[0-9]+]], %cluster_ctarank;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @cluster_rank(%a0: i32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_cluster_rank(%a0) : (i32) -> i32
  llvm.store %r, %to : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_cluster_rank(i32) -> i32

// CHECK-LABEL: .visible .entry cluster_arrive(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: barrier.cluster.arrive.release.aligned;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @cluster_arrive(%a0: i32, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_cluster_arrive(%a0) : (i32) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_cluster_arrive(i32)

// CHECK-LABEL: .visible .entry cluster_wait(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: barrier.cluster.wait.acquire.aligned;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @cluster_wait(%word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_cluster_wait() : () -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_cluster_wait()

// The address in this block, then the block.
// CHECK-LABEL: .visible .entry cluster_store(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [cluster_store_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [cluster_store_param_1];
// CHECK-DAG: ld.param.b32 [[C:%r[0-9]+]], [cluster_store_param_2];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: {
// CHECK-NEXT: .reg .u32 there;
// CHECK-NEXT: mapa.shared::cluster.u32 there, [[A]], [[B]];
// CHECK-NEXT: st.shared::cluster.f32 [there], [[C]];
// CHECK-NEXT: }
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @cluster_store(%a0: !llvm.ptr<3>, %a1: i32, %a2: f32, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_cluster_store(%a0, %a1, %a2) : (!llvm.ptr<3>, i32, f32) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_cluster_store(!llvm.ptr<3>, i32, f32)

// CHECK-LABEL: .visible .entry cluster_load(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [cluster_load_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [cluster_load_param_1];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: {
// CHECK-NEXT: .reg .u32 there;
// CHECK-NEXT: mapa.shared::cluster.u32 there, [[A]], [[B]];
// CHECK-NEXT: ld.shared::cluster.f32 [[R:%r[0-9]+]], [there];
// CHECK-NEXT: }
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @cluster_load(%a0: !llvm.ptr<3>, %a1: i32, %to: !llvm.ptr<1>, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  %r = llvm.call @ql_ptx_cluster_load(%a0, %a1) : (!llvm.ptr<3>, i32) -> f32
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.store %r, %to : f32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_cluster_load(!llvm.ptr<3>, i32) -> f32

// CHECK-LABEL: .visible .entry launch_dependents(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: griddepcontrol.launch_dependents;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @launch_dependents(%word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_launch_dependents() : () -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_launch_dependents()

// CHECK-LABEL: .visible .entry wait_prior_grids(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: griddepcontrol.wait;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @wait_prior_grids(%word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_wait_prior_grids() : () -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_wait_prior_grids()

// One arrival.
// CHECK-LABEL: .visible .entry mbarrier_init(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [mbarrier_init_param_0];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: mbarrier.init.shared::cta.b64 [[[A]]], 1;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @mbarrier_init(%a0: !llvm.ptr<3>, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_mbarrier_init(%a0) : (!llvm.ptr<3>) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_mbarrier_init(!llvm.ptr<3>)

// CHECK-LABEL: .visible .entry mbarrier_fence(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: fence.mbarrier_init.release.cluster;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @mbarrier_fence(%word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_mbarrier_fence() : () -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_mbarrier_fence()

// Barrier, bytes.
// CHECK-LABEL: .visible .entry mbarrier_expect(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [mbarrier_expect_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [mbarrier_expect_param_1];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: mbarrier.arrive.expect_tx.shared::cta.b64 _, [[[A]]], [[B]];
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @mbarrier_expect(%a0: !llvm.ptr<3>, %a1: i32, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_mbarrier_expect(%a0, %a1) : (!llvm.ptr<3>, i32) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_mbarrier_expect(!llvm.ptr<3>, i32)

// Again while the phase of this parity is not over.
// CHECK-LABEL: .visible .entry mbarrier_wait(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [mbarrier_wait_param_0];
// CHECK-DAG: ld.param.b32 [[B:%r[0-9]+]], [mbarrier_wait_param_1];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: {
// CHECK-NEXT: .reg .pred done;
// CHECK-NEXT: again:
// CHECK-NEXT: mbarrier.try_wait.parity.shared::cta.b64 done, [[[A]]], [[B]];
// CHECK-NEXT: @!done bra again;
// CHECK-NEXT: }
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @mbarrier_wait(%a0: !llvm.ptr<3>, %a1: i32, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_mbarrier_wait(%a0, %a1) : (!llvm.ptr<3>, i32) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_mbarrier_wait(!llvm.ptr<3>, i32)

// CHECK-LABEL: .visible .entry proxy_fence(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: fence.proxy.async.shared::cta;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @proxy_fence(%word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_proxy_fence() : () -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_proxy_fence()

// CHECK-LABEL: .visible .entry evict_first(
// CHECK: // begin inline asm
// CHECK-NEXT: createpolicy.fractional.L2::evict_first.b64 [[R:%rd[0-9]+]], 1.0;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @evict_first(%to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_evict_first() : () -> i64
  llvm.store %r, %to : i64, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_evict_first() -> i64

// To, from, bytes, barrier, policy.
// CHECK-LABEL: .visible .entry bulk_copy(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [bulk_copy_param_0];
// CHECK-DAG: ld.param.b64 [[B:%rd[0-9]+]], [bulk_copy_param_1];
// CHECK-DAG: ld.param.b32 [[C:%r[0-9]+]], [bulk_copy_param_2];
// CHECK-DAG: ld.param.b32 [[D:%r[0-9]+]], [bulk_copy_param_3];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [[[A]]], [[[B]]], [[C]], [[[D]]];
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @bulk_copy(%a0: !llvm.ptr<3>, %a1: !llvm.ptr, %a2: i32, %a3: !llvm.ptr<3>, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_bulk_copy(%a0, %a1, %a2, %a3) : (!llvm.ptr<3>, !llvm.ptr, i32, !llvm.ptr<3>) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_bulk_copy(!llvm.ptr<3>, !llvm.ptr, i32, !llvm.ptr<3>)

// CHECK-LABEL: .visible .entry bulk_copy_hint(
// CHECK-DAG: ld.param.b32 [[A:%r[0-9]+]], [bulk_copy_hint_param_0];
// CHECK-DAG: ld.param.b64 [[B:%rd[0-9]+]], [bulk_copy_hint_param_1];
// CHECK-DAG: ld.param.b32 [[C:%r[0-9]+]], [bulk_copy_hint_param_2];
// CHECK-DAG: ld.param.b32 [[D:%r[0-9]+]], [bulk_copy_hint_param_3];
// CHECK-DAG: ld.param.b64 [[E:%rd[0-9]+]], [bulk_copy_hint_param_4];
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [[[A]]], [[[B]]], [[C]], [[[D]]], [[E]];
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @bulk_copy_hint(%a0: !llvm.ptr<3>, %a1: !llvm.ptr, %a2: i32, %a3: !llvm.ptr<3>, %a4: i64, %word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_bulk_copy_hint(%a0, %a1, %a2, %a3, %a4) : (!llvm.ptr<3>, !llvm.ptr, i32, !llvm.ptr<3>, i64) -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_bulk_copy_hint(!llvm.ptr<3>, !llvm.ptr, i32, !llvm.ptr<3>, i64)

// In another block; without a release.
// CHECK-LABEL: .visible .entry cluster_mbarrier_arrive(
// CHECK-DAG: ld.param.b32 [[RANK:%r[0-9]+]], [cluster_mbarrier_arrive_param_1];
// CHECK: // begin inline asm
// CHECK: mapa.shared::cluster.u32 there, {{%r[0-9]+}}, [[RANK]];
// CHECK-NEXT: mbarrier.arrive.shared::cluster.b64 _, [there];
// CHECK: // end inline asm
llvm.func @cluster_mbarrier_arrive(%a0: !llvm.ptr<3>, %a1: i32) attributes {nvvm.kernel} {
  llvm.call @ql_ptx_cluster_mbarrier_arrive(%a0, %a1) : (!llvm.ptr<3>, i32) -> ()
  llvm.return
}
llvm.func @ql_ptx_cluster_mbarrier_arrive(!llvm.ptr<3>, i32)

// Destination, source, size, mbarrier, and the blocks: 0 and 1.
// CHECK-LABEL: .visible .entry bulk_copy_pair(
// CHECK-DAG: ld.param.b64 [[SRC:%rd[0-9]+]], [bulk_copy_pair_param_1];
// CHECK-DAG: ld.param.b32 [[BYTES:%r[0-9]+]], [bulk_copy_pair_param_2];
// CHECK: // begin inline asm
// CHECK-NEXT: cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [{{%r[0-9]+}}], {{\[}}[[SRC]]], [[BYTES]], [{{%r[0-9]+}}], {{%rs[0-9]+}};
// CHECK-NEXT: // end inline asm
llvm.func @bulk_copy_pair(%a0: !llvm.ptr<3>, %a1: !llvm.ptr, %a2: i32, %a3: !llvm.ptr<3>) attributes {nvvm.kernel} {
  llvm.call @ql_ptx_bulk_copy_pair(%a0, %a1, %a2, %a3) : (!llvm.ptr<3>, !llvm.ptr, i32, !llvm.ptr<3>) -> ()
  llvm.return
}
llvm.func @ql_ptx_bulk_copy_pair(!llvm.ptr<3>, !llvm.ptr, i32, !llvm.ptr<3>)
}
