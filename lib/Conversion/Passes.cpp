//===- Passes.cpp - The passes qlinear-to-gpu and qlinear-to-cpu ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Conversion/Passes.h"
#include "qlinear/Conversion/Kernels.h"
#include "qlinear/Dialect/Bufferize.h"
#include "qlinear/Transforms/ModuleTarget.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::qlinear {
#define GEN_PASS_DEF_QLINEARTOCPU
#define GEN_PASS_DEF_QLINEARTOGPU
#include "qlinear/Conversion/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

/// Converts all in `scope` for `option`, or the target that it has, or else `fallback`.
/// A target of the other kind is for the pass `other`.
static FailureOr<std::unique_ptr<KernelMaker>>
convertAll(Operation *scope, StringRef option, StringRef fallback, StringRef pass,
           StringRef kinds, StringRef other) {
  auto target = ::qlinear::targetOf(scope, option, fallback);
  if (failed(target) || failed(verifyPlaceOfActivations(scope)))
    return failure();
  if (StringRef(*target).starts_with("cpu") != fallback.starts_with("cpu"))
    return scope->emitError("the target is '")
           << *target << "'; " << pass << " makes kernels for " << kinds << ", run "
           << other << " for this one";
  auto maker = KernelMaker::create(scope, *target);
  if (failed(maker) || failed((*maker)->convertAll(scope)))
    return failure();
  if ((*maker)->numConverted)
    ::qlinear::setTarget(scope, *target);
  return maker;
}

namespace {
struct QLinearToGPU : mlir::qlinear::impl::QLinearToGPUBase<QLinearToGPU> {
  using QLinearToGPUBase::QLinearToGPUBase;

  void runOnOperation() override {
    auto maker = convertAll(getOperation(), target, "cuda:sm_90", "qlinear-to-gpu",
                            "cuda:sm_NN and cuda:emulated", "qlinear-to-cpu");
    if (failed(maker))
      return signalPassFailure();
    numKernels += (*maker)->numKernels;
    numShared += (*maker)->numShared;
  }
};

struct QLinearToCPU : mlir::qlinear::impl::QLinearToCPUBase<QLinearToCPU> {
  using QLinearToCPUBase::QLinearToCPUBase;

  bool canScheduleOn(RegisteredOperationName name) const override {
    return name.hasTrait<OpTrait::SymbolTable>();
  }
  void runOnOperation() override {
    auto maker = convertAll(getOperation(), target, "cpu", "qlinear-to-cpu",
                            "cpu and cpu:ISA", "qlinear-to-gpu");
    if (failed(maker))
      return signalPassFailure();
    numKernels += (*maker)->numKernels;
    numShared += (*maker)->numShared;
  }
};
} // namespace
