//===- ResolveWeights.h - Weights that are not there yet --------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_RESOLVEWEIGHTS_H
#define QLINEAR_LIB_TRANSFORMS_RESOLVEWEIGHTS_H

#include "mlir/IR/BuiltinOps.h"

namespace mlir::qlinear {

/// Replaces loads by the weights of an archive (its path, or ""), and re-encodings of
/// constants by the re-encoded constants, so that only qlinear.pack makes weights.
LogicalResult resolveWeights(ModuleOp module, StringRef archive);

} // namespace mlir::qlinear
#endif
