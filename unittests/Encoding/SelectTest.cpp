//===- SelectTest.cpp - The selection rule --------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Reference.h"

#include <gtest/gtest.h>

using namespace qlinear;
using reference::randomAffine;

namespace {

Selection selected(const AffineWeight &w, const char *name, double minSnr = 45) {
  SelectionRule rule;
  rule.name = name;
  rule.minSnr = minSnr;
  auto s = select(w, rule);
  EXPECT_TRUE(s) << s.error();
  return *s;
}

/// The figures of a selection are those of measure(), and the blob keeps it.
void expectConsistent(const AffineWeight &w, const Selection &s) {
  auto q = measure(w, s.weight);
  ASSERT_TRUE(q) << q.error();
  EXPECT_EQ(q->tensorSnr, s.quality.tensorSnr);
  EXPECT_EQ(q->worstRowSnr, s.quality.worstRowSnr);
  EXPECT_EQ(q->groupErrorP999, s.quality.groupErrorP999);
  EXPECT_EQ(q->differingWeights, s.quality.differingWeights);
  EXPECT_EQ(q->bitsPerWeight, s.quality.bitsPerWeight);
  std::vector<std::byte> blob(layoutOf(s.weight.encoding, w.N, w.K).bytes());
  EXPECT_EQ(s.quality.bitsPerWeight, 8.0 * double(blob.size()) / double(w.N * w.K));
  auto packed = pack(s.weight, blob);
  ASSERT_TRUE(packed) << packed.error();
  auto back = unpack(s.weight.encoding, w.N, w.K, blob);
  EXPECT_EQ(*dequantize(*back), *dequantize(s.weight));
  EXPECT_FALSE(s.reason.empty());
  for (const Candidate &c : s.declined) {
    EXPECT_FALSE(c.reason.empty());
    EXPECT_GT(c.rowsMeasured, 0u);
  }
}

void expectWithinRule(const Selection &s, double minSnr = 45) {
  EXPECT_GE(s.quality.tensorSnr, minSnr);
  EXPECT_GE(s.quality.worstRowSnr, minSnr - 6);
  EXPECT_LE(s.quality.groupErrorP999, 0.03);
  EXPECT_LE(s.quality.worstRowGroupError, 0.1);
}

void roundToBf16(std::vector<float> &values) {
  for (float &v : values)
    v = bf16ToFloat(floatToBf16(v));
}

/// Min-max int4 as torchao, AWQ and GPTQ have it: bf16 scales, integer zeros.
AffineWeight integerZeros(std::mt19937_64 &rng, uint64_t N = 300, uint64_t K = 1024,
                          unsigned group = 32) {
  AffineWeight w = randomAffine({4, false}, group, Form::zero, N, K, rng);
  roundToBf16(w.scales);
  for (float &z : w.offsets)
    z = std::clamp(std::nearbyint(z), 0.f, 15.f);
  return w;
}

} // namespace

TEST(Select, IntegerZerosAreExactAtFourBits) {
  std::mt19937_64 rng(61);
  AffineWeight w = integerZeros(rng, 1024, 4096);
  for (const char *rule : {"auto", "lossless"}) {
    Selection s = selected(w, rule);
    EXPECT_EQ(s.weight.encoding.offset,
              MetaStorage::linear(4, false, StepScope::constant));
    EXPECT_EQ(s.weight.encoding.scale, MetaStorage::delta(10)) << s.reason;
    EXPECT_EQ(s.name, "delta10+u4");
    EXPECT_EQ(s.quality.differingWeights, 0u);
    EXPECT_EQ(s.quality.tensorSnr, INFINITY);
    EXPECT_LT(s.quality.bitsPerWeight, 4.445);
    expectConsistent(w, s);
  }
}

TEST(Select, IntegerZerosWithScalesThatNoDeltaHolds) {
  std::mt19937_64 rng(62);
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 320, 2048, rng);
  for (float &z : w.offsets)
    z = std::clamp(std::nearbyint(z), 0.f, 15.f);
  Selection s = selected(w, "auto"); // f32 scales: nothing coded is exact
  EXPECT_EQ(s.weight.encoding.offset,
            MetaStorage::linear(4, false, StepScope::constant));
  EXPECT_LT(s.quality.bitsPerWeight, 4.4);
  expectWithinRule(s);
  expectConsistent(w, s);
  // Lossless keeps the scales as they are, and the zeros at 4 bits.
  Selection exact = selected(w, "lossless");
  EXPECT_EQ(exact.name, "f32+u4");
  EXPECT_EQ(exact.quality.differingWeights, 0u);
  expectConsistent(w, exact);
}

TEST(Select, IntegerZerosOutsideTheCodes) {
  std::mt19937_64 rng(63);
  AffineWeight w = integerZeros(rng);
  w.offsets[100] = -3;
  w.offsets[200] = 18;
  Selection s = selected(w, "auto");
  EXPECT_EQ(s.weight.encoding.offset,
            MetaStorage::linear(6, true, StepScope::constant));
  EXPECT_EQ(s.quality.differingWeights, 0u);
  expectConsistent(w, s);
}

TEST(Select, FloatZerosTakeTheCheapestWithinTheRule) {
  std::mt19937_64 rng(64);
  for (Form form : {Form::zero, Form::min, Form::centred}) {
    AffineWeight w = randomAffine({4, false}, 32, form, 300, 4096, rng);
    Selection s = selected(w, "auto");
    expectWithinRule(s);
    expectConsistent(w, s);
    EXPECT_LT(s.quality.bitsPerWeight, 4.6) << int(form) << " " << s.name;
    // All that was declined is no larger, and each breaks the rule.
    for (const Candidate &c : s.declined) {
      EXPECT_LE(c.quality.bitsPerWeight, s.quality.bitsPerWeight);
      EXPECT_TRUE(c.quality.tensorSnr < 45 || c.quality.worstRowSnr < 39 ||
                  c.quality.groupErrorP999 > 0.03 || c.quality.worstRowGroupError > 0.1)
          << c.reason;
    }
    // A lower floor takes less, a higher one more.
    EXPECT_LT(selected(w, "auto", 30).quality.bitsPerWeight, s.quality.bitsPerWeight);
    Selection fine = selected(w, "auto", 60);
    EXPECT_GT(fine.quality.bitsPerWeight, s.quality.bitsPerWeight);
    EXPECT_GE(fine.quality.tensorSnr, 60);
  }
}

TEST(Select, OneHugeGroupIsNotSacrificed) {
  std::mt19937_64 rng(65);
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 64, 4096, rng);
  w.scales[20 * 128 + 5] *= 2000;
  Selection s = selected(w, "auto");
  expectWithinRule(s);
  expectConsistent(w, s);
  // What per-row steps do to the other groups of the row has been seen.
  bool seen = false;
  for (const Candidate &c : s.declined)
    seen |= c.encoding.scale.scope == StepScope::row &&
            c.encoding.scale.kind == MetaStorage::Kind::linear &&
            c.quality.worstRowGroupError > 0.5;
  EXPECT_TRUE(seen);
}

TEST(Select, HardSourcesStayWithinTheRule) {
  std::mt19937_64 rng(66);
  for (int kind = 0; kind < 6; ++kind)
    for (Form form : {Form::symmetric, Form::zero, Form::min, Form::centred})
      for (unsigned group : {16u, 32u, 128u, 0u}) {
        SCOPED_TRACE(std::to_string(kind) + " " + std::to_string(int(form)) + " " +
                     std::to_string(group));
        CodeType codes{uint8_t(kind % 2 ? 6 : 4), form == Form::symmetric};
        AffineWeight w = randomAffine(codes, group, form, 24, 768, rng,
                                      kind == 0 ? 1e-7 : 0.01, kind == 1 ? 2 : 0.3);
        for (size_t i = 0; i < w.scales.size(); ++i) {
          if (kind == 2 && i % 3 == 0)
            w.scales[i] = -w.scales[i];
          if (kind == 3 && i % 5 == 0)
            w.scales[i] = 0;
          if (kind == 4 && i % 11 == 0 && !w.offsets.empty())
            w.offsets[i] *= -100;
        }
        Selection s = selected(w, "auto");
        expectWithinRule(s);
        expectConsistent(w, s);
        Selection exact = selected(w, "lossless");
        EXPECT_EQ(exact.quality.differingWeights, 0u);
        expectConsistent(w, exact);
      }
}

TEST(Select, SymmetricExactScales) {
  std::mt19937_64 rng(67);
  AffineWeight w = randomAffine({6, true}, 16, Form::symmetric, 64, 2048, rng);
  roundToBf16(w.scales);
  Selection s = selected(w, "auto");
  EXPECT_EQ(s.quality.differingWeights, 0u);
  EXPECT_EQ(s.weight.encoding.scale.kind, MetaStorage::Kind::delta);
  expectConsistent(w, s);
}

TEST(Select, NamedEncodings) {
  std::mt19937_64 rng(68);
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 40, 4096, rng);
  Selection row = selected(w, "row-u8"), block = selected(w, "block-u8"),
            plain = selected(w, "bf16");
  EXPECT_EQ(row.weight.encoding, *namedEncoding("row-u8", {4, false}, 32, Form::zero));
  EXPECT_EQ(row.name, "row-u8");
  EXPECT_EQ(block.weight.encoding,
            *namedEncoding("block-u8", {4, false}, 32, Form::zero));
  EXPECT_EQ(plain.weight.encoding, *namedEncoding("bf16", {4, false}, 32, Form::zero));
  EXPECT_GT(block.quality.tensorSnr, row.quality.tensorSnr);
  EXPECT_GT(plain.quality.bitsPerWeight, 5 - 1e-9);
  for (const Selection &s : {row, block, plain})
    expectConsistent(w, s);
  // The minimum form keeps its form.
  AffineWeight m = randomAffine({4, false}, 32, Form::min, 40, 1024, rng);
  EXPECT_EQ(selected(m, "row-u8").weight.encoding.form, Form::min);
  // Signs that the named codes lack: the nearest relative that has them.
  for (float &z : w.offsets)
    z -= 8;
  Selection centred = selected(w, "row-u8");
  EXPECT_EQ(centred.weight.encoding,
            *namedEncoding("row-u8", {4, false}, 32, Form::centred));
  EXPECT_NE(centred.reason.find("negative zeros: centred form"), std::string::npos);
  EXPECT_GT(centred.quality.tensorSnr, 40);
}

TEST(Select, Spellings) {
  std::mt19937_64 rng(69);
  AffineWeight w = randomAffine({4, false}, 32, Form::zero, 16, 512, rng);
  const char *text =
      "u4, group = 32, min, scale = log8 * row<f32>, offset = i8 * row<bf16>";
  Selection s = selected(w, text);
  EXPECT_EQ(s.weight.encoding.str(), text);
  EXPECT_EQ(s.name, "log8+i8/row");
  expectConsistent(w, s);
  auto message = [&](const char *name) {
    SelectionRule rule;
    rule.name = name;
    auto r = select(w, rule);
    return r ? std::string("selected ") + r->name : r.error();
  };
  EXPECT_EQ(message("u4, group = 64, min, scale = bf16, offset = bf16"),
            "the weight has 4-bit codes in groups of 32, the encoding 4-bit "
            "codes in groups of 64; an encoding changes the metadata only, so "
            "quantize again to change codes or groups");
  EXPECT_EQ(message("row-u9"),
            "unknown encoding 'row-u9'; known are auto, lossless, row-u8, "
            "block-u8, bf16, f16, f32, and spellings such as 'u4, group = 32, "
            "zero, scale = bf16, offset = u4'; did you mean 'row-u8'?");
  EXPECT_EQ(message("u4, group = 32"),
            "expected ',', found 'the end' at character 15 of the encoding");
}

TEST(Select, NativeStaysAsItIs) {
  std::mt19937_64 rng(70);
  for (const char *type :
       {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
        "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4"}) {
    EncodedWeight w = reference::randomEncoded(*ggufEncoding(type), 32, 1024, rng);
    for (const char *name : {"auto", "lossless"}) {
      SelectionRule rule;
      rule.name = name;
      auto s = select(w, rule);
      ASSERT_TRUE(s) << s.error();
      EXPECT_EQ(s->name, type);
      EXPECT_EQ(s->weight.encoding, w.encoding);
      EXPECT_EQ(s->weight.fields, w.fields);
      EXPECT_EQ(s->weight.scaleFields, w.scaleFields);
      EXPECT_EQ(s->weight.scaleSteps, w.scaleSteps);
      EXPECT_EQ(s->quality.tensorSnr, INFINITY);
    }
    SelectionRule rule;
    rule.name = "row-u8";
    auto s = select(w, rule); // from the exact metadata, in the source's form
    ASSERT_TRUE(s) << s.error();
    EXPECT_EQ(s->weight.encoding.form, w.encoding.form);
    expectConsistent(*decode(w), *s);
  }
}

TEST(Select, NonFiniteMetadataIsAnError) {
  std::mt19937_64 rng(71);
  AffineWeight w = integerZeros(rng, 8, 512);
  w.scales[5 * 16 + 2] = INFINITY;
  SelectionRule rule;
  EXPECT_EQ(select(w, rule).error(),
            "scale is inf at row 5, group 2 (columns 64 to 95); repair or "
            "requantize the weight: only finite metadata can be coded");
  EncodedWeight native = reference::randomEncoded(*ggufEncoding("Q4_K"), 8, 512, rng);
  native.offsetFields[3 * 16 + 9] = 7;
  native.offsetSteps[3 * 2 + 1] = 0x7E00;
  EXPECT_EQ(select(native, rule).error(),
            "offset is nan at row 3, group 8 (columns 256 to 287); repair or "
            "requantize the weight: only finite metadata can be used");
}
