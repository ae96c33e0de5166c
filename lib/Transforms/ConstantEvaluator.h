//===- ConstantEvaluator.h - Tensors that depend on constants --*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Frontends put weights into the IR as they lie in a checkpoint, and compute codes,
// scales and zeros from them: shifts and masks, reshapes, concatenations, transposes,
// casts. The evaluator computes such tensors at compile time if they are built of the
// operations of linalg, tensor, arith and math. Tensors may have any size; time and
// memory grow with their elements and with the number of operations.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_CONSTANTEVALUATOR_H
#define QLINEAR_LIB_TRANSFORMS_CONSTANTEVALUATOR_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/InferIntRangeInterface.h"

#include <memory>
#include <vector>

namespace mlir::qlinear {

/// The elements of a constant of any dialect, or of a global that never changes; null
/// if `value` is neither.
ElementsAttr getConstantElements(Value value);

/// Bytes of an element in a constant.
size_t widthOf(Type element);

/// The type of a tensor that can be evaluated, of static shape; null if it cannot.
RankedTensorType evaluatedType(Value value);

/// The elements of a tensor in row-major order, each in whole bytes, zero-extended; or
/// nothing.
struct Elements {
  RankedTensorType type;
  ArrayRef<char> data; ///< of all elements, or of one that all are equal to
  /// What `data` lies in, unless in an attribute.
  std::shared_ptr<std::vector<char>> memory;

  /// Zeros that can be written.
  static Elements zeros(RankedTensorType type, bool isSplat = false);
  explicit operator bool() const { return bool(type); }
  size_t width() const; ///< bytes of an element
  bool isSplat() const { return data.size() == width(); }
  char *bytes() { return memory->data(); }
};

/// Indices of lanes: one vector for each dimension.
using LaneIndices = SmallVector<std::vector<int64_t>, 4>;

/// Where the elements of a slice lie in the whole; none if the place is not constant.
std::optional<AffineMap> getSliceMap(tensor::ExtractSliceOp op);

/// The values that a scalar operation of one result can have.
ConstantIntRanges inferRange(Operation *op, ArrayRef<ConstantIntRanges> operands);

class ConstantEvaluator {
public:
  /// Whether a tensor of static shape depends on nothing but constants.
  bool isConstant(Value tensor);

  /// What keeps a tensor from being constant: "argument 2", "'tensor.generate'".
  std::string whyNot(Value tensor);

  /// The elements of a constant tensor; none if it is not constant, or if its value is
  /// undefined (a shift by more than the width, a division by zero).
  Elements evaluate(Value tensor);

  /// The same as an attribute.
  DenseElementsAttr evaluateToAttr(Value tensor);

  /// The range of the elements of a tensor of integers: the least and the largest of a
  /// constant, else the range that follows from the operations.
  ConstantIntRanges rangeOf(Value tensor);

private:
  /// Values are found in `known`; of the last use of one, the memory may be taken.
  Elements compute(OpResult result);
  Elements computeLinalg(linalg::LinalgOp op, unsigned result);
  Elements computeElementwise(Operation *op, OpResult result);
  Elements computeTensor(Operation *op, OpResult result);
  ConstantIntRanges infer(Value tensor, unsigned depth);
  ConstantIntRanges inferBody(linalg::LinalgOp op, unsigned depth);
  Elements lookup(Value value) const { return known.lookup(value); }

  DenseMap<Value, bool> constant;
  DenseMap<Value, Elements> known;
  DenseMap<Value, ConstantIntRanges> ranges;
};

} // namespace mlir::qlinear
#endif
