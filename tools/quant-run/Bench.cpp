//===- Bench.cpp - Time of a call, against plain reading ------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Bench.h"
#include "HostTimer.h"

#include <fmt/format.h>

using namespace qlinear;
using namespace qlinear::run;
using nlohmann::json;

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
  size_t count = timing::copiesPastCaches(c.total);
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

std::vector<timing::Blobs> WeightCopies::allBlobs() const {
  std::vector<timing::Blobs> all;
  for (const std::vector<DeviceMemory> &copy : copies) {
    timing::Blobs &blobs = all.emplace_back();
    for (size_t i = 0; i < weights.size(); ++i)
      blobs.emplace_back(copy[i].get(), weights[i].second);
  }
  return all;
}

//===----------------------------------------------------------------------===//
// On the host
//===----------------------------------------------------------------------===//

static Result<Benchmark> benchmarkHost(Session &session, const Call &call,
                                       WeightCopies &copies) {
  Benchmark result;
  result.weightBytes = copies.bytes();
  result.copies = copies.count();
  Result<Timing> timing =
      timing::timeOnHost({15, 10000, 1}, [&](size_t i) -> Result<void> {
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

  Result<double> rate = timing::readRateOfHost(timing::threadsOf(session.deviceName()),
                                               copies.allBlobs());
  if (!rate)
    return rate.takeError();
  result.readRate = *rate;
  return result;
}

//===----------------------------------------------------------------------===//
// On a CUDA device
//===----------------------------------------------------------------------===//

static Result<Benchmark> benchmarkCuda(Session &session, const Call &call,
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
  Result<double> rate = timing::readRateOfCuda(timer, copies.allBlobs(), calls);
  if (!rate)
    return rate.takeError();
  result.call = each(*called);
  result.readRate = *rate;
  return result;
}

Result<Benchmark> qlinear::run::benchmark(Session &session, const Call &call,
                                          WeightCopies &copies) {
  return session.isCuda() ? benchmarkCuda(session, call, copies)
                          : benchmarkHost(session, call, copies);
}
