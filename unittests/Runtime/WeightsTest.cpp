//===- WeightsTest.cpp - What a module says of its weights ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Handles.h"

#include <cstring>
#include <gtest/gtest.h>

// A module says what its weights are, and where they lie.
TEST(Weights, AreDescribed) {
  TestArtifact test;
  Device device("cpu:1");
  Module bare(device, test.descriptor(), "");
  Module full(device, test.descriptor(), writeTestArchive("w.safetensors"));
  const TestWeight &w = testWeight();
  qlr_weight said;
  EXPECT_EQ(qlr_module_weight_count(bare), 1);
  EXPECT_EQ(qlr_module_weight_index(bare, "w"), 0);
  EXPECT_EQ(qlr_module_weight_index(bare, "v"), -1);
  EXPECT_EQ(qlr_module_weight_count(nullptr), 0);
  EXPECT_EQ(qlr_module_weight_index(bare, nullptr), -1);
  ASSERT_EQ(qlr_module_weight(bare, 0, &said), QLR_OK);
  EXPECT_STREQ(said.name, "w");
  EXPECT_STREQ(said.encoding, kEncoding);
  EXPECT_EQ(said.n, kN);
  EXPECT_EQ(said.k, kK);
  EXPECT_EQ(said.bytes, w.size);
  EXPECT_EQ(said.data, nullptr);
  EXPECT_EQ(qlr_module_set_weight(bare, "w", w.blob, w.size), QLR_OK);
  ASSERT_EQ(qlr_module_weight(bare, 0, &said), QLR_OK);
  EXPECT_EQ(said.data, w.blob);
  ASSERT_EQ(qlr_module_weight(full, 0, &said), QLR_OK);
  ASSERT_NE(said.data, nullptr);
  EXPECT_EQ(std::memcmp(said.data, w.blob, w.size), 0);
  for (int32_t none : {-1, 1})
    EXPECT_EQ(qlr_module_weight(bare, none, &said), QLR_NOT_FOUND);
  EXPECT_EQ(std::string(qlr_last_error()), "weight 1 of an artifact with 1");
  EXPECT_EQ(qlr_module_weight(bare, 0, nullptr), QLR_INVALID_ARGUMENT);
}
