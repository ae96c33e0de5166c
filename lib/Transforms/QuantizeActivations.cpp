//===- QuantizeActivations.cpp - int8 activations, shared by their users --===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/IR/Remarks.h"

#define DEBUG_TYPE "qlinear-quantize-activations"

namespace mlir::qlinear {
#define GEN_PASS_DEF_QUANTIZEACTIVATIONS
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

namespace {
struct QuantizeActivationsPass
    : mlir::qlinear::impl::QuantizeActivationsBase<QuantizeActivationsPass> {
  using QuantizeActivationsBase::QuantizeActivationsBase;

  void runOnOperation() override {
    llvm::MapVector<Value, SmallVector<LinearOp>> users;
    getOperation()->walk([&](LinearOp linear) {
      if (!isa<RankedTensorType>(linear.getX().getType()))
        return;
      if (!linear.multipliesFloats())
        return users[linear.getX()].push_back(linear);
      remark::missed(
          linear.getLoc(),
          remark::RemarkOpts::name("QuantizeActivations").category(DEBUG_TYPE))
          << "x is not quantized"
          << remark::reason("the linear says activations = float");
    });
    for (auto &[x, linears] : users) {
      int64_t rows = cast<RankedTensorType>(x.getType()).getDimSize(0);
      bool manyRows = rows != ShapedType::kDynamic && rows >= minRows;
      if (linears.size() < minUsers && !manyRows) {
        remark::missed(
            linears.front()->getLoc(),
            remark::RemarkOpts::name("QuantizeActivations").category(DEBUG_TYPE))
            << "x is quantized inside its kernels"
            << remark::reason(
                   "{0} linears read it, less than min-users = {1}, and {2} is "
                   "less than min-rows = {3}",
                   linears.size(), unsigned(minUsers),
                   rows == ShapedType::kDynamic ? std::string("an M that is not known")
                                                : "M = " + std::to_string(rows),
                   int64_t(minRows));
        continue;
      }
      OpBuilder builder(&getContext());
      builder.setInsertionPointAfterValue(x);
      Value quantized =
          QuantizeActivationsOp::create(builder, x.getLoc(), x).getResult();
      for (LinearOp linear : linears)
        linear.getXMutable().assign(quantized);
      ++activationsQuantized;
    }
  }
};
} // namespace
