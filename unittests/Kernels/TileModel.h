//===- TileModel.h - AMX's instructions as plain C++ ------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the instructions that kernels/cpu/Tiles.h uses are defined to do, for machines
// that do not have them. What they refuse ends the program with the reason.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_KERNELS_TILEMODEL_H
#define QLINEAR_UNITTESTS_KERNELS_TILEMODEL_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tile_model {

struct Tile {
  int rows = 0, rowBytes = 0; ///< of the configuration; 0: there is none
  unsigned char bytes[16][64] = {};
};
inline Tile tiles[8];

inline void require(bool holds, const char *what) {
  if (holds)
    return;
  std::fprintf(stderr, "tile instruction: %s\n", what);
  std::abort();
}
inline Tile &configured(int tile) {
  require(tile >= 0 && tile < 8, "no such tile");
  require(tiles[tile].rows, "the tile has no shape");
  return tiles[tile];
}

inline void release() {
  for (Tile &tile : tiles)
    tile = {};
}
/// The 64 bytes of LDTILECFG: palette, start row, 14 zeros, bytes of rows, rows.
inline void setShapes(const void *memory) {
  unsigned char config[64];
  std::memcpy(config, memory, 64);
  require(config[0] == 1, "palette 1 is the only one");
  for (int i = 1; i < 16; ++i)
    require(config[i] == 0, "the start row and reserved bytes are not 0");
  release();
  for (int i = 0; i < 16; ++i) {
    uint16_t rowBytes;
    std::memcpy(&rowBytes, config + 16 + 2 * i, 2);
    int rows = config[48 + i];
    require(rows <= 16 && rowBytes <= 64, "a tile has at most 16 rows of 64 bytes");
    require((rows == 0) == (rowBytes == 0),
            "rows without bytes, or bytes without rows");
    require(i < 8 || rows == 0, "there are 8 tiles");
    if (i < 8)
      tiles[i].rows = rows, tiles[i].rowBytes = rowBytes;
  }
}
inline void clear(int tile) {
  Tile &t = configured(tile);
  std::memset(t.bytes, 0, sizeof(t.bytes));
}
inline void load(int tile, const void *from, long stride) {
  clear(tile);
  Tile &t = tiles[tile];
  for (int row = 0; row < t.rows; ++row)
    std::memcpy(t.bytes[row], static_cast<const char *>(from) + row * stride,
                size_t(t.rowBytes));
}
inline void store(int tile, void *to, long stride) {
  const Tile &t = configured(tile);
  for (int row = 0; row < t.rows; ++row)
    std::memcpy(static_cast<char *>(to) + row * stride, t.bytes[row],
                size_t(t.rowBytes));
}
/// TDPBSUD: sums of four products of signed and unsigned bytes.
inline void add(int sums, int signeds, int unsigneds) {
  require(sums != signeds && sums != unsigneds && signeds != unsigneds,
          "the same tile twice");
  Tile &c = configured(sums);
  const Tile &a = configured(signeds), &b = configured(unsigneds);
  require(c.rows == a.rows && c.rowBytes == b.rowBytes && a.rowBytes == 4 * b.rows &&
              c.rowBytes % 4 == 0,
          "the shapes do not fit together");
  for (int m = 0; m < c.rows; ++m)
    for (int n = 0; n < c.rowBytes / 4; ++n) {
      int32_t sum;
      std::memcpy(&sum, c.bytes[m] + 4 * n, 4);
      for (int k = 0; k < b.rows; ++k)
        for (int i = 0; i < 4; ++i)
          sum += int(int8_t(a.bytes[m][4 * k + i])) * int(b.bytes[k][4 * n + i]);
      std::memcpy(c.bytes[m] + 4 * n, &sum, 4);
    }
}

} // namespace tile_model

#define QL_TILES
#define QL_TILE_SHAPES(shapes) tile_model::setShapes(shapes)
#define QL_TILE_RELEASE() tile_model::release()
#define QL_TILE_ZERO(tile) tile_model::clear(tile)
#define QL_TILE_LOAD(tile, from, stride) tile_model::load(tile, from, stride)
#define QL_TILE_STORE(tile, to, stride) tile_model::store(tile, to, stride)
#define QL_TILE_ADD(sums, signeds, unsigneds) tile_model::add(sums, signeds, unsigneds)

#endif
