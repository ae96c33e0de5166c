//===- Columns.h - A row that threads have in registers ---------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A norm leaves its rows as the kernels of the linear after it take them. Each thread
// of a block has groups of eight adjacent columns, neighbours adjacent groups:
//
//   column   0..7   8..15   16..23   24..31 | 32 ..        a chunk of 32: four lanes
//   thread    0       1       2        3    |  4           an item of 16: two
//
// What is written has the same bits as if the row had been stored and read again by
// ql_quantize or ql_prepare.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_COLUMNS_H
#define QLINEAR_KERNELS_CUDA_COLUMNS_H

#include "Prepare.h"

namespace qlinear::kernels {

struct Columns8 {
  static constexpr int kLanes = layout::kChunk / kNormColumns;
  static_assert(kNormColumns == 8 && kItem == 16);
  float x[kNormColumns];

  QL_INLINE Columns8(f32x4 low, f32x4 high) {
    QL_UNROLL
    for (int i = 0; i < 4; ++i) {
      x[i] = low[i];
      x[4 + i] = high[i];
    }
  }

  /// The bits of max|x|: magnitudes order as integers, NaN above infinity.
  QL_INLINE u32 magnitude() const {
    u32 most = 0;
    QL_UNROLL
    for (float v : x)
      most = __builtin_elementwise_max(most, bitCast<u32>(v) & 0x7FFFFFFF);
    return most;
  }

  /// Writes the codes of group `group` of a token, and with those of its chunk the
  /// record (ActivationLayout). All lanes of a warp call it together; groups past the
  /// last unit of 256 columns are none.
  QL_INLINE void quantize(i64 K, int group, u8 *token) const {
    u32 most = magnitude();
    QL_UNROLL
    for (int mask = 1; mask < kLanes; mask *= 2)
      most = __builtin_elementwise_max(most, ql_ptx_shuffle_xor(most, mask));
    ChunkScale scale = ChunkScale::of(most);
    u32 packed[2];
    i32 sum = 0;
    quantizeColumns<2>(x, scale.inverse, packed, sum);
    i32 half = sum + i32(ql_ptx_shuffle_xor(u32(sum), 1));
    i32 otherHalf = i32(ql_ptx_shuffle_xor(u32(half), 2));
    ActivationLayout l{u64(K)};
    u64 k = u64(u32(group)) * kNormColumns;
    if (k >= l.paddedK())
      return;
    *(u32x2 *)(token + l.code(k)) = u32x2{packed[0], packed[1]};
    if (group % kLanes == 0)
      *(u32x2 *)(token + l.record(k / layout::kChunk)) =
          u32x2{bitCast<u32>(scale.d()), u32(u16(half)) | u32(otherHalf) << 16};
  }

  /// Writes group `group` of a token, whose scale is `scale`, into the image of `rows`
  /// tokens; groups past the last block of columns are none.
  QL_INLINE void prepare(i64 K, int rows, int token, int group, TokenScale scale,
                         u8 *image) const {
    PreparedActivations prepared{u64(K)};
    int item = group / 2, half = group % 2;
    if (u64(u32(item / 4)) >= prepared.blocks())
      return;
    QL_UNROLL
    for (int odd = 0; odd < 2; ++odd)
      *(u32x2 *)(pieceOf(prepared, image, rows, token, item, odd) + half * 8) =
          halvesOf<u32x2>(x, odd, scale.up());
  }
};

} // namespace qlinear::kernels
#endif
