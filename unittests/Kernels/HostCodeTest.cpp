//===- HostCodeTest.cpp - Generated CPU kernels against float64 -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Linears are compiled in memory by qlinear-to-cpu and run as the runtime runs
// them: the quantization, then work items in several ranges.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Target/HostCode.h"
#include "Encoding/Reference.h"
#include "qlinear/Conversion/Passes.h"
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Target/HostJit.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>

using namespace qlinear;

namespace {

enum class Element { f32, f16, bf16 };
const char *nameOf(Element e) {
  return e == Element::f32 ? "f32" : e == Element::f16 ? "f16" : "bf16";
}
size_t bytesOf(Element e) { return e == Element::f32 ? 4 : 2; }
double boundOf(Element e) { return e == Element::bf16 ? 4e-3 : 1e-3; }

/// Rounds values to the element type; returns the bytes, and the values as
/// rounded.
std::vector<char> toElements(std::vector<float> &values, Element e) {
  std::vector<char> bytes(values.size() * bytesOf(e));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t h = e == Element::f16 ? floatToF16(values[i]) : floatToBf16(values[i]);
    if (e == Element::f32) {
      std::memcpy(&bytes[4 * i], &values[i], 4);
      continue;
    }
    std::memcpy(&bytes[2 * i], &h, 2);
    values[i] = e == Element::f16 ? f16ToFloat(h) : bf16ToFloat(h);
  }
  return bytes;
}
std::vector<double> fromElements(const std::vector<char> &bytes, Element e) {
  std::vector<double> values(bytes.size() / bytesOf(e));
  for (size_t i = 0; i < values.size(); ++i) {
    float f;
    uint16_t h;
    std::memcpy(&f, &bytes[i * bytesOf(e)], e == Element::f32 ? 4 : 0);
    std::memcpy(&h, &bytes[i * bytesOf(e)], 2);
    values[i] = e == Element::f32   ? f
                : e == Element::f16 ? f16ToFloat(h)
                                    : bf16ToFloat(h);
  }
  return values;
}

class HostCodeTest : public testing::TestWithParam<const InstructionSet *> {
protected:
  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  std::mt19937_64 rng{77};
  std::mt19937_64 cuts{78}; ///< of work into ranges
  std::string error;

  void SetUp() override {
    if (!machineRuns(*GetParam()))
      GTEST_SKIP() << "this machine has no " << GetParam()->name;
    mlir::DialectRegistry registry;
    registry.insert<mlir::qlinear::QLinearDialect, mlir::arith::ArithDialect,
                    mlir::func::FuncDialect, mlir::math::MathDialect>();
    registerHostTranslations(registry);
    context.appendDialectRegistry(registry);
    context.getDiagEngine().registerHandler([&](mlir::Diagnostic &d) {
      error += d.str() + "\n";
      return mlir::success();
    });
  }

  /// A compiled function of one linear, and its launches.
  struct Compiled {
    mlir::OwningOpRef<mlir::ModuleOp> module;
    std::unique_ptr<HostJit> jit;
    std::vector<mlir::qlinear::LaunchOp> launches;
  };
  Compiled compile(const std::string &text) {
    Compiled c;
    c.module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    if (!c.module) {
      ADD_FAILURE() << text << error;
      return c;
    }
    mlir::PassManager pm(&context);
    pm.addPass(mlir::qlinear::createQLinearToCPU());
    auto jit = mlir::succeeded(pm.run(*c.module))
                   ? HostJit::create(*c.module, GetParam()->name)
                   : mlir::FailureOr<std::unique_ptr<HostJit>>();
    if (mlir::failed(jit)) {
      ADD_FAILURE() << text << error;
      return c;
    }
    c.jit = std::move(*jit);
    c.module->walk([&](mlir::qlinear::LaunchOp op) { c.launches.push_back(op); });
    return c;
  }

  /// Runs a launch for all rows, in several ranges of work items.
  void run(Compiled &c, mlir::qlinear::LaunchOp launch, std::vector<void *> args,
           int rows) {
    for (mlir::qlinear::VariantAttr v : launch.getVariantList()) {
      if (v.getRows() < rows)
        continue;
      auto kernel = c.jit->lookup(v.getKernel().getLeafReference().getValue());
      ASSERT_TRUE(bool(kernel)) << llvm::toString(kernel.takeError());
      for (int64_t begin = 0, end; begin < v.getItems(); begin = end) {
        int64_t most = std::max<int64_t>(3, v.getItems() / 4);
        end = std::min<int64_t>(v.getItems(), begin + 1 + int64_t(cuts() % most));
        (*kernel)(args.data(), rows, begin, end);
      }
      return;
    }
    FAIL() << "no variant for " << rows << " rows";
  }

  std::vector<float> random(size_t count) {
    std::normal_distribution<float> normal(0.1f, 1.f);
    std::vector<float> x(count);
    for (float &v : x)
      v = normal(rng);
    return x;
  }
  std::vector<char> packed(const EncodedWeight &w) {
    std::vector<char> blob(layoutOf(w.encoding, w.N, w.K).bytes());
    auto result = pack(w, std::as_writable_bytes(std::span(blob)));
    EXPECT_TRUE(result);
    return blob;
  }
};

/// x * W^T in float64, x quantized to int8 per 32 columns.
std::vector<double> product(const EncodedWeight &w, const std::vector<float> &x,
                            int rows) {
  std::vector<double> y(rows * w.N), weights(w.N * w.K);
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] = reference::weight(w, i / w.K, i % w.K, /*asBytes=*/true);
  std::vector<double> row(w.K);
  for (int m = 0; m < rows; ++m) {
    for (uint64_t k = 0; k < w.K; k += 32) {
      float max = 0;
      uint64_t end = std::min(w.K, k + 32);
      for (uint64_t i = k; i < end; ++i)
        max = std::max(max, std::fabs(x[m * w.K + i]));
      for (uint64_t i = k; i < end; ++i)
        row[i] = max ? double(max / 127.f) *
                           std::nearbyint(double(x[m * w.K + i]) * double(127.f / max))
                     : 0;
    }
    for (uint64_t n = 0; n < w.N; ++n)
      for (uint64_t k = 0; k < w.K; ++k)
        y[m * w.N + n] += weights[n * w.K + k] * row[k];
  }
  return y;
}

double relativeError(const std::vector<double> &y, const std::vector<double> &want) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    error += (y[i] - want[i]) * (y[i] - want[i]);
    norm += want[i] * want[i];
  }
  return std::sqrt(error / norm);
}

std::string weightType(const EncodedWeight &w) {
  return "!qlinear.weight<" + std::to_string(w.N) + "x" + std::to_string(w.K) +
         ", #qlinear.encoding<" + w.encoding.str() + ">>";
}
std::string rowsType(uint64_t columns, Element e) {
  return "tensor<?x" + std::to_string(columns) + "x" + nameOf(e) + ">";
}

TEST_P(HostCodeTest, EveryCodeAndGroup) {
  for (size_t width = 0; width < reference::allCodes(Form::zero).size(); ++width)
    for (unsigned group : {16u, 32u, 64u, 128u, 256u, 0u}) {
      Encoding e = reference::randomEncoding(rng);
      if (width >= 4 && e.form == Form::centred) // tables come last
        e.form = Form::zero;
      e.codes = reference::allCodes(e.form)[width];
      if (width < 4 && e.form != Form::symmetric)
        e.codes.isSigned = e.form != Form::centred && rng() % 2;
      e.group = group;
      auto scales = reference::allStorages(true, group);
      auto offsets = reference::allStorages(false, group);
      e.scale = scales[rng() % scales.size()];
      if (e.form != Form::symmetric)
        e.offset = offsets[rng() % offsets.size()];
      auto shapes = reference::oddShapes(group);
      reference::Shape s = shapes[rng() % shapes.size()];
      // The kernel for many rows, or one for up to `variant`.
      bool many = rng() % 2;
      int variant = many ? 20 : 1 << rng() % 4;
      Element in = Element(rng() % 3), out = Element(rng() % 3);
      EncodedWeight w = reference::randomEncoded(e, s.N, s.K, rng);
      std::string kernel = many ? "#qlinear.cpu_gemm<rows = any, tokens = 8"
                                : "#qlinear.cpu_gemv<rows = " + std::to_string(variant);
      std::string text =
          "func.func @f(%x: " + rowsType(s.K, in) + ", %w: " + weightType(w) + ") -> " +
          rowsType(s.N, out) +
          " { %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = "
          "[" +
          kernel + ", tiles = " + std::to_string(1 + rng() % 2) + ">]>} : (" +
          rowsType(s.K, in) + ", " + weightType(w) + ") -> " + rowsType(s.N, out) +
          " return %y : " + rowsType(s.N, out) + " }";
      SCOPED_TRACE(text);
      Compiled c = compile(text);
      ASSERT_EQ(c.launches.size(), 2u);
      std::vector<char> blob = packed(w);
      layout::ActivationLayout a{s.K};
      for (int M = 1; M <= variant; M += 1 + int(rng() % (many ? 9 : 3))) {
        std::vector<float> x = random(M * s.K);
        for (float &v : x)
          v *= out == Element::f16 ? 0.01f : 1.f;
        std::vector<char> input = toElements(x, in);
        std::vector<char> tokens(M * a.bytes());
        std::vector<char> y(M * s.N * bytesOf(out));
        run(c, c.launches[0], {input.data(), tokens.data()}, M);
        run(c, c.launches[1], {blob.data(), tokens.data(), y.data()}, M);
        std::vector<double> want = product(w, x, M);
        double largest = 0;
        for (double v : want)
          largest = std::max(largest, std::fabs(v));
        // Random metadata may be of any size: f16 has from 2^-14 to 65504.
        if (out == Element::f16 && (largest > 60000 || largest < 0x1p-14))
          continue;
        EXPECT_LE(relativeError(fromElements(y, out), want), boundOf(out))
            << M << " rows";
      }
    }
}

TEST_P(HostCodeTest, ManyRowsAreSharedByThreads) {
  // Two weights, whose tiles are no multiple of an item's, and rows cut anywhere: every
  // result is written by one range, with the bits that it has without ranges.
  EncodedWeight q = reference::randomEncoded(*ggufEncoding("Q4_K"), 40, 512, rng);
  EncodedWeight k = reference::randomEncoded(*ggufEncoding("Q6_K"), 16, 512, rng);
  Compiled c = compile(
      "func.func @f(%x: " + rowsType(512, Element::f32) + ", %q: " + weightType(q) +
      ", %k: " + weightType(k) +
      ") { %y:2 = qlinear.linear %x, %q, %k {schedule = #qlinear.schedule<kernels = "
      "[#qlinear.cpu_gemm<rows = any, tokens = 16, tiles = 3>]>} : (" +
      rowsType(512, Element::f32) + ", " + weightType(q) + ", " + weightType(k) +
      ") -> (" + rowsType(40, Element::f32) + ", " + rowsType(16, Element::f32) +
      ") return }");
  ASSERT_EQ(c.launches.size(), 2u);
  mlir::qlinear::VariantAttr variant = *c.launches[1].getVariantList().begin();
  auto kernel = c.jit->lookup(variant.getKernel().getLeafReference().getValue());
  ASSERT_TRUE(bool(kernel)) << llvm::toString(kernel.takeError());
  std::vector<char> qs = packed(q), ks = packed(k);
  for (int M : {1, 8, 9, 67, 200}) {
    SCOPED_TRACE(M);
    std::vector<float> x = random(M * 512);
    std::vector<char> tokens(M * layout::ActivationLayout{512}.bytes());
    run(c, c.launches[0], {x.data(), tokens.data()}, M);
    struct Results {
      std::vector<float> q, k;
    };
    auto call = [&](int64_t begin, int64_t end, Results y) {
      void *args[] = {qs.data(), ks.data(), tokens.data(), y.q.data(), y.k.data()};
      (*kernel)(args, M, begin, end);
      return y;
    };
    Results none{std::vector<float>(M * 40, NAN), std::vector<float>(M * 16, NAN)};
    Results want = call(0, variant.getItems(), none);
    auto toDoubles = [](const std::vector<float> &y) {
      return std::vector<double>(y.begin(), y.end());
    };
    EXPECT_LE(relativeError(toDoubles(want.q), product(q, x, M)), 1e-3);
    EXPECT_LE(relativeError(toDoubles(want.k), product(k, x, M)), 1e-3);
    for (int64_t threads : {2, 7, 64}) {
      SCOPED_TRACE(threads);
      Results got = none;
      size_t least = SIZE_MAX;
      for (int64_t p = 0; p < threads; ++p) {
        Results part = call(variant.getItems() * p / threads,
                            variant.getItems() * (p + 1) / threads, none);
        size_t written = 0;
        auto take = [&](std::vector<float> &to, const std::vector<float> &from) {
          for (size_t i = 0; i < to.size(); ++i)
            if (!std::isnan(from[i])) {
              EXPECT_TRUE(std::isnan(to[i])) << "element " << i << " is written twice";
              to[i] = from[i];
              ++written;
            }
        };
        take(got.q, part.q);
        take(got.k, part.k);
        least = std::min(least, written);
      }
      EXPECT_EQ(got.q, want.q);
      EXPECT_EQ(got.k, want.k);
      // Two groups of tiles are work for seven threads if there are rows enough.
      if (M == 200 && threads == 7)
        EXPECT_GE(least, size_t(M) * 56 / 7 / 2);
    }
  }
}

TEST_P(HostCodeTest, SeveralWeights) {
  EncodedWeight q = reference::randomEncoded(*ggufEncoding("Q4_K"), 40, 512, rng);
  EncodedWeight k = reference::randomEncoded(*ggufEncoding("Q6_K"), 7, 512, rng);
  EncodedWeight v = reference::randomEncoded(*ggufEncoding("Q5_K"), 33, 512, rng);
  std::string types = "(" + rowsType(512, Element::bf16) + ", " + weightType(q) + ", " +
                      weightType(k) + ", " + weightType(v) + ") -> (" +
                      rowsType(40, Element::f32) + ", " + rowsType(7, Element::bf16) +
                      ", " + rowsType(33, Element::f16) + ")";
  Compiled c = compile(
      "func.func @f(%x: " + rowsType(512, Element::bf16) + ", %q: " + weightType(q) +
      ", %k: " + weightType(k) + ", %v: " + weightType(v) +
      ") { %y:3 = qlinear.linear %x, %q, %k, %v : " + types + " return }");
  ASSERT_EQ(c.launches.size(), 2u);
  std::vector<char> qs = packed(q), ks = packed(k), vs = packed(v);
  for (int M : {2, 3, 67}) {
    SCOPED_TRACE(M);
    std::vector<float> x = random(M * 512);
    for (float &value : x)
      value *= 0.01f;
    std::vector<char> input = toElements(x, Element::bf16);
    std::vector<char> tokens(M * layout::ActivationLayout{512}.bytes());
    std::vector<char> yq(M * 40 * 4), yk(M * 7 * 2), yv(M * 33 * 2);
    run(c, c.launches[0], {input.data(), tokens.data()}, M);
    run(c, c.launches[1],
        {qs.data(), ks.data(), vs.data(), tokens.data(), yq.data(), yk.data(),
         yv.data()},
        M);
    EXPECT_LE(relativeError(fromElements(yq, Element::f32), product(q, x, M)), 1e-3);
    EXPECT_LE(relativeError(fromElements(yk, Element::bf16), product(k, x, M)), 4e-3);
    EXPECT_LE(relativeError(fromElements(yv, Element::f16), product(v, x, M)), 1e-3);
  }
}

TEST_P(HostCodeTest, Epilogue) {
  // gelu(gate + bias) * up + residual, N not a multiple of 16.
  EncodedWeight g = reference::randomEncoded(*ggufEncoding("Q4_0"), 37, 96, rng);
  EncodedWeight u = reference::randomEncoded(*ggufEncoding("Q8_0"), 37, 96, rng);
  std::string types =
      "(" + rowsType(96, Element::f32) + ", " + weightType(g) + ", " + weightType(u) +
      ", tensor<37xf16>, " + rowsType(37, Element::bf16) + ") -> (" +
      rowsType(37, Element::f32) + ", " + rowsType(37, Element::bf16) + ")";
  Compiled c =
      compile("func.func @f(%x: " + rowsType(96, Element::f32) +
              ", %g: " + weightType(g) + ", %u: " + weightType(u) +
              ", %b: tensor<37xf16>, %r: " + rowsType(37, Element::bf16) +
              ") { %y:2 = qlinear.linear %x, %g, %u extras(%b, %r) : " + types + R"( {
      ^bb0(%gate: f32, %up: f32, %bias: f16, %res: bf16):
        %half = arith.constant 0.5 : f32
        %one = arith.constant 1.0 : f32
        %rsqrt2 = arith.constant 0.70710678118654752 : f32
        %bf = arith.extf %bias : f16 to f32
        %rf = arith.extf %res : bf16 to f32
        %0 = arith.addf %gate, %bf : f32
        %1 = arith.mulf %0, %rsqrt2 : f32
        %2 = math.erf %1 : f32
        %3 = arith.addf %2, %one : f32
        %4 = arith.mulf %3, %half : f32
        %5 = arith.mulf %4, %0 : f32
        %6 = arith.mulf %5, %up : f32
        %7 = arith.addf %6, %rf : f32
        %8 = arith.truncf %5 : f32 to bf16
        qlinear.yield %7, %8 : f32, bf16
      } return })");
  ASSERT_EQ(c.launches.size(), 2u);
  std::vector<char> gs = packed(g), us = packed(u);
  for (int M : {1, 3, 4, 5, 8, 70}) {
    std::vector<float> x = random(M * 96), bias = random(37), residual = random(M * 37);
    std::vector<char> input = toElements(x, Element::f32);
    std::vector<char> biases = toElements(bias, Element::f16);
    std::vector<char> residuals = toElements(residual, Element::bf16);
    std::vector<char> tokens(M * layout::ActivationLayout{96}.bytes());
    std::vector<char> y(M * 37 * 4), h(M * 37 * 2);
    run(c, c.launches[0], {input.data(), tokens.data()}, M);
    run(c, c.launches[1],
        {gs.data(), us.data(), tokens.data(), biases.data(), residuals.data(), y.data(),
         h.data()},
        M);
    std::vector<double> gate = product(g, x, M), up = product(u, x, M);
    std::vector<double> wantY(gate.size()), wantH(gate.size());
    for (size_t i = 0; i < gate.size(); ++i) {
      double a = gate[i] + bias[i % 37];
      wantH[i] = a * 0.5 * (1 + std::erf(a * M_SQRT1_2));
      wantY[i] = wantH[i] * up[i] + residual[i];
    }
    EXPECT_LE(relativeError(fromElements(y, Element::f32), wantY), 1e-3) << M;
    EXPECT_LE(relativeError(fromElements(h, Element::bf16), wantH), 4e-3) << M;
  }
}

TEST_P(HostCodeTest, MathFunctions) {
  // Each function of the math dialect that an epilogue is likely to use, on
  // products in -4 .. 4: nothing is left to a math library.
  EncodedWeight w = reference::randomEncoded(*ggufEncoding("Q8_0"), 16, 32, rng);
  struct Function {
    const char *text;
    double (*reference)(double);
  } functions[] = {
      {"math.exp %p : f32", [](double v) { return std::exp(v); }},
      {"math.exp2 %p : f32", [](double v) { return std::exp2(v); }},
      {"math.expm1 %p : f32", [](double v) { return std::expm1(v); }},
      {"math.tanh %p : f32", [](double v) { return std::tanh(v); }},
      {"math.erf %p : f32", [](double v) { return std::erf(v); }},
      {"math.sin %p : f32", [](double v) { return std::sin(v); }},
      {"math.cos %p : f32", [](double v) { return std::cos(v); }},
      {"math.absf %p : f32", [](double v) { return std::fabs(v); }},
      {"math.floor %p : f32", [](double v) { return std::floor(v); }},
      {"math.ceil %p : f32", [](double v) { return std::ceil(v); }},
      {"math.trunc %p : f32", [](double v) { return std::trunc(v); }},
      {"math.roundeven %p : f32", [](double v) { return std::nearbyint(v); }},
      {"math.log %a : f32", [](double v) { return std::log(std::fabs(v)); }},
      {"math.log2 %a : f32", [](double v) { return std::log2(std::fabs(v)); }},
      {"math.log1p %a : f32", [](double v) { return std::log1p(std::fabs(v)); }},
      {"math.sqrt %a : f32", [](double v) { return std::sqrt(std::fabs(v)); }},
      {"math.rsqrt %a : f32", [](double v) { return 1 / std::sqrt(std::fabs(v)); }},
      {"math.fma %p, %a, %p : f32", [](double v) { return v * std::fabs(v) + v; }},
      {"math.powf %a, %a : f32",
       [](double v) { return std::pow(std::fabs(v), std::fabs(v)); }},
      {"arith.maximumf %p, %a : f32", [](double v) { return std::fabs(v); }},
      {"arith.negf %p : f32", [](double v) { return -v; }},
  };
  std::string body, results, yields, types;
  for (size_t i = 0; i < std::size(functions); ++i) {
    std::string name = "%f" + std::to_string(i);
    body += name + " = " + functions[i].text + "\n";
    yields += (i ? ", " : "") + name;
    types += i ? ", f32" : "f32";
    results += (i ? ", " : "") + rowsType(16, Element::f32);
  }
  Compiled c = compile("func.func @f(%x: " + rowsType(32, Element::f32) +
                       ", %w: " + weightType(w) +
                       ") { %y:" + std::to_string(std::size(functions)) +
                       " = qlinear.linear %x, %w : (" + rowsType(32, Element::f32) +
                       ", " + weightType(w) + ") -> (" + results +
                       ") {\n^bb0(%p: f32):\n%a = math.absf %p : f32\n" + body +
                       "qlinear.yield " + yields + " : " + types + " } return }");
  ASSERT_EQ(c.launches.size(), 2u);
  std::vector<char> blob = packed(w);
  std::vector<float> x = random(32);
  std::vector<double> p = product(w, x, 1);
  double largest = 0;
  for (double v : p)
    largest = std::max(largest, std::fabs(v));
  for (float &v : x)
    v *= float(4 / largest);
  std::vector<char> tokens(layout::ActivationLayout{32}.bytes());
  std::vector<std::vector<char>> y(std::size(functions), std::vector<char>(16 * 4));
  std::vector<void *> args = {blob.data(), tokens.data()};
  for (auto &out : y)
    args.push_back(out.data());
  run(c, c.launches[0], {x.data(), tokens.data()}, 1);
  run(c, c.launches[1], args, 1);
  std::vector<double> products = fromElements(y.back(), Element::f32); // -p, exactly
  for (size_t i = 0; i < std::size(functions); ++i) {
    std::vector<double> got = fromElements(y[i], Element::f32);
    for (size_t n = 0; n < 16; ++n) {
      double want = functions[i].reference(-products[n]);
      EXPECT_NEAR(got[n], want, 1e-5 * (1 + std::fabs(want)))
          << functions[i].text << " of " << -products[n];
    }
  }
}

TEST(HostJitTest, OtherArchitecture) {
  // Of any two architectures this machine is not both.
  for (const char *name : {"neon-dotprod", "avx2", "avx9"}) {
    const InstructionSet *set = findInstructionSet(name);
    if (set && set->architecture == kHostArchitecture)
      continue;
    mlir::MLIRContext context;
    std::string error;
    mlir::ScopedDiagnosticHandler handler(
        &context, [&](mlir::Diagnostic &d) { error += d.str(); });
    mlir::OwningOpRef<mlir::ModuleOp> module =
        mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
    EXPECT_TRUE(mlir::failed(HostJit::create(*module, name)));
    EXPECT_EQ(error, set ? "this machine does not run cpu:" + std::string(name) +
                               "; use cpu:portable"
                         : "unknown instruction set 'avx9' of CPUs; use one of " +
                               listInstructionSets());
  }
}

INSTANTIATE_TEST_SUITE_P(, HostCodeTest,
                         testing::ValuesIn(instructionSetsOf(kHostArchitecture)),
                         [](const auto &info) {
                           std::string name(info.param->name);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

} // namespace
