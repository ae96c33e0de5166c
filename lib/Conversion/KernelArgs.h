//===- KernelArgs.h - The pointers that a GPU kernel takes ------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A launch passes the same pointers to all its kernels. Those of a linear alone are
//
//   weights | x, extras | results | temporary
//
// (of an operation that has caches, these with the numbers of their rows come before the
// results) and of one that is launched with the norm before it
//
//   weights | inputs and extras of the norm, extras | other results of the norm,
//   results
//           | temporary, in which the norm leaves x
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_CONVERSION_KERNELARGS_H
#define QLINEAR_LIB_CONVERSION_KERNELARGS_H

#include "../Transforms/KernelPlan.h"

namespace qlinear {

/// Which of a kernel's pointers an operation has.
struct KernelArgs {
  /// The numbers of its weights, inputs and results, in this order.
  llvm::SmallVector<unsigned> own;
  unsigned count =
      0; ///< pointers of the kernel; where there is a temporary it is the last
  /// The index in `own` of what is in the temporary instead, and where it is there.
  struct InTemporary {
    unsigned index;
    int64_t offset;
  };
  std::optional<InTemporary> x;

  static KernelArgs of(mlir::qlinear::KernelOpInterface op, bool hasTemporary);
};

/// The same of a norm and the linear it is launched with.
struct JoinedArgs {
  KernelArgs norm, linear;

  /// The norm leaves x from `offset` on in the temporary.
  JoinedArgs(mlir::qlinear::NormOp norm, mlir::qlinear::LinearOp linear,
             int64_t offset);
};

} // namespace qlinear
#endif
