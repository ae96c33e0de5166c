//===- ConstantsTest.cpp - Weights as constants of the IR -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/Constants.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"

#include "gtest/gtest.h"

#include <random>

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::EncodedWeight;
using ::qlinear::Encoding;
using ::qlinear::MetaStorage;

namespace {

/// Any bits in every field: what a file could hold, finite or not.
EncodedWeight randomWeight(const Encoding &e, uint64_t N, uint64_t K,
                           std::mt19937 &rng) {
  EncodedWeight w;
  w.encoding = e;
  w.N = N;
  w.K = K;
  auto bits = [&](unsigned n) { return n == 32 ? rng() : rng() % (1u << n); };
  for (uint64_t i = 0; i < N * K; ++i)
    w.fields.push_back(uint8_t(bits(e.codes.bits)));
  auto fill = [&](const MetaStorage &m, std::vector<uint32_t> &fields,
                  std::vector<uint32_t> &steps) {
    if (m.kind == MetaStorage::Kind::none)
      return;
    for (uint64_t i = 0; i < N * e.groupsPerRow(K); ++i)
      fields.push_back(bits(m.fieldBits()));
    uint64_t perRow = m.scope == ::qlinear::StepScope::block
                          ? (K + 255) / 256
                          : m.rowBytes() / byteWidth(m.type);
    for (uint64_t i = 0; i < N * perRow; ++i)
      steps.push_back(bits(8 * byteWidth(m.type)));
  };
  fill(e.scale, w.scaleFields, w.scaleSteps);
  fill(e.offset, w.offsetFields, w.offsetSteps);
  return w;
}

TEST(Constants, EveryBitComesBack) {
  MLIRContext context;
  context.loadDialect<QLinearDialect>();
  std::mt19937 rng(3);
  const struct {
    const char *encoding;
    uint64_t N, K;
  } cases[] = {
      {"u4, group = 32, zero, scale = bf16, offset = bf16", 5, 96},
      {"u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>", 3, 64},
      {"u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, "
       "f16>",
       2, 288},
      {"i6, group = 16, symmetric, scale = i8 * block<256, f16>", 1, 272},
      {"i4, group = 16, symmetric, scale = f32", 1, 16},
      {"u2, group = 16, min, scale = u4 * block<256, f16>, offset = u4 * block<256, "
       "f16>",
       2, 288},
      {"i3, group = 16, symmetric, scale = i6 * block<256, f16>", 3, 272},
      {"iq4nl, group = 16, symmetric, scale = u6 * row<f16>", 3, 48},
      {"e2m1, group = 32, symmetric, scale = e8m0", 3, 96},
      {"nf4, group = 64, symmetric, scale = f32", 3, 128},
      {"e2m1, group = 16, symmetric, scale = e4m3", 3, 48},
      {"e2m1, group = 16, symmetric, scale = e4m3 * row<f32>", 3, 48},
      {"example2, group = 32, symmetric, scale = bf16", 5, 96},
      {"example3, group = row, zero, scale = f16, offset = i8", 2, 33},
      {"example8, group = 16, min, scale = u8 * row<bf16>, offset = bf16", 3, 48},
      {"i5, group = 64, zero, scale = f16, offset = i4", 7, 128},
      {"i8, group = row, symmetric, scale = f32", 7, 37},
      {"u6, group = 64, centred, scale = log8 * row<f32>, offset = i8 * row<f32>", 2,
       64},
      {"u4, group = 32, zero, scale = delta10 * row<bf16>, offset = u4", 2, 64},
      {"u8, group = 128, zero, scale = delta12 * row<bf16>, offset = i8", 2, 128},
  };
  for (const auto &c : cases)
    for (bool narrow : {true, false}) {
      SCOPED_TRACE(c.encoding);
      EncodedWeight w = randomWeight(*Encoding::parse(c.encoding), c.N, c.K, rng);
      OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
      OpBuilder builder(module->getBodyRegion());
      PackOp pack = createConstantWeight(builder, module->getLoc(), w, narrow);
      ASSERT_TRUE(succeeded(verify(*module)));
      EXPECT_EQ(
          cast<RankedTensorType>(pack.getCodes().getType()).getElementTypeBitWidth(),
          narrow ? w.encoding.codes.bits : 8u);
      EXPECT_TRUE(isConstant(pack));
      FailureOr<EncodedWeight> back = getConstantWeight(pack);
      ASSERT_TRUE(succeeded(back));
      EXPECT_EQ(back->encoding, w.encoding);
      EXPECT_EQ(back->N, w.N);
      EXPECT_EQ(back->K, w.K);
      EXPECT_EQ(back->fields, w.fields);
      EXPECT_EQ(back->scaleFields, w.scaleFields);
      EXPECT_EQ(back->offsetFields, w.offsetFields);
      EXPECT_EQ(back->scaleSteps, w.scaleSteps);
      EXPECT_EQ(back->offsetSteps, w.offsetSteps);

      // The elements are stored as the parser stores them: the attributes are one.
      std::string text;
      llvm::raw_string_ostream(text) << *module;
      OwningOpRef<ModuleOp> parsed = parseSourceString<ModuleOp>(text, &context);
      ASSERT_TRUE(parsed);
      for (auto [a, b] : llvm::zip(module->getOps<arith::ConstantOp>(),
                                   parsed->getOps<arith::ConstantOp>()))
        EXPECT_EQ(a.getValue(), b.getValue());
    }
}

} // namespace
