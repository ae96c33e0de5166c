//===- ResultsTest.cpp - The comparison of results, on the device ---------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What gpu-stress and the benchmark find wrong calls by has to find every one of them.
//
//===----------------------------------------------------------------------===//

#include "Results.h"
#include "GpuTest.h"

#include <random>

using namespace qlinear;
using namespace qlinear::timing;

namespace {

struct Comparison : testing::Test {
  std::unique_ptr<timing::Device> device;
  std::unique_ptr<Results> results;
  std::vector<size_t> sizes = {1, 16, 48, 100, 4096, 86016, 700000, 33};
  std::vector<std::vector<std::byte>> right;

  void SetUp() override {
    device = std::move(*timing::Device::open(gpu::deviceName()));
    results = std::move(*Results::create(*device, sizes));
    std::mt19937 random(3);
    for (size_t i = 0; i < sizes.size(); ++i) {
      std::vector<std::byte> &bytes = right.emplace_back(sizes[i]);
      for (std::byte &b : bytes)
        b = std::byte(random());
    }
    put();
    ASSERT_TRUE(bool(results->keep()));
  }
  /// As calls that are right do.
  void put() {
    for (size_t i = 0; i < sizes.size(); ++i)
      ASSERT_TRUE(bool(device->upload(results->at(i), right[i])));
  }
  std::vector<size_t> compare() {
    auto differing = results->compare();
    EXPECT_TRUE(bool(differing));
    return differing ? *differing : std::vector<size_t>();
  }
};

TEST_F(Comparison, EqualBits) {
  for (int i = 0; i < 3; ++i) {
    put();
    EXPECT_EQ(compare(), std::vector<size_t>());
  }
}

TEST_F(Comparison, EveryBitCounts) {
  for (size_t call = 0; call < sizes.size(); ++call)
    for (size_t at : {size_t(0), sizes[call] / 3, sizes[call] / 2, sizes[call] - 1})
      for (int bit : {0, 7}) {
        put();
        std::vector<std::byte> wrong = right[call];
        wrong[at] ^= std::byte(1 << bit);
        ASSERT_TRUE(bool(device->upload(results->at(call), wrong)));
        ASSERT_EQ(compare(), std::vector<size_t>{call}) << at << ", " << bit;
        auto seen = results->readDiffering(call);
        ASSERT_TRUE(bool(seen));
        seen->resize(sizes[call]);
        EXPECT_EQ(*seen, wrong) << call << ", " << at;
      }
}

TEST_F(Comparison, SeveralCalls) {
  put();
  for (size_t call : {1, 4, 6}) {
    std::vector<std::byte> wrong = right[call];
    wrong[5] ^= std::byte(64);
    ASSERT_TRUE(bool(device->upload(results->at(call), wrong)));
  }
  EXPECT_EQ(compare(), (std::vector<size_t>{1, 4, 6}));
  put();
  EXPECT_EQ(compare(), std::vector<size_t>());
}

// A call that writes nothing leaves NaNs.
TEST_F(Comparison, NothingWritten) {
  put();
  EXPECT_EQ(compare(), std::vector<size_t>());
  EXPECT_EQ(compare().size(), sizes.size());
}

} // namespace
