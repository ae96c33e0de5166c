//===- PlainRead.cpp - How fast memory is read ----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "PlainRead.h"
#include "HostTimer.h"

#include <fmt/format.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

using namespace qlinear;
using namespace qlinear::timing;
namespace cuda = qlinear::runtime::cuda;

/// Of one call, on average.
static double bytesOf(const std::vector<Blobs> &calls) {
  double total = 0;
  for (const Blobs &call : calls)
    for (auto [data, bytes] : call)
      total += double(bytes);
  return total / double(calls.size());
}

//===----------------------------------------------------------------------===//
// On the host
//===----------------------------------------------------------------------===//

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static uint64_t readAll(const uint64_t *words, size_t count) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; ++i)
    sum ^= words[i];
  return sum;
}

Result<double> timing::readRateOfHost(int threads, const std::vector<Blobs> &calls) {
  tbb::task_arena arena(threads);
  std::vector<uint64_t> sums(static_cast<size_t>(threads) * 16);
  Result<Timing> reading = timeOnHost({15, 10000, 1}, [&](size_t i) -> Result<void> {
    const Blobs &blobs = calls[i % calls.size()];
    arena.execute([&] {
      tbb::parallel_for(
          0, threads,
          [&](int t) {
            for (auto [data, bytes] : blobs) {
              size_t words = bytes / 8, first = words * size_t(t) / size_t(threads),
                     last = words * size_t(t + 1) / size_t(threads);
              sums[size_t(t) * 16] ^=
                  readAll(static_cast<const uint64_t *>(data) + first, last - first);
            }
          },
          tbb::static_partitioner());
    });
    return {};
  });
  if (!reading)
    return reading.takeError();
  volatile uint64_t sink = sums[0]; // the reads have a use
  (void)sink;
  return bytesOf(calls) / reading->median;
}

//===----------------------------------------------------------------------===//
// On a CUDA device
//===----------------------------------------------------------------------===//

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
  GraphTimer &timer;
  cuda::ModuleHandle module = nullptr;
  cuda::Function kernel = nullptr;

  Result<void> check(runtime::Status status) {
    if (!status)
      return error(std::move(status.message));
    return {};
  }

public:
  explicit Reader(GraphTimer &timer) : timer(timer) {}
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

Result<double> timing::readRateOfCuda(GraphTimer &timer,
                                      const std::vector<Blobs> &calls,
                                      size_t launches) {
  Reader reader(timer); // loads its kernel now, as a capture may not
  if (Result<void> loaded = reader.load(); !loaded)
    return loaded.takeError();
  Result<Timing> read = timer.time({}, [&]() -> Result<void> {
    for (size_t i = 0; i < launches; ++i)
      for (auto [data, bytes] : calls[i % calls.size()])
        if (Result<void> enqueued = reader.read(data, bytes); !enqueued)
          return enqueued;
    return {};
  });
  if (!read)
    return read.takeError();
  return bytesOf(calls) * double(launches) / read->median;
}
