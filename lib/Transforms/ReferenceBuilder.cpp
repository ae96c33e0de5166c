//===- ReferenceBuilder.cpp - The meaning of elements in linalg -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ReferenceBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::qlinear;
using utils::IteratorType;
using BodyBuilder = function_ref<void(OpBuilder &, Location, ValueRange)>;

Value mlir::qlinear::constant(OpBuilder &b, Location loc, FloatType type, double v) {
  return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, v));
}

Value mlir::qlinear::toFloat(OpBuilder &b, Location loc, Value value, FloatType type) {
  unsigned from = value.getType().getIntOrFloatBitWidth();
  if (value.getType() == type)
    return value;
  if (from < type.getWidth())
    return arith::ExtFOp::create(b, loc, type, value);
  if (from > type.getWidth())
    return arith::TruncFOp::create(b, loc, type, value);
  // f16 and bf16: neither holds the other.
  return toFloat(b, loc, toFloat(b, loc, value, b.getF32Type()), type);
}

Value mlir::qlinear::emptyTensor(OpBuilder &b, Location loc,
                                 ArrayRef<OpFoldResult> sizes, Type element) {
  return tensor::EmptyOp::create(b, loc, sizes, element);
}

linalg::GenericOp mlir::qlinear::generic(OpBuilder &b, Location loc, ValueRange inputs,
                                         ValueRange outputs, ArrayRef<AffineMap> maps,
                                         ArrayRef<IteratorType> iterators,
                                         BodyBuilder body) {
  return linalg::GenericOp::create(
      b, loc, TypeRange(outputs), inputs, outputs, maps, iterators,
      [&](OpBuilder &b, Location loc, ValueRange arguments) {
        body(b, loc, arguments);
      });
}

Value mlir::qlinear::mapElements(OpBuilder &b, Location loc, Value input, Type element,
                                 function_ref<Value(OpBuilder &, Location, Value)> f) {
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, input);
  AffineMap identity = b.getMultiDimIdentityMap(2);
  return generic(b, loc, input, emptyTensor(b, loc, sizes, element),
                 {identity, identity}, {kParallel, kParallel},
                 [&](OpBuilder &b, Location loc, ValueRange arguments) {
                   linalg::YieldOp::create(b, loc, f(b, loc, arguments[0]));
                 })
      .getResult(0);
}

Value mlir::qlinear::castElements(OpBuilder &b, Location loc, Value input,
                                  FloatType type) {
  if (getElementTypeOrSelf(input.getType()) == type)
    return input;
  return mapElements(b, loc, input, type, [&](OpBuilder &b, Location loc, Value v) {
    return toFloat(b, loc, v, type);
  });
}

ValueRange mlir::qlinear::mapEpilogue(OpBuilder &b, EpilogueOpInterface op,
                                      ArrayRef<Value> computed, ValueRange extras) {
  Location loc = op->getLoc();
  SmallVector<Value> inputs(computed), outputs;
  SmallVector<AffineMap> maps(computed.size(), b.getMultiDimIdentityMap(2));
  for (Value extra : extras) {
    inputs.push_back(extra);
    bool perRow = cast<RankedTensorType>(extra.getType()).getRank() == 2;
    AffineExpr column = isOneElement(extra.getType()) ? b.getAffineConstantExpr(0)
                                                      : b.getAffineDimExpr(1);
    maps.push_back(perRow ? b.getMultiDimIdentityMap(2) : AffineMap::get(2, 0, column));
  }
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, computed.front());
  for (Type type : op.getValueTypes()) {
    outputs.push_back(emptyTensor(b, loc, sizes, getElementTypeOrSelf(type)));
    maps.push_back(b.getMultiDimIdentityMap(2));
  }
  auto epilogue = generic(
      b, loc, inputs, outputs, maps, {kParallel, kParallel},
      [&](OpBuilder &b, Location loc, ValueRange arguments) {
        IRMapping mapping;
        for (auto [from, to] : llvm::zip_first(op.getBody().getArguments(), arguments))
          mapping.map(from, isa<FloatType>(to.getType())
                                ? toFloat(b, loc, to, cast<FloatType>(from.getType()))
                                : to);
        for (Operation &inner : op.getBody().without_terminator())
          b.clone(inner, mapping);
        SmallVector<Value> yielded;
        for (Value v : op.getBody().getTerminator()->getOperands())
          yielded.push_back(mapping.lookup(v));
        linalg::YieldOp::create(b, loc, yielded);
      });
  return epilogue.getResults();
}
