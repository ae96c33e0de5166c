//===- Rotary.h - Rotary embeddings -----------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_ROTARY_H
#define QLINEAR_KERNELS_CUDA_ROTARY_H

#include "Prepare.h"
#include "qlinear/Kernels/Gpu.h"

namespace qlinear::kernels {

/// Elements of a row in memory; those of an access are aligned to its size.
struct RowElements {
  int type;
  int width; ///< of an access: 4 or 1
  QL_INLINE void load(const u8 *row, int k, float *values) const {
    if (width == 1) {
      values[0] = type == layout::kF32   ? ((const float *)row)[k]
                  : type == layout::kF16 ? float(((const _Float16 *)row)[k])
                                         : float(((const __bf16 *)row)[k]);
      return;
    }
    u32 words[4] = {};
    if (type == layout::kF32) {
      u32x4 four = *(const u32x4 *)(row + k * 4);
      QL_UNROLL
      for (int i = 0; i < 4; ++i)
        words[i] = four[i];
    } else {
      u32x2 pairs = *(const u32x2 *)(row + k * 2);
      words[0] = pairs[0], words[1] = pairs[1];
    }
    QL_UNROLL
    for (int i = 0; i < 4; ++i)
      values[i] = floatField(words, i * 8 * layout::floatBytes(type), type);
  }
  QL_INLINE u32 bits(float value) const {
    return type == layout::kF16 ? bitCast<u16>(_Float16(value))
                                : bitCast<u16>(__bf16(value));
  }
  QL_INLINE void store(u8 *row, int k, const float *values) const {
    if (type == layout::kF32) {
      if (width == 1)
        ((float *)row)[k] = values[0];
      else
        *(f32x4 *)(row + k * 4) = f32x4{values[0], values[1], values[2], values[3]};
    } else if (width == 1) {
      ((u16 *)row)[k] = u16(bits(values[0]));
    } else {
      *(u32x2 *)(row + k * 2) = u32x2{bits(values[0]) | bits(values[1]) << 16,
                                      bits(values[2]) | bits(values[3]) << 16};
    }
  }
};

/// Where heads go: to where they are in a matrix like theirs, or in pieces of
/// `headsPerPiece` to rows of a cache of `count` rows, of which `at` has one for each
/// piece of each row; what is in none of these goes nowhere.
struct RotaryPlaces {
  const i32 *at; ///< or null
  i64 count;
  int headsPerPiece;

  /// Head `index` of row `row`, of `heads` heads of `bytes` bytes; null if nowhere.
  QL_INLINE u8 *find(u8 *out, i64 row, int index, int heads, i64 bytes) const {
    if (!at)
      return out + (row * heads + index) * bytes;
    i64 place = at[row * (heads / headsPerPiece) + index / headsPerPiece];
    if (place < 0 || place >= count)
      return nullptr;
    return out + (place * headsPerPiece + index % headsPerPiece) * bytes;
  }
};

/// Rotary embeddings of rows of heads.
struct Rotary : RotaryShape {
  int type, tableType; ///< of x and the results, of cos and sin

  QL_INLINE i64 headBytes() const {
    return i64(head) * qlinear::layout::floatBytes(type);
  }
  /// Item `item` of the head at x, whose elements from column k on go through
  /// `scale(k, values)` first.
  template <typename Scale>
  QL_INLINE void rotate(int item, const u8 *x, const u8 *cos, const u8 *sin, u8 *out,
                        Scale scale) const {
    RowElements of{type, width()}, table{tableType, width()};
    float low[4], high[4], c[2][4], s[2][4];
    if (item >= pairs()) {
      int k = rotated + (item - pairs()) * width();
      of.load(x, k, low);
      scale(k, low);
      of.store(out, k, low);
      return;
    }
    int k = item * width(), other = k + rotated / 2;
    of.load(x, k, low);
    of.load(x, other, high);
    scale(k, low);
    scale(other, high);
    table.load(cos, k, c[0]);
    table.load(cos, other, c[1]);
    table.load(sin, k, s[0]);
    table.load(sin, other, s[1]);
    float first[4], second[4];
    QL_UNROLL
    for (int i = 0; i < width(); ++i) {
      first[i] = low[i] * c[0][i] - high[i] * s[0][i];
      second[i] = high[i] * c[1][i] + low[i] * s[1][i];
    }
    of.store(out, k, first);
    of.store(out, other, second);
  }

  /// 1 / sqrt(mean of squares + epsilon) of a head, for all lanes of a warp.
  QL_INLINE float normFactor(const u8 *x, float epsilon, int lane) const {
    RowElements of{type, width()};
    float sum = 0.0f;
    QL_NO_UNROLL
    for (int k = lane * width(); k < head; k += kWarp * width()) {
      float values[4];
      of.load(x, k, values);
      QL_UNROLL
      for (int i = 0; i < width(); ++i)
        sum += values[i] * values[i];
    }
    return 1.0f / __builtin_elementwise_sqrt(sumOfWarp(sum) / float(head) + epsilon);
  }
  /// A head, normalized and rotated by a warp; `norm` has its scales, less one if they
  /// are `centered` at zero.
  QL_INLINE void normalize(const u8 *x, const u8 *norm, int normType, bool centered,
                           float epsilon, const u8 *cos, const u8 *sin,
                           u8 *out) const {
    int lane = ql_ptx_thread() % kWarp;
    float factor = normFactor(x, epsilon, lane);
    RowElements scales{normType, width()};
    auto scale = [&](int k, float *values) {
      float by[4];
      scales.load(norm, k, by);
      QL_UNROLL
      for (int i = 0; i < width(); ++i)
        values[i] *= factor * (centered ? 1.0f + by[i] : by[i]);
    };
    QL_NO_UNROLL
    for (int item = lane; item < itemsPerHead(); item += kWarp)
      rotate(item, x, cos, sin, out, scale);
  }
};

} // namespace qlinear::kernels
#endif
