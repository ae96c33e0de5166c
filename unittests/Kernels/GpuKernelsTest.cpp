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
#include "Emulated.h"
#include "Encoding/Reference.h"
#include "Kernels/Schedules.h"
#include "qlinear/Conversion/Passes.h"
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Target/Emulated.h"
#include "qlinear/Target/HostObject.h"
#include "qlinear/Target/NVPTX.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/Module.h"
#include "llvm/Target/TargetMachine.h"

#include <array>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

using namespace qlinear;
namespace ql = mlir::qlinear;

namespace {

/// A module with one function @f, compiled; runs the launches of it.
class Compiled {
public:
  explicit Compiled(const std::string &text) : context(registry()) {
    context.loadAllAvailableDialects();
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    if (!module) {
      ADD_FAILURE() << "cannot parse " << text;
      return;
    }
    mlir::PassManager pm(&context);
    pm.addPass(ql::createQLinearToGPU({.target = "cuda:emulated"}));
    if (mlir::failed(pm.run(*module))) {
      ADD_FAILURE() << "cannot convert " << text;
      return;
    }
    auto kernels = *module->getOps<mlir::gpu::GPUModuleOp>().begin();
    auto llvmContext = std::make_unique<llvm::LLVMContext>();
    auto device = toLLVM(kernels, *llvmContext, DeviceIntrinsics::external);
    if (mlir::failed(device)) {
      ADD_FAILURE() << "cannot translate " << text;
      return;
    }
    auto machine = llvm::cantFail(createHostMachine());
    llvm::cantFail(retargetToEmulated(**device, *machine));
    jit = llvm::cantFail(llvm::orc::LLJITBuilder().create());
    llvm::cantFail(jit->addIRModule(
        llvm::orc::ThreadSafeModule(std::move(*device), std::move(llvmContext))));
    module->walk([&](ql::LaunchOp op) { launches.push_back(op); });
  }

  /// Whether everything went well until here.
  explicit operator bool() const { return jit != nullptr; }

  /// Runs launch `index` for `rows` rows by the smallest variant that covers them.
  void run(size_t index, std::vector<void *> pointers, int rows, uint64_t seed) {
    ASSERT_LT(index, launches.size());
    for (ql::VariantAttr variant : launches[index].getVariantList()) {
      if (variant.getRows() < rows)
        continue;
      std::string name = variant.getKernel().getLeafReference().str();
      auto function =
          llvm::cantFail(jit->lookup(name)).toPtr<emulated::ThreadFunction>();
      std::vector<void *> params;
      for (void *&pointer : pointers)
        params.push_back(&pointer);
      params.push_back(&rows);
      emulated::Launch launch{.kernel = name.c_str(),
                              .grid = uint32_t(variant.getGrid()),
                              .block = uint32_t(variant.getBlock()),
                              .smem = uint64_t(variant.getSmem()),
                              .seed = seed};
      Result<void> result = emulated::run(launch, function, params.data());
      ASSERT_TRUE(bool(result)) << result.error();
      return;
    }
    FAIL() << "no variant for " << rows << " rows";
  }

private:
  static mlir::DialectRegistry registry() {
    mlir::DialectRegistry registry;
    registry
        .insert<ql::QLinearDialect, mlir::func::FuncDialect, mlir::gpu::GPUDialect>();
    registerNVPTXTranslations(registry);
    ql::createQLinearToGPU()->getDependentDialects(registry);
    return registry;
  }
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::vector<ql::LaunchOp> launches;
};

const char *const kElements[] = {"bf16", "f16", "f32"};

std::vector<std::byte> toElements(const std::vector<float> &values, FloatType type) {
  std::vector<std::byte> bytes(values.size() * byteWidth(type));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == FloatType::f32) {
      std::memcpy(&bytes[4 * i], &values[i], 4);
      continue;
    }
    uint16_t half =
        type == FloatType::f16 ? floatToF16(values[i]) : floatToBf16(values[i]);
    std::memcpy(&bytes[2 * i], &half, 2);
  }
  return bytes;
}

double elementAt(const std::vector<std::byte> &bytes, size_t i, FloatType type) {
  uint32_t bits = 0;
  std::memcpy(&bits, &bytes[i * byteWidth(type)], byteWidth(type));
  return reference::value(type, bits);
}

/// x as the kernels see it: rounded to the type, then to int8 per 32 columns.
std::vector<double> quantized(std::vector<float> x, uint64_t K, FloatType type) {
  std::vector<std::byte> stored = toElements(x, type);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = float(elementAt(stored, i, type));
  std::vector<double> values(x.size());
  for (size_t row = 0; row < x.size() / K; ++row)
    for (uint64_t k = 0; k < K; k += 32) {
      size_t begin = row * K + k, end = row * K + std::min(K, k + 32);
      float max = 0;
      for (size_t i = begin; i < end; ++i)
        max = std::max(max, std::fabs(x[i]));
      bool used = max >= 0x1p-119f; // else the quotient would overflow
      float d = used ? max / 127.0f : 0.0f, inverse = used ? 127.0f / max : 0.0f;
      for (size_t i = begin; i < end; ++i)
        values[i] = double(d) * std::nearbyint(double(x[i]) * double(inverse));
    }
  return values;
}

std::string typeOf(const Encoding &e, uint64_t N, uint64_t K) {
  return "!qlinear.weight<" + std::to_string(N) + "x" + std::to_string(K) +
         ", #qlinear.encoding<" + e.str() + ">>";
}

struct Case {
  Encoding encoding;
  uint64_t N, K;
  FloatType x = FloatType::bf16, y = FloatType::f32;
  int rows = 1;
  std::string schedule = ""; ///< for alike(), or left to the cost model
};

std::vector<std::byte> packed(const EncodedWeight &w) {
  std::vector<std::byte> blob(layoutOf(w.encoding, w.N, w.K).bytes());
  auto result = pack(w, blob);
  EXPECT_TRUE(bool(result)) << result.error();
  return blob;
}

/// 128-byte aligned memory with the contents of `bytes`.
struct Device {
  explicit Device(const std::vector<std::byte> &bytes)
      : memory(std::aligned_alloc(128, (bytes.size() + 127) / 128 * 128 + 128), &free) {
    std::memcpy(memory.get(), bytes.data(), bytes.size());
  }
  std::unique_ptr<void, decltype(&free)> memory;
};

/// A function with a plain linear.
std::string sourceOf(const Case &c) {
  std::string K = std::to_string(c.K), N = std::to_string(c.N);
  std::string x = "tensor<?x" + K + "x" + kElements[int(c.x)] + ">";
  std::string y = "tensor<?x" + N + "x" + kElements[int(c.y)] + ">";
  std::string w = typeOf(c.encoding, c.N, c.K);
  std::string attribute =
      c.schedule.empty() ? "" : "{schedule = " + schedules::alike(c.schedule) + "}";
  return "func.func @f(%x: " + x + ", %w: " + w + ") -> " + y +
         " {\n %y = qlinear.linear %x, %w " + attribute + " : (" + x + ", " + w +
         ") -> " + y + "\n return %y : " + y + "\n}";
}

/// |y - reference| / |reference| of a plain linear.
double errorOf(const Case &c, std::mt19937_64 &rng, uint64_t seed = 0) {
  Compiled compiled(sourceOf(c));
  if (!compiled)
    return 1;
  EncodedWeight weight = reference::randomEncoded(c.encoding, c.N, c.K, rng);
  Device blob(packed(weight));
  std::vector<float> values(c.rows * c.K);
  for (float &v : values)
    v = float(reference::normal(rng) + 0.1);
  Device input(toElements(values, c.x));
  std::vector<std::byte> out(c.rows * c.N * byteWidth(c.y));
  compiled.run(0, {blob.memory.get(), input.memory.get(), out.data()}, c.rows, seed);

  std::vector<double> q = quantized(values, c.K, c.x), row(c.K);
  double error = 0, norm = 0;
  for (uint64_t n = 0; n < c.N; ++n) {
    for (uint64_t k = 0; k < c.K; ++k)
      row[k] = reference::weight(weight, n, k);
    for (int m = 0; m < c.rows; ++m) {
      double want = 0;
      for (uint64_t k = 0; k < c.K; ++k)
        want += row[k] * q[m * c.K + k];
      double got = elementAt(out, m * c.N + n, c.y);
      if (c.y == FloatType::f16 && std::fabs(want) > 65519) { // past its range
        EXPECT_EQ(got, std::copysign(HUGE_VAL, want));
        continue;
      }
      error += (got - want) * (got - want);
      norm += want * want;
    }
  }
  return norm ? std::sqrt(error / norm) : std::sqrt(error);
}

std::string describe(const Case &c) {
  return c.encoding.str() + ", N = " + std::to_string(c.N) +
         ", K = " + std::to_string(c.K) + ", rows = " + std::to_string(c.rows) +
         ", x " + kElements[int(c.x)] + ", y " + kElements[int(c.y)] + " " + c.schedule;
}

Encoding parse(const char *text) {
  auto e = Encoding::parse(text);
  EXPECT_TRUE(bool(e)) << e.error();
  return *e;
}

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
  for (const char *bits : {"4", "5", "6", "8"})
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
