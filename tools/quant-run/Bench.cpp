//===- Bench.cpp - Time of a call on the host -----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Bench.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fmt/format.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <unistd.h>

using namespace qlinear;
using namespace qlinear::run;
using nlohmann::json;

/// Copies together exceed this: GPUs' caches are below 128 MB.
static constexpr uint64_t kRotation = uint64_t(256) << 20;
static constexpr size_t kMaxCopies = 256;

Result<WeightCopies> WeightCopies::create(Session &session,
                                          const std::string &function) {
  WeightCopies c;
  c.session = &session;
  std::set<size_t> used = session.weightsOf(function);
  for (size_t index : used) {
    const json &w = session.manifest().at("weights").at(index);
    c.weights.emplace_back(w.at("name"), w.at("bytes"));
    c.total += c.weights.back().second;
  }
  if (c.total == 0)
    return error(fmt::format("function '{}' reads no weights; there is nothing to "
                             "measure it by",
                             function));
  uint64_t cache = 0;
  if (long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE); !session.isCuda() && bytes > 0)
    cache = uint64_t(bytes);
  uint64_t wanted = std::max(kRotation, 2 * cache);
  size_t count =
      size_t(std::clamp<uint64_t>((wanted + c.total - 1) / c.total, 2, kMaxCopies));
  for (size_t i = 0; i < count; ++i) {
    std::vector<DeviceMemory> copy;
    for (size_t index : used) {
      Result<std::span<const std::byte>> blob = session.blob(index);
      if (!blob)
        return blob.takeError();
      Result<DeviceMemory> memory =
          DeviceMemory::create(session.device(), blob->size());
      if (!memory)
        return memory.takeError();
      if (qlr_upload(session.device(), memory->get(), blob->data(), blob->size(),
                     nullptr) != QLR_OK)
        return runtimeError();
      copy.push_back(std::move(*memory));
    }
    c.copies.push_back(std::move(copy));
  }
  if (qlr_synchronize(session.device(), nullptr) != QLR_OK)
    return runtimeError();
  return c;
}

WeightCopies::~WeightCopies() {
  if (bound < copies.size())
    session->keep(std::move(copies[bound]));
}

Result<void> WeightCopies::bind(size_t copy) {
  bound = copy;
  for (size_t i = 0; i < weights.size(); ++i)
    if (qlr_module_set_weight(session->module(), weights[i].first.c_str(),
                              copies[copy][i].get(), weights[i].second) != QLR_OK)
      return runtimeError();
  return {};
}

std::vector<std::pair<const void *, size_t>> WeightCopies::blobs(size_t copy) const {
  std::vector<std::pair<const void *, size_t>> list;
  for (size_t i = 0; i < weights.size(); ++i)
    list.emplace_back(copies[copy][i].get(), weights[i].second);
  return list;
}

Result<Benchmark> qlinear::run::benchmark(Session &session, const Call &call,
                                          WeightCopies &copies) {
  return session.isCuda() ? benchmarkCuda(session, call, copies)
                          : benchmarkHost(session, call, copies);
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

/// "cpu:avx2:4" has 4 threads, "cpu" one per core.
static int threadsOf(const std::string &device) {
  int threads = tbb::info::default_concurrency();
  size_t colon = device.rfind(':');
  if (colon != std::string::npos)
    std::from_chars(device.data() + colon + 1, device.data() + device.size(), threads);
  return std::max(threads, 1);
}

/// Runs `body(i)` for i = 0, 1, ... about a second long, at least 15 times.
template <typename Body> static Result<Timing> timed(Body &&body) {
  using Clock = std::chrono::steady_clock;
  for (size_t i = 0; i < 2; ++i) // wakes the threads, faults pages in
    if (Result<void> ran = body(i); !ran)
      return ran.takeError();
  std::vector<double> samples;
  double total = 0;
  while (samples.size() < 15 || (total < 1 && samples.size() < 10000)) {
    Clock::time_point start = Clock::now();
    if (Result<void> ran = body(samples.size()); !ran)
      return ran.takeError();
    samples.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    total += samples.back();
  }
  return timing::summarize(std::move(samples));
}

Result<Benchmark> qlinear::run::benchmarkHost(Session &session, const Call &call,
                                              WeightCopies &copies) {
  Benchmark result;
  result.weightBytes = copies.bytes();
  result.copies = copies.count();
  Result<Timing> timing = timed([&](size_t i) -> Result<void> {
    // Binding writes a pointer per weight: nothing next to the call.
    if (Result<void> bound = copies.bind(i % copies.count()); !bound)
      return bound;
    return call.enqueue(nullptr);
  });
  if (!timing)
    return timing.takeError();
  result.call = *timing;
  if (!session.deviceName().starts_with("cpu"))
    return result; // the emulated device has no speed of its own

  int threads = threadsOf(session.deviceName());
  tbb::task_arena arena(threads);
  std::vector<uint64_t> sums(static_cast<size_t>(threads) * 16);
  Result<Timing> reading = timed([&](size_t i) -> Result<void> {
    auto blobs = copies.blobs(i % copies.count());
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
  result.readRate = double(copies.bytes()) / reading->median;
  return result;
}
