//===- Caches.h - Arguments that a function writes --------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_ARTIFACT_CACHES_H
#define QLINEAR_LIB_TARGET_ARTIFACT_CACHES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace qlinear {

/// How a manifest writes the number of rows of a cache, which is that of the tensor that
/// a call passes.
inline constexpr int64_t kPlaces = -2;

/// Whether an argument is a cache, which its function writes in place.
bool isCache(mlir::BlockArgument argument);

/// The argument of which a value is what it becomes, or null.
mlir::BlockArgument updatedCache(mlir::Value value);

/// Checks that all caches can be written where they lie, in a function of one block:
/// each is an argument that nothing else reads, and what it becomes is returned.
mlir::LogicalResult checkCaches(mlir::func::FuncOp function);

} // namespace qlinear
#endif
