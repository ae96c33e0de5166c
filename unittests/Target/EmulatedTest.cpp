//===- EmulatedTest.cpp - Retargeted device code on the emulated device ---===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Inputs/device.cpp, compiled for NVPTX, is retargeted to the host, compiled in
// memory and run; expectations are computed here from the definitions in the PTX
// manual.
//
//===----------------------------------------------------------------------===//
#include "DeviceCode.h"

#include "llvm/AsmParser/Parser.h"
#include "llvm/Support/SourceMgr.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <numeric>
#include <random>

using namespace qlinear;
using emulated::Launch;

namespace {

/// The compiled kernels of Inputs/device.cpp.
class Emulated : public testing::TestWithParam<uint64_t> {
protected:
  static void SetUpTestSuite() {
    code = std::make_unique<DeviceCode>(QLINEAR_DEVICE_BITCODE);
  }
  static void TearDownTestSuite() { code.reset(); }

  /// Runs a kernel; arguments are what the kernel takes. The error, or "".
  template <typename... Args> std::string run(Launch launch, Args... args) {
    launch.seed = GetParam();
    return code->call(launch, args...);
  }

  std::vector<uint32_t> randomWords(size_t count) {
    std::mt19937 random(1234);
    std::vector<uint32_t> words(count);
    for (uint32_t &word : words)
      word = random();
    return words;
  }

  static std::unique_ptr<DeviceCode> code;
};
std::unique_ptr<DeviceCode> Emulated::code;

INSTANTIATE_TEST_SUITE_P(InOrder, Emulated, testing::Values(0));
INSTANTIATE_TEST_SUITE_P(Shuffled, Emulated, testing::Range<uint64_t>(1, 6));

TEST_P(Emulated, BlockSum) {
  std::vector<uint32_t> in = randomWords(1000), out(3);
  EXPECT_EQ(run({.kernel = "block_sum", .grid = 3, .block = 128}, in.data(), out.data(),
                uint32_t(in.size())),
            "");
  EXPECT_EQ(out[0] + out[1] + out[2],
            std::accumulate(in.begin(), in.end(), uint32_t(0)));
  uint32_t first = 0; // block 0 has the elements i with i mod 384 < 128
  for (size_t i = 0; i < in.size(); ++i)
    first += i % 384 < 128 ? in[i] : 0;
  EXPECT_EQ(out[0], first);
}

TEST_P(Emulated, WarpOperations) {
  std::vector<uint32_t> in = randomWords(64), out(6 * 64);
  EXPECT_EQ(run({.kernel = "lanes", .block = 64}, in.data(), out.data()), "");
  for (uint32_t warp = 0; warp < 64; warp += 32) {
    uint32_t ballot = 0, max = 0;
    for (uint32_t l = 0; l < 32; ++l) {
      ballot |= (in[warp + l] & 1) << l;
      max = std::max(max, in[warp + l]);
    }
    for (uint32_t l = 0; l < 32; ++l) {
      const uint32_t *r = &out[6 * (warp + l)], *v = &in[warp];
      EXPECT_EQ(r[0], l % 8 == 0 ? v[l] : v[l - 1]);
      EXPECT_EQ(r[1], l + 3 > 31 ? v[l] : v[l + 3]);
      EXPECT_EQ(r[2], v[l ^ 5]);
      EXPECT_EQ(r[3], v[v[l] & 31]);
      EXPECT_EQ(r[4], ballot);
      EXPECT_EQ(r[5], max);
    }
  }
}

TEST_P(Emulated, IntegerArithmetic) {
  for (uint32_t selector : {0x3210u, 0x7654u, 0x0246u, 0xF8B1u, 0x1111u}) {
    std::vector<uint32_t> in = randomWords(64), out(64);
    EXPECT_EQ(run({.kernel = "arithmetic"}, in.data(), out.data(), selector), "");
    for (int t = 0; t < 32; ++t) {
      uint32_t a = in[2 * t], b = in[2 * t + 1], expected = 0;
      int dot = 7;
      uint8_t bytes[8];
      for (int i = 0; i < 4; ++i) {
        bytes[i] = a >> 8 * i;
        bytes[4 + i] = b >> 8 * i;
        dot += int(bytes[i]) * int(int8_t(bytes[4 + i]));
      }
      for (int i = 0; i < 4; ++i) {
        uint32_t nibble = selector >> 4 * i & 15;
        uint8_t byte = bytes[nibble & 7];
        expected |= uint32_t(nibble & 8 ? (byte & 0x80 ? 0xFF : 0) : byte) << 8 * i;
      }
      EXPECT_EQ(int(out[2 * t]), dot);
      EXPECT_EQ(out[2 * t + 1], expected);
    }
  }
}

/// The nearest number with `bits` significant bits, ties to even; f16's exponents
/// end at 2^-24 and 65504, bf16's are those of f32.
double roundTo(double x, int bits, double smallest, double limit) {
  if (x == 0 || std::isnan(x) || std::isinf(x))
    return x;
  double step = std::max(std::ldexp(1.0, std::ilogb(x) - bits + 1), smallest);
  double r = std::nearbyint(x / step) * step;
  return std::abs(r) > limit ? std::copysign(INFINITY, x) : r;
}

TEST_P(Emulated, HalfConversions) {
  std::vector<float> in = {0.0f,     -0.0f,    1.0f,     65504.0f,  65519.0f,
                           65520.0f, 1e30f,    INFINITY, -INFINITY, 5.96e-8f,
                           2.98e-8f, 2.99e-8f, 6.1e-5f,  -6.09e-5f, 1e-40f,
                           2049.0f,  2051.0f,  0.1f,     -0.3f,     3.3895e38f};
  std::mt19937 random(7);
  while (in.size() < 1024)
    in.push_back(std::ldexp(float(int32_t(random())), int(random() % 60) - 60));
  std::vector<uint16_t> half(1024), bfloat(1024);
  std::vector<float> back(2048);
  EXPECT_EQ(run({.kernel = "halves", .block = 1024}, in.data(), half.data(),
                bfloat.data(), back.data()),
            "");
  for (size_t i = 0; i < in.size(); ++i) {
    EXPECT_EQ(back[2 * i], float(roundTo(in[i], 11, 0x1p-24, 65504))) << in[i];
    EXPECT_EQ(back[2 * i + 1], float(roundTo(in[i], 8, 0x1p-133, 3.3895314e38)))
        << in[i];
    EXPECT_EQ(half[i] >> 15, std::signbit(in[i]));
  }
}

TEST_P(Emulated, HalfArithmetic) {
  std::mt19937 random(11);
  std::vector<uint16_t> in(512), out(1024);
  for (uint16_t &bits : in) // magnitudes 2^-8 to 2^8
    bits = uint16_t(random() % 2 << 15 | (119 + random() % 16) << 7 | random() % 128);
  auto value = [](uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); };
  EXPECT_EQ(run({.kernel = "half_arithmetic", .block = 256}, in.data(), out.data()),
            "");
  for (int t = 0; t < 256; ++t) {
    double a = value(in[2 * t]), b = value(in[2 * t + 1]);
    EXPECT_EQ(value(out[4 * t]), roundTo(a + b, 8, 0x1p-133, 3.4e38)) << a << " " << b;
    EXPECT_EQ(value(out[4 * t + 1]), roundTo(a * b, 8, 0x1p-133, 3.4e38))
        << a << " " << b;
    EXPECT_EQ(value(out[4 * t + 2]), std::min(a, b));
    EXPECT_EQ(value(out[4 * t + 3]), std::max(std::abs(a), std::abs(b)));
  }
}

TEST_P(Emulated, BulkCopyRing) {
  std::vector<uint32_t> words = randomWords(7 * 256 / 4);
  auto *bytes = reinterpret_cast<const uint8_t *>(words.data());
  uint32_t sum = std::accumulate(bytes, bytes + 7 * 256, uint32_t(0)), out = 0;
  EXPECT_EQ(run({.kernel = "bulk_ring", .block = 64, .smem = 3 * 256 + 3 * 8}, bytes,
                &out, 7u, 256u),
            "");
  EXPECT_EQ(out, sum);
}

TEST_P(Emulated, AsyncCopy) {
  std::vector<uint32_t> in = randomWords(128), out(128);
  EXPECT_EQ(run({.kernel = "async_copy", .smem = 512}, in.data(), out.data()), "");
  EXPECT_EQ(in, out);
}

/// Kernels that misbehave: each is named with block and thread.
struct Misuse {
  const char *kernel;
  uint64_t smem;
  const char *message;
  uint32_t grid = 1;
};
TEST_P(Emulated, Matrices) {
  std::mt19937 random(7);
  for (uint32_t k : {16u, 32u}) {
    std::vector<uint8_t> a(16 * k), b(8 * k);
    std::vector<uint32_t> c(16 * 8), want(16 * 8);
    for (auto *bytes : {&a, &b})
      for (uint8_t &byte : *bytes)
        byte = uint8_t(random());
    for (size_t i = 0; i < c.size(); ++i) {
      c[i] = random();
      int sum = 0;
      for (uint32_t j = 0; j < k; ++j)
        sum += a[i / 8 * k + j] * int8_t(b[i % 8 * k + j]);
      want[i] = c[i] + uint32_t(sum);
    }
    EXPECT_EQ(
        run({.kernel = "matrices", .smem = 16 * k}, a.data(), b.data(), c.data(), k),
        "");
    EXPECT_EQ(c, want) << k;
  }
}

TEST_P(Emulated, Clusters) {
  for (uint32_t size : {1u, 2u, 4u, 8u}) {
    constexpr uint32_t kBlocks = 24, kThreads = 64;
    std::vector<float> out(kBlocks * kThreads);
    EXPECT_EQ(run({.kernel = "cluster_ring",
                   .grid = kBlocks,
                   .block = kThreads,
                   .smem = kThreads * 4},
                  out.data(), size),
              "");
    for (uint32_t i = 0; i < out.size(); ++i) {
      uint32_t block = i / kThreads;
      uint32_t from = block - block % size + (block + size - 1) % size;
      EXPECT_EQ(out[i], float(100 * from + i % kThreads)) << size << ' ' << i;
    }
  }
}

TEST_P(Emulated, MisuseIsReported) {
  std::vector<uint32_t> words(256);
  const Misuse cases[] = {
      {"bad_barrier", 0,
       "31 threads waiting at barrier 0 (31 of 32 threads have arrived)"},
      {"bad_shuffle_mask", 0, "meets shfl.sync with mask"},
      {"bad_shuffle_source", 0, "which the mask does not name"},
      {"bad_alignment", 0, "aligned to 4 bytes"},
      {"bad_wait", 64,
       "waiting for phase 0 of the mbarrier at shared + 0x0 (0 arrivals "
       "and 32 bytes are missing)"},
      {"bad_poll", 64, "polling an mbarrier"},
      {"bad_uninitialised", 64, "where no mbarrier was initialised"},
      {"bad_in_flight", 96, "a bulk copy of 64 bytes to shared + 0x0 is in flight"},
      {"bad_copy_outside", 96, "not inside the block's 96 bytes of shared memory"},
      {"bad_trap", 0, "thread 3: trap"},
      {"bad_cluster_store", 64, "may come before the other block has started"},
      {"bad_cluster_exit", 0, "waiting for its cluster", 2},
      {"bad_cluster_arrivals", 0, "arrives at the cluster's barrier twice"},
      {"bad_cluster_size", 0, "clusters of 3 blocks; a cluster has 1 to 8 blocks", 2},
      {"block_sum", 1 << 20, "1048576 bytes of shared memory; a block has at most"},
  };
  for (const Misuse &c : cases) {
    std::string error = run({.kernel = c.kernel, .grid = c.grid, .smem = c.smem},
                            words.data(), words.data(), 0u, 0u);
    EXPECT_NE(error.find(c.message), std::string::npos) << c.kernel << ": " << error;
    EXPECT_EQ(error.find(std::string("kernel ") + c.kernel), 0u) << error;
  }
}

/// What cannot be emulated fails when it is compiled.
std::string retargetText(const char *body) {
  llvm::LLVMContext context;
  llvm::SMDiagnostic diagnostic;
  std::string text = std::string("target triple = \"nvptx64-nvidia-cuda\"\n") + body;
  auto module = llvm::parseAssemblyString(text, diagnostic, context);
  if (!module)
    return "does not parse: " + diagnostic.getMessage().str();
  auto machine = llvm::cantFail(createHostMachine());
  return llvm::toString(retargetToEmulated(*module, *machine));
}

TEST(EmulatedRetarget, Declines) {
  EXPECT_NE(retargetText(R"(
define ptx_kernel void @k() {
  call void asm sideeffect "bar.sync 0;", ""()
  ret void
})")
                .find("function k: inline assembly 'bar.sync 0;' cannot be emulated"),
            std::string::npos);
  EXPECT_NE(retargetText(R"(
declare void @llvm.nvvm.barrier.cluster.wait()
define ptx_kernel void @k() {
  call void @llvm.nvvm.barrier.cluster.wait()
  ret void
})")
                .find("llvm.nvvm.barrier.cluster.wait has no counterpart"),
            std::string::npos);
  EXPECT_NE(retargetText(R"(
@s = external addrspace(3) global [0 x i8]
define ptx_kernel void @k(ptr %p) {
  %a = ptrtoint ptr addrspace(3) @s to i32
  store i32 %a, ptr %p
  ret void
})")
                .find("an address in shared memory is cut to 32 bits"),
            std::string::npos);
  EXPECT_NE(retargetText(R"(
declare float @__nv_expf(float)
define ptx_kernel void @k(ptr %p) {
  %a = call float @__nv_expf(float 1.0)
  store float %a, ptr %p
  ret void
})")
                .find("function k calls __nv_expf, which neither"),
            std::string::npos);
}

} // namespace
