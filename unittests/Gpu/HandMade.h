//===- HandMade.h - Artifacts of hand-written PTX ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_HANDMADE_H
#define QLINEAR_UNITTESTS_HANDMADE_H

#include "qlinear-runtime/artifact.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gpu {

/// An artifact for any GPU from sm_70 on. Its functions take no input and write one
/// i8 vector:
///   trap      stops with a trap instruction
///   stray     writes to an address that is nowhere
///   copy<i>   copies weight i as it lies in device memory
class HandMade {
public:
  struct Weight {
    std::string name;
    int64_t n, k;
    size_t bytes() const;
  };
  /// With copy functions for the first `copies` weights.
  explicit HandMade(std::vector<Weight> weights = {}, size_t copies = SIZE_MAX);
  const void *descriptor() const { return &raw; }
  static const char *encoding();

private:
  std::string text, code;
  qlinear_image image{};
  qlinear_artifact_v1 raw{};
};

} // namespace gpu
#endif
