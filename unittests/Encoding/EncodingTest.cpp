//===- EncodingTest.cpp - Parsing, printing and verifying encodings -------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Reference.h"

#include <gtest/gtest.h>

using namespace qlinear;

static std::string parseError(std::string_view text) {
  auto e = Encoding::parse(text);
  return e ? "parsed as " + e->str() : e.error();
}

TEST(Encoding, SpellingsOfTheSeed) {
  auto row = Encoding::parse(
      "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>");
  ASSERT_TRUE(row) << row.error();
  EXPECT_EQ(row->codes, (CodeType{4, false}));
  EXPECT_EQ(row->group, 32u);
  EXPECT_EQ(row->form, Form::zero);
  EXPECT_EQ(row->scale, MetaStorage::linear(8, false, StepScope::row));
  EXPECT_EQ(row->offset, row->scale);

  auto q4k = Encoding::parse("u4,group=32,min,scale=u6*block<256,f16>,"
                             "offset=u6*block<256,f16>");
  ASSERT_TRUE(q4k) << q4k.error();
  EXPECT_EQ(*q4k, *ggufEncoding("Q4_K"));
  EXPECT_EQ(q4k->str(), "u4, group = 32, min, scale = u6 * block<256, f16>, "
                        "offset = u6 * block<256, f16>");

  auto exact = Encoding::parse(
      "u4, group = row, centred, scale = delta10 * row<bf16>, offset = i4");
  ASSERT_TRUE(exact) << exact.error();
  EXPECT_EQ(exact->group, kWholeRow);
  EXPECT_EQ(exact->offset, MetaStorage::linear(4, true, StepScope::constant));
}

TEST(Encoding, RandomEncodingsRoundTrip) {
  std::mt19937_64 rng(2);
  for (int i = 0; i < 20000; ++i) {
    Encoding e = reference::randomEncoding(rng);
    auto ok = e.verify();
    ASSERT_TRUE(ok) << e.str() << ": " << ok.error();
    auto back = Encoding::parse(e.str());
    ASSERT_TRUE(back) << e.str() << ": " << back.error();
    ASSERT_EQ(*back, e) << e.str();
    // The kernels' constant says the same, field by field.
    layout::Spec s = layout::Spec::unpack(e.spec());
    ASSERT_EQ(s.codeBits, int(e.codes.bits));
    ASSERT_EQ(s.codeKind, int(e.codes.kind));
    ASSERT_EQ(s.bias(), e.codes.bias());
    ASSERT_EQ(unsigned(s.group), e.group);
    ASSERT_EQ(s.form, int(e.form));
    ASSERT_EQ(s.scale.fieldBits(), int(e.scale.fieldBits()));
    ASSERT_EQ(s.offset.fieldBits(), int(e.offset.fieldBits()));
    ASSERT_EQ(s.scale.rowBytes(), int(e.scale.rowBytes()));
    ASSERT_EQ(s.offset.blockBytes(), int(e.offset.blockBytes()));
    ASSERT_EQ(s.scale.isSigned, e.scale.isSigned);
    ASSERT_EQ(s.pack(), e.spec());
  }
}

TEST(Encoding, ParseNeverAcceptsDamage) {
  std::mt19937_64 rng(3);
  for (int i = 0; i < 20000; ++i) {
    std::string text = reference::randomEncoding(rng).str();
    // Truncate, or change one character: what still parses prints as a fixed
    // point and verifies.
    if (i % 2)
      text.resize(rng() % text.size());
    else
      text[rng() % text.size()] = char(32 + rng() % 95);
    auto e = Encoding::parse(text);
    if (!e) {
      ASSERT_FALSE(e.error().empty());
      continue;
    }
    ASSERT_TRUE(e->verify());
    ASSERT_EQ(*Encoding::parse(e->str()), *e);
  }
}

/// What the beginning of a spelling may be, as messages list it.
static const std::string codeTypes =
    "expected a code type (u2, u3, u4, u5, u6, u8, i2, i3, i4, i5, i6, i8, example4, "
    "example2, example3, example8, iq4nl, e2m1, nf4)";

TEST(Encoding, ParseErrorsNameTheWordAndPlace) {
  EXPECT_EQ(parseError(""),
            codeTypes + ", found 'the end' at character 1 of the encoding");
  EXPECT_EQ(parseError("u7, group = 32"),
            codeTypes + ", found 'u7' at character 1 of the encoding");
  EXPECT_EQ(parseError("u4, group = 48, zero"),
            "expected a group size (16, 32, 64, 128, 256, row), found '48' at "
            "character 13 of the encoding");
  EXPECT_EQ(parseError("u4, group = 32, affine"),
            "expected a form (symmetric, zero, min, centred), found 'affine' "
            "at character 17 of the encoding");
  EXPECT_EQ(
      parseError("i4, group = 32, symmetric, scale = fp8"),
      "expected a metadata storage (bf16, f16, f32, e8m0, e4m3, u8, i8, u4, log8, "
      "delta10, ...), found 'fp8' at character 36 of the encoding");
  EXPECT_EQ(parseError("i4, group = 32, symmetric, scale = log8"),
            "expected '* row<...>', found 'the end' at character 40 of the "
            "encoding");
  EXPECT_EQ(parseError("i4, group = 32, symmetric, scale = u8 * block<128, f16>"),
            "expected '256', found '128' at character 47 of the encoding");
  EXPECT_EQ(parseError("i4, group = 32, symmetric, scale = bf16 x"),
            "expected the end of the encoding, found 'x' at character 41 of "
            "the encoding");
}

TEST(Encoding, FieldsMeanWhatTheReferenceSays) {
  for (Form form : {Form::symmetric, Form::centred})
    for (CodeType codes : reference::allCodes(form))
      for (int f = 0; f < 1 << codes.bits; ++f) {
        layout::Codes meaning = codes.layout();
        double q = reference::affine(Form::zero, codes, f, 1, 0);
        ASSERT_EQ(meaning.value(f), q) << codes.str() << " " << f;
        // The byte that kernels multiply: the field of an integer, and never more bits
        // than they are told.
        int byte = meaning.byte(f);
        double unit = codes.kind == CodeKind::e2m1 ? 0.5 : 1;
        if (codes.kind == CodeKind::nf4) {
          double near = reference::bytesOfNf4()[size_t(f)];
          ASSERT_EQ(meaning.byteValue(f), float(near));
          ASSERT_NEAR(near, q, 0.0039);
        } else {
          ASSERT_EQ(byte, q / unit + codes.bias());
          ASSERT_EQ(meaning.byteValue(f), q);
        }
        ASSERT_GE(byte, 0);
        ASSERT_LT(byte, 1 << layout::byteBitsOf(int(codes.kind), codes.bits));
        if (!codes.isTable())
          ASSERT_EQ(byte, f);
      }
  // All floats of 8 and 16 bits, and some of 32.
  std::mt19937_64 rng(4);
  for (FloatType type : {FloatType::bf16, FloatType::f16, FloatType::f32,
                         FloatType::e8m0, FloatType::e4m3})
    for (uint32_t i = 0; i < 1u << (type == FloatType::f32 ? 16 : 8 * byteWidth(type));
         ++i) {
      uint32_t bits = type == FloatType::f32 ? uint32_t(rng()) : i;
      double want = reference::value(type, bits);
      float got = layout::floatValue(int(type), bits);
      ASSERT_TRUE(got == want || (std::isnan(got) && std::isnan(want)))
          << int(type) << " " << bits << ": " << got << ", not " << want;
    }
}

TEST(Encoding, CodesOfATable) {
  const struct {
    CodeKind kind;
    std::string name;
    uint8_t bits;
    const char *alike;
    double bitsPerWeight;
  } cases[] = {{CodeKind::example2, "example2", 2, "i2", 2.5},
               {CodeKind::example3, "example3", 3, "i3", 3.5},
               {CodeKind::example4, "example4", 4, "i4", 4.5},
               {CodeKind::example8, "example8", 8, "i8", 8.5},
               {CodeKind::iq4nl, "iq4nl", 4, "i4", 4.5},
               {CodeKind::e2m1, "e2m1", 4, "i4", 4.5},
               {CodeKind::nf4, "nf4", 4, "i4", 4.5}};
  for (const auto &c : cases) {
    const char *rest = ", group = 32, symmetric, scale = f16";
    auto e = Encoding::parse(c.name + rest);
    ASSERT_TRUE(e) << e.error();
    EXPECT_EQ(e->codes, (CodeType{c.bits, true, c.kind}));
    EXPECT_EQ(e->codes.layout().count(), int(reference::tableOf(c.kind).size()));
    EXPECT_EQ(layoutOf(*e, 64, 256).bytes(),
              layoutOf(*Encoding::parse(c.alike + std::string(rest)), 64, 256).bytes());
    EXPECT_EQ(layoutOf(*e, 64, 256).bitsPerWeight(), c.bitsPerWeight);
    Encoding bad = *e;
    bad.codes.bits = 5;
    EXPECT_EQ(bad.verify().error(), "codes of " + c.name + " are signed and have " +
                                        std::to_string(c.bits) + " bits");
    bad = *e;
    bad.codes.isSigned = false;
    EXPECT_EQ(bad.verify().error(), "codes of " + c.name + " are signed and have " +
                                        std::to_string(c.bits) + " bits");
    bad.codes.kind = CodeKind(99);
    EXPECT_EQ(bad.verify().error(), "codes of an unknown kind");
    // A field past the end of the table.
    if (c.bits == 8)
      continue;
    EncodedWeight w{*e, 1, 32, std::vector<uint8_t>(32), {0x3C00}, {}, {}, {}};
    w.fields[31] = uint8_t(1 << c.bits);
    EXPECT_EQ(decode(w).error(), "code field " + std::to_string(1 << c.bits) +
                                     " at row 0, column 31 does not fit " +
                                     std::to_string(c.bits) + " bits");
  }
  EXPECT_EQ(parseError("u1, group = 32, zero, scale = bf16, offset = u4"),
            codeTypes + ", found 'u1' at character 1 of the encoding");
}

TEST(Encoding, VerifyErrorsSayTheWayOut) {
  EXPECT_EQ(parseError("i4, group = 32, symmetric, scale = e4m3 * row<e4m3>"),
            "scale step of e4m3 is too coarse; use bf16, f16 or f32");
  EXPECT_EQ(parseError("i4, group = 32, symmetric, scale = e4m3 * block<256, f16>"),
            "expected 'row', found 'block' at character 43 of the encoding");
  EXPECT_EQ(parseError("i4, group = 32, symmetric, scale = e8m0 * row<f32>"),
            "expected the end of the encoding, found '*' at character 41 of the "
            "encoding");
  Encoding scaled =
      *Encoding::parse("i4, group = 32, symmetric, scale = e4m3 * row<f32>");
  scaled.scale.bits = 6;
  EXPECT_EQ(scaled.verify().error(), "scale code of 6 bits; an e4m3 has 8");
  scaled.scale = MetaStorage::scaled();
  scaled.scale.isSigned = true;
  EXPECT_EQ(scaled.verify().error(),
            "e4m3 codes of the scale are unsigned; their float carries the sign");
  scaled.scale = MetaStorage::scaled();
  scaled.scale.scope = StepScope::block;
  EXPECT_EQ(scaled.verify().error(),
            "e4m3 codes of the scale have their step per row: use row<...>");
  EXPECT_EQ(parseError("u4, group = 32, min, scale = bf16, offset = u8 * row<e8m0>"),
            "offset step of e8m0 is too coarse; use bf16, f16 or f32");
  EXPECT_EQ(parseError("i4, group = 32, symmetric, scale = u8 * tensor<f32>"),
            "scale step per tensor is not supported yet; use row<...>, with the same "
            "step in each row");
  EXPECT_EQ(parseError("example4, group = 32, centred, scale = bf16, offset = bf16"),
            "the centred form needs unsigned codes; use u4, or the zero form");
  EXPECT_EQ(parseError("example2, group = 32, centred, scale = bf16, offset = bf16"),
            "the centred form needs unsigned codes; use u2, or the zero form");
  EXPECT_EQ(parseError("u4, group = 32, symmetric, scale = bf16"),
            "the symmetric form needs signed codes; use i4, or the zero form");
  EXPECT_EQ(parseError("i4, group = 32, centred, scale = bf16, offset = bf16"),
            "the centred form needs unsigned codes; use u4, or the zero form");
  EXPECT_EQ(parseError("u4, group = 32, zero, scale = bf16"),
            "the zero, min and centred forms need an offset, as in offset = "
            "bf16");
  EXPECT_EQ(parseError("i4, group = 32, symmetric, scale = bf16, offset = u4"),
            "the symmetric form has no offset; remove it, or use the zero, min "
            "or centred form");
  EXPECT_EQ(parseError("i4, group = 32, symmetric, scale = u8"),
            "a scale code needs a step: use row<...> or block<256, ...>");
  EXPECT_EQ(parseError("i4, group = row, symmetric, scale = u8 * block<256, f16>"),
            "scale step per 256 weights, but one group spans the whole row; "
            "use a row step or plain storage");
  EXPECT_EQ(parseError("i4, group = 32, symmetric, scale = delta10 * row<f16>"),
            "delta scale has a bf16 base: use row<bf16>");
  EXPECT_EQ(parseError("i4, group = 32, symmetric, scale = u10 * row<f16>"),
            "scale code of 10 bits; a linear code has 4, 6 or 8 bits");
}

TEST(Encoding, ShapeErrorsSayTheWayOut) {
  auto message = [](unsigned group, uint64_t N, uint64_t K) {
    auto e = *namedEncoding("bf16", {4, false}, group, Form::zero);
    auto r = e.verifyShape(N, K);
    return r ? std::string() : r.error();
  };
  EXPECT_EQ(message(128, 16, 7392),
            "K = 7392 is not a multiple of the group size 128; pad K or use "
            "group = 32");
  EXPECT_EQ(message(32, 16, 100), "K = 100 is not a multiple of the group size "
                                  "32; pad K or use group = row");
  EXPECT_EQ(message(32, 0, 64),
            "shape 0 x 64 has no weights; N and K must be positive");
  EXPECT_EQ(message(32, ~0ull, 64),
            "shape 18446744073709551615 x 64 is too large; N and K may be up "
            "to 2^32 and N * K up to 2^44");
  EXPECT_EQ(message(kWholeRow, 3, 7393), "");
  EXPECT_EQ(message(16, 1, 7392), "");
}

TEST(Encoding, Named) {
  auto text = [](std::string_view name, CodeType c, unsigned group, Form form) {
    auto e = namedEncoding(name, c, group, form);
    return e ? e->str() : e.error();
  };
  EXPECT_EQ(text("row-u8", {4, false}, 32, Form::zero),
            "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * "
            "row<bf16>");
  EXPECT_EQ(text("row-u8", {6, true}, 16, Form::symmetric),
            "i6, group = 16, symmetric, scale = i8 * row<bf16>");
  EXPECT_EQ(text("block-u8", {6, true}, 16, Form::symmetric),
            "i6, group = 16, symmetric, scale = i8 * block<256, f16>");
  EXPECT_EQ(text("block-u8", {4, false}, 32, Form::min),
            "u4, group = 32, min, scale = u8 * block<256, f16>, offset = u8 * "
            "block<256, f16>");
  EXPECT_EQ(text("row-u8", {4, false}, 128, Form::centred),
            "u4, group = 128, centred, scale = u8 * row<bf16>, offset = i8 * "
            "row<bf16>");
  EXPECT_EQ(text("f32", {8, true}, kWholeRow, Form::symmetric),
            "i8, group = row, symmetric, scale = f32");
  EXPECT_EQ(text("fp8", {8, true}, 32, Form::symmetric),
            "unknown encoding name 'fp8'; known are row-u8, block-u8, bf16, "
            "f16, f32");
}

TEST(Encoding, GgufBitsPerWeight) {
  struct {
    const char *type;
    double bits;
  } rows[] = {{"Q4_0", 4.5},   {"Q4_1", 5},      {"Q5_0", 5.5},    {"Q5_1", 6},
              {"Q8_0", 8.5},   {"Q2_K", 2.625},  {"Q3_K", 3.4375}, {"Q4_K", 4.5},
              {"Q5_K", 5.5},   {"Q6_K", 6.5625}, {"IQ4_NL", 4.5},  {"IQ4_XS", 4.25},
              {"MXFP4", 4.25}, {"NVFP4", 4.5}};
  for (auto [type, bits] : rows)
    EXPECT_EQ(layoutOf(*ggufEncoding(type), 4096, 4096).bitsPerWeight(), bits) << type;
  EXPECT_FALSE(ggufEncoding("IQ3_S"));
}
