//===- QLinear.h - The qlinear dialect --------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The IR lives in the namespace mlir::qlinear. Encodings and layouts, which the IR
// is made of, live in ::qlinear: write the leading colons, since with
// `using namespace mlir` a bare `qlinear::` is ambiguous.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEAR_H
#define QLINEAR_DIALECT_QLINEAR_H

#include "qlinear/Encoding/Encoding.h"
#include "qlinear/Encoding/Layout.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/BufferizationTypeInterfaces.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/TilingInterface.h"
#include "llvm/ADT/Hashing.h"

namespace qlinear {
/// Encodings are uniqued in an MLIRContext.
inline llvm::hash_code hash_value(const Encoding &encoding) {
  return llvm::hash_value(encoding.spec());
}
} // namespace qlinear

#include "qlinear/Dialect/QLinearDialect.h.inc"
#include "qlinear/Dialect/QLinearEnums.h.inc"

#include "qlinear/Dialect/Kernels.h"

#include "qlinear/Dialect/QLinearAttrInterfaces.h.inc"

#define GET_ATTRDEF_CLASSES
#include "qlinear/Dialect/QLinearAttrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "qlinear/Dialect/QLinearTypes.h.inc"

#include "qlinear/Dialect/QLinearOpInterfaces.h.inc"

#define GET_OP_CLASSES
#include "qlinear/Dialect/QLinearOps.h.inc"

namespace mlir::qlinear {
/// Whether an extra of an epilogue has one element for all rows and columns.
bool isOneElement(Type extra);

/// The caches that an operation writes parts of (qlinear.rotary says what they are). On
/// tensors its last results are what these become.
OperandRange cachesOf(Operation *op);
/// The cache that becomes this value in the operation that makes it, or null.
Value cacheBefore(Value value);
} // namespace mlir::qlinear

#endif
