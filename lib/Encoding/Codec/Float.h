//===- Float.h - Bits of bf16 and f16 ---------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Inline float conversions of the codecs; Codec.h exports them as functions.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_CODEC_FLOAT_H
#define QLINEAR_LIB_ENCODING_CODEC_FLOAT_H

#include "qlinear/Encoding/Encoding.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace qlinear::detail {

inline float fromBf16(uint32_t bits) { return layout::floatValue(layout::kBF16, bits); }

inline uint32_t toBf16(float value) {
  uint32_t b = std::bit_cast<uint32_t>(value);
  if ((b & 0x7FFFFFFF) > 0x7F800000)
    return (b >> 16) | 0x40; // stays a NaN, made quiet
  return (b + 0x7FFF + (b >> 16 & 1)) >> 16;
}

inline float fromF16(uint32_t bits) { return layout::floatValue(layout::kF16, bits); }

inline uint32_t toF16(float value) {
  uint32_t b = std::bit_cast<uint32_t>(value);
  uint32_t sign = b >> 16 & 0x8000, m = b & 0x7FFFFFFF;
  if (m > 0x7F800000)
    return sign | 0x7E00;
  if (m >= 0x477FF000) // 65520 and beyond round to infinity
    return sign | 0x7C00;
  if (m < 0x38800000) // below 2^-14: 0.5f has the ulp of an f16 subnormal
    return sign |
           (std::bit_cast<uint32_t>(std::bit_cast<float>(m) + 0.5f) - 0x3F000000);
  return sign | ((m + 0xFFF + (m >> 13 & 1) - (112u << 23)) >> 13);
}

inline float fromBits(FloatType type, uint32_t bits) {
  return layout::floatValue(int(type), bits);
}

/// The power of two that is nearest in its logarithm, of values from 2^-127 to 2^127.
inline uint32_t toE8m0(float value) {
  int exponent;
  double fraction = std::frexp(double(value), &exponent); // from 0.5
  exponent += fraction < 0x1.6a09e667f3bcdp-1 ? -1 : 0;   // the root of a half
  return uint32_t(std::clamp(exponent + 127, 0, 254));
}

/// Values to 448, the largest.
inline uint32_t toE4m3(float value) {
  uint32_t sign = std::bit_cast<uint32_t>(value) >> 24 & 0x80;
  // An ulp from 2^-6 on, and of the subnormal numbers below.
  float magnitude = std::fabs(value);
  int exponent = magnitude < 0x1p-6f ? -6 : std::ilogb(magnitude);
  uint32_t ulps = uint32_t(std::nearbyint(std::ldexp(double(magnitude), 3 - exponent)));
  return sign | std::min(ulps + (uint32_t(exponent + 6) << 3), 0x7Eu);
}

inline uint32_t toBits(FloatType type, float value) {
  switch (type) {
  case FloatType::bf16:
    return toBf16(value);
  case FloatType::f16:
    return toF16(value);
  case FloatType::f32:
    break;
  case FloatType::e8m0:
    return toE8m0(value);
  case FloatType::e4m3:
    return toE4m3(value);
  }
  return std::bit_cast<uint32_t>(value);
}

/// Bits of the largest finite value of the type.
inline uint32_t largestBits(FloatType type) {
  switch (type) {
  case FloatType::bf16:
    return 0x7F7F;
  case FloatType::f16:
    return 0x7BFF;
  case FloatType::f32:
    break;
  case FloatType::e8m0:
    return 254;
  case FloatType::e4m3:
    return 0x7E; // 448
  }
  return 0x7F7FFFFF;
}

/// a - b rounded once to float, where a and b are exact: the difference is
/// rounded to odd in double, which leaves the second rounding nothing to lose.
inline float subtractRounded(double a, double b) {
  double s = a - b, t = s - a;
  double lost = (-b - t) + (a - (s - t));
  if (lost != 0) {
    uint64_t bits = std::bit_cast<uint64_t>(s);
    if (!(bits & 1))
      bits += (lost > 0) == (s > 0) ? 1 : -1;
    s = std::bit_cast<double>(bits);
  }
  return float(s);
}

} // namespace qlinear::detail
#endif
