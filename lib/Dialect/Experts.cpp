//===- Experts.cpp - Verifiers and interfaces of mixtures of experts ------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "OpForms.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace mlir::qlinear;

//===----------------------------------------------------------------------===//
// grouped_linear
//===----------------------------------------------------------------------===//

bool GroupedLinearOp::hasTensorSemantics() { return isOnTensors(*this); }
TypeRange GroupedLinearOp::getValueTypes() { return valueTypes(*this); }
int64_t GroupedLinearOp::getM() { return shapeOf(getX().getType()).first; }
int64_t GroupedLinearOp::getN() {
  return getWeightType().getN() / int64_t(getExperts());
}
int64_t GroupedLinearOp::getK() { return getWeightType().getK(); }
int64_t GroupedLinearOp::getChoices() { return shapeOf(getIds().getType()).second; }
bool GroupedLinearOp::hasPieces() {
  return getChoices() > 1 && shapeOf(getX().getType()).second != getK();
}
ActivationFormatAttr GroupedLinearOp::getFormat() {
  ActivationFormatAttr given = getActivationsAttr();
  return given ? given : ActivationFormatAttr::getDefault(getContext());
}
SmallVector<Value> GroupedLinearOp::getKernelWeights() { return getWeights(); }
SmallVector<Value> GroupedLinearOp::getKernelInputs() {
  SmallVector<Value> inputs{getX(), getIds()};
  llvm::append_range(inputs, getExtras());
  return inputs;
}
SmallVector<Value> GroupedLinearOp::getKernelOuts() { return getOuts(); }
unsigned GroupedLinearOp::getNumComputed() { return unsigned(getWeights().size()); }
StringRef GroupedLinearOp::describeComputed() { return "one f32 per weight"; }

GroupedLinearOp::ExtraKind GroupedLinearOp::getExtraKind(unsigned index) {
  auto type = cast<ShapedType>(getExtras()[index].getType());
  if (isOneElement(type))
    return ExtraKind::one;
  int64_t columns = type.getShape().back();
  if (type.getRank() == 1)
    return columns == getN() ? ExtraKind::column : ExtraKind::expertColumn;
  return columns == getChoices() ? ExtraKind::choice : ExtraKind::element;
}

StringRef GroupedLinearOp::getExtraKindName(unsigned index) {
  switch (getExtraKind(index)) {
  case ExtraKind::one:
    return "one";
  case ExtraKind::column:
    return "column";
  case ExtraKind::expertColumn:
    return "expert_column";
  case ExtraKind::choice:
    return "choice";
  case ExtraKind::element:
    return "element";
  }
  llvm_unreachable("unknown kind of extra");
}

/// The shapes of weights, ids and x.
static LogicalResult verifyShapes(GroupedLinearOp op) {
  if (op.getWeights().empty())
    return op.emitOpError("has no weight; give at least one")
           << cite<GroupedLinearOp>(5);
  WeightType first = op.getWeightType();
  for (auto [index, weight] : llvm::enumerate(op.getWeights())) {
    auto type = cast<WeightType>(weight.getType());
    if (type.getN() != first.getN() || type.getK() != first.getK())
      return op.emitOpError() << "weight 0 is " << first.getN() << " x " << first.getK()
                              << ", but weight " << index << " is " << type.getN()
                              << " x " << type.getK()
                              << "; the weights of one grouped_linear have the same "
                                 "shape"
                              << cite<GroupedLinearOp>(5);
  }
  auto experts = int64_t(op.getExperts());
  constexpr int64_t tile = ::qlinear::layout::kTileRows;
  if (experts <= 0 || first.getN() % experts || first.getN() / experts % tile)
    return op.emitOpError() << "has weights of " << first.getN()
                            << " rows and experts = " << experts
                            << "; these divide the rows, and each has a multiple of "
                            << tile << cite<GroupedLinearOp>(6);
  auto [rows, choices] = shapeOf(op.getIds().getType());
  if (ShapedType::isDynamic(choices) || choices < 1 || !compatible(rows, op.getM()))
    return op.emitOpError() << "has ids of " << str(rows) << " x " << str(choices)
                            << ", and x has M = " << str(op.getM())
                            << "; ids have a row for each token, and as many columns "
                               "as it has choices, a known number"
                            << cite<GroupedLinearOp>(7);
  int64_t columns = shapeOf(op.getX().getType()).second, k = op.getK();
  constexpr int64_t chunk = ::qlinear::layout::kChunk;
  if (columns != k && columns != choices * k)
    return op.emitOpError() << "x has " << str(columns)
                            << " columns, and the weights K = " << k
                            << "; x has K, or K for each of " << choices << " choices"
                            << cite<GroupedLinearOp>(8);
  if (op.hasPieces() && k % chunk)
    return op.emitOpError() << "x has a piece of K = " << k
                            << " columns for each choice, and K is not a multiple of "
                            << chunk << ", the columns that share a scale; pad K"
                            << cite<GroupedLinearOp>(8);
  return success();
}

LogicalResult GroupedLinearOp::verify() {
  if (failed(verifyForm(*this, getOuts())) || failed(verifyShapes(*this)))
    return failure();
  TypeRange values = getValueTypes();
  if (!hasEpilogue() && (!getExtras().empty() || values.size() != getWeights().size()))
    return emitOpError() << "has " << getWeights().size() << " weights, "
                         << getExtras().size() << " extras and " << values.size()
                         << " results, and no region that makes these of those; "
                            "without a region there are no extras, and one result per "
                            "weight"
                         << cite<GroupedLinearOp>(9);
  int64_t n = getN(), t = getChoices();
  for (auto [index, extra] : llvm::enumerate(getExtras())) {
    auto type = cast<ShapedType>(extra.getType());
    int64_t columns = type.getShape().back();
    bool isVector = type.getRank() == 1;
    bool fits = isVector ? columns == n || columns == getWeightType().getN()
                         : (columns == t || columns == t * n) &&
                               compatible(type.getDimSize(0), getM());
    if (!isOneElement(type) && !fits)
      return emitOpError() << "extra " << index << " is " << type
                           << ", and there are M = " << str(getM())
                           << " rows of T = " << t
                           << " choices, and E = " << int64_t(getExperts())
                           << " experts of N = " << n
                           << "; an extra is a tensor of N, E*N, M x T, M x T*N, or 1"
                           << cite<GroupedLinearOp>(10);
  }
  for (auto [index, value] : llvm::enumerate(values)) {
    auto type = cast<ShapedType>(value);
    if (type.getDimSize(0) != getM() || type.getDimSize(1) != t * n)
      return emitOpError() << "result " << index << " must be " << str(getM()) << " x "
                           << t * n << " (rows of x, N for each choice), but is "
                           << type << cite<GroupedLinearOp>(11);
  }
  return success();
}

LogicalResult GroupedLinearOp::verifyRegions() {
  return verifyEpilogue(*this, /*firstConstraint=*/12);
}

LogicalResult GroupedLinearOp::reifyResultShapes(OpBuilder &builder,
                                                 ReifiedRankedShapedTypeDims &shapes) {
  FailureOr<OpFoldResult> rows = reifyRows(builder, getLoc(), getX());
  if (failed(rows))
    return failure();
  shapes.append(getNumResults(), {*rows, builder.getIndexAttr(getChoices() * getN())});
  return success();
}

//===----------------------------------------------------------------------===//
// combine
//===----------------------------------------------------------------------===//

bool CombineOp::hasTensorSemantics() { return isOnTensors(*this); }
TypeRange CombineOp::getValueTypes() { return valueTypes(*this); }
int64_t CombineOp::getM() { return shapeOf(getX().getType()).first; }
int64_t CombineOp::getChoices() { return shapeOf(getScales().getType()).second; }
int64_t CombineOp::getN() { return shapeOf(getX().getType()).second / getChoices(); }
SmallVector<Value> CombineOp::getKernelWeights() { return {}; }
SmallVector<Value> CombineOp::getKernelInputs() {
  SmallVector<Value> inputs{getX(), getScales()};
  llvm::append_range(inputs, getExtras());
  return inputs;
}
SmallVector<Value> CombineOp::getKernelOuts() { return getOuts(); }
unsigned CombineOp::getNumComputed() { return 1; }
StringRef CombineOp::describeComputed() { return "an f32 of the sum"; }

LogicalResult CombineOp::verify() {
  if (failed(verifyForm(*this, getOuts())))
    return failure();
  auto [m, columns] = shapeOf(getX().getType());
  auto [rows, choices] = shapeOf(getScales().getType());
  if (ShapedType::isDynamic(choices) || choices < 1 || ShapedType::isDynamic(columns) ||
      columns % choices || !compatible(rows, m))
    return emitOpError() << "has scales of " << str(rows) << " x " << str(choices)
                         << ", and x is " << str(m) << " x " << str(columns)
                         << "; rows are the same, and there is a scale for each of T "
                            "pieces of a row, which are known"
                         << cite<CombineOp>(5);
  TypeRange values = getValueTypes();
  if (!hasEpilogue() && (!getExtras().empty() || values.size() != 1))
    return emitOpError()
           << "has " << getExtras().size() << " extras and " << values.size()
           << " results, and no region that makes these of those; without "
              "a region there are no extras, and one result"
           << cite<CombineOp>(6);
  int64_t n = getN();
  for (auto [index, extra] : llvm::enumerate(getExtras())) {
    auto type = cast<ShapedType>(extra.getType());
    if (isOneElement(type))
      continue;
    if (type.getShape().back() != n ||
        (type.getRank() == 2 && !compatible(type.getDimSize(0), m)))
      return emitOpError() << "extra " << index << " is " << type
                           << ", but the sums are " << str(m) << " x " << n
                           << "; an extra is a tensor of N or M x N, or of 1"
                           << cite<CombineOp>(7);
  }
  for (auto [index, value] : llvm::enumerate(values)) {
    auto type = cast<ShapedType>(value);
    if (type.getDimSize(0) != m || type.getDimSize(1) != n)
      return emitOpError() << "result " << index << " must be " << str(m) << " x " << n
                           << " (rows of x, columns of a piece), but is " << type
                           << cite<CombineOp>(8);
  }
  return success();
}

LogicalResult CombineOp::verifyRegions() {
  return verifyEpilogue(*this, /*firstConstraint=*/9);
}

LogicalResult CombineOp::reifyResultShapes(OpBuilder &builder,
                                           ReifiedRankedShapedTypeDims &shapes) {
  FailureOr<OpFoldResult> rows = reifyRows(builder, getLoc(), getX());
  if (failed(rows))
    return failure();
  shapes.append(getNumResults(), {*rows, builder.getIndexAttr(getN())});
  return success();
}
