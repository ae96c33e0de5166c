//===- Intrinsics.cpp - What retargeted device code calls ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Intrinsics.h"
#include "Block.h"

#include <fmt/format.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <thread>

using namespace qlinear::emulated;
using Kind = WarpRequest::Kind;

static Block &block() { return Block::current(); }

unsigned qlr_emu_tid() { return block().tid(); }
unsigned qlr_emu_ntid() { return block().launch.block; }
unsigned qlr_emu_ctaid() { return block().index; }
unsigned qlr_emu_nctaid() { return block().launch.grid; }
unsigned qlr_emu_dynamic_smem_size() { return unsigned(block().launch.smem); }
unsigned long long qlr_emu_clock() { return ++block().events; }

void *qlr_emu_shared() { return block().dynamicShared(); }
void *qlr_emu_static_shared(const void *key, unsigned long long bytes, unsigned align) {
  return block().staticShared(key, bytes, align);
}

unsigned qlr_emu_shfl_sync(int mode, unsigned mask, unsigned value, unsigned b,
                           unsigned c, unsigned char *valid) {
  const WarpRequest &r = block().warp({.kind = Kind::shuffle,
                                       .mode = mode,
                                       .mask = mask,
                                       .value = value,
                                       .b = b,
                                       .c = c});
  if (valid)
    *valid = r.valid;
  return r.result;
}

unsigned qlr_emu_vote_sync(int kind, unsigned mask, unsigned predicate) {
  return block()
      .warp({.kind = Kind::vote, .mode = kind, .mask = mask, .value = predicate})
      .result;
}

unsigned qlr_emu_redux_sync(int kind, unsigned mask, unsigned value) {
  return block()
      .warp({.kind = Kind::redux, .mode = kind, .mask = mask, .value = value})
      .result;
}

unsigned qlr_emu_match_any_sync(unsigned mask, unsigned value) {
  return block().warp({.kind = Kind::match, .mask = mask, .value = value}).result;
}

void qlr_emu_bar_warp_sync(unsigned mask) {
  block().warp({.kind = Kind::sync, .mask = mask});
}

void qlr_emu_mma(int kind, const unsigned *a, const unsigned *b, unsigned *c) {
  block().warp({.kind = Kind::mma, .mode = kind, .mask = ~0u, .in = {a, b}, .out = c});
}

void qlr_emu_wgmma(float *sums, unsigned tokens, const unsigned *a, const void *x,
                   const qlr_emu_site *site) {
  Block &b = block();
  uintptr_t first = reinterpret_cast<uintptr_t>(x);
  if (first % 1024 % 128 % 32 || first % 1024 >= 128)
    b.fail(fmt::format("wgmma of B at {}, which is not the first row of eight from a "
                       "multiple of 1024 on",
                       x));
  unsigned lane = b.tid() % 32, g = lane / 4, t = lane % 4;
  for (unsigned token = g; token < tokens; token += 8) {
    unsigned words[2];
    for (unsigned half = 0; half < 2; ++half) {
      uintptr_t at = first + token * 128 + half * 16 + t * 4;
      at ^= (at >> 7 & 7) << 4;
      const void *p = reinterpret_cast<const void *>(at);
      b.readByProducts(p, 4, site);
      std::memcpy(&words[half], p, 4);
    }
    qlr_emu_mma(2, a, words, reinterpret_cast<unsigned *>(sums + token / 8 * 4));
  }
}
void qlr_emu_wgmma_commit() { ++block().self().products.label; }
void qlr_emu_wgmma_wait(int pending) { block().waitForProducts(pending); }

void qlr_emu_load(const void *at, unsigned long long bytes, const qlr_emu_site *site) {
  block().accessShared(at, bytes, /*writes=*/false, site);
}
void qlr_emu_store(const void *at, unsigned long long bytes, const qlr_emu_site *site) {
  block().accessShared(at, bytes, /*writes=*/true, site);
}
void qlr_emu_load_generic(const void *at, unsigned long long bytes,
                          const qlr_emu_site *site) {
  block().accessAny(at, bytes, /*writes=*/false, site);
}
void qlr_emu_store_generic(const void *at, unsigned long long bytes,
                           const qlr_emu_site *site) {
  block().accessAny(at, bytes, /*writes=*/true, site);
}

void qlr_emu_ldmatrix(const void *row, unsigned *out, const qlr_emu_site *site) {
  Block &b = block();
  if (reinterpret_cast<uintptr_t>(row) % 16)
    b.fail(fmt::format("ldmatrix of a row at {:#x}, which is not a multiple of 16",
                       reinterpret_cast<uintptr_t>(row)));
  b.accessShared(row, 16, /*writes=*/false, site);
  b.warp({.kind = Kind::ldmatrix, .mask = ~0u, .in = {row, nullptr}, .out = out});
}

unsigned qlr_emu_activemask() { return block().activeMask(); }

void qlr_emu_barrier_sync(unsigned id, unsigned count) {
  block().barrier(id, count, /*wait=*/true, 0);
}

void qlr_emu_barrier_arrive(unsigned id, unsigned count) {
  block().barrier(id, count, /*wait=*/false, 0);
}

unsigned qlr_emu_barrier_red(int kind, unsigned id, unsigned count,
                             unsigned predicate) {
  const Barrier &b = block().barrier(id, count, /*wait=*/true, predicate);
  return kind == 0   ? b.lastPopc == b.lastTotal
         : kind == 1 ? b.lastPopc != 0
                     : b.lastPopc;
}

unsigned qlr_emu_cluster_rank(unsigned size) { return block().index % size; }
void qlr_emu_cluster_arrive(unsigned size) { block().arriveAtCluster(size); }
void qlr_emu_cluster_wait() { block().waitForCluster(); }
void qlr_emu_cluster_store(void *at, unsigned rank, float value,
                           const qlr_emu_site *site) {
  std::memcpy(block().accessInCluster(at, sizeof value, rank, /*writes=*/true, site),
              &value, sizeof value);
}
float qlr_emu_cluster_load(const void *at, unsigned rank, const qlr_emu_site *site) {
  float value;
  std::memcpy(&value,
              block().accessInCluster(at, sizeof value, rank, /*writes=*/false, site),
              sizeof value);
  return value;
}

unsigned qlr_emu_count(unsigned *counter) {
  return std::atomic_ref(*counter).fetch_add(1, std::memory_order_acq_rel);
}
void qlr_emu_await_count(unsigned *counter, unsigned value) {
  while (std::atomic_ref(*counter).load(std::memory_order_acquire) != value)
    std::this_thread::yield();
}

void qlr_emu_cp_async(void *dst, const void *src, unsigned bytes, unsigned srcBytes,
                      const qlr_emu_site *site) {
  Block &b = block();
  if (srcBytes > bytes)
    b.fail(
        fmt::format("cp.async of {} bytes takes {} from its source", bytes, srcBytes));
  b.checkCopy("cp.async", dst, src, srcBytes ? bytes : 0, bytes);
  b.asyncLoad({static_cast<std::byte *>(dst), static_cast<const std::byte *>(src),
               bytes, srcBytes, site});
}

void qlr_emu_cp_async_commit() { block().commit(block().self().copies); }
void qlr_emu_cp_async_wait(int pending) { block().waitForLoads(pending); }

void qlr_emu_cp_async_mbarrier_arrive(void *mbarrier, int noinc,
                                      const qlr_emu_site *site) {
  block().arriveByLoads(mbarrier, noinc, site);
}

void qlr_emu_bulk_load(void *dst, const void *src, unsigned bytes, void *mbarrier,
                       const qlr_emu_site *site) {
  Block &b = block();
  b.checkCopy("a bulk copy", dst, src, bytes, 16);
  b.bulkLoad({static_cast<std::byte *>(dst), static_cast<const std::byte *>(src), bytes,
              bytes, site},
             mbarrier);
}

void qlr_emu_cluster_mbarrier_arrive(void *mbarrier, unsigned rank,
                                     const qlr_emu_site *site) {
  block().arriveInCluster(mbarrier, rank, site);
}

void qlr_emu_bulk_load_pair(void *dst, const void *src, unsigned bytes, void *mbarrier,
                            const qlr_emu_site *site) {
  Block &b = block();
  b.checkCopy("a bulk copy", dst, src, bytes, 16);
  for (unsigned rank = 0; rank < 2; ++rank)
    b.bulkLoadInCluster({static_cast<std::byte *>(dst),
                         static_cast<const std::byte *>(src), bytes, bytes, site},
                        mbarrier, rank);
}

void qlr_emu_bulk_store(void *dst, const void *src, unsigned bytes,
                        const qlr_emu_site *site) {
  Block &b = block();
  b.checkCopy("a bulk copy", src, dst, bytes, 16);
  b.bulkStore({static_cast<std::byte *>(dst), static_cast<const std::byte *>(src),
               bytes, bytes, site});
}

void qlr_emu_bulk_commit() { block().commit(block().self().stores); }
void qlr_emu_bulk_wait(int pending) { block().waitForStores(pending); }

void qlr_emu_prefetch(const void *, unsigned) {
  // A prefetch of any address is allowed: it has no effect to emulate.
}

void qlr_emu_proxy_fence() { block().self().order.fence(); }
void qlr_emu_mbarrier_fence() { block().fenceMbarriers(); }

void qlr_emu_mbarrier_init(void *mbarrier, unsigned count, const qlr_emu_site *site) {
  block().initMbarrier(mbarrier, count, site);
}
void qlr_emu_mbarrier_inval(void *mbarrier, const qlr_emu_site *site) {
  block().invalidateMbarrier(mbarrier, site);
}
unsigned long long qlr_emu_mbarrier_arrive(void *mbarrier, unsigned count,
                                           unsigned bytes, int drop,
                                           const qlr_emu_site *site) {
  return block().arrive(mbarrier, count, bytes, drop, site);
}
void qlr_emu_mbarrier_complete_tx(void *mbarrier, unsigned bytes,
                                  const qlr_emu_site *site) {
  block().completeTx(mbarrier, bytes, site);
}
unsigned qlr_emu_mbarrier_test_wait(void *mbarrier, unsigned long long token,
                                    const qlr_emu_site *site) {
  return block().phaseOver(mbarrier, token & 1, /*mayWait=*/false, site);
}
unsigned qlr_emu_mbarrier_test_wait_parity(void *mbarrier, unsigned parity,
                                           const qlr_emu_site *site) {
  return block().phaseOver(mbarrier, parity & 1, /*mayWait=*/false, site);
}
unsigned qlr_emu_mbarrier_try_wait(void *mbarrier, unsigned long long token,
                                   const qlr_emu_site *site) {
  return block().phaseOver(mbarrier, token & 1, /*mayWait=*/true, site);
}
unsigned qlr_emu_mbarrier_try_wait_parity(void *mbarrier, unsigned parity,
                                          const qlr_emu_site *site) {
  return block().phaseOver(mbarrier, parity & 1, /*mayWait=*/true, site);
}
unsigned qlr_emu_mbarrier_pending_count(unsigned long long token) {
  return unsigned(token >> 1);
}

void qlr_emu_griddep_launch() {}
void qlr_emu_griddep_wait() { block().waitForLaunches(); }

float qlr_emu_f16_to_f32(unsigned short bits) {
  uint32_t sign = uint32_t(bits & 0x8000) << 16;
  uint32_t magnitude = bits & 0x7FFF;
  if (magnitude >= 0x7C00) // infinity and NaN
    return std::bit_cast<float>(sign | 0x7F800000 | magnitude << 13);
  // 2^112 moves the exponent of normal and subnormal numbers alike, exactly.
  float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

unsigned short qlr_emu_f32_to_f16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  bits &= 0x7FFFFFFF;
  if (bits > 0x7F800000)
    return sign | 0x7FFF; // NaN, as cvt.rn.f16.f32 gives it
  if (bits >= 0x477FF000)
    return sign | 0x7C00;
  if (bits < 0x38800000) { // subnormal: the addition rounds to a multiple of 2^-24
    float shifted = std::bit_cast<float>(bits) + 0.5f;
    return sign | uint16_t(std::bit_cast<uint32_t>(shifted) - 0x3F000000);
  }
  return sign | uint16_t((bits + 0xFFF + (bits >> 13 & 1) - 0x38000000) >> 13);
}

unsigned short qlr_emu_f32_to_bf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value))
    return 0x7FFF;
  return uint16_t((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

void qlr_emu_misaligned(const void *address, unsigned align) {
  block().fail(fmt::format("access of a value aligned to {} bytes at {:#x}, which "
                           "is not a multiple of it",
                           align, reinterpret_cast<uintptr_t>(address)));
}

void qlr_emu_trap() { block().fail("trap"); }
