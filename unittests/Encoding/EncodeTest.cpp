//===- EncodeTest.cpp - Coding metadata and measuring the loss ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Reference.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace qlinear;

using reference::randomAffine;

namespace {

/// Every figure by its definition, weight by weight.
Quality bruteForce(const AffineWeight &a, const EncodedWeight &b) {
  Quality q;
  q.worstRowSnr = INFINITY;
  double signal = 0, noise = 0, sums = 0, sumErrors = 0;
  uint64_t G = a.group ? a.K / a.group : 1, size = a.K / G;
  std::vector<double> errors;
  auto db = [](double s, double n) {
    return n == 0 ? INFINITY : 10 * std::log10(s / n);
  };
  for (uint64_t n = 0; n < a.N; ++n) {
    double rowSignal = 0, rowNoise = 0, sum = 0, sumError = 0, squares = 0;
    for (uint64_t g = 0; g < G; ++g) {
      double s = 0, e = 0, groupSumError = 0;
      uint64_t differing = 0;
      for (uint64_t k = g * size; k < (g + 1) * size; ++k) {
        double w = reference::weight(a, n, k), v = reference::weight(b, n, k);
        s += w * w;
        e += (w - v) * (w - v);
        sum += w;
        groupSumError += w - v;
        differing += float(w) != float(v);
      }
      if (!differing) // what f32 cannot tell is no error
        e = groupSumError = 0;
      q.differingWeights += differing;
      sumError += groupSumError;
      rowSignal += s;
      rowNoise += e;
      errors.push_back(e == 0 ? 0 : std::sqrt(e / s));
      squares += std::min(1.0, e == 0 ? 0 : e / s);
    }
    signal += rowSignal;
    noise += rowNoise;
    sums += sum * sum;
    sumErrors += sumError * sumError;
    q.worstRowGroupError =
        std::max(q.worstRowGroupError, std::sqrt(squares / double(G)));
    if (db(rowSignal, rowNoise) < q.worstRowSnr) {
      q.worstRowSnr = db(rowSignal, rowNoise);
      q.worstRow = n;
    }
  }
  q.tensorSnr = db(signal, noise);
  q.coherentSnr = db(sums, sumErrors);
  std::sort(errors.begin(), errors.end());
  q.groupErrorP999 = errors[size_t(std::ceil(double(errors.size()) * 0.999)) - 1];
  return q;
}

void expectClose(const Quality &got, const Quality &want) {
  auto near = [](double a, double b, double bound) {
    return std::isinf(b) ? a == b || a > 250 : std::fabs(a - b) <= bound;
  };
  EXPECT_TRUE(near(got.tensorSnr, want.tensorSnr, 1e-6))
      << got.tensorSnr << " " << want.tensorSnr;
  EXPECT_TRUE(near(got.worstRowSnr, want.worstRowSnr, 1e-6))
      << got.worstRowSnr << " " << want.worstRowSnr;
  EXPECT_TRUE(near(got.coherentSnr, want.coherentSnr, 1e-3))
      << got.coherentSnr << " " << want.coherentSnr;
  EXPECT_NEAR(got.groupErrorP999, want.groupErrorP999, 1e-5 * want.groupErrorP999);
  EXPECT_NEAR(got.worstRowGroupError, want.worstRowGroupError,
              1e-6 * want.worstRowGroupError);
  EXPECT_EQ(got.differingWeights, want.differingWeights);
}

EncodedWeight encoded(const AffineWeight &w, const char *spelling, bool search = true) {
  auto e = Encoding::parse(spelling);
  EXPECT_TRUE(e) << e.error();
  auto r = encode(w, *e, {search});
  EXPECT_TRUE(r) << r.error();
  return *r;
}

Quality quality(const AffineWeight &w, const EncodedWeight &e) {
  auto q = measure(w, e);
  EXPECT_TRUE(q) << q.error();
  expectClose(*q, bruteForce(w, e));
  return *q;
}

Quality quality(const AffineWeight &w, const char *spelling, bool search = true) {
  return quality(w, encoded(w, spelling, search));
}

constexpr const char *kRowU8 =
    "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>";
constexpr const char *kMinRowU8 =
    "u4, group = 32, min, scale = u8 * row<bf16>, offset = u8 * row<bf16>";
constexpr const char *kCentredLog =
    "u4, group = 32, centred, scale = log8 * row<f32>, offset = i8 * row<bf16>";

} // namespace

//===----------------------------------------------------------------------===//
// Decoding against the formulas
//===----------------------------------------------------------------------===//

TEST(Decode, EveryEncodingAtOddShapesMatchesTheFormulas) {
  std::mt19937_64 rng(21);
  for (int i = 0; i < 400; ++i) {
    Encoding e = reference::randomEncoding(rng);
    auto shapes = reference::oddShapes(e.group);
    auto [N, K] = shapes[rng() % shapes.size()];
    SCOPED_TRACE(e.str());
    EncodedWeight w = reference::randomEncoded(e, N, K, rng);
    auto values = dequantize(w);
    ASSERT_TRUE(values) << values.error();
    auto exact = decode(w);
    ASSERT_TRUE(exact);
    auto again = dequantize(*exact);
    ASSERT_EQ(*again, *values);
    for (uint64_t n = 0; n < N; ++n)
      for (uint64_t k = 0; k < K; ++k) {
        double want = reference::weight(w, n, k);
        float got = (*values)[n * K + k];
        if (e.scale.kind == MetaStorage::Kind::log ||
            e.offset.kind == MetaStorage::Kind::log) {
          // pow and exp2 may differ by an ulp before rounding to float.
          ASSERT_NEAR(got, want, 1e-5 * std::fabs(want) + 1e-30);
          continue;
        }
        ASSERT_EQ(got, float(want)) << n << " " << k;
        ASSERT_EQ(exact->weight(n, k), want);
      }
  }
}

TEST(Decode, RoundsOnceWhereDoubleRoundsTwice) {
  // s q - m lies just above the midpoint of two floats, by less than a double
  // can tell: rounding to double first gives the midpoint, then the even float.
  AffineWeight w{1, 16, {4, false}, 16, Form::min, {}, {1.0f}, {-0x1p-60f}};
  w.fields.assign(16, 1);
  w.scales = {1.0f + 0x1p-23f}; // odd mantissa
  w.fields[0] = 3;              // 3 + 3 * 2^-23: a midpoint between floats near 3
  auto values = dequantize(w);
  ASSERT_TRUE(values);
  float below = float(3 + 2 * 0x1p-23), above = float(3 + 4 * 0x1p-23);
  ASSERT_EQ(std::nextafter(below, 4.0f), above);
  EXPECT_EQ((*values)[0], above);
  w.offsets = {0x1p-60f}; // now just below it
  EXPECT_EQ((*dequantize(w))[0], below);
}

//===----------------------------------------------------------------------===//
// Encoding
//===----------------------------------------------------------------------===//

TEST(Encode, PlainF32IsExactInTheSourceForm) {
  std::mt19937_64 rng(31);
  for (Form form : {Form::symmetric, Form::zero, Form::min, Form::centred})
    for (uint8_t bits : {2, 3, 4, 5, 6, 8})
      for (unsigned group : {16u, 64u, 0u}) {
        CodeType codes{bits, form == Form::symmetric};
        AffineWeight w = randomAffine(codes, group, form, 5, 192, rng);
        auto e = encode(w, *namedEncoding("f32", codes, group, form));
        ASSERT_TRUE(e) << e.error();
        Quality q = quality(w, *e);
        EXPECT_EQ(q.differingWeights, 0u);
        EXPECT_EQ(q.tensorSnr, INFINITY);
        EXPECT_EQ(decode(*e)->scales, w.scales);
        EXPECT_EQ(decode(*e)->offsets, w.offsets);
      }
}

TEST(Encode, EveryStorageOfEveryFormIsWithinItsResolution) {
  std::mt19937_64 rng(32);
  for (unsigned group : {16u, 32u, 128u, 0u})
    for (Form form : {Form::symmetric, Form::zero, Form::min, Form::centred}) {
      CodeType codes{4, form == Form::symmetric};
      AffineWeight w = randomAffine(codes, group, form, 9, 768, rng);
      // Each storage of one tensor, with the other one exact.
      MetaStorage f32 = MetaStorage::plain(FloatType::f32);
      for (const MetaStorage &s : reference::allStorages(true, group)) {
        Encoding e{codes, group, form, s,
                   form == Form::symmetric ? MetaStorage{} : f32};
        SCOPED_TRACE(e.str());
        auto coded = encode(w, e);
        ASSERT_TRUE(coded) << coded.error();
        bool isE4m3 = s == MetaStorage::plain(FloatType::e4m3) ||
                      s.kind == MetaStorage::Kind::scaled;
        double bits = s == MetaStorage::plain(FloatType::e8m0) ? 3 // within 41%
                      : isE4m3                                 ? 4
                      : s.kind == MetaStorage::Kind::plain     ? 9
                      // 2^8 floats of bf16 are two octaves only
                      : s.kind == MetaStorage::Kind::delta && s.bits == 8
                          ? 6
                          : std::min<double>(s.bits - s.isSigned, 9);
        EXPECT_GT(quality(w, *coded).tensorSnr, 6 * bits - 9);
      }
      if (form == Form::symmetric)
        continue;
      for (const MetaStorage &o : reference::allStorages(false, group)) {
        Encoding e{codes, group, form, f32, o};
        SCOPED_TRACE(e.str());
        auto coded = encode(w, e);
        ASSERT_TRUE(coded) << coded.error();
        // Positive codes cannot hold centred zeros of both signs, nor the
        // integer grid a min of 0.1.
        bool grid =
            o.kind == MetaStorage::Kind::linear && o.scope == StepScope::constant;
        bool suits = (o.isSigned || form != Form::centred ||
                      o.kind == MetaStorage::Kind::plain) &&
                     !(grid && form == Form::min) &&
                     !(o.kind == MetaStorage::Kind::delta && o.bits == 8);
        double bits = o.kind == MetaStorage::Kind::plain
                          ? 9
                          : std::min<double>(o.bits - o.isSigned, 9);
        if (o.kind == MetaStorage::Kind::scaled || o.type == FloatType::e4m3)
          bits = 4;
        if (o.type == FloatType::e8m0) // no zeros, and none below 0
          suits = false;
        if (grid) // whole numbers: an error of 0.29 against weights of 4.6
          bits = 3;
        double snr = quality(w, *coded).tensorSnr;
        if (suits) {
          EXPECT_GT(snr, 6 * bits - 9);
        }
      }
    }
}

TEST(Encode, SearchNeverLosesToTheNaiveStep) {
  std::mt19937_64 rng(33);
  for (int i = 0; i < 60; ++i) {
    Form form = Form(i % 4);
    CodeType codes{uint8_t(i % 8 < 4 ? 4 : 6), form == Form::symmetric};
    AffineWeight w = randomAffine(codes, 32, form, 6, 1024, rng, 0.01, 0.8);
    for (const char *name : {"row-u8", "block-u8"}) {
      Encoding e = *namedEncoding(name, codes, 32, form);
      double naive = quality(w, *encode(w, e, {false})).tensorSnr;
      double searched = quality(w, *encode(w, e, {true})).tensorSnr;
      EXPECT_GE(searched, naive) << e.str();
      if (form != Form::symmetric) // the offsets make up for the scales
        EXPECT_GT(searched, naive + 1) << e.str();
    }
  }
}

TEST(Encode, IsDeterministic) {
  std::mt19937_64 rng(34);
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 64, 1024, rng);
  EncodedWeight a = encoded(w, kCentredLog), b = encoded(w, kCentredLog);
  EXPECT_EQ(a.scaleFields, b.scaleFields);
  EXPECT_EQ(a.offsetFields, b.offsetFields);
  EXPECT_EQ(a.scaleSteps, b.scaleSteps);
  EXPECT_EQ(a.offsetSteps, b.offsetSteps);
}

TEST(Encode, CodedMetadataIsCodedAgainExactly) {
  // decode, then encode as the same encoding: nothing may change, as the step
  // itself is always among the candidates when some code is the largest.
  std::mt19937_64 rng(35);
  for (const char *text :
       {"u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * "
        "block<256, f16>",
        "u4, group = 32, zero, scale = delta10 * row<bf16>, offset = u4",
        "i6, group = 16, symmetric, scale = i8 * row<bf16>",
        "e2m1, group = 32, symmetric, scale = e8m0",
        "e2m1, group = 16, symmetric, scale = e4m3",
        "e2m1, group = 16, symmetric, scale = e4m3 * row<f32>",
        "e2m1, group = 16, symmetric, scale = e4m3 * row<bf16>"}) {
    Encoding e = *Encoding::parse(text);
    EncodedWeight w = reference::randomEncoded(e, 8, 1024, rng);
    for (auto *fields : {&w.scaleFields, &w.offsetFields})
      for (size_t i = 0; i < fields->size(); i += 4)
        (*fields)[i] = e.scale.kind == MetaStorage::Kind::linear
                           ? (1u << (e.scale.bits - e.scale.isSigned)) - 1
                           : (*fields)[i];
    AffineWeight exact = *decode(w);
    Quality q = quality(exact, *encode(exact, e));
    EXPECT_EQ(q.differingWeights, 0u) << text;
  }
}

TEST(Encode, ConvertsBetweenForms) {
  std::mt19937_64 rng(36);
  const char *targets[] = {"u4, group = 32, zero, scale = f32, offset = f32",
                           "u4, group = 32, min, scale = f32, offset = f32",
                           "u4, group = 32, centred, scale = f32, offset = f32",
                           "i4, group = 32, zero, scale = f32, offset = f32",
                           "i4, group = 32, min, scale = f32, offset = f32"};
  for (Form form : {Form::symmetric, Form::zero, Form::min, Form::centred}) {
    AffineWeight w = randomAffine({4, form == Form::symmetric}, 32, form, 4, 256, rng);
    for (const char *target : targets)
      EXPECT_GT(quality(w, target).tensorSnr, 130) << int(form) << target;
  }
  // An offset that is nothing but the bias turns into the symmetric form.
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 4, 256, rng);
  std::fill(w.offsets.begin(), w.offsets.end(), 8.0f);
  const char *symmetric = "i4, group = 32, symmetric, scale = f32";
  EXPECT_EQ(quality(w, symmetric).differingWeights, 0u);
  w.offsets[13] = 8.5f;
  auto refused = encode(w, *Encoding::parse(symmetric));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(),
            "the symmetric form has no offset, but row 1, group 5 (columns 160 "
            "to 191) has one that matters (8.5); use the zero, min or centred "
            "form");
}

TEST(Encode, RefusesOtherCodesOrGroups) {
  std::mt19937_64 rng(37);
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 2, 128, rng);
  EXPECT_EQ(encode(w, *namedEncoding("bf16", {5, false}, 32, Form::zero)).error(),
            "the weight has 4-bit codes in groups of 32, the encoding 5-bit "
            "codes in groups of 32; an encoding changes the metadata only, so "
            "quantize again to change codes or groups");
  EXPECT_FALSE(encode(w, *namedEncoding("bf16", {4, false}, 64, Form::zero)));
  w.offsets.pop_back();
  EXPECT_FALSE(encode(w, *namedEncoding("bf16", {4, false}, 32, Form::zero)));
}

//===----------------------------------------------------------------------===//
// Inputs that break a naive encoder
//===----------------------------------------------------------------------===//

TEST(HardInputs, OneHugeGroupInARow) {
  std::mt19937_64 rng(41);
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 16, 4096, rng);
  w.scales[5 * 128 + 17] *= 1000;
  // The tensor's figure looks fine; the row's groups tell.
  Quality row = quality(w, kRowU8, false);
  EXPECT_GT(row.tensorSnr, 35);
  EXPECT_GT(row.worstRowGroupError, 0.9);
  // A finer step: per block, only the block of the huge group suffers; the log
  // code keeps every group.
  Quality block = quality(w, "u4, group = 32, centred, scale = u8 * block<256, "
                             "bf16>, offset = i8 * block<256, bf16>");
  EXPECT_LT(block.worstRowGroupError, 0.3);
  Quality log = quality(w, kCentredLog);
  EXPECT_LT(log.worstRowGroupError, 0.05);
}

TEST(HardInputs, TinyScales) {
  std::mt19937_64 rng(42);
  for (double size : {1e-4, 3e-6, 1e-6}) {
    AffineWeight w = randomAffine({6, true}, 16, Form::symmetric, 8, 512, rng, size);
    EncodedWeight e =
        encoded(w, "i6, group = 16, symmetric, scale = i8 * block<256, f16>");
    // No step underflows to 0, whatever its size.
    for (uint32_t step : e.scaleSteps)
      EXPECT_NE(step & 0x7FFF, 0u) << size;
    EncodedWeight naive =
        encoded(w, "i6, group = 16, symmetric, scale = i8 * block<256, f16>", false);
    for (uint32_t step : naive.scaleSteps)
      EXPECT_NE(step & 0x7FFF, 0u) << size;
    for (uint32_t field : naive.scaleFields) // rounded up: nothing is clipped
      EXPECT_LE(field, 127u);
    EXPECT_GT(quality(w, e).tensorSnr, size > 1e-5 ? 35 : 10) << size;
    EXPECT_GT(quality(w, "i6, group = 16, symmetric, scale = i8 * block<256, "
                         "bf16>")
                  .tensorSnr,
              42)
        << size;
  }
}

TEST(HardInputs, StepsOfExtremeSize) {
  std::mt19937_64 rng(43);
  for (double size : {1e-38, 1e-30, 1e30, 1e35})
    for (const char *text : {"i4, group = 32, symmetric, scale = u8 * row<bf16>",
                             "i4, group = 32, symmetric, scale = u8 * block<256, bf16>",
                             "i4, group = 32, symmetric, scale = u8 * row<f32>",
                             "i4, group = 32, symmetric, scale = log8 * row<f32>"}) {
      AffineWeight w = randomAffine({4, true}, 32, Form::symmetric, 4, 512, rng, size);
      EXPECT_GT(quality(w, text).tensorSnr, 35) << size << text;
    }
  // Beyond f16: clipped to its largest finite value, never infinite.
  AffineWeight w = randomAffine({4, true}, 32, Form::symmetric, 4, 512, rng, 1e8);
  EncodedWeight e = encoded(w, "i4, group = 32, symmetric, scale = f16");
  auto values = dequantize(e);
  for (float v : *values)
    ASSERT_TRUE(std::isfinite(v));
  EXPECT_LT(quality(w, e).tensorSnr, 1);
}

TEST(HardInputs, NegativeZeros) {
  std::mt19937_64 rng(44);
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 8, 1024, rng);
  for (float &z : w.offsets)
    z -= 8; // around 0, half of them negative
  double clamped = quality(w, kRowU8, false).tensorSnr;
  EXPECT_LT(clamped, 25);
  EXPECT_GT(quality(w, "u4, group = 32, centred, scale = u8 * row<bf16>, offset "
                       "= i8 * row<bf16>")
                .tensorSnr,
            40);
  EXPECT_GT(quality(w, kCentredLog).tensorSnr, 43);
  // All negative: the step itself turns negative.
  for (float &z : w.offsets)
    z = -std::fabs(z) - 0.1f;
  EXPECT_GT(quality(w, kRowU8).tensorSnr, 40);
}

TEST(HardInputs, ZeroFarOutsideTheCodes) {
  std::mt19937_64 rng(45);
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 8, 2048, rng);
  for (int row = 0; row < 8; ++row) { // a group of nearly equal weights
    w.scales[row * 64 + 9] *= 0.01f;
    w.offsets[row * 64 + 9] *= 100;
  }
  double row = quality(w, kRowU8, false).tensorSnr;
  EXPECT_LT(row, 33);
  double block = quality(w, "u4, group = 32, zero, scale = u8 * block<256, bf16>"
                            ", offset = u8 * block<256, bf16>")
                     .tensorSnr;
  EXPECT_GT(block, row + 5);
  EXPECT_GT(quality(w, kMinRowU8).tensorSnr, 40);
}

TEST(HardInputs, NegativeScales) {
  std::mt19937_64 rng(46);
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 8, 1024, rng);
  for (size_t i = 0; i < w.scales.size(); i += 1 + rng() % 4)
    w.scales[i] = -w.scales[i];
  EXPECT_LT(quality(w, kRowU8, false).tensorSnr, 15);
  EXPECT_GT(quality(w, "u4, group = 32, centred, scale = i8 * row<bf16>, offset "
                       "= i8 * row<bf16>")
                .tensorSnr,
            38);
  // Negative throughout needs no sign in the code.
  for (float &s : w.scales)
    s = -std::fabs(s);
  EXPECT_GT(quality(w, kRowU8).tensorSnr, 38);
  EXPECT_GT(quality(w, kCentredLog).tensorSnr, 43);
  EXPECT_GT(quality(w, "u4, group = 32, centred, scale = delta10 * row<bf16>, "
                       "offset = i8 * row<bf16>")
                .tensorSnr,
            43);
}

TEST(HardInputs, ZeroScaleWithAMin) {
  std::mt19937_64 rng(47);
  AffineWeight w = randomAffine({4, false}, 32, Form::min, 8, 1024, rng);
  for (size_t i = 0; i < w.scales.size(); i += 3)
    w.scales[i] = 0;
  EXPECT_LT(
      quality(w, "u4, group = 32, zero, scale = f32, offset = f32", false).tensorSnr,
      10);
  EXPECT_EQ(
      quality(w, "u4, group = 32, min, scale = f32, offset = f32").differingWeights,
      0u);
  EXPECT_GT(quality(w, kMinRowU8).tensorSnr, 40);
}

TEST(HardInputs, AllZeroRows) {
  for (Form form : {Form::symmetric, Form::zero, Form::min, Form::centred}) {
    std::mt19937_64 rng(48);
    CodeType codes{4, form == Form::symmetric};
    AffineWeight w = randomAffine(codes, 32, form, 4, 512, rng);
    for (uint64_t g = 16; g < 32; ++g) { // row 1
      w.scales[g] = 0;
      if (form == Form::min)
        w.offsets[g] = 0;
    }
    for (const MetaStorage &s : reference::allStorages(true, 32)) {
      if (s == MetaStorage::plain(FloatType::e8m0)) // has no 0
        continue;
      Encoding e{codes, 32, form, s,
                 form == Form::symmetric ? MetaStorage{}
                                         : MetaStorage::plain(FloatType::f32)};
      auto coded = encode(w, e);
      ASSERT_TRUE(coded) << coded.error();
      auto values = *dequantize(*coded);
      for (uint64_t k = 0; k < 512; ++k)
        ASSERT_EQ(values[512 + k], 0) << e.str();
      ASSERT_GT(quality(w, *coded).worstRowSnr, 0) << e.str();
    }
  }
}

TEST(HardInputs, NonFiniteMetadataIsNamed) {
  std::mt19937_64 rng(49);
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 8, 512, rng);
  Encoding e = *Encoding::parse(kRowU8);
  w.scales[3 * 16 + 7] = NAN;
  EXPECT_EQ(encode(w, e).error(),
            "scale is nan at row 3, group 7 (columns 224 to 255); repair or "
            "requantize the weight: only finite metadata can be coded");
  w.scales[3 * 16 + 7] = 1;
  w.offsets[7 * 16 + 15] = -INFINITY;
  EXPECT_EQ(encode(w, e).error(),
            "offset is -inf at row 7, group 15 (columns 480 to 511); repair or "
            "requantize the weight: only finite metadata can be coded");
}

TEST(HardInputs, WildMetadataStaysFinite) {
  std::mt19937_64 rng(50);
  for (int i = 0; i < 300; ++i) {
    Encoding e = reference::randomEncoding(rng);
    AffineWeight w =
        randomAffine(e.codes, e.group, e.form, 3, 512, rng,
                     std::pow(10.0, int(rng() % 40) - 22), double(rng() % 5));
    for (float &s : w.scales)
      s = rng() % 5 == 0 ? -s : rng() % 7 == 0 ? 0 : s;
    for (float &o : w.offsets)
      o = rng() % 9 == 0 ? o * 1e6f : o;
    auto coded = encode(w, e, {bool(rng() % 2)});
    ASSERT_TRUE(coded) << e.str() << coded.error();
    AffineWeight back = *decode(*coded);
    for (float s : back.scales)
      ASSERT_TRUE(std::isfinite(s)) << e.str();
    for (float o : back.offsets)
      ASSERT_TRUE(std::isfinite(o)) << e.str();
    std::vector<std::byte> blob(layoutOf(e, 3, 512).bytes());
    ASSERT_TRUE(pack(*coded, blob));
    ASSERT_FALSE(std::isnan(measure(w, *coded)->tensorSnr));
  }
}
