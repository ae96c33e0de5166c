//===- Embedding.h - Rows of weights ----------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_EMBEDDING_H
#define QLINEAR_KERNELS_CPU_EMBEDDING_H

#include "FloatLinear.h"

namespace qlinear::cpu {

/// Elements of a row that is written.
struct RowOut {
  int dtype;
  u64 K;
  u8 *out;
  QL_INLINE void store(u64 k, Floats v) const {
    if (k < K)
      storeSome(dtype, out + k * (dtype == kFloat32 ? 4 : 2), K - k, v);
  }
};

/// Chunk C of four, of row J, to the columns from k on.
template <int J, int C>
QL_INLINE void readChunk(const UnitLayout &unit, const Codes &q, const Groups &g,
                         const RowOut &row, u64 k) {
  int last = unit.halves() - 1, lane = 4 * C + J;
  Floats low = quarterToFloats<C>(unit.spec, q.low);
  Floats high = quarterToFloats<C>(unit.spec, q.high);
  row.store(k, fma(splat(g.scale[0][lane]), low, splat(-g.offset[0][lane])));
  row.store(k + 16,
            fma(splat(g.scale[last][lane]), high, splat(-g.offset[last][lane])));
}

/// The part of row 4 j + r0 that half h of a unit has.
QL_INLINE void readHalf(const UnitLayout &unit, const u8 *base, const BlockSteps &steps,
                        int j, int r0, int h, const Tile &tile, const RowOut &row,
                        u64 k) {
  Groups g = groupsOf(unit, base, steps, unit.spec.operand(1), r0, h, tile);
  forEachRow([&]<int J>() QL_LAMBDA {
    if (J != j)
      return;
    Codes q = unit.spec.hasFloats() ? fieldsOf(unit, base, J, r0, h)
                                    : codesOf(unit, base, J, r0, h);
    readChunk<J, 0>(unit, q, g, row, k);
    readChunk<J, 1>(unit, q, g, row, k + 32);
    readChunk<J, 2>(unit, q, g, row, k + 64);
    readChunk<J, 3>(unit, q, g, row, k + 96);
  });
}

/// Row `index` of a weight, or NaNs where it has none such.
QL_INLINE void readRow(const WeightLayout &w, int dtype, const u8 *blob, int index,
                       u8 *out) {
  RowOut row{dtype, w.K, out};
  if (index < 0 || u64(index) >= w.N) {
#pragma clang loop unroll(disable)
    for (u64 k = 0; k < w.K; k += 16)
      row.store(k, splat(__builtin_nanf("")));
    return;
  }
  u64 at = u64(index) / layout::kTileRows;
  int r0 = index % 4, j = index % layout::kTileRows / 4;
  alignas(64) Floats state[tileBytes(1) / sizeof(Floats)];
  beginTile(w, 1, blob, at, state);
  Tile tile{state, 1};
  auto read = [&](const UnitLayout &unit, u64 u) QL_LAMBDA {
    const u8 *base = blob + w.unitOffset(at, u);
    BlockSteps steps = blockStepsOf(w, unit, blob, base, at, u);
    readHalf(unit, base, steps, j, r0, 0, tile, row, u * layout::kUnitK);
    if (unit.chunks > 4)
      readHalf(unit, base, steps, j, r0, 1, tile, row, u * layout::kUnitK + 128);
  };
#pragma clang loop unroll(disable)
  for (u64 u = 0; u < w.fullUnits(); ++u)
    read(w.fullUnit(), u);
  if (w.tailChunks())
    read(w.tailUnit(), w.fullUnits());
}

} // namespace qlinear::cpu
#endif
