//===- Tiling.cpp - A linear in tiles of rows -----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A linear has one loop, over M. Rows m .. m + t of the results are the linear of the
// same rows of x and of the M x N extras; weights and N extras are used as a whole.
//
//===----------------------------------------------------------------------===//
#include "DialectImpl.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace mlir::qlinear;

SmallVector<utils::IteratorType> LinearOp::getLoopIteratorTypes() {
  return {utils::IteratorType::parallel};
}

SmallVector<Range> LinearOp::getIterationDomain(OpBuilder &builder) {
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  ReifiedRankedShapedTypeDims shapes;
  // Without it there is no tile either, see below.
  if (!hasTensorSemantics() || failed(reifyResultShapes(builder, shapes)))
    return {Range{zero, zero, one}};
  return {Range{zero, shapes.front().front(), one}};
}

/// Rows [offset, offset + size) of an M x ? tensor.
static Value sliceRows(OpBuilder &b, Location loc, Value tensor, OpFoldResult offset,
                       OpFoldResult size, SmallVectorImpl<Operation *> &slices) {
  OpFoldResult zero = b.getIndexAttr(0), one = b.getIndexAttr(1);
  OpFoldResult columns =
      b.getIndexAttr(cast<RankedTensorType>(tensor.getType()).getDimSize(1));
  auto slice = tensor::ExtractSliceOp::create(
      b, loc, tensor, ArrayRef<OpFoldResult>{offset, zero},
      ArrayRef<OpFoldResult>{size, columns}, ArrayRef<OpFoldResult>{one, one});
  slices.push_back(slice);
  return slice;
}

FailureOr<TilingResult> LinearOp::getTiledImplementation(OpBuilder &b,
                                                         ArrayRef<OpFoldResult> offsets,
                                                         ArrayRef<OpFoldResult> sizes) {
  if (!hasTensorSemantics())
    return emitOpError("is on buffers and cannot be tiled; tile it before "
                       "one-shot-bufferize");
  Location loc = getLoc();
  TilingResult tile;
  auto rows = [&](Value tensor) {
    return sliceRows(b, loc, tensor, offsets[0], sizes[0], tile.generatedSlices);
  };
  Value x = getX();
  if (isa<RankedTensorType>(x.getType())) {
    x = rows(x);
  } else {
    // Rows are quantized one by one: so are those of a tile.
    auto quantize = x.getDefiningOp<QuantizeActivationsOp>();
    if (!quantize)
      return emitOpError("has quantized activations from elsewhere, of which there is "
                         "no tile; tile it before qlinear-quantize-activations");
    x = QuantizeActivationsOp::create(b, loc, rows(quantize.getInput())).getResult();
  }
  SmallVector<Value> extras, outs;
  for (Value extra : getExtras())
    extras.push_back(
        cast<RankedTensorType>(extra.getType()).getRank() == 2 ? rows(extra) : extra);
  for (Value out : getOuts())
    outs.push_back(rows(out));
  int64_t m = getConstantIntValue(sizes[0]).value_or(ShapedType::kDynamic);
  SmallVector<Type> types;
  for (Type type : getResultTypes()) {
    auto tensor = cast<RankedTensorType>(type);
    types.push_back(tensor.clone({m, tensor.getDimSize(1)}));
  }
  auto tiled = LinearOp::create(b, loc, types, x, getWeights(), extras, outs, *this);
  IRMapping mapping;
  getEpilogue().cloneInto(&tiled.getEpilogue(), mapping);
  tile.tiledOps.push_back(tiled);
  llvm::append_range(tile.tiledValues, tiled.getResults());
  return tile;
}

LogicalResult LinearOp::getResultTilePosition(OpBuilder &b, unsigned number,
                                              ArrayRef<OpFoldResult> offsets,
                                              ArrayRef<OpFoldResult> sizes,
                                              SmallVector<OpFoldResult> &resultOffsets,
                                              SmallVector<OpFoldResult> &resultSizes) {
  auto type = cast<RankedTensorType>(getResult(number).getType());
  resultOffsets = {offsets[0], b.getIndexAttr(0)};
  resultSizes = {sizes[0], b.getIndexAttr(type.getDimSize(1))};
  return success();
}

/// The linear can be tiled so that it computes a tile of its result if that tile has
/// all columns: only M is a loop of the linear.
LogicalResult LinearOp::getIterationDomainTileFromResultTile(
    OpBuilder &, unsigned number, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVectorImpl<OpFoldResult> &domainOffsets,
    SmallVectorImpl<OpFoldResult> &domainSizes) {
  auto type = cast<RankedTensorType>(getResult(number).getType());
  if (!isConstantIntValue(offsets[1], 0) ||
      !isConstantIntValue(sizes[1], type.getDimSize(1)))
    return emitOpError() << "cannot be tiled along N = " << type.getDimSize(1)
                         << ", since its weight is a whole; tile its user along M only";
  domainOffsets.assign(1, offsets[0]);
  domainSizes.assign(1, sizes[0]);
  return success();
}

FailureOr<TilingResult>
LinearOp::generateResultTileValue(OpBuilder &b, unsigned number,
                                  ArrayRef<OpFoldResult> offsets,
                                  ArrayRef<OpFoldResult> sizes) {
  SmallVector<OpFoldResult> domainOffsets, domainSizes;
  if (failed(getIterationDomainTileFromResultTile(b, number, offsets, sizes,
                                                  domainOffsets, domainSizes)))
    return failure();
  FailureOr<TilingResult> tile = getTiledImplementation(b, domainOffsets, domainSizes);
  if (failed(tile))
    return failure();
  tile->tiledValues = {tile->tiledValues[number]};
  return tile;
}
