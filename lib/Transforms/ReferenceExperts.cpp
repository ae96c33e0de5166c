//===- ReferenceExperts.cpp - The meaning of mixtures of experts in linalg ===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ReferenceBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {
struct GroupedLinearPattern : OpConversionPattern<GroupedLinearOp> {
  GroupedLinearPattern(const TypeConverter &converter, MLIRContext *context,
                       FloatType accumulate, bool int8)
      : OpConversionPattern(converter, context), accumulate(accumulate), int8(int8) {}

  LogicalResult matchAndRewrite(GroupedLinearOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &b) const override {
    Location loc = op.getLoc();
    Value x = adaptor.getX(), ids = adaptor.getIds();
    bool quantizes = op.getActivationsAttr() ? !op.multipliesFloats() : int8;
    if (quantizes)
      x = quantizeTensor(b, loc, x);
    x = castElements(b, loc, x, accumulate);
    SmallVector<Value> results;
    for (Value weight : adaptor.getWeights())
      results.push_back(
          multiply(b, op, x, ids, castElements(b, loc, weight, accumulate)));
    if (op.hasEpilogue()) {
      SmallVector<Value> extras;
      for (auto [i, extra] : llvm::enumerate(adaptor.getExtras()))
        extras.push_back(elementsOf(b, op, unsigned(i), extra, ids));
      results = llvm::to_vector(mapEpilogue(b, op, results, extras));
    }
    for (auto [result, of] : llvm::zip(results, op.getResults())) {
      auto type = cast<FloatType>(getElementTypeOrSelf(of.getType()));
      result = castElements(b, loc, known(b, op, result, ids), type);
    }
    b.replaceOp(op, results);
    return success();
  }

private:
  /// The first row of an expert that there is, from the id of one that may not be.
  static Value rowOf(OpBuilder &b, GroupedLinearOp op, Value id) {
    Location loc = op.getLoc();
    auto number = [&](int64_t v) -> Value {
      return arith::ConstantIntOp::create(b, loc, b.getI32Type(), v);
    };
    id = arith::MaxSIOp::create(b, loc, id, number(0));
    id = arith::MinSIOp::create(b, loc, id, number(int64_t(op.getExperts()) - 1));
    id = arith::IndexCastOp::create(b, loc, b.getIndexType(), id);
    return arith::MulIOp::create(b, loc, id,
                                 arith::ConstantIndexOp::create(b, loc, op.getN()));
  }

  /// The products, M x T*N, in order of k.
  Value multiply(OpBuilder &b, GroupedLinearOp op, Value x, Value ids, Value w) const {
    Location loc = op.getLoc();
    MLIRContext *context = b.getContext();
    int64_t n = op.getN(), K = op.getK();
    AffineExpr m = b.getAffineDimExpr(0), j = b.getAffineDimExpr(1),
               k = b.getAffineDimExpr(2);
    AffineExpr t = j.floorDiv(n);
    OpFoldResult sizes[] = {tensor::getMixedSize(b, loc, x, 0),
                            b.getIndexAttr(op.getChoices() * n)};
    Value zeros = linalg::FillOp::create(b, loc, constant(b, loc, accumulate, 0),
                                         emptyTensor(b, loc, sizes, accumulate))
                      .getResult(0);
    // Gives the loop over k its bounds, which t * K + k does not.
    Value columns = emptyTensor(b, loc, {OpFoldResult(b.getIndexAttr(K))}, accumulate);
    return generic(b, loc, {x, ids, columns}, zeros,
                   {AffineMap::get(3, 0, {m, op.hasPieces() ? t * K + k : k}, context),
                    AffineMap::get(3, 0, {m, t}, context), AffineMap::get(3, 0, k),
                    AffineMap::get(3, 0, {m, j}, context)},
                   {kParallel, kParallel, kReduction},
                   [&](OpBuilder &b, Location loc, ValueRange arguments) {
                     Value j = linalg::IndexOp::create(b, loc, 1);
                     Value k = linalg::IndexOp::create(b, loc, 2);
                     Value size = arith::ConstantIndexOp::create(b, loc, n);
                     Value row = arith::RemUIOp::create(b, loc, j, size);
                     row =
                         arith::AddIOp::create(b, loc, row, rowOf(b, op, arguments[1]));
                     Value element =
                         tensor::ExtractOp::create(b, loc, w, ValueRange{row, k});
                     Value product =
                         arith::MulFOp::create(b, loc, arguments[0], element);
                     linalg::YieldOp::create(
                         b, loc,
                         Value(arith::AddFOp::create(b, loc, arguments[3], product)));
                   })
        .getResult(0);
  }

  /// Maps of an M x T*N tensor and of what has an element for each choice.
  static SmallVector<AffineMap> maps(OpBuilder &b, GroupedLinearOp op) {
    AffineExpr m = b.getAffineDimExpr(0), j = b.getAffineDimExpr(1);
    return {b.getMultiDimIdentityMap(2),
            AffineMap::get(2, 0, {m, j.floorDiv(op.getN())}, b.getContext())};
  }

  /// An extra as one that mapEpilogue knows: of M x T*N, or of one element.
  static Value elementsOf(OpBuilder &b, GroupedLinearOp op, unsigned index, Value extra,
                          Value ids) {
    Location loc = op.getLoc();
    GroupedLinearOp::ExtraKind kind = op.getExtraKind(index);
    if (kind == GroupedLinearOp::ExtraKind::one ||
        kind == GroupedLinearOp::ExtraKind::element)
      return extra;
    SmallVector<AffineMap> all = maps(b, op);
    OpFoldResult sizes[] = {tensor::getMixedSize(b, loc, ids, 0),
                            b.getIndexAttr(op.getChoices() * op.getN())};
    Value empty = emptyTensor(b, loc, sizes, getElementTypeOrSelf(extra.getType()));
    return generic(b, loc, ids, empty, {all[1], all[0]}, {kParallel, kParallel},
                   [&](OpBuilder &b, Location loc, ValueRange arguments) {
                     Value j = linalg::IndexOp::create(b, loc, 1);
                     Value size = arith::ConstantIndexOp::create(b, loc, op.getN());
                     SmallVector<Value> at;
                     if (kind == GroupedLinearOp::ExtraKind::choice) {
                       at = {linalg::IndexOp::create(b, loc, 0),
                             arith::DivUIOp::create(b, loc, j, size)};
                     } else {
                       at = {arith::RemUIOp::create(b, loc, j, size)};
                       if (kind == GroupedLinearOp::ExtraKind::expertColumn)
                         at[0] = arith::AddIOp::create(b, loc, at[0],
                                                       rowOf(b, op, arguments[0]));
                     }
                     linalg::YieldOp::create(
                         b, loc, Value(tensor::ExtractOp::create(b, loc, extra, at)));
                   })
        .getResult(0);
  }

  /// `result` with 0 and NaN for choices of no expert.
  static Value known(OpBuilder &b, GroupedLinearOp op, Value result, Value ids) {
    Location loc = op.getLoc();
    SmallVector<AffineMap> all = maps(b, op);
    auto type = cast<FloatType>(getElementTypeOrSelf(result.getType()));
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, result);
    return generic(b, loc, {result, ids}, emptyTensor(b, loc, sizes, type),
                   {all[0], all[1], all[0]}, {kParallel, kParallel},
                   [&](OpBuilder &b, Location loc, ValueRange arguments) {
                     Value id = arguments[1];
                     auto with = [&](arith::CmpIPredicate predicate, int64_t v) {
                       Value number =
                           arith::ConstantIntOp::create(b, loc, b.getI32Type(), v);
                       return arith::CmpIOp::create(b, loc, predicate, id, number)
                           .getResult();
                     };
                     constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
                     Value isMistake =
                         with(arith::CmpIPredicate::sge, int64_t(op.getExperts()));
                     Value value = arith::SelectOp::create(
                         b, loc, isMistake, constant(b, loc, type, kNaN), arguments[0]);
                     value = arith::SelectOp::create(b, loc,
                                                     with(arith::CmpIPredicate::slt, 0),
                                                     constant(b, loc, type, 0), value);
                     linalg::YieldOp::create(b, loc, value);
                   })
        .getResult(0);
  }

  FloatType accumulate;
  bool int8;
};

struct CombinePattern : OpConversionPattern<CombineOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult matchAndRewrite(CombineOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &b) const override {
    Location loc = op.getLoc();
    MLIRContext *context = b.getContext();
    FloatType f64 = b.getF64Type();
    int64_t N = op.getN();
    Value x = castElements(b, loc, adaptor.getX(), f64);
    Value scales = castElements(b, loc, adaptor.getScales(), f64);
    AffineExpr m = b.getAffineDimExpr(0), n = b.getAffineDimExpr(1),
               t = b.getAffineDimExpr(2);
    OpFoldResult sizes[] = {tensor::getMixedSize(b, loc, x, 0), b.getIndexAttr(N)};
    Value zeros = linalg::FillOp::create(b, loc, constant(b, loc, f64, 0),
                                         emptyTensor(b, loc, sizes, f64))
                      .getResult(0);
    Value sum = generic(b, loc, {x, scales}, zeros,
                        {AffineMap::get(3, 0, {m, t * N + n}, context),
                         AffineMap::get(3, 0, {m, t}, context),
                         AffineMap::get(3, 0, {m, n}, context)},
                        {kParallel, kParallel, kReduction},
                        [&](OpBuilder &b, Location loc, ValueRange v) {
                          Value term = arith::MulFOp::create(b, loc, v[0], v[1]);
                          linalg::YieldOp::create(
                              b, loc, Value(arith::AddFOp::create(b, loc, v[2], term)));
                        })
                    .getResult(0);
    if (op.hasEpilogue())
      b.replaceOp(op, mapEpilogue(b, op, sum, adaptor.getExtras()));
    else
      b.replaceOp(op, castElements(b, loc, sum,
                                   cast<FloatType>(getElementTypeOrSelf(
                                       op.getResult(0).getType()))));
    return success();
  }
};
} // namespace

void mlir::qlinear::populateExpertReference(RewritePatternSet &patterns,
                                            const TypeConverter &converter,
                                            FloatType accumulate, bool int8) {
  patterns.add<GroupedLinearPattern>(converter, patterns.getContext(), accumulate,
                                     int8);
  patterns.add<CombinePattern>(converter, patterns.getContext());
}
