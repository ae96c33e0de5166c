//===- ReferenceNorm.cpp - The meaning of a norm in linalg ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ReferenceBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {
struct NormPattern : OpConversionPattern<NormOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult matchAndRewrite(NormOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &b) const override {
    Location loc = op.getLoc();
    FloatType f32 = b.getF32Type(), f64 = b.getF64Type();
    auto inputs = llvm::map_to_vector(
        adaptor.getInputs(), [&](Value x) { return castElements(b, loc, x, f64); });
    AffineMap element = b.getMultiDimIdentityMap(2);
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, inputs.front());
    Value sum = inputs.front();
    if (inputs.size() == 2) { // in f32, and rounded
      sum =
          generic(b, loc, inputs, emptyTensor(b, loc, sizes, f64),
                  {element, element, element}, {kParallel, kParallel},
                  [&](OpBuilder &b, Location loc, ValueRange v) {
                    Value s = arith::AddFOp::create(b, loc, v[0], v[1]);
                    s = toFloat(b, loc, toFloat(b, loc, s, f32), op.getInputElement());
                    linalg::YieldOp::create(b, loc, toFloat(b, loc, s, f64));
                  })
              .getResult(0);
    }

    // One number per row: the mean of a function of each element and one more number.
    AffineMap row = AffineMap::get(2, 0, b.getAffineDimExpr(0));
    Value K = constant(b, loc, f64, double(op.getK()));
    auto mean = [&](Value other, auto term) -> Value {
      Value zeros = linalg::FillOp::create(b, loc, constant(b, loc, f64, 0),
                                           emptyTensor(b, loc, sizes[0], f64))
                        .getResult(0);
      return generic(b, loc, {sum, other}, zeros, {element, row, row},
                     {kParallel, kReduction},
                     [&](OpBuilder &b, Location loc, ValueRange v) {
                       Value share = arith::DivFOp::create(b, loc, term(b, loc, v), K);
                       linalg::YieldOp::create(
                           b, loc, Value(arith::AddFOp::create(b, loc, v[2], share)));
                     })
          .getResult(0);
    };
    Value means = linalg::FillOp::create(b, loc, constant(b, loc, f64, 0),
                                         emptyTensor(b, loc, sizes[0], f64))
                      .getResult(0);
    if (op.getKind() == NormKind::layer)
      means = mean(means, [](OpBuilder &, Location, ValueRange v) { return v[0]; });
    Value squares = mean(means, [](OpBuilder &b, Location loc, ValueRange v) -> Value {
      Value d = arith::SubFOp::create(b, loc, v[0], v[1]);
      return arith::MulFOp::create(b, loc, d, d);
    });
    Value norm = generic(b, loc, {sum, means, squares}, emptyTensor(b, loc, sizes, f64),
                         {element, row, row, element}, {kParallel, kParallel},
                         [&](OpBuilder &b, Location loc, ValueRange v) {
                           Value epsilon =
                               constant(b, loc, f64, op.getEpsilon().convertToDouble());
                           Value square = arith::AddFOp::create(b, loc, v[2], epsilon);
                           Value d = arith::SubFOp::create(b, loc, v[0], v[1]);
                           Value n = arith::DivFOp::create(
                               b, loc, d, math::SqrtOp::create(b, loc, square));
                           linalg::YieldOp::create(b, loc, n);
                         })
                     .getResult(0);
    if (op.hasEpilogue())
      b.replaceOp(op, mapEpilogue(b, op, {norm, sum}, adaptor.getExtras()));
    else
      b.replaceOp(op, castElements(b, loc, norm,
                                   cast<FloatType>(getElementTypeOrSelf(
                                       op.getResult(0).getType()))));
    return success();
  }
};
} // namespace

void mlir::qlinear::populateNormReference(RewritePatternSet &patterns,
                                          const TypeConverter &converter) {
  patterns.add<NormPattern>(converter, patterns.getContext());
}
