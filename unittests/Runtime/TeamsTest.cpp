//===- TeamsTest.cpp - Threads of several nodes ---------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Machines with several nodes are rare where tests run: teams are tested without the
// nodes that they would be bound to.
//
//===----------------------------------------------------------------------===//
#include "../../runtime/src/Teams.h"

#include <gtest/gtest.h>

#include <atomic>
#include <tbb/global_control.h>
#include <thread>

using qlinear::runtime::Teams;

namespace {

/// Threads even where there are fewer cores.
const tbb::global_control kThreads(tbb::global_control::max_allowed_parallelism, 16);

using Shares = std::vector<std::pair<size_t, int>>;

TEST(TeamsTest, NodesShareThreadsByTheirCores) {
  EXPECT_EQ(Teams::shares(8, {4, 4}), (Shares{{0, 4}, {1, 4}}));
  EXPECT_EQ(Teams::shares(6, {8, 4}), (Shares{{0, 4}, {1, 2}}));
  EXPECT_EQ(Teams::shares(3, {2, 2, 2, 2}), (Shares{{1, 1}, {2, 1}, {3, 1}}));
  EXPECT_EQ(Teams::shares(1, {4, 4}), (Shares{{1, 1}}));
  EXPECT_EQ(Teams::shares(5, {0, 8}), (Shares{{1, 5}})) << "a node of memory only";
  EXPECT_EQ(Teams::shares(9, {4, 4}), Shares()) << "more threads than cores";
  for (int a = 0; a < 9; ++a)
    for (int b = 1; b < 9; ++b)
      for (int threads = 1; threads <= a + b + 3; ++threads) {
        int sum = 0;
        for (auto [node, count] : Teams::shares(threads, {a, b, 3})) {
          EXPECT_LE(count, node == 0 ? a : node == 1 ? b : 3);
          sum += count;
        }
        EXPECT_EQ(sum, threads) << a << " " << b;
      }
}

TEST(TeamsTest, ThisMachine) {
  for (int threads : {1, 2, 3, 64}) {
    int sum = 0;
    for (const Teams::Team &team : Teams::ofMachine(threads))
      sum += team.threads;
    EXPECT_EQ(sum, threads);
  }
}

TEST(TeamsTest, EveryPartRunsOnce) {
  for (const std::vector<Teams::Team> &sizes :
       {std::vector<Teams::Team>{{1}}, {{3}}, {{2}, {2}}, {{1}, {5}, {2}}}) {
    Teams teams(sizes);
    for (int64_t parts = 1; parts <= teams.threads(); ++parts)
      for (int repeat = 0; repeat < 20; ++repeat) {
        std::vector<std::atomic<int>> ran(parts);
        teams.run(parts, [&](int64_t p) { ++ran[p]; });
        for (int64_t p = 0; p < parts; ++p)
          ASSERT_EQ(ran[p], 1) << "part " << p << " of " << parts;
      }
  }
}

TEST(TeamsTest, ATeamHasTheSamePartsInEveryCall) {
  Teams teams({{1}, {2}, {3}}); // told apart by their sizes
  for (int repeat = 0; repeat < 50; ++repeat) {
    auto teamsOf = [&](int64_t parts) {
      std::vector<int> sizes(parts);
      teams.run(parts,
                [&](int64_t p) { sizes[p] = tbb::this_task_arena::max_concurrency(); });
      return sizes;
    };
    EXPECT_EQ(teamsOf(6), (std::vector<int>{1, 2, 2, 3, 3, 3}));
    EXPECT_EQ(teamsOf(3), (std::vector<int>{2, 3, 3}));
  }
}

TEST(TeamsTest, SeveralCallersAtOnce) {
  Teams teams({{2}, {2}});
  std::vector<int64_t> sums(4);
  std::vector<std::thread> callers;
  for (int64_t &sum : sums)
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 200; ++repeat) {
        std::atomic<int64_t> here = 0;
        teams.run(4, [&](int64_t p) { here += p + 1; });
        sum += here;
      }
    });
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(sums, std::vector<int64_t>(4, 200 * 10));
}

} // namespace
