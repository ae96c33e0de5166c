//===- RaiseNodes.cpp - What computes a scalar, seen through --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "RaiseNodes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace mlir::qlinear;

bool mlir::qlinear::isElementwise(linalg::LinalgOp op) {
  return op && op->getNumResults() == 1 && op.hasPureTensorSemantics() &&
         op.getNumParallelLoops() == op.getNumLoops() && !isa<linalg::FillOp>(*op) &&
         !op.payloadUsesValueFromOperand(op.getDpsInitOperand(0));
}

/// The element of what `def`, a reshape by dimensions of size 1, has reshaped.
static std::optional<Node> throughReshape(Operation *def, AffineMap map) {
  auto walk = [&](ArrayRef<ReassociationIndices> groups, ArrayRef<int64_t> shape,
                  auto visit) {
    for (auto [i, group] : llvm::enumerate(groups)) {
      std::optional<int64_t> wide;
      for (int64_t dim : group)
        if (shape[dim] != 1) {
          if (wide)
            return false;
          wide = dim;
        }
      visit(i, wide, group);
    }
    return true;
  };
  MLIRContext *context = def->getContext();
  AffineExpr zero = getAffineConstantExpr(0, context);
  SmallVector<AffineExpr> indices;
  if (auto op = dyn_cast<tensor::ExpandShapeOp>(def)) {
    if (!walk(op.getReassociationIndices(), op.getResultType().getShape(),
              [&](size_t, std::optional<int64_t> wide, const auto &) {
                indices.push_back(wide ? map.getResult(*wide) : zero);
              }))
      return std::nullopt;
    return Node{op.getSrc(), AffineMap::get(map.getNumDims(), 0, indices, context), {}};
  }
  auto op = dyn_cast<tensor::CollapseShapeOp>(def);
  if (!op)
    return std::nullopt;
  indices.assign(op.getSrcType().getRank(), zero);
  if (!walk(op.getReassociationIndices(), op.getSrcType().getShape(),
            [&](size_t i, std::optional<int64_t> wide, const auto &) {
              if (wide)
                indices[*wide] = map.getResult(i);
            }))
    return std::nullopt;
  return Node{op.getSrc(), AffineMap::get(map.getNumDims(), 0, indices, context), {}};
}

std::optional<Node> mlir::qlinear::stepInto(Node node) {
  if (node.in) {
    auto argument = dyn_cast<BlockArgument>(node.value);
    if (!argument || argument.getOwner() != node.in.getBlock())
      return std::nullopt;
    OpOperand *operand = node.in.getMatchingOpOperand(argument);
    if (node.in.isDpsInit(operand) || !isa<RankedTensorType>(operand->get().getType()))
      return std::nullopt;
    return Node{
        operand->get(), node.in.getMatchingIndexingMap(operand).compose(node.map), {}};
  }
  Operation *def = node.value.getDefiningOp();
  if (!def)
    return std::nullopt;
  if (auto op = dyn_cast<linalg::LinalgOp>(def)) {
    if (!isElementwise(op))
      return std::nullopt;
    AffineMap result = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
    if (!result.isPermutation())
      return std::nullopt;
    return Node{op.getBlock()->getTerminator()->getOperand(0),
                inversePermutation(result).compose(node.map), op};
  }
  if (auto cast = dyn_cast<tensor::CastOp>(def))
    return Node{cast.getSource(), node.map, {}};
  return throughReshape(def, node.map);
}

Node mlir::qlinear::resolve(Node node) {
  while (std::optional<Node> next = stepInto(node))
    node = *next;
  return node;
}

Operation *mlir::qlinear::operationOf(Node node) {
  Operation *def = node.value.getDefiningOp();
  if (!def || (node.in && def->getBlock() != node.in.getBlock()))
    return nullptr;
  return node.in || OpTrait::hasElementwiseMappableTraits(def) ? def : nullptr;
}

Node mlir::qlinear::operandOf(Node node, unsigned i) {
  return {operationOf(node)->getOperand(i), node.map, node.in};
}

std::optional<double> mlir::qlinear::constantOf(Node node) {
  node = resolve(node);
  Attribute value;
  if (node.in) {
    if (auto argument = dyn_cast<BlockArgument>(node.value);
        argument && argument.getOwner() == node.in.getBlock())
      node.value = node.in.getMatchingOpOperand(argument)->get();
  } else if (auto fill = node.value.getDefiningOp<linalg::FillOp>()) {
    node.value = fill.getInputs().front();
  } else if (auto splat = node.value.getDefiningOp<tensor::SplatOp>()) {
    node.value = splat.getInput();
  }
  // Numbers of columns and epsilons come as integers and in f64.
  if (Operation *def = node.value.getDefiningOp();
      def && isa<arith::SIToFPOp, arith::UIToFPOp, arith::TruncFOp, arith::ExtFOp,
                 arith::IndexCastOp>(def))
    return constantOf({def->getOperand(0), node.map, node.in});
  if (!matchPattern(node.value, m_Constant(&value)))
    return std::nullopt;
  if (auto dense = dyn_cast<DenseElementsAttr>(value)) {
    if (!dense.isSplat())
      return std::nullopt;
    value = dense.getSplatValue<Attribute>();
  }
  if (auto number = dyn_cast<FloatAttr>(value))
    return number.getValueAsDouble();
  if (auto number = dyn_cast<IntegerAttr>(value))
    return double(number.getInt());
  return std::nullopt;
}

SmallVector<Node> mlir::qlinear::elementsOf(Node node) {
  SmallVector<Node> elements;
  while (true) {
    if (node.isElement())
      elements.push_back(node);
    if (std::optional<Node> next = stepInto(node))
      node = *next;
    else if (Operation *op = operationOf(node); op && isa<arith::ExtFOp>(op))
      node = operandOf(node, 0);
    else
      return elements;
  }
}

std::string mlir::qlinear::spellOf(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

void mlir::qlinear::replaceScalar(linalg::GenericOp op, Operation &scalar,
                                  Value tensor) {
  OpBuilder b(op);
  Location loc = scalar.getLoc();
  Operation *yield = op.getBody()->getTerminator();
  if (yield->getOperand(0) == scalar.getResult(0)) {
    op->getResult(0).replaceAllUsesWith(tensor);
  } else {
    llvm::SetVector<Operation *> needed;
    llvm::SetVector<Value> arguments;
    SmallVector<Value> worklist(yield->getOperands());
    while (!worklist.empty()) {
      Value value = worklist.pop_back_val();
      if (value == scalar.getResult(0))
        continue;
      if (Operation *def = value.getDefiningOp();
          def && def->getBlock() == op.getBody()) {
        if (needed.insert(def))
          llvm::append_range(worklist, def->getOperands());
      } else if (isa<BlockArgument>(value) && value.getParentBlock() == op.getBody()) {
        arguments.insert(value);
      }
    }
    SmallVector<Value> inputs, own;
    SmallVector<AffineMap> maps;
    for (OpOperand *input : op.getDpsInputOperands()) {
      BlockArgument argument = op.getMatchingBlockArgument(input);
      if (!arguments.contains(argument))
        continue;
      own.push_back(argument);
      inputs.push_back(input->get());
      maps.push_back(op.getMatchingIndexingMap(input));
    }
    inputs.push_back(tensor);
    maps.append(2,
                AffineMap::getMultiDimIdentityMap(op.getNumLoops(), op.getContext()));
    auto rest =
        linalg::GenericOp::create(b, loc, op->getResultTypes(), inputs, op.getOutputs(),
                                  maps, op.getIteratorTypesArray(),
                                  [&](OpBuilder &inner, Location, ValueRange elements) {
                                    IRMapping map;
                                    map.map(own, elements.take_front(own.size()));
                                    map.map(scalar.getResult(0), elements[own.size()]);
                                    for (Operation &each : *op.getBody())
                                      if (needed.contains(&each) || &each == yield)
                                        inner.clone(each, map);
                                  });
    op->replaceAllUsesWith(rest);
  }
  // What it has read, if nobody else does.
  llvm::SetVector<Operation *> dead;
  dead.insert(op);
  while (!dead.empty()) {
    Operation *last = dead.pop_back_val();
    if (!isOpTriviallyDead(last))
      continue;
    for (Value operand : last->getOperands())
      if (Operation *def = operand.getDefiningOp())
        dead.insert(def);
    last->erase();
  }
}
