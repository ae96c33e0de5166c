//===- Epilogue.cpp - Regions on elements ---------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "DialectImpl.h"

#include "mlir/IR/TypeUtilities.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace mlir::qlinear;

/// One argument per computed value and extra, of its type.
static LogicalResult verifyArguments(EpilogueOpInterface op, unsigned constraint) {
  size_t computed = op.getNumComputed(), extras = op.getExtras().size();
  if (op.getBody().getNumArguments() != computed + extras)
    return op->emitOpError() << "the epilogue has " << op.getBody().getNumArguments()
                             << " arguments; it needs " << op.describeComputed() << " ("
                             << computed << ") and one element per extra (" << extras
                             << ")" << cite(op, constraint);
  for (BlockArgument argument : op.getBody().getArguments()) {
    unsigned index = argument.getArgNumber();
    Type expected =
        index < computed
            ? Type(Float32Type::get(op->getContext()))
            : getElementTypeOrSelf(op.getExtras()[index - computed].getType());
    if (argument.getType() != expected)
      return op->emitOpError()
             << "argument " << index << " of the epilogue must be " << expected
             << (index < computed ? ", which is computed" : ", an element of its extra")
             << ", but is " << argument.getType() << cite(op, constraint);
  }
  return success();
}

/// One value per result, of its element type.
static LogicalResult verifyYield(EpilogueOpInterface op, unsigned constraint) {
  unsigned ofValues = constraint + 1;
  auto yield = dyn_cast<YieldOp>(op.getBody().getTerminator());
  if (!yield)
    return op->emitOpError("the epilogue must end with qlinear.yield")
           << cite(op, constraint);
  TypeRange types = op.getValueTypes();
  if (yield.getNumOperands() != types.size())
    return yield.emitOpError()
           << "yields " << yield.getNumOperands() << " values for " << types.size()
           << " results; yield one per result" << cite(op, ofValues);
  for (auto [index, value] : llvm::enumerate(yield.getValues())) {
    Type expected = getElementTypeOrSelf(types[index]);
    if (value.getType() != expected)
      return yield.emitOpError()
             << "value " << index << " is " << value.getType()
             << ", but the elements of result " << index << " are " << expected
             << "; convert it with arith.truncf or arith.extf" << cite(op, ofValues);
  }
  return success();
}

static LogicalResult verifyBody(EpilogueOpInterface op, unsigned constraint) {
  auto isScalar = [](Type type) { return type.isIntOrIndexOrFloat(); };
  for (Operation &inner : op.getBody().without_terminator()) {
    StringRef problem;
    if (inner.getNumRegions() != 0)
      problem = "has a region; an epilogue is elementwise, use arith.select for "
                "conditions";
    else if (!isMemoryEffectFree(&inner))
      problem = "has side effects; an epilogue is elementwise, pass what it "
                "reads as an extra";
    else if (!llvm::all_of(inner.getOperandTypes(), isScalar) ||
             !llvm::all_of(inner.getResultTypes(), isScalar))
      problem = "is not on scalars; an epilogue computes one element at a time";
    else
      continue;
    InFlightDiagnostic diag = inner.emitOpError(problem) << cite(op, constraint);
    diag.attachNote(op->getLoc())
        << "in the epilogue of this " << op->getName().stripDialect();
    return diag;
  }
  return success();
}

LogicalResult mlir::qlinear::verifyEpilogue(EpilogueOpInterface op,
                                            unsigned firstConstraint) {
  if (!op.hasEpilogue())
    return success();
  return success(succeeded(verifyArguments(op, firstConstraint)) &&
                 succeeded(verifyYield(op, firstConstraint + 1)) &&
                 succeeded(verifyBody(op, firstConstraint + 3)));
}
