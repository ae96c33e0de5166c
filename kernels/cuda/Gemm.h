//===- Gemm.h - Products with many tokens by warps --------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block multiplies up to slots() tiles of 16 rows with up to `tokens` tokens (a job;
// the skeleton shares jobs out), by mma.sync with f32 sums:
//
//   ring, in shared memory, of stages: 256 columns of each
//                  | x: 64-column blocks of the tokens | slot 0 | slot 1 | ...  a unit
//                  of
//                                                        a tile each, as it is packed
//   a warp         fills a stage when all have released it: the first one by bulk
//                  copies, or one of its own by cp.async
//   the warps      have up to warpTiles slots each and all tokens; they wait for a
//                  stage, decode the scales of its units, and per 64 columns make the
//                  weights as f16 in registers and multiply them
//
// The order of sums depends on the shape and the kernel alone: so do results' bits.
// GroupGemm.h is the same by groups of four warps.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_GEMM_H
#define QLINEAR_KERNELS_CUDA_GEMM_H

#include "GemmTiles.h"

namespace qlinear::kernels {

/// Slot s of a stage is weight s % weights of tile s / weights.
struct Gemm : GemmTiles {
  int mode; ///< kAsync or kBulk
  int stageBytes;
  int unit0, units, rows; ///< the block's range of K; of the call
  const u8 *image;
  QL_SHARED u8 *ring;
  QL_SHARED u64 *barriers; ///< filled, then free, of each stage

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
      const u8 *blob = blobOf(s % weights);
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
        weightsOf(l, slotAt(stage, tiles[b].slot), tableOf(l, warp, b), pair, lane,
                  a[b]);
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

  /// Waits for a stage and decodes its units' scales; those of the units before have been
  /// read when these were released.
  QL_INLINE void take(const UnitLayout &l, Tile *tiles, RingPlace place, int warp,
                      int lane, float *sums) const {
    await(filled(place.stage), place.parity);
    QL_UNROLL
    for (int b = 0; b < shape.warpTiles; ++b)
      decode(l, tiles[b], slotAt(stageAt(place.stage), tiles[b].slot),
             tableOf(l, warp, b), warp, lane, sums + b * (shape.tokens / 2));
    ql_ptx_warp_barrier();
  }
  QL_INLINE void release(int stage, int lane) const {
    if (mode == kBulk)
      ql_ptx_proxy_fence();
    ql_ptx_warp_barrier();
    if (lane == 0)
      ql_ptx_mbarrier_arrive(freed(stage));
  }

  /// sums += a unit's products, for all tiles of the warp.
  QL_INLINE void multiplyUnit(const UnitLayout &l, Tile *tiles, RingPlace place,
                              int warp, int lane, float *sums) const {
    QL_SHARED u8 *stage = stageAt(place.stage);
    take(l, tiles, place, warp, lane, sums);
    multiplyByWarps(l, tiles, stage, warp, lane, sums);
    release(place.stage, lane);
  }

  /// Writes the sums of a tile, as the row's step and F have them, to shared memory.
  QL_INLINE void writeSums(const Tile &tile, int warp, int lane, const float *sums,
                           QL_SHARED float *out) const {
    float of[2];
    factorsOf(tile, warp, lane, of);
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
      for (int b = 0; b < shape.warpTiles; ++b) { // past the last: that again
        int slot = min(b * shape.warps + warp, used - 1);
        mine[b] = open(slot, tile0 + slot / weights, slot % weights);
      }
      int full = min(units, int(layout.fullUnits()) - unit0);
      // The stage that all warps have released goes to the unit that is next.
      auto refill = [&](int i) {
        int u = i - 1 + shape.stages;
        if (copies && i > 0 && u < units)
          copyBoth(next, unit0 + u, tile0, used, token0, lane);
      };
      QL_NO_UNROLL
      for (int i = 0; i < full; ++i) {
        refill(i);
        multiplyUnit(layout.fullUnit(), mine, place, warp, lane, sums);
        place.next(shape.stages);
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
