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
/// The MLIR type of a plain metadata value or a step.
FloatType toMLIR(::qlinear::FloatType type, MLIRContext *context);

/// Defined in Bytecode.cpp.
void addBytecodeInterface(QLinearDialect *dialect);

} // namespace mlir::qlinear
#endif
