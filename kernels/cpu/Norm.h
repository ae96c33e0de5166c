//===- Norm.h - Means and variances of rows ---------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_NORM_H
#define QLINEAR_KERNELS_CPU_NORM_H

#include "Activations.h"

namespace qlinear::cpu {

/// Columns from k on of the row x, or of the sum of two, which is rounded to their
/// type; `add` may be null. Columns from K on are 0.
QL_INLINE Floats loadSum(int dtype, u64 K, const u8 *x, const u8 *add, u64 k) {
  u64 at = k * (dtype == kFloat32 ? 4 : 2);
  Floats sum = loadSome(dtype, x + at, K - k);
  if (!add)
    return sum;
  sum += loadSome(dtype, add + at, K - k);
  return dtype == kFloat32   ? sum
         : dtype == kFloat16 ? halfToFloats(floatsToHalf(sum))
                             : bfloatToFloats(floatsToBfloat(sum));
}

/// The mean of the row's elements (0 if it is not subtracted), and the factor
/// 1 / sqrt(mean of the squares + epsilon), in all lanes of out[0] and out[1].
QL_INLINE void normStatistics(int subtractsMean, int dtype, u64 K, float epsilon,
                              const u8 *x, const u8 *add, Floats *out) {
  Words lane{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  auto meanOf = [&](auto term) QL_LAMBDA {
    Floats sums{};
#pragma clang loop unroll(disable)
    for (u64 k = 0; k < K; k += 16) {
      Words inside = Words(lane < u32(K - k < 16 ? K - k : 16));
      sums += (Floats)((Words)term(loadSum(dtype, K, x, add, k)) & inside);
    }
    float sum = 0;
    QL_UNROLL
    for (int l = 0; l < 16; ++l)
      sum += sums[l];
    return sum / float(K);
  };
  Floats mean{};
  if (subtractsMean)
    mean = splat(meanOf([](Floats v) QL_LAMBDA { return v; }));
  float square = meanOf([&](Floats v) QL_LAMBDA { return (v - mean) * (v - mean); });
  out[0] = mean;
  out[1] = splat(1.0f / __builtin_elementwise_sqrt(square + epsilon));
}

} // namespace qlinear::cpu
#endif
