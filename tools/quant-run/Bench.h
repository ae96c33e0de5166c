//===- Bench.h - Time of a call, against plain reading ----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Decode is bound by reading weights, so a call is measured as bytes of weights per
// second, next to what plain reading of the same bytes reaches on the same device in
// the same run. The weights rotate over copies that together exceed the caches, as
// the layers of a model do. On CUDA calls are captured into a graph and timed with
// events; on the CPU each call is timed by itself.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANTRUN_BENCH_H
#define QLINEAR_TOOLS_QUANTRUN_BENCH_H

#include "PlainRead.h"
#include "Session.h"

namespace qlinear::run {

using timing::Timing;

struct Benchmark {
  Timing call;              ///< of one call
  uint64_t weightBytes = 0; ///< that one call reads
  size_t copies = 0;        ///< of the weights, in rotation
  double readRate = 0;      ///< plain reading, bytes per second; 0: not measured
};

/// Copies of one function's weights in the device's memory, bound in turn. The last
/// one bound stays with the session when the others go.
class WeightCopies {
public:
  WeightCopies() = default;
  WeightCopies(WeightCopies &&) = default;
  WeightCopies &operator=(WeightCopies &&) = default;
  ~WeightCopies();
  static Result<WeightCopies> create(Session &session, const std::string &function);
  Result<void> bind(size_t copy);
  size_t count() const { return copies.size(); }
  uint64_t bytes() const { return total; }
  /// The blobs of each copy.
  std::vector<timing::Blobs> allBlobs() const;

private:
  Session *session = nullptr;
  uint64_t total = 0; ///< bytes of one copy
  size_t bound = 0;
  std::vector<std::pair<std::string, size_t>> weights; ///< names and bytes
  std::vector<std::vector<DeviceMemory>> copies;
};

Result<Benchmark> benchmark(Session &session, const Call &call, WeightCopies &copies);

} // namespace qlinear::run
#endif
