//===- Order.cpp - Memory accesses of a thread block ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Block.h"

#include <fmt/format.h>

#include <algorithm>

namespace qlinear::emulated {

Slot Slots::add(Kind kind, uint32_t count, uint32_t block, uint32_t thread) {
  Slot first = ranges.empty() ? 0 : ranges.back().end;
  if (kind == Kind::thread) // see Shadow: no other slot is in a group of theirs
    first = (first + kWarp - 1) / kWarp * kWarp;
  ranges.push_back({first, first + count, kind, block, thread});
  if (kind == Kind::thread)
    ranges.back().end = (ranges.back().end + kWarp - 1) / kWarp * kWarp;
  return first;
}

const Slots::Range &Slots::of(Slot slot) const {
  return *std::ranges::find_if(ranges, [&](const Range &r) { return slot < r.end; });
}

/// "thread 3", "thread 3 of block 5"; for a copy the thread that issued it, if known.
std::string Block::nameOf(Slot slot) const {
  const Slots::Range &range = slots->of(slot);
  if (range.kind == Slots::Kind::bulkLoad)
    return "";
  std::string text = fmt::format(" by thread {}", range.thread + slot - range.first);
  return range.block == index ? text : text + fmt::format(" of block {}", range.block);
}

/// The message: the two accesses, and what would order them.
std::string Block::race(const Actor &actor, uint64_t bytes, uint64_t offset,
                        bool isStatic, const Conflict &conflict) const {
  const char *memory = isStatic ? "static shared" : "shared";
  const char *remedy = conflict.onlyUnfenced ? "a proxy fence is missing between them"
                                             : "a barrier is missing between them";
  switch (slots->of(conflict.slot).kind) {
  case Slots::Kind::thread:
  case Slots::Kind::launches:
    break;
  case Slots::Kind::load:
    if (!conflict.onlyUnfenced)
      remedy = conflict.slot == actor.order->copies
                   ? "wait for its group first"
                   : "its thread has to wait for its group, and a barrier to follow";
    break;
  case Slots::Kind::bulkLoad:
    remedy = "wait for the phase of its mbarrier first";
    break;
  case Slots::Kind::products:
    remedy = "wait for the group of products first";
    break;
  case Slots::Kind::bulkStore:
    remedy = "wait for its group first";
    break;
  }
  std::string size =
      conflict.site->bytes ? fmt::format(" of {} bytes", conflict.site->bytes) : "";
  return fmt::format("the {} of {} bytes at {} + {:#x} ({}) is not ordered after the "
                     "{}{}{} at {} + {:#x} ({}): {}",
                     actor.site->what, bytes, memory, offset, actor.site->where,
                     conflict.site->what, size, nameOf(conflict.slot), memory,
                     conflict.offset, conflict.site->where, remedy);
}

Block::Place Block::place(const void *address, uint64_t bytes) {
  auto *p = static_cast<const std::byte *>(address);
  uint64_t offset = uint64_t(p - shared);
  if (offset < launch.smem && bytes <= launch.smem - offset)
    return {&shadow, offset};
  for (auto &[key, memory] : statics)
    if (offset = uint64_t(p - memory.data);
        offset < memory.bytes && bytes <= memory.bytes - offset)
      return {&memory.shadow, offset};
  return {nullptr, 0};
}

/// Notes an access, and fails if it is not ordered.
void Block::access(const Actor &actor, bool writes, Place at, uint64_t bytes) {
  auto conflict = writes ? at.shadow->write(actor, at.offset, bytes)
                         : at.shadow->read(actor, at.offset, bytes);
  if (conflict)
    fail(race(actor, bytes, at.offset, at.shadow != &shadow, *conflict));
}

void Block::accessShared(const void *at, uint64_t bytes, bool writes,
                         const Site *site) {
  Place where = place(at, bytes);
  if (!where.shadow)
    fail(fmt::format("the {} of {} bytes at {} ({}) is not inside the block's {} bytes "
                     "of shared memory",
                     site->what, bytes, this->where(at), site->where, launch.smem));
  access(actor(site), writes, where, bytes);
}

void Block::accessAny(const void *at, uint64_t bytes, bool writes, const Site *site) {
  if (Place where = place(at, bytes); where.shadow)
    access(actor(site), writes, where, bytes);
  else
    accessGlobal(at, bytes, writes, site);
}

/// Global memory: what launches before a dependent one may still use.
void Block::accessGlobal(const void *at, uint64_t bytes, bool writes,
                         const Site *site) {
  if (!launch.dependent || self().order.sees(launches, 1))
    return;
  auto *p = static_cast<const std::byte *>(at);
  if (p >= stacks.bottom(0) && p < stacks.bottom(launch.block - 1) + Stacks::size())
    return; // a thread's own
  const Buffer *buffer = nullptr;
  for (const Buffer &b : launch.buffers)
    if (b.at <= at && (!buffer || b.at >= buffer->at))
      buffer = &b;
  if (buffer && buffer->constant && !writes)
    return;
  bool isKnown = buffer && buffer->earlier;
  fail(fmt::format(
      "the {} of {} bytes ({}) comes before the wait for the launches before: it is of "
      "memory that {}{}{}; only weights may be read before ql_ptx_wait_prior_grids",
      site->what, bytes, site->where, isKnown ? "kernel " : "",
      isKnown  ? buffer->earlier
      : buffer ? "kernels before it may use"
               : "is no argument of the kernel",
      isKnown ? " has, too" : ""));
}

/// griddepcontrol.wait
void Block::waitForLaunches() {
  if (launch.dependent)
    self().order.acquire(waited, waitCache);
}

/// Threads that have met know what all of them knew.
void Block::meet(Gathering &gathering, const std::vector<uint32_t> &met) {
  Label next = gathering.newest() + 1;
  View all = gathering.take();
  for (uint32_t i : met) {
    threads[i].order.known = all;
    threads[i].order.now = next;
  }
}

Block &Block::peerOf(uint32_t rank, const Site *site) {
  if (!peers.empty() && rank >= peers.size())
    fail(fmt::format("uses shared memory of block {} of a cluster of {}", rank,
                     peers.size()));
  Slot first = peers.empty() ? kNobody : peers[rank]->threads.front().order.self;
  if (peers.empty() || !self().order.sees(first, 1))
    fail(
        fmt::format("the {} ({}) may come before the other block has started: wait for "
                    "the cluster's barrier before it",
                    site->what, site->where));
  Block &peer = *peers[rank];
  if (peer.ended())
    fail(
        fmt::format("the {} ({}) comes when block {} has ended: wait for the cluster's "
                    "barrier after it",
                    site->what, site->where, peer.index));
  return peer;
}

std::byte *Block::placeIn(Block &peer, const void *at, const Site *site) {
  Place here = place(at, 1);
  if (here.shadow != &shadow)
    fail(fmt::format("the {} ({}) at {} is not in the block's shared memory",
                     site->what, site->where, where(at)));
  return peer.shared + here.offset;
}

/// The address in another block of the cluster that corresponds to `at`, for a store.
void *Block::accessInCluster(const void *at, uint64_t bytes, uint32_t rank, bool writes,
                             const Site *site) {
  Place here = place(at, bytes);
  if (here.shadow != &shadow)
    fail(fmt::format("{} bytes at {} are not in the block's shared memory", bytes,
                     where(at)));
  Block &peer = peerOf(rank, site);
  Actor by = actor(site);
  auto conflict = writes ? peer.shadow.write(by, here.offset, bytes)
                         : peer.shadow.read(by, here.offset, bytes);
  if (conflict) {
    std::string message = race(by, bytes, here.offset, false, *conflict);
    if (&peer != this)
      message = fmt::format("in block {}, {}", peer.index, message);
    fail(std::move(message));
  }
  if (&peer != this) {
    auto same = std::ranges::find(peer.remote, by.slot, &RemoteAccess::slot);
    if (same == peer.remote.end())
      same = peer.remote.insert(same, RemoteAccess());
    *same = {by.slot, by.label, here.offset, site};
  }
  return peer.shared + here.offset;
}

/// The block must not end before something in it has seen what others do there, and
/// copies land.
void Block::checkExit() {
  View seen = exits.take();
  for (const auto &[at, m] : mbarriers)
    if (error.empty() && labelOf(seen.generic, m.copies) < m.lastLabel)
      report(
          fmt::format("the block ends while a bulk copy of {} bytes to {} is in flight "
                      "({}); wait for the phase of its mbarrier",
                      m.last.bytes, where(m.last.dst), m.last.site->where));
  if (error.empty() && launch.dependent && !labelOf(seen.generic, launches))
    report("the block ends without a wait for the launches before it "
           "(ql_ptx_wait_prior_grids), on which the wait of the next kernel relies");
  for (const RemoteAccess &access : remote)
    if (error.empty() && labelOf(seen.generic, access.slot) < access.label)
      report(fmt::format("the block may end before the {}{} at shared + {:#x} ({}): "
                         "wait for the cluster's barrier after it",
                         access.site->what, nameOf(access.slot), access.offset,
                         access.site->where));
}

} // namespace qlinear::emulated
