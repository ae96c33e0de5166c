//===- SetActivations.cpp - Whether linears quantize their activations ----===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Passes.h"

#define DEBUG_TYPE "qlinear-set-activations"

namespace mlir::qlinear {
#define GEN_PASS_DEF_SETACTIVATIONS
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

namespace {
struct SetActivations : mlir::qlinear::impl::SetActivationsBase<SetActivations> {
  using SetActivationsBase::SetActivationsBase;

  void runOnOperation() override {
    std::optional<ActivationKind> kind = symbolizeActivationKind(format);
    if (!kind) {
      getOperation()->emitError("activations cannot be '")
          << format << "'; they are int8 (quantized per "
          << ActivationFormatAttr::kInt8Block << " columns) or float (as they are)";
      return signalPassFailure();
    }
    auto attr = ActivationFormatAttr::get(&getContext(), *kind);
    getOperation()->walk([&](LinearOp linear) {
      if (!isa<RankedTensorType>(linear.getX().getType()) ||
          linear.getActivationsAttr())
        return;
      linear.setActivationsAttr(attr);
      ++numSet;
    });
    getOperation()->walk([&](GroupedLinearOp linear) {
      if (linear.getActivationsAttr())
        return;
      linear.setActivationsAttr(attr);
      ++numSet;
    });
  }
};
} // namespace
