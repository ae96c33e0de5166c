//===- KernelArgs.cpp - The pointers that a GPU kernel takes --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelArgs.h"

using namespace mlir::qlinear;

namespace qlinear {

KernelArgs KernelArgs::of(KernelOpInterface op, bool hasTemporary) {
  KernelArgs args;
  for (size_t i = 0; i < countKernelArgs(op); ++i)
    args.own.push_back(unsigned(i));
  args.count = unsigned(args.own.size()) + hasTemporary;
  return args;
}

JoinedArgs::JoinedArgs(NormOp normOp, LinearOp linearOp, int64_t offset) {
  unsigned next = 0;
  auto take = [&](KernelArgs &args, size_t count) {
    for (size_t i = 0; i < count; ++i)
      args.own.push_back(next++);
  };
  // `own` is filled in the order of the kernel's pointers, which is each one's own.
  take(linear, linearOp.getWeights().size());
  take(norm, normOp.getInputs().size() + normOp.getExtras().size());
  linear.x = {unsigned(linear.own.size()), offset};
  linear.own.push_back(0);
  take(linear, linearOp.getExtras().size());
  for (mlir::OpResult result : normOp->getResults()) {
    if (result != linearOp.getX()) {
      take(norm, 1);
      continue;
    }
    norm.x = {unsigned(norm.own.size()), offset};
    norm.own.push_back(0);
  }
  take(linear, linearOp.getNumResults());
  norm.count = linear.count = next + 1;
}

} // namespace qlinear
