//===- Walk.h - One warp's way through the weights --------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block owns a contiguous range of tiles of one weight, or of several weights
// with the same encoding and shape (gate and up), whose tiles then alternate. A
// *run* is the units of one tile of one weight; run r of the block is tile
// tile0 + r / weights of weight r % weights. The units of all its runs are cut
// into one contiguous range per warp. For two tiles of gate and up with 5 units
// each, and 3 warps:
//
//                  K -->
//   run 0  gate  tile0    | 0 0 0 0 0 |     the digit is the warp
//   run 1  up    tile0    | 0 1 1 1 1 |     that multiplies the unit
//   run 2  gate  tile0+1  | 1 1 1 2 2 |
//   run 3  up    tile0+1  | 2 2 2 2 2 |
//
// At the end of its part of a run, a warp adds up the lanes that share rows (none on
// tensor cores) and writes 16 sums per token to the slot of (run, warp): slot run +
// warp, which no other pair has. `total` adds the slots of a run in the order of K, so
// results do not depend on timing. Here run 1 is slots 1 (warp 0) and 2 (warp 1).
//
// A warp keeps `stages` units under way in a ring of its own in shared memory,
// filled by bulk copies (sm_90) or cp.async (sm_80), or one unit in registers:
//
//   stage       0         1         2
//            [ unit 3 ][ unit 4 ][ unit 2 ]    take() unit 2, then release(): the copy
//              landed    on its    oldest      of unit 5 goes there
//                        way
//
// Where the activations of all of K do not fit into shared memory, a kernel makes one
// walk per range of K (a *phase*), one after the other.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_WALK_H
#define QLINEAR_KERNELS_CUDA_WALK_H

#include "HalfFragment.h"

namespace qlinear::kernels {

struct Walk {
  // The same in all threads; constants up to tile0.
  int mode, product, weights, warps, stages;
  WeightLayout layout;
  int unit0, units; ///< of each tile: the walk's range of K
  int tile0, tiles;
  const u8 *blobs[kMaxWeights];
  QL_SHARED u8 *ring;      ///< of this warp
  QL_SHARED u64 *barriers; ///< of this warp
  QL_SHARED u8 *exchange;  ///< of this warp, on tensor cores
  int warp, lane;
  int first, count; ///< units of this warp
  // Consumer: the stage that comes next, and its phase.
  int stage;
  u32 parity;
  // Producer: the unit to fetch next, how many are left.
  int run, unit, left;
  u64 policy;

  QL_INLINE bool tensor() const { return onTensorCores(product); }
  QL_INLINE int runs() const { return tiles * weights; }
  QL_INLINE const u8 *blobOf(int r) const {
    const u8 *p = blobs[0];
    QL_UNROLL
    for (int w = 1; w < weights; ++w)
      p = r % weights == w ? blobs[w] : p;
    return p;
  }
  QL_INLINE u64 tileOf(int r) const { return u64(u32(tile0 + r / weights)); }
  /// Full units of a tile in the walk's range, which may end in the tail unit.
  QL_INLINE int fullUnits() const {
    return layout.tailChunks() ? min(units, int(layout.fullUnits()) - unit0) : units;
  }
  QL_INLINE bool hasTail() const { return fullUnits() != units; }
  QL_INLINE bool isTail(int u) const { return hasTail() && u == fullUnits(); }
  QL_INLINE u64 offsetOf(int r, int u) const {
    return layout.unitOffset(tileOf(r), u64(u32(unit0 + u)));
  }
  QL_INLINE u64 stepsOf(int r, int u) const {
    return layout.stepsOffset(tileOf(r), u64(u32(unit0 + u)));
  }
  /// Where unit u starts within its 128-byte line.
  QL_INLINE int misalignment(int u) const {
    return layout.fullUnit().bytes() % layout::kLine
               ? (unit0 + u) * layout.fullUnit().bytes() % layout::kLine
               : 0;
  }
  QL_INLINE int unitBytes(int u) const {
    return isTail(u) ? layout.tailUnit().bytes() : layout.fullUnit().bytes();
  }

  QL_INLINE void partition() {
    int total = runs() * units;
    first = warp * total / warps;
    count = (warp + 1) * total / warps - first;
    run = first / units;
    unit = first - run * units;
    left = count;
  }

  /// Starts the copy of the producer's unit into a stage, and moves on.
  QL_INLINE void fetch(int into) {
    const u8 *blob = blobOf(run);
    const u8 *src = blob + offsetOf(run, unit);
    const u8 *steps = blob + stepsOf(run, unit);
    QL_SHARED u8 *dst = ring + into * stageBytes(layout);
    QL_SHARED u8 *stepsTo = dst + unitStageBytes(layout);
    bool withSteps = stepsOutside(layout.spec);
    int stepBytes = layout.fullUnit().stepBytes();
    int skip = misalignment(unit), bytes = unitBytes(unit);
    if (mode == kBulk) {
      if (lane == 0) {
        // Whole lines: partial ones cost as much and slow the copy engine down.
        int lines = layout.fullUnit().bytes() % layout::kLine
                        ? int(alignTo(u64(u32(skip + bytes)), layout::kLine))
                        : bytes;
        QL_SHARED u64 *barrier = barriers + into;
        ql_ptx_mbarrier_expect(barrier, u32(lines + (withSteps ? stepBytes : 0)));
        ql_ptx_bulk_copy_hint(dst, src - skip, u32(lines), barrier, policy);
        if (withSteps)
          ql_ptx_bulk_copy(stepsTo, steps, u32(stepBytes), barrier);
      }
    } else {
      QL_NO_UNROLL
      for (int o = lane * 16; o < bytes; o += kWarp * 16)
        ql_ptx_async_copy16(dst + skip + o, src + o);
      if (withSteps && lane * 16 < stepBytes)
        ql_ptx_async_copy16(stepsTo + lane * 16, steps + lane * 16);
    }
    advance();
  }
  QL_INLINE void advance() {
    --left;
    if (++unit == units) {
      unit = 0;
      ++run;
    }
  }

  /// Starts the copies that fill stages first .. last - 1 of the ring, all of them in
  /// one or more calls, the first of which sets the ring up. In kDirect mode there is
  /// none. `afterLoads`: the thread's loads under way arrive before the copies start.
  QL_INLINE void start(int firstStage, int lastStage, bool afterLoads) {
    if (firstStage == 0) {
      stage = 0;
      parity = 0;
      policy = 0;
    }
    if (mode == kDirect)
      return;
    if (firstStage == 0 && mode == kBulk) {
      policy = ql_ptx_evict_first();
      if (lane == 0) {
        QL_UNROLL
        for (int s = 0; s < stages; ++s)
          ql_ptx_mbarrier_init(barriers + s);
        ql_ptx_mbarrier_fence();
      }
      ql_ptx_warp_barrier();
    }
    if (afterLoads && mode == kBulk)
      ql_ptx_proxy_fence(); // waits for them
    QL_UNROLL
    for (int s = firstStage; s < lastStage; ++s) {
      if (left > 0)
        fetch(s);
      if (mode == kAsync)
        ql_ptx_async_commit();
    }
  }

  /// Loads the ring's oldest unit (unit u of its tile); release() refills its stage.
  /// With `codes`, the codes go there for tensor cores, and only metadata into `out`.
  QL_INLINE void take(const UnitLayout &l, int u, Unit &out, Fragments *codes) {
    if (mode == kBulk) {
      ql_ptx_mbarrier_wait(barriers + stage, parity);
    } else {
      ql_ptx_async_wait(stages - 1);
      ql_ptx_warp_barrier();
    }
    QL_SHARED u8 *at = ring + stage * stageBytes(layout);
    SharedSource from{at + misalignment(u)}, steps{at + unitStageBytes(layout)};
    if (tensor()) {
      loadFragments(l, lane, from.p, *codes);
      loadMetadata(l, lane, from, steps, out);
    } else {
      loadUnit(l, lane, from, steps, out);
    }
  }
  /// Refills the stage of the oldest unit, which all lanes have loaded, and moves on to
  /// the next one. A barrier for the warp. Nothing cheaper than the fence was right
  /// when measured. With an mbarrier at which the lanes arrive and for which lane 0
  /// waits, the copy overtakes loads; one fence for two stages leaves too few copies
  /// under way.
  QL_INLINE void release() {
    if (mode == kBulk)
      ql_ptx_proxy_fence();
    ql_ptx_warp_barrier();
    if (left > 0)
      fetch(stage);
    if (mode == kAsync)
      ql_ptx_async_commit();
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  /// Takes unit u of its tile out of the ring into registers.
  QL_INLINE void takeAhead(int u, Unit &out) {
    if (isTail(u))
      take(layout.tailUnit(), u, out, nullptr);
    else if (fullUnits())
      take(layout.fullUnit(), u, out, nullptr);
    release();
  }
  /// Takes the warp's first unit, which makes room in the ring.
  QL_INLINE void takeFirst(Unit &out) {
    if (count > 0)
      takeAhead(first % units, out);
  }
  /// kDirect: loads the producer's unit and moves on.
  QL_INLINE void load(Unit &out) {
    const u8 *blob = blobOf(run);
    StreamSource src{blob + offsetOf(run, unit)};
    StreamSource steps{blob + stepsOf(run, unit)};
    if (isTail(unit))
      loadUnit(layout.tailUnit(), lane, src, steps, out);
    else if (fullUnits())
      loadUnit(layout.fullUnit(), lane, src, steps, out);
    advance();
  }

  /// Row constants of the lane's rows in run r.
  QL_INLINE Rows rowsOf(QL_SHARED const float *constants, int r) const {
    const Spec &s = layout.spec;
    Rows rows = {};
    int n = rowFloats(s, s.scale), all = rowFloats(s);
    QL_UNROLL
    for (int j = 0; j < 4; ++j) {
      QL_SHARED const float *p =
          constants + (r * layout::kTileRows + 4 * j + (lane >> 3)) * all;
      QL_UNROLL
      for (int i = 0; i < all; ++i)
        (i < n ? rows.scale[j][i] : rows.offset[j][i - n]) = p[i];
    }
    return rows;
  }

  /// Adds up the 8 lanes of each row group; one lane per row writes the slot.
  QL_INLINE void flush(int tokens, float *acc, QL_SHARED float *slot) const {
    bool b4 = lane & 4, b2 = lane & 2;
    auto exchange = [](float v, int mask) {
      return bitCast<float>(ql_ptx_shuffle_xor(bitCast<u32>(v), mask));
    };
    QL_UNROLL
    for (int m = 0; m < tokens; ++m) {
      float *v = acc + 4 * m;
      float k0 = (b4 ? v[2] : v[0]) + exchange(b4 ? v[0] : v[2], 4);
      float k1 = (b4 ? v[3] : v[1]) + exchange(b4 ? v[1] : v[3], 4);
      float sum = (b2 ? k1 : k0) + exchange(b2 ? k0 : k1, 2);
      sum += exchange(sum, 1);
      int j = lane >> 1 & 3; // b4 is bit 1 of j, b2 bit 0
      if (!(lane & 1))
        slot[m * layout::kTileRows + 4 * j + (lane >> 3)] = sum;
    }
  }

  QL_INLINE static void flushFragments(const LaneShare &share, const float *acc,
                                       QL_SHARED float *slot) {
    if (!share.writes())
      return;
    QL_UNROLL
    for (int h = 0; h < share.rows(); ++h)
      QL_UNROLL
    for (int i = 0; i < share.columns(); ++i)
      slot[share.token(i) * layout::kTileRows + share.row(h)] = acc[2 * h + i];
  }

  /// Multiplies all units of the warp with the activations of `tokens` tokens. With
  /// `ahead` (not on tensor cores) takeFirst has put the first one into `unit`.
  QL_INLINE void multiply(int tokens, QL_SHARED const u8 *codes,
                          QL_SHARED const u8 *records, QL_SHARED const float *constants,
                          QL_SHARED float *slots, Unit &unit, bool ahead) {
    RecordKind kind = RecordKind::of(layout.spec);
    StagedActivations staged{tokens, units, product};
    int codeStride = staged.codeStride();
    LaneShare share{tokens, lane};
    Exchange groups{exchange, kind.halves, kind.hasOffset};
    if (tensor()) {
      codes += product == kMma ? (lane & (tokens - 1)) * codeStride +
                                     (lane >> 3 & 1) * 128 + (lane >> 4) * 16
                               : (lane & (tokens - 1)) * codeStride + (lane >> 3) * 16;
      records += share.token(0) * kind.bytes();
    } else {
      codes += (lane & 7) * 16;
      records += (lane & 7) * kind.bytes();
    }
    int unitRecords = staged.record(0, layout::kUnitChunks) * kind.bytes();
    int r = first / units, u = first - r * units, remaining = count;
    int untaken = count - 1; // with `ahead`
    if (mode == kDirect && left > 0)
      load(unit);
    QL_NO_UNROLL
    while (remaining > 0) {
      int n = min(units - u, remaining);
      int full = hasTail() ? min(n, fullUnits() - u) : n;
      Rows rows = rowsOf(constants, r);
      QL_SHARED const u8 *codesAt = codes + u * staged.unitBytes();
      QL_SHARED const u8 *recordsAt = records + u * unitRecords;
      float acc[4 * kMaxTokens];
      QL_UNROLL
      for (int i = 0; i < 4 * tokens; ++i)
        acc[i] = 0.0f;
      auto one = [&](const UnitLayout &l, int index) {
        Unit now = unit;
        Fragments fragments;
        if (mode == kDirect) {
          if (left > 0)
            load(unit);
        } else if (!ahead) {
          take(l, index, now, &fragments);
        }
        if (tensor()) {
          ql_ptx_warp_barrier(); // the exchange of the unit before has been read
          exchangeGroups(l, lane, product, now, rows, groups);
          release(); // its barrier makes the exchange visible
          dotOnTensorCores(l, share, product, fragments, groups, {codesAt, recordsAt},
                           acc);
        } else {
          if (mode != kDirect && !ahead)
            release();
          dotRowByRow(
              l, tokens, product, now, rows,
              {codesAt, recordsAt, codeStride, staged.record(1, 0) * kind.bytes()},
              acc);
        }
        if (ahead && untaken-- > 0)
          takeAhead(index + 1 == units ? 0 : index + 1, unit);
        codesAt += staged.unitBytes();
        recordsAt += unitRecords;
      };
      if (fullUnits()) {
        QL_NO_UNROLL
        for (int i = 0; i < full; ++i)
          one(layout.fullUnit(), u + i);
      }
      if (hasTail() && n > full)
        one(layout.tailUnit(), fullUnits());
      QL_SHARED float *slot = slots + (r + warp) * tokens * layout::kTileRows;
      if (tensor())
        flushFragments(share, acc, slot);
      else
        flush(tokens, acc, slot);
      ++r;
      u = 0;
      remaining -= n;
    }
  }

  /// The sum of a row (0..15) of run r for one token, over all warps.
  QL_INLINE float total(int tokens, int token, int r, int row,
                        QL_SHARED const float *constants,
                        QL_SHARED const float *slots) const {
    int all = runs() * units, begin = r * units;
    // The warp of unit i is the last w with w * all / warps <= i.
    int w = divide((begin + 1) * warps - 1, all);
    int last = divide((begin + units) * warps - 1, all);
    float sum = 0.0f;
    QL_NO_UNROLL
    for (; w <= last; ++w) {
      // A warp between them may have no unit at all (fewer units than warps).
      if (w * all / warps != (w + 1) * all / warps)
        sum += slots[((r + w) * tokens + token) * layout::kTileRows + row];
    }
    if (scalesRow(layout.spec))
      sum *= constants[(r * layout::kTileRows + row) * rowFloats(layout.spec)];
    return sum;
  }
};

} // namespace qlinear::kernels
#endif
