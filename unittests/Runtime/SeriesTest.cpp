//===- SeriesTest.cpp - Wrong results of timed calls are noticed ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The kernel is plain C++ here. It makes mistakes when it is told to.
//
//===----------------------------------------------------------------------===//

#include "Series.h"
#include "TestArtifact.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace qlinear;
using namespace qlinear::timing;
using nlohmann::json;

namespace {

constexpr int64_t kRows = 3;

/// What call number `call` (from 0) does besides its job, to its results.
using Mistake = std::function<void(size_t call, float *y)>;
struct {
  size_t calls = 0;
  bool writes = true;
  Mistake mistake;
} kernelState;

/// y = x W^T of quantized x, in float64.
void multiply(void *const *args, int32_t rows, int64_t begin, int64_t) {
  if (begin != 0)
    return;
  size_t call = kernelState.calls++;
  Encoding encoding = *Encoding::parse(kEncoding);
  auto *blob = static_cast<const std::byte *>(args[0]);
  std::span<const std::byte> bytes(blob, layoutOf(encoding, kN, kK).bytes());
  AffineWeight w = *decode(*unpack(encoding, kN, kK, bytes));
  auto *x = static_cast<const float *>(args[1]);
  auto *y = static_cast<float *>(args[2]);
  run::Matrix exact =
      run::quantizedValues({rows, kK, std::vector<double>(x, x + rows * kK)});
  run::Matrix result = run::product(exact, w);
  if (kernelState.writes)
    for (size_t i = 0; i < result.values.size(); ++i)
      y[i] = float(result.values[i]);
  if (kernelState.mistake)
    kernelState.mistake(call, y);
}

struct SeriesOfCalls : testing::Test {
  TestArtifact test;
  json manifest;
  std::unique_ptr<timing::Device> device;
  qlr_artifact *artifact = nullptr;
  qlr_module *module = nullptr;
  std::optional<TimedWeights> weights;
  std::unique_ptr<TimedLinear> linear;

  void SetUp() override {
    kernelState = {};
    json tensorX = {{"dtype", "f32"}, {"shape", json::array({-1, kK})}};
    json tensorY = {{"dtype", "f32"}, {"shape", json::array({-1, kN})}};
    json kernel = {{"rows", kRows}, {"name", "multiply"}, {"items", 1}};
    json x = {{"input", 0}, {"row_stride", 4 * kK}};
    json y = {{"output", 0}, {"row_stride", 4 * kN}};
    json op = {{"op", "linear"},
               {"x", {{"input", 0}}},
               {"weights", json::array({0})},
               {"int8", true}};
    json function = {
        {"name", "f"},
        {"inputs", json::array({tensorX})},
        {"outputs", json::array({tensorY})},
        {"steps", json::array({{{"kernels", json::array({kernel})},
                                {"args", json::array({{{"weight", 0}}, x, y})}}})},
        {"reference",
         {{"ops", json::array({op})}, {"outputs", json::array({{{"result", 0}}})}}}};
    test.manifest["targets"] = json::array(
        {{{"target", "cpu:portable"}, {"functions", json::array({function})}}});
    test.setKernel("cpu:portable/multiply", reinterpret_cast<void *>(multiply));
    device = std::move(*timing::Device::open("cpu:1"));
    ASSERT_EQ(qlr_artifact_from_descriptor(test.descriptor(), &artifact), QLR_OK)
        << qlr_last_error();
    ASSERT_EQ(qlr_module_load(device->handle(), artifact, nullptr, &module), QLR_OK)
        << qlr_last_error();
    manifest = json::parse(qlr_artifact_manifest(artifact));
    weights.emplace(*device, manifest);
    auto made = TimedLinear::create(*device, module, *weights, "f", kRows);
    ASSERT_TRUE(bool(made)) << made.error();
    linear = std::move(*made);
    ASSERT_TRUE(bool(linear->makeCopies(3)));
  }
  void TearDown() override {
    linear.reset();
    weights.reset();
    qlr_module_unload(module);
    qlr_artifact_close(artifact);
  }

  /// Six calls over three copies, the first time and three more: the mistakes are in
  /// calls 0 to 23.
  Verdict run(Mistake mistake, int64_t rows = kRows) {
    kernelState.calls = 0;
    kernelState.mistake = std::move(mistake);
    std::vector<Series::Call> calls;
    for (size_t i = 0; i < 6; ++i)
      calls.push_back({linear.get(), i % 3});
    auto series = std::move(*Series::create(*device, calls, rows));
    EXPECT_TRUE(bool(series->verify()));
    for (int i = 0; i < 3; ++i)
      EXPECT_TRUE(bool(series->time({1, 1, 0})));
    EXPECT_EQ(kernelState.calls, 24u);
    return series->verdict();
  }
};

TEST_F(SeriesOfCalls, GoodOnes) {
  for (int64_t rows : {1, 2, 3}) {
    Verdict v = run({}, rows);
    EXPECT_EQ(v.calls, 24u);
    EXPECT_EQ(v.wrong, 0u) << v.first;
    EXPECT_LE(v.error, 1e-6);
    EXPECT_EQ(v.first, "");
  }
}

// By the clock of the machine, each of the calls is checked, too.
TEST_F(SeriesOfCalls, TimedOnTheHost) {
  for (bool bad : {false, true}) {
    kernelState = {};
    auto series =
        std::move(*Series::create(*device, {{linear.get(), 0}, {linear.get(), 1}}, 2));
    ASSERT_TRUE(bool(series->verify()));
    if (bad)
      kernelState.mistake = [](size_t call, float *y) { y[5] += call == 7; };
    Result<timing::Timing> timing = series->timeOnHost({3, 3, 0});
    ASSERT_TRUE(bool(timing));
    EXPECT_EQ(timing->samples, 3u);
    EXPECT_GT(timing->median, 0);
    EXPECT_EQ(kernelState.calls, 12u); // verified, two to warm up, three
    EXPECT_EQ(series->verdict().calls, 12u);
    EXPECT_EQ(series->verdict().wrong, size_t(bad));
  }
}

// A single wrong number in any call: the first ones against float64, the others by
// bits.
TEST_F(SeriesOfCalls, OneNumberOfOneCall) {
  for (size_t bad : {0, 4, 6, 17, 23})
    for (int64_t at : {int64_t(0), 2 * kN + 17, kRows * kN - 1}) {
      Verdict v = run([&](size_t call, float *y) {
        if (call == bad)
          y[at] += 10;
      });
      // What is wrong the first time differs from all that follow.
      EXPECT_EQ(v.wrong, bad < 6 ? 4u : 1u) << bad << ", " << at;
      EXPECT_GT(v.error, 1) << bad;
      std::string place =
          "y0[" + std::to_string(at / kN) + ", " + std::to_string(at % kN) + "] is ";
      EXPECT_NE(v.first.find(place), std::string::npos) << v.first;
      EXPECT_EQ(v.first.rfind("call " + std::to_string(bad % 6 + 1) + " of 6: ", 0), 0u)
          << v.first;
    }
}

// The last bit of a number is beyond no bound, but it differs.
TEST_F(SeriesOfCalls, OneBit) {
  Verdict v = run([](size_t call, float *y) {
    if (call == 20)
      y[40] = std::bit_cast<float>(std::bit_cast<uint32_t>(y[40]) ^ 1);
  });
  EXPECT_EQ(v.wrong, 1u);
  EXPECT_NE(v.first.find("differs in bits from the first time; 0 of 144 results are "
                         "beyond the bound"),
            std::string::npos)
      << v.first;
  // The first time, calls with the same weights have to agree too.
  v = run([](size_t call, float *y) {
    if (call == 4)
      y[40] = std::bit_cast<float>(std::bit_cast<uint32_t>(y[40]) ^ 1);
  });
  EXPECT_EQ(v.wrong, 4u);
  EXPECT_NE(v.first.find("differs in bits from call 2 with the same weights"),
            std::string::npos)
      << v.first;
}

TEST_F(SeriesOfCalls, NothingIsWritten) {
  kernelState.writes = false;
  EXPECT_EQ(run({}).wrong, 6u); // NaNs the first time, the same ones after it
  kernelState = {};
  Verdict v = run([](size_t call, float *) { kernelState.writes = call != 12; });
  EXPECT_EQ(v.wrong, 1u); // call 13 wrote nothing, and the place has no old result
}

// Not a number, only sometimes.
TEST_F(SeriesOfCalls, NotANumber) {
  Verdict v = run([](size_t call, float *y) {
    if (call == 9)
      y[3] = NAN;
  });
  EXPECT_EQ(v.wrong, 1u);
  EXPECT_TRUE(std::isinf(v.error));
}

// Weights of another copy, x of another row: each row and copy has its own results.
TEST_F(SeriesOfCalls, RowsAndCopiesDiffer) {
  Verdict v = run([](size_t call, float *y) {
    if (call == 1)
      std::swap_ranges(y, y + kN, y + kN);
  });
  EXPECT_EQ(v.wrong, 4u);
  std::vector<std::byte> y(linear->resultBytes(kRows));
  kernelState.mistake = {};
  ASSERT_TRUE(bool(linear->enqueue(1, kRows, y.data(), nullptr)));
  EXPECT_EQ(linear->judge(1, kRows, y).wrong, 0u);
  EXPECT_GT(linear->judge(0, kRows, y).wrong, 0u);
  EXPECT_GT(linear->judge(2, kRows, y).wrong, 0u);
}

TEST_F(SeriesOfCalls, OtherFunctionsAreRefused) {
  auto none = TimedLinear::create(*device, module, *weights, "g", 1);
  ASSERT_FALSE(bool(none));
  EXPECT_EQ(none.error(), "function 'g' is not in the artifact");
}

} // namespace
