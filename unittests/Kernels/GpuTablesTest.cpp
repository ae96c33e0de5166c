//===- GpuTablesTest.cpp - Codes of a table on the emulated device --------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "GpuLinear.h"

using namespace qlinear;
using namespace gpu_linear;

// Products row by row and on tensor cores, of int8 and of floats, for every number of
// rows.
TEST(GpuKernelsTest, CodesOfATable) {
  std::mt19937_64 rng(23);
  int i = 0;
  for (bool floats : {false, true})
    for (const char *dot : {floats ? "fma" : "dp4a", "mma"})
      for (int rows : {1, 2, 3, 4, 5, 6, 7, 8}) {
        // Each table with each kind of product and activations.
        std::string text =
            layout::kTables[(i + i / 8) % std::size(layout::kTables)].name;
        text += std::array{", group = 32, symmetric, scale = u8 * row<f32>",
                           ", group = 16, symmetric, scale = bf16",
                           ", group = 64, min, scale = f16, offset = f16",
                           ", group = row, zero, scale = f32, offset = i8",
                           ", group = 16, zero, scale = bf16, offset = u4"}[i % 5];
        Case c{parse(text.c_str()),
               23,
               i % 3 ? uint64_t(576) : 512,
               FloatType(i % 3),
               FloatType::f32,
               rows,
               "rows = [" + std::to_string(rows) + "], grid = 1, warps = 3, dot = " +
                   dot + ", copy = " + (i % 2 ? "bulk" : "async"),
               floats};
        EXPECT_LE(errorOf(c, rng, uint64_t(i++)), floats ? 1e-5 : 1e-3) << describe(c);
      }
}
