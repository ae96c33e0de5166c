//===- ChoiceLinear.cpp - One expert's part of a linear -------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ChoiceLinear.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace mlir::qlinear;

ChoiceLinear::ChoiceLinear(GroupedLinearOp grouped, bool quantized)
    : block(std::make_unique<Block>()) {
  MLIRContext *context = grouped.getContext();
  Location loc = grouped.getLoc();
  int64_t n = grouped.getN(), k = grouped.getK();
  auto argument = [&](Type type) -> Value { return block->addArgument(type, loc); };
  auto like = [&](ArrayRef<int64_t> shape, Type type) -> Type {
    return RankedTensorType::get(shape, getElementTypeOrSelf(type));
  };
  Value x = argument(quantized ? Type(ActivationsType::get(context, 1, k))
                               : like({1, k}, grouped.getX().getType()));
  SmallVector<Value> weights, extras;
  for (Value weight : grouped.getWeights()) {
    EncodingAttr encoding = cast<WeightType>(weight.getType()).getEncoding();
    weights.push_back(argument(WeightType::get(context, n, k, encoding)));
  }
  for (auto [i, extra] : llvm::enumerate(grouped.getExtras())) {
    Type type = extra.getType();
    switch (grouped.getExtraKind(unsigned(i))) {
    case GroupedLinearOp::ExtraKind::one:
    case GroupedLinearOp::ExtraKind::choice:
      extras.push_back(argument(like({1}, type)));
      break;
    case GroupedLinearOp::ExtraKind::column:
    case GroupedLinearOp::ExtraKind::expertColumn:
      extras.push_back(argument(like({n}, type)));
      break;
    case GroupedLinearOp::ExtraKind::element:
      extras.push_back(argument(like({1, n}, type)));
      break;
    }
  }
  SmallVector<Type> results;
  for (Type type : grouped.getResultTypes())
    results.push_back(like({1, n}, type));
  OpBuilder b(context); // the block is in no region
  b.setInsertionPointToEnd(block.get());
  linear = LinearOp::create(b, loc, results, x, weights, extras, /*outs=*/ValueRange(),
                            quantized ? ActivationFormatAttr()
                                      : grouped.getActivationsAttr(),
                            /*schedule=*/ScheduleAttr());
  IRMapping mapping;
  grouped.getEpilogue().cloneInto(&linear.getEpilogue(), mapping);
}
