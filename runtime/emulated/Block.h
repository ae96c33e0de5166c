//===- Block.h - A thread block of the emulated device ----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block runs on one OS thread. Its scheduler switches to a ready fiber, which
// runs until it waits, exits or fails; only then does another one run, so no
// state here needs a lock.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_EMULATED_BLOCK_H
#define QLINEAR_RUNTIME_EMULATED_BLOCK_H

#include "Emulated.h"
#include "Races.h"

#include <cstddef>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace qlinear::emulated {

inline constexpr uint32_t kWarp = 32;
inline constexpr uint32_t kBarriers = 16;
inline constexpr uint32_t kMaxCluster = 8; ///< blocks, on every GPU

enum class ThreadState : uint8_t { ready, barrier, warp, mbarrier, cluster, done };

/// The operands of one thread in a warp-wide operation.
struct WarpRequest {
  enum class Kind : uint8_t { shuffle, vote, redux, match, sync, mma, ldmatrix };
  Kind kind = Kind::sync;
  int mode = 0;
  uint32_t mask = 0, value = 0, b = 0, c = 0;
  uint32_t result = 0;
  bool valid = true;
  // Operands of matrix operations, in the waiting lane's memory.
  const void *in[2] = {};
  uint32_t *out = nullptr;
};
const char *spelling(WarpRequest::Kind kind);

struct Copy {
  std::byte *dst;
  const std::byte *src;
  uint32_t bytes, srcBytes;
  const Site *site;
};

/// Copies of one thread that complete in groups: cp.async and bulk stores.
struct CopyGroups {
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> committed;
  Slot slot = kNobody;
  Label label = 1; ///< of the open group; those before are labelled downwards
  /// The newest group that has completed.
  Label landed() const { return label - 1 - Label(committed.size()); }
};

/// Products of a thread's group of warps (wgmma), which read shared memory.
struct Products {
  Slot slot = kNobody;
  Label label = 1;                 ///< of the open group
  Label landed = 0;                ///< the newest that it has waited for
};

struct Thread {
  void *context = nullptr;   ///< of the suspended fiber
  void *fakeStack = nullptr; ///< AddressSanitizer's
  ThreadState state = ThreadState::ready;
  uint32_t waitsAt = 0;          ///< barrier id, or mbarrier parity
  const void *waitsOn = nullptr; ///< mbarrier
  uint32_t clusterArrivals = 0, clusterWaits = 0;
  WarpRequest request;
  CopyGroups copies, stores;
  Products products;
  Observer order;
};

/// Who has which slots, in a cluster.
class Slots {
public:
  enum class Kind : uint8_t { thread, load, bulkLoad, bulkStore, products, launches };
  struct Range {
    Slot first, end;
    Kind kind;
    uint32_t block;
    uint32_t thread; ///< of the first slot
  };
  /// The first of `count` new slots.
  Slot add(Kind kind, uint32_t count, uint32_t block, uint32_t thread = 0);
  /// Slots of the same kind start at multiples of 32 where they are threads.
  const Range &of(Slot slot) const;
  void clear() { ranges.clear(); }

private:
  std::vector<Range> ranges;
};

/// A hardware barrier (bar.sync).
struct Barrier {
  uint32_t arrived = 0, expected = 0;
  uint32_t popc = 0, total = 0; ///< of the predicates of bar.red
  uint32_t lastPopc = 0, lastTotal = 0;
  Gathering gathering;
};

/// An mbarrier object; the eight bytes in shared memory hold only a signature.
struct Mbarrier {
  uint32_t count = 0, pending = 0;
  int64_t tx = 0;
  bool phase = false;
  uint64_t signature = 0;
  Slot copies = kNobody; ///< of the bulk copies that count on it
  Label label = 1;       ///< of those of this phase
  Copy last = {};        ///< of them
  Label lastLabel = 0;
  Slot initBy = kNobody;
  Label initLabel = 0, initFenced = 0; ///< 0: no fence yet
  Gathering arrived;                   ///< in this phase
  View released;                       ///< by those before
  JoinCache cache;
};

struct BulkCopy : Copy {
  void *mbarrier;
  Label label;
  uint32_t total; ///< bytes, where some have landed
};

/// An access of another block of the cluster.
struct RemoteAccess {
  Slot slot;
  Label label;
  uint64_t offset;
  const Site *site;
};

/// Memory for the fibers' stacks, with a guard page below each.
class Stacks {
public:
  static Result<Stacks> allocate(uint32_t count);
  Stacks(Stacks &&other) noexcept;
  Stacks &operator=(Stacks &&) = delete;
  ~Stacks();
  std::byte *bottom(uint32_t index) const;
  static size_t size();

private:
  Stacks(std::byte *base, uint32_t count) : base(base), count(count) {}
  std::byte *base;
  uint32_t count;
};

class Block {
public:
  Block(const Launch &launch, ThreadFunction function, void *const *params,
        const Stacks &stacks);
  ~Block();
  Block(const Block &) = delete;

  /// Starts block `index`, whose threads and copies get slots of its cluster.
  void load(uint32_t index, Slots &slots);
  /// Runs its threads until they have ended, failed, or wait for the other blocks of
  /// the cluster.
  void advance();
  bool ended() const { return !alive || failed(); }
  bool failed() const { return !error.empty(); }
  /// Checks and frees what the block leaves; the message of an error, or "".
  std::string end();

  /// Blocks of its cluster, which it names at its first arrival (1 before).
  uint32_t clusterSize() const { return cluster; }
  /// All blocks of the cluster in the order of their rank, from when they run.
  void joinCluster(std::vector<Block *> blocks) { peers = std::move(blocks); }
  /// Whether all threads have arrived at the cluster's next barrier.
  bool atClusterBarrier() const { return clusterArrived == launch.block; }
  /// The union of what its threads knew when they arrived.
  View clusterGathering() { return clusterArrivals.take(); }
  void passClusterBarrier(const View &all);
  void failInCluster() { error = deadlock(); }

  /// The block whose thread is running on this OS thread.
  static Block &current();

  const Launch &launch;
  uint32_t index = 0;
  uint64_t events = 0;

  uint32_t tid() const { return running; }
  Thread &self() { return threads[running]; }
  std::byte *dynamicShared() const { return shared; }
  std::byte *staticShared(const void *key, uint64_t bytes, uint32_t align);

  /// Ends the launch with an error at the running thread.
  [[noreturn]] void fail(std::string message);

  // Accesses of memory (Order.cpp).
  void accessShared(const void *at, uint64_t bytes, bool writes, const Site *site);
  void accessAny(const void *at, uint64_t bytes, bool writes, const Site *site);
  void accessGlobal(const void *at, uint64_t bytes, bool writes, const Site *site);
  void waitForLaunches();

  // Warp-wide operations (Warp.cpp).
  const WarpRequest &warp(const WarpRequest &request);
  uint32_t activeMask() const;
  void multiplyMatrices(uint32_t base, int k);
  void multiplyHalves(uint32_t base);
  void loadMatrices(uint32_t base);

  // Barriers.
  const Barrier &barrier(uint32_t id, uint32_t count, bool wait, uint32_t predicate);

  // Clusters.
  void arriveAtCluster(uint32_t size);
  void waitForCluster();
  void arriveInCluster(void *at, uint32_t rank, const Site *site);
  void bulkLoadInCluster(const Copy &copy, void *mbarrier, uint32_t rank);
  void *accessInCluster(const void *at, uint64_t bytes, uint32_t rank, bool writes,
                        const Site *site);

  // Asynchronous copies (Async.cpp).
  void checkCopy(const char *what, const void *shared, const void *global,
                 uint64_t bytes, uint32_t align);
  void asyncLoad(const Copy &copy);
  void bulkStore(const Copy &copy);
  void commit(CopyGroups &groups);
  void waitForLoads(int pending);
  void waitForStores(int pending);
  void readByProducts(const void *at, uint64_t bytes, const Site *site);
  void waitForProducts(int pending);
  void arriveByLoads(void *at, bool counted, const Site *site);
  void bulkLoad(const Copy &copy, void *mbarrier);
  void initMbarrier(void *at, uint32_t count, const Site *site);
  void fenceMbarriers();
  void invalidateMbarrier(void *at, const Site *site);
  uint64_t arrive(void *at, uint32_t count, uint32_t bytes, bool drop,
                  const Site *site);
  void completeTx(void *at, uint32_t bytes, const Site *site);
  bool phaseOver(void *at, bool phase, bool mayWait, const Site *site);

private:
  static void enter(void *block);
  void start(uint32_t thread);
  void resume(uint32_t thread);
  void suspend(ThreadState state); ///< of the running thread
  void wake(uint32_t thread);
  void finish();
  [[noreturn]] void leave();
  /// An error that is not the running thread's.
  void report(std::string message);
  std::string deadlock() const;
  std::string where(const void *address) const;
  bool inShared(const void *address, uint64_t bytes) const;
  void checkExit();

  bool meets(uint32_t base, const WarpRequest &mine);
  void combine(uint32_t base, uint32_t mask);

  /// Where shared memory has `bytes` bytes from `address` on; null: nowhere.
  struct Place {
    Shadow *shadow;
    uint64_t offset;
  };
  Place place(const void *address, uint64_t bytes);
  void access(const Actor &actor, bool writes, Place place, uint64_t bytes);
  Actor actor(const Site *site) {
    return {self().order.self, self().order.now, &self().order, false, site};
  }
  std::string nameOf(Slot slot) const;
  std::string race(const Actor &actor, uint64_t bytes, uint64_t offset, bool isStatic,
                   const Conflict &conflict) const;
  void meet(Gathering &gathering, const std::vector<uint32_t> &threads);

  /// Another block of the cluster, or this one, which has started and not ended, and
  /// where it has what is at `at` here.
  Block &peerOf(uint32_t rank, const Site *site);
  std::byte *placeIn(Block &peer, const void *at, const Site *site);
  Mbarrier &mbarrier(const char *what, const void *at);
  Mbarrier &useMbarrier(const char *what, const void *at, const Site *site);
  void settle(Mbarrier &m, const void *at);
  void launchCopy(const Copy &copy, void *at, Mbarrier &m);
  bool landCopies(const void *mbarrier);
  bool landSome();
  void land(const Copy &copy);
  void wait(CopyGroups &groups, int pending);

  ThreadFunction function;
  void *const *params;
  const Stacks &stacks;
  std::vector<Thread> threads;
  std::deque<uint32_t> ready;
  uint32_t running = 0, alive = 0;
  void *scheduler = nullptr; ///< context of advance()
  void *schedulerFakeStack = nullptr;
  const void *schedulerStack = nullptr;
  size_t schedulerStackSize = 0;
  std::mt19937_64 random;
  std::string error;

  std::byte *shared = nullptr;
  Shadow shadow;
  struct StaticShared {
    std::byte *data;
    uint64_t bytes;
    Shadow shadow;
  };
  std::map<const void *, StaticShared> statics;
  Barrier barriers[kBarriers];
  std::map<const void *, Mbarrier> mbarriers;
  std::vector<BulkCopy> inFlight;
  uint64_t idlePolls = 0;

  Slots *slots = nullptr;
  uint32_t cluster = 1, clusterArrived = 0, clusterPassed = 0;
  std::vector<Block *> peers;
  Gathering clusterArrivals;
  View clusterView;
  JoinCache clusterCache;
  std::vector<RemoteAccess> remote; ///< the newest of each thread
  Slot launches = kNobody;          ///< the launches before a dependent one
  View waited;                      ///< what a wait for them tells
  JoinCache waitCache;
  Gathering exits;
};

/// AddressSanitizer, where the process has it; no effect elsewhere.
namespace asan {
void poison(const void *address, size_t bytes);
void unpoison(const void *address, size_t bytes);
/// The first byte of the range that must not be touched, or null.
const void *poisonedByte(const void *address, size_t bytes);
void startSwitch(void **fakeStack, const void *bottom, size_t bytes);
void finishSwitch(void *fakeStack, const void **bottom, size_t *bytes);
} // namespace asan

} // namespace qlinear::emulated
#endif
