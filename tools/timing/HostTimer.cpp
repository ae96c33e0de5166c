//===- HostTimer.cpp - Times of calls on this machine ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "HostTimer.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <tbb/info.h>

using namespace qlinear;
using namespace qlinear::timing;

Result<Timing> timing::timeOnHost(const Replays &replays,
                                  const std::function<Result<void>(size_t)> &body,
                                  const std::function<Result<void>()> &check) {
  using Clock = std::chrono::steady_clock;
  auto run = [&](size_t i) -> Result<double> {
    Clock::time_point start = Clock::now();
    if (Result<void> ran = body(i); !ran)
      return ran.takeError();
    double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (check)
      if (Result<void> good = check(); !good)
        return good.takeError();
    return seconds;
  };
  for (size_t i = 0; i < 2; ++i) // wakes the threads, faults pages in
    if (Result<double> ran = run(i); !ran)
      return ran.takeError();
  std::vector<double> samples;
  double total = 0;
  while (samples.size() < replays.least ||
         (total < replays.seconds && samples.size() < replays.most)) {
    Result<double> seconds = run(samples.size());
    if (!seconds)
      return seconds.takeError();
    samples.push_back(*seconds);
    total += *seconds;
  }
  return summarize(std::move(samples));
}

int timing::threadsOf(const std::string &device) {
  int threads = tbb::info::default_concurrency();
  size_t colon = device.rfind(':');
  if (colon != std::string::npos)
    std::from_chars(device.data() + colon + 1, device.data() + device.size(), threads);
  return std::max(threads, 1);
}
