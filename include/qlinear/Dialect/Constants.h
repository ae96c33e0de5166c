//===- Constants.h - Weights that are constants in the IR -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_CONSTANTS_H
#define QLINEAR_DIALECT_CONSTANTS_H

#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Encoding/Codec.h"

namespace mlir::qlinear {

/// The elements of a constant tensor as they lie in memory, an `i4` in a whole byte,
/// or a single one if they are all the same; none if it is neither dense nor a
/// dense_resource whose data is there.
std::optional<ArrayRef<char>> getRawElements(Attribute attribute);

/// The constant that a component of a weight is: of an operation that folds to one, or
/// of the constant global that bufferization has moved it to. Null if it is neither.
/// Equal constants are one attribute, so this is what tells weights apart.
Attribute getConstantAttribute(Value component);

/// Whether all components of a weight are constants (dense or dense_resource
/// attributes whose data is there).
bool isConstant(PackOp pack);

/// The weight that `pack` makes of constants; fails, without a diagnostic, if
/// !isConstant(pack).
FailureOr<::qlinear::EncodedWeight> getConstantWeight(PackOp pack);

/// Makes constants of the components of `weight`, and a qlinear.pack of them. The
/// codes are stored as i8 or, with `narrow`, as their own width (`i4`).
PackOp createConstantWeight(OpBuilder &builder, Location loc,
                            const ::qlinear::EncodedWeight &weight, bool narrow = true);

} // namespace mlir::qlinear
#endif
