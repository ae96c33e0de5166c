//===- RaiseNorm.h - RMS and layer norms in linalg --------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_RAISE_RAISENORM_H
#define QLINEAR_LIB_TRANSFORMS_RAISE_RAISENORM_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"

#include <string>

namespace mlir::qlinear {

/// Makes the norm that the body of `op` computes a qlinear.norm, whose result `op` reads
/// then: "an RMS norm" or "a layer norm". Empty if there is none that is known; then
/// `why` says of what looks like one what is different.
std::string raiseNorm(linalg::GenericOp op, std::string &why);

} // namespace mlir::qlinear
#endif
