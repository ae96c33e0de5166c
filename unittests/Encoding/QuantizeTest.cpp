//===- QuantizeTest.cpp - Float weights to codes --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Reference.h"
#include "qlinear/Encoding/Packer.h"

#include <gtest/gtest.h>

using namespace qlinear;
using reference::normal;

namespace {

std::vector<float> gaussian(uint64_t N, uint64_t K, std::mt19937_64 &rng,
                            double mean = 0, double size = 0.02) {
  std::vector<float> w(N * K);
  for (float &v : w)
    v = float(size * (normal(rng) + mean));
  return w;
}

double snr(const std::vector<float> &w, const AffineWeight &q) {
  double signal = 0, noise = 0;
  for (uint64_t n = 0; n < q.N; ++n)
    for (uint64_t k = 0; k < q.K; ++k) {
      double v = w[n * q.K + k], d = v - reference::weight(q, n, k);
      signal += v * v;
      noise += d * d;
    }
  return noise == 0 ? INFINITY : 10 * std::log10(signal / noise);
}

AffineWeight quantized(const std::vector<float> &w, uint64_t N, uint64_t K,
                       const QuantizeOptions &o) {
  auto q = quantize(w, N, K, o);
  EXPECT_TRUE(q) << q.error();
  return *q;
}

struct Case {
  CodeType codes;
  Form form;
};
std::vector<Case> cases() {
  std::vector<Case> all;
  for (uint8_t bits : {2, 3, 4, 5, 6, 8}) {
    all.push_back({{bits, true}, Form::symmetric});
    for (bool isSigned : {false, true}) {
      all.push_back({{bits, isSigned}, Form::zero});
      all.push_back({{bits, isSigned}, Form::min});
    }
    all.push_back({{bits, false}, Form::centred});
  }
  return all;
}

} // namespace

TEST(Quantize, EachWeightIsWithinAStep) {
  std::mt19937_64 rng(81);
  for (Case c : cases())
    for (unsigned group : {16u, 32u, 256u, 0u}) {
      uint64_t N = 5, K = group ? 3 * group : 77;
      std::vector<float> w = gaussian(N, K, rng, 0.3);
      AffineWeight q = quantized(w, N, K, {c.codes, group, c.form, false});
      for (uint64_t n = 0; n < N; ++n)
        for (uint64_t k = 0; k < K; ++k) {
          double s = q.scales[n * q.groups() + (group ? k / group : 0)];
          // Half a step, and what the bf16 scale moves at the ends.
          double bound = s * (0.5 + double(1 << c.codes.bits) / 256) * 1.01;
          if (c.form == Form::zero) // the zero rounds to an integer
            bound += s / 2;
          ASSERT_NEAR(w[n * K + k], reference::weight(q, n, k), bound)
              << int(c.form) << " " << int(c.codes.bits);
        }
    }
}

TEST(Quantize, SearchBeatsMinMax) {
  std::mt19937_64 rng(82);
  for (Case c : cases()) {
    std::vector<float> w = gaussian(16, 512, rng, 0.1);
    for (float &v : w)
      v *= rng() % 200 == 0 ? 3.f : 1.f; // outliers
    double plain = snr(w, quantized(w, 16, 512, {c.codes, 32, c.form, false}));
    double best = snr(w, quantized(w, 16, 512, {c.codes, 32, c.form, true}));
    EXPECT_GE(best, plain);
    if (c.codes.bits == 4) {
      EXPECT_GT(best, plain + 0.2) << int(c.form);
      EXPECT_GT(best, 18) << int(c.form);
    }
    if (c.codes.bits == 8) {
      EXPECT_GT(best, 41) << int(c.form);
    }
  }
}

// Scales are what MXFP4 and NVFP4 can store, and the codes the nearest for those.
TEST(Quantize, ScalesOfFloats) {
  std::mt19937_64 rng(88);
  uint64_t N = 5, K = 512;
  for (const char *name : {"mxfp4", "nvfp4"})
    for (double size : {1e-30, 0.02, 1e10})
      for (bool search : {false, true}) {
        SCOPED_TRACE(std::string(name) + " of " + std::to_string(size));
        std::vector<float> w = gaussian(N, K, rng, 0.1, size);
        std::fill_n(w.begin(), K, 0.0f); // a row of zeros
        std::fill_n(w.begin() + 2 * K, 32, 0.0f);
        auto options = parseQuantize(name);
        ASSERT_TRUE(options) << options.error();
        options->search = search;
        AffineWeight q = quantized(w, N, K, *options);
        for (uint64_t i = 0; i < N * K; ++i) {
          double s = q.scales[i / options->group], least = INFINITY;
          for (double value : reference::tableOf(CodeKind::e2m1))
            least = std::min(least, std::fabs(w[i] - s * value));
          ASSERT_NEAR(std::fabs(w[i] - reference::weight(q, i / K, i % K)), least,
                      1e-6 * s);
        }
        EXPECT_GT(snr(w, q), search ? 17.5 : 15);
        auto selected = select(q, {});
        ASSERT_TRUE(selected) << selected.error();
        EXPECT_EQ(selected->quality.differingWeights, 0u);
        EXPECT_EQ(selected->weight.encoding.scale, options->scale)
            << selected->weight.encoding.str();
      }
}

TEST(Quantize, NearestValueOfATable) {
  std::mt19937_64 rng(87);
  uint64_t N = 6, K = 256;
  // Mostly above 0, mostly below, with outliers, tiny, and all zeros.
  for (CodeKind kind : reference::kTables)
    for (int i = 0; i < 5; ++i) {
      SCOPED_TRACE(CodeType::table(kind).str() + " " + std::to_string(i));
      CodeType codes = CodeType::table(kind);
      std::vector<float> w = gaussian(N, K, rng,
                                      i == 0   ? 2
                                      : i == 1 ? -2
                                               : 0.1,
                                      i == 3   ? 1e-30
                                      : i == 4 ? 0
                                               : 0.02);
      for (float &v : w)
        v *= i == 2 && rng() % 100 == 0 ? 5.f : 1.f;
      double plain = 0;
      for (bool search : {false, true}) {
        AffineWeight q = quantized(w, N, K, {codes, 32, Form::symmetric, search});
        for (uint64_t n = 0; n < N; ++n)
          for (uint64_t k = 0; k < K; ++k) {
            double s = q.scales[n * K / 32 + k / 32], v = w[n * K + k];
            ASSERT_GE(s, 0);
            double least = INFINITY;
            for (double value : reference::tableOf(kind))
              least = std::min(least, std::fabs(v - s * value));
            ASSERT_NEAR(std::fabs(v - reference::weight(q, n, k)), least, 1e-6 * s);
          }
        if (i == 4)
          continue;
        if (search)
          EXPECT_GE(snr(w, q), plain);
        plain = snr(w, q);
        EXPECT_GT(plain, kind == CodeKind::example2   ? 4
                         : kind == CodeKind::example3 ? 9
                         : kind == CodeKind::example8 ? 25
                         : kind == CodeKind::e2m1     ? 14
                         : kind == CodeKind::nf4      ? 14
                         : i == 2                     ? 15
                                                      : 18);
      }
    }
  // Weights that are values of the table come back as they are.
  for (CodeKind kind : reference::kTables) {
    std::vector<double> values = reference::tableOf(kind);
    std::vector<float> w;
    for (uint64_t k = 0; k < 256; ++k)
      w.push_back(float(values[k % values.size()] * 0.25));
    CodeType codes = CodeType::table(kind);
    EXPECT_EQ(snr(w, quantized(w, 1, 256, {codes, 256, Form::symmetric})), INFINITY);
    for (Form form : {Form::zero, Form::min})
      EXPECT_EQ(quantize(w, 1, 256, {codes, 32, form}).error(),
                "weights are quantized to " + codes.str() +
                    " in the symmetric form only; drop the form, or use integer codes");
  }
}

// Every bf16 scale from a third of the full range up, with every zero.
TEST(Quantize, SearchIsCloseToExhaustive) {
  std::mt19937_64 rng(86);
  uint64_t N = 8, K = 256;
  std::vector<float> w = gaussian(N, K, rng, 0.1);
  for (Form form : {Form::zero, Form::symmetric}) {
    bool zero = form == Form::zero;
    double signal = 0, best = 0;
    for (uint64_t g = 0; g < N * K / 32; ++g) {
      double range = 0, least = INFINITY;
      for (uint64_t i = 0; i < 32; ++i) {
        double v = w[g * 32 + i];
        range = std::max(range, std::fabs(v));
        signal += v * v;
      }
      uint32_t top = floatToBf16(float(range / 6)), low = top - 200;
      for (uint32_t bits = low; bits <= top; ++bits)
        for (int z = zero ? 0 : 8; z <= (zero ? 15 : 8); ++z) {
          double s = bf16ToFloat(uint16_t(bits)), error = 0;
          for (uint64_t i = 0; i < 32; ++i) {
            double v = w[g * 32 + i];
            double f = std::clamp(std::nearbyint(v / s + z), 0., 15.);
            error += (v - s * (f - z)) * (v - s * (f - z));
          }
          least = std::min(least, error);
        }
      best += least;
    }
    double limit = 10 * std::log10(signal / best);
    AffineWeight q = quantized(w, N, K, {{4, !zero}, 32, form, true});
    EXPECT_GT(snr(w, q), limit - 0.15) << int(form);
    EXPECT_LE(snr(w, q), limit + 1e-9) << int(form);
  }
}

TEST(Quantize, ZerosAreIntegersAndScalesBf16) {
  std::mt19937_64 rng(83);
  std::vector<float> w = gaussian(300, 512, rng);
  for (bool search : {false, true}) {
    AffineWeight q = quantized(w, 300, 512, {{4, false}, 32, Form::zero, search});
    for (float z : q.offsets) {
      ASSERT_EQ(z, std::nearbyint(z));
      ASSERT_GE(z, 0);
      ASSERT_LE(z, 15);
    }
    for (float s : q.scales)
      ASSERT_EQ(s, bf16ToFloat(floatToBf16(s)));
    auto s = select(q, {});
    ASSERT_TRUE(s);
    EXPECT_EQ(s->quality.differingWeights, 0u);
    EXPECT_LT(s->quality.bitsPerWeight, 4.6);
  }
}

TEST(Quantize, RepresentableWeightsComeBackExactly) {
  // Weights on a grid that min-max finds: both ends of every group are taken.
  std::mt19937_64 rng(84);
  for (Case c : cases()) {
    if (c.form == Form::symmetric)
      continue;
    int largest = (1 << c.codes.bits) - 1;
    std::vector<float> w(4 * 128);
    for (size_t i = 0; i < w.size(); ++i) {
      int f = i % 32 == 0 ? 0 : i % 32 == 1 ? largest : int(rng() % (largest + 1));
      w[i] = 0.03125f * float(f - 3);
    }
    AffineWeight q = quantized(w, 4, 128, {c.codes, 32, c.form, true});
    EXPECT_EQ(snr(w, q), INFINITY) << int(c.form) << int(c.codes.bits);
  }
}

TEST(Quantize, ConstantAndZeroGroups) {
  for (Case c : cases())
    for (float value : {0.f, 0.7f, -0.7f}) {
      std::vector<float> w(2 * 64, value);
      AffineWeight q = quantized(w, 2, 64, {c.codes, 32, c.form, true});
      auto back = dequantize(q);
      ASSERT_TRUE(back);
      for (float v : *back)
        ASSERT_NEAR(v, value, std::fabs(value) * 0.005)
            << int(c.form) << int(c.codes.bits) << value;
    }
}

TEST(Quantize, ExtremeMagnitudes) {
  std::mt19937_64 rng(85);
  for (Case c : cases())
    for (double size : {1e-30, 1e-20, 1e20, 1e37}) {
      std::vector<float> w = gaussian(2, 64, rng, 0, size);
      AffineWeight q = quantized(w, 2, 64, {c.codes, 32, c.form, true});
      double least = c.codes.bits == 2 ? 5 : c.codes.bits == 3 ? 11 : 17;
      EXPECT_GT(snr(w, q), least) << int(c.form) << " " << size;
    }
}

TEST(Quantize, Errors) {
  std::vector<float> w(4 * 64, 1.f);
  auto message = [&](QuantizeOptions o, uint64_t N, uint64_t K) {
    auto q = quantize(w, N, K, o);
    return q ? std::string("quantized") : q.error();
  };
  EXPECT_EQ(message({{4, false}, 128, Form::zero}, 4, 64),
            "K = 64 is not a multiple of the group size 128; pad K or use "
            "group = 64");
  EXPECT_EQ(message({{4, false}, 32, Form::symmetric}, 4, 64),
            "the symmetric form needs signed codes; use i4, or the zero form");
  EXPECT_EQ(message({{4, false}, 32, Form::zero}, 5, 64),
            "256 weights given for the shape 5 x 64");
  w[2 * 64 + 9] = NAN;
  EXPECT_EQ(message({{4, false}, 32, Form::zero}, 4, 64),
            "weight is nan at row 2, group 0 (column 9); only finite weights can be "
            "quantized");
}
