//===- BenchCuda.cpp - Time of a call on a CUDA device --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../../runtime/src/cuda/Driver.h"
#include "Bench.h"

#include <charconv>
#include <fmt/format.h>

using namespace qlinear;
using namespace qlinear::run;
namespace cuda = qlinear::runtime::cuda;

namespace {

/// Reads n 16-byte words at p: blocks stride over the grid, eight loads in flight per
/// thread. The xor of what was read is stored only if it is all ones, which keeps the
/// loads alive and writes nothing.
constexpr const char *kReadKernel = R"(
.version 6.5
.target sm_70
.address_size 64
.visible .entry read(.param .u64 p, .param .u64 n)
{
  .reg .pred %q, %z;
  .reg .u64 %p, %n, %i, %step, %a, %t;
  .reg .u32 %r<40>, %x;
  ld.param.u64 %p, [p];
  ld.param.u64 %n, [n];
  cvta.to.global.u64 %p, %p;
  mov.u32 %r0, %ctaid.x;
  mov.u32 %r1, %ntid.x;
  mov.u32 %r2, %tid.x;
  mov.u32 %r3, %nctaid.x;
  mul.wide.u32 %t, %r0, %r1;
  cvt.u64.u32 %i, %r2;
  add.u64 %i, %i, %t;
  mul.wide.u32 %step, %r3, %r1;
  mov.u32 %x, 0;
LOOP:
  setp.ge.u64 %q, %i, %n;
  @%q bra DONE;
  shl.b64 %a, %i, 4;
  add.u64 %a, %p, %a;
  shl.b64 %t, %step, 4;
  $LOADS
  bra LOOP;
DONE:
  setp.eq.u32 %z, %x, 0xFFFFFFFF;
  @%z st.global.u32 [%p], %x;
  ret;
}
)";

/// The kernel with its eight guarded loads written out.
std::string readKernel() {
  std::string loads, text = kReadKernel;
  for (int i = 0; i < 8; ++i) {
    int r = 4 + 4 * i;
    loads +=
        fmt::format("mov.u32 %r{}, 0; mov.u32 %r{}, 0; mov.u32 %r{}, 0; mov.u32 %r{}, "
                    "0;\n  ",
                    r, r + 1, r + 2, r + 3);
  }
  for (int i = 0; i < 8; ++i) {
    int r = 4 + 4 * i;
    loads += fmt::format("setp.lt.u64 %q, %i, %n;\n"
                         "  @%q ld.global.nc.v4.u32 {{%r{}, %r{}, %r{}, %r{}}}, [%a];\n"
                         "  add.u64 %a, %a, %t;\n  add.u64 %i, %i, %step;\n  ",
                         r, r + 1, r + 2, r + 3);
  }
  for (int r = 4; r < 36; ++r)
    loads += fmt::format("xor.b32 %x, %x, %r{};\n  ", r);
  text.replace(text.find("$LOADS"), 6, loads);
  return text;
}

Error driverError(runtime::Status status) { return error(std::move(status.message)); }

/// The primary context of the session's device, current on this thread, with a stream
/// and two events.
class Timer {
public:
  std::shared_ptr<const cuda::Driver> api;
  cuda::Stream stream = nullptr;
  int multiprocessors = 0;

  ~Timer() {
    if (module)
      (void)api->cuModuleUnload(module);
    for (cuda::Event e : events)
      if (e)
        (void)api->cuEventDestroy_v2(e);
    if (stream)
      (void)api->cuStreamDestroy_v2(stream);
    cuda::Context popped = nullptr;
    if (current)
      (void)api->cuCtxPopCurrent_v2(&popped);
    if (retained)
      (void)api->cuDevicePrimaryCtxRelease_v2(device);
  }

  runtime::Status open(const std::string &name) {
    runtime::Expected<std::shared_ptr<const cuda::Driver>> opened =
        cuda::Driver::open();
    if (!opened)
      return opened.status();
    api = *opened;
    int ordinal = 0;
    if (size_t colon = name.find(':'); colon != std::string::npos)
      std::from_chars(name.data() + colon + 1, name.data() + name.size(), ordinal);
    cuda::Context context = nullptr;
    QLR_TRY(QLR_CUDA(*api, cuDeviceGet, &device, ordinal));
    QLR_TRY(QLR_CUDA(*api, cuDeviceGetAttribute, &multiprocessors,
                     cuda::kAttrMultiprocessors, device));
    QLR_TRY(QLR_CUDA(*api, cuDevicePrimaryCtxRetain, &context, device));
    retained = true;
    QLR_TRY(QLR_CUDA(*api, cuCtxPushCurrent_v2, context));
    current = true;
    QLR_TRY(QLR_CUDA(*api, cuStreamCreate, &stream, cuda::kStreamNonBlocking));
    for (cuda::Event &e : events)
      QLR_TRY(QLR_CUDA(*api, cuEventCreate, &e, 0));
    return {};
  }

  /// Captures what `enqueue` puts on the stream and times its replays: seconds of one
  /// replay divided by `parts`.
  template <typename Enqueue>
  runtime::Status time(size_t parts, Timing &timing, Enqueue &&enqueue) {
    cuda::Graph graph = nullptr;
    cuda::GraphExec exec = nullptr;
    QLR_TRY(QLR_CUDA(*api, cuStreamBeginCapture_v2, stream, cuda::kCaptureThreadLocal));
    runtime::Status enqueued = enqueue();
    runtime::Status status = QLR_CUDA(*api, cuStreamEndCapture, stream, &graph);
    if (!enqueued)
      status = enqueued;
    if (status)
      status = QLR_CUDA(*api, cuGraphInstantiate_v2, &exec, graph, nullptr, nullptr, 0);
    if (status)
      status = replay(exec, parts, timing);
    if (exec)
      (void)api->cuGraphExecDestroy(exec);
    if (graph)
      (void)api->cuGraphDestroy(graph);
    return status;
  }

  /// Enqueues plain reading of these bytes.
  runtime::Status read(const void *data, size_t bytes) {
    if (!module) {
      std::string text = readKernel();
      QLR_TRY(QLR_CUDA(*api, cuModuleLoadData, &module, text.c_str()));
      QLR_TRY(QLR_CUDA(*api, cuModuleGetFunction, &kernel, module, "read"));
    }
    uint64_t words = bytes / 16;
    void *params[] = {&data, &words};
    return QLR_CUDA(*api, cuLaunchKernel, kernel, unsigned(2 * multiprocessors), 1, 1,
                    1024, 1, 1, 0, stream, params, nullptr);
  }

private:
  runtime::Status replay(cuda::GraphExec exec, size_t parts, Timing &timing) {
    std::vector<double> samples;
    double total = 0;
    for (int warm = 0; warm < 2; ++warm)
      QLR_TRY(QLR_CUDA(*api, cuGraphLaunch, exec, stream));
    while (samples.size() < 15 || (total < 1 && samples.size() < 200)) {
      float ms = 0;
      QLR_TRY(QLR_CUDA(*api, cuEventRecord, events[0], stream));
      QLR_TRY(QLR_CUDA(*api, cuGraphLaunch, exec, stream));
      QLR_TRY(QLR_CUDA(*api, cuEventRecord, events[1], stream));
      QLR_TRY(QLR_CUDA(*api, cuEventSynchronize, events[1]));
      QLR_TRY(QLR_CUDA(*api, cuEventElapsedTime, &ms, events[0], events[1]));
      samples.push_back(double(ms) * 1e-3 / double(parts));
      total += double(ms) * 1e-3;
    }
    timing = summarize(std::move(samples));
    return {};
  }

  cuda::DeviceId device = 0;
  bool retained = false, current = false;
  cuda::Event events[2] = {};
  cuda::ModuleHandle module = nullptr;
  cuda::Function kernel = nullptr;
};

} // namespace

Result<Benchmark> qlinear::run::benchmarkCuda(Session &session, const Call &call,
                                              WeightCopies &copies) {
  Benchmark result;
  result.weightBytes = copies.bytes();
  result.copies = copies.count();
  // The first binding releases what the module owns, which a capture may not.
  if (Result<void> bound = copies.bind(0); !bound)
    return bound.takeError();
  Timer timer;
  if (runtime::Status status = timer.open(session.deviceName()); !status)
    return driverError(std::move(status));
  // A graph long enough that its own launch does not show.
  size_t rounds = std::max<size_t>(1, 64 / copies.count()),
         calls = rounds * copies.count();
  runtime::Status status = timer.time(calls, result.call, [&]() -> runtime::Status {
    for (size_t i = 0; i < calls; ++i) {
      if (Result<void> bound = copies.bind(i % copies.count()); !bound)
        return runtime::fail(QLR_DEVICE_ERROR, bound.error());
      if (Result<void> called = call.enqueue(timer.stream); !called)
        return runtime::fail(QLR_DEVICE_ERROR, called.error());
    }
    return {};
  });
  Timing reading;
  if (status) // loads the kernel, which a capture may not
    status = timer.read(copies.blobs(0)[0].first, 16);
  if (status)
    status = timer.time(calls, reading, [&]() -> runtime::Status {
      for (size_t i = 0; i < calls; ++i)
        for (auto [data, bytes] : copies.blobs(i % copies.count()))
          QLR_TRY(timer.read(data, bytes));
      return {};
    });
  if (!status)
    return driverError(std::move(status));
  result.readRate = double(copies.bytes()) / reading.median;
  return result;
}
