//===- FloatTest.cpp - Float conversions ----------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Reference.h"

#include <bit>
#include <gtest/gtest.h>

using namespace qlinear;

// The nearest of all finite values by brute force over the neighbours, ties to
// the even mantissa.
static void expectNearest(FloatType type, float v, uint16_t got, uint16_t infinity) {
  using reference::value;
  double d = v, chosen = value(type, got);
  ASSERT_EQ(std::signbit(v), bool(got >> 15));
  uint16_t m = got & 0x7FFF;
  if (m == infinity) { // beyond the midpoint above the largest finite value
    double largest = value(type, infinity - 1u);
    double ulp = largest - value(type, infinity - 2u);
    ASSERT_GE(std::fabs(d), largest + ulp / 2) << v;
    return;
  }
  double error = std::fabs(chosen - d);
  for (int step : {-1, 1}) {
    if (m == 0 && step < 0)
      continue;
    uint16_t other = uint16_t(got + step);
    double x = value(type, other);
    if (std::isinf(x))
      x = std::copysign(2 * value(type, infinity - 1u) - value(type, infinity - 2u), d);
    double otherError = std::fabs(x - d);
    ASSERT_LE(error, otherError) << std::hexfloat << v;
    if (error == otherError) {
      ASSERT_EQ(got & 1, 0) << std::hexfloat << v;
    }
  }
}

TEST(Float, AllHalvesWidenExactly) {
  for (uint32_t b = 0; b < 0x10000; ++b) {
    for (FloatType t : {FloatType::f16, FloatType::bf16}) {
      double want = reference::value(t, b);
      float got =
          t == FloatType::f16 ? f16ToFloat(uint16_t(b)) : bf16ToFloat(uint16_t(b));
      if (std::isnan(want)) {
        ASSERT_TRUE(std::isnan(got)) << b;
        continue;
      }
      ASSERT_EQ(want, got) << b;
      ASSERT_EQ(std::signbit(want), std::signbit(got)) << b;
      uint16_t back = t == FloatType::f16 ? floatToF16(got) : floatToBf16(got);
      ASSERT_EQ(back, b);
    }
  }
}

TEST(Float, RoundsToNearestEven) {
  std::mt19937_64 rng(1);
  for (int i = 0; i < 400000; ++i) {
    uint32_t bits = uint32_t(rng());
    if (i % 2) // near the range of f16
      bits = (bits & 0x807FFFFF) | uint32_t(98 + rng() % 48) << 23;
    if (i % 3 == 0) // ties
      bits = (bits & 0xFFFFE000) | 0x1000;
    if (i % 7 == 0)
      bits = (bits & 0xFFFF0000) | 0x8000;
    float v = std::bit_cast<float>(bits);
    if (!std::isfinite(v))
      continue;
    expectNearest(FloatType::f16, v, floatToF16(v), 0x7C00);
    expectNearest(FloatType::bf16, v, floatToBf16(v), 0x7F80);
  }
}

TEST(Float, SpecialValues) {
  EXPECT_TRUE(std::isnan(f16ToFloat(floatToF16(NAN))));
  EXPECT_TRUE(std::isnan(bf16ToFloat(floatToBf16(NAN))));
  // A NaN whose upper bits are zero must not become infinity.
  float low = std::bit_cast<float>(0x7F800001u);
  EXPECT_TRUE(std::isnan(bf16ToFloat(floatToBf16(low))));
  EXPECT_EQ(floatToF16(INFINITY), 0x7C00);
  EXPECT_EQ(floatToBf16(-INFINITY), 0xFF80);
  EXPECT_EQ(floatToF16(65519.99f), 0x7BFF);
  EXPECT_EQ(floatToF16(65520.0f), 0x7C00);
  EXPECT_EQ(floatToF16(-0.0f), 0x8000);
}
