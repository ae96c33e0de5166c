//===- Series.h - Calls in a row, checked and timed -------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_TIMING_SERIES_H
#define QLINEAR_TOOLS_TIMING_SERIES_H

#include "Results.h"
#include "TimedLinear.h"

namespace qlinear::timing {

/// The calls that were checked, and the wrong ones among them.
struct Verdict {
  size_t calls = 0, wrong = 0;
  double error = 0;  ///< largest Judgement::error of any call
  std::string first; ///< what is wrong with the first wrong one
  void add(const Verdict &other);
};

/// Calls one after the other on one stream, as the layers of a model. The first time
/// each result is compared with float64, every other time bit by bit with the first.
class Series {
public:
  struct Call {
    const TimedLinear *linear;
    size_t copy;
  };
  /// `lane` as for TimedLinear::enqueue.
  static Result<std::unique_ptr<Series>> create(Device &device, std::vector<Call> calls,
                                                int64_t rows, size_t lane = 0);

  /// Runs it for the first time.
  Result<void> verify();
  /// Enqueues it once; compare() is to follow.
  Result<void> enqueue(void *stream) const;
  /// Waits for the device's stream and compares.
  Result<void> compare();
  /// The time of the whole series as a graph, checked after each replay. On a device
  /// without graphs it runs once and takes no time.
  Result<Timing> time(const Replays &replays);
  /// The same on a device that has no graphs, by this machine's clock.
  Result<Timing> timeOnHost(const Replays &replays);

  /// Runs and compares it `times` times; as replays of a graph where there are graphs
  /// and `asGraph` is set.
  Result<void> repeat(size_t times, bool asGraph);

  size_t size() const { return calls.size(); }
  const Verdict &verdict() const { return found; }

private:
  Series(Device &device, std::vector<Call> calls, int64_t rows, size_t lane)
      : device(device), calls(std::move(calls)), rows(rows), lane(lane) {}
  void fault(size_t call, const std::string &how);

  Device &device;
  std::vector<Call> calls;
  int64_t rows;
  size_t lane;
  std::unique_ptr<Results> results;
  Verdict found;
};

} // namespace qlinear::timing
#endif
