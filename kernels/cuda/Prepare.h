//===- Prepare.h - Activations for kernels of many tokens -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block takes a token at a time: it finds the largest magnitude, then writes its row
// of PreparedActivations, from registers, or where it is too long, from L2 again. An
// f16 or bf16 is then an f16 again, but for bits below 2^-38 of the largest; an f32 is
// rounded to 11 bits, as is an int8 code times its scale.
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
  using Raw = RawItem;
  /// 16 columns from k on.
  QL_INLINE Raw load(int token, int k) const {
    return loadItem(type, x + i64(token) * K * layout::floatBytes(type), k, int(K));
  }
  QL_INLINE u32 magnitude(const Raw &raw) const { return itemMagnitude(type, raw); }
  QL_INLINE void values(const Raw &raw, float *out) const {
    itemValues(type, raw, out);
  }
};

/// Tokens that are quantized already (ActivationLayout).
struct QuantizedTokens {
  i64 K;
  const u8 *x;
  struct Raw {
    u32x4 codes;
    float scale;
  };
  QL_INLINE Raw load(int token, int k) const {
    ActivationLayout l{u64(K)};
    const u8 *from = x + i64(token) * i64(l.bytes());
    return {ql_ptx_load16_l2(from + l.code(u64(u32(k)))),
            *(const volatile float *)(from + l.record(u64(u32(k / layout::kChunk))))};
  }
  QL_INLINE u32 magnitude(const Raw &raw) const {
    return bitCast<u32>(127.0f * raw.scale);
  }
  QL_INLINE void values(const Raw &raw, float *out) const {
    QL_UNROLL
    for (int i = 0; i < kItem; ++i)
      out[i] = raw.scale * float(i32(raw.codes[i / 4] << (24 - 8 * (i % 4))) >> 24);
  }
};

/// The sum of the values of a warp's lanes, in all of them.
QL_INLINE float sumOfWarp(float value) {
  QL_UNROLL
  for (int mask = kWarp / 2; mask; mask /= 2)
    value += bitCast<float>(ql_ptx_shuffle_xor(bitCast<u32>(value), mask));
  return value;
}

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

/// The power of two that a token is prepared with, by the bits of its largest
/// magnitude, which it brings to 2^14 .. 2^15, and its reciprocal.
struct TokenScale {
  static constexpr u32 kLeast = 15; // tokens below 2^-112 have that of these
  u32 exponent;
  QL_INLINE explicit TokenScale(u32 most)
      : exponent(__builtin_elementwise_max(most >> 23, kLeast)) {}
  QL_INLINE float up() const { return bitCast<float>((127 + 141 - exponent) << 23); }
  QL_INLINE float down() const { return bitCast<float>((exponent - 14) << 23); }
};

/// Where the even or the odd columns of an item lie in the image (PreparedActivations).
QL_INLINE u8 *pieceOf(const PreparedActivations &prepared, u8 *image, int rows,
                      int token, int item, int odd) {
  return image + prepared.block(u64(u32(rows)), u64(u32(item / 4))) +
         u64(u32(token)) * PreparedActivations::kRowBytes +
         ((item % 4 * 2 + odd) ^ (token & 7)) * 16;
}
/// The even or the odd ones of `4 * words` columns, times `scale`.
template <class Words> QL_INLINE Words halvesOf(const float *x, int odd, float scale) {
  Words words;
  QL_UNROLL
  for (int w = 0; w < int(sizeof(Words) / 4); ++w)
    words[w] = ql_ptx_half_pair(x[4 * w + odd] * scale, x[4 * w + 2 + odd] * scale);
  return words;
}

/// Writes an item of a token's row, times `scale`.
template <class Tokens>
QL_INLINE void prepareItem(const Tokens &tokens, const typename Tokens::Raw &raw,
                           int index, int token, int rows, float scale,
                           const PreparedActivations &prepared, u8 *image) {
  float x[kItem];
  QL_UNROLL
  for (int c = 0; c < kItem; ++c)
    x[c] = 0.0f;
  if (u64(u32(index * kItem)) < prepared.K)
    tokens.values(raw, x);
  QL_UNROLL
  for (int odd = 0; odd < 2; ++odd)
    *(u32x4 *)pieceOf(prepared, image, rows, token, index, odd) =
        halvesOf<u32x4>(x, odd, scale);
}

/// Prepares all tokens; blocks of `threads` threads share them.
template <class Tokens>
QL_INLINE void prepare(const Tokens &tokens, i64 K, int rows, int threads, u8 *image,
                       QL_SHARED u32 *scratch) {
  PreparedActivations prepared{u64(K)};
  int items = int(prepared.blocks()) * (PreparedActivations::kColumns / kItem);
  int perThread = (items + threads - 1) / threads;
  bool keeps = perThread <= kPrepareItems;
  QL_NO_UNROLL
  for (int token = ql_ptx_block(); token < rows; token += ql_ptx_blocks()) {
    u32 most = 0;
    typename Tokens::Raw kept[kPrepareItems];
    if (keeps) {
      QL_UNROLL
      for (int j = 0; j < perThread; ++j)
        if (int i = ql_ptx_thread() + j * threads; i * kItem < K)
          kept[j] = tokens.load(token, i * kItem);
      QL_UNROLL
      for (int j = 0; j < perThread; ++j)
        if ((ql_ptx_thread() + j * threads) * kItem < K)
          most = __builtin_elementwise_max(most, tokens.magnitude(kept[j]));
    } else {
      QL_NO_UNROLL
      for (int i = ql_ptx_thread(); i * kItem < K; i += threads)
        most = __builtin_elementwise_max(
            most, tokens.magnitude(tokens.load(token, i * kItem)));
    }
    most = largestOfBlock(most, threads, scratch);
    TokenScale of(most);
    float scale = of.up();
    if (ql_ptx_thread() == 0)
      ((float *)(image + prepared.scales(u64(u32(rows)))))[token] = of.down();
    if (keeps) {
      QL_UNROLL
      for (int j = 0; j < perThread; ++j)
        if (int i = ql_ptx_thread() + j * threads; i < items)
          prepareItem(tokens, kept[j], i, token, rows, scale, prepared, image);
    } else {
      QL_NO_UNROLL
      for (int i = ql_ptx_thread(); i < items; i += threads) {
        typename Tokens::Raw raw = {};
        if (i * kItem < K)
          raw = tokens.load(token, i * kItem);
        prepareItem(tokens, raw, i, token, rows, scale, prepared, image);
      }
    }
  }
}

} // namespace qlinear::kernels
#endif
