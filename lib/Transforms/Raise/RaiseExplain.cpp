//===- RaiseExplain.cpp - Why a contraction is not even matched -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The matchers understand a body as a whole, or not at all. Where they do not, the
// operations that lead to the contraction still show whether a quantized weight is
// among its factors, and which of them is not understood.
//
//===----------------------------------------------------------------------===//
#include "RaiseFrontends.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {
/// What leads to a contraction.
struct Findings {
  Type floatCodes;            ///< of eight bits or less, which are widened
  Operation *conversion = {}; ///< of integers of a weight to floats
  Operation *blocker = {};    ///< the first that is not seen through
};
} // namespace

/// Whether a tensor can be the codes of a weight: small integers, of known shape.
static bool isCodes(Value tensor) {
  auto type = dyn_cast<RankedTensorType>(tensor.getType());
  auto integer = type ? dyn_cast<IntegerType>(type.getElementType()) : nullptr;
  return integer && integer.getWidth() > 1 && integer.getWidth() <= 8 &&
         type.getRank() >= 2 && type.hasStaticShape();
}

static void scan(Operation *op, bool readsCodes, Findings &found) {
  if (auto extension = dyn_cast<arith::ExtFOp>(op)) {
    auto from =
        cast<mlir::FloatType>(getElementTypeOrSelf(extension.getIn().getType()));
    if (from.getWidth() <= 8)
      found.floatCodes = from;
  }
  if (readsCodes && isa<arith::SIToFPOp, arith::UIToFPOp>(op))
    found.conversion = op;
  if (!found.blocker && !isScalarOperation(op) &&
      !op->hasTrait<OpTrait::ConstantLike>() && !op->hasTrait<OpTrait::IsTerminator>())
    found.blocker = op;
}

/// Scans the scalar operations of one operation.
static void scanAll(Operation *op, Findings &found) {
  bool readsCodes = llvm::any_of(op->getOperands(), isCodes);
  if (auto generic = dyn_cast<linalg::LinalgOp>(op)) {
    for (Operation &scalar : *generic.getBlock())
      scan(&scalar, readsCodes, found);
  } else if (!isa<tensor::CastOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp,
                  tensor::ExtractSliceOp, tensor::PadOp, tensor::EmptyOp>(op)) {
    scan(op, readsCodes, found);
  }
}

/// What leads from integers to `input`, a factor of a contraction.
static Findings findIn(Value input, Findings found) {
  SmallVector<Operation *> queue;
  auto push = [&](Value value) {
    Operation *def = value.getDefiningOp();
    if (def && isa<RankedTensorType>(value.getType()) &&
        !llvm::is_contained(queue, def))
      queue.push_back(def);
  };
  push(input);
  for (size_t i = 0; i < queue.size() && i < 32; ++i) {
    auto generic = dyn_cast<linalg::LinalgOp>(queue[i]);
    if (generic && generic.getNumReductionLoops())
      continue; // has a remark of its own
    scanAll(queue[i], found);
    if (found.conversion || found.floatCodes)
      break;
    for (Value operand : queue[i]->getOperands())
      push(operand);
  }
  return found;
}

std::string mlir::qlinear::explainUnmatched(linalg::LinalgOp op) {
  if (op.getNumReductionLoops() == 0 || op.getNumDpsInputs() < 2 ||
      !op.hasPureTensorSemantics() || isa<linalg::ConvolutionOpInterface>(*op))
    return "";
  unsigned integers = llvm::count_if(op.getDpsInputs(), [](Value input) {
    auto type = dyn_cast<IntegerType>(getElementTypeOrSelf(input.getType()));
    return isa<RankedTensorType>(input.getType()) && type && type.getWidth() > 1 &&
           type.getWidth() <= 8;
  });
  if (integers >= 2 && op->getNumResults() == 1 &&
      isa<IntegerType>(getElementTypeOrSelf(op->getResult(0).getType())))
    return "both factors are integers: the activations are quantized already; "
           "dequantize them before the product, a linear quantizes them itself";
  Findings own, found;
  scanAll(op, own);
  found = own;
  for (Value input : op.getDpsInputs())
    if (!found.floatCodes && !found.conversion)
      found = findIn(input, own);
  if (found.floatCodes) {
    std::string text;
    llvm::raw_string_ostream(text) << found.floatCodes;
    return "the codes are floats (" + text +
           "); a linear has integer codes of 4 to 8 bits: quantize the weight again, "
           "or "
           "leave it to another compiler";
  }
  if (!found.conversion)
    return "";
  if (found.blocker)
    return "'" + found.blocker->getName().getStringRef().str() +
           "' in the computation of the weight is not seen through; compute the weight "
           "of integer codes by arith.mulf, subf, addf and indexing maps";
  return "the body is not a sum of products of a weight and an x along k";
}
