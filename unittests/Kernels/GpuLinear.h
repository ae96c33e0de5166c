//===- GpuLinear.h - A linear on the emulated device ------------*- C++ -*-===//
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
#ifndef QLINEAR_UNITTESTS_KERNELS_GPULINEAR_H
#define QLINEAR_UNITTESTS_KERNELS_GPULINEAR_H

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

namespace gpu_linear {

using namespace qlinear;
namespace ql = mlir::qlinear;

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

inline const char *const kElements[] = {"bf16", "f16", "f32"};

inline std::vector<std::byte> toElements(const std::vector<float> &values,
                                         FloatType type) {
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

inline double elementAt(const std::vector<std::byte> &bytes, size_t i, FloatType type) {
  uint32_t bits = 0;
  std::memcpy(&bits, &bytes[i * byteWidth(type)], byteWidth(type));
  return reference::value(type, bits);
}

/// x as the kernels see it: rounded to the type, then to int8 per 32 columns.
inline std::vector<double> quantized(std::vector<float> x, uint64_t K, FloatType type) {
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

inline std::string typeOf(const Encoding &e, uint64_t N, uint64_t K) {
  return "!qlinear.weight<" + std::to_string(N) + "x" + std::to_string(K) +
         ", #qlinear.encoding<" + e.str() + ">>";
}

struct Case {
  Encoding encoding;
  uint64_t N, K;
  FloatType x = FloatType::bf16, y = FloatType::f32;
  int rows = 1;
  std::string schedule = ""; ///< for alike(), or left to the cost model
  bool floats = false;       ///< activations are not quantized
};

inline std::vector<std::byte> packed(const EncodedWeight &w) {
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
inline std::string sourceOf(const Case &c) {
  std::string K = std::to_string(c.K), N = std::to_string(c.N);
  std::string x = "tensor<?x" + K + "x" + kElements[int(c.x)] + ">";
  std::string y = "tensor<?x" + N + "x" + kElements[int(c.y)] + ">";
  std::string w = typeOf(c.encoding, c.N, c.K);
  std::string attribute =
      c.schedule.empty() ? "" : "{schedule = " + schedules::alike(c.schedule) + "}";
  if (c.floats)
    attribute.insert(1, "activations = #qlinear.activation_format<float>, ");
  return "func.func @f(%x: " + x + ", %w: " + w + ") -> " + y +
         " {\n %y = qlinear.linear %x, %w " + attribute + " : (" + x + ", " + w +
         ") -> " + y + "\n return %y : " + y + "\n}";
}

/// |y - reference| / |reference| of a plain linear.
inline double errorOf(const Case &c, std::mt19937_64 &rng, uint64_t seed = 0) {
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
  if (c.floats) {
    std::vector<std::byte> stored = toElements(values, c.x);
    for (size_t i = 0; i < q.size(); ++i)
      q[i] = elementAt(stored, i, c.x);
  }
  double error = 0, norm = 0;
  for (uint64_t n = 0; n < c.N; ++n) {
    for (uint64_t k = 0; k < c.K; ++k)
      row[k] = reference::weight(weight, n, k, /*asBytes=*/!c.floats);
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

inline std::string describe(const Case &c) {
  return c.encoding.str() + ", N = " + std::to_string(c.N) +
         ", K = " + std::to_string(c.K) + ", rows = " + std::to_string(c.rows) +
         ", x " + kElements[int(c.x)] + ", y " + kElements[int(c.y)] + " " + c.schedule;
}

inline Encoding parse(const char *text) {
  auto e = Encoding::parse(text);
  EXPECT_TRUE(bool(e)) << e.error();
  return *e;
}

} // namespace gpu_linear
#endif
