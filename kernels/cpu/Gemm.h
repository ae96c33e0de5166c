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
// of a token are one vector, which takes part in scaling as a whole. The panels of
// kGemmTiles tiles are multiplied with a block of tokens at once: the tokens share the
// loads of the panels, the tiles those of the tokens.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_GEMM_H
#define QLINEAR_KERNELS_CPU_GEMM_H

#include "Linear.h"
#include "Tiles.h"

namespace qlinear::cpu {

/// Tokens in one pass over the panels of kGemmTiles tiles: as many as have room for
/// their sums in registers.
inline constexpr int kBlockTokens = kRegisters >= 32 ? 4 : 2;
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

/// What offsets come to. Where they are the same integer times the scale everywhere,
/// the sums of products begin with it, and the floats have nothing to do.
enum Offsets { kNoOffsets, kIntegerOffsets, kFloatOffsets };
QL_INLINE constexpr Offsets offsetsOf(const Spec &spec) {
  layout::Operand operand = productOperand(spec);
  if (!hasOffsets(spec, operand))
    return kNoOffsets;
  bool isConstant = spec.offset.kind == layout::kNone && spec.form != layout::kCentred;
  return isConstant && float(int(operand.bias)) == operand.bias ? kIntegerOffsets
                                                                : kFloatOffsets;
}

/// A token's scales of the unit at hand, and the sums of its codes of each half of a
/// chunk, or of both where groups have no halves.
struct TokenScales {
  float scale[layout::kUnitChunks];
  union {
    float sums[2][layout::kUnitChunks]; ///< times the scale (kFloatOffsets)
    int starts[2][layout::kUnitChunks]; ///< times -bias (kIntegerOffsets)
  };
};

/// What tiles keep while they are multiplied, in memory that the caller owns.
struct GemmState {
  Floats constants[kGemmTiles][16]; ///< as of beginTile, for no token
  Panel panels[kGemmTiles];
  Words rows[8][4]; ///< codes on their way into a panel
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

/// Decodes half unit h of tile t of the state into chunks 4 h .. 4 h + 3 of its panel.
QL_INLINE void decodeHalf(const UnitLayout &unit, const u8 *base, Ahead ahead,
                          const BlockSteps &steps, int h, int t, GemmState &state) {
  const Spec &spec = unit.spec;
  int bits = spec.byteBits();
  layout::Operand operand = productOperand(spec);
  Tile constants{state.constants[t], 0};
  Panel &panel = state.panels[t];
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
      prefetchBeside(unit, ahead, j, r0, h);
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
    if (offsetsOf(spec) == kFloatOffsets)
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
  TokenScales result;
  Words records = load<Words>(token + a.record(index * layout::kUnitChunks));
  auto everySecond = [&](int first) QL_LAMBDA {
    return permute(records, [&](int l) QL_LAMBDA { return (2 * l + first) % 16; });
  };
  auto storeHalf = [](void *to, auto v) QL_LAMBDA {
    __builtin_memcpy(to, &v, sizeof(float) * layout::kUnitChunks);
  };
  Floats scale = (Floats)everySecond(0);
  storeHalf(result.scale, scale);
  Ints both = (Ints)everySecond(1), low = both << 16 >> 16, high = both >> 16;
  if (unit.halves() == 1)
    low += high;
  Offsets offsets = offsetsOf(unit.spec);
  QL_UNROLL
  for (int half = 0; half < unit.halves(); ++half) {
    Ints sum = half ? high : low;
    if (offsets == kIntegerOffsets)
      storeHalf(result.starts[half], sum * -int(productOperand(unit.spec).bias));
    else if (offsets == kFloatOffsets)
      storeHalf(result.sums[half], scale * toFloats(sum));
  }
  return result;
}

/// Four codes of a token, in all lanes.
QL_INLINE SBytes fourCodes(const u8 *p) { return (SBytes)splatWord(load<u32>(p)); }
/// What the sums of products of a token with a chunk, or its half, begin with.
QL_INLINE Ints startOf(const Spec &spec, const TokenScales &token, int c, int half) {
  return offsetsOf(spec) == kIntegerOffsets
             ? (Ints)splatWord(u32(token.starts[half][c]))
             : Ints{};
}

#if defined(QL_TILES)

/// Adds the products of a panel with `count` tokens, one `stride` bytes after the
/// other, whose sums the state has, as below and with the same bits.
QL_INLINE void multiplyByTiles(const UnitLayout &unit, const Panel &panel,
                               const u8 *codes, u64 stride, int count, GemmState &state,
                               Floats *sums) {
  // A sum for each chunk, or for each of its halves.
  int halves = unit.halves(), all = unit.chunks * halves;
  Offsets offsets = offsetsOf(unit.spec);
  QL_UNROLL
  for (int from = 0; from < all; from += kTileSums) {
    int some = all - from < kTileSums ? all - from : kTileSums;
    zeroSums();
    QL_UNROLL
    for (int s = 0; s < some; ++s) {
      int c = (from + s) / halves;
      QL_UNROLL
      for (int half = 0; half < 2; ++half)
        if (halves == 1 || (from + s) % 2 == half)
          addHalfChunk(s, half, codes + c * 16 + half * 128, stride,
                       &panel.codes[c][4 * half]);
    }
    storeSums(&state.products[0][0]);
#pragma clang loop unroll(disable)
    for (int m = 0; m < count; ++m) {
      const TokenScales &token = state.tokens[m];
      Floats y = sums[m];
      QL_UNROLL
      for (int s = 0; s < some; ++s) {
        int c = (from + s) / halves, half = (from + s) % halves;
        Ints products = state.products[s][m] + startOf(unit.spec, token, c, half);
        y = fma(panel.scale[c][half] * splat(token.scale[c]), toFloats(products), y);
        if (half == halves - 1 && offsets == kFloatOffsets)
          QL_UNROLL
        for (int i = 0; i < halves; ++i)
          y = fma(-panel.offset[c][i], splat(token.sums[i][c]), y);
      }
      sums[m] = y;
    }
  }
}

/// Tokens m0 .. m0 + count - 1 and `tiles` panels.
QL_INLINE void multiplyByTiles(const WeightLayout &w, const UnitLayout &unit,
                               const u8 *activations, u64 index, int m0, int count,
                               int tiles, GemmState &state, Floats *sums, u64 stride) {
  layout::ActivationLayout a{w.K};
  const u8 *tokens = activations + u64(m0) * a.bytes();
  if (state.shapedFor != count) {
    TileShapes shapes(count);
    QL_TILE_SHAPES(&shapes);
    state.shapedFor = count;
  }
#pragma clang loop unroll(disable)
  for (int m = 0; m < count; ++m)
    state.tokens[m] = scalesOf(a, tokens + u64(m) * a.bytes(), unit, index);
#pragma clang loop unroll(disable)
  for (int t = 0; t < tiles; ++t)
    multiplyByTiles(unit, state.panels[t], tokens + index * layout::kUnitK, a.bytes(),
                    count, state, sums + t * stride + m0);
}

#endif

/// Adds the products of `tiles` panels with kBlockTokens tokens to sums[0 ..
/// kBlockTokens
/// - 1], of the next tile `stride` on. `tiles` has to be constant.
QL_INLINE void multiplyPanels(const UnitLayout &unit, const Panel *panels, int tiles,
                              const u8 *const *codes, const TokenScales *tokens,
                              Floats *sums, u64 stride) {
  int bits = unit.spec.byteBits();
  // Calls f(t, m) for each tile and token.
  auto forEachSum = [&](auto f) QL_LAMBDA {
    QL_UNROLL
    for (int t = 0; t < tiles; ++t)
      QL_UNROLL
    for (int m = 0; m < kBlockTokens; ++m)
      f(t, m);
  };
  Floats y[kGemmTiles][kBlockTokens];
  forEachSum([&](int t, int m) QL_LAMBDA { y[t][m] = sums[t * stride + m]; });
#pragma clang loop unroll(disable)
  for (int c = 0; c < unit.chunks; ++c) {
    int at = c * 16;
    QL_UNROLL
    for (int half = 0; half < unit.halves(); ++half) {
      int steps = 8 / unit.halves(), first = half * steps;
      LaneSums products[kGemmTiles][kBlockTokens];
      forEachSum([&](int t, int m) QL_LAMBDA {
        products[t][m].sum = startOf(unit.spec, tokens[m], c, half);
      });
      QL_UNROLL
      for (int g = 0; g < steps; ++g) {
        int column = (first + g) / 4 * 128 + (first + g) % 4 * 4;
        forEachSum([&](int t, int m) QL_LAMBDA {
          addProducts(bits, g, products[t][m], panels[t].codes[c][first + g],
                      fourCodes(codes[m] + at + column));
        });
      }
      forEachSum([&](int t, int m) QL_LAMBDA {
        y[t][m] = fma(panels[t].scale[c][half] * splat(tokens[m].scale[c]),
                      toFloats(products[t][m].value(bits)), y[t][m]);
      });
    }
    if (offsetsOf(unit.spec) == kFloatOffsets) {
      QL_UNROLL
      for (int half = 0; half < unit.halves(); ++half)
        forEachSum([&](int t, int m) QL_LAMBDA {
          Floats sum = splat(tokens[m].sums[half][c]);
          y[t][m] = fma(-panels[t].offset[c][half], sum, y[t][m]);
        });
    }
  }
  forEachSum([&](int t, int m) QL_LAMBDA { sums[t * stride + m] = y[t][m]; });
}

/// Tokens m0 and on; the last of `rows` stands for those that are not there.
QL_INLINE void multiplyTokens(const WeightLayout &w, const UnitLayout &unit,
                              const u8 *activations, int rows, u64 index, int m0,
                              int tiles, GemmState &state, Floats *sums, u64 stride) {
  layout::ActivationLayout a{w.K};
  const u8 *codes[kBlockTokens];
  QL_UNROLL
  for (int m = 0; m < kBlockTokens; ++m) {
    int row = m0 + m < rows ? m0 + m : rows - 1;
    const u8 *token = activations + u64(row) * a.bytes();
    codes[m] = token + index * layout::kUnitK;
    state.tokens[m] = scalesOf(a, token, unit, index);
  }
  multiplyPanels(unit, state.panels, tiles, codes, state.tokens, sums + m0, stride);
}

/// Adds unit `index` of `tiles` tiles.
QL_INLINE void multiplyUnit(const WeightLayout &w, const u8 *blob,
                            const u8 *activations, int rows, u64 tile, int tiles,
                            u64 index, bool tail, GemmState &state, Floats *sums,
                            u64 stride) {
  UnitLayout unit = tail ? w.tailUnit() : w.fullUnit();
#pragma clang loop unroll(disable)
  for (int t = 0; t < tiles; ++t) {
    const u8 *base = blob + w.unitOffset(tile + t, index);
    // Behind a tile's end are tiles that are read beside it.
    const u8 *end = blob + w.unitOffset(tile + t + 1, 0);
    auto skipping = [&](const u8 *p) QL_LAMBDA {
      return p < end ? p : p + (tiles - 1) * w.tileBytes();
    };
    Ahead ahead = aheadOf(unit, base);
    ahead = {skipping(ahead.near), skipping(ahead.far)};
    BlockSteps steps = blockStepsOf(w, unit, blob, base, tile + t, index);
    decodeHalf(unit, base, ahead, steps, 0, t, state);
    if (unit.chunks > 4)
      decodeHalf(unit, base, ahead, steps, 1, t, state);
  }
  int m0 = 0;
#if defined(QL_TILES) // as long for a few tokens as for all of a tile
#pragma clang loop unroll(disable)
  for (; m0 + 2 * kBlockTokens < rows; m0 += kTileTokens)
    multiplyByTiles(w, unit, activations, index, m0,
                    rows - m0 < kTileTokens ? rows - m0 : kTileTokens, tiles, state,
                    sums, stride);
#endif
#pragma clang loop unroll(disable)
  for (; m0 < rows; m0 += kBlockTokens)
    if (tiles == kGemmTiles)
      multiplyTokens(w, unit, activations, rows, index, m0, kGemmTiles, state, sums,
                     stride);
    else
      multiplyTokens(w, unit, activations, rows, index, m0, 1, state, sums, stride);
}

/// y of `tiles` (1 or kGemmTiles) tiles' 16 rows each for `rows` quantized tokens:
/// token m of tile t at sums + t * stride + m; the vectors up to the next multiple of
/// kTokenBlock are overwritten.
QL_INLINE void multiplyTiles(const WeightLayout &w, const u8 *blob,
                             const u8 *activations, int rows, u64 tile, int tiles,
                             GemmState &state, Floats *sums, u64 stride) {
  int padded = (rows + kTokenBlock - 1) / kTokenBlock * kTokenBlock;
#pragma clang loop unroll(disable)
  for (int t = 0; t < tiles; ++t) {
    beginTile(w, 0, blob, tile + t, state.constants[t]);
#pragma clang loop unroll(disable)
    for (int m = 0; m < padded; ++m)
      sums[t * stride + m] = Floats{};
  }
#if defined(QL_TILES)
  state.shapedFor = 0;
#endif
#pragma clang loop unroll(disable)
  for (u64 u = 0; u < w.fullUnits(); ++u)
    multiplyUnit(w, blob, activations, rows, tile, tiles, u, false, state, sums,
                 stride);
  if (w.tailChunks())
    multiplyUnit(w, blob, activations, rows, tile, tiles, w.fullUnits(), true, state,
                 sums, stride);
#if defined(QL_TILES)
  QL_TILE_RELEASE();
#endif
#pragma clang loop unroll(disable)
  for (int t = 0; t < tiles; ++t)
#pragma clang loop unroll(disable)
    for (int m = 0; m < rows; ++m) {
      Floats &y = sums[t * stride + m];
      y = permute(y, [](int l) QL_LAMBDA { return l % 4 * 4 + l / 4; });
    }
}

} // namespace qlinear::cpu
#endif
