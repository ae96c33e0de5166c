//===- RandomWeight.h - Packed weights to measure with ----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_TIMING_RANDOMWEIGHT_H
#define QLINEAR_TOOLS_TIMING_RANDOMWEIGHT_H

#include "qlinear/Encoding/Codec.h"

namespace qlinear::timing {

/// A packed N x K weight with random codes and plausible scales: 16 tiles of it are
/// random, which then repeat down the rows (random data all the same for a cache, and
/// made in a moment). The same for the same shape and encoding.
Result<std::vector<std::byte>> randomWeight(const Encoding &encoding, uint64_t N,
                                            uint64_t K);

} // namespace qlinear::timing
#endif
