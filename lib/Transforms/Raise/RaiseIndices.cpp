//===- RaiseIndices.cpp - The loops of a linear on a quantized weight -----===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Raiser.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace mlir::qlinear;

/// Names the loops; declines loops that no linear has.
LogicalResult Raiser::matchIndices() {
  unsigned numLoops = analysis.loops.kinds.size();
  SmallVector<int64_t> &loopSizes = analysis.loops.sizes;
  ArrayRef<utils::IteratorType> iterators = analysis.loops.kinds;
  AffineMap xMap = x->access.map;
  // Behind a cast, x may say more than the loops.
  for (auto [e, size] :
       llvm::zip_equal(xMap.getResults(),
                       cast<RankedTensorType>(x->access.tensor.getType()).getShape()))
    if (auto dim = dyn_cast<AffineDimExpr>(e))
      if (int64_t &known = loopSizes[dim.getPosition()]; ShapedType::isDynamic(known))
        known = size;
  AffineMap result = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  auto assign = [&](unsigned index, unsigned loop) {
    if (!llvm::is_contained(indices.order[index], loop))
      indices.order[index].push_back(loop);
  };
  // In the order of the result and of x, so that they need no transposition.
  for (AffineExpr e : result.getResults()) {
    auto dim = dyn_cast<AffineDimExpr>(e);
    if (!dim)
      return decline("the result is not indexed by loops");
    unsigned loop = dim.getPosition();
    bool inX = xMap.isFunctionOfDim(loop), inW = dependsOn(codeTree, loop);
    if (inX && inW)
      return decline("the weight is batched: a loop of the result runs over both x and "
                     "the weight");
    if (!inX && !inW)
      return decline("a loop of the result runs over neither x nor the weight");
    if (inW)
      assign(Indices::N, loop);
  }
  for (AffineExpr e : xMap.getResults())
    e.walk([&](AffineExpr part) {
      auto dim = dyn_cast<AffineDimExpr>(part);
      if (!dim)
        return;
      bool isReduction = iterators[dim.getPosition()] == utils::IteratorType::reduction;
      assign(isReduction ? Indices::K : Indices::M, dim.getPosition());
    });
  for (unsigned loop = 0; loop < numLoops; ++loop) {
    bool isReduction = iterators[loop] == utils::IteratorType::reduction;
    if (isReduction && loopSizes[loop] != 1 &&
        (!xMap.isFunctionOfDim(loop) || !dependsOn(codeTree, loop)))
      return decline("a reduction does not run over both x and the weight");
    if (!isReduction && !result.isFunctionOfDim(loop))
      return decline("a parallel loop does not run over the result");
  }
  if (indices.order[Indices::N].empty() || indices.order[Indices::K].empty())
    return decline("there is no loop over N or none over K");

  uint64_t known = 1;
  unsigned dynamic = 0;
  for (unsigned loop : indices.order[Indices::M])
    if (ShapedType::isDynamic(loopSizes[loop]))
      ++dynamic;
    else
      known = llvm::SaturatingMultiply(known, uint64_t(loopSizes[loop]));
  indices.unknownSize = unknownSize(dynamic);
  auto declineRows = [&] {
    return decline("too many rows, in dimensions of which several are dynamic");
  };
  if (dynamic && known >= uint64_t(indices.unknownSize))
    return declineRows();
  indices.loops.assign(kMaxLoops, getAffineConstantExpr(0, context));
  for (unsigned index : {Indices::M, Indices::N, Indices::K}) {
    int64_t stride = 1;
    ArrayRef<unsigned> order = indices.order[index];
    AffineExpr dim = getAffineDimExpr(index, context);
    for (unsigned loop : llvm::reverse(order)) {
      int64_t size = loopSizes[loop];
      bool isFirst = loop == order.front();
      if (ShapedType::isDynamic(size)) {
        if (index != Indices::M)
          return decline("the group is not constant: N, K or the size of a group is "
                         "known only at run time");
        size = indices.unknownSize;
      }
      AffineExpr digit = dim.floorDiv(stride);
      indices.loops[loop] = isFirst ? digit : digit % size;
      if (__builtin_mul_overflow(stride, size, &stride) || stride > INT64_MAX >> 2)
        return declineRows();
    }
    indices.sizes[index] = stride;
  }
  return success();
}

/// `access` as a matrix of rows `row` and columns `column`.
FailureOr<Matrix> Raiser::getMatrix(const Access &access, unsigned row, unsigned column,
                                    StringRef name) {
  auto type = cast<RankedTensorType>(access.tensor.getType());
  AffineMap map = access.map.compose(AffineMap::get(3, 0, indices.loops, context));
  struct Key {
    unsigned column;
    int64_t stride; ///< negative, so that the slowest comes first
    int64_t dim;
  };
  SmallVector<Key> keys;
  SmallVector<Digit> digits[2];
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    int64_t size = type.getDimSize(i);
    std::optional<Digit> digit = getDigit(expr, indices.sizes);
    if (!digit || (digit->dim && *digit->dim != row && *digit->dim != column))
      return decline(
          "the dimensions of " + name +
          " are not rows, groups and columns: their "
          "sizes do not divide N and K (padded last block), or the indices mix "
          "the two");
    bool isDynamic = ShapedType::isDynamic(size);
    if (isDynamic && row != Indices::M)
      return decline("the group is not constant: the shape of " + name +
                     " is known only at run time");
    if (digit->size == 1 || !digit->dim) {
      if (isDynamic && indices.sizes[Indices::M] != 1)
        return decline("the shape of " + name + " is known only at run time");
      if (!isDynamic && size != 1)
        return decline("only one of " + Twine(size) + " elements of " + name +
                       " is used in a dimension");
      // Stays beside the dimension before it.
      Key key = keys.empty() ? Key{0, INT64_MIN, 0} : keys.back();
      keys.push_back({key.column, key.stride, int64_t(i)});
      continue;
    }
    if (isDynamic ? digit->size < indices.unknownSize : digit->size != size)
      return decline("padded block: " + Twine(digit->size) + " of " + Twine(size) +
                     " elements of " + name + " are used in a dimension");
    unsigned isColumn = *digit->dim == column;
    digits[isColumn].push_back(*digit);
    keys.push_back({isColumn, -digit->stride, int64_t(i)});
  }
  Matrix result;
  result.tensor = access.tensor;
  for (unsigned isColumn : {0, 1}) {
    SmallVector<Digit> &sorted = digits[isColumn];
    int64_t total = indices.sizes[isColumn ? column : row];
    llvm::sort(sorted, [](Digit a, Digit b) { return a.stride < b.stride; });
    int64_t stride = sorted.empty() ? total : sorted.front().stride, next = stride;
    for (const Digit &digit : sorted) {
      if (digit.stride != next)
        return decline(name + " do not change from block to block along N and K");
      next *= digit.size;
    }
    if (next != total)
      return decline(name + " repeat along " + (isColumn ? "K" : "N"));
    (isColumn ? result.columnStride : result.rowStride) = stride;
    (isColumn ? result.hasColumns : result.hasRows) = !sorted.empty();
  }
  // By dimension where equal: a unit dimension after the one that it belongs to.
  llvm::sort(keys, [](const Key &a, const Key &b) {
    return std::tuple(a.column, a.stride, a.dim) <
           std::tuple(b.column, b.stride, b.dim);
  });
  for (const Key &key : keys) {
    result.permutation.push_back(key.dim);
    result.rowDims += !key.column;
  }
  return result;
}

FailureOr<Matrix> Raiser::getMatrix(const Scalar *scalar, unsigned row, unsigned column,
                                    StringRef name) {
  FailureOr<Matrix> matrix = getMatrix(scalar->access, row, column, name);
  std::string reason = why;
  for (const Access &view : scalar->views) {
    if (succeeded(matrix))
      break;
    why.clear();
    matrix = getMatrix(view, row, column, name);
  }
  // The first reason says most.
  if (failed(matrix))
    why = reason;
  return matrix;
}

/// The greatest s such that `expr` depends on dimension `dim` by its quotient with s
/// only; 0 if it does not depend on it.
static int64_t strideOf(AffineExpr expr, unsigned dim, ArrayRef<int64_t> sizes) {
  if (!expr.isFunctionOfDim(dim))
    return 0;
  if (std::optional<Digit> digit = getDigit(expr, sizes))
    return digit->dim == dim ? digit->stride : 0;
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return 1;
  auto by = dyn_cast<AffineConstantExpr>(binary.getRHS());
  if (binary.getKind() == AffineExprKind::FloorDiv && by && by.getValue() > 0) {
    // (k + c) floordiv d, also where d does not divide the size.
    auto sum = dyn_cast<AffineBinaryOpExpr>(binary.getLHS());
    if (sum && sum.getKind() == AffineExprKind::Add)
      if (auto offset = dyn_cast<AffineConstantExpr>(sum.getRHS());
          offset && sum.getLHS() == getAffineDimExpr(dim, expr.getContext()))
        return std::gcd(offset.getValue(), by.getValue());
    if (binary.getLHS() == getAffineDimExpr(dim, expr.getContext()))
      return by.getValue();
  }
  return std::gcd(strideOf(binary.getLHS(), dim, sizes),
                  strideOf(binary.getRHS(), dim, sizes));
}

int64_t Raiser::strideOf(const Access &access, unsigned index) {
  AffineMap map = simplifyAffineMap(
      access.map.compose(AffineMap::get(3, 0, indices.loops, context)));
  int64_t stride = 0;
  for (AffineExpr expr : map.getResults())
    stride = std::gcd(stride, ::strideOf(expr, index, indices.sizes));
  return stride;
}
