//===- GraphTimer.cpp - Times of CUDA graphs ------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GraphTimer.h"

#include <algorithm>
#include <charconv>
#include <unistd.h>

using namespace qlinear;
using namespace qlinear::timing;
namespace cuda = qlinear::runtime::cuda;

/// GPUs' caches are below 128 MB.
static constexpr uint64_t kRotation = uint64_t(320) << 20;

Timing timing::summarize(std::vector<double> s) {
  std::sort(s.begin(), s.end());
  return {s[s.size() / 2], s.front(), s.back(), s.size()};
}

size_t timing::copiesPastCaches(uint64_t bytes) {
  long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  uint64_t wanted = std::max(kRotation, 2 * uint64_t(std::max(cache, 0L)));
  return size_t(std::clamp<uint64_t>((wanted + bytes - 1) / bytes, 2, 256));
}

static Result<void> toResult(runtime::Status status) {
  if (!status)
    return error(std::move(status.message));
  return {};
}

/// Returns from the enclosing function if the driver's call failed.
#define TRY_CUDA(symbol, ...)                                                          \
  if (Result<void> r = toResult(QLR_CUDA(*api, symbol, __VA_ARGS__)); !r)              \
  return r.takeError()

Result<std::unique_ptr<GraphTimer>> GraphTimer::open(const std::string &name) {
  int ordinal = 0;
  if (size_t colon = name.find(':'); colon != std::string::npos)
    std::from_chars(name.data() + colon + 1, name.data() + name.size(), ordinal);
  std::unique_ptr<GraphTimer> timer(new GraphTimer);
  if (Result<void> started = timer->start(ordinal); !started)
    return started.takeError();
  return timer;
}

Result<void> GraphTimer::start(int ordinal) {
  auto opened = cuda::Driver::open();
  if (!opened)
    return error(opened.status().message);
  api = *opened;
  cuda::Context context = nullptr;
  char text[256] = "";
  TRY_CUDA(cuDeviceGet, &device, ordinal);
  TRY_CUDA(cuDeviceGetName, text, sizeof text - 1, device);
  name = text;
  TRY_CUDA(cuDeviceGetAttribute, &sms, cuda::kAttrMultiprocessors, device);
  TRY_CUDA(cuDevicePrimaryCtxRetain, &context, device);
  retained = true;
  TRY_CUDA(cuCtxPushCurrent_v2, context);
  current = true;
  TRY_CUDA(cuStreamCreate, &work, cuda::kStreamNonBlocking);
  for (cuda::Event &e : events)
    TRY_CUDA(cuEventCreate, &e, 0);
  return {};
}

GraphTimer::~GraphTimer() {
  for (cuda::Event e : events)
    if (e)
      (void)api->cuEventDestroy_v2(e);
  if (work)
    (void)api->cuStreamDestroy_v2(work);
  cuda::Context popped = nullptr;
  if (current)
    (void)api->cuCtxPopCurrent_v2(&popped);
  if (retained)
    (void)api->cuDevicePrimaryCtxRelease_v2(device);
}

Result<void>
GraphTimer::capture(const std::function<Result<void>()> &enqueue,
                    const std::function<Result<void>(cuda::GraphExec)> &use) {
  cuda::Graph graph = nullptr;
  cuda::GraphExec exec = nullptr;
  TRY_CUDA(cuStreamBeginCapture_v2, work, cuda::kCaptureThreadLocal);
  Result<void> enqueued = enqueue();
  Result<void> status = toResult(QLR_CUDA(*api, cuStreamEndCapture, work, &graph));
  if (!enqueued)
    status = std::move(enqueued);
  if (status)
    status = toResult(
        QLR_CUDA(*api, cuGraphInstantiate_v2, &exec, graph, nullptr, nullptr, 0));
  if (status)
    status = use(exec);
  if (exec)
    (void)api->cuGraphExecDestroy(exec);
  if (graph)
    (void)api->cuGraphDestroy(graph);
  return status;
}

Result<Timing> GraphTimer::time(const Replays &replays,
                                const std::function<Result<void>()> &enqueue,
                                const std::function<Result<void>()> &check) {
  Timing timing;
  Result<void> done = capture(enqueue, [&](cuda::GraphExec exec) -> Result<void> {
    Result<Timing> timed = replay(exec, replays, check);
    if (!timed)
      return timed.takeError();
    timing = *timed;
    return {};
  });
  if (!done)
    return done.takeError();
  return timing;
}

Result<void> GraphTimer::repeat(size_t times,
                                const std::function<Result<void>()> &enqueue,
                                const std::function<Result<void>()> &check) {
  return capture(enqueue, [&](cuda::GraphExec exec) -> Result<void> {
    for (size_t i = 0; i < times; ++i) {
      TRY_CUDA(cuGraphLaunch, exec, work);
      if (Result<void> good = check(); !good)
        return good;
    }
    return {};
  });
}

Result<Timing> GraphTimer::replay(cuda::GraphExec exec, const Replays &replays,
                                  const std::function<Result<void>()> &check) {
  for (int warm = 0; warm < 2; ++warm) {
    TRY_CUDA(cuGraphLaunch, exec, work);
    if (check)
      if (Result<void> good = check(); !good)
        return good.takeError();
  }
  std::vector<double> samples;
  double total = 0;
  while (samples.size() < replays.least ||
         (total < replays.seconds && samples.size() < replays.most)) {
    float ms = 0;
    if (check)
      TRY_CUDA(cuGraphLaunch, exec, work);
    TRY_CUDA(cuEventRecord, events[0], work);
    TRY_CUDA(cuGraphLaunch, exec, work);
    TRY_CUDA(cuEventRecord, events[1], work);
    if (afterReplay)
      if (Result<void> enqueued = afterReplay(); !enqueued)
        return enqueued.takeError();
    TRY_CUDA(cuEventSynchronize, events[1]);
    TRY_CUDA(cuEventElapsedTime, &ms, events[0], events[1]);
    samples.push_back(double(ms) * 1e-3);
    total += samples.back();
    if (check)
      if (Result<void> good = check(); !good)
        return good.takeError();
  }
  return summarize(std::move(samples));
}
