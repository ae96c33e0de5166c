//===- GemmTiles.h - Tiles of weights for tensor cores ----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What kernels for many tokens have in common, whatever multiplies: from units in
// shared memory to weights as A of products of f16, and from sums to results.
//
// A weight is made from its code n by one multiplication and addition of f16: the f16
// whose bits are n is n * 2^-24, subnormal or not. With F a power of two of the row,
//
//   F 2^-24 w  =  n 2^-24 * (F scale)  +  (-F 2^-24 offset)
//
// Only the scale, the offset and the weight are rounded, to 11 bits (the scale not
// where it is a code and the row's step is left to the end). F is fixed for such
// encodings; for others the warp raises a row's F with the first scales, and lowers it,
// with the sums so far, where later ones would overflow.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_GEMMTILES_H
#define QLINEAR_KERNELS_CUDA_GEMMTILES_H

#include "HalfWeights.h"
#include "qlinear/Kernels/Gemm.h"

namespace qlinear::kernels {

/// Like weights that a kernel multiplies; constants, but pointers.
struct GemmTiles {
  GemmShape shape;
  WeightLayout layout;
  int weights; ///< of each tile
  const u8 *blobs[kMaxWeights];
  QL_SHARED u8 *tables;     ///< decoded scales, per warp and tile of it
  QL_SHARED float *factors; ///< 16 per warp

  QL_INLINE const u8 *blobOf(int weight) const {
    // No loop: the state is in registers before they unroll.
    static_assert(kMaxWeights == 4);
    const u8 *low = weight == 0 ? blobs[0] : blobs[1];
    const u8 *high = weight == 2 ? blobs[2] : blobs[3];
    return weight < 2 ? low : high;
  }
  QL_INLINE bool isTail(int u) const {
    return layout.tailChunks() && u == int(layout.fullUnits());
  }

  /// Whether scales are integers up to 2^byteBits whose step a row has at the end.
  QL_INLINE bool fixedFactor() const {
    const Spec &s = layout.spec;
    return scalesRow(s) && (!s.group || s.scale.kind == layout::kLinear);
  }
  /// F of such rows: scales reach 2^13.
  QL_INLINE float startFactor() const {
    const Spec &s = layout.spec;
    if (!fixedFactor())
      return 0x1p126f; // lowered by the first scales
    int bits = s.group ? s.scale.bits - s.scale.isSigned : 5;
    float unit = s.hasFloats() ? kWeightTableUnit : 1; // scales are times that
    return float(1 << (13 - bits)) / unit;
  }

  /// A tile of the warp.
  struct Tile {
    int slot;
    Rows rows;       ///< constants of the lane's 4 rows (Unit.h)
    float factor[4]; ///< F of them
  };

  /// The row constants of the lane's rows of a tile of weight `weight`.
  QL_INLINE Tile open(int slot, int index, int weight) const {
    const Spec &s = layout.spec;
    Tile tile = {};
    tile.slot = slot;
    const u8 *blob = blobOf(weight);
    int lane = ql_ptx_thread() % kWarp;
    QL_UNROLL
    for (int j = 0; j < 4; ++j) {
      u64 row = u64(u32(index)) * 16 + u32(4 * j + (lane >> 3));
      if (rowFloats(s, s.scale))
        rowConstants(s, s.scale, blob + layout.rowScaleOffset(row), tile.rows.scale[j]);
      if (rowFloats(s, s.offset))
        rowConstants(s, s.offset, blob + layout.rowOffsetOffset(row),
                     tile.rows.offset[j]);
      tile.factor[j] = startFactor();
    }
    return tile;
  }

  /// The lane's values of its 4 rows to those of fragments: of rows g and g + 8.
  QL_INLINE void exchangeRows(const float *mine, float *out, int warp, int lane) const {
    QL_SHARED float *at = factors + warp * layout::kTileRows;
    if ((lane & 7) == 0)
      QL_UNROLL
    for (int j = 0; j < 4; ++j)
      at[4 * j + (lane >> 3)] = mine[j];
    ql_ptx_warp_barrier();
    out[0] = at[lane >> 2];
    out[1] = at[(lane >> 2) + 8];
    ql_ptx_warp_barrier();
  }

  /// Lowers F of rows whose scales (`most`, of the lane's chunk) would overflow.
  QL_INLINE void lower(Tile &tile, const float *most, int warp, int lane,
                       float *sums) const {
    float change[4], of[2];
    QL_UNROLL
    for (int j = 0; j < 4; ++j) {
      u32 row = bitCast<u32>(most[j]);
      QL_UNROLL
      for (int mask = 1; mask < 8; mask *= 2)
        row = __builtin_elementwise_max(row, ql_ptx_shuffle_xor(row, mask));
      // Then the largest is 2^12 .. 2^13 where F is normal: room for later ones, and
      // steps of f16 (2^-24) that are small beside it for the small scales of the row,
      // too.
      int exponent = int(row >> 23) - 127;
      int wanted = min(12 - exponent, 126),
          now = int(bitCast<u32>(tile.factor[j]) >> 23) - 127;
      bool lowers = bitCast<float>(row) * tile.factor[j] >= 0x1p15f;
      wanted = lowers ? max(wanted, -126) : now;
      int by = wanted - now;
      change[j] = by < -126 ? 0.0f : bitCast<float>(u32(by + 127) << 23);
      tile.factor[j] = bitCast<float>(u32(wanted + 127) << 23);
    }
    exchangeRows(change, of, warp, lane);
    QL_UNROLL
    for (int n = 0; n < shape.tokens / 8; ++n)
      QL_UNROLL
    for (int i = 0; i < 4; ++i)
      sums[4 * n + i] *= of[i / 2];
  }

  /// Decodes the scales of a tile's unit, at `at`, for the warp; a warp barrier has to
  /// follow.
  QL_INLINE void decode(const UnitLayout &l, Tile &tile, QL_SHARED const u8 *at,
                        const Exchange &table, int warp, int lane, float *sums) const {
    Unit unit;
    loadMetadata(l, lane, SharedSource{at}, SharedSource{at + gemmUnitBytes(layout)},
                 unit);
    float scale[4][2], offset[4][2];
    layout::Operand operand = layout.spec.operand(kWeightTableUnit);
    QL_UNROLL
    for (int j = 0; j < 4; ++j)
      decodeGroups(l, unit, tile.rows, j, operand, scale[j], offset[j]);
    float bias = layout.spec.form == layout::kSymmetric ? operand.bias : 0;
    QL_UNROLL
    for (int j = 0; j < 4; ++j)
      QL_UNROLL
    for (int h = 0; h < l.halves(); ++h)
      if (bias != 0)
        offset[j][h] = scale[j][h] * bias;
    if (!fixedFactor()) {
      float most[4];
      bool overflows = false;
      QL_UNROLL
      for (int j = 0; j < 4; ++j) {
        most[j] = 0.0f;
        QL_UNROLL
        for (int h = 0; h < l.halves(); ++h)
          most[j] = __builtin_elementwise_max(
              most[j], __builtin_elementwise_max(
                           __builtin_elementwise_abs(scale[j][h]),
                           __builtin_elementwise_abs(offset[j][h]) * 0x1p-4f));
        overflows |= most[j] * tile.factor[j] >= 0x1p15f;
      }
      if (ql_ptx_any(overflows))
        lower(tile, most, warp, lane, sums);
    }
    QL_UNROLL
    for (int j = 0; j < 2; ++j) {
      u32 words[4];
      QL_UNROLL
      for (int h = 0; h < 2; ++h) {
        float factor = tile.factor[j + 2 * h];
        QL_UNROLL
        for (int i = 0; i < l.halves(); ++i) {
          float s = scale[j + 2 * h][i] * factor;
          float o = offset[j + 2 * h][i] * (factor * -kHalfUnit);
          words[h * table.halves + i] = ql_ptx_half_pair(s, o);
        }
      }
      storeWords(table.entry(lane & 7, (lane >> 3) + 4 * j, 0), 2 * table.halves,
                 words);
    }
  }

  /// Codes and decoded scales of 64 columns of a tile's unit.
  QL_INLINE void load(const UnitLayout &l, QL_SHARED const u8 *unit,
                      const Exchange &table, int pair, int lane, Columns &out) const {
    loadLowPair(l, lane, unit, pair, out.codes);
    int g = lane >> 2;
    QL_UNROLL
    for (int i = 0; i < 2; ++i) {
      int c = 2 * pair + i;
      QL_UNROLL
      for (int h = 0; h < 2; ++h) {
        int j = 2 * h + (g >> 2), r0 = g & 3;
        if (l.hasPairs())
          loadPairs(l, j, r0, unit, c, h, out.codes);
        if (l.hasBits())
          loadBits(l, j, r0, unit, c, h, out.codes);
      }
      loadWords(table.entry(c, g, 0), 2 * table.halves, out.groups[i]);
    }
  }
  QL_INLINE void weightsOf(const UnitLayout &l, QL_SHARED const u8 *unit,
                           const Exchange &table, int pair, int lane, u32x4 *a) const {
    Columns columns;
    load(l, unit, table, pair, lane, columns);
    makeWeights(l, columns, pair, lane, a);
  }

  QL_INLINE Exchange tableOf(const UnitLayout &l, int warp, int b) const {
    return {tables + (warp * shape.warpTiles + b) * gemmTableBytes(layout.spec),
            l.halves(), 0};
  }
  /// What the sums of the lane's rows g and g + 8 of a tile are multiplied by at the
  /// end, after 1 / kHalfUnit: 1 / F, and the row's step if it was left out.
  QL_INLINE void factorsOf(const Tile &tile, int warp, int lane, float *of) const {
    float back[4];
    QL_UNROLL
    for (int j = 0; j < 4; ++j) { // 1 / F is a power of two
      back[j] = bitCast<float>((254u << 23) - bitCast<u32>(tile.factor[j]));
      if (scalesRow(layout.spec))
        back[j] *= tile.rows.scale[j][0];
    }
    exchangeRows(back, of, warp, lane);
  }
};

} // namespace qlinear::kernels
#endif
