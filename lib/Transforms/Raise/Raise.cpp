//===- Raise.cpp - From dequantized weights in linalg to qlinear ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For every contraction sum of x * w, where w is computed from integer codes:
//
//   1. operations of other dialects get an equivalent in linalg (RaiseFrontends.h);
//   2. the scalar tree of the body (RaiseAnalysis.h) is split into x, the codes q,
//      and the factors and terms that they are combined with (RaiseMatch.cpp);
//   3. the loops become three indices m, n and k, and each component's index in
//      each dimension a digit of one of them; a component whose digits make up
//      (n, k) or (n, k floordiv group) can be reshaped to a matrix (RaiseIndices.cpp);
//   4. the encoding is chosen (RaiseEncoding.cpp);
//   5. the components are brought to that shape and packed (RaiseRewrite.cpp).
//
// RMS norms are found by what they compute, too (RaiseNorm.cpp).
//
//===----------------------------------------------------------------------===//
#include "RaiseNorm.h"
#include "RaiseRotary.h"
#include "Raiser.h"

#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"

#define DEBUG_TYPE "qlinear-raise"

namespace mlir::qlinear {
#define GEN_PASS_DEF_RAISE
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

namespace {
struct RaisePass : mlir::qlinear::impl::RaiseBase<RaisePass> {
  void runOnOperation() override {
    Frontends known(&getContext());
    frontends = &known;
    done.clear();
    erased.clear();
    folded.clear();
    // First what adds up partial sums: alone, those are sums over a batch of weights.
    SmallVector<linalg::LinalgOp> contractions;
    getOperation()->walk([&](linalg::LinalgOp op) { contractions.push_back(op); });
    for (linalg::LinalgOp op : contractions)
      raise(op, op, {}, /*seeSums=*/true);

    SmallVector<Operation *> candidates;
    getOperation()->walk([&](Operation *op) { candidates.push_back(op); });
    for (Operation *op : candidates) {
      if (done.contains(op))
        continue;
      if (auto contraction = dyn_cast<linalg::LinalgOp>(op)) {
        raise(op, contraction, {}, /*seeSums=*/false);
        continue;
      }
      if (auto linear = known.lowerLinear(op))
        raise(op, linear->contraction, linear->result, /*seeSums=*/false);
      else if (StringRef why = known.whyNot(op);
               !why.empty() && !Frontends::isDequantization(op))
        reportDeclined(op, why);
    }
    known.eraseDead(folded);
    known.eraseUnused();
    known.eraseDead(erased);
    known.eraseUnused();
    raiseRowOperations();
  }

private:
  static remark::RemarkOpts options() {
    return remark::RemarkOpts::name("Raise").category(DEBUG_TYPE);
  }

  /// Norms and rotary embeddings.
  void raiseRowOperations() {
    SmallVector<linalg::GenericOp> generics;
    getOperation()->walk([&](linalg::GenericOp op) { generics.push_back(op); });
    for (linalg::GenericOp op : generics) {
      Location loc = op.getLoc();
      std::string whyNoNorm, whyNoRotary;
      // What raises an operation erases it, and what is before it.
      if (std::string what = raiseNorm(op, whyNoNorm); !what.empty()) {
        ++numNorms;
        remark::passed(loc, options()) << what << " became qlinear.norm";
      } else if (raiseRotary(op, whyNoRotary)) {
        ++numRotary;
        remark::passed(loc, options()) << "a rotary embedding became qlinear.rotary";
      } else if (!whyNoNorm.empty()) {
        reportDeclined(loc, "a norm stays", whyNoNorm);
      } else if (!whyNoRotary.empty()) {
        reportDeclined(loc, "a rotary embedding stays", whyNoRotary);
      }
    }
  }

  void reportDeclined(Location loc, StringRef what, StringRef why) {
    ++numDeclined;
    remark::missed(loc, options()) << what << remark::reason("{0}", why);
  }

  void reportDeclined(Operation *op, StringRef why) {
    reportDeclined(op->getLoc(),
                   (Frontends::nameOf(op) + " of a quantized weight stays").str(), why);
  }

  /// Raises `contraction`, which is `op` or stands for it; `result` replaces the
  /// result of `op` then.
  void raise(Operation *op, linalg::LinalgOp contraction, Value result, bool seeSums) {
    Raiser raiser(contraction, *frontends);
    LogicalResult matched = raiser.match(seeSums);
    if (failed(matched) && raiser.why.empty()) {
      if (std::string why = seeSums || op != contraction.getOperation()
                                ? std::string()
                                : explainUnmatched(contraction);
          !why.empty())
        reportDeclined(op, why);
      return;
    }
    done.insert(op);
    done.insert_range(raiser.partial);
    if (failed(matched))
      return reportDeclined(op, raiser.why);
    OpBuilder builder(contraction);
    Value y = raiser.rewrite(builder);
    ++numRaised;
    remark::passed(op->getLoc(), options())
        << (Frontends::nameOf(op) + " became qlinear.linear").str()
        << remark::metric("encoding", raiser.encodingSpelling());
    Value replaced = contraction->getResult(0);
    if (result)
      op->getResult(0).replaceAllUsesWith(result == replaced ? y : result);
    replaced.replaceAllUsesWith(y);
    erased.push_back(op);
    folded.append(raiser.folded);
    if (!result ||
        Frontends::nameOf(result.getDefiningOp()) != "torch_c.from_builtin_tensor")
      return;
    // Back to a builtin tensor at once.
    Value source = result.getDefiningOp()->getOperand(0);
    for (Operation *user : llvm::to_vector(result.getUsers()))
      if (Frontends::nameOf(user) == "torch_c.to_builtin_tensor" &&
          user->getResult(0).getType() == source.getType()) {
        user->getResult(0).replaceAllUsesWith(source);
        erased.push_back(user);
      }
  }

  Frontends *frontends = nullptr;
  DenseSet<Operation *> done;
  SmallVector<Operation *> erased, folded;
};
} // namespace
