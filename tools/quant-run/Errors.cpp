//===- Errors.cpp - How far results may be from the reference -------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Errors.h"

#include <algorithm>
#include <cmath>

using namespace qlinear;
using namespace qlinear::run;

double run::rowError(const Matrix &y, const Matrix &want, bool anyKind, bool rounded) {
  double least = 0;
  for (double v : want.values)
    if (rounded && want.columns < 16 && std::isfinite(v))
      least += v * v / double(want.rows);
  if (y.values.size() != want.values.size())
    return INFINITY;
  double worst = 0;
  size_t columns = size_t(std::max<int64_t>(want.columns, 1));
  for (size_t row = 0; row * columns < want.values.size(); ++row) {
    double difference = 0, norm = 0;
    for (size_t i = row * columns; i < (row + 1) * columns; ++i) {
      double a = y.values[i], b = want.values[i];
      if (anyKind ? !std::isfinite(a) && !std::isfinite(b)
                  : std::isnan(a) && std::isnan(b))
        continue;
      difference += (a - b) * (a - b);
      norm += b * b;
    }
    // Of numbers below the normal ones, floats have fewer bits.
    double normal = double(columns) * 0x1p-126 * 0x1p-126;
    double relative =
        difference == 0 ? 0 : std::sqrt(difference / std::max({norm, least, normal}));
    worst = std::isnan(relative) ? INFINITY : std::max(worst, relative);
  }
  return worst;
}

double run::boundOf(qlr_dtype dtype, bool int8, bool half, Behind behind) {
  if (int8)
    return 1e-3 * double(std::max<size_t>(behind.linears, 1)) +
           (dtype == QLR_F32 ? 0 : 3e-3) + (half ? 1e-3 : 0);
  double sums = half ? 2e-3 * double(std::max<size_t>(behind.products, 1)) : 2e-5;
  return sums + (dtype == QLR_F32 ? 0 : dtype == QLR_F16 ? 0x1p-11 : 0x1p-8);
}
