//===- TimingTest.cpp - Timing of graphs, weights to measure with ---------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaTest.h"
#include "GraphTimer.h"
#include "TimedWeight.h"

#include <algorithm>
#include <cmath>

using namespace qlinear;
using namespace qlinear::timing;

namespace {

/// The fake driver says that every replay takes a millisecond.
struct GraphTiming : Cuda {};

TEST_F(GraphTiming, ReplaysUntilThereAreEnough) {
  auto timer = GraphTimer::open("cuda:0");
  ASSERT_TRUE(bool(timer)) << timer.error();
  EXPECT_EQ((*timer)->deviceName(), "Fake GPU");
  struct {
    Replays replays;
    size_t samples;
  } cases[] = {{{5, 5, 0}, 5}, {{3, 100, 0.01}, 10}, {{3, 7, 1}, 7}, {{20, 7, 1}, 20}};
  for (auto &c : cases) {
    int captured = 0;
    size_t before = fake.calls().size();
    auto timing = (*timer)->time(c.replays, [&]() -> Result<void> {
      ++captured;
      return {};
    });
    ASSERT_TRUE(bool(timing)) << timing.error();
    EXPECT_EQ(captured, 1);
    EXPECT_EQ(timing->samples, c.samples);
    EXPECT_NEAR(timing->median, 1e-3, 1e-9);
    auto calls = fake.calls();
    EXPECT_EQ(size_t(std::count(calls.begin() + long(before), calls.end(),
                                std::string("cuGraphLaunch"))),
              c.samples + 2);
  }
}

TEST_F(GraphTiming, FailuresLeaveNothing) {
  auto timer = GraphTimer::open("cuda");
  ASSERT_TRUE(bool(timer)) << timer.error();
  auto refused =
      (*timer)->time({}, []() -> Result<void> { return error("not this one"); });
  ASSERT_FALSE(bool(refused));
  EXPECT_EQ(refused.error(), "not this one");
  for (const char *call :
       {"cuStreamBeginCapture_v2", "cuGraphInstantiate_v2", "cuGraphLaunch",
        "cuEventRecord", "cuEventSynchronize", "cuEventElapsedTime"}) {
    fake.failNext(call, 1, 999);
    auto failed = (*timer)->time({}, []() -> Result<void> { return {}; });
    ASSERT_FALSE(bool(failed)) << call;
    std::string plain = call;
    EXPECT_TRUE(contains(failed.error(), plain.substr(0, plain.find("_v2"))))
        << failed.error();
  }
  EXPECT_FALSE(bool(GraphTimer::open("cuda:7")));
}

TEST(Timing, MedianLeastAndMost) {
  timing::Timing t = summarize({3, 1, 2, 9, 5});
  EXPECT_EQ(t.median, 3);
  EXPECT_EQ(t.least, 1);
  EXPECT_EQ(t.most, 9);
  EXPECT_EQ(t.samples, 5u);
  EXPECT_EQ(copiesPastCaches(uint64_t(1) << 31), 2u);
  EXPECT_GE(copiesPastCaches(12 << 20) * (12 << 20), uint64_t(320) << 20);
}

// The hook runs after each replay, and a replay that is not timed goes before each.
TEST_F(GraphTiming, ChecksAfterEachReplay) {
  auto timer = GraphTimer::open("cuda:0");
  ASSERT_TRUE(bool(timer)) << timer.error();
  size_t checks = 0, before = fake.calls().size();
  auto nothing = []() -> Result<void> { return {}; };
  auto timing = (*timer)->time({5, 5, 0}, nothing, [&]() -> Result<void> {
    ++checks;
    return {};
  });
  ASSERT_TRUE(bool(timing)) << timing.error();
  EXPECT_EQ(checks, 7u);
  auto calls = fake.calls();
  EXPECT_EQ(std::count(calls.begin() + long(before), calls.end(),
                       std::string("cuGraphLaunch")),
            2 + 2 * 5);
  auto refused = (*timer)->time({5, 5, 0}, nothing,
                                []() -> Result<void> { return error("wrong"); });
  ASSERT_FALSE(bool(refused));
  EXPECT_EQ(refused.error(), "wrong");
}

// Whatever its encoding, a random weight decodes to numbers of a sensible size, with
// every code in use, also where neither N nor K fills a tile or a unit; and its rows
// are those that it says, also of its other copies.
TEST(Timing, TimedWeightsDecode) {
  for (const char *spelled :
       {"u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>",
        "u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, "
        "f16>",
        "u4, group = 32, zero, scale = u8 * block<256, f16>, offset = u8 * block<256, "
        "f16>",
        "u4, group = 32, zero, scale = delta12 * row<bf16>, offset = u4",
        "u4, group = 32, zero, scale = log8 * row<f32>, offset = u4",
        "i6, group = 16, symmetric, scale = i8 * row<bf16>",
        "i6, group = 16, symmetric, scale = i8 * block<256, f16>",
        "u8, group = row, min, scale = f16, offset = f16",
        "i8, group = 32, symmetric, scale = f16"}) {
    Encoding encoding = *Encoding::parse(spelled);
    constexpr uint64_t kRows = 300, kColumns = 416;
    auto weight = TimedWeight::random(encoding, kRows, kColumns);
    ASSERT_TRUE(bool(weight)) << spelled << ": " << weight.error();
    ASSERT_EQ(weight->blob().size(), layoutOf(encoding, kRows, kColumns).bytes());
    for (uint64_t copy : {0, 1, 7, 19}) {
      std::vector<std::byte> blob(weight->blob().size());
      for (TimedWeight::Part part : weight->parts(copy))
        std::copy_n(weight->blob().begin() + long(part.from), part.bytes,
                    blob.begin() + long(part.to));
      if (copy == 0)
        EXPECT_TRUE(std::ranges::equal(blob, weight->blob())) << spelled;
      auto coded = unpack(encoding, kRows, kColumns, blob);
      ASSERT_TRUE(bool(coded)) << spelled << ": " << coded.error();
      std::vector<int> used(size_t(1) << encoding.codes.bits);
      for (uint8_t field : coded->fields)
        ++used[field];
      EXPECT_EQ(std::count(used.begin(), used.end(), 0), 0) << spelled;
      auto exact = decode(*coded);
      ASSERT_TRUE(bool(exact)) << spelled << ": " << exact.error();
      double sum = 0, most = 0;
      size_t differing = 0;
      for (uint64_t n = 0; n < kRows; ++n)
        for (uint64_t k = 0; k < kColumns; ++k) {
          double w = exact->weight(n, k);
          sum += std::abs(w);
          most = std::max(most, std::abs(w));
          differing += w != weight->rows().weight(weight->rowOf(copy, n), k);
        }
      EXPECT_LT(most, 50) << spelled; // results of long rows fit f16
      EXPECT_GT(sum / double(kRows * kColumns), 1e-4) << spelled;
      EXPECT_EQ(differing, 0u) << spelled << ", copy " << copy;
    }
  }
}

// A given weight has its own values; its copies are rotated, but for a tile that is not
// full.
TEST(Timing, GivenWeights) {
  Encoding encoding = *Encoding::parse(
      "u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * "
      "block<256, f16>");
  for (uint64_t N : {7, 16, 40, 64}) {
    auto random = TimedWeight::random(encoding, N, 320);
    ASSERT_TRUE(bool(random)) << random.error();
    EncodedWeight coded = *unpack(encoding, N, 320, random->blob());
    AffineWeight want = *decode(coded);
    auto weight = TimedWeight::of(coded);
    ASSERT_TRUE(bool(weight)) << weight.error();
    for (uint64_t copy : {0, 1, 5}) {
      std::vector<std::byte> blob(weight->blob().size());
      for (TimedWeight::Part part : weight->parts(copy))
        std::copy_n(weight->blob().begin() + long(part.from), part.bytes,
                    blob.begin() + long(part.to));
      AffineWeight got = *decode(*unpack(encoding, N, 320, blob));
      size_t differing = 0, moved = 0;
      for (uint64_t n = 0; n < N; ++n)
        for (uint64_t k = 0; k < 320; ++k) {
          differing += got.weight(n, k) != want.weight(weight->rowOf(copy, n), k);
          moved += got.weight(n, k) != want.weight(n, k);
        }
      EXPECT_EQ(differing, 0u) << N << ", " << copy;
      EXPECT_EQ(moved > 0, copy > 0 && N >= 32) << N << ", " << copy;
    }
  }
}

} // namespace
