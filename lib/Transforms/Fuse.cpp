//===- Fuse.cpp - Linears that share an input, and their neighbours -------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Three rewrites, until none applies:
//
//   siblings    y1 = linear x, W1 {f1};  y2 = linear x, W2 {f2}
//            -> y1, y2 = linear x, W1, W2 {f1, f2}       x is read and quantized once
//
//   consumers   y = linear x, W {f};  z = g(y, b)        g elementwise (Tail.cpp)
//            -> z = linear x, W extras(b) {g . f}
//
//   of norms    n = norm x {f};  z = g(n, b)            (NormTail.cpp)
//            -> z = norm x extras(b) {g . f}
//
// All keep every rounding: where y is bf16, the epilogue rounds to bf16 before
// g is applied, so the fused module computes the same bits.
//
//===----------------------------------------------------------------------===//
#include "Tail.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"

#define DEBUG_TYPE "qlinear-fuse"

namespace mlir::qlinear {
#define GEN_PASS_DEF_FUSE
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

//===----------------------------------------------------------------------===//
// Siblings
//===----------------------------------------------------------------------===//

/// Attributes of the user's, of both; `first` decides where they disagree.
static DictionaryAttr mergeAttributes(Operation *first, Operation *second) {
  NamedAttrList attributes(first->getDiscardableAttrDictionary());
  for (NamedAttribute attribute : second->getDiscardableAttrs())
    if (!attributes.get(attribute.getName()))
      attributes.append(attribute);
  return attributes.getDictionary(first->getContext());
}

/// Why `second`, which comes later in the same block, cannot be merged into `first`;
/// "" if it can.
static std::string whyNotMerged(LinearOp first, LinearOp second,
                                DominanceInfo &dominance) {
  if (first.getScheduleAttr() || second.getScheduleAttr())
    return "it has a schedule already, of this linear alone";
  if (first.getFormat() != second.getFormat())
    return "one quantizes its activations and the other does not";
  SmallVector<Value> weights(first.getWeights()), operands(second.getWeights());
  llvm::append_range(weights, second.getWeights());
  llvm::append_range(operands, second.getExtras());
  if ((first.hasEpilogue() || second.hasEpilogue()) && !haveSameN(weights))
    return "the weights differ in N, and an epilogue needs one N";
  for (Value operand : operands)
    if (!hoistBefore(operand, first, dominance, /*move=*/false))
      return "an operand is computed after the linear it would be merged with";
  return "";
}

static LinearOp mergeSiblings(IRRewriter &rewriter, LinearOp first, LinearOp second,
                              DominanceInfo &dominance) {
  SmallVector<Value> weights(first.getWeights()), extras(first.getExtras());
  llvm::append_range(weights, second.getWeights());
  llvm::append_range(extras, second.getExtras());
  for (ValueRange operands : {second.getWeights(), second.getExtras()})
    for (Value operand : operands)
      hoistBefore(operand, first, dominance, /*move=*/true);

  SmallVector<Type> types(first->getResultTypes());
  llvm::append_range(types, second->getResultTypes());
  rewriter.setInsertionPoint(first);
  Location loc = rewriter.getFusedLoc({first.getLoc(), second.getLoc()});
  LinearOp merged;
  if (first.hasEpilogue() || second.hasEpilogue()) {
    merged =
        createWithBlock(rewriter, loc, types, first.getX(), weights, extras, first);
    rewriter.setInsertionPointToEnd(&merged.getBody());
    size_t w = first.getWeights().size(), e = first.getExtras().size();
    ValueRange products = merged.getBody().getArguments().take_front(weights.size());
    ValueRange elements = merged.getBody().getArguments().drop_front(weights.size());
    SmallVector<Value> yielded =
        inlineEpilogue(rewriter, first, products.take_front(w), elements.take_front(e));
    llvm::append_range(yielded, inlineEpilogue(rewriter, second, products.drop_front(w),
                                               elements.drop_front(e)));
    YieldOp::create(rewriter, loc, yielded);
  } else {
    merged = LinearOp::create(rewriter, loc, types, first.getX(), weights, extras,
                              ValueRange(), first);
  }
  merged->setDiscardableAttrs(mergeAttributes(first, second));
  size_t split = first->getNumResults();
  rewriter.replaceOp(first, merged.getResults().take_front(split));
  rewriter.replaceOp(second, merged.getResults().drop_front(split));
  return merged;
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

/// Whether an operation computes from results of both.
static bool meet(LinearOp first, LinearOp second) {
  for (Operation *user : first->getUsers())
    if (llvm::is_contained(second->getUsers(), user))
      return true;
  return false;
}

namespace {
struct FusePass : mlir::qlinear::impl::FuseBase<FusePass> {
  using FuseBase::FuseBase;

  void runOnOperation() override {
    llvm::SetVector<Block *> blocks;
    getOperation()->walk([&](Operation *op) {
      auto linear = dyn_cast<LinearOp>(op);
      auto norm = dyn_cast<NormOp>(op);
      if ((linear && linear.hasTensorSemantics()) ||
          (norm && norm.hasTensorSemantics()))
        blocks.insert(op->getBlock());
    });
    for (Block *block : blocks)
      fuse(*block);
  }

private:
  static remark::RemarkOpts options() {
    return remark::RemarkOpts::name("Fuse").category(DEBUG_TYPE);
  }

  static SmallVector<LinearOp> linearsOf(Block &block) {
    SmallVector<LinearOp> linears;
    for (auto linear : block.getOps<LinearOp>())
      if (linear.hasTensorSemantics())
        linears.push_back(linear);
    return linears;
  }

  void fuse(Block &block) {
    DominanceInfo dominance(block.getParentOp());
    if (consumers) {
      fuseNorms(block, dominance);
      fuseConsumers(block, dominance, /*shareInput=*/!siblings);
    }
    if (siblings) {
      // First those whose results meet (gate and up): what joins them needs one N.
      fuseSiblings(block, dominance, /*onlyThatMeet=*/true);
      if (consumers)
        fuseConsumers(block, dominance, /*shareInput=*/false);
      fuseSiblings(block, dominance, /*onlyThatMeet=*/false);
      if (consumers)
        fuseConsumers(block, dominance, /*shareInput=*/true);
    }
    if (consumers)
      for (LinearOp linear : linearsOf(block)) {
        Tail tail(linear, dominance);
        for (auto &[op, why] : tail.reasons())
          remark::missed(op->getLoc(), options())
              << (op->getName().getStringRef() + " stays outside of the linear").str()
              << remark::reason("{0}", why);
      }
  }

  void fuseSiblings(Block &block, DominanceInfo &dominance, bool onlyThatMeet) {
    IRRewriter rewriter(&getContext());
    llvm::MapVector<Value, SmallVector<LinearOp>> byInput;
    for (LinearOp linear : linearsOf(block))
      byInput[linear.getX()].push_back(linear);
    for (auto &[x, linears] : byInput) {
      SmallVector<LinearOp> merged;
      for (LinearOp next : linears) {
        std::string why;
        auto joins = [&](LinearOp &first) {
          if (onlyThatMeet && (!meet(first, next) || first.getWeightType(0).getN() !=
                                                         next.getWeightType(0).getN()))
            return false;
          why = whyNotMerged(first, next, dominance);
          return why.empty();
        };
        auto first = llvm::find_if(merged, joins);
        if (first == merged.end()) {
          if (!why.empty() && !onlyThatMeet)
            remark::missed(next.getLoc(), options())
                << "linear is not merged with another on the same input"
                << remark::reason("{0}", why);
          merged.push_back(next);
          continue;
        }
        *first = mergeSiblings(rewriter, *first, next, dominance);
        ++siblingsFused;
        remark::passed(first->getLoc(), options())
            << "linears on one input became one"
            << remark::metric("weights", first->getWeights().size());
      }
    }
  }

  void fuseNorms(Block &block, DominanceInfo &dominance) {
    IRRewriter rewriter(&getContext());
    for (NormOp norm : llvm::to_vector(block.getOps<NormOp>()))
      while ((norm = fuseIntoNorm(rewriter, norm, dominance))) {
        ++consumersFused;
        remark::passed(norm.getLoc(), options())
            << "an elementwise operation moved into the epilogue of a norm";
      }
  }

  void fuseConsumers(Block &block, DominanceInfo &dominance, bool shareInput) {
    IRRewriter rewriter(&getContext());
    SmallVector<LinearOp> worklist = linearsOf(block);
    while (!worklist.empty()) {
      Tail tail(worklist.pop_back_val(), dominance, shareInput);
      if (!tail)
        continue;
      consumersFused += tail.operations().size();
      size_t count = tail.operations().size();
      LinearOp fused = tail.fuse(rewriter);
      worklist.push_back(fused);
      remark::passed(fused.getLoc(), options())
          << "elementwise operations moved into the epilogue"
          << remark::metric("operations", count);
    }
  }
};
} // namespace
