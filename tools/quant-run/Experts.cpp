//===- Experts.cpp - Products with chosen experts, in float64 -------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Reference.h"

#include <algorithm>
#include <cmath>

using namespace qlinear;
using namespace qlinear::run;

Matrix qlinear::run::groupedProduct(const Matrix &x, const Choices &choices,
                                    const AffineWeight &w, bool asBytes) {
  int64_t K = int64_t(w.K), n = int64_t(w.N) / choices.experts, T = choices.perRow;
  bool hasPieces = x.columns != K;
  Matrix y{x.rows, T * n, std::vector<double>(size_t(x.rows * T * n))};
  for (int64_t expert = 0; expert < choices.experts; ++expert) {
    std::vector<int64_t> those;
    for (int64_t c = 0; c < x.rows * T; ++c)
      if (choices.ids[size_t(c)] == double(expert))
        those.push_back(c);
    if (those.empty())
      continue;
    Matrix own{int64_t(those.size()), K, {}};
    for (int64_t c : those) {
      auto from = x.values.begin() + (hasPieces ? c : c / T) * K;
      own.values.insert(own.values.end(), from, from + K);
    }
    Matrix products =
        product(own, uint64_t(n), [&](uint64_t row, std::span<double> values) {
          for (size_t k = 0; k < values.size(); ++k)
            values[k] = w.weight(uint64_t(expert * n) + row, k, asBytes);
        });
    for (size_t i = 0; i < those.size(); ++i)
      std::copy_n(products.values.begin() + int64_t(i) * n, n,
                  y.values.begin() + those[i] * n);
  }
  return y;
}

Matrix qlinear::run::elementsOfChoices(const Matrix &extra, const std::string &kind,
                                       const Choices &choices, int64_t n) {
  if (kind == "one" || kind == "element")
    return extra;
  auto count = int64_t(choices.ids.size());
  Matrix all{count / choices.perRow, choices.perRow * n, {}};
  for (int64_t c = 0; c < count; ++c) {
    double id = choices.ids[size_t(c)];
    // Of no expert nothing is used.
    bool isKnown = id >= 0 && id < double(choices.experts);
    int64_t first = kind == "expert_column" && isKnown ? int64_t(id) * n : 0;
    for (int64_t i = 0; i < n; ++i)
      all.values.push_back(extra.values.at(size_t(kind == "choice" ? c : first + i)));
  }
  return all;
}

void qlinear::run::fillUnknown(Matrix &y, const Choices &choices) {
  int64_t n = y.columns / choices.perRow;
  for (size_t c = 0; c < choices.ids.size(); ++c)
    if (double id = choices.ids[c]; id < 0 || id >= double(choices.experts))
      std::fill_n(y.values.begin() + int64_t(c) * n, n, id < 0 ? 0.0 : NAN);
}

Matrix qlinear::run::combined(const Matrix &x, const Matrix &scales) {
  int64_t T = scales.columns, n = x.columns / T;
  Matrix y{x.rows, n, std::vector<double>(size_t(x.rows * n))};
  for (int64_t m = 0; m < x.rows; ++m)
    for (int64_t t = 0; t < T; ++t)
      for (int64_t i = 0; i < n; ++i)
        y.values[size_t(m * n + i)] +=
            scales.values[size_t(m * T + t)] * x.values[size_t((m * T + t) * n + i)];
  return y;
}
