//===- Emulated.cpp - Launches on the emulated device --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Block.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>

#include <fmt/format.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

namespace qlinear::emulated {

namespace {

/// Runs blocks one after the other; blocks of a cluster take turns.
class Runner {
public:
  Runner(const Launch &launch, ThreadFunction thread, void *const *params)
      : launch(launch), thread(thread), params(params) {}

  /// Runs block `index` with its cluster, and marks the blocks that have run in `done`.
  Result<void> run(uint32_t index, std::vector<char> &done) {
    if (done[index])
      return {};
    if (Result<void> room = makeRoom(1); !room)
      return room;
    Block &first = *blocks[0];
    slots.clear();
    first.load(index, slots);
    first.advance();
    uint32_t size = first.ended() ? 1 : first.clusterSize();
    if (Result<void> room = makeRoom(size); !room)
      return room;
    uint32_t base = index - index % size;
    std::vector<Block *> cluster(size);
    for (uint32_t rank = 0, spare = 1; rank < size; ++rank) {
      cluster[rank] = base + rank == index ? &first : blocks[spare++].get();
      if (cluster[rank] != &first)
        cluster[rank]->load(base + rank, slots);
      done[base + rank] = true;
    }
    for (Block *block : cluster)
      block->joinCluster(cluster);
    takeTurns(cluster);
    std::string message;
    for (Block *block : cluster)
      if (std::string text = block->end(); message.empty())
        message = std::move(text);
    if (message.empty())
      return {};
    return error(std::move(message));
  }

private:
  static void takeTurns(const std::vector<Block *> &cluster) {
    for (uint64_t events = 0;;) {
      bool allEnded = true, allArrived = true;
      uint64_t before = events;
      events = 0;
      for (Block *block : cluster) {
        if (!block->ended())
          block->advance();
        if (block->failed())
          return;
        allEnded &= block->ended();
        allArrived &= block->atClusterBarrier();
        events += block->events;
      }
      if (allEnded)
        return;
      if (!allArrived && events != before)
        continue;
      if (!allArrived)
        return (*std::ranges::find_if_not(cluster, &Block::ended))->failInCluster();
      View all;
      for (Block *block : cluster) {
        View view = block->clusterGathering();
        all = {join(all.generic, view.generic), join(all.async, view.async)};
      }
      for (Block *block : cluster)
        block->passClusterBarrier(all);
    }
  }

  /// Has at least `count` blocks ready for use.
  Result<void> makeRoom(uint32_t count) {
    while (blocks.size() < count) {
      Result<Stacks> memory = Stacks::allocate(launch.block);
      if (!memory)
        return error(memory.error());
      stacks.push_back(std::make_unique<Stacks>(std::move(*memory)));
      blocks.push_back(std::make_unique<Block>(launch, thread, params, *stacks.back()));
    }
    return {};
  }

  const Launch &launch;
  ThreadFunction thread;
  void *const *params;
  std::vector<std::unique_ptr<Stacks>> stacks;
  std::vector<std::unique_ptr<Block>> blocks;
  Slots slots; ///< of the running cluster
};

} // namespace

Result<void> run(const Launch &launch, ThreadFunction thread, void *const *params) {
  if (launch.block == 0 || launch.block > 1024)
    return error(fmt::format("kernel {}: blocks of {} threads; a block has 1 to "
                             "1024",
                             launch.kernel, launch.block));
  if (launch.smem > kMaxSharedBytes)
    return error(fmt::format("kernel {}: {} bytes of shared memory; a block has "
                             "at most {}",
                             launch.kernel, launch.smem, kMaxSharedBytes));

  std::mutex mutex;
  std::string message;
  std::atomic<uint32_t> failed = launch.grid; // the lowest block that failed
  std::vector<char> done(launch.grid);
  auto runBlocks = [&](uint32_t begin, uint32_t end, auto &&block) {
    auto report = [&](uint32_t index, std::string text) {
      std::lock_guard lock(mutex);
      if (index < failed) {
        failed = index;
        message = fmt::format("kernel {}, {}", launch.kernel, text);
        if (launch.seed)
          message += fmt::format(" (with seed {0}: device emulated:{0} repeats it)",
                                 launch.seed);
      }
    };
    Runner runner(launch, thread, params);
    for (uint32_t i = begin; i < end && failed == launch.grid; ++i)
      if (Result<void> result = runner.run(block(i), done); !result)
        report(block(i), result.error());
  };

  if (launch.seed || launch.grid == 1) {
    std::vector<uint32_t> order(launch.grid);
    std::iota(order.begin(), order.end(), 0);
    std::mt19937_64 random(launch.seed);
    if (launch.seed)
      std::shuffle(order.begin(), order.end(), random);
    runBlocks(0, launch.grid, [&](uint32_t i) { return order[i]; });
  } else {
    // One piece per worker, stacks are allocated once per piece; no piece ends within
    // a cluster, whatever its size.
    uint32_t groups = (launch.grid + kMaxCluster - 1) / kMaxCluster;
    uint32_t pieces = std::min<uint32_t>(
        groups, std::max(1, tbb::this_task_arena::max_concurrency()));
    auto start = [&](uint32_t p) {
      return std::min<uint32_t>(launch.grid, groups * p / pieces * kMaxCluster);
    };
    tbb::parallel_for(0u, pieces, [&](uint32_t p) {
      runBlocks(start(p), start(p + 1), [](uint32_t i) { return i; });
    });
  }
  if (!message.empty())
    return error(message);
  return {};
}

} // namespace qlinear::emulated
