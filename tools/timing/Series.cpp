//===- Series.cpp - Calls in a row, checked and timed ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Series.h"
#include "HostTimer.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <map>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::timing;

/// Wrong results that are compared with float64 for the size of their error; where
/// everything is wrong, that would take long.
static constexpr size_t kJudged = 32;

void Verdict::add(const Verdict &other) {
  if (!wrong)
    first = other.first;
  calls += other.calls;
  wrong += other.wrong;
  error = std::max(error, other.error);
}

Result<std::unique_ptr<Series>> Series::create(Device &device, std::vector<Call> calls,
                                               int64_t rows, size_t lane) {
  std::unique_ptr<Series> series(new Series(device, std::move(calls), rows, lane));
  std::vector<size_t> bytes;
  for (const Call &call : series->calls)
    bytes.push_back(call.linear->resultBytes(rows));
  Result<std::unique_ptr<Results>> results = Results::create(device, bytes);
  if (!results)
    return results.takeError();
  series->results = std::move(*results);
  return series;
}

Result<void> Series::enqueue(void *stream) const {
  for (size_t i = 0; i < calls.size(); ++i)
    if (Result<void> enqueued =
            calls[i].linear->enqueue(calls[i].copy, rows, results->at(i), stream, lane);
        !enqueued)
      return enqueued;
  return {};
}

void Series::fault(size_t call, const std::string &how) {
  if (++found.wrong == 1)
    found.first = fmt::format("call {} of {}: {}", call + 1, calls.size(), how);
}

Result<void> Series::verify() {
  if (Result<void> enqueued = enqueue(device.stream()); !enqueued)
    return enqueued;
  std::vector<std::vector<std::byte>> all;
  for (size_t i = 0; i < calls.size(); ++i) {
    Result<std::vector<std::byte>> bytes = results->read(i);
    if (!bytes)
      return bytes.takeError();
    all.push_back(std::move(*bytes));
  }
  std::vector<Judgement> judged(calls.size());
  tbb::parallel_for(size_t(0), calls.size(), [&](size_t i) {
    judged[i] = calls[i].linear->judge(calls[i].copy, rows, all[i]);
  });
  std::map<std::pair<const TimedLinear *, size_t>, size_t> firsts;
  for (size_t i = 0; i < calls.size(); ++i) {
    ++found.calls;
    found.error = std::max(found.error, judged[i].error);
    if (judged[i].wrong) {
      fault(i, fmt::format("{} of {} results are wrong: {}", judged[i].wrong,
                           judged[i].results, judged[i].first));
      continue;
    }
    auto [first, isFirst] = firsts.try_emplace({calls[i].linear, calls[i].copy}, i);
    if (!isFirst && all[i] != all[first->second])
      fault(i, fmt::format("differs in bits from call {} with the same weights",
                           first->second + 1));
  }
  return results->keep();
}

Result<void> Series::compare() {
  Result<std::vector<size_t>> differing = results->compare();
  if (!differing)
    return differing.takeError();
  found.calls += calls.size();
  for (size_t i : *differing) {
    if (found.wrong >= kJudged) {
      fault(i, "");
      continue;
    }
    Result<std::vector<std::byte>> bytes = results->readDiffering(i);
    if (!bytes)
      return bytes.takeError();
    Judgement j = calls[i].linear->judge(calls[i].copy, rows, *bytes);
    found.error = std::max(found.error, j.error);
    fault(i, fmt::format("differs in bits from the first time; {} of {} results are "
                         "beyond the bound{}{}",
                         j.wrong, j.results, j.wrong ? ": " : "", j.first));
  }
  return {};
}

Result<void> Series::repeat(size_t times, bool asGraph) {
  auto put = [&] { return enqueue(device.stream()); };
  auto check = [&] { return compare(); };
  if (asGraph && device.timer())
    return device.timer()->repeat(times, put, check);
  for (size_t i = 0; i < times; ++i) {
    Result<void> done = put();
    if (done)
      done = check();
    if (!done)
      return done;
  }
  return {};
}

Result<Timing> Series::time(const Replays &replays) {
  if (device.timer())
    return device.timer()->time(
        replays, [&] { return enqueue(device.stream()); }, [&] { return compare(); });
  if (Result<void> done = repeat(1, false); !done)
    return done.takeError();
  return Timing{};
}

Result<Timing> Series::timeOnHost(const Replays &replays) {
  return timing::timeOnHost(
      replays, [&](size_t) { return enqueue(device.stream()); },
      [&] { return compare(); });
}
