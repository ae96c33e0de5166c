//===- MoveToTensors.cpp - Operations on buffers as those on tensors ------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "MoveToTensors.h"

#include "qlinear/Dialect/Bufferize.h"
#include "qlinear/Dialect/QLinear.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

using namespace mlir;
using namespace mlir::qlinear;

static Type tensorTypeOf(Type buffer) {
  auto type = cast<MemRefType>(buffer);
  return RankedTensorType::get(type.getShape(), type.getElementType());
}

static LogicalResult rejectBytes(Operation *op) {
  return op->emitOpError("has no reference: its quantized activations are bytes in a "
                         "buffer; run qlinear-to-reference before one-shot-bufferize");
}

/// The last operands: where the results go.
static size_t numOuts(Operation *op) {
  if (auto kernel = dyn_cast<KernelOpInterface>(op))
    return kernel.getKernelOuts().size();
  auto dequantize = dyn_cast<DequantizeOp>(op);
  return dequantize ? dequantize.getOuts().size() : 0;
}

static LogicalResult moveToTensors(Operation *op) {
  OpBuilder b(op);
  Location loc = op->getLoc();
  SmallVector<Value> destinations(op->getOperands().take_back(numOuts(op)));
  SmallVector<Value> operands;
  for (Value value : op->getOperands().drop_back(numOuts(op))) {
    auto buffer = dyn_cast<MemRefType>(value.getType());
    if (buffer && buffer.getElementType().isInteger(8) && !isa<PackOp>(op))
      return rejectBytes(op);
    if (buffer)
      value = bufferization::ToTensorOp::create(b, loc, tensorTypeOf(buffer), value,
                                                /*restrict=*/true);
    operands.push_back(value);
  }
  if (isa<QuantizeActivationsOp>(op))
    return rejectBytes(op);
  if (auto pack = dyn_cast<PackOp>(op)) {
    pack->setOperands(operands);
    return success();
  }
  llvm::append_range(destinations, cachesOf(op));
  SmallVector<Type> types;
  for (Value out : destinations)
    types.push_back(tensorTypeOf(out.getType()));
  Operation *moved = moveToOperands(b, op, operands, ValueRange(), types);
  for (auto [result, out] : llvm::zip(moved->getResults(), destinations))
    bufferization::MaterializeInDestinationOp::create(
        b, loc, /*result=*/Type(), result, out, /*restrict=*/true, /*writable=*/true);
  op->erase();
  return success();
}

LogicalResult mlir::qlinear::moveToTensors(ModuleOp module) {
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) {
    if (isa<PackOp, DequantizeOp, KernelOpInterface>(op) &&
        llvm::any_of(op->getOperandTypes(), llvm::IsaPred<MemRefType>))
      ops.push_back(op);
  });
  for (Operation *op : ops)
    if (failed(::moveToTensors(op)))
      return failure();
  return success();
}
