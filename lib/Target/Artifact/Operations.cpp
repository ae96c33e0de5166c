//===- Operations.cpp - What compiled functions consist of ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Operations.h"

#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Fuse.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
namespace ql = mlir::qlinear;

namespace qlinear {

LogicalResult rejectOperation(Operation *op, StringRef why) {
  InFlightDiagnostic diagnostic =
      op->emitError("'") << op->getName() << "' cannot be compiled in function '"
                         << op->getParentOfType<func::FuncOp>().getName()
                         << "'; a compiled function consists of qlinear.linear and of "
                            "elementwise operations that fuse into them";
  if (!op->isRegistered())
    diagnostic.attachNote() << "operations of '" << op->getName().getDialectNamespace()
                            << "' are not known here; lower them to linalg before, by "
                               "the tools of that project";
  else if (isa<ql::ReencodeOp>(op))
    diagnostic.attachNote() << "re-encode weights before, by qlinear-compact-metadata "
                               "or --encoding";
  else if (!why.empty())
    diagnostic.attachNote() << "it does not fuse: " << why;
  else
    diagnostic.attachNote()
        << "an operation fuses where it computes from a linear's results, element by "
           "element; compile the others by your own pipeline";
  return failure();
}

bool isComponent(Operation &op) {
  return isa<ql::LoadOp, ql::PackOp, memref::GetGlobalOp>(op) ||
         op.hasTrait<OpTrait::ConstantLike>();
}

LogicalResult checkOperations(Block &block) {
  Operation *first = nullptr;
  for (Operation &op : block.without_terminator()) {
    if (isComponent(op) || isa<ql::KernelOpInterface>(op) ||
        (isPure(&op) && op.use_empty()))
      continue;
    if (std::string why = ql::whyNotFused(&op); !why.empty())
      return rejectOperation(&op, why);
    if (!first)
      first = &op;
  }
  return first ? rejectOperation(first, "") : success();
}

} // namespace qlinear
