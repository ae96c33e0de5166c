//===- CpuKernelsTest.cpp - The CPU micro-kernels against float64 ---------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "CpuKernelTables.h"
#include "Encoding/Reference.h"
#include "qlinear/Kernels/Cpu.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>

using namespace qlinear;

namespace {

/// So many bytes at a multiple of 64, each 0xFF (floats: NaN), none to spare behind
/// them.
class Aligned {
public:
  explicit Aligned(size_t bytes) : memory(bytes + 64, char(0xFF)) {
    memory.resize(start() + bytes);
  }
  void *data() { return memory.data() + start(); }

private:
  size_t start() const { return -reinterpret_cast<uintptr_t>(memory.data()) & 63; }
  std::vector<char> memory;
};

class CpuKernelsTest : public testing::TestWithParam<const CpuKernels *> {
protected:
  const CpuKernels &kernels = *GetParam();
  std::mt19937_64 rng{20240607};
  void SetUp() override {
    if (!isSupported(kernels))
      GTEST_SKIP() << "this machine has no " << kernels.name;
  }

  /// Whether to run a case of many: QLINEAR_SAMPLE=N has one of N drawn, where an
  /// emulated CPU takes too long for all; one of 8 on a model of instructions.
  bool isDrawn() {
    static const char *sample = std::getenv("QLINEAR_SAMPLE");
    bool isModel = std::string_view(kernels.name) != kernels.set;
    unsigned of = sample ? unsigned(std::atoi(sample)) : isModel ? 8 : 1;
    return of <= 1 || rng() % of == 0;
  }

  /// The kernel for many rows, in place of the M of one for few.
  static constexpr int kMany = 0;

  /// y (rows x N) of the kernels, for `rows` tokens by the variant for M rows.
  std::vector<float> linear(const EncodedWeight &w, const std::vector<float> &x, int M,
                            int rows) {
    layout::WeightLayout l = layoutOf(w.encoding, w.N, w.K);
    // No spare byte after blob and activations: overreads are seen.
    std::vector<std::byte> blob(l.bytes());
    auto packed = pack(w, blob);
    EXPECT_TRUE(packed) << packed.error();
    layout::ActivationLayout a{w.K};
    std::vector<unsigned char> tokens(rows * a.bytes());
    for (int m = 0; m < rows; ++m)
      kernels.quantize(cpu::kFloat32, w.K,
                       reinterpret_cast<const unsigned char *>(&x[m * w.K]),
                       &tokens[m * a.bytes()]);
    auto *bytes = reinterpret_cast<const unsigned char *>(blob.data());
    uint64_t spec = w.encoding.spec();
    std::vector<float> y(rows * w.N);
    // What is not written is seen.
    Aligned state(M == kMany ? cpu::kGemmStateBytes : cpu::tileBytes(M));
    int padded = (rows + cpu::kTokenBlock - 1) / cpu::kTokenBlock * cpu::kTokenBlock;
    Aligned products(M == kMany ? cpu::kGemmTiles * padded * 64 : M * 64);
    auto *out = static_cast<float *>(products.data());
    auto storeTile = [&](uint64_t t, const float *from) {
      for (int m = 0; m < rows; ++m)
        kernels.store(cpu::kFloat32, &y[m * w.N + 16 * t],
                      std::min<uint64_t>(16, w.N - 16 * t), &from[16 * m]);
    };
    if (M == kMany) {
      for (uint64_t t = 0; t < l.tiles(); t += cpu::kGemmTiles) {
        int count = int(std::min<uint64_t>(cpu::kGemmTiles, l.tiles() - t));
        kernels.multiplyTiles(spec, w.N, w.K, bytes, tokens.data(), rows, t, count,
                              state.data(), padded, out);
        for (int i = 0; i < count; ++i)
          storeTile(t + i, &out[i * padded * 16]);
      }
      return y;
    }
    for (uint64_t t = 0; t < l.tiles(); ++t) {
      kernels.beginTile(spec, w.N, w.K, M, bytes, t, state.data());
      for (uint64_t u = 0; u < l.unitsPerTile(); ++u)
        kernels.addUnit(spec, w.N, w.K, M, bytes, tokens.data(), rows, t, u,
                        u == l.fullUnits(), state.data());
      kernels.endTile(M, state.data(), out);
      storeTile(t, out);
    }
    return y;
  }

  std::vector<float> randomRows(uint64_t count) {
    std::normal_distribution<float> normal(0.1f, 1.f);
    std::vector<float> x(count);
    for (float &v : x)
      v = normal(rng);
    return x;
  }
};

/// The activations as int8 per 32 columns, as docs/architecture.md says.
struct QuantizedRow {
  std::vector<int> codes;
  std::vector<float> d;
};
QuantizedRow quantize(const float *x, uint64_t K) {
  QuantizedRow r{std::vector<int>(K), {}};
  for (uint64_t k = 0; k < K; k += 32) {
    float max = 0;
    for (uint64_t i = k; i < std::min(K, k + 32); ++i)
      max = std::max(max, std::fabs(x[i]));
    r.d.push_back(max / 127.f);
    float inverse = max > 0 ? 127.f / max : 0;
    for (uint64_t i = k; i < std::min(K, k + 32); ++i)
      r.codes[i] = int(std::nearbyint(double(x[i]) * double(inverse)));
  }
  return r;
}

/// |y - reference| over all elements, by what they would be without cancellation: the
/// norm of the products, each weight with a step of its code besides.
double relativeError(const EncodedWeight &w, const std::vector<float> &x,
                     const std::vector<float> &y, int rows) {
  std::vector<double> weights(w.N * w.K), steps(w.N * w.K);
  for (uint64_t n = 0; n < w.N; ++n)
    for (uint64_t k = 0; k < w.K; ++k) {
      weights[n * w.K + k] = reference::weight(w, n, k, /*asBytes=*/true);
      steps[n * w.K + k] = std::fabs(reference::scale(w, n, k));
    }
  double error = 0, norm = 0;
  for (int m = 0; m < rows; ++m) {
    QuantizedRow q = quantize(&x[m * w.K], w.K);
    for (uint64_t n = 0; n < w.N; ++n) {
      double sum = 0;
      for (uint64_t k = 0; k < w.K; ++k) {
        double weight = weights[n * w.K + k], a = double(q.d[k / 32]) * q.codes[k];
        double size = (std::fabs(weight) + steps[n * w.K + k]) * a;
        sum += weight * a;
        norm += size * size;
      }
      double got = y[m * w.N + n];
      EXPECT_TRUE(std::isfinite(got));
      error += (got - sum) * (got - sum);
    }
  }
  return norm ? std::sqrt(error / norm) : std::sqrt(error);
}

TEST_P(CpuKernelsTest, QuantizesBitExactly) {
  for (int dtype : {cpu::kFloat32, cpu::kFloat16, cpu::kBFloat16})
    for (uint64_t K : {1, 16, 31, 32, 33, 48, 255, 256, 384, 1000}) {
      SCOPED_TRACE("dtype " + std::to_string(dtype) + " K " + std::to_string(K));
      std::vector<float> x = randomRows(K);
      for (uint64_t k = 64; k < std::min<uint64_t>(K, 96); ++k)
        x[k] = 0; // a chunk of zeros
      for (uint64_t k = 96; k < std::min<uint64_t>(K, 128); ++k)
        x[k] *= 1e-6f; // small: subnormal in f16
      for (uint64_t k = 128; k < std::min<uint64_t>(K, 160); ++k)
        x[k] = float(int(k % 2 ? k - 128 : 128 - k)) * 0.5f; // ties
      if (K > 160)
        x[159] = 127;
      std::vector<unsigned char> raw(K * (dtype == cpu::kFloat32 ? 4 : 2));
      for (uint64_t k = 0; k < K; ++k) {
        if (dtype == cpu::kFloat32) {
          std::memcpy(&raw[4 * k], &x[k], 4);
          continue;
        }
        uint16_t h = dtype == cpu::kFloat16 ? floatToF16(x[k]) : floatToBf16(x[k]);
        std::memcpy(&raw[2 * k], &h, 2);
        x[k] = dtype == cpu::kFloat16 ? f16ToFloat(h) : bf16ToFloat(h);
      }
      layout::ActivationLayout a{K};
      std::vector<unsigned char> token(a.bytes(), 0xAA);
      kernels.quantize(dtype, K, raw.data(), token.data());
      QuantizedRow want = quantize(x.data(), K);
      for (uint64_t k = 0; k < a.paddedK(); ++k)
        ASSERT_EQ(int(int8_t(token[a.code(k)])), k < K ? want.codes[k] : 0)
            << "column " << k;
      for (uint64_t c = 0; c < a.chunks(); ++c) {
        float d;
        int16_t sums[2];
        std::memcpy(&d, &token[a.record(c)], 4);
        std::memcpy(sums, &token[a.record(c) + 4], 4);
        EXPECT_EQ(d, c < want.d.size() ? want.d[c] : 0.f);
        for (int half = 0; half < 2; ++half) {
          int sum = 0;
          for (uint64_t k = 32 * c + 16 * half; k < 32 * c + 16 * half + 16; ++k)
            sum += k < K ? want.codes[k] : 0;
          EXPECT_EQ(sums[half], sum);
        }
      }
    }
}

TEST_P(CpuKernelsTest, QuantizesExtremeValues) {
  float inf = std::numeric_limits<float>::infinity();
  float max = std::numeric_limits<float>::max();
  struct {
    float value, d;
    int code;
  } cases[] = {{inf, NAN, 0},
               {NAN, NAN, 0},
               {-inf, NAN, 0},
               {max, max / 127, 127},
               {-max, max / 127, -127},
               {1e-40f, 0, 0},
               {0x1p-119f, 0x1p-119f / 127, 127},
               {-0.f, 0, 0}};
  for (auto &c : cases) {
    std::vector<float> x(32);
    x[5] = c.value;
    layout::ActivationLayout a{32};
    std::vector<unsigned char> token(a.bytes());
    kernels.quantize(cpu::kFloat32, 32,
                     reinterpret_cast<const unsigned char *>(x.data()), token.data());
    float d;
    std::memcpy(&d, &token[a.record(0)], 4);
    if (std::isnan(c.d))
      EXPECT_TRUE(std::isnan(d)) << c.value;
    else
      EXPECT_EQ(d, c.d) << c.value;
    EXPECT_EQ(int(int8_t(token[a.code(5)])), c.code) << c.value;
  }
}

TEST_P(CpuKernelsTest, ConvertsElements) {
  for (uint64_t count : {1, 7, 15, 16})
    for (int trial = 0; trial < 400; ++trial) {
      float values[16];
      for (float &v : values)
        v = std::bit_cast<float>(uint32_t(rng()) & 0xBFFFFFFF);
      if (trial == 0)
        values[0] = std::numeric_limits<float>::infinity(), values[1] = -0.f,
        values[2] = 65520.f, values[3] = 65519.f, values[4] = 0x1p-25f,
        values[5] = 0x1.8p-25f, values[6] = NAN;
      for (int dtype : {cpu::kFloat16, cpu::kBFloat16}) {
        uint16_t out[16];
        std::fill_n(out, 16, 0x1234);
        kernels.store(dtype, out, count, values);
        for (uint64_t i = 0; i < 16; ++i) {
          uint16_t want =
              dtype == cpu::kFloat16 ? floatToF16(values[i]) : floatToBf16(values[i]);
          if (i >= count)
            EXPECT_EQ(out[i], 0x1234);
          else if (std::isnan(values[i]))
            EXPECT_TRUE(std::isnan(dtype == cpu::kFloat16 ? f16ToFloat(out[i])
                                                          : bf16ToFloat(out[i])));
          else
            EXPECT_EQ(out[i], want) << values[i];
        }
        float back[16];
        kernels.load(dtype, out, count, back);
        for (uint64_t i = 0; i < 16; ++i) {
          float want = i >= count               ? 0
                       : dtype == cpu::kFloat16 ? f16ToFloat(out[i])
                                                : bf16ToFloat(out[i]);
          if (std::isnan(want))
            EXPECT_TRUE(std::isnan(back[i]));
          else
            EXPECT_EQ(std::bit_cast<uint32_t>(back[i]), std::bit_cast<uint32_t>(want));
        }
      }
    }
}

TEST_P(CpuKernelsTest, IntegerPartIsExact) {
  // Scales and activation scales of 1: sums are integers below 2^24.
  for (uint8_t bits : {2, 3, 4, 5, 6, 8})
    for (unsigned group : {16u, 32u, 128u})
      for (int extreme = 0; extreme < 4; ++extreme) {
        Encoding e{{bits, false},
                   group,
                   Form::min,
                   MetaStorage::plain(FloatType::f32),
                   MetaStorage::plain(FloatType::f32)};
        EncodedWeight w = reference::randomEncoded(e, 16, 256, rng);
        for (uint32_t &s : w.scaleFields)
          s = 0x3F800000;
        for (uint32_t &o : w.offsetFields)
          o = 0;
        int largest = (1 << bits) - 1;
        std::vector<float> x(256);
        for (uint64_t k = 0; k < 256; ++k)
          x[k] = extreme == 0   ? float(int(rng() % 255) - 127)
                 : extreme == 1 ? 127.f
                 : extreme == 2 ? -127.f
                 : k % 2        ? 127.f
                                : -127.f;
        for (uint64_t k = 0; k < 256; k += 32)
          x[k] = extreme == 2 ? -127.f : 127.f;
        if (extreme)
          for (uint8_t &f : w.fields)
            f = uint8_t(largest);
        for (int M : {1, kMany}) {
          std::vector<float> y = linear(w, x, M, 1);
          for (uint64_t n = 0; n < 16; ++n) {
            int64_t sum = 0;
            for (uint64_t k = 0; k < 256; ++k)
              sum += int64_t(w.fields[n * 256 + k]) * int64_t(x[k]);
            ASSERT_EQ(int64_t(y[n]), sum) << int(bits) << " bits, group " << group
                                          << ", row " << n << ", M " << M;
          }
        }
      }
}

TEST_P(CpuKernelsTest, EveryCodeAndGroup) {
  // Every code width, group and form, with the storages of the named encodings
  // and one drawn at random; all shapes; M from 1 to 8.
  for (unsigned group : {16u, 32u, 64u, 128u, 256u, 0u})
    for (Form form : {Form::symmetric, Form::zero, Form::min, Form::centred})
      for (CodeType codes : reference::allCodes(form)) {
        Encoding e;
        e.codes = codes;
        if (form != Form::symmetric && !codes.isTable())
          e.codes.isSigned = false;
        e.group = group;
        e.form = form;
        auto scales = reference::allStorages(true, group);
        auto offsets = reference::allStorages(false, group);
        e.scale = scales[rng() % scales.size()];
        if (form != Form::symmetric)
          e.offset = offsets[rng() % offsets.size()];
        for (reference::Shape s : reference::oddShapes(group)) {
          if (!isDrawn())
            continue;
          int M = 1 + int(rng() % 8), rows = 1 + int(rng() % M);
          SCOPED_TRACE(e.str() + " " + std::to_string(s.N) + "x" + std::to_string(s.K) +
                       " M " + std::to_string(M) + " rows " + std::to_string(rows));
          EncodedWeight w = reference::randomEncoded(e, s.N, s.K, rng);
          std::vector<float> x = randomRows(rows * s.K);
          EXPECT_LE(relativeError(w, x, linear(w, x, M, rows), rows), 1e-4);
          rows = 1 + int(rng() % 20);
          SCOPED_TRACE("many, rows " + std::to_string(rows));
          x = randomRows(rows * s.K);
          EXPECT_LE(relativeError(w, x, linear(w, x, kMany, rows), rows), 1e-4);
        }
      }
}

TEST_P(CpuKernelsTest, EveryStorage) {
  for (unsigned group : {16u, 32u, 64u, 256u, 0u})
    for (const MetaStorage &scale : reference::allStorages(true, group)) {
      auto offsets = reference::allStorages(false, group);
      for (int trial = 0; trial < 4; ++trial) {
        if (!isDrawn())
          continue;
        Encoding e{{4, false},
                   group,
                   trial % 2 ? Form::zero : Form::min,
                   scale,
                   offsets[rng() % offsets.size()]};
        uint64_t N = 1 + rng() % 40, K = group ? group * (1 + rng() % 20) : 333;
        SCOPED_TRACE(e.str() + " " + std::to_string(N) + "x" + std::to_string(K));
        EncodedWeight w = reference::randomEncoded(e, N, K, rng);
        std::vector<float> x = randomRows(2 * K);
        EXPECT_LE(relativeError(w, x, linear(w, x, 2, 2), 2), 1e-4);
        EXPECT_LE(relativeError(w, x, linear(w, x, kMany, 2), 2), 1e-4);
      }
    }
}

TEST_P(CpuKernelsTest, RowsDoNotDependOnTheVariant) {
  Encoding e = *ggufEncoding("Q4_K");
  EncodedWeight w = reference::randomEncoded(e, 24, 768, rng);
  std::vector<float> x = randomRows(8 * 768);
  std::vector<float> all = linear(w, x, 8, 8);
  for (int M : {1, 2, 4}) {
    std::vector<float> some = linear(w, x, M, M);
    for (size_t i = 0; i < some.size(); ++i)
      ASSERT_EQ(some[i], all[i]) << "M = " << M << ", element " << i;
  }
}

TEST_P(CpuKernelsTest, RowsDoNotDependOnTheirNumber) {
  // A row has the same bits whatever rows are beside it, in blocks of every size.
  for (const char *type : {"Q2_K", "Q3_K", "Q4_K", "Q6_K", "Q8_0", "Q5_0", "IQ4_XS"}) {
    uint64_t N = 24, K = type[3] == 'K' ? 768 : 320;
    EncodedWeight w = reference::randomEncoded(*ggufEncoding(type), N, K, rng);
    std::vector<float> x = randomRows(35 * K);
    std::vector<float> all = linear(w, x, kMany, 35);
    EXPECT_LE(relativeError(w, x, all, 35), 1e-4);
    for (int rows = 1; rows < 35; ++rows) {
      std::vector<float> some =
          linear(w, std::vector(x.begin(), x.begin() + rows * K), kMany, rows);
      for (size_t i = 0; i < some.size(); ++i)
        ASSERT_EQ(some[i], all[i]) << type << ", " << rows << " rows, element " << i;
    }
  }
}

TEST_P(CpuKernelsTest, NonFiniteActivationsGiveNan) {
  Encoding e = *ggufEncoding("Q4_K");
  EncodedWeight w = reference::randomEncoded(e, 16, 512, rng);
  std::vector<float> x = randomRows(512);
  x[300] = std::numeric_limits<float>::infinity();
  for (int M : {1, kMany})
    for (float y : linear(w, x, M, 1))
      EXPECT_TRUE(std::isnan(y));
}

INSTANTIATE_TEST_SUITE_P(, CpuKernelsTest, testing::ValuesIn(kAllCpuKernels), nameOf);

} // namespace
