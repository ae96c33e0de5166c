//===- Operations.h - What compiled functions consist of --------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_ARTIFACT_OPERATIONS_H
#define QLINEAR_LIB_TARGET_ARTIFACT_OPERATIONS_H

#include "mlir/IR/Block.h"
#include "mlir/IR/Operation.h"

namespace qlinear {

/// Says that `op` cannot be compiled, and why it is not part of a linear.
llvm::LogicalResult rejectOperation(mlir::Operation *op, llvm::StringRef why);
/// Whether `op` only names a weight or a constant, and is no step itself.
bool isComponent(mlir::Operation &op);
/// Rejects a function that has other operations than linears: at the first that is kept
/// from being part of one, else at the first.
llvm::LogicalResult checkOperations(mlir::Block &block);

} // namespace qlinear
#endif
