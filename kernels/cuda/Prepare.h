//===- Prepare.h - Activations for kernels of many tokens -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block takes a token at a time: it finds the largest magnitude, then reads the token
// again (from L2) and writes its row of PreparedActivations. An f16 or bf16 is then an
// f16 again, but for bits below 2^-38 of the largest; an f32 is rounded to 11 bits, as
// is an int8 code times its scale.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_PREPARE_H
#define QLINEAR_KERNELS_CUDA_PREPARE_H

#include "Staging.h"
#include "qlinear/Kernels/Gemm.h"

namespace qlinear::kernels {

/// Tokens of floats.
struct FloatTokens {
  int type;
  i64 K;
  const u8 *x;
  /// 16 columns from k on.
  QL_INLINE RawItem item(int token, int k) const {
    return loadItem(type, x + i64(token) * K * layout::floatBytes(type), k, int(K));
  }
  QL_INLINE u32 magnitude(int token, int k) const {
    return itemMagnitude(type, item(token, k));
  }
  QL_INLINE void values(int token, int k, float *out) const {
    itemValues(type, item(token, k), out);
  }
};

/// Tokens that are quantized already (ActivationLayout).
struct QuantizedTokens {
  i64 K;
  const u8 *x;
  QL_INLINE float scale(int token, int k) const {
    ActivationLayout l{u64(K)};
    return *(const volatile float *)(x + i64(token) * i64(l.bytes()) +
                                     l.record(u64(u32(k / layout::kChunk))));
  }
  QL_INLINE u32 magnitude(int token, int k) const {
    return bitCast<u32>(127.0f * scale(token, k));
  }
  QL_INLINE void values(int token, int k, float *out) const {
    ActivationLayout l{u64(K)};
    u32x4 codes =
        ql_ptx_load16_l2(x + i64(token) * i64(l.bytes()) + l.code(u64(u32(k))));
    float d = scale(token, k);
    QL_UNROLL
    for (int i = 0; i < kItem; ++i)
      out[i] = d * float(i32(codes[i / 4] << (24 - 8 * (i % 4))) >> 24);
  }
};

/// The largest of all threads' values, by warps of one block; `scratch` has a word per
/// warp. Two barriers.
QL_INLINE u32 largestOfBlock(u32 value, int threads, QL_SHARED u32 *scratch) {
  QL_UNROLL
  for (int mask = 16; mask; mask /= 2)
    value = __builtin_elementwise_max(value, ql_ptx_shuffle_xor(value, mask));
  int thread = ql_ptx_thread();
  if (thread % kWarp == 0)
    scratch[thread / kWarp] = value;
  ql_ptx_barrier();
  QL_UNROLL
  for (int warp = 0; warp < threads / kWarp; ++warp)
    value = __builtin_elementwise_max(value, u32(scratch[warp]));
  ql_ptx_barrier(); // before the next token's
  return value;
}

/// Prepares all tokens; `blocks` blocks of `threads` threads share them.
template <class Tokens>
QL_INLINE void prepare(const Tokens &tokens, i64 K, int rows, int threads, int blocks,
                       u8 *image, QL_SHARED u32 *scratch) {
  constexpr u32 kLeast = 27; // the exponent of chunks below 2^-100 is theirs
  PreparedActivations prepared{u64(K)};
  int items = int(prepared.blocks()) * (PreparedActivations::kColumns / kItem);
  QL_NO_UNROLL
  for (int token = ql_ptx_block(); token < rows; token += blocks) {
    u32 most = 0;
    QL_NO_UNROLL
    for (int i = ql_ptx_thread(); i < items; i += threads)
      if (i * kItem < K)
        most = __builtin_elementwise_max(most, tokens.magnitude(token, i * kItem));
    most = largestOfBlock(most, threads, scratch);
    u32 exponent = __builtin_elementwise_max(most >> 23, kLeast);
    float scale = bitCast<float>((127 + 141 - exponent) << 23); // most: 2^14 .. 2^15
    if (ql_ptx_thread() == 0)
      ((float *)(image + prepared.scales(u64(u32(rows)))))[token] =
          bitCast<float>((exponent - 14) << 23);
    QL_NO_UNROLL
    for (int i = ql_ptx_thread(); i < items; i += threads) {
      float x[kItem];
      QL_UNROLL
      for (int c = 0; c < kItem; ++c)
        x[c] = 0.0f;
      if (i * kItem < K)
        tokens.values(token, i * kItem, x);
      u8 *row = image + prepared.block(u64(u32(rows)), u64(u32(i / 4))) +
                u64(u32(token)) * PreparedActivations::kRowBytes;
      QL_UNROLL
      for (int odd = 0; odd < 2; ++odd) {
        u32x4 piece;
        QL_UNROLL
        for (int w = 0; w < 4; ++w)
          piece[w] =
              ql_ptx_half_pair(x[4 * w + odd] * scale, x[4 * w + 2 + odd] * scale);
        *(u32x4 *)(row + ((i % 4 * 2 + odd) ^ (token & 7)) * 16) = piece;
      }
    }
  }
}

} // namespace qlinear::kernels
#endif
