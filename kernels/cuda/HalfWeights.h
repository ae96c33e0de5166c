//===- HalfWeights.h - Weights made for tensor cores ------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The parts of Gemm.h that know nothing of its shared memory: how codes become weights
// of f16, the place in its ring, and how much of the work a block takes at a time.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_HALFWEIGHTS_H
#define QLINEAR_KERNELS_CUDA_HALFWEIGHTS_H

#include "HalfFragment.h"

namespace qlinear::kernels {

inline constexpr int kMaxWarpTiles = 4;
/// The floats of a table as one f16 each, of 2^-10 times as much: a weight is rounded
/// to f16 here in any case.
inline constexpr int kWeightExponent = -10;
inline constexpr float kWeightTableUnit = 0x1p-14f;
/// Sums of a lane.
inline constexpr int kMaxGemmSums = 128;

/// Codes and decoded scales of 64 columns of a tile: chunks 2 `pair` and the next.
struct Columns {
  Fragments codes;
  u32 groups[2][4]; ///< of each chunk and row: its scales, each with its offset
};
/// Keeps weights from being made of them before operations that came before, where they
/// would need registers too soon.
QL_INLINE void pin(const UnitLayout &l, int pair, Columns &columns) {
  QL_UNROLL
  for (int c = 2 * pair; c < 2 * pair + 2; ++c)
    QL_UNROLL
  for (int h = 0; h < 2; ++h) {
    if (l.hasNibbles() || l.hasBytes())
      columns.codes.low[c][h] = ql_ptx_pin(columns.codes.low[c][h]);
    else
      QL_UNROLL
    for (int i = 0; i < 2; ++i)
      columns.codes.pairs[c][h][i] = ql_ptx_pin(columns.codes.pairs[c][h][i]);
    if (l.hasBytes())
      columns.codes.second[c][h] = ql_ptx_pin(columns.codes.second[c][h]);
  }
}
/// Half `i` of a pair, twice: an operand of one instruction with the pair's other
/// users.
QL_INLINE u32 bothOf(u32 pair, int i) {
  using u16x2 = u16 __attribute__((ext_vector_type(2)));
  u16x2 halves = bitCast<u16x2>(pair);
  return bitCast<u32>(u16x2{halves[i], halves[i]});
}
/// The weights of these columns, as A of four products m16n8k16.
QL_INLINE void makeWeights(const UnitLayout &l, const Columns &columns, int pair,
                           int lane, u32x4 *a) {
  int halves = l.halves();
  QL_UNROLL
  for (int i = 0; i < 2; ++i) {
    int c = 2 * pair + i;
    QL_UNROLL
    for (int h = 0; h < 2; ++h) {
      const u32 *of = columns.groups[i] + h * halves;
      u32 low = bothOf(of[0], 0), high = bothOf(of[halves - 1], 0);
      u32 lowOffset = bothOf(of[0], 1), highOffset = bothOf(of[halves - 1], 1);
      u32 even[2], odd[2];
      if (keepsHighNibbles(l.spec)) {
        u32 w = columns.codes.low[c][h], shifted = w >> 8;
        even[0] = w & 0x000F000Fu, odd[0] = shifted & 0x000F000Fu;
        even[1] = w & 0x00F000F0u, odd[1] = shifted & 0x00F000F0u;
        high = ql_ptx_half_fma(high, 0x2C002C00u, 0x80008000u); // / 16
      } else if (l.spec.hasFloats()) {
        u32 halves[4];
        lookUpHalves<kWeightExponent, 0>(
            l.spec, fragmentPlaces(l, columns.codes, lane & 3, c, h), halves);
        even[0] = halves[0], odd[0] = halves[1];
        even[1] = halves[2], odd[1] = halves[3];
      } else {
        u32 first, second;
        fragmentCodes(l, columns.codes, lane & 3, c, h, &first, &second);
        widenCodes(first, &even[0], &odd[0]);
        widenCodes(second, &even[1], &odd[1]);
      }
      a[2 * i][h] = ql_ptx_half_fma(even[0], low, lowOffset);
      a[2 * i][2 + h] = ql_ptx_half_fma(odd[0], low, lowOffset);
      a[2 * i + 1][h] = ql_ptx_half_fma(even[1], high, highOffset);
      a[2 * i + 1][2 + h] = ql_ptx_half_fma(odd[1], high, highOffset);
    }
  }
}
/// A place in the ring, of the warp that fills or of those that take.
struct RingPlace {
  int stage;
  u32 parity;
  QL_INLINE void next(int stages) {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/// Tiles of a job, at most `most`: the fewest for which `grid` blocks take as many
/// rounds as for the most, of `tiles` tiles and `tokenBlocks` blocks of tokens, or
/// less.
QL_INLINE int jobTiles(int tiles, int tokenBlocks, int grid, int most) {
  int best = most;
  i64 least = 0x7FFFFFFF;
  QL_NO_UNROLL
  for (int t = most; t > 0; --t) {
    i64 jobs = i64((tiles + t - 1) / t) * tokenBlocks;
    i64 rounds = (jobs + grid - 1) / grid;
    if (rounds <= least) {
      least = rounds;
      best = t;
    }
  }
  return best;
}

} // namespace qlinear::kernels
#endif
