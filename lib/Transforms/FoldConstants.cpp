//===- FoldConstants.cpp - Weights computed from constants ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ConstantEvaluator.h"

#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"

#define DEBUG_TYPE "qlinear-fold-constants"

namespace mlir::qlinear {
#define GEN_PASS_DEF_FOLDCONSTANTS
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

namespace {
struct FoldConstantsPass : mlir::qlinear::impl::FoldConstantsBase<FoldConstantsPass> {
  void runOnOperation() override {
    ConstantEvaluator constants;
    SmallVector<OpOperand *> operands;
    getOperation()->walk([&](Operation *op) {
      if (isa<PackOp>(op))
        for (OpOperand &operand : op->getOpOperands())
          operands.push_back(&operand);
      auto linear = dyn_cast<LinearOp>(op);
      if (linear && linear.hasTensorSemantics())
        for (OpOperand &operand : linear.getExtrasMutable())
          operands.push_back(&operand);
    });
    // The evaluator knows values by their place in memory: nothing is erased yet.
    for (OpOperand *operand : operands)
      fold(*operand, constants);
  }

private:
  void fold(OpOperand &operand, ConstantEvaluator &constants) {
    Value value = operand.get();
    DenseElementsAttr dense;
    if (!isa<RankedTensorType>(value.getType()) ||
        matchPattern(value, m_Constant(&dense)))
      return;
    if (isa<PackOp>(operand.getOwner()) && matchPattern(value, m_Constant()))
      return; // a resource is as good there
    DenseElementsAttr folded = constants.evaluateToAttr(value);
    if (!folded) {
      if (isa<PackOp>(operand.getOwner()))
        remark::missed(operand.getOwner()->getLoc(),
                       remark::RemarkOpts::name("FoldConstants").category(DEBUG_TYPE))
            << "a component of a weight is computed when the function runs"
            << remark::reason("it depends on {0}", constants.whyNot(value));
      return;
    }
    OpBuilder b(operand.getOwner());
    operand.set(arith::ConstantOp::create(b, value.getLoc(), folded));
    ++numFolded;
  }
};
} // namespace
