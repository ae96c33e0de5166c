//===- device.cpp - Device code for the emulated device's tests -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compiled for NVPTX; the tests retarget it to the host. Kernels named `bad_*`
// do what a GPU leaves undefined.
//
//===----------------------------------------------------------------------===//
using u8 = unsigned char;
using u32 = unsigned int;
using u64 = unsigned long long;
#define SHARED __attribute__((address_space(3)))
#define GLOBAL __attribute__((address_space(1)))
#define KERNEL extern "C" __attribute__((nvptx_kernel)) void

extern "C" {
u32 tid() __asm("llvm.nvvm.read.ptx.sreg.tid.x");
u32 ntid() __asm("llvm.nvvm.read.ptx.sreg.ntid.x");
u32 ctaid() __asm("llvm.nvvm.read.ptx.sreg.ctaid.x");
u32 nctaid() __asm("llvm.nvvm.read.ptx.sreg.nctaid.x");
u32 laneid() __asm("llvm.nvvm.read.ptx.sreg.laneid");
__attribute__((convergent)) void barrier(u32) __asm("llvm.nvvm.barrier.cta.sync.aligned.all");
__attribute__((convergent)) u32 bfly(u32, u32, u32, u32) __asm("llvm.nvvm.shfl.sync.bfly.i32");
__attribute__((convergent)) float bflyf(u32, float, u32, u32) __asm("llvm.nvvm.shfl.sync.bfly.f32");
__attribute__((convergent)) u32 up(u32, u32, u32, u32) __asm("llvm.nvvm.shfl.sync.up.i32");
__attribute__((convergent)) u32 down(u32, u32, u32, u32) __asm("llvm.nvvm.shfl.sync.down.i32");
__attribute__((convergent)) u32 idx(u32, u32, u32, u32) __asm("llvm.nvvm.shfl.sync.idx.i32");
__attribute__((convergent)) u32 ballot(u32, bool) __asm("llvm.nvvm.vote.ballot.sync");
__attribute__((convergent)) u32 reduxMax(u32, u32) __asm("llvm.nvvm.redux.sync.umax");
int dp4a(u32, u32, int) __asm("llvm.nvvm.idp4a.u.s");
u32 prmt(u32, u32, u32) __asm("llvm.nvvm.prmt");
void cpAsync(SHARED void *, GLOBAL const void *) __asm("llvm.nvvm.cp.async.cg.shared.global.16");
void cpCommit() __asm("llvm.nvvm.cp.async.commit.group");
void cpWaitAll() __asm("llvm.nvvm.cp.async.wait.all");
void mbarInit(SHARED u64 *, u32) __asm("llvm.nvvm.mbarrier.init.shared");
u64 mbarExpect(SHARED u64 *, u32) __asm("llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta");
bool mbarWait(SHARED u64 *, u32) __asm("llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta");
bool mbarTest(SHARED u64 *, u32) __asm("llvm.nvvm.mbarrier.test.wait.parity.scope.cta.space.cta");
// The wrappers of kernels/cuda/Intrinsics.h.
void bulk(SHARED void *, const void *, u32, SHARED u64 *) __asm("ql_ptx_bulk_copy");
void mbarFence() __asm("ql_ptx_mbarrier_fence");
void proxyFence() __asm("ql_ptx_proxy_fence");
typedef u32 u32x2 __attribute__((ext_vector_type(2)));
typedef u32 u32x4 __attribute__((ext_vector_type(4)));
u32x4 mma32(u32x4, u32x2, u32x4) __asm("ql_ptx_mma32");
u32x4 mma16(u32x2, u32, u32x4) __asm("ql_ptx_mma16");
u32x4 loadMatrices(SHARED const void *) __asm("ql_ptx_load_matrices");
int clusterRank(int) __asm("ql_ptx_cluster_rank");
void clusterArrive(int) __asm("ql_ptx_cluster_arrive");
void clusterWait() __asm("ql_ptx_cluster_wait");
void clusterStore(SHARED float *, int, float) __asm("ql_ptx_cluster_store");
}

extern SHARED u8 smem[] __attribute__((aligned(128)));
static SHARED u32 warpSums[32];
constexpr u32 kAll = 0xFFFFFFFF;

/// c + a b for a of 16 x k bytes (the products of one warp), b of k x 8 column by column.
/// a comes through loads of matrices: the 8 x 16 parts of a are left to right, top down.
KERNEL matrices(const u8 *a, const u8 *b, u32 *c, u32 k) {
  u32 lane = laneid(), g = lane / 4, t = lane % 4;
  for (u32 i = lane; i < 16 * k; i += 32)
    smem[i] = a[i];
  barrier(0);
  // Lane 8 i + r: row r of matrix i, which are rows 0..7, rows 8..15, then k from 16.
  u32 row = lane % 16, half = k == 32 ? lane / 16 : 0;
  u32x4 f = loadMatrices(smem + row * k + half * 16);
  auto word = [&](u32 at) { return *(const u32 *)(b + g * k + at); };
  u32x4 sums = {c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1], c[(g + 8) * 8 + 2 * t],
                c[(g + 8) * 8 + 2 * t + 1]};
  if (k == 32)
    sums = mma32(f, u32x2{word(4 * t), word(16 + 4 * t)}, sums);
  else
    sums = mma16(u32x2{f.x, f.y}, word(4 * t), sums);
  c[g * 8 + 2 * t] = sums.x, c[g * 8 + 2 * t + 1] = sums.y;
  c[(g + 8) * 8 + 2 * t] = sums.z, c[(g + 8) * 8 + 2 * t + 1] = sums.w;
}

/// Thread t of block b stores 100 b + t in the next block of its cluster of `size`.
KERNEL cluster_ring(float *out, u32 size) {
  auto *mine = (SHARED float *)smem;
  int rank = clusterRank(int(size));
  clusterArrive(int(size));
  clusterWait();
  clusterStore(mine + tid(), (rank + 1) % int(size), float(100 * ctaid() + tid()));
  clusterArrive(int(size));
  clusterWait();
  out[ctaid() * ntid() + tid()] = mine[tid()];
}
/// Stores before the other blocks are known to have started.
KERNEL bad_cluster_store(const u32 *, u32 *, u32, u32) {
  clusterStore((SHARED float *)smem, 0, 1.0f);
}
KERNEL bad_cluster_exit(const u32 *, u32 *, u32, u32) {
  clusterArrive(2);
  if (ctaid() == 1 && tid() == 3)
    return;
  clusterWait();
  clusterArrive(2);
  clusterWait();
}
KERNEL bad_cluster_arrivals(const u32 *, u32 *, u32, u32) {
  clusterArrive(1);
  clusterArrive(1);
}
KERNEL bad_cluster_size(const u32 *, u32 *, u32, u32) { clusterArrive(3); }

/// Sum of `n` integers, by all threads of the block: shuffles, then shared memory.
KERNEL block_sum(const u32 *in, u32 *out, u32 n) {
  u32 sum = 0;
  for (u32 i = ctaid() * ntid() + tid(); i < n; i += nctaid() * ntid())
    sum += in[i];
  for (u32 d = 16; d; d /= 2)
    sum += bfly(kAll, sum, d, 31);
  if (laneid() == 0)
    warpSums[tid() / 32] = sum;
  barrier(0);
  if (tid() < 32) {
    sum = tid() < ntid() / 32 ? warpSums[tid()] : 0;
    for (u32 d = 16; d; d /= 2)
      sum += bfly(kAll, sum, d, 31);
    if (tid() == 0)
      out[ctaid()] = sum;
  }
}

/// 6 results per lane: the four shuffles (segments of 8 for up), ballot, redux.
KERNEL lanes(const u32 *in, u32 *out) {
  u32 t = tid(), v = in[t];
  out[6 * t] = up(kAll, v, 1, 24 << 8);
  out[6 * t + 1] = down(kAll, v, 3, 31);
  out[6 * t + 2] = bfly(kAll, v, 5, 31);
  out[6 * t + 3] = idx(kAll, v, v & 31, 31);
  out[6 * t + 4] = ballot(kAll, v & 1);
  out[6 * t + 5] = reduxMax(v, kAll);
}

KERNEL arithmetic(const u32 *in, u32 *out, u32 selector) {
  u32 t = tid();
  out[2 * t] = dp4a(in[2 * t], in[2 * t + 1], 7);
  out[2 * t + 1] = prmt(in[2 * t], in[2 * t + 1], selector);
}

KERNEL halves(const float *in, _Float16 *half, __bf16 *bfloat, float *back) {
  u32 t = tid();
  half[t] = (_Float16)in[t];
  bfloat[t] = (__bf16)in[t];
  back[2 * t] = (float)half[t];
  back[2 * t + 1] = (float)bfloat[t];
}

/// Arithmetic in 16 bits: rounded once, as if exact.
KERNEL half_arithmetic(const __bf16 *in, __bf16 *out) {
  u32 t = tid();
  __bf16 a = in[2 * t], b = in[2 * t + 1];
  out[4 * t] = a + b;
  out[4 * t + 1] = a * b;
  out[4 * t + 2] = a < b ? a : b;
  out[4 * t + 3] = __builtin_elementwise_max(__builtin_elementwise_abs(a),
                                             __builtin_elementwise_abs(b));
}

/// A ring of `stages` bulk copies of `bytes`, summed by the whole block.
KERNEL bulk_ring(const u8 *in, u32 *out, u32 copies, u32 bytes) {
  constexpr u32 stages = 3;
  SHARED u64 *bars = (SHARED u64 *)(smem + stages * bytes);
  if (tid() == 0) {
    for (u32 s = 0; s < stages; ++s)
      mbarInit(bars + s, 1);
    mbarFence();
  }
  barrier(0);
  auto issue = [&](u32 i) {
    if (tid() == 0 && i < copies) {
      mbarExpect(bars + i % stages, bytes);
      bulk(smem + i % stages * bytes, in + i * bytes, bytes, bars + i % stages);
    }
  };
  for (u32 s = 0; s < stages; ++s)
    issue(s);
  u32 sum = 0;
  for (u32 i = 0; i < copies; ++i) {
    while (!mbarWait(bars + i % stages, i / stages & 1))
      ;
    for (u32 b = tid(); b < bytes; b += ntid())
      sum += smem[i % stages * bytes + b];
    proxyFence();
    barrier(0);
    issue(i + stages);
  }
  for (u32 d = 16; d; d /= 2)
    sum += bfly(kAll, sum, d, 31);
  if (laneid() == 0)
    warpSums[tid() / 32] = sum;
  barrier(0);
  if (tid() == 0) {
    for (u32 w = 1; w < ntid() / 32; ++w)
      sum += warpSums[w];
    *out = sum;
  }
}

/// Each thread copies 16 bytes through shared memory.
KERNEL async_copy(const u8 *in, u8 *out) {
  cpAsync(smem + 16 * tid(), (GLOBAL const void *)(in + 16 * tid()));
  cpCommit();
  cpWaitAll();
  for (u32 i = 0; i < 16; ++i)
    out[16 * tid() + i] = smem[16 * tid() + i];
}

KERNEL bad_barrier(u32 *out) {
  if (tid() != 5)
    barrier(0);
  out[tid()] = 1;
}

KERNEL bad_shuffle_mask(u32 *out) {
  u32 mask = tid() < 16 ? 0x7FFFFFFF : kAll;
  out[tid()] = bfly(mask, tid(), 1, 31);
}

KERNEL bad_shuffle_source(u32 *out) {
  if (tid() < 16)
    out[tid()] = bfly(0xFFFF, tid(), 16, 31);
}

KERNEL bad_alignment(u8 *out) { *(u32 *)(out + tid()) = 1; }

KERNEL bad_wait(u32 *out) {
  SHARED u64 *bar = (SHARED u64 *)smem;
  if (tid() == 0)
    mbarInit(bar, 1);
  barrier(0);
  if (tid() == 0)
    mbarExpect(bar, 32); // and nothing is copied
  mbarWait(bar, 0);
  out[tid()] = 1;
}

KERNEL bad_poll(u32 *out) {
  SHARED u64 *bar = (SHARED u64 *)smem;
  if (tid() == 0)
    mbarInit(bar, 1);
  barrier(0);
  while (!mbarTest(bar, 0))
    ;
  out[tid()] = 1;
}

KERNEL bad_uninitialised(u32 *out) {
  mbarExpect((SHARED u64 *)smem, 0);
  out[tid()] = 1;
}

KERNEL bad_in_flight(const u8 *in) {
  SHARED u64 *bar = (SHARED u64 *)(smem + 64);
  if (tid() == 0) {
    mbarInit(bar, 1);
    mbarFence();
    mbarExpect(bar, 64);
    bulk(smem, in, 64, bar);
  }
}

KERNEL bad_copy_outside(const u8 *in) {
  if (tid() == 0) {
    SHARED u64 *bar = (SHARED u64 *)smem;
    mbarInit(bar, 1);
    mbarExpect(bar, 64);
    bulk(smem + 48, in, 64, bar); // smem has 96 bytes
  }
}

KERNEL bad_trap(u32 *out) {
  if (tid() == 3)
    __builtin_trap();
  out[tid()] = 1;
}
