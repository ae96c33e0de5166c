//===- ConstantEvaluator.cpp - Tensors that depend on constants -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ConstantEvaluator.h"
#include "ScalarProgram.h"

#include "qlinear/Dialect/Constants.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

#include <cstring>

using namespace mlir;
using namespace mlir::qlinear;

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

ElementsAttr mlir::qlinear::getConstantElements(Value value) {
  Attribute attribute;
  if (matchPattern(value, m_Constant(&attribute)))
    return dyn_cast<ElementsAttr>(attribute);
  Operation *def = value.getDefiningOp();
  if (!def)
    return {};
  StringRef name = def->getName().getStringRef();
  bool isIree = name == "util.global.load";
  if (!isIree && name != "ml_program.global_load_const" &&
      name != "ml_program.global_load")
    return {};
  auto symbol = def->getAttrOfType<SymbolRefAttr>("global");
  Operation *global =
      symbol ? SymbolTable::lookupNearestSymbolFrom(def, symbol) : nullptr;
  if (!global || global->hasAttr("is_mutable"))
    return {};
  return dyn_cast_or_null<ElementsAttr>(
      global->getAttr(isIree ? "initial_value" : "value"));
}

size_t mlir::qlinear::widthOf(Type element) {
  return isa<IndexType>(element) ? 8
                                 : llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
}

Elements Elements::zeros(RankedTensorType type, bool isSplat) {
  size_t count = isSplat ? 1 : size_t(type.getNumElements());
  auto memory =
      std::make_shared<std::vector<char>>(widthOf(type.getElementType()) * count);
  return {type, *memory, memory};
}

size_t Elements::width() const { return widthOf(type.getElementType()); }

RankedTensorType mlir::qlinear::evaluatedType(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() && type.getNumElements() > 0 &&
                 isLoadable(type.getElementType())
             ? type
             : RankedTensorType();
}

static Elements elementsOf(RankedTensorType type, ElementsAttr attribute) {
  if (!type || attribute.getShapedType().getShape() != type.getShape())
    return {};
  if (type.getElementType().isInteger(1)) { // packed in attributes
    auto dense = dyn_cast<DenseElementsAttr>(attribute);
    if (!dense)
      return {};
    Elements result = Elements::zeros(type);
    for (auto [i, value] : llvm::enumerate(dense.getValues<bool>()))
      result.bytes()[i] = value;
    return result;
  }
  std::optional<ArrayRef<char>> raw = getRawElements(attribute);
  size_t width = widthOf(type.getElementType());
  if (!raw || (raw->size() != width && raw->size() != width * type.getNumElements()))
    return {};
  return {type, *raw, nullptr};
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

/// Whether the operations of these operands can be computed if the operands are.
static bool isKnown(Operation *op) {
  if (auto generic = dyn_cast<linalg::LinalgOp>(op))
    return generic.hasPureTensorSemantics();
  return isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::CastOp,
             tensor::BitcastOp, tensor::ReshapeOp, tensor::EmptyOp,
             tensor::FromElementsOp, tensor::SplatOp, tensor::ExtractSliceOp,
             tensor::InsertSliceOp, tensor::ConcatOp, tensor::PadOp>(op) ||
         OpTrait::hasElementwiseMappableTraits(op);
}

/// The tensors that an operation reads.
static SmallVector<Value> tensorsOf(Operation *op) {
  return llvm::filter_to_vector(op->getOperands(), [](Value operand) {
    return isa<ShapedType>(operand.getType());
  });
}

bool ConstantEvaluator::isConstant(Value tensor) {
  // Without recursion: what stands on the stack waits for its operands.
  SmallVector<Value> stack = {tensor};
  while (!stack.empty()) {
    Value value = stack.back();
    if (constant.contains(value)) {
      stack.pop_back();
      continue;
    }
    Operation *op = value.getDefiningOp();
    bool isLeaf = evaluatedType(value) && getConstantElements(value);
    if (isLeaf || !op || !evaluatedType(value) || !isKnown(op)) {
      constant[value] = isLeaf;
      stack.pop_back();
      continue;
    }
    bool all = true, isReady = true;
    for (Value operand : tensorsOf(op)) {
      auto it = constant.find(operand);
      if (it == constant.end()) {
        isReady = false;
        stack.push_back(operand);
      } else {
        all &= it->second;
      }
    }
    if (!isReady)
      continue;
    constant[value] = all;
    stack.pop_back();
  }
  return constant.lookup(tensor);
}

std::string ConstantEvaluator::whyNot(Value tensor) {
  while (!isConstant(tensor)) {
    if (auto argument = dyn_cast<BlockArgument>(tensor))
      return "argument " + std::to_string(argument.getArgNumber());
    Operation *op = tensor.getDefiningOp();
    Value next;
    if (isKnown(op))
      for (Value operand : tensorsOf(op))
        if (!isConstant(operand))
          next = operand;
    if (!next)
      return "'" + op->getName().getStringRef().str() + "'";
    tensor = next;
  }
  return "an operation on constants whose value is not defined, or not known here";
}

Elements ConstantEvaluator::evaluate(Value tensor) {
  if (!isConstant(tensor))
    return {};
  // In the order of definitions; a value is dropped after its last use in here.
  SmallVector<Value> order, stack = {tensor};
  DenseMap<Value, unsigned> uses;
  DenseSet<Value> visited;
  while (!stack.empty()) {
    Value value = stack.back();
    if (known.contains(value) || visited.contains(value)) {
      stack.pop_back();
      continue;
    }
    if (ElementsAttr attribute = getConstantElements(value)) {
      known[value] = elementsOf(evaluatedType(value), attribute);
      stack.pop_back();
      continue;
    }
    bool isReady = true;
    for (Value operand : tensorsOf(value.getDefiningOp()))
      if (!known.contains(operand) && !visited.contains(operand)) {
        isReady = false;
        stack.push_back(operand);
      }
    if (!isReady)
      continue;
    for (Value operand : tensorsOf(value.getDefiningOp()))
      ++uses[operand];
    visited.insert(value);
    order.push_back(value);
    stack.pop_back();
  }
  for (Value value : order) {
    Elements elements = compute(cast<OpResult>(value));
    for (Value operand : tensorsOf(value.getDefiningOp()))
      if (--uses[operand] == 0 && visited.contains(operand))
        known.erase(operand);
    if (!elements) {
      constant[tensor] = false;
      for (Value computed : order)
        known.erase(computed);
      return {};
    }
    known[value] = std::move(elements);
  }
  return known.lookup(tensor);
}

DenseElementsAttr ConstantEvaluator::evaluateToAttr(Value tensor) {
  Elements elements = evaluate(tensor);
  if (!elements)
    return {};
  if (elements.type.getElementType().isInteger(1)) {
    SmallVector<bool> values;
    for (char byte : elements.data)
      values.push_back(byte);
    return DenseElementsAttr::get(elements.type, values);
  }
  // Equal elements are stored once.
  size_t width = elements.width();
  ArrayRef<char> data = elements.data;
  bool isSplat =
      std::memcmp(data.data(), data.data() + width, data.size() - width) == 0;
  return DenseElementsAttr::getFromRawBuffer(elements.type,
                                             isSplat ? data.take_front(width) : data);
}
