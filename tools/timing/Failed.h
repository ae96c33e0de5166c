//===- Failed.h - Failures that end a measurement ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For programs that only run calls one after the other: what goes wrong anywhere is
// caught in one place, and printed.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_TIMING_FAILED_H
#define QLINEAR_TOOLS_TIMING_FAILED_H

#include "Device.h"

namespace qlinear::timing {

struct Failed {
  std::string what;
};

/// The value, or its error thrown as Failed.
template <typename T> T orThrow(Result<T> result) {
  if (!result)
    throw Failed{result.error()};
  if constexpr (!std::is_void_v<T>)
    return std::move(*result);
}
inline void orThrow(qlr_status status) { orThrow(checked(status)); }

} // namespace qlinear::timing
#endif
