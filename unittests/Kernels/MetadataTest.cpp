//===- MetadataTest.cpp - The kernels' decoders of scales and offsets -----===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Fields.h says what a field of metadata is worth; kernels have faster ways to it.
// Here they are compared for every field and many constants: equal, but for 2^x.
//
//===----------------------------------------------------------------------===//
#include "../../kernels/cuda/Metadata.h"
#include "CpuKernelTables.h"
#include "Encoding/Reference.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>

using namespace qlinear;

namespace {

/// What a decoder gets: the constants as floats, or the bits of a delta's base.
struct Constants {
  float first = 1, second = 0;
};

/// The value that Fields.h gives.
float definition(const MetaStorage &m, uint32_t field, Constants c) {
  switch (m.kind) {
  case MetaStorage::Kind::none:
    return 0;
  case MetaStorage::Kind::plain:
    return layout::floatValue(int(m.type), field);
  case MetaStorage::Kind::linear:
    return layout::linearValue(m.bits, m.isSigned, field, c.first);
  case MetaStorage::Kind::log:
    return layout::logValue(c.first, c.second, field);
  case MetaStorage::Kind::delta:
    return layout::deltaValue(std::bit_cast<uint32_t>(c.first), field);
  case MetaStorage::Kind::scaled:
    return layout::scaledValue(field, c.first);
  }
  return NAN;
}

/// `got` is the definition's value; powers are rounded to float three times, the first
/// time in the exponent, and 2^x itself is known to an ulp or two.
testing::AssertionResult agrees(const MetaStorage &m, uint32_t field, Constants c,
                                float got) {
  float want = definition(m, field, c);
  if (std::bit_cast<uint32_t>(got) == std::bit_cast<uint32_t>(want) ||
      (std::isnan(got) && std::isnan(want)))
    return testing::AssertionSuccess();
  if (m.kind == MetaStorage::Kind::log) {
    double exponent = std::fabs(double(field) * double(c.second));
    double bound = (3 + exponent * 0.35) * 0x1p-23 * std::fabs(want);
    if (std::fabs(double(got) - double(want)) <= bound)
      return testing::AssertionSuccess();
  }
  return testing::AssertionFailure()
         << std::string(m.bits ? std::to_string(m.bits) + " bits" : "plain")
         << " of kind " << int(m.kind) << ", field " << field << ", constants "
         << c.first << " and " << c.second << ": " << got << ", not " << want;
}

/// Storages of every kind with constants for them.
template <typename Visit> void forEachStorage(std::mt19937_64 &rng, Visit visit) {
  auto floatOf = [&](FloatType type) {
    return layout::floatValue(int(type), reference::randomFloatBits(type, rng));
  };
  for (MetaStorage m : reference::allStorages(false, 32)) {
    // Steps of blocks, and fields, are decoded alike.
    for (int i = 0; i < 100; ++i) {
      Constants c;
      if (m.kind == MetaStorage::Kind::scaled ||
          (m.kind == MetaStorage::Kind::linear && m.scope != StepScope::constant))
        c.first = floatOf(m.type);
      if (m.kind == MetaStorage::Kind::delta) {
        uint32_t base = uint32_t(i < 4 ? std::array{0u, 0x7F00u, 0x8000u, 0xFFFFu}[i]
                                       : rng() & 0xFFFF);
        c.first = std::bit_cast<float>(base);
      }
      if (m.kind == MetaStorage::Kind::log) {
        // 2^x of kernels is for |x| < 126.
        double largest = 125.0 / (1 << m.bits);
        std::uniform_real_distribution<double> steps(-largest, largest);
        c.first = floatOf(m.type);
        c.second = i % 10 == 0 ? 0 : float(i % 2 ? steps(rng) / 64 : steps(rng));
        if (m.type == FloatType::bf16)
          c.second = bf16ToFloat(floatToBf16(c.second));
        if (m.type == FloatType::f16)
          c.second = f16ToFloat(floatToF16(c.second));
      }
      visit(m, c);
    }
  }
}

uint64_t specOf(const MetaStorage &m) {
  return Encoding{{4, false}, 32, Form::zero, m, m}.spec();
}

/// All fields of a code, and some floats.
std::vector<uint32_t> fieldsOf(const MetaStorage &m, std::mt19937_64 &rng) {
  std::vector<uint32_t> fields;
  if (m.kind == MetaStorage::Kind::plain)
    for (int i = 0; i < 4096; ++i)
      fields.push_back(uint32_t(rng() >> (64 - m.fieldBits())));
  else
    for (uint32_t f = 0; f < 1u << m.bits; ++f)
      fields.push_back(f);
  return fields;
}

class CpuMetadataTest : public testing::TestWithParam<const CpuKernels *> {};

TEST_P(CpuMetadataTest, EveryField) {
  const CpuKernels &kernels = *GetParam();
  if (!isSupported(kernels))
    GTEST_SKIP() << "this machine has no " << kernels.name;
  std::mt19937_64 rng(41);
  forEachStorage(rng, [&](const MetaStorage &m, Constants c) {
    std::vector<uint32_t> fields = fieldsOf(m, rng);
    float first[16], second[16], out[16];
    std::fill_n(first, 16, c.first);
    std::fill_n(second, 16, c.second);
    for (size_t at = 0; at < fields.size(); at += 16) {
      kernels.decode(specOf(m), &fields[at], first, second, out);
      for (size_t i = 0; i < 16; ++i)
        ASSERT_TRUE(agrees(m, fields[at + i], c, out[i]));
    }
  });
}

INSTANTIATE_TEST_SUITE_P(, CpuMetadataTest, testing::ValuesIn(kAllCpuKernels), nameOf);

// A GPU's, as ordinary functions: at every bit of a record that a field can start at,
// between fields that are all ones.
TEST(GpuMetadataTest, EveryField) {
  std::mt19937_64 rng(42);
  forEachStorage(rng, [&](const MetaStorage &m, Constants c) {
    layout::Meta meta = layout::Spec::unpack(specOf(m)).scale;
    int bits = meta.fieldBits(), start = 0;
    for (uint32_t field : fieldsOf(m, rng)) {
      start = (start + 1) % 64;
      layout::u32 words[5];
      std::fill_n(words, 5, ~0u);
      for (int i = 0; i < bits; ++i)
        if (!(field >> i & 1))
          words[(start + i) / 32] &= ~(1u << (start + i) % 32);
      bool block = m.scope == StepScope::block; // the other one is not to be used
      float step = block ? c.first : 777, row[2] = {block ? 777 : c.first, c.second};
      if (m.kind == MetaStorage::Kind::delta) // kernels keep the base as a float
        row[0] = layout::floatValue(layout::kBF16, std::bit_cast<uint32_t>(c.first));
      ASSERT_TRUE(
          agrees(m, field, c, kernels::metaValue(meta, words, start, step, row, false)))
          << "from bit " << start;
      // Without the factor that the whole row has.
      bool linear = m.kind == MetaStorage::Kind::linear && m.scope == StepScope::row;
      if (linear || m.kind == MetaStorage::Kind::scaled ||
          m.kind == MetaStorage::Kind::log)
        ASSERT_TRUE(agrees(m, field, {1, c.second},
                           kernels::metaValue(meta, words, start, step, row, true)))
            << "from bit " << start;
    }
  });
}

} // namespace
