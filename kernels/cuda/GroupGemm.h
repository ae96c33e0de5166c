//===- GroupGemm.h - Products with many tokens by groups of warps -*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A job is up to slots() tiles of 16 rows times up to `tokens` tokens. Blocks take jobs,
// or pieces of them: ranges of units of K (Shares).
//
//   a group that copies   one warp fills a ring with units of the tiles, a stage each;
//                         another one a ring with x, blocks of 64 columns of all tokens
//   groups that multiply  have groupSlots() slots each. They wait for a unit, decode its
//                         scales, and while products of 64 columns are under way
//                         (wgmma), make the weights of the next 64 in registers
//
// The rings run on from job to job, so copies never wait for results. A group finishes
// its sums by itself, in rounds through shared memory, while others multiply. The sums
// of a piece go to memory; the group that comes last adds all pieces in the order of K:
// results' bits depend on the shape and the kernel alone.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_GROUPGEMM_H
#define QLINEAR_KERNELS_CUDA_GROUPGEMM_H

#include "GemmTiles.h"
#include "Shares.h"

namespace qlinear::kernels {

/// Where a warp is in both rings.
struct GroupPlace {
  RingPlace unit, x;
};

/// Slot s of a group is weight s % weights of its tile s / weights.
struct GroupGemm : GemmTiles {
  int rows, units;
  int rank; ///< in a pair of blocks
  const u8 *image;
  u8 *scratch; ///< counters of pieces, then their sums
  int counterBytes;
  QL_SHARED u8 *xRing, *ring;
  QL_SHARED u64 *barriers; ///< filled, then free, of stages of units, then of x
  QL_SHARED float *rounds; ///< of each group (GemmShape::roundBytes)

  QL_INLINE QL_SHARED u64 *filled(int stage) const { return barriers + stage; }
  QL_INLINE QL_SHARED u64 *freed(int stage) const {
    return filled(shape.stages + stage);
  }
  QL_INLINE QL_SHARED u64 *xFilled(int stage) const {
    return filled(2 * shape.stages + stage);
  }
  QL_INLINE QL_SHARED u64 *xFreed(int stage) const {
    return xFilled(shape.xStages + stage);
  }
  QL_INLINE QL_SHARED u8 *xStageAt(int stage) const {
    return xRing + stage * shape.stageX();
  }
  QL_INLINE QL_SHARED u8 *unitAt(int stage, int slot) const {
    return ring + (stage * shape.slots() + slot) * gemmSlotBytes(layout);
  }
  QL_INLINE static int warpOf(int thread) {
    return int(ql_ptx_uniform(u32(thread / kWarp)));
  }
  /// Tiles of a group.
  QL_INLINE int groupTiles() const { return shape.groupSlots() / weights; }
  /// The tile of a job that slot `slot` of the block has; -1: none of `tiles`.
  QL_INLINE int tileOf(int slot, int tiles) const {
    int inGroup = slot % shape.groupSlots() / weights;
    int tile = slot / shape.groupSlots() * groupTiles() + inGroup;
    return inGroup < groupTiles() && tile < tiles ? tile : -1;
  }
  QL_INLINE int weightOf(int slot) const {
    return slot % shape.groupSlots() % weights;
  }
  QL_INLINE int tokensFrom(int token0) const {
    return min(shape.tokens, rows - token0);
  }
  /// Blocks of columns of unit `u`.
  QL_INLINE int blocksOf(int u) const {
    return isTail(u) ? (layout.tailChunks() + 1) / 2 : kUnitBlocks;
  }

  //===--------------------------------------------------------------------===//
  // Copies
  //===--------------------------------------------------------------------===//

  /// The units of a piece, by a warp; lanes have a slot each.
  QL_INLINE void copyUnits(const Piece &piece, RingPlace &place, int lane) const {
    bool withSteps = stepsOutside(layout.spec);
    int stepBytes = layout.fullUnit().stepBytes();
    QL_NO_UNROLL
    for (int u = piece.unit0; u < piece.unit1; ++u) {
      int bytes = isTail(u) ? layout.tailUnit().bytes() : layout.fullUnit().bytes();
      QL_SHARED u64 *barrier = filled(place.stage);
      ql_ptx_mbarrier_wait(freed(place.stage), place.parity ^ 1);
      if (lane == 0)
        ql_ptx_mbarrier_expect(barrier, u32(piece.tiles * weights *
                                            (bytes + (withSteps ? stepBytes : 0))));
      ql_ptx_warp_barrier();
      QL_NO_UNROLL
      for (int s = lane; s < shape.slots(); s += kWarp) {
        int tile = tileOf(s, piece.tiles);
        if (tile < 0)
          continue;
        const u8 *blob = blobOf(weightOf(s));
        u64 index = u64(u32(piece.tile0 + tile));
        QL_SHARED u8 *to = unitAt(place.stage, s);
        ql_ptx_bulk_copy(to, blob + layout.unitOffset(index, u64(u32(u))), u32(bytes),
                         barrier);
        if (withSteps)
          ql_ptx_bulk_copy(to + gemmUnitBytes(layout),
                           blob + layout.stepsOffset(index, u64(u32(u))),
                           u32(stepBytes), barrier);
      }
      place.next(shape.stages);
    }
  }
  /// Its activations; lanes have a block of columns each.
  QL_INLINE void copyActivations(const Piece &piece, RingPlace &place, int lane) const {
    constexpr int kRow = PreparedActivations::kRowBytes;
    int all = tokensFrom(piece.token0), bytes = all * kRow;
    // A block of a pair copies half of the tokens, for both.
    int most = shape.pair ? shape.tokens / 2 : shape.tokens;
    int from = shape.pair ? rank * most : 0, part = min(most, all - from);
    PreparedActivations prepared{layout.K};
    QL_NO_UNROLL
    for (int u = piece.unit0; u < piece.unit1; ++u) {
      int blocks = blocksOf(u);
      QL_NO_UNROLL
      for (int b = 0; b < blocks; b += shape.xBlocks) {
        int count = min(shape.xBlocks, blocks - b);
        QL_SHARED u64 *barrier = xFilled(place.stage);
        ql_ptx_mbarrier_wait(xFreed(place.stage), place.parity ^ 1);
        if (lane == 0)
          ql_ptx_mbarrier_expect(barrier, u32(count * bytes));
        ql_ptx_warp_barrier();
        if (lane < count && part > 0) {
          QL_SHARED u8 *to = xStageAt(place.stage) + lane * shape.blockX() + from * kRow;
          const u8 *block =
              image +
              prepared.block(u64(u32(rows)), u64(u32(u * kUnitBlocks + b + lane))) +
              u64(u32(piece.token0 + from)) * kRow;
          if (shape.pair)
            ql_ptx_bulk_copy_pair(to, block, u32(part * kRow), barrier);
          else
            ql_ptx_bulk_copy(to, block, u32(part * kRow), barrier);
        }
        place.next(shape.xStages);
      }
    }
  }
  /// By the group that copies: its first warp has units, the second one x, which
  /// kernels before write.
  QL_INLINE void copy(const Piece &piece, GroupPlace &place, bool first) const {
    int thread = ql_ptx_thread(), warp = warpOf(thread) - shape.warps;
    int lane = thread % kWarp;
    if (warp == 0) {
      copyUnits(piece, place.unit, lane);
    } else if (warp == 1) {
      if (first)
        ql_ptx_wait_prior_grids();
      copyActivations(piece, place.x, lane);
    }
  }

  //===--------------------------------------------------------------------===//
  // Products
  //===--------------------------------------------------------------------===//

  /// Waits for a unit and decodes the scales of the warp's tiles; those of the unit before
  /// have been read when that was released.
  QL_INLINE void take(const UnitLayout &l, Tile *tiles, RingPlace place, int warp,
                      int lane, float *sums) const {
    ql_ptx_mbarrier_wait(filled(place.stage), place.parity);
    QL_UNROLL
    for (int b = 0; b < shape.warpTiles; ++b)
      decode(l, tiles[b], unitAt(place.stage, tiles[b].slot), tableOf(l, warp, b), warp,
             lane, sums + b * (shape.tokens / 2));
    ql_ptx_warp_barrier();
  }
  /// The warp has read all of a unit.
  QL_INLINE void releaseUnit(int stage, int lane) const {
    ql_ptx_proxy_fence();
    ql_ptx_warp_barrier();
    if (lane == 0)
      ql_ptx_mbarrier_arrive(freed(stage));
    ql_ptx_warp_barrier();
  }
  /// The group's products with a stage of x are done.
  QL_INLINE void releaseX(int stage, int lane) const {
    ql_ptx_warp_barrier();
    if (!shape.pair) {
      if (lane == 0)
        ql_ptx_mbarrier_arrive(xFreed(stage));
    } else if (lane < 2) {
      ql_ptx_cluster_mbarrier_arrive(xFreed(stage), lane);
    }
    ql_ptx_warp_barrier();
  }
  QL_INLINE int before(RingPlace place) const {
    return place.stage == 0 ? shape.xStages - 1 : place.stage - 1;
  }

  /// Waits for the stage of x that has the blocks from `pair` on, if it begins there.
  QL_INLINE void awaitX(RingPlace place, int pair, u64 &descriptor) const {
    if (pair % shape.xBlocks)
      return;
    ql_ptx_mbarrier_wait(xFilled(place.stage), place.parity);
    descriptor = ql_ptx_wgmma_descriptor(xStageAt(place.stage));
  }
  /// Starts products of 64 columns: block `pair` of x.
  QL_INLINE void startProducts(u64 descriptor, int pair, const u32x4 *a,
                               float *sums) const {
    int block = pair % shape.xBlocks * shape.blockX() / 2; // in columns
    ql_ptx_wgmma_fence();
    QL_UNROLL
    for (int k = 0; k < 4; ++k)
      ql_ptx_wgmma(sums, shape.tokens, a[k],
                   ql_ptx_wgmma_columns(descriptor, block + 16 * k));
    ql_ptx_wgmma_commit();
  }

  /// The scales of the piece's tokens, which kernels before write, are under way.
  QL_INLINE void fetchScales(const Piece &piece, int group, bool first) const {
    if (first)
      ql_ptx_wait_prior_grids();
    PreparedActivations prepared{layout.K};
    const u8 *from = image + prepared.scales(u64(u32(rows))) + piece.token0 * 4;
    int token = ql_ptx_thread() % (kGroupWarps * kWarp) * 4;
    if (token < tokensFrom(piece.token0))
      ql_ptx_async_copy16(scalesOf(group) + token, from + token * 4);
    ql_ptx_async_commit();
    ql_ptx_warp_barrier(); // products need lanes that are together
  }

  /// sums += the products of `count` full units. A step is 64 columns of a tile of each
  /// warp. While the products of a step are under way, the weights of the next are made,
  /// whose codes and scales were loaded a step before; at the last step of a unit those
  /// of the next unit.
  QL_INLINE void multiplyFull(int count, const Piece &piece, bool first, Tile *tiles,
                              GroupPlace &place, int warp, int lane,
                              float *sums) const {
    UnitLayout l = layout.fullUnit();
    int n = shape.warpTiles, steps = kUnitBlocks * n;
    Columns next;
    u32x4 a[2][4];
    auto loadStep = [&](int stage, int s) {
      load(l, unitAt(stage, tiles[s % n].slot), tableOf(l, warp, s % n), s / n, lane,
           next);
    };
    take(l, tiles, place.unit, warp, lane, sums);
    loadStep(place.unit.stage, 0);
    makeWeights(l, next, 0, lane, a[0]);
    loadStep(place.unit.stage, 1);
    fetchScales(piece, warp / kGroupWarps, first);
    u64 descriptor = 0;
    QL_NO_UNROLL
    for (int i = 0; i < count; ++i) {
      int stage = place.unit.stage;
      place.unit.next(shape.stages);
      bool more = i + 1 < count;
      QL_UNROLL
      for (int s = 0; s < steps; ++s) {
        int pair = s / n, b = s % n;
        bool begins = b == 0 && pair % shape.xBlocks == 0;
        bool ends = b == n - 1 && pair % shape.xBlocks == shape.xBlocks - 1;
        if (begins)
          awaitX(place.x, pair, descriptor);
        startProducts(descriptor, pair, a[s % 2], sums + b * (shape.tokens / 2));
        if (s + 1 == steps) {
          if (!fixedFactor())
            ql_ptx_wgmma_wait(0); // decoding may scale the sums
          if (more) {
            take(l, tiles, place.unit, warp, lane, sums);
            loadStep(place.unit.stage, 0);
          }
        }
        ql_ptx_wgmma_wait(1);
        int nextPair = s + 1 < steps ? (s + 1) / n : 0;
        pin(l, nextPair, next);
        if (begins && (s > 0 || i > 0))
          releaseX(before(place.x), lane);
        makeWeights(l, next, nextPair, lane, a[(s + 1) % 2]);
        if (s + 2 < steps)
          loadStep(stage, s + 2);
        else if (s + 2 == steps)
          releaseUnit(stage, lane);
        else if (more)
          loadStep(place.unit.stage, 1);
        if (ends)
          place.x.next(shape.xStages);
      }
    }
    ql_ptx_wgmma_wait(0);
    releaseX(before(place.x), lane);
  }

  /// sums += the products of the tail unit, a step after the other.
  QL_INLINE void multiplyTail(Tile *tiles, GroupPlace &place, int warp, int lane,
                              float *sums) const {
    UnitLayout l = layout.tailUnit();
    int n = shape.warpTiles, blocks = (l.chunks + 1) / 2;
    take(l, tiles, place.unit, warp, lane, sums);
    u64 descriptor = 0;
    QL_UNROLL
    for (int pair = 0; pair < blocks; ++pair) {
      awaitX(place.x, pair, descriptor);
      QL_UNROLL
      for (int b = 0; b < n; ++b) {
        u32x4 a[4];
        weightsOf(l, unitAt(place.unit.stage, tiles[b].slot), tableOf(l, warp, b), pair,
                  lane, a);
        startProducts(descriptor, pair, a, sums + b * (shape.tokens / 2));
        ql_ptx_wgmma_wait(0);
      }
      if (pair % shape.xBlocks == shape.xBlocks - 1 || pair == blocks - 1) {
        releaseX(place.x.stage, lane);
        place.x.next(shape.xStages);
      }
    }
    releaseUnit(place.unit.stage, lane);
    place.unit.next(shape.stages);
  }

  //===--------------------------------------------------------------------===//
  // Sums
  //===--------------------------------------------------------------------===//

  /// The group's sums of a piece meet those of the job's other pieces, which are written
  /// to memory: the group that comes last adds them all, in the order of K, and gets true.
  /// Of two, it needs the other's only: the order of two does not matter.
  QL_INLINE bool join(const Piece &piece, int group, float *sums) const {
    constexpr int kThreads = kGroupWarps * kWarp;
    int thread = ql_ptx_thread() % kThreads, vectors = shape.threadSums() / 4;
    u8 *mine = scratch + counterBytes + i64(group * vectors * kThreads + thread) * 16;
    auto at = [&](int p, int v) {
      int slot = shape.pair ? 2 * piece.slotOf(p) + rank : piece.slotOf(p);
      return (f32x4 *)(mine + i64(slot) * shape.pieceBytes() + v * (kThreads * 16));
    };
    int job = shape.pair ? 2 * piece.job + rank : piece.job;
    u32 *begun = (u32 *)scratch + 2 * (job * shape.groups() + group);
    u32 *written = begun + 1;
    QL_SHARED u32 *order = (QL_SHARED u32 *)(roundsOf(group));
    if (thread == 0)
      *order = ql_ptx_count(begun);
    ql_ptx_group_barrier(1 + group);
    bool last = *order + 1 == u32(piece.pieces), two = piece.pieces == 2;
    if (!last || !two)
      QL_UNROLL
    for (int v = 0; v < vectors; ++v)
      *at(piece.own, v) =
          f32x4{sums[4 * v], sums[4 * v + 1], sums[4 * v + 2], sums[4 * v + 3]};
    if (!last) {
      ql_ptx_group_barrier(1 + group);
      if (thread == 0)
        ql_ptx_count(written);
      return false;
    }
    if (thread == 0)
      ql_ptx_await_count(written, u32(piece.pieces - 1));
    ql_ptx_group_barrier(1 + group);
    if (!two)
      QL_UNROLL
    for (int i = 0; i < shape.threadSums(); ++i)
      sums[i] = 0.0f;
    QL_NO_UNROLL
    for (int p = 0; p < piece.pieces; ++p) {
      if (two && p == piece.own)
        continue;
      QL_UNROLL
      for (int v = 0; v < vectors; ++v) {
        u32x4 part = ql_ptx_load16_l2(at(p, v));
        QL_UNROLL
        for (int i = 0; i < 4; ++i)
          sums[4 * v + i] += bitCast<float>(u32(part[i]));
      }
    }
    return true;
  }
  QL_INLINE QL_SHARED float *roundsOf(int group) const {
    return rounds + group * (shape.roundBytes() / 4);
  }
  /// The scales of the job's tokens.
  QL_INLINE QL_SHARED float *scalesOf(int group) const {
    return roundsOf(group) + shape.roundTokens * shape.roundRow();
  }

  /// Multiplies a piece, by a thread of a group that multiplies. Whether the sums are
  /// finished; then they are those of the job, but for the scales of the tokens.
  QL_INLINE bool multiply(const Piece &piece, GroupPlace &place, bool first,
                          float *sums) const {
    int thread = ql_ptx_thread(), warp = warpOf(thread), lane = thread % kWarp;
    int group = warp / kGroupWarps;
    QL_UNROLL
    for (int i = 0; i < shape.threadSums(); ++i)
      sums[i] = 0.0f;
    Tile mine[kMaxWarpTiles];
    QL_UNROLL
    for (int b = 0; b < shape.warpTiles; ++b) {
      int slot = group * shape.groupSlots() + b * kGroupWarps + warp % kGroupWarps;
      if (tileOf(slot, piece.tiles) < 0)
        slot = 0; // that again
      // Of a pair of blocks, one may have no tiles.
      int tile = min(piece.tile0 + max(0, tileOf(slot, piece.tiles)),
                     int(layout.tiles()) - 1);
      mine[b] = open(slot, tile, weightOf(slot));
    }
    int full = min(piece.unit1, int(layout.fullUnits())) - piece.unit0;
    if (full > 0)
      multiplyFull(full, piece, first, mine, place, warp, lane, sums);
    if (layout.tailChunks() && isTail(piece.unit1 - 1)) {
      if (full <= 0)
        fetchScales(piece, group, first);
      multiplyTail(mine, place, warp, lane, sums);
    }
    QL_UNROLL
    for (int b = 0; b < shape.warpTiles; ++b) {
      float of[2];
      factorsOf(mine[b], warp, lane, of);
      // Fixed factors leave no room for an overflow.
      float before = fixedFactor() ? 1.0f : 1.0f / kHalfUnit;
      float after = fixedFactor() ? 1.0f / kHalfUnit : 1.0f;
      of[0] *= after;
      of[1] *= after;
      QL_UNROLL
      for (int i = 0; i < shape.tokens / 2; ++i) {
        float &sum = sums[b * (shape.tokens / 2) + i];
        sum = sum * before * of[i / 2 % 2];
      }
    }
    ql_ptx_async_wait(0);
    return piece.pieces == 1 || join(piece, group, sums);
  }

  /// Hands the group's sums of the tokens of a round, and the tokens' scales, to all of
  /// its threads, which then meet again (done).
  QL_INLINE void share(int round, const float *sums) const {
    int thread = ql_ptx_thread(), warp = warpOf(thread), lane = thread % kWarp;
    int group = warp / kGroupWarps, g = lane >> 2, t = lane & 3;
    QL_SHARED float *out = roundsOf(group);
    QL_UNROLL
    for (int b = 0; b < shape.warpTiles; ++b) {
      int row = (b * kGroupWarps + warp % kGroupWarps) * layout::kTileRows + g;
      QL_UNROLL
      for (int n = 0; n < shape.roundTokens / 8; ++n)
        QL_UNROLL
      for (int i = 0; i < 4; ++i)
        out[(8 * n + 2 * t + i % 2) * shape.roundRow() + row + i / 2 * 8] =
            sums[b * (shape.tokens / 2) + round * (shape.roundTokens / 2) + 4 * n + i];
    }
    ql_ptx_group_barrier(1 + group);
  }
  /// The round has been read.
  QL_INLINE void done() const {
    ql_ptx_group_barrier(1 + warpOf(ql_ptx_thread()) / kGroupWarps);
  }
  /// Elements of a round: kElementRows rows of a token each, those of a token first.
  QL_INLINE int perToken() const {
    return groupTiles() * (layout::kTileRows / kElementRows);
  }
  /// The first row of an element, in the job's tiles.
  QL_INLINE int rowOf(int element) const {
    int group = warpOf(ql_ptx_thread()) / kGroupWarps;
    return group * groupTiles() * layout::kTileRows +
           element % perToken() * kElementRows;
  }
  QL_INLINE int tokenOf(int element) const { return element / perToken(); }
  /// Its products of weight `weight`.
  QL_INLINE f32x4 products(int round, int element, int weight) const {
    static_assert(kElementRows == 4);
    constexpr int perTile = layout::kTileRows / kElementRows;
    int group = warpOf(ql_ptx_thread()) / kGroupWarps;
    int index = element % perToken(), token = tokenOf(element);
    int slot = index / perTile * weights + weight;
    int row = slot * layout::kTileRows + index % perTile * kElementRows;
    return *(QL_SHARED const f32x4 *)(roundsOf(group) + token * shape.roundRow() + row) *
           scalesOf(group)[round * shape.roundTokens + token];
  }
};

} // namespace qlinear::kernels
#endif
