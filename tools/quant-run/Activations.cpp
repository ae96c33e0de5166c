//===- Activations.cpp - Activations as the kernels quantize them ---------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace qlinear;
using namespace qlinear::run;

/// One chunk of up to 32 columns: x = d * code, as docs/architecture.md defines it,
/// products in f64, where they are exact. Chunks below 2^-119 are zero; d of one with a
/// NaN or an infinity is NaN.
static float quantizeChunk(const float *x, int64_t count, int8_t *codes) {
  float largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
    finite &= std::isfinite(x[i]);
  }
  std::fill_n(codes, count, int8_t(0));
  if (!finite)
    return NAN;
  if (largest < 0x1p-119f)
    return 0;
  float inverse = 127.0f / largest;
  for (int64_t i = 0; i < count; ++i)
    codes[i] = int8_t(std::nearbyint(double(x[i]) * double(inverse)));
  return largest / 127.0f;
}

Matrix qlinear::run::quantizedValues(const Matrix &x) {
  Matrix q = x;
  for (int64_t row = 0; row < x.rows; ++row)
    for (int64_t k = 0; k < x.columns; k += layout::kChunk) {
      int64_t count = std::min<int64_t>(layout::kChunk, x.columns - k);
      float values[layout::kChunk];
      int8_t codes[layout::kChunk];
      for (int64_t i = 0; i < count; ++i)
        values[i] = float(x.values[size_t(row * x.columns + k + i)]);
      float d = quantizeChunk(values, count, codes);
      for (int64_t i = 0; i < count; ++i)
        q.values[size_t(row * x.columns + k + i)] = double(d) * codes[i];
    }
  return q;
}

Array qlinear::run::quantizeActivations(std::span<const float> x, int64_t rows,
                                        int64_t columns) {
  layout::ActivationLayout layout{layout::u64(columns)};
  int64_t rowBytes = int64_t(layout.bytes());
  Array result(QLR_I8, {rows, rowBytes});
  for (int64_t row = 0; row < rows; ++row) {
    std::byte *token = result.bytes.data() + row * rowBytes;
    for (int64_t k = 0; k < columns; k += layout::kChunk) {
      int64_t count = std::min<int64_t>(layout::kChunk, columns - k);
      int8_t codes[layout::kChunk] = {};
      float d = quantizeChunk(x.data() + row * columns + k, count, codes);
      int16_t sums[2] = {0, 0};
      for (int64_t i = 0; i < layout::kChunk; ++i) {
        token[layout.code(layout::u64(k + i))] = std::byte(codes[i]);
        sums[i / 16] = int16_t(sums[i / 16] + codes[i]);
      }
      std::byte *record = token + layout.record(layout::u64(k / layout::kChunk));
      std::memcpy(record, &d, 4);
      std::memcpy(record + 4, sums, 4);
    }
  }
  return result;
}

Matrix qlinear::run::dequantizeActivations(const Array &codes, int64_t columns) {
  layout::ActivationLayout layout{layout::u64(columns)};
  Matrix m{codes.elements() / int64_t(layout.bytes()), columns, {}};
  for (int64_t row = 0; row < m.rows; ++row) {
    const std::byte *token = codes.bytes.data() + size_t(row) * layout.bytes();
    for (int64_t k = 0; k < columns; ++k) {
      float d;
      std::memcpy(&d, token + layout.record(layout::u64(k / layout::kChunk)), 4);
      m.values.push_back(double(d) * int8_t(token[layout.code(layout::u64(k))]));
    }
  }
  return m;
}
