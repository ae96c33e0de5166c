//===- FloatLinear.h - One unit of weights times M rows of floats -*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Linear.h for activations that are not quantized: the sums of a chunk are f32 products
// of codes and activations in 16 lanes, which the group's scale then multiplies; code
// and activation are exact. x is read as it lies in memory.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_FLOATLINEAR_H
#define QLINEAR_KERNELS_CPU_FLOATLINEAR_H

#include "Activations.h"
#include "Linear.h"

namespace qlinear::cpu {

/// Rows of x, K elements each.
struct FloatRows {
  int dtype;
  const u8 *x;
  int rows;
};

/// Token m's values of four chunks.
struct FloatToken {
  Floats x[4][2];         ///< columns 0..15 and 16..31 of each chunk
  Floats sumLow, sumHigh; ///< of each half, in every lane of its chunk's quarter
};

/// Sums of the halves of four chunks, each in pairs.
QL_INLINE void sumHalves(FloatToken &t) {
  auto pairs = [&](int half) QL_LAMBDA {
    return addPairs(addPairs(t.x[0][half], t.x[1][half]),
                    addPairs(t.x[2][half], t.x[3][half]));
  };
  // A round puts the first vector's sums into even lanes; after three, sum (c, half) is
  // in lane 4 rev(c) + half and, for its other part, 8 lanes on.
  Floats v = addPairs(pairs(0), pairs(1));
  auto sumOf = [&](int half) QL_LAMBDA {
    auto lane = [&](int l) QL_LAMBDA {
      int c = l / 4;
      return 2 * ((c & 1) * 2 + (c >> 1)) + half;
    };
    return permute(v, lane) + permute(v, [&](int l) QL_LAMBDA { return lane(l) + 8; });
  };
  t.sumLow = sumOf(0);
  t.sumHigh = sumOf(1);
}

QL_INLINE FloatToken floatTokenOf(const FloatRows &a, u64 K, int row, u64 unit, int h,
                                  bool tail) {
  FloatToken t{};
  int size = a.dtype == kFloat32 ? 4 : 2;
  const u8 *x = a.x + u64(row) * K * size;
  QL_UNROLL
  for (int i = 0; i < 8; ++i) {
    u64 k = unit * layout::kUnitK + h * 128 + i * 16;
    if (!tail)
      t.x[i / 2][i % 2] = load16(a.dtype, x + k * size);
    else if (k < K)
      t.x[i / 2][i % 2] = loadSome(a.dtype, x + k * size, K - k);
  }
  sumHalves(t);
  return t;
}

/// Quarter C of the codes: of their bytes, or of fields, if the table has floats.
template <int C> QL_INLINE Floats quarterToFloats(const Spec &spec, Bytes q) {
  auto part = __builtin_shufflevector(
      q, q, 16 * C, 16 * C + 1, 16 * C + 2, 16 * C + 3, 16 * C + 4, 16 * C + 5,
      16 * C + 6, 16 * C + 7, 16 * C + 8, 16 * C + 9, 16 * C + 10, 16 * C + 11,
      16 * C + 12, 16 * C + 13, 16 * C + 14, 16 * C + 15);
  Ints integers = __builtin_convertvector(part, Ints);
  if (spec.hasFloats())
    return lookUp(layout::floatsInMemory(spec.codeKind), (Words)integers);
  return toFloats(integers);
}

/// Chunk C of row J; s[half] as of addRow in Linear.h.
template <int J, int C>
QL_INLINE void addFloatChunk(const UnitLayout &unit, const Codes &q,
                             const FloatToken *tokens, int count, const Floats *s,
                             Floats *sums) {
  Floats low = quarterToFloats<C>(unit.spec, q.low);
  Floats high = quarterToFloats<C>(unit.spec, q.high);
  Floats s0 = splat(s[0][4 * C + J]), s1 = splat(s[unit.halves() - 1][4 * C + J]);
  QL_UNROLL
  for (int m = 0; m < count; ++m) {
    const Floats *x = tokens[m].x[C];
    if (unit.halves() == 2)
      sums[m] = fma(s1, high * x[1], fma(s0, low * x[0], sums[m]));
    else
      sums[m] = fma(s0, fma(high, x[1], low * x[0]), sums[m]);
  }
}

template <int J>
QL_INLINE void addFloatRow(const UnitLayout &unit, const u8 *base,
                           const FloatToken *tokens, int count, int r0, int h,
                           const Floats *s, Floats *sums) {
  Codes q = unit.spec.hasFloats() ? fieldsOf(unit, base, J, r0, h)
                                  : codesOf(unit, base, J, r0, h);
  addFloatChunk<J, 0>(unit, q, tokens, count, s, sums);
  addFloatChunk<J, 1>(unit, q, tokens, count, s, sums);
  addFloatChunk<J, 2>(unit, q, tokens, count, s, sums);
  addFloatChunk<J, 3>(unit, q, tokens, count, s, sums);
}

/// Half unit h for tokens m0 .. m0 + count - 1 of those that are there (the last is
/// repeated).
QL_INLINE void addFloatHalf(const WeightLayout &w, const UnitLayout &unit,
                            const u8 *base, const BlockSteps &steps, const FloatRows &a,
                            u64 index, bool tail, int m0, int count, int h,
                            const Tile &tile) {
  FloatToken tokens[kTokens];
  QL_UNROLL
  for (int m = 0; m < count; ++m) {
    int row = m0 + m < a.rows ? m0 + m : a.rows - 1;
    tokens[m] = floatTokenOf(a, w.K, row, index, h, tail);
  }
#pragma clang loop unroll(disable)
  for (int r0 = 0; r0 < 4; ++r0) {
    Groups g = groupsOf(unit, base, steps, unit.spec.operand(1), r0, h, tile);
    addOffsets(unit, g, tokens, m0, count, r0, tile);
    forEachRow([&]<int J>() QL_LAMBDA {
      if (m0 == 0)
        prefetchBeside(unit, aheadOf(unit, base), J, r0, h);
      addFloatRow<J>(unit, base, tokens, count, r0, h, g.scale, &tile.sum(r0, J, m0));
    });
  }
}

/// addUnit of Linear.h for floats.
QL_INLINE void addFloatUnit(const WeightLayout &w, int M, const u8 *blob,
                            const FloatRows &a, u64 tile, u64 index, bool tail,
                            Floats *state) {
  auto add = [&](const UnitLayout &unit, const u8 *base, const BlockSteps &steps,
                 int m0, int count, int h, const Tile &t) QL_LAMBDA {
    addFloatHalf(w, unit, base, steps, a, index, tail, m0, count, h, t);
  };
  forEachHalf(w, M, blob, tile, index, tail, state, add);
}

} // namespace qlinear::cpu
#endif
