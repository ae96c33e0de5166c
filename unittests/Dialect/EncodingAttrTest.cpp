//===- EncodingAttrTest.cpp - The two parsers of encodings agree ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/QLinear.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/MLIRContext.h"

#include "gtest/gtest.h"

#include <random>

using namespace mlir;
using mlir::qlinear::EncodingAttr;
using ::qlinear::Encoding;

namespace {

struct EncodingAttrTest : testing::Test {
  EncodingAttrTest() : quiet(&context, [](Diagnostic &) { return success(); }) {
    context.loadDialect<mlir::qlinear::QLinearDialect>();
  }

  EncodingAttr parse(const std::string &spelling) {
    return dyn_cast_or_null<EncodingAttr>(
        parseAttribute("#qlinear.encoding<" + spelling + ">", &context));
  }

  MLIRContext context;
  ScopedDiagnosticHandler quiet;
};

const char *const kStorages[] = {"bf16",
                                 "f16",
                                 "f32",
                                 "u4",
                                 "i8",
                                 "u8 * row<bf16>",
                                 "i8 * row<f32>",
                                 "u6 * block<256, f16>",
                                 "u5 * row<f16>",
                                 "i4 * block<256, f32>",
                                 "log8 * row<f32>",
                                 "log6 * row<bf16>",
                                 "delta10 * row<bf16>",
                                 "delta8 * row<f16>",
                                 "e8m0",
                                 "e4m3",
                                 "e4m3 * row<f32>",
                                 "e4m3 * block<256, f32>",
                                 "e8m0 * row<f32>",
                                 "u8 * row<e4m3>",
                                 "u8 * tensor<f32>",
                                 "example4 * row<f32>",
                                 "log8 * tensor<f32>"};

/// Of all spellings made of these parts, valid or not, the attribute accepts those
/// that the library accepts, with the same meaning, and prints what was parsed.
TEST_F(EncodingAttrTest, EverySpelling) {
  int accepted = 0, rejected = 0;
  for (const char *codes : {"u2", "i3", "u4", "i4", "u5", "i6", "u8", "i8", "u7",
                            "iq4nl", "e2m1", "example2", "example8"})
    for (const char *group : {"16", "32", "48", "256", "row"})
      for (const char *form : {"symmetric", "zero", "min", "centred"})
        for (const char *scale : kStorages)
          for (int offset = -1; offset < int(std::size(kStorages)); ++offset) {
            std::string text = std::string(codes) + ", group = " + group + ", " + form +
                               ", scale = " + scale;
            if (offset >= 0)
              text += std::string(", offset = ") + kStorages[offset];
            auto expected = Encoding::parse(text);
            bool valid = bool(expected) && bool(expected->verify());
            EncodingAttr attr = parse(text);
            ASSERT_EQ(bool(attr), valid) << text;
            ++(valid ? accepted : rejected);
            if (!valid)
              continue;
            ASSERT_EQ(attr.getValue(), *expected) << text;
            std::string printed;
            llvm::raw_string_ostream(printed) << attr;
            ASSERT_EQ(printed, "#qlinear.encoding<" + text + ">");
          }
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(rejected, 1000);
}

/// No spelling has fields that its storage does not use, but the C++ struct can.
TEST_F(EncodingAttrTest, UnusedFields) {
  EncodingAttr attr = parse("u4, group = 32, zero, scale = bf16, offset = u4");
  ASSERT_TRUE(attr);
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  auto check = [&](const Encoding &encoding) {
    return EncodingAttr::getChecked(
        [&] { return emitError(UnknownLoc::get(&context)); }, &context, encoding);
  };
  ASSERT_TRUE(check(attr.getValue()));

  Encoding bits = attr.getValue();
  bits.scale.bits = 8;
  EXPECT_FALSE(check(bits));
  EXPECT_EQ(message,
            "plain scale has neither code bits nor a step (C9 of #qlinear.encoding)");

  Encoding type = attr.getValue();
  type.offset.type = ::qlinear::FloatType::f32;
  EXPECT_FALSE(check(type));
  EXPECT_EQ(message,
            "offset code on the integer grid has no step, so its step type must be "
            "left at bf16 (C9 of #qlinear.encoding)");
}

/// Codes of a table have one number of bits and are signed.
TEST_F(EncodingAttrTest, CodesOfATable) {
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  for (auto [name, bits] :
       {std::pair("example2", 2), std::pair("example3", 3), std::pair("example4", 4),
        std::pair("example8", 8), std::pair("iq4nl", 4), std::pair("e2m1", 4),
        std::pair("nf4", 4)}) {
    EncodingAttr attr =
        parse(name + std::string(", group = 32, symmetric, scale = bf16"));
    ASSERT_TRUE(attr);
    Encoding encoding = attr.getValue();
    encoding.codes.bits = 5;
    EXPECT_FALSE(EncodingAttr::getChecked(
        [&] { return emitError(UnknownLoc::get(&context)); }, &context, encoding));
    EXPECT_EQ(message, std::string("codes of ") + name + " are signed and have " +
                           std::to_string(bits) + " bits (C10 of #qlinear.encoding)");
  }
}

/// Spellings with tokens dropped, doubled or replaced.
TEST_F(EncodingAttrTest, MutatedSpelling) {
  const std::vector<std::string> original = {
      "u4", ",",  "group", "=",     "32", ",",    "zero", ",",   "scale",
      "=",  "u8", "*",     "row",   "<",  "bf16", ">",    ",",   "offset",
      "=",  "u6", "*",     "block", "<",  "256",  ",",    "f16", ">"};
  const std::vector<std::string> pool = {
      "u4",  "i8",        "example4", "e4m3",  "tensor", "log8", "delta10",
      "row", "block",     "<",        ">",     ",",      "=",    "*",
      "16",  "256",       "128",      "f32",   "bf16",   "f64",  "zero",
      "min", "symmetric", "group",    "scale", "offset", "u",    "8"};
  std::mt19937 rng(7);
  auto below = [&](size_t n) { return rng() % n; };
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> tokens = original;
    for (size_t edits = 1 + below(3); edits; --edits) {
      auto at = tokens.begin() + below(tokens.size());
      if (size_t kind = below(3); kind == 0)
        tokens.erase(at);
      else if (kind == 1)
        tokens.insert(at, pool[below(pool.size())]);
      else
        *at = pool[below(pool.size())];
    }
    std::string text;
    for (const std::string &token : tokens)
      text += token + " ";
    auto expected = Encoding::parse(text);
    bool valid = bool(expected) && bool(expected->verify());
    EncodingAttr attr = parse(text);
    ASSERT_EQ(bool(attr), valid) << text;
    if (valid) {
      ++accepted;
      ASSERT_EQ(attr.getValue(), *expected) << text;
    }
  }
  EXPECT_GT(accepted, 100);
}

TEST_F(EncodingAttrTest, IsUniqued) {
  Encoding a = *Encoding::parse("u4, group = 32, zero, scale = bf16, offset = bf16");
  Encoding b = *Encoding::parse("u4, group = 32, zero, scale = bf16, offset = f16");
  EXPECT_EQ(EncodingAttr::get(&context, a), EncodingAttr::get(&context, a));
  EXPECT_NE(EncodingAttr::get(&context, a), EncodingAttr::get(&context, b));
}

} // namespace
