//===- ChoiceLinear.h - One expert's part of a linear -----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a token's choice of an expert takes is a linear of one row: the kernels of a
// `qlinear.grouped_linear` are those of that linear, which find out what they multiply
// when they run.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_CONVERSION_CHOICELINEAR_H
#define QLINEAR_LIB_CONVERSION_CHOICELINEAR_H

#include "qlinear/Dialect/QLinear.h"

#include "mlir/IR/Block.h"

#include <memory>

namespace mlir::qlinear {

/// The linear of `rows` choices of one expert of a grouped linear, outside of any
/// module: x, the weights of the expert, and the extras as they are for these choices.
/// With `quantized` x is quantized before.
class ChoiceLinear {
public:
  ChoiceLinear(GroupedLinearOp grouped, bool quantized);
  LinearOp get() { return linear; }

private:
  std::unique_ptr<Block> block;
  LinearOp linear;
};

} // namespace mlir::qlinear
#endif
