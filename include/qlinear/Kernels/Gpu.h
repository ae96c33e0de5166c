//===- Gpu.h - What GPU skeletons and micro-kernels share -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The contents of a GPU kernel's shared memory, derived from the encoding, and the
// constants that the generated skeleton passes: one definition for the micro-kernels of
// kernels/cuda and the compiler that plans and calls them.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_GPU_H
#define QLINEAR_KERNELS_GPU_H

#include "qlinear/Encoding/Layout.h"

namespace qlinear::kernels {

using layout::alignTo;
using layout::Meta;
using layout::Spec;
using layout::u32;
using layout::u64;
using layout::UnitLayout;
using layout::WeightLayout;

inline constexpr int kWarp = 32;
inline constexpr int kMaxTokens = 8;
inline constexpr int kMaxWeights = 4; ///< of one walk
inline constexpr int kMaxRecordKinds = 4;
/// Columns that a thread quantizes: half a chunk.
inline constexpr int kItem = layout::kChunk / 2;

/// Bytes that a kernel keeps for each of the objects it hands from call to call.
inline constexpr int kStateBytes = 512;

/// How weights reach the arithmetic.
enum CopyMode : int {
  kDirect, ///< 16-byte loads into registers, one unit ahead
  kAsync,  ///< cp.async into a ring of stages per warp (sm_80)
  kBulk,   ///< bulk copies and mbarriers (sm_90)
};

/// Element types of inputs and outputs; the values of layout::Float, then f32.
using Element = layout::Float;

/// What multiplies codes and activations, and with that how activations are staged.
enum Product : int {
  kDp4a,     ///< int8 activations, row by row
  kMma,      ///< int8 activations on tensor cores
  kFma,      ///< f32 activations, row by row
  kMmaHalf,  ///< f16 activations on tensor cores, in each chunk times a power of two
  kMmaSplit, ///< the sum of two such, for the bits of f32
};
constexpr bool onTensorCores(int product) {
  return product == kMma || product == kMmaHalf || product == kMmaSplit;
}
constexpr bool multipliesFloats(int product) {
  return product == kFma || product == kMmaHalf || product == kMmaSplit;
}
/// Bytes of a staged activation.
constexpr int stagedBytes(int product) {
  return product == kMmaHalf ? 2 : product == kMmaSplit || product == kFma ? 4 : 1;
}

/// The data of each chunk of 32 activations that a kernel needs besides the codes:
/// {float d; then per half (group 16) or once: float d * sum, or, in the
/// symmetric form, with which the product of the chunk starts: int magic - bias * sum,
/// or of floats -bias * sum}.
struct RecordKind {
  int halves = 1, hasOffset = 0, bias = 0;

  static constexpr RecordKind of(const Spec &s) {
    bool offset = s.form != layout::kSymmetric;
    return {s.group == 16 ? 2 : 1, offset, offset ? 0 : s.bias()};
  }
  constexpr int bytes() const { return halves == 2 ? 16 : 8; }
  constexpr u32 pack() const {
    return u32(halves) | u32(hasOffset) << 2 | u32(bias) << 3;
  }
  static constexpr RecordKind unpack(u32 v) {
    return {int(v & 3), int(v >> 2 & 1), int(v >> 3)};
  }
  constexpr bool operator==(const RecordKind &) const = default;
};

/// Adjacent columns that a thread of a norm has at a time, and the most columns of a
/// row that its block has in registers.
inline constexpr int kNormColumns = 8, kMostNormColumns = 4 * kNormColumns * 1024;

/// Heads of a row for rotary embeddings: of `head` columns each, the first `rotated` of
/// which are rotated half against half. A thread takes an item: `width` adjacent
/// columns of both halves, or of the columns that stay.
struct RotaryShape {
  int heads, head, rotated;
  constexpr int width() const { return rotated % 8 || head % 4 ? 1 : 4; }
  constexpr int pairs() const { return rotated / 2 / width(); }
  constexpr int itemsPerHead() const { return pairs() + (head - rotated) / width(); }
  /// Threads that a row keeps busy; a head that is normalized has a warp.
  constexpr int threadsPerRow(bool norms) const {
    return heads * (norms ? kWarp : itemsPerHead());
  }
};

/// Where the activations of `tokens` tokens lie in shared memory, `units` units of K
/// each. Row by row, they are read token by token; tensor cores read the same columns
/// of all tokens at once, for which tokens are skewed by a bank of 16 bytes and the
/// records of a chunk's tokens lie side by side.
///
/// 16 bytes are a *piece*. A unit's chunk c has piece i at 128 i + 16 c, so that eight
/// lanes, each with a chunk of its own, read 128 bytes. Only pieces of f16 lie one
/// after the other, as matrices are loaded by chunks: of columns 0..15 the even ones,
/// the odd ones, then the same of columns 16..31, and for kMmaSplit all again with the
/// bits that f16 had no room for.
struct StagedActivations {
  int tokens, units, product;
  constexpr bool tensor() const { return onTensorCores(product); }
  constexpr int unitBytes() const { return layout::kUnitK * stagedBytes(product); }
  constexpr int codeStride() const { return units * unitBytes() + (tensor() ? 16 : 0); }
  constexpr int codeBytes() const { return tokens * codeStride(); }
  constexpr int pieces() const { return layout::kChunk * stagedBytes(product) / 16; }
  constexpr bool piecesAdjoin() const {
    return product == kMmaHalf || product == kMmaSplit;
  }
  /// Piece 0 of a chunk, and from one piece to the next.
  constexpr int code(int token, int chunk) const {
    return token * codeStride() + chunk / 8 * unitBytes() +
           chunk % 8 * 16 * (piecesAdjoin() ? pieces() : 1);
  }
  constexpr int pieceStride() const { return piecesAdjoin() ? 16 : 128; }
  constexpr int records() const { return tokens * units * layout::kUnitChunks; }
  /// Index of the record of a token's chunk.
  constexpr int record(int token, int chunk) const {
    return tensor() ? chunk * tokens + token
                    : token * units * layout::kUnitChunks + chunk;
  }
};

/// Bytes in which a warp hands on the scales and offsets of a unit (Fragment.h).
constexpr int exchangeBytes(const Spec &s) {
  RecordKind kind = RecordKind::of(s);
  return layout::kTileRows * layout::kUnitChunks * kind.halves * (1 + kind.hasOffset) *
         4;
}

/// Floats kept per row of one metadata tensor: the whole value with one group
/// per row, else the step, the base and step, or the base.
constexpr int rowFloats(const Spec &s, const Meta &m) {
  return m.kind == layout::kNone   ? 0
         : !s.group                ? 1
         : m.scope != layout::kRow ? 0
         : m.kind == layout::kLog  ? 2
                                   : 1;
}
constexpr int rowFloats(const Spec &s) {
  return rowFloats(s, s.scale) + rowFloats(s, s.offset);
}
/// Whether the scale's first row float multiplies the finished row. The min form
/// has terms with and without the scale, so it takes it in each group.
constexpr bool scalesRow(const Spec &s) {
  return s.form != layout::kMin && rowFloats(s, s.scale) &&
         (!s.group || s.scale.kind != layout::kDelta);
}

/// One stage of a ring: the 128-byte lines of a unit, then its block steps.
constexpr int unitStageBytes(const WeightLayout &w) {
  int full = w.fullUnits() ? w.fullUnit().bytes() : 0;
  int tail = w.tailChunks() ? w.tailUnit().bytes() : 0;
  int most = full > tail ? full : tail;
  bool lines = full % layout::kLine == 0;
  return int(alignTo(u64(most + (lines ? 0 : layout::kLine - 32)), layout::kLine));
}
constexpr bool stepsOutside(const Spec &s) {
  UnitLayout full{s};
  return full.stepEntryBytes() && !full.stepsInside();
}
constexpr int stageBytes(const WeightLayout &w) {
  return unitStageBytes(w) +
         (stepsOutside(w.spec)
              ? int(alignTo(u64(w.fullUnit().stepBytes()), layout::kLine))
              : 0);
}

/// Partial sums of one (run of units, warp) pair: 16 rows per token. A run is one
/// tile of one weight; warps take consecutive units, so run + warp names the pair.
constexpr int slotBytes(int tokens) { return tokens * layout::kTileRows * 4; }
constexpr int slotCount(int runs, int warps) { return runs + warps; }

} // namespace qlinear::kernels
#endif
