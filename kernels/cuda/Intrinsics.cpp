//===- Intrinsics.cpp - Device operations as NVVM and PTX -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Intrinsics.h"

extern "C" {
// NVVM intrinsics, by their names.
i32 nvvm_tid() __asm("llvm.nvvm.read.ptx.sreg.tid.x");
i32 nvvm_ctaid() __asm("llvm.nvvm.read.ptx.sreg.ctaid.x");
i32 nvvm_nctaid() __asm("llvm.nvvm.read.ptx.sreg.nctaid.x");
void nvvm_barrier(i32) __asm("llvm.nvvm.barrier.cta.sync.aligned.all");
void nvvm_warp_barrier(i32) __asm("llvm.nvvm.bar.warp.sync");
i32 nvvm_shuffle(i32, i32, i32, i32) __asm("llvm.nvvm.shfl.sync.bfly.i32");
i32 nvvm_shuffle_from(i32, i32, i32, i32) __asm("llvm.nvvm.shfl.sync.idx.i32");
void nvvm_group_barrier(i32, i32) __asm("llvm.nvvm.barrier.cta.sync.aligned.count");
bool nvvm_any(i32, bool) __asm("llvm.nvvm.vote.any.sync");
i32 nvvm_dp4a(i32, i32, i32) __asm("llvm.nvvm.idp4a.u.s");
i32 nvvm_prmt(i32, i32, i32) __asm("llvm.nvvm.prmt");
float nvvm_exp2(float) __asm("llvm.nvvm.ex2.approx.ftz.f");
float nvvm_reciprocal(float) __asm("llvm.nvvm.rcp.approx.ftz.f");

i32 ql_ptx_thread() { return nvvm_tid(); }
i32 ql_ptx_block() { return nvvm_ctaid(); }
i32 ql_ptx_blocks() { return nvvm_nctaid(); }
void ql_ptx_barrier() { nvvm_barrier(0); }
void ql_ptx_warp_barrier() { nvvm_warp_barrier(-1); }
void ql_ptx_group_barrier(i32 id) { nvvm_group_barrier(id, 128); }
u32 ql_ptx_shuffle_xor(u32 value, i32 mask) {
  return u32(nvvm_shuffle(-1, i32(value), mask, 31));
}
u32 ql_ptx_uniform(u32 value) { return u32(nvvm_shuffle_from(-1, i32(value), 0, 31)); }
i32 ql_ptx_any(i32 value) { return nvvm_any(-1, value != 0); }
i32 ql_ptx_dp4a(u32 a, u32 b, i32 c) { return nvvm_dp4a(i32(a), i32(b), c); }
u32 ql_ptx_byte_permute(u32 a, u32 b, u32 selector) {
  return u32(nvvm_prmt(i32(a), i32(b), i32(selector)));
}
float ql_ptx_exp2(float x) { return nvvm_exp2(x); }
float ql_ptx_reciprocal(float x) { return nvvm_reciprocal(x); }

u32x4 ql_ptx_mma32(u32x4 a, u32x2 b, u32x4 c) {
  u32x4 d;
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, "
      "{%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]),
        "r"(c[1]), "r"(c[2]), "r"(c[3]));
  return d;
}
u32x4 ql_ptx_mma16(u32x2 a, u32 b, u32x4 c) {
  u32x4 d;
  asm("mma.sync.aligned.m16n8k16.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, "
      "{%4,%5}, {%6}, {%7,%8,%9,%10};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(b), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
  return d;
}
f32x4 ql_ptx_mma_half(u32x4 a, u32x2 b, f32x4 c) {
  f32x4 d;
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
      "{%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]),
        "f"(c[1]), "f"(c[2]), "f"(c[3]));
  return d;
}
u32 ql_ptx_half_fma(u32 a, u32 b, u32 c) {
  u32 d;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
u32 ql_ptx_half_pair(float low, float high) {
  u32 d;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
// Operands of wgmma: one per 2 columns and row of D, in eights.
#define QL_SUMS8(i)                                                                    \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]),          \
      "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define QL_SUMS16(i) QL_SUMS8(i), QL_SUMS8(i + 8)
#define QL_SUMS32(i) QL_SUMS16(i), QL_SUMS16(i + 16)
#define QL_SUMS64(i) QL_SUMS32(i), QL_SUMS32(i + 32)

// Their places in the instruction, of 16 columns more each.
#define QL_PLACES16 "%0,%1,%2,%3,%4,%5,%6,%7"
#define QL_PLACES32 QL_PLACES16 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define QL_PLACES48 QL_PLACES32 ",%16,%17,%18,%19,%20,%21,%22,%23"
#define QL_PLACES64 QL_PLACES48 ",%24,%25,%26,%27,%28,%29,%30,%31"
#define QL_PLACES80 QL_PLACES64 ",%32,%33,%34,%35,%36,%37,%38,%39"
#define QL_PLACES96 QL_PLACES80 ",%40,%41,%42,%43,%44,%45,%46,%47"
#define QL_PLACES112 QL_PLACES96 ",%48,%49,%50,%51,%52,%53,%54,%55"
#define QL_PLACES128 QL_PLACES112 ",%56,%57,%58,%59,%60,%61,%62,%63"
#define QL_PLACES144 QL_PLACES128 ",%64,%65,%66,%67,%68,%69,%70,%71"
#define QL_PLACES160 QL_PLACES144 ",%72,%73,%74,%75,%76,%77,%78,%79"
#define QL_PLACES176 QL_PLACES160 ",%80,%81,%82,%83,%84,%85,%86,%87"
#define QL_PLACES192 QL_PLACES176 ",%88,%89,%90,%91,%92,%93,%94,%95"
#define QL_PLACES208 QL_PLACES192 ",%96,%97,%98,%99,%100,%101,%102,%103"
#define QL_PLACES224 QL_PLACES208 ",%104,%105,%106,%107,%108,%109,%110,%111"
#define QL_PLACES240 QL_PLACES224 ",%112,%113,%114,%115,%116,%117,%118,%119"
#define QL_PLACES256 QL_PLACES240 ",%120,%121,%122,%123,%124,%125,%126,%127"
// A product of that many columns.
#define QL_WGMMA(columns, ...)                                                         \
  case columns:                                                                        \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns                          \
                 "k16.f32.f16.f16 {" QL_PLACES##columns                                \
                 "}, {%[a0],%[a1],%[a2],%[a3]}, %[b], 1, 1, 1, 0;"                     \
                 : __VA_ARGS__                                                         \
                 : [a0] "r"(a[0]), [a1] "r"(a[1]), [a2] "r"(a[2]), [a3] "r"(a[3]),     \
                   [b] "l"(descriptor));                                               \
    break

void ql_ptx_wgmma(float *d, i32 tokens, u32x4 a, u64 descriptor) {
  switch (tokens) {
    QL_WGMMA(16, QL_SUMS8(0));
    QL_WGMMA(32, QL_SUMS16(0));
    QL_WGMMA(48, QL_SUMS16(0), QL_SUMS8(16));
    QL_WGMMA(64, QL_SUMS32(0));
    QL_WGMMA(80, QL_SUMS32(0), QL_SUMS8(32));
    QL_WGMMA(96, QL_SUMS32(0), QL_SUMS16(32));
    QL_WGMMA(112, QL_SUMS32(0), QL_SUMS16(32), QL_SUMS8(48));
    QL_WGMMA(128, QL_SUMS64(0));
    QL_WGMMA(144, QL_SUMS64(0), QL_SUMS8(64));
    QL_WGMMA(160, QL_SUMS64(0), QL_SUMS16(64));
    QL_WGMMA(176, QL_SUMS64(0), QL_SUMS16(64), QL_SUMS8(80));
    QL_WGMMA(192, QL_SUMS64(0), QL_SUMS32(64));
    QL_WGMMA(208, QL_SUMS64(0), QL_SUMS32(64), QL_SUMS8(96));
    QL_WGMMA(224, QL_SUMS64(0), QL_SUMS32(64), QL_SUMS16(96));
    QL_WGMMA(240, QL_SUMS64(0), QL_SUMS32(64), QL_SUMS16(96), QL_SUMS8(112));
    QL_WGMMA(256, QL_SUMS64(0), QL_SUMS64(64));
  }
}
u64 ql_ptx_wgmma_descriptor(QL_SHARED const u8 *x) {
  // 8 rows of 1024 bytes, swizzled by 128 bytes. Products take it from registers that
  // the warp's threads share.
  return u64(ql_ptx_uniform(u32(u64(x)) >> 4 & 0x3FFF)) | u64(1) << 16 |
         u64(1024 >> 4) << 32 | u64(1) << 62;
}
u64 ql_ptx_wgmma_columns(u64 descriptor, i32 columns) {
  return descriptor + u64(u32(columns)) * 2 / 16;
}
void ql_ptx_wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
void ql_ptx_wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
void ql_ptx_wgmma_wait(i32 pending) {
  if (pending)
    asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
  else
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
}
u32 ql_ptx_pin(u32 value) {
  asm volatile("" : "+r"(value));
  return value;
}

u32x4 ql_ptx_load_matrices(QL_SHARED const void *row) {
  u32x4 d;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(u32(u64(row)))
               : "memory");
  return d;
}

// Weights never change while a kernel runs, so their loads may move: not volatile.
u32x4 ql_ptx_stream16(const void *p) {
  u32x4 v;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
      : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
      : "l"(p));
  return v;
}
u32x2 ql_ptx_stream8(const void *p) {
  u32x2 v;
  asm("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];"
      : "=r"(v[0]), "=r"(v[1])
      : "l"(p));
  return v;
}
u32 ql_ptx_stream4(const void *p) {
  u32 v;
  asm("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}
u32x4 ql_ptx_load16_l2(const void *p) {
  u32x4 v;
  asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
               : "l"(p)
               : "memory");
  return v;
}
u32 ql_ptx_count(u32 *counter) {
  u32 before;
  asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], 1;"
               : "=r"(before)
               : "l"(counter)
               : "memory");
  return before;
}
void ql_ptx_await_count(u32 *counter, u32 value) {
  asm volatile("{\n"
               ".reg .pred done;\n"
               ".reg .b32 now;\n"
               "again:\n"
               "ld.acquire.gpu.global.u32 now, [%0];\n"
               "setp.eq.u32 done, now, %1;\n"
               "@!done bra again;\n"
               "}" ::"l"(counter),
               "r"(value)
               : "memory");
}

i32 ql_ptx_cluster_rank(i32) {
  i32 rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
void ql_ptx_cluster_arrive(i32) {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
void ql_ptx_cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
void ql_ptx_cluster_store(QL_SHARED float *at, i32 rank, float value) {
  asm volatile("{\n"
               ".reg .u32 there;\n"
               "mapa.shared::cluster.u32 there, %0, %1;\n"
               "st.shared::cluster.f32 [there], %2;\n"
               "}" ::"r"(u32(u64(at))),
               "r"(rank), "f"(value)
               : "memory");
}
float ql_ptx_cluster_load(QL_SHARED const float *at, i32 rank) {
  float value;
  asm volatile("{\n"
               ".reg .u32 there;\n"
               "mapa.shared::cluster.u32 there, %1, %2;\n"
               "ld.shared::cluster.f32 %0, [there];\n"
               "}"
               : "=f"(value)
               : "r"(u32(u64(at))), "r"(rank)
               : "memory");
  return value;
}
void ql_ptx_cluster_mbarrier_arrive(QL_SHARED u64 *barrier, i32 rank) {
  asm volatile("{\n"
               ".reg .u32 there;\n"
               "mapa.shared::cluster.u32 there, %0, %1;\n"
               "mbarrier.arrive.shared::cluster.b64 _, [there];\n"
               "}" ::"r"(u32(u64(barrier))),
               "r"(rank)
               : "memory");
}
void ql_ptx_bulk_copy_pair(QL_SHARED void *dst, const void *src, u32 bytes,
                           QL_SHARED u64 *barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
               ".multicast::cluster [%0], [%1], %2, [%3], %4;" ::"r"(u32(u64(dst))),
               "l"(src), "r"(bytes), "r"(u32(u64(barrier))), "h"(u16(3))
               : "memory");
}

void ql_ptx_launch_dependents() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
void ql_ptx_wait_prior_grids() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

void ql_ptx_mbarrier_init(QL_SHARED u64 *barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(u32(u64(barrier)))
               : "memory");
}
void ql_ptx_mbarrier_init_count(QL_SHARED u64 *barrier, i32 arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(u32(u64(barrier))),
               "r"(arrivals)
               : "memory");
}
void ql_ptx_mbarrier_arrive(QL_SHARED u64 *barrier) {
  asm volatile("{\n"
               ".reg .b64 state;\n"
               "mbarrier.arrive.shared.b64 state, [%0];\n"
               "}" ::"r"(u32(u64(barrier)))
               : "memory");
}
void ql_ptx_mbarrier_poll(QL_SHARED u64 *barrier, u32 parity) {
  asm volatile("{\n"
               ".reg .pred done;\n"
               "again:\n"
               "mbarrier.test_wait.parity.shared.b64 done, [%0], %1;\n"
               "@!done bra again;\n"
               "}" ::"r"(u32(u64(barrier))),
               "r"(parity)
               : "memory");
}
void ql_ptx_mbarrier_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
void ql_ptx_mbarrier_expect(QL_SHARED u64 *barrier, u32 bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(u32(u64(barrier))),
      "r"(bytes)
      : "memory");
}
void ql_ptx_mbarrier_wait(QL_SHARED u64 *barrier, u32 parity) {
  asm volatile("{\n"
               ".reg .pred done;\n"
               "again:\n"
               "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@!done bra again;\n"
               "}" ::"r"(u32(u64(barrier))),
               "r"(parity)
               : "memory");
}
void ql_ptx_proxy_fence() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
u64 ql_ptx_evict_first() {
  u64 policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}
void ql_ptx_bulk_copy(QL_SHARED void *dst, const void *src, u32 bytes,
                      QL_SHARED u64 *barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
               "[%0], [%1], %2, [%3];" ::"r"(u32(u64(dst))),
               "l"(src), "r"(bytes), "r"(u32(u64(barrier)))
               : "memory");
}
void ql_ptx_bulk_copy_hint(QL_SHARED void *dst, const void *src, u32 bytes,
                           QL_SHARED u64 *barrier, u64 policy) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
               ".L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(u32(u64(dst))),
               "l"(src), "r"(bytes), "r"(u32(u64(barrier))), "l"(policy)
               : "memory");
}

void ql_ptx_async_copy16(QL_SHARED void *dst, const void *src) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(u32(u64(dst))),
               "l"(src)
               : "memory");
}
void ql_ptx_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
void ql_ptx_async_wait(i32 pending) {
  switch (pending) {
  case 0:
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    break;
  case 1:
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    break;
  case 2:
    asm volatile("cp.async.wait_group 2;" ::: "memory");
    break;
  case 3:
    asm volatile("cp.async.wait_group 3;" ::: "memory");
    break;
  case 4:
    asm volatile("cp.async.wait_group 4;" ::: "memory");
    break;
  case 5:
    asm volatile("cp.async.wait_group 5;" ::: "memory");
    break;
  case 6:
    asm volatile("cp.async.wait_group 6;" ::: "memory");
    break;
  default:
    asm volatile("cp.async.wait_group 7;" ::: "memory");
  }
}
}
