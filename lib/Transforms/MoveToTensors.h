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

/// Rewrites qlinear operations on buffers to operations on tensors: operands are read
/// by `bufferization.to_tensor`, results are written by
/// `bufferization.materialize_in_destination`. One-shot bufferization turns them back
/// into the same operations on the same buffers. Fails with a diagnostic on quantized
/// activations that are the bytes of a buffer.
LogicalResult moveToTensors(ModuleOp module);

} // namespace mlir::qlinear
#endif
