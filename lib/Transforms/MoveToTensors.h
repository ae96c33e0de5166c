//===- MoveToTensors.h - Operations on buffers as those on tensors --------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_MOVETOTENSORS_H
#define QLINEAR_LIB_TRANSFORMS_MOVETOTENSORS_H

#include "mlir/IR/BuiltinOps.h"

namespace mlir::qlinear {

/// Gives each operation of ours that is on buffers operands read by
/// `bufferization.to_tensor`, and results written by
/// `bufferization.materialize_in_destination`: what one-shot bufferization makes
/// of it is the same again. Fails, with a diagnostic, for quantized activations
/// that are bytes in a buffer.
LogicalResult moveToTensors(ModuleOp module);

} // namespace mlir::qlinear
#endif
