//===- OpForms.h - What verifiers of operations have in common --*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_DIALECT_OPFORMS_H
#define QLINEAR_LIB_DIALECT_OPFORMS_H

#include "DialectImpl.h"

namespace mlir::qlinear {

/// Prints a dimension as the assembly does.
inline std::string str(int64_t dim) {
  return ShapedType::isDynamic(dim) ? "?" : std::to_string(dim);
}

/// Whether operands and results are values rather than buffers.
inline bool isOnTensors(Operation *op) {
  return llvm::none_of(op->getOperandTypes(), llvm::IsaPred<MemRefType>);
}

/// Types of the results that are of no cache, or of the buffers that take their place.
template <typename Op> TypeRange valueTypes(Op op) {
  return op.hasTensorSemantics()
             ? TypeRange(op->getResultTypes()).drop_back(cachesOf(op).size())
             : TypeRange(op.getOuts().getTypes());
}
/// Whether two sizes can be the same at run time.
inline bool compatible(int64_t a, int64_t b) {
  return a == b || ShapedType::isDynamic(a) || ShapedType::isDynamic(b);
}

/// M (or dynamic) and N or K of a weight, activations, a tensor or a buffer.
inline std::pair<int64_t, int64_t> shapeOf(Type type) {
  if (auto weight = dyn_cast<WeightType>(type))
    return {weight.getN(), weight.getK()};
  if (auto activations = dyn_cast<ActivationsType>(type))
    return {activations.getM(), activations.getK()};
  auto shaped = cast<ShapedType>(type);
  return {shaped.getDimSize(0), shaped.getDimSize(1)};
}

/// Either all operands are values, and `outs`, if there, have the results' types,
/// or all are buffers, and there are `outs` but no results.
LogicalResult verifyForm(Operation *op, OperandRange outs);

/// The number of rows of x, as IR: a constant or the size of a tensor.
/// Fails for activations whose source is not in sight.
FailureOr<OpFoldResult> reifyRows(OpBuilder &builder, Location loc, Value x);

} // namespace mlir::qlinear
#endif
