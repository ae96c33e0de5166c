//===- RunTest.cpp - quant-run's arrays and its float64 reference ---------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Array.h"
#include "Errors.h"
#include "Reference.h"
#include "TestArtifact.h"
#include "qlinear/Encoding/Archive.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <random>

using namespace qlinear;
using namespace qlinear::run;
using nlohmann::json;

namespace {

std::vector<std::byte> npy(const std::string &header, size_t data, int version = 1) {
  std::string file = "\x93NUMPY";
  file += {char(version), 0, char(header.size()), char(header.size() >> 8)};
  if (version > 1)
    file += std::string(2, '\0');
  file += header + std::string(data, '\1');
  auto *bytes = reinterpret_cast<const std::byte *>(file.data());
  return {bytes, bytes + file.size()};
}
std::string headerOf(const std::string &descr, const std::string &shape,
                     const std::string &order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order +
         ", 'shape': " + shape + ", }\n";
}

TEST(Npy, RoundTrip) {
  for (qlr_dtype t : {QLR_F32, QLR_F16, QLR_BF16, QLR_I8, QLR_I32})
    for (std::vector<int64_t> shape :
         {std::vector<int64_t>{}, {5}, {2, 3}, {0, 4}, {2, 3, 4}}) {
      Array array(t, shape);
      std::vector<float> values(size_t(array.elements()));
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = float(i) - 3;
      array.setFloats(values);
      std::string path = temporary("array.npy");
      Result<OutputFile> file = makeNpy(path, array);
      ASSERT_TRUE(file && file->publish());
      Result<Array> back = readArray(path, QLR_BF16);
      ASSERT_TRUE(bool(back)) << back.error();
      EXPECT_EQ(back->dtype, t);
      EXPECT_EQ(back->shape, shape);
      EXPECT_EQ(back->floats(), values);
    }
}

TEST(Npy, WhatNumpyWrites) {
  for (int version : {1, 2, 3})
    for (const char *descr :
         {"<f4", "<f2", "<V2", "|V2", "<u2", "|i1", "|u1", "<i4", "<f8"}) {
      size_t width = size_t(descr[2] - '0');
      Result<Array> a =
          parseNpy(npy(headerOf(descr, "(3,)"), 3 * width, version), QLR_BF16);
      ASSERT_TRUE(bool(a)) << descr << ": " << a.error();
      EXPECT_EQ(a->shape, std::vector<int64_t>{3});
    }
  EXPECT_TRUE(bool(parseNpy(npy(headerOf("<f4", "()"), 4), QLR_BF16)));
  EXPECT_TRUE(bool(parseNpy(npy(headerOf("<f4", "(2, 1)", "False"), 8), QLR_BF16)));
}

TEST(Npy, Malformed) {
  auto bad = [](std::vector<std::byte> file, const char *part) {
    Result<Array> a = parseNpy(file, QLR_BF16);
    ASSERT_FALSE(bool(a));
    EXPECT_NE(a.error().find(part), std::string::npos) << a.error();
  };
  bad({}, "not a .npy file");
  bad(npy(headerOf("<f4", "(3,)"), 12, 9), ".npy version 9.0 is unknown");
  bad(npy(headerOf("<f4", "(3,)"), 11), "needs 3 x 4 bytes, but 11 follow");
  bad(npy(headerOf("<f4", "(3,)"), 13), "needs 3 x 4 bytes, but 13 follow");
  bad(npy(headerOf(">f4", "(3,)"), 12), "the element type '>f4' cannot be read");
  bad(npy(headerOf("<c8", "(3,)"), 24), "'<c8' cannot be read");
  bad(npy(headerOf("<f4", "(3, 1)", "True"), 12), "Fortran order");
  bad(npy(headerOf("<f4", "(3)"), 12), "is not a dictionary");
  bad(npy(headerOf("<f4", "(-3,)"), 12), "is not a dictionary");
  bad(npy(headerOf("<f4", "(99999999999999999999,)"), 12), "is not a dictionary");
  bad(npy(headerOf("<f4", "(9999999999, 9999999999)"), 12), "absurdly large");
  bad(npy("{'descr': '<f4'}\n", 12), "is not a dictionary");
  bad(npy("__import__('os')\n", 12), "is not a dictionary");
  std::vector<std::byte> lying = npy(headerOf("<f4", "(3,)"), 12);
  lying[9] = std::byte(0xFF);
  bad(lying, "the header's length (at byte 8)");
  // No mutation of a good file crashes, and none is read past its end.
  std::mt19937 random(1);
  std::vector<std::byte> good = npy(headerOf("<f4", "(3, 4)"), 48);
  for (int i = 0; i < 20000; ++i) {
    std::vector<std::byte> file = good;
    for (unsigned n = random() % 4 + 1; n; --n)
      file[random() % file.size()] = std::byte(random());
    file.resize(random() % (file.size() + 1));
    (void)parseNpy(file, QLR_BF16);
  }
}

//===----------------------------------------------------------------------===//
// Reference
//===----------------------------------------------------------------------===//

struct References : testing::Test {
  Archive archive = std::move(*Archive::open(writeTestArchive("w.safetensors")));
  json manifest = testManifest();
  Array constant{QLR_F32, {kN}};
  Weights weights{manifest,
                  [this](size_t) { return archive.weights().begin()->second.blob; },
                  [this](size_t index) -> Result<Array> {
                    if (index)
                      return error("only constant 0 exists");
                    return constant;
                  }};
  std::vector<Array> inputs;
  References() {
    Array x(QLR_F32, {2, kK});
    x.setFloats(randomInput(2));
    inputs.push_back(x);
  }
  Result<std::vector<Matrix>> run(json ops, json outputs, bool quantize = true) {
    json function = {{"name", "f"},
                     {"reference", {{"ops", ops}, {"outputs", outputs}}}};
    return evaluate(function, inputs, weights,
                    quantize ? Quantized::asForFewRows : Quantized::nowhere);
  }
  json linear() {
    return {{"op", "linear"}, {"x", {{"input", 0}}}, {"weights", json::array({0})}};
  }
};

TEST_F(References, LinearIsAProductInFloat64) {
  auto y = run(json::array({linear()}), json::array({{{"result", 0}}}));
  ASSERT_TRUE(bool(y)) << y.error();
  std::vector<double> want = expected(inputs[0].floats());
  ASSERT_EQ((*y)[0].values.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR((*y)[0].values[i], want[i], 1e-12);
}

TEST_F(References, QuantizedActivations) {
  json op = linear();
  op["int8"] = true;
  auto y = run(json::array({op}), json::array({{{"result", 0}}}));
  ASSERT_TRUE(bool(y)) << y.error();
  // The same through quantized activations as an input, and by hand.
  std::vector<float> x = inputs[0].floats();
  for (size_t first = 0; first < x.size(); first += 32) {
    float largest = 0;
    for (size_t i = first; i < first + 32; ++i)
      largest = std::max(largest, std::fabs(x[i]));
    for (size_t i = first; i < first + 32; ++i)
      x[i] = float(std::nearbyint(double(x[i]) * double(127.0f / largest)) *
                   double(largest / 127.0f));
  }
  std::vector<double> want = expected(x);
  inputs[0] = quantizeActivations(randomInput(2), 2, kK);
  auto z = run(json::array({linear()}), json::array({{{"result", 0}}}));
  ASSERT_TRUE(bool(z)) << z.error();
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR((*y)[0].values[i], want[i], 1e-5);
    EXPECT_NEAR((*z)[0].values[i], (*y)[0].values[i], 1e-12);
  }
}

TEST_F(References, BodyExtrasAndChains) {
  Array bias(QLR_F32, {kN});
  std::vector<float> b(size_t(kN), 0);
  for (size_t i = 0; i < b.size(); ++i)
    b[i] = float(i) / 8;
  bias.setFloats(b);
  inputs.push_back(bias);
  json op = linear();
  op["extras"] = json::array({{{"input", 1}}});
  op["body"] = json::parse(R"([
    {"op": "arith.constant", "value": 0.5}, {"op": "arith.mulf", "args": [0, 2]},
    {"op": "arith.addf", "args": [3, 1]}, {"op": "arith.cmpf", "args": [4, 2], "predicate": "ogt"},
    {"op": "arith.select", "args": [5, 4, 2]}, {"op": "math.tanh", "args": [6]}])");
  op["yield"] = {7, 4};
  op["dtypes"] = {"bf16", "f32"};
  auto y = run(json::array({op}), json::array({{{"result", 0}}, {{"result", 1}}}));
  ASSERT_TRUE(bool(y)) << y.error();
  std::vector<double> sums = expected(inputs[0].floats());
  for (size_t i = 0; i < sums.size(); ++i) {
    double v = 0.5 * sums[i] + b[i % b.size()];
    EXPECT_NEAR((*y)[1].values[i], v, 1e-12);
    EXPECT_NEAR((*y)[0].values[i], std::tanh(v > 0.5 ? v : 0.5), 1e-12);
  }
}

TEST_F(References, Norms) {
  Array x = inputs[0];
  json op = {{"op", "norm"},      {"kind", "layer"},
             {"epsilon", 0.25},   {"dtype", "bf16"},
             {"dtypes", {"f32"}}, {"inputs", {{{"input", 0}}, {{"input", 0}}}}};
  auto y = run(json::array({op}), json::array({{{"result", 0}}}));
  ASSERT_TRUE(bool(y)) << y.error();
  std::vector<float> values = x.floats();
  size_t columns = size_t(x.shape.back());
  for (size_t row = 0; row < values.size() / columns; ++row) {
    std::vector<double> s;
    double mean = 0, square = 0;
    for (size_t i = 0; i < columns; ++i)
      s.push_back(bf16ToFloat(floatToBf16(2 * values[row * columns + i])));
    for (double v : s)
      mean += v / double(columns);
    for (double v : s)
      square += (v - mean) * (v - mean) / double(columns);
    for (size_t i = 0; i < columns; ++i)
      EXPECT_NEAR((*y)[0].values[row * columns + i],
                  (s[i] - mean) / std::sqrt(square + 0.25), 1e-12);
  }
}

// Where products are rounded to f16, an output may be off by as much for each.
TEST(Errors, BoundsCountProducts) {
  json function = json::parse(R"({"reference": {"ops": [
    {"op": "linear", "x": {"input": 0}, "weights": [0, 1]},
    {"op": "linear", "x": {"input": 0}, "weights": [0, 1], "yield": [2]},
    {"op": "quantize", "x": {"result": 2}, "k": 96},
    {"op": "linear", "x": {"result": 3}, "weights": [2]}],
    "outputs": [{"result": 1}, {"result": 2}, {"result": 3}, {"result": 4}, {"input": 0}]}})");
  const size_t products[] = {1, 2, 2, 3, 0}, linears[] = {1, 1, 1, 2, 0};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(behindOutput(function, i).products, products[i]) << i;
    EXPECT_EQ(behindOutput(function, i).linears, linears[i]) << i;
  }
  function = json::parse(R"({"reference": {"ops": [
    {"op": "linear", "x": {"input": 0}, "weights": [0]},
    {"op": "norm", "inputs": [{"input": 0}, {"result": 0}], "yield": [0, 1]},
    {"op": "linear", "x": {"input": 0}, "extras": [{"result": 2}], "weights": [1], "yield": [0]}],
    "outputs": [{"result": 2}, {"result": 3}]}})");
  EXPECT_EQ(behindOutput(function, 0).linears, 1u);
  EXPECT_EQ(behindOutput(function, 1).linears, 2u);
  EXPECT_DOUBLE_EQ(boundOf(QLR_F32, false, true, {1, 1}), 2e-3);
  EXPECT_DOUBLE_EQ(boundOf(QLR_F16, false, true, {2, 1}), 4e-3 + 0x1p-11);
  EXPECT_DOUBLE_EQ(boundOf(QLR_F32, false, false, {2, 2}), 2e-5);
  EXPECT_DOUBLE_EQ(boundOf(QLR_BF16, false, true, {0, 0}), 2e-3 + 0x1p-8);
  EXPECT_DOUBLE_EQ(boundOf(QLR_F32, true, false, {2, 1}), 1e-3);
  EXPECT_DOUBLE_EQ(boundOf(QLR_BF16, true, false, {4, 3}), 3e-3 + 3e-3);
}

TEST_F(References, ConstantsOfTheArtifact) {
  std::vector<float> b(size_t(kN), 0);
  for (size_t i = 0; i < b.size(); ++i)
    b[i] = float(i) / 4;
  constant.setFloats(b);
  json op = linear();
  op["extras"] = json::array({{{"constant", 0}}});
  op["body"] = json::parse(R"([{"op": "arith.addf", "args": [0, 1]}])");
  op["yield"] = json::array({2});
  auto y = run(json::array({op}), json::array({{{"result", 0}}}));
  ASSERT_TRUE(bool(y)) << y.error();
  std::vector<double> sums = expected(inputs[0].floats());
  for (size_t i = 0; i < sums.size(); ++i)
    EXPECT_NEAR((*y)[0].values[i], sums[i] + double(b[i % b.size()]), 1e-12);
}

TEST_F(References, MalformedOnesAreErrors) {
  auto fails = [&](json op, const char *part) {
    auto y = run(json::array({op}), json::array({{{"result", 0}}}));
    ASSERT_FALSE(bool(y));
    EXPECT_NE(y.error().find(part), std::string::npos) << y.error();
  };
  json op = linear();
  op["weights"] = json::array({1});
  fails(op, "names weight 1 of 1");
  op = linear();
  op["x"] = {{"input", 3}};
  fails(op, "reads input 3 of 1");
  op["x"] = {{"constant", 1}};
  fails(op, "only constant 0 exists");
  op = linear();
  op["yield"] = json::array({0});
  op["body"] = json::parse(R"([{"op": "arith.addf", "args": [0, 1]}])");
  fails(op, "arith.addf uses value 1, but only 1 come before it");
  op["body"] = json::parse(R"([{"op": "math.tanh", "args": [0, 0]}])");
  fails(op, "math.tanh has 2 arguments, not 1");
  op["body"] = json::parse(R"([{"op": "math.sinh", "args": [0]}])");
  fails(op, "the operation 'math.sinh' is not one that");
  op["body"] =
      json::parse(R"([{"op": "arith.cmpf", "args": [0, 0], "predicate": "gt"}])");
  fails(op, "unknown predicate 'gt'");
  op = linear();
  op["yield"] = json::array({9});
  fails(op, "yields value 9 of 1");
  fails({{"op", "linear"}}, "is malformed");
  fails({{"op", "conv"}}, "unknown op 'conv'");
  json bare = {{"name", "f"}};
  EXPECT_FALSE(bool(evaluate(bare, inputs, weights, Quantized::asForFewRows)));
}

} // namespace
