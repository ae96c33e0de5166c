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

/// Items of 16 columns of a token that a thread prepares, at most, unless there are not
/// enough threads, of a block that prepares a token.
inline constexpr int kPrepareItems = 4, kMostPrepareThreads = 512;
/// Threads that prepare at once on a multiprocessor; they have 64 registers each.
inline constexpr int kPrepareThreadsTogether = 1024;
constexpr int prepareThreads(const PreparedActivations &p) {
  int items = int(p.blocks()) * (PreparedActivations::kColumns / 16);
  int threads =
      int(alignTo(u64(u32((items + kPrepareItems - 1) / kPrepareItems)), kWarp));
  return threads < 64                    ? 64
         : threads > kMostPrepareThreads ? kMostPrepareThreads
                                         : threads;
}

/// Warps of a group, which multiply together.
inline constexpr int kGroupWarps = 4;
/// Rows that a thread finishes at a time, of one token.
inline constexpr int kElementRows = 4;
/// Blocks of columns in a unit of 256.
inline constexpr int kUnitBlocks = layout::kUnitK / PreparedActivations::kColumns;

/// A kernel for many tokens: its blocks multiply `slots()` tiles of 16 rows with
/// `tokens` tokens at a time. A stage of the ring has a unit of 256 columns.
struct GemmShape {
  int tokens = 0, warps = 0; ///< warps that multiply
  int warpTiles = 0;         ///< tiles of a warp
  int stages = 0;
  int copyWarps = 0; ///< other warps; 0: the first one copies, too
  // By groups of warps: activations have a ring of their own, of `xStages` stages of
  // `xBlocks` blocks of columns, and sums are finished for `roundTokens` tokens at a
  // time.
  int xBlocks = kUnitBlocks, xStages = 0, roundTokens = 0;
  int pair = 0; ///< whether two blocks of a cluster share activations
  constexpr int slots() const { return warps * warpTiles; }
  constexpr int threads() const { return (warps + copyWarps) * kWarp; }
  /// Bytes of a block of columns of the activations, and of a stage.
  constexpr int blockX() const { return tokens * PreparedActivations::kRowBytes; }
  constexpr int stageX() const { return xBlocks * blockX(); }
  /// Finished sums: per slot 16 rows of `tokens` floats, a row two banks from the next.
  constexpr int sumsRow() const { return tokens + 2; }
  constexpr int sumsBytes() const {
    return slots() * layout::kTileRows * sumsRow() * 4;
  }

  // By groups.
  constexpr int groups() const { return warps / kGroupWarps; }
  constexpr int groupSlots() const { return kGroupWarps * warpTiles; }
  /// Sums of a thread.
  constexpr int threadSums() const { return warpTiles * (tokens / 2); }
  /// Sums of a round: per token the group's rows, a token four banks from the next;
  /// then the scales of all tokens. Neither writers (threads of fragments) nor readers
  /// (rows of elements) collide.
  constexpr int roundRow() const { return groupSlots() * layout::kTileRows + 4; }
  constexpr int roundBytes() const { return (roundTokens * roundRow() + tokens) * 4; }
  /// Sums of a piece of a job, of all groups.
  constexpr int pieceBytes() const { return warps * kWarp * threadSums() * 4; }
  /// Registers of a thread of groups that multiply, and of those that copy, of the
  /// 64 Ki of a multiprocessor, in eights.
  constexpr int allRegisters() const { return 65536 / threads() / 8 * 8 * threads(); }
  constexpr int multiplyRegisters() const {
    return (allRegisters() - copyWarps * kWarp * 24) / (warps * kWarp) / 8 * 8;
  }
  constexpr int copyRegisters() const {
    return (allRegisters() - warps * kWarp * multiplyRegisters()) /
           (copyWarps * kWarp) / 8 * 8;
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
/// scale a pair of f16 with its offset.
constexpr int gemmTableBytes(const Spec &s) {
  return layout::kTileRows * layout::kUnitChunks * (s.group == 16 ? 2 : 1) * 4;
}

} // namespace qlinear::kernels
#endif
