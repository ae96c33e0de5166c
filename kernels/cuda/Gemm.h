//===- Gemm.h - Tiles of weights times blocks of tokens ---------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block multiplies up to slots() tiles of 16 rows with up to `tokens` tokens (a job;
// the skeleton shares jobs out), by tensor cores with f32 sums:
//
//   ring, in shared memory, of stages: 256 columns of each
//                  | x: 64-column blocks of the tokens | slot 0 | slot 1 | ...  a unit
//                  of
//                                                        a tile each, as it is packed
//   a warp         fills a stage when all have released it: the first one by bulk
//                  copies, or one of its own by cp.async
//   the warps      have up to warpTiles slots each and all tokens; they wait for a
//                  stage, decode the scales of its units, and per 64 columns make the
//                  weights as f16 in registers and multiply them, each by itself or in
//                  groups of four (wgmma)
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
// The order of sums depends on the shape and the kernel alone: so do results' bits.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_GEMM_H
#define QLINEAR_KERNELS_CUDA_GEMM_H

#include "HalfWeights.h"
#include "qlinear/Kernels/Gemm.h"

namespace qlinear::kernels {

/// Like weights that a kernel multiplies; constants, but pointers, rows, range of K.
struct Gemm {
  int mode;             ///< kAsync or kBulk
  bool byGroups, ahead; ///< by groups of warps; weights ahead of their unit
  GemmShape shape;
  WeightLayout layout;
  int weights; ///< of each tile: slot s is weight s % weights of tile s / weights
  int stageBytes;
  int unit0, units, rows; ///< the block's range of K; of the call
  const u8 *blobs[kMaxWeights];
  const u8 *image;
  QL_SHARED u8 *ring;
  QL_SHARED u64 *barriers;  ///< filled, then free, of each stage
  QL_SHARED u8 *tables;     ///< decoded scales, per warp and tile of it
  QL_SHARED float *factors; ///< 16 per warp

  QL_INLINE QL_SHARED u64 *filled(int stage) const { return barriers + stage; }
  QL_INLINE QL_SHARED u64 *freed(int stage) const {
    return filled(shape.stages + stage);
  }
  QL_INLINE void await(QL_SHARED u64 *barrier, u32 parity) const {
    mode == kBulk ? ql_ptx_mbarrier_wait(barrier, parity)
                  : ql_ptx_mbarrier_poll(barrier, parity);
  }
  QL_INLINE QL_SHARED u8 *stageAt(int stage) const { return ring + stage * stageBytes; }
  QL_INLINE QL_SHARED u8 *slotAt(QL_SHARED u8 *stage, int slot) const {
    return stage + shape.stageX() + slot * gemmSlotBytes(layout);
  }
  QL_INLINE const u8 *blobOf(int slot) const {
    int weight =
        slot % weights; // no loop: the state is in registers before they unroll
    static_assert(kMaxWeights == 4);
    const u8 *low = weight == 0 ? blobs[0] : blobs[1];
    const u8 *high = weight == 2 ? blobs[2] : blobs[3];
    return weight < 2 ? low : high;
  }
  QL_INLINE bool isTail(int u) const {
    return layout.tailChunks() && u == int(layout.fullUnits());
  }

  /// Copies `bytes` bytes, a multiple of 16: by one lane, or by all of a warp.
  QL_INLINE void copy(QL_SHARED u8 *to, const u8 *from, int bytes, int lane,
                      QL_SHARED u64 *barrier) const {
    if (mode == kBulk) {
      ql_ptx_bulk_copy(to, from, u32(bytes), barrier);
    } else {
      QL_NO_UNROLL
      for (int o = lane * 16; o < bytes; o += kWarp * 16)
        ql_ptx_async_copy16(to + o, from + o);
    }
  }
  QL_INLINE void copyWeights(int stage, int u, int tile0, int used, int lane) const {
    QL_SHARED u64 *barrier = filled(stage);
    int bytes = isTail(u) ? layout.tailUnit().bytes() : layout.fullUnit().bytes();
    bool withSteps = stepsOutside(layout.spec);
    int stepBytes = layout.fullUnit().stepBytes();
    int step = mode == kBulk ? kWarp : 1;
    QL_NO_UNROLL
    for (int s = mode == kBulk ? lane : 0; s < used; s += step) {
      const u8 *blob = blobOf(s);
      u64 tile = u64(u32(tile0 + s / weights));
      QL_SHARED u8 *to = slotAt(stageAt(stage), s);
      copy(to, blob + layout.unitOffset(tile, u64(u32(u))), bytes, lane, barrier);
      if (withSteps)
        copy(to + gemmUnitBytes(layout), blob + layout.stepsOffset(tile, u64(u32(u))),
             stepBytes, lane, barrier);
    }
  }
  QL_INLINE int blocksOf(int u) const {
    return min(kUnitBlocks,
               int(PreparedActivations{layout.K}.blocks()) - u * kUnitBlocks);
  }
  QL_INLINE int tokensFrom(int token0) const {
    return min(shape.tokens, rows - token0);
  }
  QL_INLINE void copyActivations(int stage, int u, int token0, int lane) const {
    constexpr int kRow = PreparedActivations::kRowBytes;
    int bytes = tokensFrom(token0) * kRow, step = mode == kBulk ? kWarp : 1;
    QL_NO_UNROLL
    for (int b = mode == kBulk ? lane : 0; b < blocksOf(u); b += step)
      copy(stageAt(stage) + b * shape.tokens * kRow,
           image +
               PreparedActivations{layout.K}.block(u64(u32(rows)),
                                                   u64(u32(u * kUnitBlocks + b))) +
               u64(u32(token0)) * kRow,
           bytes, lane, filled(stage));
  }
  /// A stage is free: says how much comes.
  QL_INLINE void begin(RingPlace place, int u, int token0, int used, int lane) const {
    await(freed(place.stage), place.parity ^ 1);
    if (mode != kBulk)
      return;
    int unit = isTail(u) ? layout.tailUnit().bytes() : layout.fullUnit().bytes();
    if (stepsOutside(layout.spec))
      unit += layout.fullUnit().stepBytes();
    if (lane == 0)
      ql_ptx_mbarrier_expect(filled(place.stage),
                             u32(used * unit + blocksOf(u) * tokensFrom(token0) *
                                                   PreparedActivations::kRowBytes));
    ql_ptx_warp_barrier();
  }
  /// kAsync: all of the groups under way but `pending` have landed.
  QL_INLINE void publish(int stage, int pending, int lane) const {
    QL_UNROLL
    for (int p = 0; p < 8; ++p) // the number is part of the instruction
      if (p == pending)
        ql_ptx_async_wait(p);
    ql_ptx_warp_barrier();
    if (lane == 0)
      ql_ptx_mbarrier_arrive(filled(stage));
  }
  QL_INLINE void copyBoth(RingPlace &place, int u, int tile0, int used, int token0,
                          int lane) const {
    begin(place, u, token0, used, lane);
    copyWeights(place.stage, u, tile0, used, lane);
    copyActivations(place.stage, u, token0, lane);
    place.next(shape.stages);
  }
  /// Fills the ring. Weights never change, so those of the first stages are under way
  /// before the kernel waits for the one before it (`first`), which writes activations.
  QL_INLINE void fill(RingPlace &place, int tile0, int used, int token0, bool first,
                      int lane) const {
    int early = min(shape.stages, units);
    RingPlace at = place;
    QL_NO_UNROLL
    for (int i = 0; i < early; ++i) {
      begin(at, unit0 + i, token0, used, lane);
      copyWeights(at.stage, unit0 + i, tile0, used, lane);
      at.next(shape.stages);
    }
    if (first)
      ql_ptx_wait_prior_grids();
    QL_NO_UNROLL
    for (int i = 0; i < early; ++i) {
      copyActivations(place.stage, unit0 + i, token0, lane);
      if (mode == kAsync)
        ql_ptx_async_commit();
      place.next(shape.stages);
    }
  }
  /// All of a job by a warp of its own. By cp.async, a stage has landed when no more
  /// groups are under way than came after its own, the first of which has the weights
  /// of the first stages, too.
  QL_INLINE void fillAll(RingPlace &place, int tile0, int used, int token0, bool first,
                         int lane) const {
    RingPlace landed = place;
    fill(place, tile0, used, token0, first, lane);
    int early = min(shape.stages, units);
    QL_NO_UNROLL
    for (int i = 0; i < units; ++i) {
      if (mode == kAsync)
        publish(landed.stage, max(0, min(early, units - i) - 1), lane);
      landed.next(shape.stages);
      if (i + early < units) {
        copyBoth(place, unit0 + i + early, tile0, used, token0, lane);
        if (mode == kAsync)
          ql_ptx_async_commit();
      }
    }
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
    return float(1 << (13 - bits));
  }

  /// A tile of the warp.
  struct Tile {
    int slot;
    Rows rows;       ///< constants of the lane's 4 rows (Unit.h)
    float factor[4]; ///< F of them
  };

  /// The row constants of the lane's rows.
  QL_INLINE Tile open(int slot, int tile0) const {
    const Spec &s = layout.spec;
    Tile tile = {};
    tile.slot = slot;
    const u8 *blob = blobOf(slot);
    int lane = ql_ptx_thread() % kWarp;
    QL_UNROLL
    for (int j = 0; j < 4; ++j) {
      u64 row = u64(u32(tile0 + slot / weights)) * 16 + u32(4 * j + (lane >> 3));
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
      // Then the largest is 2^8 .. 2^9 for numbers whose F is normal.
      int exponent = int(row >> 23) - 127;
      int wanted = min(8 - exponent, 126),
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

  /// Decodes the scales of a tile's unit for the warp; a warp barrier has to follow.
  QL_INLINE void decode(const UnitLayout &l, Tile &tile, QL_SHARED u8 *stage,
                        const Exchange &table, int warp, int lane, float *sums) const {
    QL_SHARED u8 *at = slotAt(stage, tile.slot);
    Unit unit;
    loadMetadata(l, lane, SharedSource{at}, SharedSource{at + gemmUnitBytes(layout)},
                 unit);
    float scale[4][2], offset[4][2];
    QL_UNROLL
    for (int j = 0; j < 4; ++j)
      decodeGroups(l, unit, tile.rows, j, scale[j], offset[j]);
    int bias = layout.spec.form == layout::kSymmetric ? layout.spec.bias() : 0;
    QL_UNROLL
    for (int j = 0; j < 4; ++j)
      QL_UNROLL
    for (int h = 0; h < l.halves(); ++h)
      if (bias)
        offset[j][h] = scale[j][h] * float(bias);
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
      u32 words[8];
      QL_UNROLL
      for (int h = 0; h < 2; ++h) {
        float factor = tile.factor[j + 2 * h];
        QL_UNROLL
        for (int i = 0; i < l.halves(); ++i) {
          float s = scale[j + 2 * h][i] * factor;
          float o = offset[j + 2 * h][i] * (factor * -kHalfUnit);
          words[h * table.floats() + i] = ql_ptx_half_pair(s, s);
          words[h * table.floats() + table.halves + i] = ql_ptx_half_pair(o, o);
        }
      }
      storeWords(table.entry(lane & 7, (lane >> 3) + 4 * j, 0), 2 * table.floats(),
                 words);
    }
  }

  /// Codes and decoded scales of 64 columns of a tile.
  QL_INLINE void load(const UnitLayout &l, const Tile &tile, QL_SHARED u8 *stage,
                      const Exchange &table, int pair, int lane, Columns &out) const {
    QL_SHARED const u8 *unit = slotAt(stage, tile.slot);
    loadLowPair(l, lane, unit, pair, out.codes);
    int g = lane >> 2;
    QL_UNROLL
    for (int i = 0; i < 2; ++i) {
      int c = 2 * pair + i;
      QL_UNROLL
      for (int h = 0; h < 2; ++h)
        loadHigh(l, 2 * h + (g >> 2), g & 3, unit, c, out.codes.high[c][h]);
      loadWords(table.entry(c, g, 0), 2 * table.floats(), out.groups[i]);
    }
  }
  QL_INLINE void weightsOf(const UnitLayout &l, const Tile &tile, QL_SHARED u8 *stage,
                           const Exchange &table, int pair, int lane, u32x4 *a) const {
    Columns columns;
    load(l, tile, stage, table, pair, lane, columns);
    makeWeights(l, columns, pair, lane, a);
  }

  QL_INLINE Exchange tableOf(const UnitLayout &l, int warp, int b) const {
    return {tables + (warp * shape.warpTiles + b) * gemmTableBytes(layout.spec),
            l.halves(), 1};
  }
  QL_INLINE QL_SHARED const u8 *columnsAt(QL_SHARED const u8 *stage, int pair) const {
    return stage + pair * shape.tokens * PreparedActivations::kRowBytes;
  }

  /// sums += a stage's products, for all tiles of the warp: by warps.
  QL_INLINE void multiplyByWarps(const UnitLayout &l, const Tile *tiles,
                                 QL_SHARED u8 *stage, int warp, int lane,
                                 float *sums) const {
    constexpr int kRow = PreparedActivations::kRowBytes;
    int perTile = shape.tokens / 2;
    // The lane's row of each load of matrices: tokens 0 .. 7 even, odd, then 8 .. 15.
    int row = ((lane >> 4) * 8 + (lane & 7)) * kRow;
    int piece = lane >> 3 & 1, swizzle = lane & 7;
    QL_UNROLL
    for (int pair = 0; pair < (l.chunks + 1) / 2; ++pair) {
      u32x4 a[kMaxWarpTiles][4];
      QL_UNROLL
      for (int b = 0; b < shape.warpTiles; ++b)
        weightsOf(l, tiles[b], stage, tableOf(l, warp, b), pair, lane, a[b]);
      QL_UNROLL
      for (int k = 0; k < 4; ++k)
        QL_UNROLL
      for (int n = 0; n < shape.tokens / 16; ++n) {
        u32x4 v = ql_ptx_load_matrices(columnsAt(stage, pair) + n * 16 * kRow + row +
                                       ((2 * k + piece) ^ swizzle) * 16);
        QL_UNROLL
        for (int b = 0; b < shape.warpTiles; ++b)
          QL_UNROLL
        for (int i = 0; i < 2; ++i) {
          float *to = sums + b * perTile + (2 * n + i) * 4;
          f32x4 sum = ql_ptx_mma_half(a[b][k], u32x2{v[2 * i], v[2 * i + 1]},
                                      f32x4{to[0], to[1], to[2], to[3]});
          to[0] = sum[0], to[1] = sum[1], to[2] = sum[2], to[3] = sum[3];
        }
      }
    }
  }

  /// Starts products of 64 columns.
  QL_INLINE void startProducts(QL_SHARED const u8 *stage, int pair, const u32x4 *a,
                               float *sums) const {
    u64 x = ql_ptx_wgmma_descriptor(columnsAt(stage, pair));
    ql_ptx_wgmma_fence();
    QL_UNROLL
    for (int k = 0; k < 4; ++k)
      ql_ptx_wgmma(sums, shape.tokens, a[k], ql_ptx_wgmma_columns(x, 16 * k));
    ql_ptx_wgmma_commit();
  }

  /// The same by groups of four warps.
  QL_INLINE void multiplyByGroups(const UnitLayout &l, const Tile *tiles,
                                  QL_SHARED u8 *stage, int warp, int lane,
                                  float *sums) const {
    int perTile = shape.tokens / 2;
    QL_UNROLL
    for (int s = 0; s < (l.chunks + 1) / 2 * shape.warpTiles; ++s) {
      int pair = s / shape.warpTiles, b = s % shape.warpTiles;
      u32x4 a[4];
      weightsOf(l, tiles[b], stage, tableOf(l, warp, b), pair, lane, a);
      startProducts(stage, pair, a, sums + b * perTile);
      ql_ptx_wgmma_wait(0);
    }
  }
  /// Waits for a stage and decodes its units' scales.
  QL_INLINE void take(const UnitLayout &l, Tile *tiles, RingPlace place, int warp,
                      int lane, float *sums) const {
    await(filled(place.stage), place.parity);
    ql_ptx_warp_barrier(); // the scales of the unit before have been read
    QL_UNROLL
    for (int b = 0; b < shape.warpTiles; ++b)
      decode(l, tiles[b], stageAt(place.stage), tableOf(l, warp, b), warp, lane,
             sums + b * (shape.tokens / 2));
    ql_ptx_warp_barrier();
  }
  QL_INLINE void release(int stage, int lane) const {
    if (mode == kBulk)
      ql_ptx_proxy_fence();
    ql_ptx_warp_barrier();
    if (lane == 0)
      ql_ptx_mbarrier_arrive(freed(stage));
    ql_ptx_warp_barrier();
  }

  /// sums += a unit's products, for all tiles of the warp.
  QL_INLINE void multiplyUnit(const UnitLayout &l, Tile *tiles, RingPlace place,
                              int warp, int lane, float *sums) const {
    QL_SHARED u8 *stage = stageAt(place.stage);
    take(l, tiles, place, warp, lane, sums);
    if (byGroups)
      multiplyByGroups(l, tiles, stage, warp, lane, sums);
    else
      multiplyByWarps(l, tiles, stage, warp, lane, sums);
    release(place.stage, lane);
  }

  /// sums += the products of `count` full units, by groups of four warps. A step is 64
  /// columns of a tile. While the products of a step are under way, the weights of the
  /// next are made, whose codes and scales were loaded a step before; at the last step
  /// of a unit those of the next unit. `refill(i)` refills the stage of unit i - 1.
  template <class Refill>
  QL_INLINE void multiplyFullByGroups(int count, Tile *tiles, RingPlace &place,
                                      int warp, int lane, float *sums,
                                      Refill refill) const {
    UnitLayout l = layout.fullUnit();
    int n = shape.warpTiles, steps = layout::kUnitChunks / 2 * n;
    Columns next;
    u32x4 a[2][4];
    auto loadStep = [&](QL_SHARED u8 *stage, int s) {
      load(l, tiles[s % n], stage, tableOf(l, warp, s % n), s / n, lane, next);
    };
    take(l, tiles, place, warp, lane, sums);
    loadStep(stageAt(place.stage), 0);
    makeWeights(l, next, 0, lane, a[0]);
    loadStep(stageAt(place.stage), 1);
    QL_NO_UNROLL
    for (int i = 0; i < count; ++i) {
      QL_SHARED u8 *stage = stageAt(place.stage);
      int before = place.stage == 0 ? shape.stages - 1 : place.stage - 1;
      RingPlace after = place;
      after.next(shape.stages);
      bool more = i + 1 < count;
      QL_UNROLL
      for (int s = 0; s < steps; ++s) {
        startProducts(stage, s / n, a[s % 2], sums + s % n * (shape.tokens / 2));
        if (s + 1 == steps) {
          if (!fixedFactor())
            ql_ptx_wgmma_wait(0); // decoding may scale the sums
          if (more) {
            take(l, tiles, after, warp, lane, sums);
            loadStep(stageAt(after.stage), 0);
          }
        }
        ql_ptx_wgmma_wait(1);
        if (s == 0 && i > 0)
          release(before, lane);
        makeWeights(l, next, s + 1 < steps ? (s + 1) / n : 0, lane, a[(s + 1) % 2]);
        if (s + 2 < steps)
          loadStep(stage, s + 2);
        else if (s + 1 == steps && more)
          loadStep(stageAt(after.stage), 1);
        if (s == 1) {
          refill(i);
          ql_ptx_warp_barrier(); // products need lanes that are together again
        }
      }
      place = after;
    }
    ql_ptx_wgmma_wait(0);
    release(place.stage == 0 ? shape.stages - 1 : place.stage - 1, lane);
  }

  /// Writes the sums of a tile, as the row's step and F have them, to shared memory.
  QL_INLINE void writeSums(const Tile &tile, int warp, int lane, const float *sums,
                           QL_SHARED float *out) const {
    float back[4], of[2];
    QL_UNROLL
    for (int j = 0; j < 4; ++j) { // 1 / F is a power of two
      back[j] = bitCast<float>((254u << 23) - bitCast<u32>(tile.factor[j]));
      if (scalesRow(layout.spec))
        back[j] *= tile.rows.scale[j][0];
    }
    exchangeRows(back, of, warp, lane);
    int g = lane >> 2, t = lane & 3;
    QL_SHARED float *row =
        out + (tile.slot * layout::kTileRows + g) * shape.sumsRow() + 2 * t;
    QL_UNROLL
    for (int n = 0; n < shape.tokens / 8; ++n)
      QL_UNROLL
    for (int h = 0; h < 2; ++h)
      QL_UNROLL
    for (int i = 0; i < 2; ++i)
      row[h * 8 * shape.sumsRow() + 8 * n + i] =
          sums[4 * n + 2 * h + i] * (1.0f / kHalfUnit) * of[h];
  }

  /// Multiplies `tiles` tiles from `tile0` with the tokens from `token0`; leaves the
  /// sums in `out`. By all threads of the block; ends with a barrier.
  QL_INLINE void multiply(RingPlace &place, int tile0, int tiles, int token0,
                          bool first, QL_SHARED float *out) const {
    int thread = ql_ptx_thread(), warp = thread / kWarp, lane = thread % kWarp;
    int used = tiles * weights;
    if (warp == shape.warps) {
      fillAll(place, tile0, used, token0, first, lane);
      ql_ptx_barrier();
    } else {
      bool copies = !shape.copyWarps && warp == 0;
      RingPlace next = place; // to fill
      if (copies)
        fill(next, tile0, used, token0, first, lane);
      else if (first)
        ql_ptx_wait_prior_grids();
      float sums[kMaxGemmSums];
      QL_UNROLL
      for (int i = 0; i < shape.warpTiles * (shape.tokens / 2); ++i)
        sums[i] = 0.0f;
      Tile mine[kMaxWarpTiles];
      QL_UNROLL
      for (int b = 0; b < shape.warpTiles; ++b) // past the last: that again
        mine[b] = open(min(b * shape.warps + warp, used - 1), tile0);
      int full = min(units, int(layout.fullUnits()) - unit0);
      // The stage that all warps have released goes to the unit that is next.
      auto refill = [&](int i) {
        int u = i - 1 + shape.stages;
        if (copies && i > 0 && u < units)
          copyBoth(next, unit0 + u, tile0, used, token0, lane);
      };
      if (byGroups && ahead && full > 0) {
        multiplyFullByGroups(full, mine, place, warp, lane, sums, refill);
      } else {
        QL_NO_UNROLL
        for (int i = 0; i < full; ++i) {
          refill(i);
          multiplyUnit(layout.fullUnit(), mine, place, warp, lane, sums);
          place.next(shape.stages);
        }
      }
      if (layout.tailChunks() && full < units) {
        multiplyUnit(layout.tailUnit(), mine, place, warp, lane, sums);
        place.next(shape.stages);
      }
      ql_ptx_barrier(); // the sums may take the ring's place
      QL_UNROLL
      for (int b = 0; b < shape.warpTiles; ++b)
        if (b * shape.warps + warp < used)
          writeSums(mine[b], warp, lane, sums + b * (shape.tokens / 2), out);
    }
    ql_ptx_barrier();
  }
};

} // namespace qlinear::kernels
#endif
