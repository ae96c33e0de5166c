//===- RaiseNorm.h - RMS norms in linalg ------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_RAISE_RAISENORM_H
#define QLINEAR_LIB_TRANSFORMS_RAISE_RAISENORM_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace mlir::qlinear {

/// Makes the RMS norm that the body of `op` computes a qlinear.norm, whose result `op`
/// reads then. False if there is none that is known.
bool raiseNorm(linalg::GenericOp op);

} // namespace mlir::qlinear
#endif
