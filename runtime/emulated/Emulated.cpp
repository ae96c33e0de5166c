//===- Emulated.cpp - Launches on the emulated device --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Block.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>
#include <random>

#include <fmt/format.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

namespace qlinear::emulated {

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
  auto runBlocks = [&](uint32_t begin, uint32_t end, auto &&block) {
    auto report = [&](uint32_t index, std::string text) {
      std::lock_guard lock(mutex);
      if (index < failed) {
        failed = index;
        message = fmt::format("kernel {}, {}", launch.kernel, text);
      }
    };
    Result<Stacks> stacks = Stacks::allocate(launch.block);
    if (!stacks)
      return report(begin, stacks.error());
    Block runner(launch, thread, params, *stacks);
    for (uint32_t i = begin; i < end && failed == launch.grid; ++i)
      if (std::string text = runner.run(block(i)); !text.empty())
        report(block(i), std::move(text));
  };

  if (launch.seed || launch.grid == 1) {
    std::vector<uint32_t> order(launch.grid);
    std::iota(order.begin(), order.end(), 0);
    std::mt19937_64 random(launch.seed);
    if (launch.seed)
      std::shuffle(order.begin(), order.end(), random);
    runBlocks(0, launch.grid, [&](uint32_t i) { return order[i]; });
  } else {
    // One piece per worker: stacks are allocated once per piece.
    uint32_t pieces = std::min<uint32_t>(
        launch.grid, std::max(1, tbb::this_task_arena::max_concurrency()));
    tbb::parallel_for(0u, pieces, [&](uint32_t p) {
      runBlocks(uint64_t(launch.grid) * p / pieces,
                uint64_t(launch.grid) * (p + 1) / pieces, [](uint32_t i) { return i; });
    });
  }
  if (!message.empty())
    return error(message);
  return {};
}

} // namespace qlinear::emulated
