//===- Rotary.h - Rotary embeddings of a row --------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_ROTARY_H
#define QLINEAR_KERNELS_CPU_ROTARY_H

#include "Norm.h"

namespace qlinear::cpu {

/// The heads of a row: of `head` columns each, the first `rotated` of which are rotated
/// half against half. `scalesOf(x)` of the head at x is what its columns from k on are
/// multiplied by first, a function of k and how many there are. `placeOf(h)` is where
/// head h goes, or null.
template <typename ScalesOf, typename PlaceOf>
QL_INLINE void rotateRow(int dtype, int tableType, u64 heads, u64 head, u64 rotated,
                         const u8 *x, const u8 *cos, const u8 *sin, ScalesOf scalesOf,
                         PlaceOf placeOf) {
  u64 size = dtype == kFloat32 ? 4 : 2, tableSize = tableType == kFloat32 ? 4 : 2;
  u64 half = rotated / 2;
  auto table = [&](const u8 *row, u64 k, u64 count) QL_LAMBDA {
    return loadSome(tableType, row + k * tableSize, count);
  };
#pragma clang loop unroll(disable)
  for (u64 h = 0; h < heads; ++h, x += head * size) {
    u8 *out = placeOf(h);
    if (!out)
      continue;
    auto scales = scalesOf(x);
    auto load = [&](u64 k, u64 count) QL_LAMBDA {
      return scales(loadSome(dtype, x + k * size, count), k, count);
    };
#pragma clang loop unroll(disable)
    for (u64 k = 0; k < half; k += 16) {
      u64 count = half - k, other = k + half;
      Floats low = load(k, count), high = load(other, count);
      storeSome(dtype, out + k * size, count,
                low * table(cos, k, count) - high * table(sin, k, count));
      storeSome(dtype, out + other * size, count,
                high * table(cos, other, count) + low * table(sin, other, count));
    }
#pragma clang loop unroll(disable)
    for (u64 k = rotated; k < head; k += 16)
      storeSome(dtype, out + k * size, head - k, load(k, head - k));
  }
}

/// Where the heads of a row go: one after the other from `out` on, or in pieces of
/// `headsPerPiece` to the rows `at` of a cache of `count` rows at `out`; what is in none
/// of these goes nowhere.
struct RotaryPlaces {
  u8 *out;
  u64 headBytes;
  const int *at; ///< or null
  u64 count, headsPerPiece;

  QL_INLINE u8 *operator()(u64 h) const {
    if (!at)
      return out + h * headBytes;
    int place = at[h / headsPerPiece];
    if (place < 0 || u64(place) >= count)
      return nullptr;
    return out + (u64(place) * headsPerPiece + h % headsPerPiece) * headBytes;
  }
};

/// The heads as they are, rotated.
QL_INLINE void rotatePlain(int dtype, int tableType, u64 heads, u64 head, u64 rotated,
                           const u8 *x, const u8 *cos, const u8 *sin,
                           RotaryPlaces places) {
  rotateRow(
      dtype, tableType, heads, head, rotated, x, cos, sin,
      [](const u8 *)
          QL_LAMBDA { return [](Floats v, u64, u64) QL_LAMBDA { return v; }; },
      places);
}

/// The same of heads that are normalized first (Norm.h); `norm` has their scales, less
/// one if they are `centered` at zero.
QL_INLINE void rotateNormalized(int dtype, int tableType, int normType, int centered,
                                float epsilon, u64 heads, u64 head, u64 rotated,
                                const u8 *x, const u8 *norm, const u8 *cos,
                                const u8 *sin, RotaryPlaces places) {
  u64 normSize = normType == kFloat32 ? 4 : 2;
  rotateRow(
      dtype, tableType, heads, head, rotated, x, cos, sin,
      [&](const u8 *of) QL_LAMBDA {
        Floats statistics[2];
        normStatistics(false, dtype, head, epsilon, of, nullptr, statistics);
        Floats factor = statistics[1];
        return [=](Floats v, u64 k, u64 count) QL_LAMBDA {
          Floats scale = loadSome(normType, norm + k * normSize, count);
          return v * factor * (centered ? scale + 1.0f : scale);
        };
      },
      places);
}

} // namespace qlinear::cpu
#endif
