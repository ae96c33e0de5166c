//===- Tiles.h - A panel times sixteen tokens, by matrix tiles --*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// AMX has registers of up to 16 rows x 64 bytes. One instruction multiplies the signed
// bytes of one, a token in each row, by the unsigned ones of another, four columns of
// 16 rows of the weight in each row, and adds to a third, a token's sums in each row.
// The second is what a panel (Gemm.h) has, and the first is what activations are: 16
// columns of a chunk follow each other. So nothing is rearranged for it.
//
// The instructions are macros, since they name their registers by number: tests have
// them as plain C++ instead (unittests/Kernels/TileModel.h), and run all else as it is.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_TILES_H
#define QLINEAR_KERNELS_CPU_TILES_H

#include "Vector.h"

#if defined(__AMX_INT8__) && !defined(QL_TILES)
#define QL_TILES
#define QL_TILE_SHAPES(shapes) _tile_loadconfig(shapes)
#define QL_TILE_RELEASE() _tile_release()
#define QL_TILE_ZERO(tile) _tile_zero(tile)
#define QL_TILE_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define QL_TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define QL_TILE_ADD(sums, signeds, unsigneds) _tile_dpbsud(sums, signeds, unsigneds)
#endif

#if defined(QL_TILES)
namespace qlinear::cpu {

/// Tokens of a tile, and the tiles of sums that are computed side by side: numbers 0 to
/// 3. Of halves of a chunk, tokens are tiles 4 and 5, the codes 6 and 7.
inline constexpr int kTileTokens = 16, kTileSums = 4;

/// The shapes of the tiles for so many tokens, as the machine takes them.
struct TileShapes {
  u8 palette = 1, startRow = 0, reserved[14] = {};
  unsigned short rowBytes[16] = {};
  u8 rows[16] = {};

  QL_INLINE explicit TileShapes(int tokens) {
    auto set = [&](int tile, int count, int bytes) QL_LAMBDA {
      rows[tile] = u8(count);
      rowBytes[tile] = (unsigned short)bytes;
    };
    QL_UNROLL
    for (int sum = 0; sum < kTileSums; ++sum)
      set(sum, tokens, 64);
    QL_UNROLL
    for (int half = 0; half < 2; ++half) {
      set(4 + half, tokens, 16);
      set(6 + half, 4, 64);
    }
  }
};
static_assert(sizeof(TileShapes) == 64);

/// Adds the products of half a chunk to a sum: codes of tokens, `stride` bytes from one
/// to the next, and four vectors of a panel. All but the addresses has to be constant.
QL_INLINE void addHalfChunk(int sum, int half, const u8 *tokens, u64 stride,
                            const Bytes *codes) {
#define QL_ADD(SUM, HALF)                                                              \
  if (sum == SUM && half == HALF) {                                                    \
    QL_TILE_LOAD(4 + HALF, tokens, stride);                                            \
    QL_TILE_LOAD(6 + HALF, codes, 64);                                                 \
    QL_TILE_ADD(SUM, 4 + HALF, 6 + HALF);                                              \
  }
  QL_ADD(0, 0);
  QL_ADD(0, 1);
  QL_ADD(1, 0);
  QL_ADD(1, 1);
  QL_ADD(2, 0);
  QL_ADD(2, 1);
  QL_ADD(3, 0);
  QL_ADD(3, 1);
#undef QL_ADD
}
QL_INLINE void zeroSums() {
  QL_TILE_ZERO(0);
  QL_TILE_ZERO(1);
  QL_TILE_ZERO(2);
  QL_TILE_ZERO(3);
}
/// All sums, each with kTileTokens vectors.
QL_INLINE void storeSums(Ints *to) {
  QL_TILE_STORE(0, to, 64);
  QL_TILE_STORE(1, to + kTileTokens, 64);
  QL_TILE_STORE(2, to + 2 * kTileTokens, 64);
  QL_TILE_STORE(3, to + 3 * kTileTokens, 64);
}

} // namespace qlinear::cpu
#endif
#endif
