//===- RowOps.cpp - Operations on rows that multiply none -----------------===//
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
// norm
//===----------------------------------------------------------------------===//

bool NormOp::hasTensorSemantics() { return isOnTensors(*this); }
TypeRange NormOp::getValueTypes() { return valueTypes(*this); }
int64_t NormOp::getM() { return shapeOf(getInputs().front().getType()).first; }
int64_t NormOp::getK() { return shapeOf(getInputs().front().getType()).second; }
FloatType NormOp::getInputElement() {
  return cast<FloatType>(getElementTypeOrSelf(getInputs().front().getType()));
}
SmallVector<Value> NormOp::getKernelWeights() { return {}; }
SmallVector<Value> NormOp::getKernelInputs() {
  SmallVector<Value> inputs(getInputs());
  llvm::append_range(inputs, getExtras());
  return inputs;
}
SmallVector<Value> NormOp::getKernelOuts() { return getOuts(); }
unsigned NormOp::getNumComputed() { return 2; }
StringRef NormOp::describeComputed() {
  return "an f32 of the norm and one of its input";
}

template <typename Op>
static LogicalResult verifyEpsilon(Op op, const APFloat &epsilon, unsigned constraint) {
  if (epsilon.isFinite() && (!epsilon.isNegative() || epsilon.isZero()))
    return success();
  return op.emitOpError() << "epsilon = " << epsilon.convertToDouble()
                          << "; it is added to a mean of squares: give a finite number "
                             "from 0 on"
                          << cite<Op>(constraint);
}

LogicalResult NormOp::verify() {
  size_t count = getInputs().size();
  if (count < 1 || count > 2)
    return emitOpError() << "has " << count
                         << " inputs; give the rows, or two tensors whose sum they are"
                         << cite<NormOp>(5);
  if (failed(verifyForm(*this, getOuts())))
    return failure();
  auto first = cast<ShapedType>(getInputs().front().getType());
  auto last = cast<ShapedType>(getInputs().back().getType());
  if (first.getShape() != last.getShape() ||
      first.getElementType() != last.getElementType())
    return emitOpError() << "adds " << first << " and " << last
                         << "; the shape and the element type must be the same"
                         << cite<NormOp>(6);
  int64_t m = getM(), k = getK();
  if (ShapedType::isDynamic(k))
    return emitOpError("K of the inputs must be known; only M may be ?")
           << cite<NormOp>(7);
  if (failed(verifyEpsilon<NormOp>(*this, getEpsilon(), 8)))
    return failure();
  TypeRange values = getValueTypes();
  if (!hasEpilogue() && (!getExtras().empty() || values.size() != 1))
    return emitOpError()
           << "has " << getExtras().size() << " extras and " << values.size()
           << " results, and no region that makes these of those; without "
              "a region there are no extras, and one result"
           << cite<NormOp>(9);
  for (auto [index, extra] : llvm::enumerate(getExtras())) {
    auto type = cast<ShapedType>(extra.getType());
    if (isOneElement(type))
      continue;
    if (type.getShape().back() != k ||
        (type.getRank() == 2 && !compatible(type.getDimSize(0), m)))
      return emitOpError() << "extra " << index << " is " << type
                           << ", but the rows are " << str(m) << " x " << k
                           << "; an extra is a tensor of K or M x K, or of 1"
                           << cite<NormOp>(10);
  }
  for (auto [index, value] : llvm::enumerate(values)) {
    auto type = cast<ShapedType>(value);
    if (type.getDimSize(0) != m || type.getDimSize(1) != k)
      return emitOpError() << "result " << index << " must be " << str(m) << " x " << k
                           << " as the first input, but is " << type
                           << cite<NormOp>(11);
  }
  return success();
}

LogicalResult NormOp::verifyRegions() {
  return verifyEpilogue(*this, /*firstConstraint=*/12);
}

LogicalResult NormOp::reifyResultShapes(OpBuilder &builder,
                                        ReifiedRankedShapedTypeDims &shapes) {
  FailureOr<OpFoldResult> rows = reifyRows(builder, getLoc(), getInputs().front());
  if (failed(rows))
    return failure();
  shapes.append(getNumResults(), {*rows, builder.getIndexAttr(getK())});
  return success();
}

//===----------------------------------------------------------------------===//
// rotary
//===----------------------------------------------------------------------===//

bool RotaryOp::hasTensorSemantics() { return isOnTensors(*this); }
int64_t RotaryOp::getM() { return shapeOf(getInputs().front().getType()).first; }
int64_t RotaryOp::getColumns(unsigned index) {
  return shapeOf(getInputs()[index].getType()).second;
}
int64_t RotaryOp::getRotated() { return shapeOf(getCos().getType()).second; }
int64_t RotaryOp::getRotated(unsigned index) {
  return index + getUnrotated().value_or(0) < getInputs().size() ? getRotated() : 0;
}
FloatType RotaryOp::getElement() {
  return cast<FloatType>(getElementTypeOrSelf(getInputs().front().getType()));
}
FloatType RotaryOp::getTableElement() {
  return cast<FloatType>(getElementTypeOrSelf(getCos().getType()));
}
FloatType RotaryOp::getNormElement() {
  return cast<FloatType>(getElementTypeOrSelf(getNorms().front().getType()));
}
int64_t RotaryOp::getPieces() { return shapeOf(getAt().getType()).second; }
SmallVector<Value> RotaryOp::getKernelWeights() { return {}; }
SmallVector<Value> RotaryOp::getKernelInputs() {
  SmallVector<Value> inputs(getInputs());
  inputs.append({getCos(), getSin()});
  llvm::append_range(inputs, getNorms());
  if (getAt())
    inputs.push_back(getAt());
  return inputs;
}
SmallVector<Value> RotaryOp::getKernelOuts() { return getOuts(); }

static LogicalResult verifyNorms(RotaryOp op) {
  auto norms = op.getNorms();
  if (norms.empty()) {
    if (op.getEpsilon() || op.getZeroCentered())
      return op.emitOpError()
             << "has " << (op.getEpsilon() ? "epsilon" : "zero_centered")
             << ", which is of norms, and no norms(...); give a vector of "
                "scales for each input, or leave it out"
             << cite<RotaryOp>(12);
    return success();
  }
  size_t rotated = op.getInputs().size() - op.getUnrotated().value_or(0);
  if (norms.size() != op.getInputs().size() && norms.size() != rotated)
    return op.emitOpError() << "has " << op.getInputs().size() << " inputs and "
                            << norms.size()
                            << " norms; there is one for each input, or for each but "
                               "the unrotated ones, or none"
                            << cite<RotaryOp>(11);
  for (auto [index, norm] : llvm::enumerate(norms)) {
    auto type = cast<ShapedType>(norm.getType());
    if (type.getDimSize(0) != int64_t(op.getHead()) ||
        type.getElementType() != op.getNormElement())
      return op.emitOpError()
             << "norm " << index << " is " << type << ", and head = " << op.getHead()
             << "; norms have an element for each column of a head, and "
                "are of one type"
             << cite<RotaryOp>(11);
  }
  std::optional<APFloat> epsilon = op.getEpsilon();
  if (!epsilon)
    return op.emitOpError("has norms(...) and no epsilon; it is added to a mean of "
                          "squares, as in epsilon = 1.0e-06")
           << cite<RotaryOp>(12);
  return verifyEpsilon<RotaryOp>(op, *epsilon, 12);
}

static LogicalResult verifyCaches(RotaryOp op) {
  auto caches = op.getCaches();
  if (caches.empty() != !op.getAt())
    return op.emitOpError() << "has " << caches.size() << " caches and "
                            << (op.getAt() ? "places" : "no places")
                            << " in these; give both, as in into(%keys, %values at "
                               "%places), or none"
                            << cite<RotaryOp>(15);
  if (caches.empty())
    return success();
  if (caches.size() > op.getInputs().size())
    return op.emitOpError() << "has " << op.getInputs().size() << " inputs and "
                            << caches.size()
                            << " caches; each is of one of the last inputs"
                            << cite<RotaryOp>(14);
  auto at = cast<ShapedType>(op.getAt().getType());
  for (auto [index, cache] : llvm::enumerate(caches)) {
    if (llvm::is_contained(caches.take_front(index), cache))
      return op.emitOpError() << "cache " << index
                              << " is an earlier one, too; give each input a cache of "
                                 "its own"
                              << cite<RotaryOp>(14);
    auto type = cast<ShapedType>(cache.getType());
    int64_t columns = op.getColumns(unsigned(op.getNumRows() + index));
    int64_t width = type.getDimSize(1), head = int64_t(op.getHead());
    if (ShapedType::isDynamic(width) || width < 1 || width % head || columns % width ||
        type.getElementType() != op.getElement())
      return op.emitOpError()
             << "cache " << index << " is " << type << ", and its input is "
             << op.getInputs()[op.getNumRows() + index].getType()
             << " with head = " << head
             << "; a cache has that element type, and rows of one or more whole "
                "heads, into which the input's can be cut"
             << cite<RotaryOp>(14);
    if (at.getDimSize(1) != columns / width)
      return op.emitOpError() << "has places of " << at << ", and rows of " << columns
                              << " columns are " << columns / width
                              << " pieces of cache " << index << ", which is " << type
                              << "; a place is there for each piece"
                              << cite<RotaryOp>(15);
  }
  if (!compatible(at.getDimSize(0), op.getM()))
    return op.emitOpError() << "has places of " << at
                            << ", and the inputs have M = " << str(op.getM())
                            << "; there is a row for each token" << cite<RotaryOp>(15);
  return success();
}

LogicalResult RotaryOp::verify() {
  if (getInputs().empty())
    return emitOpError("has no input; give the queries, the keys or both")
           << cite<RotaryOp>(5);
  if (failed(verifyForm(*this, getOuts())))
    return failure();
  auto first = cast<ShapedType>(getInputs().front().getType());
  auto head = int64_t(getHead());
  for (auto [index, input] : llvm::enumerate(getInputs())) {
    auto type = cast<ShapedType>(input.getType());
    if (type.getDimSize(0) != first.getDimSize(0) ||
        type.getElementType() != first.getElementType())
      return emitOpError() << "input " << index << " is " << type
                           << ", but the first one is " << first
                           << "; rows and element types must be the same"
                           << cite<RotaryOp>(6);
    int64_t columns = type.getDimSize(1);
    if (head <= 0 || ShapedType::isDynamic(columns) || columns % head)
      return emitOpError() << "input " << index << " has " << str(columns)
                           << " columns, and head = " << head
                           << "; they must be known, and whole heads"
                           << cite<RotaryOp>(7);
  }
  auto cos = cast<ShapedType>(getCos().getType());
  auto sin = cast<ShapedType>(getSin().getType());
  if (cos.getShape() != sin.getShape() ||
      cos.getElementType() != sin.getElementType() ||
      !compatible(cos.getDimSize(0), getM()))
    return emitOpError() << "cos is " << cos << " and sin is " << sin
                         << ", and the inputs have M = " << str(getM())
                         << "; they are of one type and have a row for each token"
                         << cite<RotaryOp>(8);
  int64_t rotated = getRotated();
  if (ShapedType::isDynamic(rotated) || rotated % 2 || rotated < 2 || rotated > head)
    return emitOpError() << "cos and sin have " << str(rotated)
                         << " columns, and head = " << head
                         << "; their number must be known, even, and from 2 to head"
                         << cite<RotaryOp>(9);
  if (failed(verifyCaches(*this)))
    return failure();
  TypeRange values = valueTypes(*this);
  if (values.size() != getNumRows())
    return emitOpError() << "has " << getNumRows() << " inputs"
                         << (getCaches().empty() ? "" : " without a cache") << " and "
                         << values.size() << " results"
                         << (getCaches().empty() ? "" : " that are of no cache")
                         << "; there is one for each" << cite<RotaryOp>(10);
  for (auto [index, value] : llvm::enumerate(values)) {
    auto from = cast<ShapedType>(getInputs()[index].getType());
    auto to = cast<ShapedType>(value);
    if (from.getShape() != to.getShape() ||
        from.getElementType() != to.getElementType())
      return emitOpError() << "turns " << from << " into " << to
                           << "; the shape and the element type must be the same"
                           << cite<RotaryOp>(10);
  }
  if (std::optional<uint64_t> unrotated = getUnrotated())
    if ((getNorms().size() < getInputs().size() && *unrotated > getCaches().size()) ||
        *unrotated < 1 || *unrotated >= getInputs().size())
      return emitOpError()
             << "has " << getInputs().size() << " inputs, " << getNorms().size()
             << " norms, " << getCaches().size()
             << " caches, and unrotated = " << int64_t(*unrotated)
             << "; so many of the last inputs are only normalized, or only go into "
                "caches: give 1 or more, fewer than all, and norms(...) or a cache for "
                "each"
             << cite<RotaryOp>(13);
  return verifyNorms(*this);
}

LogicalResult RotaryOp::reifyResultShapes(OpBuilder &builder,
                                          ReifiedRankedShapedTypeDims &shapes) {
  FailureOr<OpFoldResult> rows = reifyRows(builder, getLoc(), getInputs().front());
  if (failed(rows))
    return failure();
  for (unsigned i = 0; i < getNumRows(); ++i)
    shapes.push_back({*rows, builder.getIndexAttr(getColumns(i))});
  for (Value cache : getCaches())
    shapes.push_back({*reifyRows(builder, getLoc(), cache),
                      builder.getIndexAttr(shapeOf(cache.getType()).second)});
  return success();
}

//===----------------------------------------------------------------------===//
// embedding
//===----------------------------------------------------------------------===//

bool EmbeddingOp::hasTensorSemantics() { return isOnTensors(*this); }
int64_t EmbeddingOp::getM() { return shapeOf(getIndices().getType()).first; }
FloatType EmbeddingOp::getElement() {
  return cast<FloatType>(getElementTypeOrSelf(valueTypes(*this).front()));
}
SmallVector<Value> EmbeddingOp::getKernelWeights() { return {getWeight()}; }
SmallVector<Value> EmbeddingOp::getKernelInputs() { return {getIndices()}; }
SmallVector<Value> EmbeddingOp::getKernelOuts() { return getOuts(); }

LogicalResult EmbeddingOp::verify() {
  if (failed(verifyForm(*this, getOuts())))
    return failure();
  auto indices = cast<ShapedType>(getIndices().getType());
  if (indices.getDimSize(1) != 1)
    return emitOpError() << "has indices of " << indices
                         << "; they are a column, of a row's index each"
                         << cite<EmbeddingOp>(5);
  auto rows = cast<ShapedType>(valueTypes(*this).front());
  if (rows.getDimSize(1) != getWeightType().getK() ||
      !compatible(rows.getDimSize(0), getM()))
    return emitOpError() << "makes " << rows << " of " << str(getM())
                         << " rows of a weight with K = " << getWeightType().getK()
                         << "; there is a row for each index, of K columns"
                         << cite<EmbeddingOp>(6);
  return success();
}

LogicalResult EmbeddingOp::reifyResultShapes(OpBuilder &builder,
                                             ReifiedRankedShapedTypeDims &shapes) {
  FailureOr<OpFoldResult> rows = reifyRows(builder, getLoc(), getIndices());
  if (failed(rows))
    return failure();
  shapes.push_back({*rows, builder.getIndexAttr(getWeightType().getK())});
  return success();
}
