//===- Linear.h - One unit of weights times M rows --------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// y = sum over groups of s d (sum q a) - o d (sum a), for the 16 rows of a tile
// and M tokens: q the codes' bytes (Fields.h), a the int8 activations of a chunk of
// 32 columns, d their scale, s and o the group's scale and effective offset.
//
// 64 bytes of the low plane are one row times four chunks: its low nibbles pair
// with 64 bytes of the low halves of the activations, its high nibbles with the
// high halves. Of the 16 lanes of an integer dot product, each quarter is one
// chunk, so scales are applied without adding lanes up; lanes are added at the end
// of the tile. Offsets need one lane per row and chunk and have accumulators of
// their own. All this is for few tokens; Gemm.h is for many.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_LINEAR_H
#define QLINEAR_KERNELS_CPU_LINEAR_H

#include "Metadata.h"
#include "qlinear/Kernels/Cpu.h"

namespace qlinear::cpu {

/// How far ahead of the unit at hand weights are prefetched, in bytes, into the
/// second-level cache: prefetches of all that into the first share its few miss buffers
/// with the loads and stop at half the bandwidth. Twice as much brings two threads
/// about a tenth closer to the read, and is too much of a small weight.
inline constexpr int kPrefetch = 16384;
/// Tokens in one pass over a unit: as many as have room for their sums of four
/// rows in registers.
inline constexpr int kTokens = 4;

/// Vectors of 64 bytes that the machine has registers for.
#if defined(__AVX512F__)
inline constexpr int kRegisters = 32;
#else
inline constexpr int kRegisters = 8;
#endif

/// The state of a tile, in memory the caller owns; it stays in registers where
/// they are enough.
struct Tile {
  Floats *vectors;
  int M;
  QL_INLINE RowConstants &scale(int r0) const {
    return reinterpret_cast<RowConstants *>(vectors)[r0];
  }
  QL_INLINE RowConstants &offset(int r0) const {
    return reinterpret_cast<RowConstants *>(vectors)[4 + r0];
  }
  /// Sum for row 4 j + r0 of token m, in 16 parts.
  QL_INLINE Floats &sum(int r0, int j, int m) const {
    return vectors[16 + (r0 * 5 + j) * M + m];
  }
  /// Sum of the offsets' part; lane 4 i + j is a part of row 4 j + r0.
  QL_INLINE Floats &offsetSum(int r0, int m) const { return sum(r0, 4, m); }
};
static_assert(tileBytes(1) == (16 + 20) * sizeof(Floats));

QL_INLINE void beginTile(const WeightLayout &w, int M, const u8 *blob, u64 tile,
                         Floats *state) {
  Tile t{state, M};
  u64 row = tile * layout::kTileRows;
  RowConstants s = rowConstants(w.spec, w.spec.scale, blob + w.rowScaleOffset(row));
  RowConstants o = rowConstants(w.spec, w.spec.offset, blob + w.rowOffsetOffset(row));
  QL_UNROLL
  for (int r0 = 0; r0 < 4; ++r0) {
    t.scale(r0) = {rowsOf(r0, s.first), rowsOf(r0, s.second)};
    t.offset(r0) = {rowsOf(r0, o.first), rowsOf(r0, o.second)};
  }
  QL_UNROLL
  for (int i = 0; i < 20 * M; ++i)
    state[16 + i] = Floats{};
}

/// The code fields of row 4 j + r0, chunks 4 h .. 4 h + 3: columns 0..15 of each chunk,
/// then columns 16..31.
struct Codes {
  Bytes low, high;
};
QL_INLINE Codes fieldsOf(const UnitLayout &unit, const u8 *base, int j, int r0, int h) {
  int chunks = unit.chunks - 4 * h < 4 ? unit.chunks - 4 * h : 4;
  Words low{}, high{};
  if (unit.hasNibbles() || unit.hasBytes()) {
    // Of a swizzle, bit 2 says which half of the row's chunks comes first.
    int swizzle = unit.swizzle(4 * j + r0), first = 4 * h ^ (swizzle & 3);
    Words plane = loadQuarters(base + unit.low(j, r0, first), chunks, swizzle & 3);
    if (unit.hasBytes()) {
      const u8 *second = base + unit.low(j, r0, first, 1);
      return {(Bytes)plane, (Bytes)loadQuarters(second, chunks, swizzle & 3)};
    }
    low = plane & 0x0F0F0F0F;
    high = plane >> 4 & 0x0F0F0F0F;
  }
  // Lane k of a quarter holds columns 4 k .. 4 k + 3 of its chunk.
  Words k{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
  if (unit.hasPairs()) {
    // The two words of row j are the first or last half of each quarter; the
    // plane interleaves two rows, so whole quarters but the last half are safe.
    int swizzle = unit.swizzle(j / 2 * 4 + r0) & 3;
    const u8 *p = base + unit.pairs(j & ~1, r0, 4 * h ^ swizzle);
    Words w = loadQuarters(p, chunks, swizzle);
    Words w0 = j % 2 ? broadcastInQuarter<2>(w) : broadcastInQuarter<0>(w);
    Words w1 = j % 2 ? broadcastInQuarter<3>(w) : broadcastInQuarter<1>(w);
    low |= (w0 >> 2 * k & 0x03030303) << unit.pairShift();
    high |= (w1 >> 2 * k & 0x03030303) << unit.pairShift();
  }
  if (unit.hasBits()) {
    Words w = loadBytes(base + unit.bits(j, r0, 4 * h), 4 * chunks);
    w = permute(w, [](int l) QL_LAMBDA { return l / 4; });
    low |= (w >> k & 0x01010101) << unit.bitShift();
    high |= (w >> (4 + k) & 0x01010101) << unit.bitShift();
  }
  return {(Bytes)low, (Bytes)high};
}
/// Their bytes (Fields.h).
QL_INLINE Codes codesOf(const UnitLayout &unit, const u8 *base, int j, int r0, int h) {
  Codes q = fieldsOf(unit, base, j, r0, h);
  int kind = unit.spec.codeKind;
  if (!layout::isTable(kind))
    return q;
  if (unit.hasBytes()) {
    const u8 *table = layout::tableInMemory(kind);
    return {lookUp(table, q.low), lookUp(table, q.high)};
  }
  layout::TableBytes table = layout::tableBytes(kind);
  return {lookUp(table.low, table.high, q.low), lookUp(table.low, table.high, q.high)};
}

/// Prefetches the part of a unit of the same size at `ahead` that falls to row
/// 4 j + r0 of half h, into the cache of level 4 - Locality. A unit of up to four
/// chunks has half h = 0 only.
template <int Locality>
QL_INLINE void prefetchPart(const UnitLayout &unit, const u8 *ahead, int j, int r0,
                            int h) {
  int steps = unit.chunks > 4 ? 8 : 4;
  int lines = (unit.bytes() + steps * 64 - 1) / (steps * 64);
  QL_UNROLL
  for (int i = lines * j / 4; i < lines * (j + 1) / 4; ++i)
    __builtin_prefetch(ahead + ((h * 4 + r0) * lines + i) * 64, 0, Locality);
}
/// What will be read after the unit at hand: the next one, and what is farther away.
struct Ahead {
  const u8 *near, *far;
};
QL_INLINE Ahead aheadOf(const UnitLayout &unit, const u8 *base) {
  return {base + unit.bytes(), base + kPrefetch};
}
/// Prefetches beside the loads of a row's codes: of the next unit into the first-level
/// cache, of what is farther away into the second. Many prefetches at once would fill
/// the miss buffers, which the loads need, too; so the compiler must not gather them.
QL_INLINE void prefetchBeside(const UnitLayout &unit, Ahead ahead, int j, int r0,
                              int h) {
  prefetchPart<3>(unit, ahead.near, j, r0, h);
  prefetchPart<2>(unit, ahead.far, j, r0, h);
  asm volatile("" ::: "memory");
}

/// Token m's codes and scales for four chunks.
struct Token {
  SBytes low, high;       ///< int8 of columns 0..15 and 16..31 of each chunk
  Floats scale;           ///< d, in every lane of its chunk's quarter
  Floats sumLow, sumHigh; ///< d * sum of the codes of each half
};
QL_INLINE Token tokenOf(const layout::ActivationLayout &a, const u8 *token, u64 unit,
                        int h) {
  const u8 *codes = token + unit * layout::kUnitK + h * 64;
  Words r = loadQuarters(token + a.record(unit * layout::kUnitChunks + 4 * h), 2);
  Floats d = (Floats)permute(r, [](int l) QL_LAMBDA { return l / 4 * 2; });
  Words sums = permute(r, [](int l) QL_LAMBDA { return l / 4 * 2 + 1; });
  return {load<SBytes>(codes), load<SBytes>(codes + 128), d,
          d * toFloats((Ints)(sums << 16) >> 16), d * toFloats((Ints)sums >> 16)};
}

/// Row 4 J + r0, four chunks, tokens m0 .. m0 + count - 1. For groups of 16 s0
/// and s1 are the scales of the two halves of a chunk, else s1 is not used.
template <int J>
QL_INLINE void addRow(const UnitLayout &unit, const u8 *base, const Token *tokens,
                      int count, int r0, int h, Floats s0, Floats s1, Floats *sums) {
  int bits = unit.spec.byteBits();
  Codes q = codesOf(unit, base, J, r0, h);
  q = {productBytes(bits, q.low), productBytes(bits, q.high)};
  QL_UNROLL
  for (int m = 0; m < count; ++m) {
    const Token &t = tokens[m];
    if (unit.halves() == 2) {
      Floats low = toFloats(dot(bits, q.low, t.low));
      Floats high = toFloats(dot(bits, q.high, t.high));
      sums[m] = fma(broadcastInQuarter<J>(s0 * t.scale), low, sums[m]);
      sums[m] = fma(broadcastInQuarter<J>(s1 * t.scale), high, sums[m]);
    } else {
      Floats both = toFloats(dot(bits, q.low, t.low, q.high, t.high));
      sums[m] = fma(broadcastInQuarter<J>(s0 * t.scale), both, sums[m]);
    }
  }
}

/// The steps of one unit, entry r0 * 4 + j, where there are any. They are in memory,
/// for loads from r0 on.
struct BlockSteps {
  alignas(64) float scale[16], offset[16];
};
/// Those of r0, in every quarter.
QL_INLINE Floats stepsOf(const float *steps, int r0) {
  typedef float Quarter __attribute__((vector_size(16)));
  Quarter q = load<Quarter>(steps + 4 * r0);
  return __builtin_shufflevector(q, q, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
}

/// The bytes that are multiplied, which may be lowered.
QL_INLINE constexpr layout::Operand productOperand(const Spec &spec) {
  layout::Operand operand = spec.operand();
  return {operand.bias - float(loweredBy(spec.byteBits())), operand.unit};
}
/// Whether any weight of the spec has an effective offset.
QL_INLINE constexpr bool hasOffsets(const Spec &spec, layout::Operand operand) {
  return operand.bias != 0 || spec.form == layout::kCentred ||
         spec.offset.kind != layout::kNone;
}

/// Scales and effective offsets, for such operands, of the rows r0, 4 + r0, ...:
/// row 4 j + r0 of chunk c in lane 4 c + j, of the second half of a chunk apart if
/// groups have 16 columns.
struct Groups {
  Floats scale[2], offset[2];
};
QL_INLINE Groups groupsOf(const UnitLayout &unit, const u8 *base,
                          const BlockSteps &steps, layout::Operand operand, int r0,
                          int h, const Tile &tile) {
  const Spec &spec = unit.spec;
  RowConstants sc = tile.scale(r0), oc = tile.offset(r0);
  if (spec.scale.scope == layout::kBlock)
    sc.first = stepsOf(steps.scale, r0);
  if (spec.offset.scope == layout::kBlock)
    oc.first = stepsOf(steps.offset, r0);

  Groups g;
  QL_UNROLL
  for (int half = 0; half < unit.halves(); ++half) {
    Floats value = oc.first;
    g.scale[half] = sc.first;
    if (spec.group) {
      g.scale[half] = decode(spec.scale,
                             recordFields(unit, base, r0, h, half, unit.scaleBit(0),
                                          spec.scale.fieldBits()),
                             sc.first, sc.second);
      if (spec.offset.kind != layout::kNone)
        value = decode(spec.offset,
                       recordFields(unit, base, r0, h, half, unit.offsetBit(0),
                                    spec.offset.fieldBits()),
                       oc.first, oc.second);
    }
    g.offset[half] = effectiveOffset(spec, operand, g.scale[half], value);
    if (operand.unit != 1)
      g.scale[half] *= splat(operand.unit);
  }
  return g;
}

/// The offsets' part of tokens m0 .. m0 + count - 1.
template <typename Token>
QL_INLINE void addOffsets(const UnitLayout &unit, const Groups &g, const Token *tokens,
                          int m0, int count, int r0, const Tile &tile) {
  QL_UNROLL
  for (int m = 0; m < count; ++m) {
    const Token &t = tokens[m];
    Floats &sum = tile.offsetSum(r0, m0 + m);
    if (unit.halves() == 2)
      sum = fma(-g.offset[1], t.sumHigh, fma(-g.offset[0], t.sumLow, sum));
    else
      sum = fma(-g.offset[0], t.sumLow + t.sumHigh, sum);
  }
}

/// Calls add<J>() for each row 4 J + r0.
template <typename F> QL_INLINE void forEachRow(F add) {
  add.template operator()<0>();
  add.template operator()<1>();
  add.template operator()<2>();
  add.template operator()<3>();
}

/// Rows r0, 4 + r0, 8 + r0, 12 + r0 of half unit h, tokens m0 .. m0 + count - 1.
QL_INLINE void addRows(const UnitLayout &unit, const u8 *base, const BlockSteps &steps,
                       const Token *tokens, int m0, int count, int r0, int h,
                       const Tile &tile) {
  layout::Operand operand = productOperand(unit.spec);
  Groups g = groupsOf(unit, base, steps, operand, r0, h, tile);
  if (hasOffsets(unit.spec, operand))
    addOffsets(unit, g, tokens, m0, count, r0, tile);
  forEachRow([&]<int J>() QL_LAMBDA {
    if (m0 == 0)
      prefetchBeside(unit, aheadOf(unit, base), J, r0, h);
    addRow<J>(unit, base, tokens, count, r0, h, g.scale[0], g.scale[1],
              &tile.sum(r0, J, m0));
  });
}

/// Half unit h for tokens m0 .. m0 + count - 1 of `rows` (the last is repeated).
QL_INLINE void addHalf(const WeightLayout &w, const UnitLayout &unit, const u8 *base,
                       const BlockSteps &steps, const u8 *activations, int rows,
                       u64 index, int m0, int count, int h, const Tile &tile) {
  layout::ActivationLayout a{w.K};
  Token tokens[kTokens];
  QL_UNROLL
  for (int m = 0; m < count; ++m) {
    int row = m0 + m < rows ? m0 + m : rows - 1;
    tokens[m] = tokenOf(a, activations + row * a.bytes(), index, h);
  }
  auto step = [&](int r0) QL_LAMBDA {
    addRows(unit, base, steps, tokens, m0, count, r0, h, tile);
  };
  if (tile.M == 1 && kRegisters >= 32) { // all the sums of a tile fit
    QL_UNROLL
    for (int r0 = 0; r0 < 4; ++r0)
      step(r0);
  } else {
#pragma clang loop unroll(disable)
    for (int r0 = 0; r0 < 4; ++r0)
      step(r0);
  }
}

QL_INLINE BlockSteps blockStepsOf(const WeightLayout &w, const UnitLayout &unit,
                                  const u8 *blob, const u8 *base, u64 tile, u64 index) {
  const u8 *entries =
      unit.stepsInside() ? base + unit.step(0, 0) : blob + w.stepsOffset(tile, index);
  const Meta &sm = w.spec.scale, &om = w.spec.offset;
  BlockSteps steps;
  if (sm.scope == layout::kBlock)
    store(steps.scale, blockSteps(unit, sm, entries, 0));
  if (om.scope == layout::kBlock)
    store(steps.offset, blockSteps(unit, om, entries, sm.blockBytes()));
  return steps;
}

/// Calls add(unit, base, steps, m0, count, h, tile) for the halves of unit `index` of
/// the tile, with kTokens of the M tokens at a time.
template <typename F>
QL_INLINE void forEachHalf(const WeightLayout &w, int M, const u8 *blob, u64 tile,
                           u64 index, bool tail, Floats *state, F add) {
  UnitLayout unit = tail ? w.tailUnit() : w.fullUnit();
  const u8 *base = blob + w.unitOffset(tile, index);
  BlockSteps steps = blockStepsOf(w, unit, blob, base, tile, index);
  Tile t{state, M};
  QL_UNROLL
  for (int m0 = 0; m0 < M; m0 += kTokens) {
    int count = M - m0 < kTokens ? M - m0 : kTokens;
    add(unit, base, steps, m0, count, 0, t);
    if (unit.chunks > 4)
      add(unit, base, steps, m0, count, 1, t);
  }
}

/// Adds unit `index` of the tile for the M quantized tokens at `activations`,
/// of which `rows` are there.
QL_INLINE void addUnit(const WeightLayout &w, int M, const u8 *blob,
                       const u8 *activations, int rows, u64 tile, u64 index, bool tail,
                       Floats *state) {
  auto add = [&](const UnitLayout &unit, const u8 *base, const BlockSteps &steps,
                 int m0, int count, int h, const Tile &t) QL_LAMBDA {
    addHalf(w, unit, base, steps, activations, rows, index, m0, count, h, t);
  };
  forEachHalf(w, M, blob, tile, index, tail, state, add);
}

/// Pairwise: lanes 2 l and 2 l + 1 of the result add up to those of a and b.
QL_INLINE Floats addPairs(Floats a, Floats b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22,
                                 7, 23) +
         __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14,
                                 30, 15, 31);
}

/// y of the 16 rows, token m at out + 16 m.
QL_INLINE void endTile(int M, const Floats *state, float *out) {
  Tile t{const_cast<Floats *>(state), M};
#pragma clang loop unroll(disable)
  for (int m = 0; m < M; ++m) {
    // After four rounds of pairwise sums, lane l holds the vector whose number
    // is l with its bits reversed: so they go in with their bits reversed.
    Floats v[16];
    QL_UNROLL
    for (int l = 0; l < 16; ++l) {
      int row = (l & 1) << 3 | (l & 2) << 1 | (l & 4) >> 1 | (l & 8) >> 3;
      v[l] = t.sum(row % 4, row / 4, m);
    }
    QL_UNROLL
    for (int n = 8; n; n /= 2)
      QL_UNROLL
    for (int l = 0; l < n; ++l)
      v[l] = addPairs(v[2 * l], v[2 * l + 1]);
    Floats y = v[0];
    // Lane 4 i + j of r0's offset sum: add the quarters, then take row 4 j + r0
    // from lane j.
    QL_UNROLL
    for (int r0 = 0; r0 < 4; ++r0) {
      Floats o = t.offsetSum(r0, m);
      o = (broadcastQuarter<0>(o) + broadcastQuarter<1>(o)) +
          (broadcastQuarter<2>(o) + broadcastQuarter<3>(o));
      y += lanes<Floats>([&](int l) QL_LAMBDA { return l % 4 == r0 ? o[l / 4] : 0.f; });
    }
    store(out + 16 * m, y);
  }
}

} // namespace qlinear::cpu
#endif
