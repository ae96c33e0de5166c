//===- Results.h - Results of many calls, compared bit by bit ---*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_TIMING_RESULTS_H
#define QLINEAR_TOOLS_TIMING_RESULTS_H

#include "Device.h"

namespace qlinear::timing {

/// A place for the results of each of a series of calls. keep() after the first time
/// that the calls ran; compare() after each other time. Both then write NaNs to the
/// places, so that a call that writes nothing shows.
class Results {
public:
  /// Places of these sizes in bytes, filled with NaNs.
  static Result<std::unique_ptr<Results>> create(Device &device,
                                                 const std::vector<size_t> &bytes);
  ~Results();
  Results(const Results &) = delete;
  Results &operator=(const Results &) = delete;

  size_t calls() const { return places.size(); }
  void *at(size_t call) const { return memory.at(places[call].start); }
  /// The present contents of a place.
  Result<std::vector<std::byte>> read(size_t call) const;

  Result<void> keep();
  /// The calls whose results differ from the kept ones. In their places the words of 16
  /// bytes that differ stay as they are until the calls run again.
  Result<std::vector<size_t>> compare();
  /// The results of a call that compare() named, as they were before it.
  Result<std::vector<std::byte>> readDiffering(size_t call) const;

private:
  struct Place {
    size_t start, bytes; ///< multiples of 16
  };
  explicit Results(Device &device) : device(device) {}
  Result<void> prepareKernel();

  Device &device;
  std::vector<Place> places;
  size_t total = 0;
  DeviceMemory memory, kept, table, counts;
  runtime::cuda::ModuleHandle module = nullptr;
  runtime::cuda::Function kernel = nullptr;
};

} // namespace qlinear::timing
#endif
