//===- Async.cpp - Asynchronous copies of the emulated device ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Without a seed a copy lands as late as the rules allow: a cp.async when its group
// is waited for, a bulk copy when a thread asks its mbarrier. With one it lands at any
// time after its issue, a bulk copy piece by piece. Until then the destination
// holds all-ones bytes and is poisoned, so that code which reads too early also gets
// wrong values; that it does is found by the order of accesses (Races.h).
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

void Block::asyncLoad(const Copy &copy) {
  if (self().copies.slot == kNobody) {
    Slot first = slots->add(Slots::Kind::load, launch.block, index);
    for (uint32_t i = 0; i < threads.size(); ++i)
      threads[i].order.copies = threads[i].copies.slot = first + i;
  }
  CopyGroups &groups = self().copies;
  accessGlobal(copy.src, copy.srcBytes, /*writes=*/false, copy.site);
  access({groups.slot, groups.label, &self().order, false, copy.site}, /*writes=*/true,
         place(copy.dst, copy.bytes), copy.bytes);
  if (launch.seed && random() % 2 == 0)
    return land(copy);
  std::memset(copy.dst, 0xFF, copy.bytes);
  asan::poison(copy.dst, copy.bytes);
  groups.open.push_back(copy);
}

void Block::bulkStore(const Copy &copy) {
  CopyGroups &groups = self().stores;
  accessGlobal(copy.dst, copy.bytes, /*writes=*/true, copy.site);
  if (groups.slot == kNobody)
    groups.slot = slots->add(Slots::Kind::bulkStore, 1, index, running);
  access({groups.slot, groups.label, &self().order, true, copy.site}, /*writes=*/false,
         place(copy.src, copy.bytes), copy.bytes);
  groups.open.push_back(copy);
}

void Block::commit(CopyGroups &groups) {
  groups.committed.push_back(std::move(groups.open));
  groups.open.clear();
  ++groups.label;
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

void Block::waitForLoads(int pending) {
  wait(self().copies, pending);
  self().order.landed = self().copies.landed();
}

void Block::waitForStores(int pending) {
  CopyGroups &stores = self().stores;
  wait(stores, pending);
  if (stores.slot == kNobody)
    return;
  learn(self().order.known.generic, stores.slot, stores.landed());
  learn(self().order.known.async, stores.slot, stores.landed());
}

/// wgmma reads B through the async proxy, until a wait for its group.
void Block::readByProducts(const void *at, uint64_t bytes, const Site *site) {
  Products &products = self().products;
  if (products.slot == kNobody)
    products.slot = slots->add(Slots::Kind::products, 1, index, running);
  Place where = place(at, bytes);
  if (!where.shadow)
    fail(fmt::format("wgmma of B at {} ({}), which is not inside the block's {} bytes "
                     "of shared memory",
                     this->where(at), site->where, launch.smem));
  access({products.slot, products.label, &self().order, true, site},
         /*writes=*/false, where, bytes);
}

void Block::waitForProducts(int pending) {
  Products &products = self().products;
  Label landed = products.label - 1 - std::min(products.label - 1, Label(pending));
  if (products.slot == kNobody || landed <= products.landed)
    return;
  products.landed = landed;
  learn(self().order.known.generic, products.slot, landed);
  learn(self().order.known.async, products.slot, landed);
}

/// cp.async.mbarrier.arrive: by the copies when they have landed, not by the thread.
void Block::arriveByLoads(void *at, bool counted, const Site *site) {
  Mbarrier &m = useMbarrier("cp.async.mbarrier.arrive", at, site);
  CopyGroups &copies = self().copies;
  wait(copies, -1);
  if (copies.slot != kNobody)
    m.arrived.add(copies.slot, copies.landed());
  if (!counted) // the pending count rises and falls by one
    return;
  if (!m.pending)
    fail(
        fmt::format("cp.async.mbarrier.arrive on the mbarrier at {}, whose phase waits "
                    "for no more arrivals",
                    where(at)));
  --m.pending;
  settle(m, at);
}

void Block::bulkLoad(const Copy &copy, void *at) {
  Mbarrier &m = mbarrier("a bulk copy", at);
  const Observer &order = self().order;
  if (!order.seesFenced(m.initBy, m.initLabel) &&
      !(m.initFenced && order.sees(m.initBy, m.initFenced)))
    fail(fmt::format(
        "{} ({}) counts on the mbarrier at {}, of which it does not know that "
        "it has been initialised; ql_ptx_mbarrier_fence is missing after the "
        "initialisation, or a barrier after that",
        copy.site->what, copy.site->where, where(at)));
  accessGlobal(copy.src, copy.bytes, /*writes=*/false, copy.site);
  if (m.copies == kNobody)
    m.copies = slots->add(Slots::Kind::bulkLoad, 1, index);
  access({m.copies, m.label, &order, true, copy.site}, /*writes=*/true,
         place(copy.dst, copy.bytes), copy.bytes);
  launchCopy(copy, at, m);
}

/// A copy into this block, which counts on `m` at `at`, is under way.
void Block::launchCopy(const Copy &copy, void *at, Mbarrier &m) {
  std::memset(copy.dst, 0xFF, copy.bytes);
  asan::poison(copy.dst, copy.bytes);
  inFlight.push_back({copy, at, m.label, copy.bytes});
  m.last = copy;
  m.lastLabel = m.label;
  ++events;
  bool awaited = std::ranges::any_of(threads, [&](const Thread &t) {
    return t.state == ThreadState::mbarrier && t.waitsOn == at;
  });
  if (awaited && !launch.seed)
    landCopies(at);
}

/// Lets the copies of an mbarrier (null: all) land; whether there were any.
bool Block::landCopies(const void *of) {
  auto matches = [&](const BulkCopy &copy) { return !of || copy.mbarrier == of; };
  bool any = false;
  for (auto it = inFlight.begin();
       (it = std::ranges::find_if(inFlight, matches)) != inFlight.end(); any = true) {
    BulkCopy copy = *it;
    inFlight.erase(it);
    land(copy);
    if (auto m = mbarriers.find(copy.mbarrier); m != mbarriers.end()) {
      m->second.tx -= copy.total;
      settle(m->second, copy.mbarrier);
    } // else invalidated meanwhile
  }
  return any;
}

/// Lands copies that are in flight: with a seed a piece of any one, else all of them.
/// Whether there was anything.
bool Block::landSome() {
  if (!launch.seed)
    return landCopies(nullptr);
  if (inFlight.empty())
    return false;
  size_t pick = random() % inFlight.size();
  BulkCopy &copy = inFlight[pick];
  uint32_t lines = copy.bytes / 16, part = 16 * (1 + uint32_t(random() % lines));
  BulkCopy piece = copy;
  piece.bytes = piece.srcBytes = part;
  bool fromEnd = random() % 2;
  if (fromEnd) {
    piece.dst += copy.bytes - part;
    piece.src += copy.bytes - part;
  }
  land(piece);
  copy.bytes = copy.srcBytes = copy.bytes - part;
  if (!fromEnd) {
    copy.dst += part;
    copy.src += part;
  }
  if (copy.bytes)
    return true;
  void *at = copy.mbarrier;
  uint32_t total = copy.total;
  inFlight.erase(inFlight.begin() + ptrdiff_t(pick));
  if (auto m = mbarriers.find(at); m != mbarriers.end()) {
    m->second.tx -= total;
    settle(m->second, at);
  }
  return true;
}

static uint64_t signatureOf(const void *at) {
  return reinterpret_cast<uintptr_t>(at) * 0x9E3779B97F4A7C15ull | 1;
}

void Block::initMbarrier(void *at, uint32_t count, const Site *site) {
  if (reinterpret_cast<uintptr_t>(at) % 8 || !inShared(at, 8))
    fail(fmt::format("mbarrier.init at {}: an mbarrier is 8 bytes of shared "
                     "memory, 8-byte aligned",
                     where(at)));
  if (count == 0 || count >= 1u << 20)
    fail(fmt::format("mbarrier.init for {} arrivals; the count must be 1 to {}", count,
                     (1u << 20) - 1));
  accessShared(at, 8, /*writes=*/true, site);
  Mbarrier m;
  m.count = m.pending = count;
  m.signature = signatureOf(at);
  m.initBy = self().order.self;
  m.initLabel = self().order.now;
  mbarriers[at] = std::move(m);
  std::memcpy(at, &mbarriers[at].signature, 8);
}

/// fence.mbarrier_init: what the thread has initialised may be counted on by copies of
/// those that know of the fence.
void Block::fenceMbarriers() {
  Observer &order = self().order;
  for (auto &[at, m] : mbarriers)
    if (m.initBy == order.self && !m.initFenced)
      m.initFenced = order.now;
  ++order.now;
}

void Block::invalidateMbarrier(void *at, const Site *site) {
  mbarrier("mbarrier.inval", at);
  accessShared(at, 8, /*writes=*/true, site);
  mbarriers.erase(at);
}

/// An mbarrier that the running thread uses: it knows of the initialisation.
Mbarrier &Block::useMbarrier(const char *what, const void *at, const Site *site) {
  Mbarrier &m = mbarrier(what, at);
  accessShared(at, 8, /*writes=*/false, site);
  return m;
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
  for (const BulkCopy &copy : inFlight)
    if (copy.mbarrier == at && copy.label == m.label)
      return report(fmt::format("the phase of the mbarrier at {} is over while {} of "
                                "{} bytes ({}) that counts "
                                "on it is in flight: the bytes to expect are too few",
                                where(at), copy.site->what, copy.total,
                                copy.site->where));
  m.phase = !m.phase;
  m.pending = m.count;
  if (m.copies != kNobody)
    m.arrived.add(m.copies, m.label);
  ++m.label;
  View news = m.arrived.take();
  m.released = {join(m.released.generic, news.generic),
                join(m.released.async, news.async)};
  m.cache = {};
  ++events;
  idlePolls = 0;
  for (uint32_t i = 0; i < threads.size(); ++i)
    if (threads[i].state == ThreadState::mbarrier && threads[i].waitsOn == at &&
        threads[i].waitsAt != uint32_t(m.phase)) {
      threads[i].order.acquire(m.released, m.cache);
      wake(i);
    }
}

uint64_t Block::arrive(void *at, uint32_t count, uint32_t bytes, bool drop,
                       const Site *site) {
  Mbarrier &m = useMbarrier("mbarrier.arrive", at, site);
  if (count > m.pending)
    fail(fmt::format("mbarrier.arrive by {} on the mbarrier at {}, whose phase "
                     "waits for {} more",
                     count, where(at), m.pending));
  uint64_t token = uint64_t(m.phase) | uint64_t(m.pending) << 1;
  m.tx += bytes;
  m.pending -= count;
  if (drop)
    m.count -= count;
  if (count) {
    m.arrived.add(self().order);
    ++self().order.now;
    settle(m, at);
  }
  return token;
}

/// An arrival in another block.
void Block::arriveInCluster(void *at, uint32_t rank, const Site *site) {
  Block &peer = peerOf(rank, site);
  void *there = placeIn(peer, at, site);
  auto it = peer.mbarriers.find(there);
  if (it == peer.mbarriers.end() || !it->second.pending)
    fail(fmt::format("arrives at {} in block {}, where no mbarrier waits for more", 
                     where(at), peer.index));
  --it->second.pending;
  it->second.arrived.add(self().order);
  ++self().order.now;
  ++events;
  peer.settle(it->second, there);
}

/// A copy into another block, which counts there.
void Block::bulkLoadInCluster(const Copy &copy, void *at, uint32_t rank) {
  Block &peer = peerOf(rank, copy.site);
  if (&peer == this)
    return bulkLoad(copy, at);
  accessGlobal(copy.src, copy.bytes, /*writes=*/false, copy.site);
  Copy there = copy;
  there.dst = placeIn(peer, copy.dst, copy.site);
  void *counts = placeIn(peer, at, copy.site);
  auto it = peer.mbarriers.find(counts);
  if (it == peer.mbarriers.end())
    fail(fmt::format("a bulk copy into block {} counts on {}, where no mbarrier was "
                     "initialised",
                     peer.index, where(at)));
  Mbarrier &m = it->second;
  if (m.copies == kNobody)
    m.copies = slots->add(Slots::Kind::bulkLoad, 1, peer.index);
  Actor by{m.copies, m.label, &self().order, true, copy.site};
  Place to = peer.place(there.dst, there.bytes);
  if (auto conflict = to.shadow->write(by, to.offset, there.bytes))
    fail(fmt::format("in block {}, {}", peer.index,
                     race(by, there.bytes, to.offset, false, *conflict)));
  peer.launchCopy(there, counts, m);
}

void Block::completeTx(void *at, uint32_t bytes, const Site *site) {
  Mbarrier &m = useMbarrier("mbarrier.complete_tx", at, site);
  m.tx -= bytes;
  settle(m, at);
}

bool Block::phaseOver(void *at, bool phase, bool mayWait, const Site *site) {
  useMbarrier("mbarrier wait", at, site);
  auto over = [&] {
    Mbarrier &m = mbarrier("mbarrier wait", at);
    if (m.phase == phase)
      return false;
    self().order.acquire(m.released, m.cache);
    return true;
  };
  if (over())
    return true;
  if (!launch.seed && landCopies(at) && over())
    return true;
  if (mayWait) {
    self().waitsOn = at;
    self().waitsAt = phase;
    suspend(ThreadState::mbarrier); // settle() lets it acquire
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
