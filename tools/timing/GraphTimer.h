//===- GraphTimer.h - Times of CUDA graphs ----------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What quant-run --bench, quant-bench, quant-tune and benchmarks/gpu measure by:
// launches captured into a graph, its replays timed with events. Through the driver
// that the runtime opens; no CUDA toolkit is needed.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_TIMING_GRAPHTIMER_H
#define QLINEAR_TOOLS_TIMING_GRAPHTIMER_H

#include "../../runtime/src/cuda/Driver.h"
#include "qlinear/Encoding/Result.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace qlinear::timing {

/// Seconds; sorted samples reduced.
struct Timing {
  double median = 0, least = 0, most = 0;
  size_t samples = 0;
};
Timing summarize(std::vector<double> seconds);

/// How often a graph is replayed: at least `least` times, then on until `seconds` have
/// passed or it was `most` times; two replays before are not counted.
struct Replays {
  size_t least = 15, most = 200;
  double seconds = 1;
};

/// Copies of a weight that together exceed the caches of every GPU and of this machine,
/// so that none is there when its turn comes: at least two, and at most 256, for tests
/// with small ones.
size_t copiesPastCaches(uint64_t bytes);

/// The primary context of a device, current on this thread, with a stream.
class GraphTimer {
public:
  /// `device` as for qlr_device_open: "cuda", "cuda:1".
  static Result<std::unique_ptr<GraphTimer>> open(const std::string &device);
  ~GraphTimer();
  GraphTimer(const GraphTimer &) = delete;
  GraphTimer &operator=(const GraphTimer &) = delete;

  runtime::cuda::Stream stream() const { return work; }
  const runtime::cuda::Driver &driver() const { return *api; }
  int multiprocessors() const { return sms; }
  const std::string &deviceName() const { return name; }

  /// Captures what `enqueue` puts on stream() and times replays of it. `check` is
  /// called after each replay has ended, outside of its time; to find the caches as a
  /// replay leaves them, one that is neither timed nor checked goes before each timed
  /// one.
  Result<Timing> time(const Replays &replays,
                      const std::function<Result<void>()> &enqueue,
                      const std::function<Result<void>()> &check = {});
  /// Replays it `times` times without timing, with `check` after each.
  Result<void> repeat(size_t times, const std::function<Result<void>()> &enqueue,
                      const std::function<Result<void>()> &check);

  /// Enqueued on stream() after each timed replay, outside of its time, before `check`.
  std::function<Result<void>()> afterReplay;

private:
  GraphTimer() = default;
  Result<void> start(int ordinal);
  Result<void>
  capture(const std::function<Result<void>()> &enqueue,
          const std::function<Result<void>(runtime::cuda::GraphExec)> &use);
  Result<Timing> replay(runtime::cuda::GraphExec exec, const Replays &replays,
                        const std::function<Result<void>()> &check);

  std::shared_ptr<const runtime::cuda::Driver> api;
  runtime::cuda::DeviceId device = 0;
  runtime::cuda::Stream work = nullptr;
  runtime::cuda::Event events[2] = {};
  bool retained = false, current = false;
  int sms = 0;
  std::string name;
};

} // namespace qlinear::timing
#endif
