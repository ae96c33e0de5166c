//===- Epilogue.cpp - Epilogues on values of any shape --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Epilogue.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"

namespace mlir::qlinear {

Type vectorLike(Type type, Type like) {
  auto vector = dyn_cast<VectorType>(like);
  if (!vector)
    return type;
  if (auto real = dyn_cast<FloatType>(type); real && real.getWidth() < 32)
    type = Float32Type::get(type.getContext());
  return VectorType::get(vector.getShape(), type);
}

LogicalResult checkEpilogue(EpilogueOpInterface op) {
  if (!op.hasEpilogue())
    return success();
  for (Operation &inner : op.getBody().without_terminator()) {
    bool known =
        isa<arith::ConstantOp>(inner) ||
        (OpTrait::hasElementwiseMappableTraits(&inner) && !inner.getNumRegions());
    bool scalar = llvm::all_of(inner.getResultTypes(), [](Type type) {
      return type.isIntOrFloat() && type.getIntOrFloatBitWidth() <= 64;
    });
    // The bits of a narrow float are not there to be looked at.
    bool bits = isa<arith::BitcastOp>(inner);
    if (!known || !scalar || bits)
      return inner.emitError("'")
             << inner.getName() << "' cannot be computed in the epilogue of a CPU "
             << "kernel, which runs on vectors of f32, f64 and integers; keep it "
                "outside "
             << "of the " << op->getName().stripDialect()
             << ", or use other operations of arith and math";
  }
  return success();
}

/// Clones one operation of the epilogue to vectors.
static void vectorize(OpBuilder &b, Operation &op, Type like, IRMapping &map) {
  Location loc = op.getLoc();
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto type = cast<VectorType>(vectorLike(constant.getType(), like));
    Attribute value = constant.getValue();
    if (auto real = dyn_cast<FloatAttr>(value); real && type.getElementType().isF32())
      value = b.getF32FloatAttr(real.getValueAsDouble());
    map.map(constant.getResult(),
            arith::ConstantOp::create(
                b, loc, DenseElementsAttr::get(type, ArrayRef<Attribute>(value))));
    return;
  }
  if (isa<arith::TruncFOp, arith::ExtFOp>(op)) {
    Value from = map.lookup(op.getOperand(0));
    Type type = vectorLike(op.getResult(0).getType(), like);
    if (from.getType() == type) { // f32 and narrower are one
      map.map(op.getResult(0), from);
      return;
    }
  }
  OperationState state(loc, op.getName());
  for (Value operand : op.getOperands())
    state.operands.push_back(map.lookup(operand));
  for (Type type : op.getResultTypes())
    state.types.push_back(vectorLike(type, like));
  state.addAttributes(op.getDiscardableAttrDictionary().getValue());
  state.propertiesAttr = op.getPropertiesAsAttribute();
  Operation *clone = b.create(state);
  for (auto [from, to] : llvm::zip(op.getResults(), clone->getResults()))
    map.map(from, to);
}

SmallVector<Value> emitEpilogue(OpBuilder &b, EpilogueOpInterface op,
                                ArrayRef<Value> computed,
                                function_ref<Value(unsigned)> load) {
  if (!op.hasEpilogue())
    return llvm::to_vector(computed);
  IRMapping map;
  for (auto [argument, value] : llvm::zip(op.getComputedArguments(), computed))
    map.map(argument, value);
  for (auto [i, argument] : llvm::enumerate(op.getExtraArguments()))
    map.map(argument, load(unsigned(i)));
  Type like = computed.front().getType();
  for (Operation &inner : op.getBody().without_terminator())
    if (isa<VectorType>(like))
      vectorize(b, inner, like, map);
    else
      b.clone(inner, map);
  SmallVector<Value> values;
  for (Value value : op.getBody().getTerminator()->getOperands())
    values.push_back(map.lookup(value));
  return values;
}

} // namespace mlir::qlinear
