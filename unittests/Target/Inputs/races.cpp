//===- races.cpp - Device code with and without its synchronisation -------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each kernel is right with fault = 0, and leaves something out with another one.
// Comments [in brackets] are the lines that RacesTest.cpp looks for in messages.
//
//===----------------------------------------------------------------------===//
using u8 = unsigned char;
using u32 = unsigned int;
using u64 = unsigned long long;
#define SHARED __attribute__((address_space(3)))
#define GLOBAL __attribute__((address_space(1)))
#define KERNEL extern "C" __attribute__((nvptx_kernel)) void
#define CONVERGENT __attribute__((convergent))

extern "C" {
u32 tid() __asm("llvm.nvvm.read.ptx.sreg.tid.x");
CONVERGENT void barrier(u32) __asm("llvm.nvvm.barrier.cta.sync.aligned.all");
CONVERGENT void barrierSync(u32, u32) __asm("llvm.nvvm.barrier.cta.sync.aligned.count");
CONVERGENT void barrierArrive(u32,
                              u32) __asm("llvm.nvvm.barrier.cta.arrive.aligned.count");
CONVERGENT void warpBarrier(u32) __asm("llvm.nvvm.bar.warp.sync");
CONVERGENT u32 bfly(u32, u32, u32, u32) __asm("llvm.nvvm.shfl.sync.bfly.i32");
void waitForGrids() __asm("llvm.nvvm.griddepcontrol.wait");
CONVERGENT u32 ballot(u32, bool) __asm("llvm.nvvm.vote.ballot.sync");
void cpAsync(SHARED void *,
             GLOBAL const void *) __asm("llvm.nvvm.cp.async.cg.shared.global.16");
void cpCommit() __asm("llvm.nvvm.cp.async.commit.group");
void cpWait(u32) __asm("llvm.nvvm.cp.async.wait.group");
void mbarInit(SHARED u64 *, u32) __asm("llvm.nvvm.mbarrier.init.shared");
u64 mbarArrive(SHARED u64 *) __asm("llvm.nvvm.mbarrier.arrive.shared");
u64 mbarExpect(SHARED u64 *,
               u32) __asm("llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta");
bool mbarWait(SHARED u64 *,
              u32) __asm("llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta");
// The wrappers of kernels/cuda/Intrinsics.h.
void mbarFence() __asm("ql_ptx_mbarrier_fence");
void proxyFence() __asm("ql_ptx_proxy_fence");
void bulk(SHARED void *, const void *, u32, SHARED u64 *) __asm("ql_ptx_bulk_copy");
typedef u32 u32x4 __attribute__((ext_vector_type(4)));
u32x4 loadMatrices(SHARED const void *) __asm("ql_ptx_load_matrices");
int clusterRank(int) __asm("ql_ptx_cluster_rank");
void clusterArrive(int) __asm("ql_ptx_cluster_arrive");
void clusterWait() __asm("ql_ptx_cluster_wait");
void clusterStore(SHARED float *, int, float) __asm("ql_ptx_cluster_store");
}

extern SHARED u8 smem[] __attribute__((aligned(128)));
static SHARED u32 words[64];
constexpr u32 kAll = 0xFFFFFFFF;

/// One warp sums 6 pieces of 512 bytes by way of a ring of two stages.
KERNEL ring(const u32 *in, u32 *out, u32 fault) {
  constexpr u32 kBytes = 512, kPieces = 6;
  SHARED u64 *bars = (SHARED u64 *)(smem + 2 * kBytes);
  if (tid() == 0) {
    mbarInit(bars, 1), mbarInit(bars + 1, 1); // [init]
    if (fault != 1)
      mbarFence();
  }
  if (fault != 2)
    warpBarrier(kAll);
  u32 issuer = fault == 2 || fault == 3 ? 1 : 0;
  auto issue = [&](u32 i) {
    if (tid() != issuer || i >= kPieces)
      return;
    mbarExpect(bars + i % 2, fault == 4 ? kBytes - 16 : kBytes);            // [expect]
    bulk(smem + i % 2 * kBytes, in + i * kBytes / 4, kBytes, bars + i % 2); // [copy]
  };
  issue(0), issue(1);
  u32 sum = 0;
  for (u32 i = 0; i < kPieces; ++i) {
    u32 parity = (i / 2 & 1) ^ (fault == 5 ? 1 : 0);
    if (fault != 6 || tid() != 7)
      while (!mbarWait(bars + i % 2, parity)) // [wait]
        ;
    if (fault == 7 || (fault == 8 && i > 0))
      proxyFence(); // too early
    SHARED const u32 *words = (SHARED const u32 *)(smem + i % 2 * kBytes);
    for (u32 w = tid(); w < kBytes / 4; w += 32)
      sum += words[w]; // [load]
    if (fault == 0 || fault == 3 || fault == 10 || (fault == 9 && tid() == 0))
      proxyFence();
    if (fault == 10)
      sum += bfly(kAll, sum, 1, 31) * 0;
    else
      warpBarrier(kAll);
    if (fault == 11 && tid() == 0)
      proxyFence(); // has seen the loads of all by now
    issue(i + 2);
  }
  out[tid()] = sum;
}

/// Each of 64 threads reads what another has stored.
KERNEL exchange(const u32 *in, u32 *out, u32 fault) {
  SHARED u32 *all = fault == 1 ? words : (SHARED u32 *)smem;
  u32 t = tid(), other = t ^ (fault == 2 ? 32 : 1);
  all[t] = in[t]; // [store]
  if (fault == 0 || fault == 5)
    barrier(0);
  if (fault == 2)
    warpBarrier(kAll); // orders nothing with the other warp
  if (fault == 3)
    bfly(kAll, t, 1, 31);
  if (fault == 4)
    ballot(kAll, true);
  if (fault == 6 || fault == 7) { // warp 0 arrives, warp 1 waits
    if (t / 32 == 0)
      barrierArrive(1, 64);
    else
      barrierSync(1, 64);
    other = fault == 6 ? t & 31 : t | 32;
    if (fault == 6 && t < 32)
      return;
  }
  u32 value = all[other]; // [read]
  if (fault == 5)
    all[t] = 0; // [again]
  out[t] = value;
}

/// Pieces by cp.async, each read by its thread's neighbour.
KERNEL async(const u32 *in, u32 *out, u32 fault) {
  u32 t = tid();
  auto *mine = (SHARED u32 *)smem + 4 * t, *other = (SHARED u32 *)smem + 4 * (t ^ 1);
  for (u32 i = 0; i < 3; ++i) {
    cpAsync(mine, (GLOBAL const void *)(in + 4 * (32 * i + t))); // [cp.async]
    cpCommit();
    if (fault == 2)
      cpWait(1);
    else if (fault != 1)
      cpWait(0);
    if (fault != 3)
      warpBarrier(kAll);
    for (u32 w = 0; w < 4; ++w)
      out[4 * (32 * i + t) + w] = (fault == 1 ? mine : other)[w]; // [use]
    if (fault != 4)
      warpBarrier(kAll);
  }
}

/// Accesses that meet in a 16-byte cell, but not in a byte unless there is a fault.
KERNEL parts(const u32 *in, u32 *out, u32 fault) {
  u32 t = tid();
  smem[t] = u8(in[t]); // [byte]
  if (fault == 1 && t == 5)
    smem[t + 1] = 0; // [next byte]
  warpBarrier(kAll);
  auto *halves = (SHARED unsigned short *)smem;
  if (t < 16)
    halves[t] = halves[t] ^ 1;
  if (fault == 2 && t == 31)
    *(volatile SHARED u8 *)(smem + 11) = 1; // [byte of a half]
  if (fault == 3 && t == 31)
    out[0] = *(SHARED u64 *)(smem + 16); // [8 bytes]
  warpBarrier(kAll);
  auto *whole = (SHARED u32x4 *)smem;
  if (t == 3)
    whole[0] = whole[0] + 1; // [16 bytes]
  if (fault == 4 && t == 9)
    out[0] = smem[15]; // [last byte]
  warpBarrier(kAll);
  out[t] = smem[t];
}

/// ldmatrix of rows that the lanes have stored.
KERNEL matrix(const u32 *in, u32 *out, u32 fault) {
  u32 t = tid();
  auto *row = (SHARED u32x4 *)smem + t;
  *(SHARED u32x4 *)(fault == 1 ? (SHARED u8 *)((SHARED u32x4 *)smem + (t ^ 1))
                               : (SHARED u8 *)row) = u32x4{in[t], 0, 0, 0}; // [row]
  if (fault == 2)
    warpBarrier(kAll);
  u32x4 f = loadMatrices(row); // [ldmatrix]
  if (fault == 2)
    ((SHARED u32x4 *)smem)[t ^ 1] = f; // mma and ldmatrix order nothing [overwrite]
  out[t] = f.x;
}

/// A consumer warp hands a buffer back to its producer by an arrival.
KERNEL handback(const u32 *in, u32 *out, u32 fault) {
  SHARED u64 *full = (SHARED u64 *)(smem + 128), *empty = full + 1;
  auto *data = (SHARED u32 *)smem;
  u32 t = tid(), lane = t % 32, sum = 0;
  if (t == 0)
    mbarInit(full, 32), mbarInit(empty, 32);
  barrier(0);
  for (u32 i = 0; i < 4; ++i) {
    if (t < 32) {
      if (i > 0 && fault != 1)
        while (!mbarWait(empty, i - 1 & 1))
          ;
      data[lane] = in[32 * i + lane]; // [produce]
      mbarArrive(full);
    } else {
      if (fault != 2 || lane != 3)
        while (!mbarWait(full, i & 1))
          ;
      if (fault == 3 && lane == 5)
        mbarArrive(empty);
      sum += data[lane ^ 1]; // [consume]
      if (fault != 3 || lane != 5)
        mbarArrive(empty);
    }
  }
  out[t] = sum;
}

/// Two blocks store in each other.
KERNEL cluster(const u32 *in, u32 *out, u32 fault) {
  auto *mine = (SHARED float *)smem;
  u32 t = tid();
  int rank = clusterRank(2);
  clusterArrive(2);
  if (fault == 4)
    mine[t] = 1; // after the arrival [own]
  if (fault != 1)
    clusterWait();
  clusterStore(mine + t, 1 - rank, 1.0f); // [remote]
  if (fault != 3)
    clusterArrive(2);
  if (fault != 2 && fault != 3)
    clusterWait();
  if (fault == 3) {
    out[32 * rank + t] = 0;
    return;
  }
  out[32 * rank + t] = u32(mine[t]); // [own read]
}

/// A dependent launch: weights may be read at once, x and the results are others'
/// before.
KERNEL dependent(const u32 *weights, const u32 *x, u32 *out, u32 fault) {
  u32 t = tid(), sum = weights[t];
  if (fault == 1)
    sum += *(volatile const u32 *)(x + t); // [early load]
  if (fault == 2)
    *(volatile u32 *)(out + t) = 0; // [early store]
  if (fault == 3 && t == 0)
    cpAsync(smem, (GLOBAL const void *)x); // [early copy]
  if (fault != 4 && (t == 0 || fault < 5))
    waitForGrids();
  if (fault == 5)
    barrier(0); // tells the others of the wait
  if (fault != 4)
    out[t] = sum + x[t]; // [x]
}
