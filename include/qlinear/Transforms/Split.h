//===- Split.h - Several linears instead of one -----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What fusion has merged may be more than one kernel of a target takes. The lowering
// knows, and cuts the linear into parts.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TRANSFORMS_SPLIT_H
#define QLINEAR_TRANSFORMS_SPLIT_H

#include "qlinear/Dialect/QLinear.h"

#include "mlir/IR/PatternMatch.h"

namespace mlir::qlinear {

/// The results of a linear in groups that have no weight in common, each in order:
/// linears of their own can compute them.
SmallVector<SmallVector<unsigned>> getIndependentResults(LinearOp op);

/// Divides the groups into `parts` ranges of nearly the same number of groups, each a
/// list of results.
SmallVector<SmallVector<unsigned>> divideResults(ArrayRef<SmallVector<unsigned>> groups,
                                                 size_t parts);

/// A linear on tensors, with the schedule and the attributes of `op`, that computes
/// some of its results, from the weights and extras that these need.
LinearOp createPart(OpBuilder &builder, LinearOp op, ArrayRef<unsigned> results);

/// Cuts `op` (on tensors) into as few linears as `takes` says yes to, and replaces it.
/// Returns them, or `op` itself if it is taken as it is, or if no cut helps.
SmallVector<LinearOp> splitUntil(RewriterBase &rewriter, LinearOp op,
                                 function_ref<bool(LinearOp)> takes);

} // namespace mlir::qlinear
#endif
