//===- Embedding.h - Rows of weights ----------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A thread reads a chunk of a row. It loads the share of a unit that a lane of a
// product has, the chunk of four rows: what it does not need lies in the same lines for
// the most part, and a row of a weight is little beside the weights that are multiplied
// after it.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_EMBEDDING_H
#define QLINEAR_KERNELS_CUDA_EMBEDDING_H

#include "Rotary.h"
#include "Sources.h"
#include "Unit.h"

namespace qlinear::kernels {

struct RowReader {
  WeightLayout layout;
  const u8 *blob;
  RowElements to; ///< elements of the result

  QL_INLINE int chunksPerRow() const {
    return int((layout.K + layout::kChunk - 1) / layout::kChunk);
  }

  /// The values of row j of a lane's share.
  QL_INLINE void decode(const UnitLayout &l, const Unit &u, i64 row, int j,
                        float *values) const {
    const Spec &s = layout.spec;
    Rows rows = {};
    rowConstants(s, s.scale, blob + layout.rowScaleOffset(u64(row)), rows.scale[j]);
    if (s.form != layout::kSymmetric)
      rowConstants(s, s.offset, blob + layout.rowOffsetOffset(u64(row)),
                   rows.offset[j]);
    u32 codes[8];
    if (s.hasFloats())
      unpackFields(l, u, j, codes);
    else
      unpackCodes(l, u, j, codes);
    float scale[2], offset[2];
    decodeGroups(l, u, rows, j, s.operand(1), scale, offset);
    float factor = scalesRow(s) ? rows.scale[j][0] : 1.0f;
    float bias = s.form == layout::kSymmetric ? s.operand(1).bias : 0.0f;
    QL_UNROLL
    for (int i = 0; i < layout::kChunk; ++i) {
      int half = l.halves() == 2 && i >= 16;
      int shift = i >= 16 && keepsHighNibbles(s) ? 4 : 0;
      u32 code = (codes[i / 4] >> shift) >> 8 * (i % 4) & (255 >> shift);
      float value =
          s.hasFloats() ? layout::floatsInMemory(s.codeKind)[code] : float(code) - bias;
      values[i] = fma(scale[half], value, -offset[half]) * factor;
    }
  }

  QL_INLINE void decodeUnit(const UnitLayout &l, i64 row, int unit, int chunk,
                            float *values) const {
    u64 tile = u64(row) / layout::kTileRows;
    int lane = 8 * int(row % 4) + chunk, j = int(row % layout::kTileRows) / 4;
    Unit u;
    StreamSource steps{blob + layout.stepsOffset(tile, u64(unit))};
    loadUnit(l, lane, StreamSource{blob + layout.unitOffset(tile, u64(unit))}, steps,
             u);
    QL_UNROLL
    for (int i = 0; i < 4; ++i)
      if (i == j)
        decode(l, u, row, i, values);
  }

  /// Chunk `chunk` of row `row`, or NaNs where there is no such row, to a row at `out`.
  QL_INLINE void read(i64 row, int chunk, u8 *out) const {
    float values[layout::kChunk];
    if (row < 0 || row >= i64(layout.N)) {
      QL_UNROLL
      for (int i = 0; i < layout::kChunk; ++i)
        values[i] = bitCast<float>(0x7FC00000u);
    } else {
      int unit = chunk / layout::kUnitChunks, c = chunk % layout::kUnitChunks;
      if (u64(unit) < layout.fullUnits())
        decodeUnit(layout.fullUnit(), row, unit, c, values);
      else
        decodeUnit(layout.tailUnit(), row, unit, c, values);
    }
    int k = chunk * layout::kChunk, count = int(layout.K) - k;
    QL_UNROLL
    for (int i = 0; i < layout::kChunk; i += to.width)
      if (i < count)
        to.store(out, k + i, values + i);
  }
};

} // namespace qlinear::kernels
#endif
