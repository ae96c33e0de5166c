//===- Linears.h - Implementations that are timed ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_BENCHMARKS_GPU_LINEARS_H
#define QLINEAR_BENCHMARKS_GPU_LINEARS_H

#include "Series.h"
#include "Workload.h"
#include "peer.h"

#include <memory>
#include <optional>
#include <string>

namespace bench {

/// Ends the program with the message of a failure.
[[noreturn]] void fail(const std::string &message);
template <typename T> T checked(qlinear::Result<T> result) {
  if (!result)
    fail(result.error());
  return std::move(*result);
}
inline void check(qlinear::Result<void> result) {
  if (!result)
    fail(result.error());
}

/// The time of a series of calls, and what was checked of their results. No calls:
/// nothing was, as of another project's kernels.
struct Measured {
  double us = 0; ///< of the whole series; 0 on a device without a clock, or if wrong
  qlinear::timing::Verdict verdict;
};

/// One implementation of the workload's linears, with copies of its weights.
class Linears {
public:
  virtual ~Linears() = default;
  virtual std::string name() const = 0;
  /// Bytes of one weight of this shape; 0 where the shape is not supported.
  virtual size_t weightBytes(int shape) const = 0;
  /// Makes weights of this shape, so that there are at least `copies`.
  virtual void makeWeights(int shape, int copies) = 0;
  virtual void dropWeights() = 0;
  /// Times a series of calls; none where this M is not supported.
  virtual std::optional<Measured> time(const std::vector<Link> &links, int rows,
                                       int replays) = 0;
};
using LinearsList = std::vector<std::unique_ptr<Linears>>;

/// Layers compiled by quant-compile: the artifact has a function per shape name,
/// and one with the suffix "_i8" that takes quantized activations; its weights
/// have the names of the shapes. Two implementations, which share the weights.
LinearsList openArtifact(qlinear::timing::Device &device, const std::string &path,
                         int mostRows);
/// Another project's kernels, through an adapter (peer.h).
LinearsList openPeer(qlinear::timing::Device &device, const std::string &path,
                     int mostRows);
LinearsList usePeer(qlinear::timing::Device &device, const ql_peer *peer, int mostRows);

} // namespace bench
#endif
