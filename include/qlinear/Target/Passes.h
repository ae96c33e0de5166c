//===- Passes.h - From launches to code -------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TARGET_PASSES_H
#define QLINEAR_TARGET_PASSES_H

#include "mlir/Pass/Pass.h"

#include <memory>
#include <string>

namespace mlir::qlinear {

#define GEN_PASS_DECL
#include "qlinear/Target/Passes.h.inc"

/// registerQLinearTargetPasses() registers all of them.
#define GEN_PASS_REGISTRATION
#include "qlinear/Target/Passes.h.inc"

} // namespace mlir::qlinear
#endif
