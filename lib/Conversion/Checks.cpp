//===- Checks.cpp - What kernels can be made of ---------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Checks.h"

#include "qlinear/Dialect/QLinear.h"

#include "mlir/IR/BuiltinTypes.h"

#include <limits>

using namespace mlir;

LogicalResult mlir::qlinear::checkForKernels(Operation *op, int64_t M,
                                             llvm::StringRef pass) {
  if (llvm::any_of(op->getOperandTypes(), llvm::IsaPred<MemRefType>))
    return op->emitError("'") << op->getName()
                              << "' is on buffers; kernels are made of operations on "
                                 "tensors: run "
                              << pass << " before one-shot-bufferize";
  if (M == 0)
    return op->emitError("M = 0: '") << op->getName()
                                     << "' of no rows has nothing to compute; make M "
                                        "dynamic, or remove the operation";
  if (!ShapedType::isDynamic(M) && M > std::numeric_limits<int32_t>::max())
    return op->emitError("M = ") << M << ", and kernels count rows in 32 bits; tile '"
                                 << op->getName() << "' along M";
  return success();
}
