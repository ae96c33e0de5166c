//===- Gemm.h - Sizes of GPU kernels for many tokens ------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the compiler and the kernels for many tokens share: the image of the
// activations that a kernel of its own prepares (Prepare.h), and the parts of shared
// memory (Gemm.h).
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_GEMM_H
#define QLINEAR_KERNELS_GEMM_H

#include "qlinear/Kernels/Gpu.h"

namespace qlinear::kernels {

/// Activations as tensor cores take them: f16, each token's times a power of two that
/// brings its largest to 2^14 .. 2^15. In blocks of 64 columns (K padded with zeros):
///
///   image = block 0 | block 1 | ... | float scales[rows]
///   block = row 0 | row 1 | ...           a row: 8 pieces of 16 bytes
///
/// Piece 2 i of a row has the even ones of columns 16 i .. 16 i + 15, piece 2 i + 1 the
/// odd ones: there masks find the codes of a word (HalfFragment.h). Piece p of row m
/// is at place p ^ (m & 7), so that eight rows' pieces are in eight banks. A token is
/// its row times its scale.
struct PreparedActivations {
  u64 K = 0;
  static constexpr int kColumns = 64, kRowBytes = 2 * kColumns;
  constexpr u64 blocks() const { return (K + kColumns - 1) / kColumns; }
  constexpr u64 bytesPerRow() const { return blocks() * kRowBytes + 4; }
  constexpr u64 block(u64 rows, u64 index) const { return index * rows * kRowBytes; }
  constexpr u64 scales(u64 rows) const { return block(rows, blocks()); }
};

/// Blocks of columns in a unit of 256.
inline constexpr int kUnitBlocks = layout::kUnitK / PreparedActivations::kColumns;

/// A kernel for many tokens: its blocks multiply `slots()` tiles of 16 rows with
/// `tokens` tokens at a time. A stage of the ring has a unit of 256 columns of both.
struct GemmShape {
  int tokens = 0, warps = 0; ///< warps that multiply
  int warpTiles = 0;         ///< tiles of a warp
  int stages = 0;
  int copyWarps = 0; ///< 1 if another warp copies, 0 if the first one does, too
  constexpr int slots() const { return warps * warpTiles; }
  constexpr int threads() const { return (warps + copyWarps) * kWarp; }
  /// Bytes of the activations of a stage.
  constexpr int stageX() const {
    return tokens * kUnitBlocks * PreparedActivations::kRowBytes;
  }
  /// Finished sums: per slot 16 rows of `tokens` floats, a row two banks from the next.
  constexpr int sumsRow() const { return tokens + 2; }
  constexpr int sumsBytes() const {
    return slots() * layout::kTileRows * sumsRow() * 4;
  }
};

/// Bytes of a unit in a stage, and from there to its block steps.
constexpr int gemmUnitBytes(const WeightLayout &w) {
  int full = w.fullUnits() ? w.fullUnit().bytes() : 0;
  int tail = w.tailChunks() ? w.tailUnit().bytes() : 0;
  return int(alignTo(u64(full > tail ? full : tail), layout::kLine));
}
constexpr int gemmSlotBytes(const WeightLayout &w) {
  int steps = stepsOutside(w.spec) ? w.fullUnit().stepBytes() : 0;
  return gemmUnitBytes(w) + int(alignTo(u64(u32(steps)), layout::kLine));
}

/// A warp's decoded scales and offsets of a tile's unit (Exchange in Fragment.h), each
/// a pair of equal f16.
constexpr int gemmTableBytes(const Spec &s) {
  return layout::kTileRows * layout::kUnitChunks * (s.group == 16 ? 2 : 1) * 2 * 4;
}

} // namespace qlinear::kernels
#endif
