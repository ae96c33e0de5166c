//===- FieldsTest.cpp - What coded metadata means -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Reference.h"

#include <gtest/gtest.h>

#include <bit>

using namespace qlinear;

namespace {

bool sameFloat(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || a == b;
}

TEST(Fields, PowersOfTwo) {
  for (int n = -1074; n < 1024; ++n)
    ASSERT_EQ(layout::powerOfTwo(n), std::ldexp(1.0, n)) << n;
  EXPECT_EQ(layout::powerOfTwo(-0.0), 1);
  for (double x : {1024.0, 1e9, 1e300, double(INFINITY)})
    EXPECT_EQ(layout::powerOfTwo(x), INFINITY) << x;
  for (double x : {-1076.0, -1e9, -1e300, -double(INFINITY)})
    EXPECT_EQ(layout::powerOfTwo(x), 0) << x;
  EXPECT_TRUE(std::isnan(layout::powerOfTwo(NAN)));

  std::mt19937_64 rng(31);
  std::uniform_real_distribution<double> small(-1, 1), large(-1021, 1023);
  double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    double x = i % 2 ? small(rng) : large(rng);
    long double want = std::exp2((long double)x);
    int exponent = std::ilogb(want);
    long double error = std::fabs((long double)layout::powerOfTwo(x) - want);
    worst = std::max(worst, double(std::scalbn(error, 52 - exponent)));
  }
  EXPECT_LT(worst, 2);                               // units in the last place
  EXPECT_LT(layout::powerOfTwo(-1070.5), 0x1p-1070); // denormal
  EXPECT_GT(layout::powerOfTwo(-1070.5), 0x1p-1071);
}

/// Constants of every type: of both signs, the smallest, the largest, not finite.
std::vector<uint32_t> edges(FloatType type) {
  switch (type) {
  case FloatType::bf16:
    return {0, 0x8000, 1, 0x80, 0x3F80, 0xBF80, 0x7F7F, 0xFF7F, 0x7F80, 0x7FC0};
  case FloatType::f16:
    return {0, 0x8000, 1, 0x400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0x7E00};
  default:
    return {0,          0x80000000, 1,          0x800000,   0x3F800000,
            0xBF800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0x7FC00000};
  }
}

/// A row with every field of the storage as the scale of a group, decoded.
std::vector<float> decodedRow(const MetaStorage &m, std::vector<uint32_t> constants) {
  uint64_t G = uint64_t(1) << m.bits, K = 16 * G;
  Encoding e{{4, true}, 16, Form::symmetric, m, {}};
  EncodedWeight w{e, 1, K, std::vector<uint8_t>(K), {}, {}, std::move(constants), {}};
  for (uint32_t f = 0; f < G; ++f)
    w.scaleFields.push_back(f);
  auto decoded = decode(w);
  EXPECT_TRUE(decoded) << decoded.error();
  return decoded ? decoded->scales : std::vector<float>(G);
}

// The definition is the formula to the nearest float, but for the rare value close to
// the middle of two; the codec has the definition.
TEST(Fields, LogCodes) {
  std::mt19937_64 rng(32);
  uint64_t values = 0, unequal = 0;
  for (FloatType type : {FloatType::bf16, FloatType::f16, FloatType::f32})
    for (uint8_t bits : {4, 6, 8}) {
      MetaStorage m = MetaStorage::log(bits, type);
      std::vector<std::pair<uint32_t, uint32_t>> rows;
      for (uint32_t base : edges(type))
        for (uint32_t step : edges(type))
          rows.emplace_back(base, step);
      for (int i = 0; i < 200; ++i)
        rows.emplace_back(reference::randomFloatBits(type, rng),
                          reference::randomFloatBits(type, rng));
      for (auto [base, step] : rows) {
        std::vector<float> row = decodedRow(m, {base, step});
        float b = layout::floatValue(int(type), base);
        float s = layout::floatValue(int(type), step);
        for (uint32_t f = 0; f < 1u << bits; ++f) {
          float got = layout::logValue(b, s, f);
          ASSERT_TRUE(sameFloat(row[f], got)) << b << " " << s << " " << f;
          long double exact = (long double)reference::value(type, base) *
                              std::exp2((long double)f * reference::value(type, step));
          // The power is a double, and too large for one above 2^1024.
          if (!std::isfinite(double(std::exp2((long double)f * s))))
            continue;
          float want = float(exact);
          ++values;
          if (sameFloat(got, want))
            continue;
          ++unequal;
          ASSERT_TRUE(got == std::nextafter(want, INFINITY) ||
                      got == std::nextafter(want, -INFINITY))
              << b << " " << s << " " << f << ": " << got << ", not " << want;
        }
      }
    }
  EXPECT_LT(double(unequal), 1e-5 * double(values)) << values;
}

TEST(Fields, DeltaCodes) {
  std::mt19937_64 rng(33);
  std::vector<uint32_t> bases = {0,      1,      0x7FFF, 0x8000, 0x3F80, 0x3F7F,
                                 0x7F80, 0x7000, 0xF001, 0xF000, 0xFFFE, 0xFFFF};
  for (int i = 0; i < 200; ++i)
    bases.push_back(uint32_t(rng()) & 0xFFFF);
  for (uint8_t bits : {8, 10, 12})
    for (uint32_t base : bases) {
      std::vector<float> row = decodedRow(MetaStorage::delta(bits), {base});
      for (uint32_t f = 0; f < 1u << bits; ++f) {
        double want = reference::value(FloatType::bf16, (base + f) % 65536);
        ASSERT_TRUE(sameFloat(layout::deltaValue(base, f), want)) << base << " " << f;
        ASSERT_TRUE(sameFloat(row[f], want)) << base << " " << f;
      }
    }
}

TEST(Fields, LinearCodes) {
  std::mt19937_64 rng(34);
  for (FloatType type : {FloatType::bf16, FloatType::f16, FloatType::f32})
    for (uint8_t bits : {4, 6, 8})
      for (bool isSigned : {false, true}) {
        MetaStorage m = MetaStorage::linear(bits, isSigned, StepScope::row, type);
        std::vector<uint32_t> steps = edges(type);
        for (int i = 0; i < 50; ++i)
          steps.push_back(reference::randomFloatBits(type, rng));
        for (uint32_t step : steps) {
          std::vector<float> row = decodedRow(m, {step});
          for (uint32_t f = 0; f < 1u << bits; ++f) {
            double code = isSigned && f >> (bits - 1) ? double(f) - (1 << bits) : f;
            float want = float(code * reference::value(type, step));
            float got = layout::linearValue(bits, isSigned, f,
                                            layout::floatValue(int(type), step));
            ASSERT_TRUE(sameFloat(got, want)) << step << " " << f;
            ASSERT_TRUE(sameFloat(row[f], want)) << step << " " << f;
          }
        }
      }
}

} // namespace
