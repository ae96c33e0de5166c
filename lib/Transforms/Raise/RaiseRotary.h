//===- RaiseRotary.h - Rotary embeddings in linalg --------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_RAISE_RAISEROTARY_H
#define QLINEAR_LIB_TRANSFORMS_RAISE_RAISEROTARY_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"

#include <string>

namespace mlir::qlinear {

/// Makes the rotary embedding that the body of `op` computes a qlinear.rotary, whose
/// result `op` reads then. False if there is none that is known; then `why` says of what
/// looks like one what is different.
bool raiseRotary(linalg::GenericOp op, std::string &why);

} // namespace mlir::qlinear
#endif
