//===- Gemm.h - A tile of weights times many tokens -------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Linear.h decodes a unit for each four tokens, and keeps a vector of sums for each row
// and token. Here a unit is decoded once, into a *panel*: the bytes of four columns of
// the tile's 16 rows are one vector, a row in each lane.
//
//            lane 0    lane 1   ...  lane 15
//   chunk 0  row 0     row 4         row 15      columns 0..3
//            row 0     row 4         row 15      columns 4..7
//            ...
//   chunk 1  ...
//
// Each vector meets the same four columns of a token, in all lanes. So the 16 products
// of a token are one vector, which takes part in scaling as a whole, and a block of
// tokens shares the loads of the panel.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_GEMM_H
#define QLINEAR_KERNELS_CPU_GEMM_H

#include "Linear.h"
#include "Tiles.h"

namespace qlinear::cpu {

/// Tokens in one pass over a panel: as many as have room for their sums in registers.
inline constexpr int kBlockTokens = kRegisters >= 32 ? 8 : 4;
static_assert(kTokenBlock % kBlockTokens == 0);
#if defined(QL_TILES)
inline constexpr int kScaledTokens = kTileTokens;
static_assert(kUnloweredBits == 8, "tiles multiply unsigned codes");
#else
inline constexpr int kScaledTokens = kBlockTokens;
#endif

/// A unit of a tile, decoded. Lane 4 r0 + j is row 4 j + r0.
struct Panel {
  Bytes codes[layout::kUnitChunks][8]; ///< columns 4 g .. 4 g + 3 of a chunk
  Floats scale[layout::kUnitChunks][2];
  Floats offset[layout::kUnitChunks][2]; ///< effective offsets
};

/// A token's scales of the unit at hand.
struct TokenScales {
  float scale[layout::kUnitChunks];
  float sums[2][layout::kUnitChunks]; ///< scale times the sum of each half's codes, or
                                      ///< of both where groups have no halves
};

/// What a tile keeps while it is multiplied, in memory that the caller owns.
struct GemmState {
  Floats constants[16]; ///< as of beginTile, for no token
  Panel panel;
  Words rows[8][4]; ///< codes on their way into the panel
  TokenScales tokens[kScaledTokens];
#if defined(QL_TILES)
  Ints products[kTileSums][kTileTokens];
  int shapedFor; ///< the tokens that tiles have the shapes for
#endif
};
static_assert(sizeof(GemmState) <= kGemmStateBytes);

/// Four rows in, lane J of each quarter of all of them out, as that quarter.
QL_INLINE void transposeInQuarters(Words v0, Words v1, Words v2, Words v3, Words *out) {
  auto low = [](Words a, Words b) QL_LAMBDA {
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12,
                                   28, 13, 29);
  };
  auto high = [](Words a, Words b) QL_LAMBDA {
    return __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14,
                                   30, 15, 31);
  };
  auto firstPairs = [](Words a, Words b) QL_LAMBDA {
    return __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12,
                                   13, 28, 29);
  };
  auto lastPairs = [](Words a, Words b) QL_LAMBDA {
    return __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14,
                                   15, 30, 31);
  };
  Words l01 = low(v0, v1), l23 = low(v2, v3), h01 = high(v0, v1), h23 = high(v2, v3);
  out[0] = firstPairs(l01, l23);
  out[1] = lastPairs(l01, l23);
  out[2] = firstPairs(h01, h23);
  out[3] = lastPairs(h01, h23);
}

/// Four vectors in, quarter Q of each out, in their order.
template <int Q, typename V> QL_INLINE V gatherQuarters(V v0, V v1, V v2, V v3) {
  constexpr int q = 4 * Q;
  typedef __typeof__(__builtin_shufflevector(v0, v0, 0, 1, 2, 3, 4, 5, 6, 7)) Half;
  Half lo = __builtin_shufflevector(v0, v1, q, q + 1, q + 2, q + 3, 16 + q, 17 + q,
                                    18 + q, 19 + q);
  Half hi = __builtin_shufflevector(v2, v3, q, q + 1, q + 2, q + 3, 16 + q, 17 + q,
                                    18 + q, 19 + q);
  return __builtin_shufflevector(lo, hi, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
                                 14, 15);
}
/// Four vectors in, quarter i of each out, in their order, at out + i * stride.
template <typename V, typename Out>
QL_INLINE void transposeQuarters(const V *v, Out *out, int stride) {
  out[0] = (Out)gatherQuarters<0>(v[0], v[1], v[2], v[3]);
  out[stride] = (Out)gatherQuarters<1>(v[0], v[1], v[2], v[3]);
  out[2 * stride] = (Out)gatherQuarters<2>(v[0], v[1], v[2], v[3]);
  out[3 * stride] = (Out)gatherQuarters<3>(v[0], v[1], v[2], v[3]);
}

/// Decodes half unit h into chunks 4 h .. 4 h + 3 of the panel.
QL_INLINE void decodeHalf(const UnitLayout &unit, const u8 *base,
                          const BlockSteps &steps, int h, GemmState &state) {
  const Spec &spec = unit.spec;
  int bits = spec.byteBits();
  layout::Operand operand = productOperand(spec);
  Tile constants{state.constants, 0};
  Panel &panel = state.panel;
  Floats scale[2][4], offset[2][4];
#pragma clang loop unroll(disable)
  for (int r0 = 0; r0 < 4; ++r0) {
    Groups g = groupsOf(unit, base, steps, operand, r0, h, constants);
    QL_UNROLL
    for (int half = 0; half < unit.halves(); ++half) {
      scale[half][r0] = g.scale[half];
      offset[half][r0] = g.offset[half];
    }
    Words low[4], high[4], out[8];
    QL_UNROLL
    for (int j = 0; j < 4; ++j) {
      prefetchBeside(unit, base, j, r0, h);
      Codes q = codesOf(unit, base, j, r0, h);
      low[j] = (Words)productBytes(bits, q.low);
      high[j] = (Words)productBytes(bits, q.high);
    }
    transposeInQuarters(low[0], low[1], low[2], low[3], out);
    transposeInQuarters(high[0], high[1], high[2], high[3], out + 4);
    QL_UNROLL
    for (int g = 0; g < 8; ++g)
      state.rows[g][r0] = out[g];
  }
  QL_UNROLL
  for (int half = 0; half < unit.halves(); ++half) {
    transposeQuarters(scale[half], &panel.scale[4 * h][half], 2);
    if (hasOffsets(spec, operand))
      transposeQuarters(offset[half], &panel.offset[4 * h][half], 2);
  }
#pragma clang loop unroll(disable)
  for (int g = 0; g < 8; ++g)
    transposeQuarters(state.rows[g], &panel.codes[4 * h][g], 8);
}

/// The scales of a token for the 8 chunks of a unit; those past the last chunk are
/// never used.
QL_INLINE TokenScales scalesOf(const layout::ActivationLayout &a, const u8 *token,
                               const UnitLayout &unit, u64 index) {
  Words r = loadBytes(token + a.record(index * layout::kUnitChunks), unit.chunks * 8);
  auto everySecond = [](auto v, int first) QL_LAMBDA {
    return permute(v, [&](int l) QL_LAMBDA { return (2 * l + first) % 16; });
  };
  Floats d = (Floats)everySecond(r, 0);
  Ints sums = (Ints)everySecond(r, 1);
  Ints low = sums << 16 >> 16, high = sums >> 16;
  TokenScales scales;
  auto storeHalf = [](float *to, Floats v) QL_LAMBDA {
    __builtin_memcpy(to, &v, sizeof(float) * layout::kUnitChunks);
  };
  storeHalf(scales.scale, d);
  if (unit.halves() == 2) {
    storeHalf(scales.sums[0], d * toFloats(low));
    storeHalf(scales.sums[1], d * toFloats(high));
  } else {
    storeHalf(scales.sums[0], d * toFloats(low + high));
  }
  return scales;
}

/// Four codes of a token, in all lanes.
QL_INLINE SBytes fourCodes(const u8 *p) { return (SBytes)splatWord(load<u32>(p)); }

#if defined(QL_TILES)

/// Adds the unit's products with tokens m0 .. m0 + count - 1, as below and with the
/// same bits.
QL_INLINE void multiplyByTiles(const WeightLayout &w, const UnitLayout &unit,
                               const u8 *activations, u64 index, int m0, int count,
                               GemmState &state, Floats *sums) {
  layout::ActivationLayout a{w.K};
  const u8 *tokens = activations + u64(m0) * a.bytes();
  const u8 *codes = tokens + index * layout::kUnitK;
  if (state.shapedFor != count) {
    TileShapes shapes(count);
    QL_TILE_SHAPES(&shapes);
    state.shapedFor = count;
  }
#pragma clang loop unroll(disable)
  for (int m = 0; m < count; ++m)
    state.tokens[m] = scalesOf(a, tokens + u64(m) * a.bytes(), unit, index);

  // A sum for each chunk, or for each of its halves.
  const Panel &panel = state.panel;
  int halves = unit.halves(), all = unit.chunks * halves;
  QL_UNROLL
  for (int first = 0; first < all; first += kTileSums) {
    int some = all - first < kTileSums ? all - first : kTileSums;
    zeroSums();
    QL_UNROLL
    for (int s = 0; s < some; ++s) {
      int c = (first + s) / halves;
      QL_UNROLL
      for (int half = 0; half < 2; ++half)
        if (halves == 1 || (first + s) % 2 == half)
          addHalfChunk(s, half, codes + c * 16 + half * 128, a.bytes(),
                       &panel.codes[c][4 * half]);
    }
    storeSums(&state.products[0][0]);
#pragma clang loop unroll(disable)
    for (int m = 0; m < count; ++m) {
      const TokenScales &t = state.tokens[m];
      Floats y = sums[m0 + m];
      QL_UNROLL
      for (int s = 0; s < some; ++s) {
        int c = (first + s) / halves, half = (first + s) % halves;
        y = fma(panel.scale[c][half] * splat(t.scale[c]),
                toFloats(state.products[s][m]), y);
        if (half == halves - 1 && hasOffsets(unit.spec, productOperand(unit.spec)))
          QL_UNROLL
        for (int i = 0; i < halves; ++i)
          y = fma(-panel.offset[c][i], splat(t.sums[i][c]), y);
      }
      sums[m0 + m] = y;
    }
  }
}

#endif

/// Adds the panel's products with `count` tokens, the codes of whose unit start at
/// codes[m], to sums[0 .. count - 1].
QL_INLINE void multiplyPanel(const UnitLayout &unit, const Panel &panel, int count,
                             const u8 *const *codes, const TokenScales *scales,
                             Floats *sums) {
  int bits = unit.spec.byteBits();
  Floats y[kBlockTokens];
  QL_UNROLL
  for (int m = 0; m < count; ++m)
    y[m] = sums[m];
#pragma clang loop unroll(disable)
  for (int c = 0; c < unit.chunks; ++c) {
    // The codes of all chunks' first halves come before those of their second ones.
    int at = c * 16;
    QL_UNROLL
    for (int half = 0; half < unit.halves(); ++half) {
      int steps = 8 / unit.halves(), first = half * steps;
      LaneSums products[kBlockTokens];
      QL_UNROLL
      for (int g = 0; g < steps; ++g) {
        Bytes q = panel.codes[c][first + g];
        QL_UNROLL
        for (int m = 0; m < count; ++m)
          addProducts(
              bits, g, products[m], q,
              fourCodes(codes[m] + at + (first + g) / 4 * 128 + (first + g) % 4 * 4));
      }
      QL_UNROLL
      for (int m = 0; m < count; ++m)
        y[m] = fma(panel.scale[c][half] * splat(scales[m].scale[c]),
                   toFloats(products[m].value(bits)), y[m]);
    }
    if (hasOffsets(unit.spec, productOperand(unit.spec))) {
      QL_UNROLL
      for (int half = 0; half < unit.halves(); ++half)
        QL_UNROLL
      for (int m = 0; m < count; ++m)
        y[m] = fma(-panel.offset[c][half], splat(scales[m].sums[half][c]), y[m]);
    }
  }
  QL_UNROLL
  for (int m = 0; m < count; ++m)
    sums[m] = y[m];
}

/// Tokens m0 .. m0 + count - 1; the last of `rows` stands for those that are not there.
QL_INLINE void multiplyTokens(const WeightLayout &w, const UnitLayout &unit,
                              const u8 *activations, int rows, u64 index, int m0,
                              int count, GemmState &state, Floats *sums) {
  layout::ActivationLayout a{w.K};
  const u8 *codes[kBlockTokens];
  QL_UNROLL
  for (int m = 0; m < count; ++m) {
    int row = m0 + m < rows ? m0 + m : rows - 1;
    const u8 *token = activations + u64(row) * a.bytes();
    codes[m] = token + index * layout::kUnitK;
    state.tokens[m] = scalesOf(a, token, unit, index);
  }
  multiplyPanel(unit, state.panel, count, codes, state.tokens, sums + m0);
}

/// Adds unit `index` of the tile.
QL_INLINE void multiplyUnit(const WeightLayout &w, const u8 *blob,
                            const u8 *activations, int rows, u64 tile, u64 index,
                            bool tail, GemmState &state, Floats *sums) {
  UnitLayout unit = tail ? w.tailUnit() : w.fullUnit();
  const u8 *base = blob + w.unitOffset(tile, index);
  BlockSteps steps = blockStepsOf(w, unit, blob, base, tile, index);
  decodeHalf(unit, base, steps, 0, state);
  if (unit.chunks > 4)
    decodeHalf(unit, base, steps, 1, state);
  int m0 = 0;
#if defined(QL_TILES) // as long for a few tokens as for all of a tile
#pragma clang loop unroll(disable)
  for (; m0 + kBlockTokens < rows; m0 += kTileTokens)
    multiplyByTiles(w, unit, activations, index, m0,
                    rows - m0 < kTileTokens ? rows - m0 : kTileTokens, state, sums);
#endif
#pragma clang loop unroll(disable)
  for (; m0 + kBlockTokens / 2 < rows; m0 += kBlockTokens)
    multiplyTokens(w, unit, activations, rows, index, m0, kBlockTokens, state, sums);
  if (m0 < rows)
    multiplyTokens(w, unit, activations, rows, index, m0, kBlockTokens / 2, state,
                   sums);
}

/// y of the 16 rows of a tile for `rows` quantized tokens, token m at sums + m; the
/// vectors up to the next multiple of kTokenBlock are overwritten.
QL_INLINE void multiplyTile(const WeightLayout &w, const u8 *blob,
                            const u8 *activations, int rows, u64 tile, GemmState &state,
                            Floats *sums) {
  beginTile(w, 0, blob, tile, state.constants);
  int padded = (rows + kTokenBlock - 1) / kTokenBlock * kTokenBlock;
#pragma clang loop unroll(disable)
  for (int m = 0; m < padded; ++m)
    sums[m] = Floats{};
#if defined(QL_TILES)
  state.shapedFor = 0;
#endif
#pragma clang loop unroll(disable)
  for (u64 u = 0; u < w.fullUnits(); ++u)
    multiplyUnit(w, blob, activations, rows, tile, u, false, state, sums);
  if (w.tailChunks())
    multiplyUnit(w, blob, activations, rows, tile, w.fullUnits(), true, state, sums);
#if defined(QL_TILES)
  QL_TILE_RELEASE();
#endif
#pragma clang loop unroll(disable)
  for (int m = 0; m < rows; ++m)
    sums[m] = permute(sums[m], [](int l) QL_LAMBDA { return l % 4 * 4 + l / 4; });
}

} // namespace qlinear::cpu
#endif
