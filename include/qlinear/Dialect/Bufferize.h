//===- Bufferize.h - What can be bufferized ---------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_BUFFERIZE_H
#define QLINEAR_DIALECT_BUFFERIZE_H

#include "mlir/IR/Operation.h"

namespace mlir::qlinear {

/// Whether no loop or conditional in `scope` takes or returns quantized activations:
/// upstream's bufferization knows builtin tensors only there, and makes such an
/// operation anew without end.
LogicalResult verifyPlaceOfActivations(Operation *scope);

} // namespace mlir::qlinear
#endif
