//===- TensorRanges.cpp - The values that elements can have ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Of constants by looking at all of them, of other tensors by what computes them:
// upstream's integer ranges know scalars, here they go through linalg and tensor.
//
//===----------------------------------------------------------------------===//
#include "ScalarProgram.h"

#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::qlinear;

static ConstantIntRanges anyOf(Type type) {
  return ConstantIntRanges::maxRange(ConstantIntRanges::getStorageBitwidth(type));
}

ConstantIntRanges mlir::qlinear::inferRange(Operation *op,
                                            ArrayRef<ConstantIntRanges> operands) {
  ConstantIntRanges range = anyOf(getElementTypeOrSelf(op->getResult(0).getType()));
  Attribute constant;
  if (matchPattern(op, m_Constant(&constant)) && isa<IntegerAttr>(constant))
    return ConstantIntRanges::constant(cast<IntegerAttr>(constant).getValue());
  if (auto infer = dyn_cast<InferIntRangeInterface>(op))
    infer.inferResultRanges(
        operands, [&](Value, const ConstantIntRanges &found) { range = found; });
  return range;
}

/// The least and the largest element.
static ConstantIntRanges rangeOf(const Elements &elements) {
  unsigned width = elements.type.getElementTypeBitWidth();
  uint64_t low = ~uint64_t(0), high = 0;
  int64_t least = INT64_MAX, most = INT64_MIN;
  Lanes lanes(kLanes);
  size_t total = elements.isSplat() ? 1 : size_t(elements.type.getNumElements());
  for (size_t begin = 0; begin < total; begin += kLanes) {
    size_t count = std::min(kLanes, total - begin);
    load(elements, nullptr, begin, count, lanes);
    for (size_t i = 0; i < count; ++i) {
      uint64_t value = lanes[i].bits;
      int64_t asSigned = llvm::SignExtend64(value, width);
      low = std::min(low, value);
      high = std::max(high, value);
      least = std::min(least, asSigned);
      most = std::max(most, asSigned);
    }
  }
  return ConstantIntRanges(APInt(width, low), APInt(width, high),
                           APInt(width, uint64_t(least), /*isSigned=*/true),
                           APInt(width, uint64_t(most), /*isSigned=*/true));
}

ConstantIntRanges ConstantEvaluator::inferBody(linalg::LinalgOp op, unsigned depth) {
  DenseMap<Value, ConstantIntRanges> known;
  auto lookup = [&](Value value) {
    auto it = known.find(value);
    if (it != known.end())
      return it->second;
    Operation *def = value.getDefiningOp(); // a constant outside of the body
    return def ? inferRange(def, {}) : anyOf(value.getType());
  };
  for (OpOperand *operand : op.getDpsInputOperands())
    if (isa<ShapedType>(operand->get().getType()))
      known.try_emplace(op.getMatchingBlockArgument(operand),
                        infer(operand->get(), depth));
    else
      known.try_emplace(op.getMatchingBlockArgument(operand), lookup(operand->get()));
  for (Operation &scalar : op.getBlock()->without_terminator()) {
    if (scalar.getNumResults() != 1)
      continue;
    SmallVector<ConstantIntRanges> operands;
    for (Value operand : scalar.getOperands())
      operands.push_back(lookup(operand));
    known.try_emplace(scalar.getResult(0), inferRange(&scalar, operands));
  }
  return lookup(op.getBlock()->getTerminator()->getOperand(0));
}

ConstantIntRanges ConstantEvaluator::infer(Value tensor, unsigned depth) {
  Type element = getElementTypeOrSelf(tensor.getType());
  Operation *def = tensor.getDefiningOp();
  if (!isa<IntegerType>(element))
    return anyOf(element);
  if (Elements elements = evaluate(tensor))
    return ::rangeOf(elements);
  if (!def || depth == 0)
    return anyOf(element);
  auto of = [&](Value source) { return infer(source, depth - 1); };
  return TypeSwitch<Operation *, ConstantIntRanges>(def)
      .Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::CastOp,
            tensor::ExtractSliceOp>([&](Operation *) { return of(def->getOperand(0)); })
      .Case([&](tensor::InsertSliceOp insert) {
        ConstantIntRanges range = of(insert.getSource());
        // Elements that nothing writes are undefined, and do not count.
        if (insert.getDest().getDefiningOp<tensor::EmptyOp>())
          return range;
        return range.rangeUnion(of(insert.getDest()));
      })
      .Case([&](tensor::ConcatOp concat) {
        ConstantIntRanges range = of(concat.getInputs().front());
        for (Value input : concat.getInputs().drop_front())
          range = range.rangeUnion(of(input));
        return range;
      })
      .Case([&](linalg::LinalgOp op) {
        return op->getNumResults() == 1 && op.hasPureTensorSemantics() &&
                       op.getNumReductionLoops() == 0
                   ? inferBody(op, depth - 1)
                   : anyOf(element);
      })
      .Default([&](Operation *) {
        if (!OpTrait::hasElementwiseMappableTraits(def) || def->getNumResults() != 1)
          return anyOf(element);
        SmallVector<ConstantIntRanges> operands;
        for (Value operand : def->getOperands())
          operands.push_back(of(operand));
        return inferRange(def, operands);
      });
}

ConstantIntRanges ConstantEvaluator::rangeOf(Value tensor) {
  auto it = ranges.find(tensor);
  if (it == ranges.end())
    it = ranges.try_emplace(tensor, infer(tensor, /*depth=*/16)).first;
  return it->second;
}
