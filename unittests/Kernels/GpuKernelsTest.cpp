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
      float d = max / 127.0f, inverse = max > 0 ? 127.0f / max : 0.0f;
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
  std::string schedule = ""; ///< fields, or the default schedule
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

/// |y - reference| / |reference| of a plain linear.
double errorOf(const Case &c, std::mt19937_64 &rng, uint64_t seed = 0) {
  std::string K = std::to_string(c.K), N = std::to_string(c.N);
  std::string x = "tensor<?x" + K + "x" + kElements[int(c.x)] + ">";
  std::string y = "tensor<?x" + N + "x" + kElements[int(c.y)] + ">";
  std::string w = typeOf(c.encoding, c.N, c.K);
  std::string attribute =
      c.schedule.empty() ? "" : "{schedule = #qlinear.schedule<" + c.schedule + ">}";
  Compiled compiled("func.func @f(%x: " + x + ", %w: " + w + ") -> " + y +
                    " {\n %y = qlinear.linear %x, %w " + attribute + " : (" + x + ", " +
                    w + ") -> " + y + "\n return %y : " + y + "\n}");
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
             "rows = [" + std::to_string(rows == 3 ? 4 : rows) + "], warps = 4"};
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
                 "], grid = 1, warps = 3, copy = " + copies[i % 2]};
      EXPECT_LE(errorOf(c, rng, uint64_t(i++)), 1e-3) << describe(c);
    }
}

// Blocks of a cluster that share K, with and without phases.
TEST(GpuKernelsTest, SplitK) {
  std::mt19937_64 rng(8);
  for (int split : {2, 3, 4})
    for (int rows : {2, 4, 8}) {
      const char *text = rows == 2 ? kQ4K : split == 2 ? kQ6K : kRowU8;
      Case c{parse(text),
             150,
             3072,
             FloatType::bf16,
             FloatType::f32,
             rows,
             "rows = [" + std::to_string(rows) +
                 "], grid = 9, warps = 3, copy = bulk, " +
                 "split_k = " + std::to_string(split)};
      EXPECT_LE(errorOf(c, rng, uint64_t(rows)), 1e-3) << describe(c);
    }
  Case phases{parse(kRowU8),
              40,
              43008,
              FloatType::bf16,
              FloatType::f32,
              8,
              "rows = [8], grid = 2, warps = 4, copy = bulk, split_k = 2"};
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
               "rows = [" + std::to_string(rows) + "], grid = 3, warps = 2, stages = " +
                   std::to_string(stages) + ", copy = " + copy + ", pdl = true"};
        EXPECT_LE(errorOf(c, rng, i++), 1e-3) << describe(c);
      }
}

/// A kernel that compiles and runs fast.
const char *const kSmall = "rows = [1], grid = 1, warps = 2, copy = bulk";

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
           "rows = [8], grid = 1, warps = 4, copy = bulk"};
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
           "rows = [8], grid = " + std::to_string(rng() % 3 + 1) + ", warps = " +
               std::to_string(rng() % 5 + 1) + ", copy = " + copies[rng() % 3] +
               ", split_k = " + std::to_string(rng() % 2 + 1)};
    EXPECT_LE(errorOf(c, rng, uint64_t(i)), c.y == FloatType::f32 ? 1e-3 : 4e-3)
        << describe(c);
  }
}

} // namespace
