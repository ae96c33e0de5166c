//===- GpuKernelsTest.cpp - GPU kernels on the emulated device ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels that qlinear-to-gpu makes, retargeted to the host and compared with
// float64 over the dequantized weights and the int8-quantized activations.
//
//===----------------------------------------------------------------------===//
#include "GpuLinear.h"

#include <map>
#include <numeric>

using namespace qlinear;
using namespace gpu_linear;

namespace {

const char *const kRowU8 =
    "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>";
const char *const kQ4K =
    "u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>";
const char *const kQ6K = "i6, group = 16, symmetric, scale = i8 * block<256, f16>";

TEST(GpuKernelsTest, MainEncodings) {
  std::mt19937_64 rng(1);
  for (const char *text : {kRowU8, kQ4K, kQ6K})
    for (int rows : {1, 2, 3, 8}) {
      Case c{parse(text),
             100,
             1280,
             FloatType::bf16,
             FloatType::f32,
             rows,
             "copy = load, rows = [" + std::to_string(rows == 3 ? 4 : rows) + "]"};
      EXPECT_LE(errorOf(c, rng), 1e-3) << describe(c);
    }
}

TEST(GpuKernelsTest, CopyModes) {
  std::mt19937_64 rng(2);
  for (const char *copy : {"bulk", "async", "load"})
    for (const char *text : {kRowU8, kQ4K, kQ6K})
      for (uint64_t K : {256, 384, 512, 1056}) {
        Case c{parse(text),
               40,
               K,
               FloatType::bf16,
               FloatType::f32,
               2,
               std::string("rows = [2], grid = 2, warps = 4, copy = ") + copy};
        EXPECT_LE(errorOf(c, rng, K), 1e-3) << describe(c);
      }
}

// From 3 tokens on kernels use tensor cores, for every width of codes and both widths
// of products.
TEST(GpuKernelsTest, TensorCores) {
  std::mt19937_64 rng(7);
  const char *copies[] = {"bulk", "async"};
  int i = 0;
  for (const char *bits : {"2", "3", "4", "5", "6", "8"})
    for (const char *form :
         {"u%s, group = 16, zero, scale = u8 * row<bf16>, offset = u4",
          "i%s, group = 16, symmetric, scale = bf16",
          "u%s, group = 64, min, scale = f16, offset = f16",
          "i%s, group = 32, symmetric, scale = u8 * row<f32>"}) {
      Case c{parse(std::string(form).replace(1, 2, bits).c_str()),
             23,
             i % 3 ? uint64_t(576) : 512,
             FloatType::bf16,
             FloatType::f32,
             std::array{3, 4, 7, 8}[size_t(i % 4)],
             std::string("rows = [") + (i % 4 < 2 ? "4" : "8") +
                 "], grid = 1, warps = 3, stages = 3, copy = " + copies[i % 2]};
      EXPECT_LE(errorOf(c, rng, uint64_t(i++)), 1e-3) << describe(c);
    }
}

// Blocks of a cluster that share K, with and without phases.
TEST(GpuKernelsTest, SplitK) {
  std::mt19937_64 rng(8);
  for (int split : {2, 3, 4})
    for (int rows : {1, 2, 4, 8}) {
      const char *text = rows <= 2 ? kQ4K : split == 2 ? kQ6K : kRowU8;
      Case c{parse(text),
             150,
             3072,
             FloatType::bf16,
             FloatType::f32,
             rows,
             "rows = [" + std::to_string(rows) +
                 "], grid = 12, warps = 3, pdl = false, split_k = " +
                 std::to_string(split)};
      EXPECT_LE(errorOf(c, rng, uint64_t(rows)), 1e-3) << describe(c);
    }
  Case phases{parse(kRowU8),
              40,
              43008,
              FloatType::bf16,
              FloatType::f32,
              8,
              "rows = [8], grid = 2, warps = 4, copy = bulk, split_k = 2, pdl = false"};
  EXPECT_LE(errorOf(phases, rng), 1e-3) << describe(phases);
}

// A ring whose last stage is filled after the loads of x, and whose first units are
// taken before x is quantized: more and fewer units than stages, warps without any, a
// tail unit, one to five stages, every kind of copy; and rows for which all starts
// early.
TEST(GpuKernelsTest, LastStageFollows) {
  std::mt19937_64 rng(19);
  uint64_t i = 0;
  for (int stages : {1, 2, 3, 5})
    for (uint64_t K : {256, 3072, 5088})
      for (int rows : {1, 1, 2, 4}) {
        const char *text = std::array{kRowU8, kQ4K, kQ6K}[i % 3];
        const char *copy = std::array{"bulk", "async", "bulk", "load"}[i / 4 % 4];
        Case c{parse(text),
               i % 2 ? 50u : 7u,
               K,
               std::array{FloatType::bf16, FloatType::f32}[i % 2],
               FloatType::f32,
               rows,
               "pdl = true, rows = [" + std::to_string(rows) +
                   "], grid = 3, warps = 2, copy = " + copy +
                   (copy[0] == 'l' ? "" : ", stages = " + std::to_string(stages))};
        EXPECT_LE(errorOf(c, rng, i++), 1e-3) << describe(c);
      }
}

const char *const kSmall = "rows = [1], grid = 1, warps = 2, copy = bulk, pdl = false";

// Activations that do not fit into shared memory at once: K in phases.
TEST(GpuKernelsTest, Phases) {
  std::mt19937_64 rng(5);
  for (const char *text : {kRowU8, kQ6K}) {
    Case c{parse(text),
           20,
           21504 + 96,
           FloatType::bf16,
           FloatType::f32,
           8,
           "rows = [8], grid = 1, warps = 4, copy = bulk, pdl = false"};
    EXPECT_LE(errorOf(c, rng), 1e-3) << describe(c);
  }
}

TEST(GpuKernelsTest, EveryStorage) {
  std::mt19937_64 rng(3);
  for (unsigned group : {16u, 0u})
    for (const MetaStorage &scale : reference::allStorages(true, group)) {
      Case c{{{4, true}, group, Form::symmetric, scale, {}},
             17,
             320,
             FloatType::bf16,
             FloatType::f32,
             1,
             kSmall};
      EXPECT_LE(errorOf(c, rng), 1e-3) << describe(c);
    }
  for (Form form : {Form::zero, Form::min, Form::centred})
    for (const MetaStorage &offset : reference::allStorages(false, 32)) {
      MetaStorage scale =
          MetaStorage::linear(8, false, StepScope::row, FloatType::bf16);
      Case c{{{4, false}, 32, form, scale, offset},
             17,
             320,
             FloatType::bf16,
             FloatType::f32,
             1,
             kSmall};
      EXPECT_LE(errorOf(c, rng), 1e-3) << describe(c);
    }
}

// Fields at odd places: floats after an odd number of 6-, 10- and 12-bit fields.
TEST(GpuKernelsTest, UnalignedFields) {
  std::mt19937_64 rng(6);
  for (const char *scale : {"u6 * row<bf16>", "delta10 * row<bf16>", "log4 * row<f32>"})
    for (const char *offset :
         {"bf16", "f16", "f32", "u6", "i8 * block<256, f32>", "delta12 * row<bf16>"})
      for (const char *group : {"16", "32", "256"}) {
        Case c{parse((std::string("u5, group = ") + group + ", min, scale = " + scale +
                      ", offset = " + offset)
                         .c_str()),
               17,
               512,
               FloatType::f32,
               FloatType::f32,
               1,
               kSmall};
        EXPECT_LE(errorOf(c, rng), 1e-3) << describe(c);
      }
}

TEST(GpuKernelsTest, RandomEncodingsAndShapes) {
  std::mt19937_64 rng(4);
  for (int i = 0; i < 40; ++i) {
    Encoding e = reference::randomEncoding(rng);
    auto shapes = reference::oddShapes(e.group);
    auto shape = shapes[rng() % shapes.size()];
    const char *copies[] = {"bulk", "async", "load"};
    Case c{e,
           shape.N,
           shape.K,
           FloatType(rng() % 3),
           FloatType(rng() % 3),
           int(rng() % 8) + 1,
           "rows = [8], grid = " + std::to_string(rng() % 2 * 2 + 2) + ", warps = " +
               std::to_string(rng() % 5 + 1) + ", copy = " + copies[rng() % 3] +
               ", pdl = false, split_k = " + (shape.K % 512 ? "1" : "2")};
    EXPECT_LE(errorOf(c, rng, uint64_t(i)), c.y == FloatType::f32 ? 1e-3 : 4e-3)
        << describe(c);
  }
}

enum class Becomes { nan, zero, reference, nonzero, anything };

/// Bits of elements, by type of x, and what becomes of the results of a token in which
/// one element, or all, have them: beyond 2^100 sums in f32 may overflow
/// (f16 has its largest there).
struct Extreme {
  const char *name;
  uint32_t bits[3]; ///< bf16, f16, f32
  bool all;
  Becomes becomes;
};
const Extreme kExtremes[] = {
    {"NaN", {0x7FC0, 0x7E00, 0x7FC00000}, false, Becomes::nan},
    {"negative, signalling NaN", {0xFF81, 0xFC01, 0xFF800001}, false, Becomes::nan},
    {"infinity", {0x7F80, 0x7C00, 0x7F800000}, false, Becomes::nan},
    {"-infinity", {0xFF80, 0xFC00, 0xFF800000}, false, Becomes::nan},
    {"only NaN", {0x7FFF, 0x7FFF, 0x7FFFFFFF}, true, Becomes::nan},
    {"2^100", {0x7180, 0x7BFF, 0x71800000}, false, Becomes::reference},
    {"-2^100", {0xF180, 0xFBFF, 0xF1800000}, false, Becomes::reference},
    {"largest", {0x7F7F, 0x7BFF, 0x7F7FFFFF}, false, Becomes::anything},
    {"-largest", {0xFF7F, 0xFBFF, 0xFF7FFFFF}, true, Becomes::anything},
    {"denormal", {0x8001, 0x8001, 0x80000001}, false, Becomes::reference},
    {"-0", {0x8000, 0x8000, 0x80000000}, true, Becomes::zero},
    {"largest below 2^-119", {0x03FF, 0x0000, 0x03FFFFFF}, true, Becomes::zero},
    {"smallest denormal", {0x8001, 0x0000, 0x00000001}, true, Becomes::zero},
    {"2^-119", {0x0400, 0x0001, 0x04000000}, true, Becomes::nonzero},
};

/// x, and the results of the compiled linear for it.
struct ExtremeRun {
  std::vector<std::byte> x;
  std::vector<float> y;
};

class Extremes {
public:
  Extremes(const Case &c, std::mt19937_64 &rng)
      : c(c), compiled(sourceOf(c)), rng(rng),
        weight(reference::randomEncoded(c.encoding, c.N, c.K, rng)) {
    // Weights so small that no result overflows, and no intermediate one.
    for (auto *steps : {&weight.scaleSteps, &weight.offsetSteps})
      for (uint32_t &step : *steps)
        step = c.encoding.scale.type == FloatType::bf16 ? 0x3780 : 0x0400; // 2^-16, -14
    for (uint64_t n = 0; n < c.N; ++n)
      for (uint64_t k = 0; k < c.K; ++k)
        weights.push_back(reference::weight(weight, n, k));
  }

  ExtremeRun run(std::vector<std::byte> x, int rows) {
    Device blob(packed(weight)), input(x);
    ExtremeRun result{x, std::vector<float>(rows * c.N, 1.0f)};
    if (c.schedule.find("separate") == std::string::npos) {
      compiled.run(0, {blob.memory.get(), input.memory.get(), result.y.data()}, rows,
                   0);
      return result;
    }
    Device activations(
        std::vector<std::byte>(rows * layout::ActivationLayout{c.K}.bytes()));
    compiled.run(0, {input.memory.get(), activations.memory.get()}, rows, 0);
    compiled.run(1, {blob.memory.get(), activations.memory.get(), result.y.data()},
                 rows, 0);
    return result;
  }

  void put(std::vector<std::byte> &x, int token, const Extreme &e) {
    size_t width = byteWidth(c.x), some = rng() % c.K;
    for (size_t k = 0; k < c.K; ++k)
      if (e.all || k == some)
        std::memcpy(&x[(token * c.K + k) * width], &e.bits[int(c.x)], width);
  }

  /// Whether the results of a token are as they should be.
  void check(const ExtremeRun &result, int token, Becomes becomes) {
    if (becomes == Becomes::anything)
      return;
    std::vector<float> x(c.K);
    for (size_t k = 0; k < c.K; ++k)
      x[k] = float(elementAt(result.x, token * c.K + k, c.x));
    std::vector<double> q = quantized(x, c.K, c.x);
    double error = 0, norm = 0;
    int nans = 0, zeros = 0;
    for (uint64_t n = 0; n < c.N; ++n) {
      float got = result.y[token * c.N + n];
      double want = std::inner_product(q.begin(), q.end(), &weights[n * c.K], 0.0);
      nans += std::isnan(got), zeros += got == 0;
      error += (got - want) * (got - want), norm += want * want;
    }
    EXPECT_EQ(nans, becomes == Becomes::nan ? int(c.N) : 0);
    if (becomes == Becomes::reference)
      EXPECT_LE(std::sqrt(error / norm), 1e-4);
    else if (becomes == Becomes::zero)
      EXPECT_EQ(zeros, int(c.N));
    else if (becomes == Becomes::nonzero)
      EXPECT_LT(zeros, int(c.N));
  }

  const Case c;
  Compiled compiled;
  std::mt19937_64 &rng;
  EncodedWeight weight;
  std::vector<double> weights;
};

// Exactly the tokens with a NaN or an infinity are NaN; the others have the bits that
// they have without them.
TEST(GpuKernelsTest, ExtremeActivations) {
  std::mt19937_64 rng(23);
  const struct {
    const char *encoding, *schedule;
    FloatType x;
  } cases[] = {{kRowU8, "rows = [1, 2, 4, 8], stages = 3", FloatType::bf16},
               {kQ4K, "rows = [1, 4, 8], copy = async", FloatType::f16},
               {kQ6K, "rows = [2, 8], stages = 1", FloatType::f32},
               {kQ6K, "rows = [2, 8], quantize = separate", FloatType::bf16},
               {kRowU8, "rows = [4, 8], quantize = separate", FloatType::f16},
               {kQ4K, "rows = [1, 8], quantize = separate", FloatType::f32}};
  for (auto [encoding, schedule, x] : cases) {
    Case c{parse(encoding), 20, 1056, x};
    c.schedule = std::string("grid = 2, warps = 3, ") + schedule;
    Extremes extremes(c, rng);
    ASSERT_TRUE(bool(extremes.compiled)) << describe(c);
    for (int rows = 1; rows <= 8; ++rows) {
      std::vector<float> values(rows * c.K);
      for (float &v : values)
        v = float(reference::normal(rng));
      ExtremeRun before = extremes.run(toElements(values, c.x), rows);
      for (int i = 0; i < int(std::size(kExtremes)); ++i) {
        // One token of this kind, and, where there are more than two, one of another.
        std::map<int, const Extreme *> special{{i % rows, &kExtremes[i]}};
        if (rows > 2)
          special.try_emplace((i + 1) % rows,
                              &kExtremes[(i + 5) % std::size(kExtremes)]);
        std::vector<std::byte> bytes = before.x;
        for (auto [token, extreme] : special)
          extremes.put(bytes, token, *extreme);
        ExtremeRun after = extremes.run(bytes, rows);
        for (int token = 0; token < rows; ++token) {
          auto found = special.find(token);
          SCOPED_TRACE(describe(c) + ": token " + std::to_string(token) + " of " +
                       std::to_string(rows) + " is " +
                       (found == special.end() ? "ordinary" : found->second->name));
          if (found != special.end())
            extremes.check(after, token, found->second->becomes);
          else
            EXPECT_EQ(std::memcmp(&after.y[token * c.N], &before.y[token * c.N],
                                  c.N * sizeof(float)),
                      0);
        }
      }
      for (int token = 0; token < rows; ++token)
        extremes.check(before, token, Becomes::reference);
    }
  }
}

} // namespace
