//===- Passes.h - From qlinear to kernels ---------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_CONVERSION_PASSES_H
#define QLINEAR_CONVERSION_PASSES_H

#include "mlir/Pass/Pass.h"

#include <memory>
#include <string>

namespace mlir::qlinear {

#define GEN_PASS_DECL
#include "qlinear/Conversion/Passes.h.inc"

/// registerQLinearConversionPasses() registers all of them.
#define GEN_PASS_REGISTRATION
#include "qlinear/Conversion/Passes.h.inc"

} // namespace mlir::qlinear
#endif
