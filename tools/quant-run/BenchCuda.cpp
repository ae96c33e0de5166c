//===- BenchCuda.cpp - Time of a call on a CUDA device --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Bench.h"

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

/// Enqueues plain reading of bytes.
class Reader {
  timing::GraphTimer &timer;
  cuda::ModuleHandle module = nullptr;
  cuda::Function kernel = nullptr;

  Result<void> check(runtime::Status status) {
    if (!status)
      return error(std::move(status.message));
    return {};
  }

public:
  explicit Reader(timing::GraphTimer &timer) : timer(timer) {}
  ~Reader() {
    if (module)
      (void)timer.driver().cuModuleUnload(module);
  }

  Result<void> load() {
    std::string text = readKernel();
    Result<void> status =
        check(QLR_CUDA(timer.driver(), cuModuleLoadData, &module, text.c_str()));
    if (status)
      status =
          check(QLR_CUDA(timer.driver(), cuModuleGetFunction, &kernel, module, "read"));
    return status;
  }
  Result<void> read(const void *data, size_t bytes) {
    uint64_t words = bytes / 16;
    void *params[] = {&data, &words};
    return check(QLR_CUDA(timer.driver(), cuLaunchKernel, kernel,
                          unsigned(2 * timer.multiprocessors()), 1, 1, 1024, 1, 1, 0,
                          timer.stream(), params, nullptr));
  }
};

} // namespace

Result<Benchmark> qlinear::run::benchmarkCuda(Session &session, const Call &call,
                                              WeightCopies &copies) {
  Benchmark result;
  result.weightBytes = copies.bytes();
  result.copies = copies.count();
  // The first binding releases memory of the module, which a capture may not do.
  if (Result<void> bound = copies.bind(0); !bound)
    return bound.takeError();
  Result<std::unique_ptr<timing::GraphTimer>> opened =
      timing::GraphTimer::open(session.deviceName());
  if (!opened)
    return opened.takeError();
  timing::GraphTimer &timer = **opened;
  Reader reader(timer); // loads its kernel now, as a capture may not
  if (Result<void> loaded = reader.load(); !loaded)
    return loaded.takeError();
  // A graph long enough that its own launch does not show.
  size_t rounds = std::max<size_t>(1, 64 / copies.count()),
         calls = rounds * copies.count();
  auto each = [&](Timing t) {
    for (double *seconds : {&t.median, &t.least, &t.most})
      *seconds /= double(calls);
    return t;
  };
  Result<Timing> called = timer.time({}, [&]() -> Result<void> {
    for (size_t i = 0; i < calls; ++i) {
      if (Result<void> bound = copies.bind(i % copies.count()); !bound)
        return bound;
      if (Result<void> enqueued = call.enqueue(timer.stream()); !enqueued)
        return enqueued;
    }
    return {};
  });
  if (!called)
    return called.takeError();
  Result<Timing> read = timer.time({}, [&]() -> Result<void> {
    for (size_t i = 0; i < calls; ++i)
      for (auto [data, bytes] : copies.blobs(i % copies.count()))
        if (Result<void> enqueued = reader.read(data, bytes); !enqueued)
          return enqueued;
    return {};
  });
  if (!read)
    return read.takeError();
  result.call = each(*called);
  result.readRate = double(copies.bytes()) / each(*read).median;
  return result;
}
