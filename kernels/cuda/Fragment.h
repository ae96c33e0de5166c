//===- Fragment.h - A unit on tensor cores ----------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A chunk of a unit, 16 rows x 32 columns, is one A fragment of an m16n8k32 product
// (for groups of 16 columns, two of m16n8k16); its 8 columns are the tokens, each
// 8 / tokens times. With g = lane / 4 and t = lane % 4, a lane gets the integer sums of
// rows g and g + 8 for two tokens. Where tokens are repeated, the lanes that get the
// same sums share them, so a lane finishes
//
//   8 tokens: both rows, tokens 2 t and 2 t + 1
//   4 tokens: row g + 8 (t / 2), tokens 2 (t % 2) and 2 (t % 2) + 1
//   2 tokens: row g + 8 (t / 2), token t % 2
//   1 token:  row g + 8 (t / 2), twice
//
// Scales and offsets are decoded once, by the lane that owns them in Unit.h, and
// handed on through shared memory.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_FRAGMENT_H
#define QLINEAR_KERNELS_CUDA_FRAGMENT_H

#include "Intrinsics.h"
#include "Sources.h"
#include "Unit.h"

namespace qlinear::kernels {

/// Rows and tokens that a lane finishes.
struct LaneShare {
  int tokens; ///< of the kernel: 1, 2, 4 or 8
  int lane;
  QL_INLINE int rows() const { return tokens == 8 ? 2 : 1; }
  QL_INLINE int columns() const { return tokens <= 2 ? 1 : 2; }
  QL_INLINE int row(int h) const {
    return (lane >> 2) + 8 * (tokens == 8 ? h : lane >> 1 & 1);
  }
  QL_INLINE int token(int i) const {
    return tokens <= 2 ? lane & (tokens - 1) : 2 * (lane & (tokens / 2 - 1)) + i;
  }
  /// Whether no other lane has the same sums, or only those after it.
  QL_INLINE bool writes() const { return tokens > 1 || !(lane & 1); }
  /// The sum of (h, i) among the four sums of a product.
  template <class Sums> QL_INLINE auto pick(Sums sums, int h, int i) const {
    if (tokens == 8)
      return +sums[2 * h + i];
    bool odd = tokens == 2 && lane & 1;
    auto first = tokens == 4 ? +sums[i] : odd ? +sums[1] : +sums[0];
    auto second = tokens == 4 ? +sums[2 + i] : odd ? +sums[3] : +sums[2];
    return lane & 2 ? second : first;
  }
};

/// `n` (1, 2, 4, 8) words that are aligned to n words, or to 4 of 8.
QL_INLINE void loadWords(QL_SHARED const u8 *p, int n, u32 *out) {
  if (n == 1)
    out[0] = *(QL_SHARED const u32 *)p;
  else if (n == 2)
    load8(SharedSource{p}, 0, out);
  else
    QL_UNROLL
  for (int i = 0; i < n; i += 4)
    load16(SharedSource{p}, 4 * i, out + i);
}
QL_INLINE void storeWords(QL_SHARED u8 *p, int n, const u32 *v) {
  if (n == 1)
    *(QL_SHARED u32 *)p = v[0];
  else if (n == 2)
    *(QL_SHARED u32x2 *)p = u32x2{v[0], v[1]};
  else
    QL_UNROLL
  for (int i = 0; i < n; i += 4)
    *(QL_SHARED u32x4 *)(p + 4 * i) = u32x4{v[i], v[i + 1], v[i + 2], v[i + 3]};
}

/// Words of the codes: [chunk][row g, row g + 8].
struct Fragments {
  u32 low[8][2];      ///< word t of the plane of nibbles, or the first of bytes
  u32 second[8][2];   ///< word t of the second plane of bytes
  u32 pairs[8][2][2]; ///< both words of the plane of pairs of bits
  u32 bits[8][2];     ///< of the plane of single bits
};

/// The nibbles or bytes of chunks 2 `pair` and the next, if codes have such.
QL_INLINE void loadLowPair(const UnitLayout &l, int lane, QL_SHARED const u8 *unit,
                           int pair, Fragments &f) {
  if (!l.hasNibbles() && !l.hasBytes())
    return;
  int row = lane & 15, c = min(2 * pair + (lane >> 4), l.chunks - 1);
  QL_UNROLL
  for (int half = 0; half < (l.hasBytes() ? 2 : 1); ++half) {
    u32x4 v = ql_ptx_load_matrices(unit + l.low(row >> 2, row & 3, c, half));
    QL_UNROLL
    for (int i = 0; i < 4; ++i)
      (half ? f.second : f.low)[2 * pair + i / 2][i % 2] = v[i];
  }
}

/// The pairs of bits of chunk c, row h of the fragment, which is 4 j + r0 of the tile.
QL_INLINE void loadPairs(const UnitLayout &l, int j, int r0, QL_SHARED const u8 *unit,
                         int c, int h, Fragments &f) {
  u32x2 v = *(QL_SHARED const u32x2 *)(unit + l.pairs(j, r0, min(c, l.chunks - 1)));
  f.pairs[c][h][0] = v.x, f.pairs[c][h][1] = v.y;
}
QL_INLINE void loadBits(const UnitLayout &l, int j, int r0, QL_SHARED const u8 *unit,
                        int c, int h, Fragments &f) {
  f.bits[c][h] = *(QL_SHARED const u32 *)(unit + l.bits(j, r0, min(c, l.chunks - 1)));
}

QL_INLINE_LATE inline void loadFragments(const UnitLayout &l, int lane,
                                         QL_SHARED const u8 *unit, Fragments &f) {
  QL_UNROLL
  for (int pair = 0; pair < 4; ++pair)
    loadLowPair(l, lane, unit, pair, f);
  int g = lane >> 2;
  QL_UNROLL
  for (int h = 0; h < 2; ++h) {
    int j = 2 * h + (g >> 2), r0 = g & 3;
    QL_UNROLL
    for (int c = 0; c < 8; ++c)
      if (l.hasPairs())
        loadPairs(l, j, r0, unit, c, h, f);
    if (l.hasBits() && l.chunks == layout::kUnitChunks) {
      QL_UNROLL
      for (int c = 0; c < 8; c += 4) {
        u32x4 v = *(QL_SHARED const u32x4 *)(unit + l.bits(j, r0, c));
        QL_UNROLL
        for (int i = 0; i < 4; ++i)
          f.bits[c + i][h] = v[i];
      }
    } else if (l.hasBits()) {
      QL_UNROLL
      for (int c = 0; c < 8; ++c)
        loadBits(l, j, r0, unit, c, h, f);
    }
  }
}

/// Columns 4 t .. 4 t + 3 and 16 + 4 t .. of chunk c, as fields of codes below 8 bits.
QL_INLINE void fragmentFields(const UnitLayout &l, const Fragments &f, int t, int c,
                              int h, u32 *low, u32 *high) {
  u32 first = 0, second = 0;
  if (l.hasNibbles()) {
    first = f.low[c][h] & inBytes(15);
    second = f.low[c][h] >> 4 & inBytes(15);
  }
  if (l.hasPairs()) {
    u32 mask = inBytes(3 << l.pairShift());
    first |= f.pairs[c][h][0] >> 2 * t << l.pairShift() & mask;
    second |= f.pairs[c][h][1] >> 2 * t << l.pairShift() & mask;
  }
  if (l.hasBits()) {
    u32 mask = inBytes(1 << l.bitShift()), word = f.bits[c][h] >> t;
    first |= moved(word, l.bitShift()) & mask;
    second |= moved(word, l.bitShift() - 4) & mask;
  }
  *low = first, *high = second;
}

/// The nibbles that find values in a table of 16: low ones of columns 4 t .. 4 t + 3,
/// high ones of 16 + 4 t ..
QL_INLINE u32 fragmentPlaces(const UnitLayout &l, const Fragments &f, int t, int c,
                             int h) {
  if (l.spec.codeBits == 4)
    return f.low[c][h];
  u32 low, high;
  fragmentFields(l, f, t, c, h, &low, &high);
  return low | high << 4;
}

/// The same columns as bytes (Fields.h).
QL_INLINE void fragmentCodes(const UnitLayout &l, const Fragments &f, int t, int c,
                             int h, u32 *low, u32 *high) {
  const Spec &s = l.spec;
  bool isTable = layout::isTable(s.codeKind);
  if (l.hasBytes()) {
    *low = isTable ? lookUp(s, f.low[c][h]) : f.low[c][h];
    *high = isTable ? lookUp(s, f.second[c][h]) : f.second[c][h];
  } else if (isTable) {
    lookUp(s, fragmentPlaces(l, f, t, c, h), low, high);
  } else {
    fragmentFields(l, f, t, c, h, low, high);
  }
}

/// Scale and effective offset of every row and chunk of a unit, in a warp's shared
/// memory: for (chunk c, rows g and g + 8) `floats` floats per row.
struct Exchange {
  QL_SHARED u8 *at;
  int halves, offsets; ///< scales of a chunk and row; 1 if there are offsets
  QL_INLINE int floats() const { return halves * (1 + offsets); }
  /// Rotated so that neither writers (c varies) nor readers (g varies) collide.
  QL_INLINE QL_SHARED u8 *entry(int c, int g, int h) const {
    return at + ((c * 8 + (g ^ c)) * 2 + h) * floats() * 4;
  }
};

/// The floats of a table are multiplied as two f16 of 2^14 times as much, with which no
/// bit of them is lost to numbers that are subnormal. A byte n is an f16 of n * 2^-24.
inline constexpr int kHalfExponent = 14;
inline constexpr float kHalfTableUnit = 0x1p-38f;

/// The unit's metadata decoded, by all lanes for all; a warp barrier has to follow.
QL_INLINE void exchangeGroups(const UnitLayout &l, int lane, int product, const Unit &u,
                              const Rows &rows, const Exchange &exchange) {
  layout::Operand operand =
      product == kMma ? l.spec.operand() : l.spec.operand(kHalfTableUnit);
  int floats = exchange.floats();
  QL_UNROLL
  for (int j = 0; j < 2; ++j) {
    u32 words[8];
    QL_UNROLL
    for (int h = 0; h < 2; ++h) {
      float scale[2], offset[2];
      decodeGroups(l, u, rows, j + 2 * h, operand, scale, offset);
      QL_UNROLL
      for (int i = 0; i < exchange.halves; ++i) {
        words[h * floats + i] = bitCast<u32>(scale[i]);
        if (exchange.offsets)
          words[h * floats + exchange.halves + i] = bitCast<u32>(offset[i]);
      }
    }
    storeWords(exchange.entry(lane & 7, (lane >> 3) + 4 * j, 0), 2 * floats, words);
  }
}

/// Activations of all tokens (StagedActivations in Gpu.h) at a unit.
struct TokenMatrix {
  QL_SHARED const u8 *codes;   ///< the lane's row of the first load of matrices
  QL_SHARED const u8 *records; ///< of the lane's first token
};

/// acc[2 h + i] += row h of the lane times its token i, over a unit.
QL_INLINE_LATE inline void dotFragments(const UnitLayout &l, const LaneShare &share,
                                        const Fragments &f, const Exchange &exchange,
                                        const TokenMatrix &x, float *acc) {
  RecordKind kind = RecordKind::of(l.spec);
  int lane = share.lane, g = lane >> 2, t = lane & 3;
  u32x4 tokens = {0, 0, 0, 0};
  QL_UNROLL
  for (int c = 0; c < 8; ++c) {
    if (c % 2 == 0)
      tokens = ql_ptx_load_matrices(x.codes + c * 16);
    u32x2 b = c % 2 ? u32x2{tokens.z, tokens.w} : u32x2{tokens.x, tokens.y};
    u32 records[8], groups[8];
    int recordWords = kind.bytes() / 4, floats = exchange.floats();
    loadWords(x.records + c * share.tokens * kind.bytes(),
              share.columns() * recordWords, records);
    loadWords(exchange.entry(c, g, share.row(0) >> 3), share.rows() * floats, groups);
    u32 low[2], high[2];
    QL_UNROLL
    for (int h = 0; h < 2; ++h)
      fragmentCodes(l, f, t, c, h, &low[h], &high[h]);
    u32x4 sums[2];
    auto start = [&](int half) {
      u32 first = kind.bias ? records[1 + half] : u32(kMagicBits);
      u32 second = kind.bias ? records[(share.columns() - 1) * recordWords + 1 + half]
                             : u32(kMagicBits);
      return u32x4{first, second, first, second};
    };
    if (kind.halves == 2) {
      sums[0] = ql_ptx_mma16(u32x2{low[0], low[1]}, b.x, start(0));
      sums[1] = ql_ptx_mma16(u32x2{high[0], high[1]}, b.y, start(1));
    } else {
      sums[0] = ql_ptx_mma32(u32x4{low[0], low[1], high[0], high[1]}, b, start(0));
    }
    QL_UNROLL
    for (int h = 0; h < share.rows(); ++h) {
      float scale[2], offset[2];
      QL_UNROLL
      for (int half = 0; half < kind.halves; ++half) {
        scale[half] = bitCast<float>(groups[h * floats + half]);
        if (kind.hasOffset)
          offset[half] = bitCast<float>(groups[h * floats + kind.halves + half]);
      }
      QL_UNROLL
      for (int i = 0; i < share.columns(); ++i) {
        float &to = acc[2 * h + i], d = bitCast<float>(records[i * recordWords]);
        float first = magicToFloat(i32(share.pick(sums[0], h, i)));
        if (kind.halves == 2) {
          float second = magicToFloat(i32(share.pick(sums[1], h, i)));
          to = fma(d, fma(scale[0], first, scale[1] * second), to);
        } else {
          to = fma(scale[0] * d, first, to);
        }
        QL_UNROLL
        for (int half = 0; half < kind.halves; ++half)
          if (kind.hasOffset)
            to = fma(-offset[half], bitCast<float>(records[i * recordWords + 1 + half]),
                     to);
      }
    }
  }
}

} // namespace qlinear::kernels
#endif
