//===- ModuleTarget.h - What a module is compiled for -----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The target is said once: the pass that makes kernels writes it to the module as
// `qlinear.target`, and passes after it read it there.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TRANSFORMS_MODULETARGET_H
#define QLINEAR_TRANSFORMS_MODULETARGET_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"
#include "mlir/Support/LLVM.h"

#include <string>

namespace qlinear {

inline constexpr llvm::StringLiteral kTargetAttrName = "qlinear.target";

/// The target for which a pass works on `op`: `option`, or if that is empty
/// `qlinear.target` of the module around `op`, or `fallback`. Fails with a diagnostic
/// if the option contradicts the module's target; a part of it does not ("cpu" has
/// every "cpu:ISA" of this machine's architecture, "cpu:arm64" of that).
mlir::FailureOr<std::string> targetOf(mlir::Operation *op, llvm::StringRef option,
                                      llvm::StringRef fallback);

/// Sets the target of the kernels of a module.
void setTarget(mlir::Operation *module, llvm::StringRef target);

} // namespace qlinear
#endif
