//===- Rotary.h - Rotary embeddings of a row --------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_ROTARY_H
#define QLINEAR_KERNELS_CPU_ROTARY_H

#include "Activations.h"

namespace qlinear::cpu {

/// The heads of a row: of `head` columns each, the first `rotated` of which are rotated
/// half against half.
QL_INLINE void rotateRow(int dtype, int tableType, u64 heads, u64 head, u64 rotated,
                         const u8 *x, const u8 *cos, const u8 *sin, u8 *out) {
  u64 size = dtype == kFloat32 ? 4 : 2, tableSize = tableType == kFloat32 ? 4 : 2;
  u64 half = rotated / 2;
  auto table = [&](const u8 *row, u64 k, u64 count) QL_LAMBDA {
    return loadSome(tableType, row + k * tableSize, count);
  };
#pragma clang loop unroll(disable)
  for (u64 h = 0; h < heads; ++h, x += head * size, out += head * size) {
#pragma clang loop unroll(disable)
    for (u64 k = 0; k < half; k += 16) {
      u64 count = half - k, other = k + half;
      Floats low = loadSome(dtype, x + k * size, count);
      Floats high = loadSome(dtype, x + other * size, count);
      storeSome(dtype, out + k * size, count,
                low * table(cos, k, count) - high * table(sin, k, count));
      storeSome(dtype, out + other * size, count,
                high * table(cos, other, count) + low * table(sin, other, count));
    }
#pragma clang loop unroll(disable)
    for (u64 k = rotated; k < head; k += 16)
      storeSome(dtype, out + k * size, head - k,
                loadSome(dtype, x + k * size, head - k));
  }
}

} // namespace qlinear::cpu
#endif
