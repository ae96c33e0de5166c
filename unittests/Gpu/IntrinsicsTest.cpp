//===- IntrinsicsTest.cpp - Each device operation against scalar code -----===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the functions of kernels/cuda/Intrinsics.h do, in kernels of
// Inputs/intrinsics.cpp: inputs are random with extremes, and every result is known
// from integers or, for the approximations, from long double. The same tests hold for
// the PTX on a GPU and for the twins on the emulated device. What PTX there is, operand
// by operand, is in test/Target/nvptx/intrinsics-*.mlir.
//
//===----------------------------------------------------------------------===//
#include "IntrinsicsTest.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <random>

using namespace gpu::intrinsics;

namespace {

constexpr uint32_t kUnset = 0xA5A5A5A5;

class Intrinsics : public testing::Test {
protected:
  static void TearDownTestSuite() { release(); }
  void SetUp() override { require(80); }
  void require(int sm, bool exactly = false) {
    std::string why = missing(sm, exactly);
    if (!why.empty())
      GTEST_SKIP() << why;
  }
  /// Runs the calls again and again on the same inputs; the results stay the same.
  void call(const std::vector<Call> &calls) {
    std::map<void *, std::vector<std::byte>> inputs, results;
    for (const Call &c : calls)
      for (const Argument &a : c.arguments)
        if (auto *bytes = static_cast<std::byte *>(a.array))
          inputs.try_emplace(bytes, bytes, bytes + a.bytes);
    for (unsigned seed = 0; seed < runs(); ++seed) {
      for (auto &[array, bytes] : inputs)
        std::memcpy(array, bytes.data(), bytes.size());
      ASSERT_EQ(run(calls, seed), "") << "run " << seed;
      for (auto &[array, bytes] : inputs) {
        auto *begin = static_cast<std::byte *>(array);
        std::vector<std::byte> now(begin, begin + bytes.size());
        if (seed == 0)
          results[array] = now;
        ASSERT_TRUE(now == results[array]) << "run " << seed << " is unlike run 0";
      }
    }
  }
  uint32_t word() { return uint32_t(random()); }
  std::vector<uint32_t> words(size_t count) {
    std::vector<uint32_t> v(count);
    for (uint32_t &w : v)
      w = word();
    return v;
  }
  std::mt19937_64 random{1};
};

class IntrinsicsSm90 : public Intrinsics {
protected:
  void SetUp() override { require(90); }
};

/// The first few elements that differ, and how many do.
template <class T>
testing::AssertionResult same(const std::vector<T> &got, const std::vector<T> &want) {
  if (got.size() != want.size())
    return testing::AssertionFailure() << got.size() << " results of " << want.size();
  size_t wrong = 0;
  testing::Message text;
  for (size_t i = 0; i < got.size(); ++i)
    if (got[i] != want[i] && ++wrong <= 4)
      text << "\n  [" << i << "] got " << +got[i] << ", expected " << +want[i];
  if (!wrong)
    return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << wrong << " of " << got.size() << " results differ:" << text.GetString();
}

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

TEST_F(Intrinsics, ThreadAndBlock) {
  std::vector<uint32_t> out(7 * 96, kUnset), want;
  for (uint32_t i = 0; i < out.size(); ++i)
    want.push_back(i / 96 << 16 | i % 96);
  call({{.kernel = "indices", .arguments = {out, 96u}, .grid = 7, .block = 96}});
  EXPECT_TRUE(same(out, want));
}

/// value[t] = 3 value[source(t, r)] + r, for `rounds` rounds from value[t] = t.
template <class Source>
std::vector<uint32_t> exchanged(uint32_t threads, uint32_t rounds, Source source) {
  std::vector<uint32_t> value(threads);
  std::iota(value.begin(), value.end(), 0u);
  for (uint32_t r = 0; r < rounds; ++r) {
    std::vector<uint32_t> last = value;
    for (uint32_t t = 0; t < threads; ++t)
      value[t] = 3 * last[source(t, r)] + r;
  }
  return value;
}

TEST_F(Intrinsics, Barrier) {
  for (uint32_t threads : {32u, 96u, 384u}) {
    std::vector<uint32_t> out(threads, kUnset);
    call({{.kernel = "block_barrier",
           .arguments = {out, threads, 40u},
           .block = threads,
           .smem = 4 * threads}});
    EXPECT_TRUE(same(out, exchanged(threads, 40, [&](uint32_t t, uint32_t r) {
                       return (t + 33 + r) % threads;
                     })));
  }
}

TEST_F(Intrinsics, WarpBarrier) {
  std::vector<uint32_t> out(128, kUnset), want;
  for (uint32_t warp = 0; warp < 4; ++warp) {
    std::vector<uint32_t> all =
        exchanged(128, 9 * (1 + warp), [](uint32_t t, uint32_t r) {
          return t / 32 * 32 + (t + 1 + r) % 32;
        });
    want.insert(want.end(), &all[32 * warp], &all[32 * warp] + 32);
  }
  call({{.kernel = "warp_barrier", .arguments = {out, 9u}, .block = 128, .smem = 512}});
  EXPECT_TRUE(same(out, want));
}

TEST_F(Intrinsics, GroupBarrier) {
  std::vector<uint32_t> out(256, kUnset), want;
  for (uint32_t group = 0; group < 2; ++group) {
    std::vector<uint32_t> all =
        exchanged(256, 9 * (1 + group), [](uint32_t t, uint32_t r) {
          return t / 128 * 128 + (t + 33 + r) % 128;
        });
    want.insert(want.end(), &all[128 * group], &all[128 * group] + 128);
  }
  call({{.kernel = "group_barrier", .arguments = {out, 9u}, .block = 256, .smem = 1024}});
  EXPECT_TRUE(same(out, want));
}

TEST_F(Intrinsics, Counts) {
  constexpr uint32_t kBlocks = 40;
  std::vector<uint32_t> counter(1, 0), blocks(kBlocks, kUnset), sum(1, 0), want;
  for (uint32_t b = 0; b < kBlocks; ++b)
    want.push_back(3 * b + 1);
  call({{.kernel = "counts", .arguments = {counter, blocks, sum}, .grid = kBlocks}});
  EXPECT_TRUE(same(blocks, want));
  EXPECT_EQ(sum[0], 3 * kBlocks * (kBlocks - 1) / 2 + kBlocks);
}

TEST_F(Intrinsics, Uniform) {
  std::vector<uint32_t> in = words(64), first(64), own(64);
  call({{.kernel = "uniforms", .arguments = {in, first, own}, .block = 64}});
  EXPECT_TRUE(same(own, in));
  for (uint32_t i = 0; i < 64; ++i)
    EXPECT_EQ(first[i], in[i / 32 * 32]);
}

TEST_F(Intrinsics, ShuffleXor) {
  std::vector<uint32_t> in = words(64), out(32 * 64, kUnset), want;
  for (uint32_t i = 0; i < out.size(); ++i)
    want.push_back(in[(i % 64) ^ (i / 64)]);
  call({{.kernel = "shuffle", .arguments = {in, out, 64u}, .block = 64}});
  EXPECT_TRUE(same(out, want));
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

TEST_F(Intrinsics, IntegerArithmetic) {
  constexpr size_t kCount = 64 * 128;
  std::vector<uint32_t> a = words(kCount), b = words(kCount), c = words(kCount);
  const uint32_t bytes[] = {0x00000000, 0xFFFFFFFF, 0x80808080, 0x7F7F7F7F,
                            0x01010101, 0xFF0080FF, 0x00FF0000, 0x80000000};
  for (size_t i = 0; i < 8 * 8 * 4; ++i) { // all pairs of extremes
    a[i] = bytes[i % 8], b[i] = bytes[i / 8 % 8];
    const uint32_t selectors[] = {0x3210, 0x7654, 0x5410, 0x0040};
    c[i] = selectors[i / 64];
  }
  for (uint32_t &selector : c) // a nibble's upper bit asks for a sign: not specified
    selector &= 0x7FFF7777;
  c[300] = 0x7FFF7777, a[300] = 0xFFFFFFFF, b[300] = 0x7F7F7F7F; // wraps around
  std::vector<uint32_t> dot(kCount, kUnset), permuted(kCount, kUnset), wantDot,
      wantPermuted;
  for (size_t i = 0; i < kCount; ++i) {
    uint32_t sum = c[i], result = 0;
    uint8_t of[8];
    for (int k = 0; k < 4; ++k) {
      of[k] = uint8_t(a[i] >> 8 * k), of[4 + k] = uint8_t(b[i] >> 8 * k);
      sum += uint32_t(int(of[k]) * int(int8_t(of[4 + k])));
    }
    for (int k = 0; k < 4; ++k)
      result |= uint32_t(of[c[i] >> 4 * k & 7]) << 8 * k;
    wantDot.push_back(sum), wantPermuted.push_back(result);
  }
  call({{.kernel = "integers",
         .arguments = {a, b, c, dot, permuted, 128u},
         .grid = kCount / 128,
         .block = 128}});
  EXPECT_TRUE(same(dot, wantDot));
  EXPECT_TRUE(same(permuted, wantPermuted));
}

/// |got - want| in units of the last place of a float at `want`.
double ulps(float got, long double want) {
  int exponent = std::max(std::ilogb(want), -126);
  return double(std::fabs((long double)got - want) / std::ldexp(1.0L, exponent - 23));
}

TEST_F(Intrinsics, Approximations) {
  constexpr size_t kCount = 512 * 256;
  std::vector<float> exponents, divisors;
  for (float x :
       {0.0f,    -0.0f,     1.0f,       -1.0f,     127.0f,     0x1.fffffep6f, -126.0f,
        -125.5f, 0x1p-126f, -0x1p-126f, 0x1p-149f, -0x1p-140f, 0.5f,          -0.5f,
        128.0f,  1000.0f,   INFINITY,   -INFINITY, -127.0f,    -149.0f,       -1000.0f})
    exponents.push_back(x);
  for (float x : {1.0f, 0x1.000002p0f, 0x1.fffffep0f, 1.5f})
    divisors.push_back(x);
  std::uniform_real_distribution<float> exponent(-126, 128), small(-1, 1);
  while (exponents.size() < kCount)
    exponents.push_back(exponents.size() % 2 ? exponent(random) : small(random));
  // All mantissas near 1 and near 2, and any in between.
  while (divisors.size() < kCount) {
    uint32_t n = uint32_t(divisors.size());
    uint32_t mantissa = n < 1000 ? n : n < 2000 ? 0x7FFFFF - (n - 1000) : word() >> 9;
    float x = 0;
    uint32_t bits = 0x3F800000 | mantissa;
    std::memcpy(&x, &bits, 4);
    divisors.push_back(x);
  }
  std::vector<float> powers(kCount, -1), reciprocals(kCount, -1);
  call({{.kernel = "floats",
         .arguments = {exponents, divisors, powers, reciprocals, 256u},
         .grid = kCount / 256,
         .block = 256}});
  size_t wrong = 0;
  testing::Message text;
  auto check = [&](const char *what, float x, float got, long double want,
                   double bound) {
    bool good = want >= 0x1p128L   ? got >= 0x1.fffffcp127f // may overflow
                : want < 0x1p-126L ? got == 0
                : want <= 0x1.000004p-126L && got == 0 ? true // flushed, after rounding
                                                       : ulps(got, want) <= bound;
    if (!good && ++wrong <= 8)
      text << "\n  " << what << x << ": got " << got << ", expected " << double(want)
           << " within " << bound << " ulp";
  };
  for (size_t i = 0; i < kCount; ++i) {
    check("2^", exponents[i], powers[i], std::exp2((long double)exponents[i]), 2);
    check("1 / ", divisors[i], reciprocals[i], 1.0L / divisors[i], 1);
  }
  EXPECT_EQ(wrong, 0u) << text.GetString();
}

// Rounding, infinities, NaNs and subnormal numbers, as the host's f16 has them.
TEST_F(Intrinsics, Halves) {
  constexpr size_t kCount = 64 * 128;
  std::vector<uint32_t> a = words(kCount), b = words(kCount), c = words(kCount);
  std::vector<float> low(kCount), high(kCount);
  auto half = [](uint32_t word, int i) {
    return double(std::bit_cast<_Float16>(uint16_t(word >> 16 * i)));
  };
  for (size_t i = 0; i < kCount; ++i) {
    if (i % 3 == 0) // codes, as kernels have them
      a[i] &= 0x00FF00FF, b[i] = (b[i] & 0x03FF03FF) | 0x60006000, c[i] &= 0x83FF83FF;
    if (i < 2048) // warps in which none votes, or one does
      a[i] = (a[i] & ~64u) | (i % 67 == 0 ? 64 : 0);
    low[i] = std::ldexp(float(int(word() % 4096) - 2048), int(word() % 44) - 32);
    high[i] = float(half(word(), 0)) * (i % 5 ? 1.0001f : 1.0f);
  }
  std::vector<uint32_t> sums(kCount, kUnset), pairs(kCount, kUnset),
      votes(kCount, kUnset);
  call({{.kernel = "halves",
         .arguments = {a, b, c, low, high, sums, pairs, votes, 128u},
         .grid = kCount / 128,
         .block = 128}});
  size_t wrong = 0, wrongVotes = 0;
  auto check = [&](uint32_t word, int i, double want) {
    auto rounded = double(_Float16(want)); // from double: once
    double got = half(word, i);
    wrong += std::isnan(rounded) ? !std::isnan(got) : got != rounded;
  };
  for (size_t i = 0; i < kCount; ++i) {
    for (int h : {0, 1})
      check(sums[i], h, half(a[i], h) * half(b[i], h) + half(c[i], h));
    check(pairs[i], 0, low[i]);
    check(pairs[i], 1, high[i]);
    uint32_t any = 0;
    for (size_t lane = i / 32 * 32; lane < i / 32 * 32 + 32; ++lane)
      any |= a[lane] & 64;
    wrongVotes += votes[i] != (any != 0);
  }
  // A product and a sum in f32 and then f16 may round twice, on the emulated device.
  EXPECT_LE(wrong, kCount / 1000);
  EXPECT_EQ(wrongVotes, 0u);
}

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

TEST_F(Intrinsics, MatrixProducts) {
  constexpr uint32_t kMatrices = 24;
  for (uint32_t k : {16u, 32u}) {
    std::vector<uint8_t> a(kMatrices * 16 * k), b(kMatrices * 8 * k);
    for (auto *bytes : {&a, &b})
      for (size_t i = 0; i < bytes->size(); ++i)
        (*bytes)[i] = uint8_t(word());
    for (size_t i = 0; i < 16 * k; ++i) // the largest sum
      a[i] = 255, b[i / 2] = uint8_t(-128);
    for (size_t i = 16 * k; i < 32 * k; ++i) // unsigned times signed
      a[i] = i % 3 ? 255 : 128, b[i / 2] = i % 4 < 2 ? 127 : uint8_t(-128);
    std::vector<uint32_t> c = words(kMatrices * 16 * 8), want = c;
    for (size_t i = 0; i < c.size(); ++i) {
      const uint8_t *row = &a[i / 8 * k], *column = &b[(i / 128 * 8 + i % 8) * k];
      for (uint32_t j = 0; j < k; ++j)
        want[i] += uint32_t(int(row[j]) * int(int8_t(column[j])));
    }
    call({{.kernel = "matrices", .arguments = {a, b, c, k}, .grid = kMatrices}});
    EXPECT_TRUE(same(c, want)) << "k = " << k;
  }
}

// Codes as subnormal and normal f16, times f16 of one exponent: sums of 24 bits, exact
// in any order. In the first matrix they are largest.
TEST_F(Intrinsics, HalfMatrixProducts) {
  constexpr uint32_t kMatrices = 24;
  for (int exponent : {-14, -3, 4}) { // of the units of b
    std::vector<uint16_t> a(kMatrices * 256), b(kMatrices * 128);
    std::vector<double> values(b.size());
    for (uint16_t &code : a)
      code = uint16_t(word() % 256);
    for (size_t i = 0; i < b.size(); ++i) {
      int n = int(word() % 4095) - 2047;
      values[i] = std::ldexp(double(n), exponent);
      b[i] = std::bit_cast<uint16_t>(_Float16(values[i]));
    }
    for (size_t i = 0; i < 256; ++i) {
      a[i] = 255,
      b[i / 2] = std::bit_cast<uint16_t>(_Float16(std::ldexp(2047.0, exponent)));
      values[i / 2] = std::ldexp(2047.0, exponent);
    }
    std::vector<float> c(kMatrices * 128), want(c.size());
    double unit = std::ldexp(1.0, exponent - 24);
    for (size_t i = 0; i < c.size(); ++i) {
      c[i] = float(double(int(word() % 1000) - 500) * unit);
      double sum = c[i];
      for (size_t j = 0; j < 16; ++j)
        sum += a[i / 8 * 16 + j] * 0x1p-24 * values[(i / 128 * 8 + i % 8) * 16 + j];
      want[i] = float(sum);
    }
    call({{.kernel = "half_matrices", .arguments = {a, b, c}, .grid = kMatrices}});
    EXPECT_TRUE(same(c, want)) << "2^" << exponent;
  }
}

TEST_F(Intrinsics, LoadMatrices) {
  constexpr uint32_t kThreads = 96, kBytes = 4096;
  std::vector<uint8_t> in(kBytes);
  for (uint8_t &byte : in)
    byte = uint8_t(word());
  std::vector<uint32_t> rows(kThreads), out(4 * kThreads, kUnset), want(4 * kThreads);
  for (uint32_t &row : rows)
    row = word() % (kBytes / 16) * 16;
  for (uint32_t lane = 0; lane < kThreads; ++lane)
    for (uint32_t i = 0; i < 4; ++i) {
      uint32_t g = lane % 32 / 4, t = lane % 4;
      std::memcpy(&want[4 * lane + i], &in[rows[lane / 32 * 32 + 8 * i + g] + 4 * t],
                  4);
    }
  call({{.kernel = "load_matrices",
         .arguments = {in, rows, out, kBytes, kThreads},
         .block = kThreads,
         .smem = kBytes}});
  EXPECT_TRUE(same(out, want));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

TEST_F(Intrinsics, Loads) {
  constexpr size_t kThreads = 5 * 64;
  std::vector<uint32_t> in = words(4 * kThreads), out16(in.size(), kUnset),
                        out8(2 * kThreads, kUnset), out4(kThreads, kUnset),
                        outL2(in.size(), kUnset);
  call({{.kernel = "loads",
         .arguments = {in, out16, out8, out4, outL2, 64u},
         .grid = 5,
         .block = 64}});
  EXPECT_TRUE(same(out16, in));
  EXPECT_TRUE(same(out8, {in.begin(), in.begin() + 2 * kThreads}));
  EXPECT_TRUE(same(out4, {in.begin(), in.begin() + kThreads}));
  EXPECT_TRUE(same(outL2, in));
}

TEST_F(Intrinsics, AsyncGroups) {
  constexpr uint32_t kThreads = 64, kElements = 8 * 2 * kThreads;
  for (uint32_t empty : {0u, 3u})
    for (uint32_t pending = 0; pending < 8; ++pending) {
      std::vector<uint32_t> in = words(4 * kElements), out(4 * kElements, kUnset), want;
      for (uint32_t i = 0; i < 4 * kElements; ++i) {
        uint32_t group = i / 4 / kThreads / 2, copy = i / 4 / kThreads % 2;
        bool copied = group + empty < 8 && copy <= group % 2;
        want.push_back(copied ? in[i] : kUnset);
      }
      call({{.kernel = "async_groups",
             .arguments = {in, out, pending, empty, kThreads},
             .block = kThreads,
             .smem = 16 * kElements}});
      EXPECT_TRUE(same(out, want)) << pending << " pending, " << empty << " empty";
    }
}

//===----------------------------------------------------------------------===//
// sm_90
//===----------------------------------------------------------------------===//

TEST_F(IntrinsicsSm90, Clusters) {
  constexpr uint32_t kBlocks = 24, kThreads = 64, kRounds = 9;
  for (uint32_t size : {1u, 2u, 4u, 8u}) {
    std::vector<uint32_t> ranks(kBlocks, kUnset), wantRanks;
    std::vector<float> out(kRounds * kBlocks * kThreads, -1), want;
    for (uint32_t b = 0; b < kBlocks; ++b)
      wantRanks.push_back(b % size);
    for (uint32_t i = 0; i < out.size(); ++i) {
      uint32_t r = i / kThreads / kBlocks, b = i / kThreads % kBlocks, t = i % kThreads;
      uint32_t from = b - b % size + (b % size + kRounds * size - r) % size;
      want.push_back(float(1000 * from + kThreads - 1 - t + r));
    }
    call({{.kernel = "clusters",
           .arguments = {ranks, out, size, kBlocks, kThreads, kRounds},
           .grid = kBlocks,
           .block = kThreads,
           .smem = 4 * kThreads,
           .cluster = size}});
    EXPECT_TRUE(same(ranks, wantRanks)) << "clusters of " << size;
    EXPECT_TRUE(same(out, want)) << "clusters of " << size;
  }
}

// Kernels that write late, and in between kernels that read at once.
TEST_F(IntrinsicsSm90, DependentLaunches) {
  constexpr uint32_t kGrid = 16, kThreads = 64;
  constexpr size_t kWords = size_t(kGrid) * kThreads * 4, kLinks = 6;
  std::vector<std::vector<uint32_t>> values{words(kWords)};
  values.resize(kLinks + 1, std::vector<uint32_t>(kWords, kUnset));
  std::vector<Call> calls;
  for (size_t i = 0; i < kLinks; ++i)
    calls.push_back(
        {.kernel = "link",
         .arguments = {values[i], values[i + 1], i % 2 ? 1u : 500u, kThreads},
         .grid = kGrid,
         .block = kThreads,
         .smem = 4 * kThreads,
         .dependent = i != 0});
  std::vector<uint32_t> want = values[0];
  call(calls);
  for (size_t i = 1; i <= kLinks; ++i) {
    for (uint32_t &w : want)
      w = 3 * w + 1;
    EXPECT_TRUE(same(values[i], want)) << "after kernel " << i;
  }
}

TEST_F(IntrinsicsSm90, BulkCopies) {
  constexpr uint32_t kPhases = 37;
  for (uint32_t stages : {1u, 2u, 5u})
    for (uint32_t threads : {32u, 160u}) {
      std::vector<uint32_t> sizes(kPhases);
      for (uint32_t i = 0; i < kPhases; ++i)
        sizes[i] = i < 2 ? 1 : i < 4 ? 32 : 1 + word() % 32;
      std::vector<uint8_t> in(512 * kPhases), out(in.size(), 0xA5), want;
      for (uint8_t &byte : in)
        byte = uint8_t(word());
      for (size_t i = 0; i < in.size(); ++i)
        want.push_back(i % 512 < 16 * sizes[i / 512] ? in[i] : 0xA5);
      call({{.kernel = "bulk_copies",
             .arguments = {in, out, sizes, kPhases, stages, threads},
             .block = threads,
             .smem = 520 * stages}});
      EXPECT_TRUE(same(out, want)) << stages << " stages, " << threads << " threads";
    }
}

TEST_F(IntrinsicsSm90, Parities) {
  std::vector<uint32_t> out(128, kUnset), want(128);
  for (uint32_t &sum : want)
    for (uint32_t i = 0; i < 7; ++i)
      sum += i * i + 1;
  call({{.kernel = "parities", .arguments = {out, 7u}, .block = 128, .smem = 32}});
  EXPECT_TRUE(same(out, want));
}

TEST_F(IntrinsicsSm90, ClusterLoads) {
  constexpr uint32_t kBlocks = 24, kThreads = 64, kRounds = 9;
  for (uint32_t size : {1u, 2u, 4u, 8u}) {
    std::vector<float> out(kRounds * kBlocks * kThreads, -1), want;
    for (uint32_t i = 0; i < out.size(); ++i) {
      uint32_t r = i / kThreads / kBlocks, b = i / kThreads % kBlocks, t = i % kThreads;
      uint32_t from = b - b % size + (b % size + r) % size;
      want.push_back(float(1000 * from + kThreads - 1 - t + r));
    }
    call({{.kernel = "cluster_loads",
           .arguments = {out, size, kBlocks, kThreads, kRounds},
           .grid = kBlocks,
           .block = kThreads,
           .smem = 4 * kThreads,
           .cluster = size}});
    EXPECT_TRUE(same(out, want)) << "clusters of " << size;
  }
}

TEST_F(IntrinsicsSm90, PairCopies) {
  constexpr uint32_t kBlocks = 6, kThreads = 64, kRounds = 7, kBytes = 1024;
  std::vector<uint32_t> in = words(kBlocks * kRounds * kBytes / 4), want;
  std::vector<uint32_t> out(kBlocks * kRounds * kBytes / 2, kUnset);
  for (uint32_t i = 0; i < out.size(); ++i) {
    constexpr uint32_t kOfBlock = kRounds * kBytes / 2;
    want.push_back(in[i / kOfBlock / 2 * kOfBlock + i % kOfBlock]);
  }
  call({{.kernel = "pair_copies",
         .arguments = {in, out, kBytes, kRounds, kThreads},
         .grid = kBlocks,
         .block = kThreads,
         .smem = 2 * kBytes + 16,
         .cluster = 2}});
  EXPECT_TRUE(same(out, want));
}

TEST_F(Intrinsics, Arrivals) {
  constexpr uint32_t kPhases = 37;
  for (uint32_t threads : {64u, 160u, 416u}) {
    uint32_t warps = threads / 32, sum = 0;
    for (uint32_t i = 0; i < kPhases; ++i)
      for (uint32_t w = 1; w < warps; ++w)
        sum += w * i + 1;
    std::vector<uint32_t> out(threads, kUnset), want(threads, 0);
    std::fill_n(want.begin(), 32, sum);
    call({{.kernel = "arrivals",
           .arguments = {out, kPhases, threads},
           .block = threads,
           .smem = 256}});
    EXPECT_TRUE(same(out, want)) << threads << " threads";
  }
}

class IntrinsicsSm90a : public Intrinsics {
protected:
  void SetUp() override { require(90, /*exactly=*/true); }
};

// Integers, whose sums are exact in any order.
TEST_F(IntrinsicsSm90a, GroupMatrixProducts) {
  constexpr uint32_t kSteps = 12, kColumns = 16 * kSteps, kRows = 128;
  for (uint32_t tokens = 16; tokens <= 256; tokens += 16) {
    std::vector<uint16_t> a(kRows * kColumns), b(tokens * kColumns);
    std::vector<float> c(kRows * tokens), want;
    auto fill = [&](std::vector<uint16_t> &halves) {
      std::vector<int> values;
      for (uint16_t &half : halves) {
        values.push_back(int(word() % 255) - 127);
        half = std::bit_cast<uint16_t>(_Float16(float(values.back())));
      }
      return values;
    };
    std::vector<int> rows = fill(a), columns = fill(b);
    for (size_t i = 0; i < c.size(); ++i) {
      c[i] = float(int(word() % 1000) - 500);
      int sum = int(c[i]);
      for (size_t k = 0; k < kColumns; ++k)
        sum += rows[i / tokens * kColumns + k] * columns[i % tokens * kColumns + k];
      want.push_back(float(sum));
    }
    call({{.kernel = "group_matrices",
           .arguments = {a, b, c, tokens, kSteps},
           .block = 256,
           .smem = tokens * kColumns * 2}});
    EXPECT_TRUE(same(c, want)) << tokens << " tokens";
  }
}

} // namespace
