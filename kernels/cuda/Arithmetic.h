//===- Arithmetic.h - The operations that are not plain C++ -----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_ARITHMETIC_H
#define QLINEAR_KERNELS_CUDA_ARITHMETIC_H

#ifdef __NVPTX__
#include "Intrinsics.h"
#else
#include "../common/Portable.h"
#endif

namespace qlinear::kernels {

#ifdef __NVPTX__
QL_INLINE i32 dp4a(u32 a, u32 b, i32 c) { return ql_ptx_dp4a(a, b, c); }
QL_INLINE u32 bytePermute(u32 a, u32 b, u32 selector) {
  return ql_ptx_byte_permute(a, b, selector);
}
QL_INLINE float exp2(float x) { return ql_ptx_exp2(x); }
#else
inline i32 dp4a(u32 a, u32 b, i32 c) {
  for (int i = 0; i < 4; ++i)
    c += int(a >> 8 * i & 255) * int((signed char)(b >> 8 * i));
  return c;
}
inline u32 bytePermute(u32 a, u32 b, u32 selector) {
  u32 r = 0;
  for (int i = 0; i < 4; ++i)
    r |= u32(((u64(b) << 32 | a) >> 8 * (selector >> 4 * i & 7)) & 255) << 8 * i;
  return r;
}
inline float exp2(float x) { return __builtin_exp2f(x); }
#endif

QL_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

// An integer i of -2^22 .. 2^22 becomes a float with one addition: it is summed
// on top of the bits of 1.5 * 2^23, whose ulp is 1.
inline constexpr i32 kMagicBits = 0x4B400000;
inline constexpr float kMagic = 12582912.0f;
QL_INLINE float magicToFloat(i32 v) { return bitCast<float>(v) - kMagic; }

/// The correctly rounded x / 127, for 2^-119 <= x < infinity: the product with the
/// rounded reciprocal, corrected by its exact remainder.
QL_INLINE float divideBy127(float x) {
  constexpr float kReciprocal = 1.0f / 127.0f;
  float q = x * kReciprocal;
  return fma(fma(-127.0f, q, x), kReciprocal, q);
}

/// Quotient of numbers below 2^22, the divisor at least 1: the product with the
/// rounded reciprocal is off by less than one.
QL_INLINE i32 divide(i32 dividend, i32 divisor) {
  i32 q = i32(float(dividend) * (1.0f / float(divisor)));
  q -= q * divisor > dividend;
  q += (q + 1) * divisor <= dividend;
  return q;
}

} // namespace qlinear::kernels
#endif
