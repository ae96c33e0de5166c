//===- Fuse.h - What fuses into linears -------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TRANSFORMS_FUSE_H
#define QLINEAR_TRANSFORMS_FUSE_H

#include <string>

namespace mlir {
class Operation;

namespace qlinear {

/// Why `qlinear-fuse` does not take `op` into the epilogue of a linear. Empty if the
/// pass would take it, or if no result of a linear reaches it.
std::string whyNotFused(Operation *op);

} // namespace qlinear
} // namespace mlir
#endif
