//===- MoveToTensors.cpp - Operations on buffers as those on tensors ------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "MoveToTensors.h"

#include "qlinear/Dialect/QLinear.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "llvm/ADT/TypeSwitch.h"

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
  return TypeSwitch<Operation *, size_t>(op)
      .Case<LinearOp, DequantizeOp, QuantizeActivationsOp>(
          [](auto typed) { return typed.getOuts().size(); })
      .Default(size_t(0));
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
  SmallVector<Type> types;
  for (Value out : destinations)
    types.push_back(tensorTypeOf(out.getType()));
  Operation *moved;
  if (auto linear = dyn_cast<LinearOp>(op)) {
    size_t weights = linear.getWeights().size();
    auto rebuilt = LinearOp::create(
        b, loc, types, operands[0], ValueRange(operands).slice(1, weights),
        ValueRange(operands).drop_front(1 + weights), ValueRange(), linear);
    rebuilt.getEpilogue().takeBody(linear.getEpilogue());
    moved = rebuilt;
  } else {
    moved = DequantizeOp::create(b, loc, types[0], operands[0]);
  }
  for (auto [result, out] : llvm::zip(moved->getResults(), destinations))
    bufferization::MaterializeInDestinationOp::create(
        b, loc, /*result=*/Type(), result, out, /*restrict=*/true, /*writable=*/true);
  op->erase();
  return success();
}

LogicalResult mlir::qlinear::moveToTensors(ModuleOp module) {
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) {
    if (isa<PackOp, LinearOp, DequantizeOp, QuantizeActivationsOp>(op) &&
        llvm::any_of(op->getOperandTypes(), llvm::IsaPred<MemRefType>))
      ops.push_back(op);
  });
  for (Operation *op : ops)
    if (failed(::moveToTensors(op)))
      return failure();
  return success();
}
