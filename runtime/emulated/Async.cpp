//===- Async.cpp - Asynchronous copies of the emulated device ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A copy lands as late as the rules allow: a cp.async when its group is waited
// for, a bulk copy when a thread asks its mbarrier. Until then the destination
// holds all-ones bytes and is poisoned, so code that reads too early, or issues
// a copy over data still being read, does not get away with it.
//
//===----------------------------------------------------------------------===//
#include "Block.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace qlinear::emulated {

void Block::checkCopy(const char *what, const void *sharedAddress, const void *global,
                      uint64_t bytes, uint32_t align) {
  auto misaligned = [&](const void *p) {
    return reinterpret_cast<uintptr_t>(p) % align != 0;
  };
  if (misaligned(sharedAddress) || misaligned(global) || bytes % align)
    fail(fmt::format("{} of {} bytes between {} and {}: size and both addresses "
                     "must be multiples of {}",
                     what, bytes, where(sharedAddress), where(global), align));
  if (!inShared(sharedAddress, bytes))
    fail(fmt::format("{} of {} bytes at {}: not inside the block's {} bytes of "
                     "shared memory",
                     what, bytes, where(sharedAddress), launch.smem));
  if (const void *bad = asan::poisonedByte(global, bytes))
    fail(fmt::format("{} of {} bytes from {}: byte {} of them lies outside of "
                     "any allocation",
                     what, bytes, where(global),
                     static_cast<const char *>(bad) -
                         static_cast<const char *>(global)));
}

/// Lets a copy land.
void Block::land(const Copy &copy) {
  asan::unpoison(copy.dst, copy.bytes);
  std::memcpy(copy.dst, copy.src, copy.srcBytes);
  std::memset(copy.dst + copy.srcBytes, 0, copy.bytes - copy.srcBytes);
}

void Block::begin(CopyGroups &groups, const Copy &copy, bool toShared) {
  if (toShared) {
    std::memset(copy.dst, 0xFF, copy.bytes);
    asan::poison(copy.dst, copy.bytes);
  }
  groups.open.push_back(copy);
}

void Block::commit(CopyGroups &groups) {
  groups.committed.push_back(std::move(groups.open));
  groups.open.clear();
}

void Block::wait(CopyGroups &groups, int pending) {
  if (pending < 0)
    commit(groups);
  while (groups.committed.size() > size_t(std::max(pending, 0))) {
    for (const Copy &copy : groups.committed.front())
      land(copy);
    groups.committed.pop_front();
  }
}

void Block::bulkLoad(const BulkCopy &copy) {
  mbarrier("a bulk copy", copy.mbarrier);
  for (const BulkCopy &other : inFlight)
    if (copy.dst < other.dst + other.bytes && other.dst < copy.dst + copy.bytes)
      fail(fmt::format("a bulk copy of {} bytes to {} overlaps one of {} bytes to "
                       "{} that is still in flight",
                       copy.bytes, where(copy.dst), other.bytes, where(other.dst)));
  std::memset(copy.dst, 0xFF, copy.bytes);
  asan::poison(copy.dst, copy.bytes);
  inFlight.push_back(copy);
  ++events;
  bool awaited = std::ranges::any_of(threads, [&](const Thread &t) {
    return t.state == ThreadState::mbarrier && t.waitsOn == copy.mbarrier;
  });
  if (awaited)
    landCopies(copy.mbarrier);
}

/// Lets the copies of an mbarrier (null: all) land; whether there were any.
bool Block::landCopies(const void *of) {
  auto matches = [&](const BulkCopy &copy) { return !of || copy.mbarrier == of; };
  std::vector<BulkCopy> now;
  std::ranges::copy_if(inFlight, std::back_inserter(now), matches);
  std::erase_if(inFlight, matches);
  for (const BulkCopy &copy : now) {
    land(copy);
    auto it = mbarriers.find(copy.mbarrier);
    if (it == mbarriers.end())
      continue; // invalidated meanwhile
    it->second.tx -= copy.bytes;
    settle(it->second, copy.mbarrier);
  }
  return !now.empty();
}

static uint64_t signatureOf(const void *at) {
  return reinterpret_cast<uintptr_t>(at) * 0x9E3779B97F4A7C15ull | 1;
}

void Block::initMbarrier(void *at, uint32_t count) {
  if (reinterpret_cast<uintptr_t>(at) % 8 || !inShared(at, 8))
    fail(fmt::format("mbarrier.init at {}: an mbarrier is 8 bytes of shared "
                     "memory, 8-byte aligned",
                     where(at)));
  if (count == 0 || count >= 1u << 20)
    fail(fmt::format("mbarrier.init for {} arrivals; the count must be 1 to {}", count,
                     (1u << 20) - 1));
  mbarriers[at] = {count, count, 0, false, signatureOf(at)};
  std::memcpy(at, &mbarriers[at].signature, 8);
}

void Block::invalidateMbarrier(void *at) {
  mbarrier("mbarrier.inval", at);
  mbarriers.erase(at);
}

Mbarrier &Block::mbarrier(const char *what, const void *at) {
  auto it = mbarriers.find(at);
  if (it == mbarriers.end())
    fail(fmt::format("{} on {}, where no mbarrier was initialised", what, where(at)));
  uint64_t signature;
  std::memcpy(&signature, at, 8);
  if (signature != it->second.signature)
    fail(fmt::format("{} on the mbarrier at {}, which has been overwritten", what,
                     where(at)));
  return it->second;
}

/// Starts the next phase if nothing is missing from this one.
void Block::settle(Mbarrier &m, const void *at) {
  if (m.pending || m.tx)
    return;
  m.phase = !m.phase;
  m.pending = m.count;
  ++events;
  idlePolls = 0;
  for (uint32_t i = 0; i < threads.size(); ++i)
    if (threads[i].state == ThreadState::mbarrier && threads[i].waitsOn == at &&
        threads[i].waitsAt != uint32_t(m.phase))
      wake(i);
}

uint64_t Block::arrive(void *at, uint32_t count, uint32_t bytes, bool drop) {
  Mbarrier &m = mbarrier("mbarrier.arrive", at);
  if (count > m.pending)
    fail(fmt::format("mbarrier.arrive by {} on the mbarrier at {}, whose phase "
                     "waits for {} more",
                     count, where(at), m.pending));
  uint64_t token = uint64_t(m.phase) | uint64_t(m.pending) << 1;
  m.tx += bytes;
  m.pending -= count;
  if (drop)
    m.count -= count;
  if (count)
    settle(m, at);
  return token;
}

void Block::completeTx(void *at, uint32_t bytes) {
  Mbarrier &m = mbarrier("mbarrier.complete_tx", at);
  m.tx -= bytes;
  settle(m, at);
}

bool Block::phaseOver(void *at, bool phase, bool mayWait) {
  mbarrier("mbarrier wait", at);
  auto over = [&] { return mbarrier("mbarrier wait", at).phase != phase; };
  if (over())
    return true;
  landCopies(at);
  if (over())
    return true;
  if (mayWait) {
    self().waitsOn = at;
    self().waitsAt = phase;
    suspend(ThreadState::mbarrier);
    return true;
  }
  // Polling: others must get their turn, and some of them get somewhere.
  if (++idlePolls > 1000 * uint64_t(threads.size())) {
    error = deadlock();
    leave();
  }
  suspend(ThreadState::ready);
  return false;
}

} // namespace qlinear::emulated
