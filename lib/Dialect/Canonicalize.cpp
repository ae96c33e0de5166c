//===- Canonicalize.cpp - Folders and canonicalizations -------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/Constants.h"
#include "qlinear/Dialect/QLinear.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/SmallBitVector.h"

using namespace mlir;
using namespace mlir::qlinear;

//===----------------------------------------------------------------------===//
// reencode, dequantize
//===----------------------------------------------------------------------===//

OpFoldResult ReencodeOp::fold(FoldAdaptor) {
  return getWeight().getType() == getType() ? getWeight() : Value();
}

namespace {
/// reencode(reencode(w : A -> B) : B -> C) is reencode(w : A -> C) when B holds
/// the values of A exactly. Otherwise B loses something that C must not regain.
struct ReencodeOfLossless : OpRewritePattern<ReencodeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ReencodeOp op,
                                PatternRewriter &rewriter) const override {
    auto inner = op.getWeight().getDefiningOp<ReencodeOp>();
    if (!inner)
      return rewriter.notifyMatchFailure(op, "not of a re-encoded weight");
    EncodingAttr from = inner.getWeight().getType().getEncoding();
    if (!from.isLosslessTo(inner.getType().getEncoding()))
      return rewriter.notifyMatchFailure(op, "the first re-encoding is lossy");
    rewriter.modifyOpInPlace(op,
                             [&] { op.getWeightMutable().assign(inner.getWeight()); });
    return success();
  }
};
} // namespace

void ReencodeOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                             MLIRContext *context) {
  patterns.add<ReencodeOfLossless>(context);
}

/// Larger weights stay packed: their floats would take 4 to 8 times the memory.
static constexpr int64_t kMaxFoldedElements = 1 << 16;

LogicalResult DequantizeOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &results) {
  auto pack = getInput().getDefiningOp<PackOp>();
  if (!pack || !hasTensorSemantics())
    return failure();
  auto type = cast<RankedTensorType>(getResult().getType());
  if (type.getNumElements() > kMaxFoldedElements)
    return failure();
  FailureOr<::qlinear::EncodedWeight> weight = getConstantWeight(pack);
  if (failed(weight))
    return failure();
  ::qlinear::Result<::qlinear::AffineWeight> exact = ::qlinear::decode(*weight);
  if (!exact)
    return failure();
  auto element = cast<FloatType>(type.getElementType());
  SmallVector<APFloat> values;
  values.reserve(type.getNumElements());
  for (uint64_t n = 0; n < exact->N; ++n)
    for (uint64_t k = 0; k < exact->K; ++k) {
      bool losesInfo;
      values.emplace_back(exact->weight(n, k));
      values.back().convert(element.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                            &losesInfo);
    }
  results.push_back(DenseElementsAttr::get(type, values));
  return success();
}

//===----------------------------------------------------------------------===//
// linear
//===----------------------------------------------------------------------===//

/// A linear with other operands; its epilogue is moved into it.
static LinearOp rebuild(PatternRewriter &rewriter, LinearOp op, TypeRange results,
                        Value x, ValueRange weights, ValueRange extras) {
  auto rebuilt = LinearOp::create(rewriter, op.getLoc(), results, x, weights, extras,
                                  ValueRange(), op);
  rebuilt.getEpilogue().takeBody(op.getEpilogue());
  return rebuilt;
}

namespace {
/// Without a region: equal weights are computed once, and a weight whose result
/// has no use is dropped.
struct SimplifyPlainLinear : OpRewritePattern<LinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LinearOp op, PatternRewriter &rewriter) const override {
    if (op.hasEpilogue())
      return rewriter.notifyMatchFailure(op, "has an epilogue");
    if (!op.getOuts().empty())
      return rewriter.notifyMatchFailure(op, "says where its results go");
    SmallVector<Value> weights;
    SmallVector<Type> types;
    // Per result its place in the new op, or none if it is unused.
    SmallVector<std::optional<unsigned>> places;
    for (auto [weight, result] : llvm::zip(op.getWeights(), op.getResults())) {
      if (result.use_empty()) {
        places.push_back(std::nullopt);
        continue;
      }
      unsigned place = 0;
      while (place < weights.size() &&
             (weights[place] != weight || types[place] != result.getType()))
        ++place;
      if (place == weights.size()) {
        weights.push_back(weight);
        types.push_back(result.getType());
      }
      places.push_back(place);
    }
    if (weights.empty() || weights.size() == op.getWeights().size())
      return rewriter.notifyMatchFailure(op, "every weight is needed");
    LinearOp rebuilt = rebuild(rewriter, op, types, op.getX(), weights, {});
    for (auto [result, place] : llvm::zip(op.getResults(), places))
      if (place)
        rewriter.replaceAllUsesWith(result, rebuilt.getResult(*place));
    rewriter.eraseOp(op);
    return success();
  }
};

/// With a region: an argument whose operand is there already is replaced by the
/// other's; an argument without uses is dropped with its operand, as long as
/// one weight is left; so is a yielded value whose result has no use.
struct SimplifyEpilogueOperands : OpRewritePattern<LinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LinearOp op, PatternRewriter &rewriter) const override {
    if (!op.hasEpilogue())
      return rewriter.notifyMatchFailure(op, "has no epilogue");
    if (!op.getOuts().empty())
      return rewriter.notifyMatchFailure(op, "says where its results go");
    Block &body = op.getBody();
    bool changed = false;
    auto merge = [&](OperandRange operands, auto arguments) {
      for (auto [i, argument] : llvm::enumerate(arguments))
        for (unsigned j = 0; j < i; ++j)
          if (operands[i] == operands[j] && !argument.use_empty()) {
            rewriter.replaceAllUsesWith(argument, arguments[j]);
            changed = true;
            break;
          }
    };
    merge(op.getWeights(), op.getComputedArguments());
    merge(op.getExtras(), op.getExtraArguments());

    SmallVector<Value> weights, extras;
    llvm::BitVector dead(body.getNumArguments());
    unsigned live = llvm::count_if(op.getComputedArguments(), [](Value argument) {
      return !argument.use_empty();
    });
    for (auto [weight, argument] :
         llvm::zip(op.getWeights(), op.getComputedArguments())) {
      bool keep = !argument.use_empty() || (live == 0 && weights.empty());
      if (keep)
        weights.push_back(weight);
      else
        dead.set(argument.getArgNumber());
    }
    for (auto [extra, argument] : llvm::zip(op.getExtras(), op.getExtraArguments())) {
      if (argument.use_empty())
        dead.set(argument.getArgNumber());
      else
        extras.push_back(extra);
    }

    SmallVector<Value> results, yielded;
    auto yield = cast<YieldOp>(body.getTerminator());
    for (auto [result, value] : llvm::zip(op.getResults(), yield.getValues()))
      if (!result.use_empty()) {
        results.push_back(result);
        yielded.push_back(value);
      }
    bool dropsResults = !results.empty() && results.size() < op.getNumResults();
    if (dead.none() && !dropsResults)
      return success(changed);

    if (dropsResults)
      rewriter.modifyOpInPlace(yield,
                               [&] { yield.getValuesMutable().assign(yielded); });
    else
      results.assign(op.result_begin(), op.result_end());
    rewriter.modifyOpInPlace(op, [&] { body.eraseArguments(dead); });
    LinearOp rebuilt = rebuild(rewriter, op, ValueRange(results).getTypes(), op.getX(),
                               weights, extras);
    for (auto [from, to] : llvm::zip(results, rebuilt.getResults()))
      rewriter.replaceAllUsesWith(from, to);
    rewriter.eraseOp(op);
    return success();
  }
};

/// A linear without a region does the same as a region that yields the products,
/// rounded to the elements of the results.
struct DropIdentityEpilogue : OpRewritePattern<LinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LinearOp op, PatternRewriter &rewriter) const override {
    if (!op.hasEpilogue() || !op.getExtras().empty() ||
        op.getValueTypes().size() != op.getWeights().size())
      return rewriter.notifyMatchFailure(op, "no identity");
    auto yield = cast<YieldOp>(op.getBody().getTerminator());
    for (auto [value, argument] :
         llvm::zip(yield.getValues(), op.getComputedArguments())) {
      Value product = value;
      if (auto round = product.getDefiningOp<arith::TruncFOp>();
          round &&
          round.getRoundingmode().value_or(arith::RoundingMode::to_nearest_even) ==
              arith::RoundingMode::to_nearest_even)
        product = round.getIn();
      if (product != argument)
        return rewriter.notifyMatchFailure(op, "the epilogue computes");
    }
    rewriter.replaceOp(op, LinearOp::create(rewriter, op.getLoc(), op.getResultTypes(),
                                            op.getX(), op.getWeights(), ValueRange(),
                                            op.getOuts(), op));
    return success();
  }
};

/// A cast that forgets the number of rows of x moves to the results.
struct StaticRows : OpRewritePattern<LinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LinearOp op, PatternRewriter &rewriter) const override {
    auto cast = op.getX().getDefiningOp<tensor::CastOp>();
    if (!op.getOuts().empty())
      return rewriter.notifyMatchFailure(op, "says where its results go");
    if (!cast || !tensor::canFoldIntoConsumerOp(cast))
      return rewriter.notifyMatchFailure(op, "x is no cast that forgets its shape");
    auto source = dyn_cast<RankedTensorType>(cast.getSource().getType());
    if (!source || source.getDimSize(1) != op.getK() || source.isDynamicDim(0))
      return rewriter.notifyMatchFailure(op, "the rows are not known");
    SmallVector<Type> types;
    for (Type type : op.getResultTypes())
      types.push_back(mlir::cast<RankedTensorType>(type).clone(
          {source.getDimSize(0), mlir::cast<RankedTensorType>(type).getDimSize(1)}));
    for (Value extra : op.getExtras())
      if (auto type = mlir::cast<RankedTensorType>(extra.getType());
          type.getRank() == 2 && !type.isDynamicDim(0) &&
          type.getDimSize(0) != source.getDimSize(0))
        return rewriter.notifyMatchFailure(op, "an extra has other rows");

    SmallVector<Type> results = llvm::to_vector(op.getResultTypes());
    LinearOp rebuilt =
        rebuild(rewriter, op, types, cast.getSource(), op.getWeights(), op.getExtras());
    SmallVector<Value> casts;
    for (auto [type, value] : llvm::zip(results, rebuilt.getResults()))
      casts.push_back(tensor::CastOp::create(rewriter, op.getLoc(), type, value));
    rewriter.replaceOp(op, casts);
    return success();
  }
};
} // namespace

void LinearOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                           MLIRContext *context) {
  patterns.add<SimplifyPlainLinear, SimplifyEpilogueOperands, DropIdentityEpilogue,
               StaticRows>(context);
}
