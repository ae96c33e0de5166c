//===- Bufferize.h - What can be bufferized ---------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_BUFFERIZE_H
#define QLINEAR_DIALECT_BUFFERIZE_H

#include "mlir/IR/Builders.h"

namespace mlir::qlinear {

/// Whether no loop or conditional in `scope` takes or returns quantized activations:
/// upstream's bufferization knows builtin tensors only there, and makes such an
/// operation anew without end.
LogicalResult verifyPlaceOfActivations(Operation *scope);

/// Makes `op`, an operation of ours with `outs`, which come last, on other operands and
/// results: from tensors to buffers or back. Its regions move to the new one.
Operation *moveToOperands(OpBuilder &b, Operation *op, ValueRange inputs,
                          ValueRange outs, TypeRange results);

} // namespace mlir::qlinear
#endif
