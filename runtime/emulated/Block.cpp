//===- Block.cpp - Fibers and barriers of a thread block -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Fibers are raw Boost.Context contexts rather than boost::context::fiber: an
// error abandons the suspended ones, and their frames are device code that no
// exception could unwind.
//
//===----------------------------------------------------------------------===//
#include "Block.h"

#include <boost/context/detail/fcontext.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace ctx = boost::context::detail;

namespace qlinear::emulated {

// AddressSanitizer's frames are several times larger than plain ones.
static constexpr size_t kStackBytes = 256 * 1024;
static constexpr size_t kGuardBytes = 64 * 1024;

size_t Stacks::size() { return kStackBytes; }

Result<Stacks> Stacks::allocate(uint32_t count) {
  void *base = mmap(nullptr, count * (kStackBytes + kGuardBytes), PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED)
    return error(fmt::format("no memory for the stacks of {} threads", count));
  Stacks stacks(static_cast<std::byte *>(base), count);
  for (uint32_t i = 0; i < count; ++i)
    if (mprotect(stacks.bottom(i), kStackBytes, PROT_READ | PROT_WRITE))
      return error(fmt::format("no memory for the stacks of {} threads", count));
  return Result<Stacks>(std::move(stacks));
}

Stacks::Stacks(Stacks &&other) noexcept : base(other.base), count(other.count) {
  other.base = nullptr;
}

Stacks::~Stacks() {
  if (base)
    munmap(base, count * (kStackBytes + kGuardBytes));
}

std::byte *Stacks::bottom(uint32_t index) const {
  return base + index * (kStackBytes + kGuardBytes) + kGuardBytes;
}

static thread_local Block *currentBlock = nullptr;

Block &Block::current() { return *currentBlock; }

Block::Block(const Launch &launch, ThreadFunction function, void *const *params,
             const Stacks &stacks)
    : launch(launch), function(function), params(params), stacks(stacks) {}

Block::~Block() { finish(); }

/// Frees the block's shared memory, and lifts what poison is left.
void Block::finish() {
  for (const BulkCopy &copy : inFlight)
    asan::unpoison(copy.dst, copy.bytes);
  for (const Thread &thread : threads) {
    auto lift = [](const Copy &copy) { asan::unpoison(copy.dst, copy.bytes); };
    std::ranges::for_each(thread.copies.open, lift);
    for (const auto &group : thread.copies.committed)
      std::ranges::for_each(group, lift);
  }
  inFlight.clear();
  threads.clear();
  std::free(shared);
  shared = nullptr;
  for (auto &entry : statics)
    std::free(entry.second.data);
  statics.clear();
}

void Block::load(uint32_t blockIndex, Slots &clusterSlots) {
  index = blockIndex;
  slots = &clusterSlots;
  events = idlePolls = 0;
  cluster = 1;
  clusterArrived = clusterPassed = 0;
  peers.clear();
  clusterArrivals = {};
  clusterView = {};
  clusterCache = {};
  remote.clear();
  exits = {};
  error.clear();
  mbarriers.clear();
  std::ranges::fill(barriers, Barrier{});
  random.seed(launch.seed + index * 0x9E3779B97F4A7C15ull);

  // Exactly as many bytes as asked for, so that AddressSanitizer sees the end;
  // all ones, so that reading before writing is likely to show.
  void *memory = nullptr;
  if (launch.smem && posix_memalign(&memory, 1024, launch.smem)) {
    error = fmt::format("no memory for {} bytes of shared memory", launch.smem);
    return;
  }
  shared = static_cast<std::byte *>(memory);
  if (shared)
    std::memset(shared, 0xFF, launch.smem);

  Slot first = slots->add(Slots::Kind::thread, launch.block, index);
  shadow.reset(launch.smem, first, launch.block);
  waited = {};
  waitCache = {};
  if (launch.dependent) {
    launches = slots->add(Slots::Kind::launches, 1, index);
    learn(waited.generic, launches, 1);
    learn(waited.async, launches, 1);
  }

  threads.resize(launch.block);
  ready.clear();
  alive = launch.block;
  for (uint32_t i = 0; i < launch.block; ++i) {
    threads[i].context = ctx::make_fcontext(
        stacks.bottom(i) + Stacks::size(), Stacks::size(), [](ctx::transfer_t from) {
          auto *block = static_cast<Block *>(from.data);
          block->scheduler = from.fctx;
          enter(block);
        });
    threads[i].order.self = first + i;
    ready.push_back(i);
  }
}

void Block::advance() {
  Block *outer = currentBlock;
  currentBlock = this;
  while (alive && error.empty()) {
    if (ready.empty() && !landSome()) {
      bool forCluster = std::ranges::any_of(
          threads, [](const Thread &t) { return t.state == ThreadState::cluster; });
      if (!forCluster && peers.size() <= 1) // else another block may go on
        error = deadlock();
      break;
    }
    if (ready.empty())
      continue;
    if (launch.seed && random() % 4 == 0)
      landSome();
    size_t pick = launch.seed ? random() % ready.size() : 0;
    std::swap(ready[pick], ready.front());
    uint32_t next = ready.front();
    ready.pop_front();
    resume(next);
  }
  currentBlock = outer;
}

std::string Block::end() {
  checkExit();
  // Frames of fibers that were abandoned or have ended leave poison behind.
  for (uint32_t i = 0; i < launch.block; ++i)
    asan::unpoison(stacks.bottom(i), Stacks::size());
  finish();
  return error;
}

/// The first frame of a fiber.
void Block::enter(void *pointer) {
  auto *block = static_cast<Block *>(pointer);
  asan::finishSwitch(nullptr, &block->schedulerStack, &block->schedulerStackSize);
  block->function(block->params);
  Thread &self = block->self();
  self.state = ThreadState::done;
  --block->alive;
  ++block->events;
  block->exits.add(self.order);
  if (!self.stores.open.empty() || !self.stores.committed.empty())
    block->report(
        fmt::format("thread {} ends before its bulk copies from shared memory; "
                    "wait for their groups",
                    block->running));
  block->leave();
}

/// From a fiber that will never run again, back to run().
void Block::leave() {
  asan::startSwitch(nullptr, schedulerStack, schedulerStackSize);
  ctx::jump_fcontext(scheduler, nullptr);
  __builtin_unreachable();
}

void Block::fail(std::string message) {
  error = fmt::format("block {}, thread {}: {}", index, running, message);
  std::string().swap(message); // this frame is never left
  leave();
}

void Block::report(std::string message) {
  if (error.empty())
    error = fmt::format("block {}: {}", index, message);
}

void Block::resume(uint32_t thread) {
  running = thread;
  Thread &t = threads[thread];
  t.state = ThreadState::ready;
  asan::startSwitch(&schedulerFakeStack, stacks.bottom(thread), Stacks::size());
  ctx::transfer_t back = ctx::jump_fcontext(t.context, this);
  asan::finishSwitch(schedulerFakeStack, nullptr, nullptr);
  threads[thread].context = back.fctx;
}

void Block::suspend(ThreadState state) {
  Thread &t = self();
  t.state = state;
  if (state == ThreadState::ready)
    ready.push_back(running);
  asan::startSwitch(&t.fakeStack, schedulerStack, schedulerStackSize);
  ctx::transfer_t from = ctx::jump_fcontext(scheduler, nullptr);
  scheduler = from.fctx;
  asan::finishSwitch(t.fakeStack, &schedulerStack, &schedulerStackSize);
}

void Block::wake(uint32_t thread) {
  threads[thread].state = ThreadState::ready;
  ready.push_back(thread);
}

std::byte *Block::staticShared(const void *key, uint64_t bytes, uint32_t align) {
  auto [it, isNew] = statics.try_emplace(key);
  if (isNew) {
    void *memory = nullptr;
    if (posix_memalign(&memory, std::max<size_t>(align, 16), bytes))
      fail(fmt::format("no memory for {} bytes of shared memory", bytes));
    std::memset(memory, 0xFF, bytes);
    it->second = {static_cast<std::byte *>(memory), bytes, {}};
    it->second.shadow.reset(bytes, threads.front().order.self, launch.block);
  }
  return it->second.data;
}

void Block::arriveAtCluster(uint32_t size) {
  if (!size || launch.grid % size || size > kMaxCluster)
    fail(
        fmt::format("clusters of {} blocks; a cluster has 1 to {} blocks, and the grid "
                    "of {} is a multiple of it",
                    size, kMaxCluster, launch.grid));
  if (cluster != 1 && cluster != size)
    fail(fmt::format("a cluster of {} blocks has become one of {}", cluster, size));
  cluster = size;
  if (self().clusterArrivals++ != clusterPassed)
    fail("arrives at the cluster's barrier twice; wait for it in between");
  clusterArrivals.add(self().order);
  ++self().order.now;
  ++clusterArrived;
  ++events;
}

void Block::waitForCluster() {
  if (self().clusterWaits == self().clusterArrivals)
    fail("waits for the cluster's barrier, at which it has not arrived");
  ++self().clusterWaits;
  while (clusterPassed < self().clusterArrivals)
    suspend(ThreadState::cluster);
  self().order.acquire(clusterView, clusterCache);
}

void Block::passClusterBarrier(const View &all) {
  clusterView = all;
  clusterCache = {};
  clusterArrived = 0;
  ++clusterPassed;
  for (uint32_t i = 0; i < threads.size(); ++i)
    if (threads[i].state == ThreadState::cluster)
      wake(i);
}

const Barrier &Block::barrier(uint32_t id, uint32_t count, bool wait,
                              uint32_t predicate) {
  if (id >= kBarriers)
    fail(fmt::format("barrier {} does not exist; a block has barriers 0 to {}", id,
                     kBarriers - 1));
  uint32_t expected = count ? count : launch.block;
  if (count % kWarp || expected > (launch.block + kWarp - 1) / kWarp * kWarp)
    fail(fmt::format("barrier {} for {} threads: the count must be a multiple of "
                     "{} and at most the {} threads of the block",
                     id, count, kWarp, launch.block));
  Barrier &b = barriers[id];
  if (b.arrived && b.expected != expected)
    fail(fmt::format("barrier {} is used for {} threads here, while {} threads "
                     "wait at it for {}",
                     id, expected, b.arrived, b.expected));
  b.expected = expected;
  ++b.arrived;
  ++b.total;
  b.popc += predicate != 0;
  b.gathering.add(self().order);
  if (!wait)
    ++self().order.now;
  ++events;
  idlePolls = 0;
  if (b.arrived == expected) {
    b.lastPopc = b.popc;
    b.lastTotal = b.total;
    b.arrived = b.expected = b.popc = b.total = 0;
    std::vector<uint32_t> waiting;
    for (uint32_t i = 0; i < threads.size(); ++i)
      if (threads[i].state == ThreadState::barrier && threads[i].waitsAt == id) {
        waiting.push_back(i);
        wake(i);
      }
    if (wait)
      waiting.push_back(running);
    meet(b.gathering, waiting);
    // Runs after the others have had their turn, as likely as before them.
    if (wait)
      suspend(ThreadState::ready);
  } else if (wait) {
    self().waitsAt = id;
    suspend(ThreadState::barrier);
  }
  return b;
}

/// What everybody waits for.
std::string Block::deadlock() const {
  std::string text = fmt::format("block {}: deadlock: ", index);
  struct Group {
    std::string what;
    uint32_t first, count;
  };
  std::vector<Group> groups;
  for (uint32_t i = 0; i < threads.size(); ++i) {
    const Thread &t = threads[i];
    std::string what;
    switch (t.state) {
    case ThreadState::ready:
      what = "polling an mbarrier";
      break;
    case ThreadState::barrier:
      what = fmt::format("waiting at barrier {} ({} of {} threads have arrived)",
                         t.waitsAt, barriers[t.waitsAt].arrived,
                         barriers[t.waitsAt].expected);
      break;
    case ThreadState::warp:
      what = fmt::format("waiting in {} with mask {:#010x}", spelling(t.request.kind),
                         t.request.mask);
      break;
    case ThreadState::mbarrier: {
      const Mbarrier &m = mbarriers.at(t.waitsOn);
      what = fmt::format("waiting for phase {} of the mbarrier at {} ({} arrivals "
                         "and {} bytes are missing)",
                         t.waitsAt, where(t.waitsOn), m.pending, m.tx);
      break;
    }
    case ThreadState::cluster:
      what = fmt::format("waiting for its cluster ({} of {} threads of the block have "
                         "arrived)",
                         clusterArrived, launch.block);
      break;
    case ThreadState::done:
      what = "exited";
      break;
    }
    auto same = std::ranges::find(groups, what, &Group::what);
    if (same == groups.end())
      groups.push_back({what, i, 1});
    else
      ++same->count;
  }
  for (const Group &g : groups)
    text += fmt::format("{}{} thread{} {} (first: thread {})",
                        &g == groups.data() ? "" : "; ", g.count,
                        g.count == 1 ? "" : "s", g.what, g.first);
  return text;
}

/// An address as an offset in shared memory, where it is one.
std::string Block::where(const void *address) const {
  auto *p = static_cast<const std::byte *>(address);
  if (shared && p >= shared && p <= shared + launch.smem)
    return fmt::format("shared + {:#x}", p - shared);
  for (auto &[key, memory] : statics)
    if (p >= memory.data && p <= memory.data + memory.bytes)
      return fmt::format("static shared + {:#x}", p - memory.data);
  return fmt::format("{:#x}", reinterpret_cast<uintptr_t>(address));
}

bool Block::inShared(const void *address, uint64_t bytes) const {
  auto *p = static_cast<const std::byte *>(address);
  auto inside = [&](const std::byte *base, uint64_t size) {
    return p >= base && bytes <= size && uint64_t(p - base) <= size - bytes;
  };
  if (shared && inside(shared, launch.smem))
    return true;
  return std::ranges::any_of(statics, [&](const auto &entry) {
    return inside(entry.second.data, entry.second.bytes);
  });
}

} // namespace qlinear::emulated
