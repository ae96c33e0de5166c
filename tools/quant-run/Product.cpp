//===- Product.cpp - Matrix products in float64 ---------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Reference.h"

#include <algorithm>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::run;

/// Rows of x and of W that are multiplied at once.
static constexpr size_t kX = 8, kW = 4;

/// sums[j][i] = sum over k of x[k][i] w[k][j], each in the order of k.
#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "arch=haswell", "default")))
#endif
static void multiply(const double *x, const double *w, size_t K, double *out) {
  double sums[kW][kX] = {};
  for (size_t k = 0; k < K; ++k)
    for (size_t j = 0; j < kW; ++j)
      for (size_t i = 0; i < kX; ++i)
        sums[j][i] += x[k * kX + i] * w[k * kW + j];
  std::copy_n(&sums[0][0], kW * kX, out);
}

Matrix qlinear::run::product(const Matrix &x, uint64_t N, const RowReader &rowOf) {
  size_t K = size_t(x.columns), rows = size_t(x.rows), blocks = (rows + kX - 1) / kX;
  std::vector<double> turned(blocks * K * kX);
  for (size_t m = 0; m < rows; ++m)
    for (size_t k = 0; k < K; ++k)
      turned[(m / kX * K + k) * kX + m % kX] = x.values[m * K + k];
  Matrix y{x.rows, int64_t(N), std::vector<double>(rows * N)};
  tbb::parallel_for(size_t(0), size_t(N + kW - 1) / kW, [&](size_t group) {
    std::vector<double> row(K), w(K * kW);
    size_t first = group * kW, count = std::min<size_t>(kW, N - first);
    for (size_t j = 0; j < count; ++j) {
      rowOf(first + j, row);
      for (size_t k = 0; k < K; ++k)
        w[k * kW + j] = row[k];
    }
    double sums[kW * kX];
    for (size_t block = 0; block < blocks; ++block) {
      multiply(turned.data() + block * K * kX, w.data(), K, sums);
      for (size_t j = 0; j < count; ++j)
        for (size_t i = 0; i < kX && block * kX + i < rows; ++i)
          y.values[(block * kX + i) * N + first + j] = sums[j * kX + i];
    }
  });
  return y;
}

Matrix qlinear::run::product(const Matrix &x, const AffineWeight &w, bool asBytes) {
  return product(x, w.N, [&](uint64_t n, std::span<double> row) {
    for (size_t k = 0; k < w.K; ++k)
      row[k] = w.weight(n, k, asBytes);
  });
}
