//===- Teams.h - Threads that share the work of a launch --------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// On a machine whose cores have memory of their own, in nodes, a thread should read the
// same weights in every call: what it once touched first lies in its node. So each node
// has a team of threads, which oneTBB keeps there, and a range of the work. Which
// thread of a team does which part of that makes no difference to memory.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_TEAMS_H
#define QLINEAR_RUNTIME_TEAMS_H

#include <cstdint>
#include <deque>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#include <vector>

namespace qlinear::runtime {

class Teams {
public:
  /// A team of so many threads for each size; where a node is named (that is, on a
  /// machine that has several), of that node.
  struct Team {
    int threads;
    tbb::numa_node_id node = tbb::task_arena::automatic;
  };
  explicit Teams(const std::vector<Team> &teams) {
    for (const Team &team : teams) {
      // The caller works with the first team.
      unsigned reserved = arenas.empty() ? 1 : 0;
      tbb::task_arena::constraints where(team.node, team.threads);
      arenas.emplace_back(where, reserved);
      ends.push_back((ends.empty() ? 0 : ends.back()) + team.threads);
    }
  }
  int threads() const { return int(ends.back()); }

  /// `threads` over the nodes of this machine, to each in proportion to its cores.
  /// Where nodes are not known (oneTBB asks hwloc, if there is its libtbbbind), or
  /// cores are fewer than threads, all are one team.
  static std::vector<Team> ofMachine(int threads) {
    std::vector<tbb::numa_node_id> nodes = tbb::info::numa_nodes();
    std::vector<int> cores;
    for (tbb::numa_node_id node : nodes)
      cores.push_back(tbb::info::default_concurrency(node));
    std::vector<Team> teams;
    for (auto [i, size] : shares(threads, cores))
      teams.push_back({size, nodes[i]});
    return teams.size() < 2 ? std::vector<Team>{{threads}} : teams;
  }

  /// Which node gets how many of the threads, in proportion to its cores; none are left
  /// without. Nothing if there are more threads than cores.
  static std::vector<std::pair<size_t, int>> shares(int threads,
                                                    const std::vector<int> &cores) {
    int64_t all = 0, before = 0;
    for (int count : cores)
      all += count;
    std::vector<std::pair<size_t, int>> result;
    for (size_t i = 0; i < cores.size() && threads <= all; ++i) {
      int64_t first = threads * before / all;
      before += cores[i];
      if (int size = int(threads * before / all - first))
        result.emplace_back(i, size);
    }
    return result;
  }

  /// Calls body(p) for each p below `parts`, which are at most threads(), each team
  /// with the same range of them in every call of so many.
  template <typename F> void run(int64_t parts, const F &body) {
    auto ofTeam = [&](size_t i) {
      auto at = [&](int64_t thread) { return parts * thread / ends.back(); };
      int64_t first = at(i ? ends[i - 1] : 0), last = at(ends[i]);
      tbb::parallel_for(first, last, body, tbb::static_partitioner());
    };
    std::vector<tbb::task_group> others(arenas.size() -
                                        1); // allocates none for one team
    for (size_t i = 1; i < arenas.size(); ++i)
      arenas[i].execute([&] { others[i - 1].run([&ofTeam, i] { ofTeam(i); }); });
    arenas[0].execute([&] { ofTeam(0); });
    for (size_t i = 1; i < arenas.size(); ++i)
      arenas[i].execute([&] { others[i - 1].wait(); });
  }

private:
  std::deque<tbb::task_arena> arenas;
  std::vector<int64_t> ends; ///< of each team's threads among all
};

} // namespace qlinear::runtime
#endif
