//===- DialectImpl.h - Shared by the dialect's sources --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_DIALECT_DIALECTIMPL_H
#define QLINEAR_LIB_DIALECT_DIALECTIMPL_H

#include "qlinear/Dialect/QLinear.h"

namespace mlir::qlinear {

/// "zero", "min", ...: as in the attribute's spelling.
StringRef stringifyForm(::qlinear::Form form);
/// "bf16", "f16", "f32".
StringRef stringifyFloat(::qlinear::FloatType type);
/// The codes, the group and the form: "u4_g32_zero".
std::string shortNameOf(EncodingAttr encoding);
/// The MLIR type of a plain metadata value or a step.
FloatType toMLIR(::qlinear::FloatType type, MLIRContext *context);

/// Ends a verifier's message: the constraint that is broken, from the list in the
/// description of the operation, attribute or type, as in " (C3 of qlinear.linear)".
std::string cite(StringRef name, unsigned constraint);
inline std::string cite(Operation *op, unsigned constraint) {
  return cite(op->getName().getStringRef(), constraint);
}
template <typename T> std::string cite(unsigned constraint) {
  if constexpr (std::is_base_of_v<Attribute, T>)
    return cite(("#" + T::name).str(), constraint);
  else if constexpr (std::is_base_of_v<Type, T>)
    return cite(("!" + T::name).str(), constraint);
  else
    return cite(T::getOperationName(), constraint);
}

/// Checks the region of `op`: the four constraints from `firstConstraint` on, of the
/// arguments, the terminator, its values, and the operations.
LogicalResult verifyEpilogue(EpilogueOpInterface op, unsigned firstConstraint);

/// Defined in Bytecode.cpp.
void addBytecodeInterface(QLinearDialect *dialect);

} // namespace mlir::qlinear
#endif
