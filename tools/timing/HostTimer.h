//===- HostTimer.h - Times of calls on this machine -------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_TIMING_HOSTTIMER_H
#define QLINEAR_TOOLS_TIMING_HOSTTIMER_H

#include "GraphTimer.h"

namespace qlinear::timing {

/// Runs `body(i)` for i = 0, 1, ... as often as `replays` says, by the machine's clock;
/// two times before are not counted. `check` is called after each, outside of its time.
Result<Timing> timeOnHost(const Replays &replays,
                          const std::function<Result<void>(size_t)> &body,
                          const std::function<Result<void>()> &check = {});

/// Threads of a device of the runtime: 4 of "cpu:4", one per core of "cpu".
int threadsOf(const std::string &device);

} // namespace qlinear::timing
#endif
