//===- Sharding.h - Programs of several processes ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The operation of the dialect that upstream's shard dialect brings about, apart from
// the others, which have nothing to do with it.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_SHARDING_H
#define QLINEAR_DIALECT_SHARDING_H

#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Encoding/Slice.h"

#define GET_OP_CLASSES
#include "qlinear/Dialect/QLinearPartOp.h.inc"

namespace mlir::qlinear {

/// "rows" or "columns".
StringRef stringifyAxis(::qlinear::Axis axis);

/// Has linears, norms, rotary embeddings and loads answer what sharding-propagation and
/// shard-partition ask.
void attachShardingInterface(MLIRContext *context);

} // namespace mlir::qlinear
#endif
