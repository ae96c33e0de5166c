//===- ReferenceEmbedding.cpp - The meaning of rows of weights in linalg --===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ReferenceBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {
struct EmbeddingPattern : OpConversionPattern<EmbeddingOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult matchAndRewrite(EmbeddingOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &b) const override {
    Location loc = op.getLoc();
    WeightType type = op.getWeightType();
    Value weight = adaptor.getWeight(), indices = adaptor.getIndices();
    OpFoldResult rows = tensor::getMixedSizes(b, loc, indices)[0];
    Value empty =
        emptyTensor(b, loc, {rows, b.getIndexAttr(type.getK())}, op.getElement());
    AffineMap column = AffineMap::get(
        2, 0, {b.getAffineDimExpr(0), b.getAffineConstantExpr(0)}, b.getContext());
    auto body = [&](OpBuilder &b, Location loc, ValueRange args) {
      Value index = arith::IndexCastOp::create(b, loc, b.getIndexType(), args.front());
      Value zero = arith::ConstantIndexOp::create(b, loc, 0);
      Value n = arith::ConstantIndexOp::create(b, loc, type.getN());
      // Below 0 it is large.
      Value known = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, index, n);
      Value row = arith::SelectOp::create(b, loc, known, index, zero);
      Value k = linalg::IndexOp::create(b, loc, 1);
      Value value = tensor::ExtractOp::create(b, loc, weight, ValueRange{row, k});
      value = toFloat(b, loc, value, op.getElement());
      Value nan = arith::ConstantOp::create(
          b, loc,
          b.getFloatAttr(op.getElement(),
                         APFloat::getQNaN(op.getElement().getFloatSemantics())));
      linalg::YieldOp::create(
          b, loc, arith::SelectOp::create(b, loc, known, value, nan).getResult());
    };
    b.replaceOp(op,
                generic(b, loc, indices, empty, {column, b.getMultiDimIdentityMap(2)},
                        {kParallel, kParallel}, body));
    return success();
  }
};
} // namespace

void mlir::qlinear::populateEmbeddingReference(RewritePatternSet &patterns,
                                               const TypeConverter &converter) {
  patterns.add<EmbeddingPattern>(converter, patterns.getContext());
}
