//===- ReferenceRotary.cpp - The meaning of rotary embeddings in linalg ---===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ReferenceBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {
struct RotaryPattern : OpConversionPattern<RotaryOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult matchAndRewrite(RotaryOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &b) const override {
    SmallVector<Value> results;
    for (auto [i, input] : llvm::enumerate(adaptor.getInputs())) {
      Value x = castElements(b, op.getLoc(), input, b.getF64Type());
      if (i < adaptor.getNorms().size())
        x = normalize(b, op, x, adaptor.getNorms()[i]);
      x = op.getRotated(unsigned(i))
              ? rotate(b, op, x, adaptor.getCos(), adaptor.getSin())
              : castElements(b, op.getLoc(), x, op.getElement());
      results.push_back(i < op.getNumRows()
                            ? x
                            : update(b, op, x, adaptor.getCaches()[i - op.getNumRows()],
                                     adaptor.getAt()));
    }
    b.replaceOp(op, results);
    return success();
  }

private:
  /// Each head of x (rows x heads * head, f64) divided by the root of its mean of
  /// squares, times its scales.
  static Value normalize(OpBuilder &b, RotaryOp op, Value x, Value norm) {
    Location loc = op.getLoc();
    FloatType f64 = b.getF64Type();
    auto head = int64_t(op.getHead());
    auto flat = cast<RankedTensorType>(x.getType());
    int64_t heads = flat.getDimSize(1) / head;
    OpFoldResult rows = tensor::getMixedSizes(b, loc, x)[0];
    SmallVector<OpFoldResult> sizes{rows, b.getIndexAttr(heads), b.getIndexAttr(head)};
    SmallVector<ReassociationIndices> groups{{0}, {1, 2}};
    x = tensor::ExpandShapeOp::create(
        b, loc, RankedTensorType::get({flat.getDimSize(0), heads, head}, f64), x,
        groups, sizes);
    AffineMap element = b.getMultiDimIdentityMap(3);
    AffineExpr i = b.getAffineDimExpr(0), j = b.getAffineDimExpr(1);
    AffineMap ofHead = AffineMap::get(3, 0, {i, j}, b.getContext());
    AffineMap inHead = AffineMap::get(3, 0, b.getAffineDimExpr(2));
    Value zeros =
        linalg::FillOp::create(b, loc, constant(b, loc, f64, 0),
                               emptyTensor(b, loc, ArrayRef(sizes).drop_back(), f64))
            .getResult(0);
    Value squares =
        generic(b, loc, x, zeros, {element, ofHead}, {kParallel, kParallel, kReduction},
                [&](OpBuilder &b, Location loc, ValueRange v) {
                  Value square = arith::MulFOp::create(b, loc, v[0], v[0]);
                  linalg::YieldOp::create(
                      b, loc, Value(arith::AddFOp::create(b, loc, v[1], square)));
                })
            .getResult(0);
    auto body = [&](OpBuilder &b, Location loc, ValueRange v) {
      Value mean =
          arith::DivFOp::create(b, loc, v[1], constant(b, loc, f64, double(head)));
      Value epsilon = constant(b, loc, f64, op.getEpsilon()->convertToDouble());
      Value root =
          math::SqrtOp::create(b, loc, arith::AddFOp::create(b, loc, mean, epsilon));
      Value scale = toFloat(b, loc, v[2], f64);
      if (op.getZeroCentered())
        scale = arith::AddFOp::create(b, loc, scale, constant(b, loc, f64, 1));
      Value n = arith::DivFOp::create(b, loc, v[0], root);
      linalg::YieldOp::create(b, loc, Value(arith::MulFOp::create(b, loc, n, scale)));
    };
    Value normalized =
        generic(b, loc, {x, squares, norm}, emptyTensor(b, loc, sizes, f64),
                {element, ofHead, inHead, element}, {kParallel, kParallel, kParallel},
                body)
            .getResult(0);
    return tensor::CollapseShapeOp::create(b, loc, flat, normalized, groups);
  }

  /// The cache with the pieces of x in their places, one after the other.
  static Value update(OpBuilder &b, RotaryOp op, Value x, Value cache, Value at) {
    Location loc = op.getLoc();
    auto type = cast<RankedTensorType>(cache.getType());
    auto index = [&](int64_t i) -> Value {
      return arith::ConstantIndexOp::create(b, loc, i);
    };
    auto sizeOf = [&](Value tensor) -> Value {
      return tensor::DimOp::create(b, loc, tensor, 0);
    };
    auto loop = [&](Value count, Value carried,
                    function_ref<Value(Value, Value)> body) -> Value {
      auto op = scf::ForOp::create(b, loc, index(0), count, index(1), carried);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(op.getBody());
      scf::YieldOp::create(b, loc,
                           body(op.getInductionVar(), op.getRegionIterArg(0)));
      return op.getResult(0);
    };
    Value places = sizeOf(cache), width = index(type.getDimSize(1));
    return loop(sizeOf(x), cache, [&](Value row, Value cache) {
      return loop(index(op.getPieces()), cache, [&](Value piece, Value cache) -> Value {
        Value place = tensor::ExtractOp::create(b, loc, at, ValueRange{row, piece});
        // Below 0 it is above all numbers without a sign.
        place = arith::IndexCastOp::create(b, loc, b.getIndexType(), place);
        Value isInside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, place,
                                               places);
        return scf::IfOp::create(
                   b, loc, isInside,
                   [&](OpBuilder &b, Location loc) {
                     SmallVector<OpFoldResult> one{b.getIndexAttr(1), b.getIndexAttr(1)};
                     SmallVector<OpFoldResult> sizes{
                         b.getIndexAttr(1), b.getIndexAttr(type.getDimSize(1))};
                     Value from = arith::MulIOp::create(b, loc, piece, width);
                     Value slice = tensor::ExtractSliceOp::create(
                         b, loc, x, ArrayRef<OpFoldResult>{row, from}, sizes, one);
                     Value result = tensor::InsertSliceOp::create(
                         b, loc, slice, cache,
                         ArrayRef<OpFoldResult>{place, b.getIndexAttr(0)}, sizes, one);
                     scf::YieldOp::create(b, loc, result);
                   },
                   [&](OpBuilder &b, Location loc) {
                     scf::YieldOp::create(b, loc, cache);
                   })
            .getResult(0);
      });
    });
  }

  /// Element by element: x * cos + y * sin, with y the element of the other half of
  /// the head, negative for the first half.
  static Value rotate(OpBuilder &b, RotaryOp op, Value x, Value cos, Value sin) {
    Location loc = op.getLoc();
    FloatType f64 = b.getF64Type();
    auto wide = [&](Value v) { return castElements(b, loc, v, f64); };
    Value c = wide(cos), s = wide(sin);
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
                {element, element}, {kParallel, kParallel}, body)
            .getResult(0);
    return castElements(b, loc, result, op.getElement());
  }
};
} // namespace

void mlir::qlinear::populateRotaryReference(RewritePatternSet &patterns,
                                            const TypeConverter &converter) {
  patterns.add<RotaryPattern>(converter, patterns.getContext());
}
