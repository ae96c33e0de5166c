//===- Checks.h - What kernels can be made of -------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_CONVERSION_CHECKS_H
#define QLINEAR_LIB_CONVERSION_CHECKS_H

#include "mlir/IR/BuiltinOps.h"

namespace mlir::qlinear {

/// Whether `pass` can make kernels of an operation of `M` rows; if not, says why.
LogicalResult checkForKernels(Operation *op, int64_t M, llvm::StringRef pass);

} // namespace mlir::qlinear
#endif
