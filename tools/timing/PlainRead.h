//===- PlainRead.h - How fast memory is read --------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What kernels that only read weights could reach at best: the same bytes, read and
// nothing else. On a CPU with the same threads; on CUDA by launches of a graph that
// wait for each other.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_TIMING_PLAINREAD_H
#define QLINEAR_TOOLS_TIMING_PLAINREAD_H

#include "GraphTimer.h"

namespace qlinear::timing {

/// What one call reads: addresses and bytes.
using Blobs = std::vector<std::pair<const void *, size_t>>;

/// Bytes per second of reading these, in turn; together they exceed the caches.
Result<double> readRateOfHost(int threads, const std::vector<Blobs> &calls);
/// The same in a graph of `launches` calls.
Result<double> readRateOfCuda(GraphTimer &timer, const std::vector<Blobs> &calls,
                              size_t launches);

} // namespace qlinear::timing
#endif
