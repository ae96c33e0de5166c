//===- ReferenceRotary.cpp - The meaning of rotary embeddings in linalg ---===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ReferenceBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {
struct RotaryPattern : OpConversionPattern<RotaryOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult matchAndRewrite(RotaryOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &b) const override {
    SmallVector<Value> results;
    for (Value input : adaptor.getInputs())
      results.push_back(rotate(b, op, input, adaptor.getCos(), adaptor.getSin()));
    b.replaceOp(op, results);
    return success();
  }

private:
  /// Element by element: x * cos + y * sin, with y the element of the other half of
  /// the head, negative for the first half.
  static Value rotate(OpBuilder &b, RotaryOp op, Value input, Value cos, Value sin) {
    Location loc = op.getLoc();
    FloatType f64 = b.getF64Type();
    auto wide = [&](Value v) { return castElements(b, loc, v, f64); };
    Value x = wide(input), c = wide(cos), s = wide(sin);
    AffineMap element = b.getMultiDimIdentityMap(2);
    auto body = [&](OpBuilder &b, Location loc, ValueRange v) {
      auto index = [&](int64_t i) {
        return Value(arith::ConstantIndexOp::create(b, loc, i));
      };
      auto below = [&](Value i, int64_t limit) {
        return Value(
            arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, i, index(limit)));
      };
      Value row = linalg::IndexOp::create(b, loc, 0);
      Value column = linalg::IndexOp::create(b, loc, 1);
      Value i = arith::RemUIOp::create(b, loc, column, index(int64_t(op.getHead())));
      Value isRotated = below(i, op.getRotated());
      Value isFirst = below(i, op.getRotated() / 2), half = index(op.getRotated() / 2);
      // Columns that stay read some element, too.
      auto inside = [&](Value at) {
        return Value(arith::SelectOp::create(b, loc, isRotated, at, index(0)));
      };
      Value other = inside(arith::SelectOp::create(
          b, loc, isFirst, arith::AddIOp::create(b, loc, column, half),
          arith::SubIOp::create(b, loc, column, half)));
      auto read = [&](Value from, Value at) {
        return Value(tensor::ExtractOp::create(b, loc, from, ValueRange{row, at}));
      };
      Value y = read(x, other), negative = arith::NegFOp::create(b, loc, y);
      y = arith::SelectOp::create(b, loc, isFirst, negative, y);
      Value sum = arith::AddFOp::create(
          b, loc, arith::MulFOp::create(b, loc, v[0], read(c, inside(i))),
          arith::MulFOp::create(b, loc, y, read(s, inside(i))));
      Value result = arith::SelectOp::create(b, loc, isRotated, sum, v[0]);
      linalg::YieldOp::create(b, loc, result);
    };
    Value result =
        generic(b, loc, x, emptyTensor(b, loc, tensor::getMixedSizes(b, loc, x), f64),
                {element, element},
                {utils::IteratorType::parallel, utils::IteratorType::parallel}, body)
            .getResult(0);
    return castElements(b, loc, result, op.getElement());
  }
};
} // namespace

void mlir::qlinear::populateRotaryReference(RewritePatternSet &patterns,
                                            const TypeConverter &converter) {
  patterns.add<RotaryPattern>(converter, patterns.getContext());
}
