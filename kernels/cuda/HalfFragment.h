//===- HalfFragment.h - A unit times floats on tensor cores -----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Fragment.h for activations that are not quantized. Nothing but sums is rounded:
//
//  - the byte n of a code is the f16 whose bits are n, which is n * 2^-24 exactly,
//  subnormal or not; a table's floats are the sum of two f16, of 22 bits;
//  - a chunk's activations are multiplied by a power of two that brings the largest to
//    2^14 .. 2^15. A bf16 or f16 is then an f16 again; bits below 2^-24, which are
//    2^-38 of the largest, are rounded. An f32 is the sum of two f16, of 22 bits;
//  - the f32 sum of a group's products is multiplied by its scale afterwards.
//
// The two products m16n8k16 of a chunk take the columns in the order in which masks
// find them: even and odd ones of columns 0..15, then of 16..31. A word of A holds the
// codes of columns 4 t and 4 t + 2 (even) or 4 t + 1 and 4 t + 3 (odd), and so the word
// t of a piece of staged activations (Gpu.h) has those.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_HALFFRAGMENT_H
#define QLINEAR_KERNELS_CUDA_HALFFRAGMENT_H

#include "Fragment.h"

namespace qlinear::kernels {

/// A code is taken for an f16 that is 2^-24 times as much.
inline constexpr float kHalfUnit = 0x1p-24f;

/// Four codes as the even two and the odd two, each 16 bits wide.
QL_INLINE void widenCodes(u32 codes, u32 *even, u32 *odd) {
  *even = codes & 0x00FF00FFu;
  *odd = codes >> 8 & 0x00FF00FFu;
}

/// Part 0 or 1 of the floats of a table, of chunk c and rows g and g + 8: the even
/// ones, then the odd, of columns 0..15 in `low` and 16..31 in `high`.
QL_INLINE void tableHalves(const UnitLayout &l, const Fragments &f, int t, int c,
                           int part, u32x4 &low, u32x4 &high) {
  QL_UNROLL
  for (int h = 0; h < 2; ++h) {
    u32 halves[4], places = fragmentPlaces(l, f, t, c, h);
    if (part)
      lookUpHalves<kHalfExponent, 1>(l.spec, places, halves);
    else
      lookUpHalves<kHalfExponent, 0>(l.spec, places, halves);
    low[h] = halves[0], low[2 + h] = halves[1];
    high[h] = halves[2], high[2 + h] = halves[3];
  }
}

/// acc[2 h + i] += row h of the lane times its token i, over a unit.
QL_INLINE_LATE inline void dotHalfFragments(const UnitLayout &l, const LaneShare &share,
                                            int product, const Fragments &f,
                                            const Exchange &exchange,
                                            const TokenMatrix &x, float *acc) {
  RecordKind kind = RecordKind::of(l.spec);
  int lane = share.lane, g = lane >> 2, t = lane & 3;
  int parts = product == kMmaSplit ? 2 : 1;
  QL_UNROLL
  for (int c = 0; c < 8; ++c) {
    u32 records[8], groups[8];
    int recordWords = kind.bytes() / 4, floats = exchange.floats();
    loadWords(x.records + c * share.tokens * kind.bytes(),
              share.columns() * recordWords, records);
    loadWords(exchange.entry(c, g, share.row(0) >> 3), share.rows() * floats, groups);
    u32x4 low, high; // row g even, row g + 8 even, then odd
    QL_UNROLL
    for (int h = 0; h < 2; ++h) {
      u32 first, second, even, odd;
      fragmentCodes(l, f, t, c, h, &first, &second);
      widenCodes(first, &even, &odd);
      low[h] = even, low[2 + h] = odd;
      widenCodes(second, &even, &odd);
      high[h] = even, high[2 + h] = odd;
    }
    if (l.spec.hasFloats())
      tableHalves(l, f, t, c, 0, low, high);
    // What the products start with; groups of 16 have a sum for each half.
    f32x4 sums[2];
    QL_UNROLL
    for (int half = 0; half < 2; ++half) {
      bool starts = kind.bias && half < kind.halves && !l.spec.hasFloats();
      float first = starts ? bitCast<float>(records[1 + half]) : 0.0f;
      float second =
          starts
              ? bitCast<float>(records[(share.columns() - 1) * recordWords + 1 + half])
              : 0.0f;
      sums[half] = f32x4{first, second, first, second};
    }
    int last = kind.halves - 1;
    QL_UNROLL
    for (int codePart = 0; codePart < (l.spec.hasFloats() ? 2 : 1); ++codePart) {
      if (codePart)
        tableHalves(l, f, t, c, codePart, low, high);
      QL_UNROLL
      for (int part = 0; part < parts; ++part) {
        u32x4 b = ql_ptx_load_matrices(x.codes + (c * parts + part) * 64);
        sums[0] = ql_ptx_mma_half(low, u32x2{b.x, b.y}, sums[0]);
        sums[last] = ql_ptx_mma_half(high, u32x2{b.z, b.w}, sums[last]);
      }
    }
    QL_UNROLL
    for (int h = 0; h < share.rows(); ++h)
      QL_UNROLL
    for (int i = 0; i < share.columns(); ++i) {
      float &to = acc[2 * h + i], d = bitCast<float>(records[i * recordWords]);
      QL_UNROLL
      for (int half = 0; half < kind.halves; ++half) {
        float scale = bitCast<float>(groups[h * floats + half]);
        to = fma(scale * d, share.pick(sums[half], h, i), to);
        if (kind.hasOffset)
          to = fma(-bitCast<float>(groups[h * floats + kind.halves + half]),
                   bitCast<float>(records[i * recordWords + 1 + half]), to);
      }
    }
  }
}

QL_INLINE_LATE inline void dotOnTensorCores(const UnitLayout &l, const LaneShare &share,
                                            int product, const Fragments &f,
                                            const Exchange &exchange,
                                            const TokenMatrix &x, float *acc) {
  if (product == kMma)
    dotFragments(l, share, f, exchange, x, acc);
  else
    dotHalfFragments(l, share, product, f, exchange, x, acc);
}

} // namespace qlinear::kernels
#endif
