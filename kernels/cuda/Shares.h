//===- Shares.h - How blocks share jobs -------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// All jobs take equally long. As many as there are blocks run at once; those that would
// be left for a last, incomplete wave are shared out evenly instead, by units of K: each
// block gets a range of the units of the first jobs, and then whole jobs. Its range ends
// somewhere in a job, and starts in one: it takes the last piece first, so that the
// pieces of a job, which are of consecutive blocks, are done when they are needed.
//
// Jobs are numbered so that neighbours have the same tiles and different tokens, but of
// kTokenBlocks blocks of tokens only before the next tiles: their activations stay in
// L2 meanwhile.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_SHARES_H
#define QLINEAR_KERNELS_CUDA_SHARES_H

#include "HalfWeights.h"

namespace qlinear::kernels {

/// A job, or a range of its units.
struct Piece {
  int job, unit0, unit1;
  int pieces; ///< of the job; 1: all of it
  int own;    ///< which of them
  int first, per, units; ///< the block that has the first; units of a range, of a job
  int group, token0; ///< group of tiles; first token
  int tile0, tiles;  ///< the group's, in its segment

  /// Where the sums of piece `p` of the job are: a block has two, for a range that starts in a job
  /// and for one that starts with it.
  QL_INLINE int slotOf(int p) const {
    int block = first + p;
    return 2 * block + (block * per <= job * units ? 1 : 0);
  }
};

struct Shares {
  /// Blocks of tokens that are done before the next tiles.
  static constexpr int kTokenBlocks = 8;
  int units; ///< of a job
  int groups, tokenBlocks, tokens;
  int grid, block;
  int shared = 0;  ///< the first jobs, which are shared by units
  int per = 0;     ///< units of a block's range
  int begin = 0, end = 0;

  /// `most`: pieces of a job.
  QL_INLINE void open(int most) {
    int jobs = groups * tokenBlocks, waves = jobs / grid;
    // A range is at least half a job, where there are more jobs than blocks.
    int left = jobs - waves * grid;
    shared = waves == 0 || 2 * left >= grid ? left : left + grid;
    if (most == 1 || left == 0 || 10 * left >= 9 * grid) // nearly a wave, or none
      shared = 0;
    per = max((shared * units + grid - 1) / grid, (units + most - 1) / most);
    begin = min(block * per, shared * units);
    end = min(begin + per, shared * units);
  }
  /// The block's pieces, and whole jobs after them.
  QL_INLINE int sharedPieces() const {
    return begin == end ? 0 : (end - 1) / units - begin / units + 1;
  }
  QL_INLINE int pieces() const {
    int jobs = groups * tokenBlocks - shared;
    return sharedPieces() + (jobs > block ? (jobs - block + grid - 1) / grid : 0);
  }
  QL_INLINE Piece piece(int index) const {
    Piece p = {};
    p.units = units;
    p.per = per;
    if (index < sharedPieces()) {
      p.job = (end - 1) / units - index;
      int start = p.job * units;
      p.unit0 = max(begin, start) - start;
      p.unit1 = min(end, start + units) - start;
      p.first = start / per;
      p.pieces = (start + units - 1) / per - p.first + 1;
      p.own = block - p.first;
    } else {
      p.job = shared + block + (index - sharedPieces()) * grid;
      p.unit1 = units;
      p.pieces = 1;
    }
    int perSuper = groups * kTokenBlocks, super = p.job / perSuper;
    int inSuper = p.job - super * perSuper;
    int width = min(kTokenBlocks, tokenBlocks - super * kTokenBlocks);
    p.group = inSuper / width;
    p.token0 = (super * kTokenBlocks + inSuper - p.group * width) * tokens;
    return p;
  }
};

} // namespace qlinear::kernels
#endif
