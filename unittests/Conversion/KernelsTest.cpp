//===- KernelsTest.cpp - Kernels and launches as rewrites -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Conversion/Kernels.h"
#include "Parse.h"
#include "qlinear/Conversion/Passes.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {

// Two linears with the same kernels, one that splits where there are too many weights,
// one on floats, and an operation of another dialect.
constexpr const char *kModule = R"mlir(
#q = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
!w = !qlinear.weight<16x64, #q>
func.func @f(%x: tensor<?x64xf16>, %z: tensor<?x64xf16>, %w: !w) -> (tensor<?x16xf16>,
    tensor<?x16xf16>, tensor<?x16xf16>, tensor<?x16xf16>) {
  %0 = qlinear.linear %x, %w : (tensor<?x64xf16>, !w) -> tensor<?x16xf16>
  %1 = qlinear.linear %z, %w : (tensor<?x64xf16>, !w) -> tensor<?x16xf16>
  %2:9 = qlinear.linear %x, %w, %w, %w, %w, %w, %w, %w, %w, %w
      : (tensor<?x64xf16>, !w, !w, !w, !w, !w, !w, !w, !w, !w) -> (tensor<?x16xf16>,
         tensor<?x16xf16>, tensor<?x16xf16>, tensor<?x16xf16>, tensor<?x16xf16>,
         tensor<?x16xf16>, tensor<?x16xf16>, tensor<?x16xf16>, tensor<?x16xf16>)
  %3 = qlinear.linear %x, %w {activations = #qlinear.activation_format<float>}
      : (tensor<?x64xf16>, !w) -> tensor<?x16xf16>
  %4 = arith.addf %0, %2#8 : tensor<?x16xf16>
  return %4, %1, %2#0, %3 : tensor<?x16xf16>, tensor<?x16xf16>, tensor<?x16xf16>,
    tensor<?x16xf16>
}
)mlir";

struct Counts {
  int64_t launches = 0, kernels = 0, left = 0;
  explicit Counts(ModuleOp module) {
    module.walk([&](Operation *op) {
      launches += isa<LaunchOp>(op);
      kernels += isa<gpu::GPUFuncOp>(op) ||
                 (isa<LLVM::LLVMFuncOp>(op) && op->hasAttr("qlinear.kernel"));
      left += isa<KernelOpInterface>(op);
    });
  }
  bool operator==(const Counts &) const = default;
};
std::ostream &operator<<(std::ostream &os, const Counts &c) {
  return os << c.launches << " launches, " << c.kernels << " kernels, " << c.left
            << " left";
}

/// What the pass makes of the module.
Counts byPass(Parser &parser, StringRef target) {
  OwningOpRef<ModuleOp> module = parser.parse(kModule);
  PassManager manager(&parser.context);
  if (target.starts_with("cpu"))
    manager.addPass(createQLinearToCPU({target.str()}));
  else
    manager.addPass(createQLinearToGPU({target.str()}));
  EXPECT_TRUE(succeeded(manager.run(*module)));
  return Counts(*module);
}

class Kernels : public testing::TestWithParam<const char *> {};

TEST_P(Kernels, GreedyPatternsDoWhatThePassDoes) {
  Parser parser;
  Counts want = byPass(parser, GetParam());
  EXPECT_EQ(want.left, 0);
  EXPECT_GT(want.launches, 5);
  OwningOpRef<ModuleOp> module = parser.parse(kModule);
  auto maker = KernelMaker::create(*module, GetParam());
  ASSERT_TRUE(succeeded(maker));
  RewritePatternSet patterns(&parser.context);
  populateKernelPatterns(patterns, **maker);
  // Kernels themselves are not to be touched: theirs are calls, all of which are
  // needed.
  GreedyRewriteConfig config;
  config.enableFolding(false).setRegionSimplificationLevel(
      GreedySimplifyRegionLevel::Disabled);
  ASSERT_TRUE(succeeded(applyPatternsGreedily(*module, std::move(patterns), config)));
  EXPECT_TRUE(succeeded(verify(*module)));
  EXPECT_EQ(Counts(*module), want);
  EXPECT_EQ((*maker)->numKernels, want.kernels);
  EXPECT_GT((*maker)->numShared, 0);
}

TEST_P(Kernels, ConversionsDoWhatThePassDoes) {
  Parser parser;
  Counts want = byPass(parser, GetParam());
  OwningOpRef<ModuleOp> module = parser.parse(kModule);
  auto maker = KernelMaker::create(*module, GetParam());
  ASSERT_TRUE(succeeded(maker));
  RewritePatternSet patterns(&parser.context);
  populateKernelPatterns(patterns, **maker);
  ConversionTarget target(parser.context);
  target.markUnknownOpDynamicallyLegal(
      [](Operation *op) { return !isa<KernelOpInterface>(op); });
  ConversionConfig config;
  config.allowPatternRollback = false;
  ASSERT_TRUE(
      succeeded(applyPartialConversion(*module, target, std::move(patterns), config)));
  EXPECT_TRUE(succeeded(verify(*module)));
  EXPECT_EQ(Counts(*module), want);
}

INSTANTIATE_TEST_SUITE_P(, Kernels,
                         testing::Values("cuda:sm_90", "cuda:sm_75", "cpu:avx2"));

TEST(KernelMaker, RefusesTargetsThatDoNotExist) {
  Parser parser;
  OwningOpRef<ModuleOp> module = parser.parse(kModule);
  std::string message;
  ScopedDiagnosticHandler handler(&parser.context, [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  EXPECT_TRUE(failed(KernelMaker::create(*module, "cuda:sm_13")));
  EXPECT_NE(message.find("unknown target 'cuda:sm_13'"), std::string::npos) << message;
  EXPECT_TRUE(failed(KernelMaker::create(&module->getBody()->front(), "cuda:sm_90")));
  const char *why = ": a gpu.module is in a builtin.module, run qlinear-to-gpu on that";
  EXPECT_EQ(message,
            std::string("'func.func' cannot have kernels for 'cuda:sm_90'") + why);
}

} // namespace
