//===- ConstantCompute.cpp - Operations on tensors that are constants -----===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ConstantEvaluator.h"
#include "ScalarProgram.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cstring>

using namespace mlir;
using namespace mlir::qlinear;

//===----------------------------------------------------------------------===//
// Indices
//===----------------------------------------------------------------------===//

/// The index in each dimension of `count` elements from `begin` on.
static void setIndices(ArrayRef<int64_t> shape, size_t begin, size_t count,
                       LaneIndices &indices) {
  size_t rank = shape.size();
  indices.resize(rank);
  SmallVector<int64_t> at(rank);
  size_t rest = begin;
  for (size_t d = rank; d-- > 0; rest /= size_t(shape[d]))
    at[d] = int64_t(rest % size_t(shape[d]));
  for (std::vector<int64_t> &index : indices)
    index.resize(kLanes);
  for (size_t i = 0; i < count; ++i) {
    for (size_t d = 0; d < rank; ++d)
      indices[d][i] = at[d];
    for (size_t d = rank; d-- > 0 && ++at[d] == shape[d];)
      at[d] = 0;
  }
}

/// Adds `factor` times the values of `expr` to `sum`.
static void evaluate(AffineExpr expr, const LaneIndices &indices, size_t count,
                     int64_t *values) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
    std::copy_n(indices[dim.getPosition()].begin(), count, values);
    return;
  }
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    std::fill_n(values, count, constant.getValue());
    return;
  }
  auto binary = cast<AffineBinaryOpExpr>(expr);
  std::vector<int64_t> other(count);
  evaluate(binary.getLHS(), indices, count, values);
  evaluate(binary.getRHS(), indices, count, other.data());
  auto apply = [&](auto function) {
    for (size_t i = 0; i < count; ++i)
      values[i] = function(values[i], other[i]);
  };
  switch (binary.getKind()) {
  case AffineExprKind::Add:
    return apply([](int64_t a, int64_t b) { return a + b; });
  case AffineExprKind::Mul:
    return apply([](int64_t a, int64_t b) { return a * b; });
  case AffineExprKind::FloorDiv:
    return apply([](int64_t a, int64_t b) { return llvm::divideFloorSigned(a, b); });
  case AffineExprKind::CeilDiv:
    return apply([](int64_t a, int64_t b) { return llvm::divideCeilSigned(a, b); });
  default:
    return apply([](int64_t a, int64_t b) { return llvm::mod(a, b); });
  }
}

/// Whether an expression has no symbols, and divides by positive constants only.
static bool isSimple(AffineMap map) {
  bool simple = map.getNumSymbols() == 0;
  map.walkExprs([&](AffineExpr e) {
    auto binary = dyn_cast<AffineBinaryOpExpr>(e);
    if (!binary || binary.getKind() == AffineExprKind::Add ||
        binary.getKind() == AffineExprKind::Mul)
      return;
    auto by = dyn_cast<AffineConstantExpr>(binary.getRHS());
    simple &= by && by.getValue() > 0;
  });
  return simple;
}

/// Offsets of elements of a tensor of `shape` at indices that `map` gives; fails if
/// one is outside.
static LogicalResult setOffsets(AffineMap map, ArrayRef<int64_t> shape,
                                const LaneIndices &indices, size_t count,
                                std::vector<int64_t> &offsets) {
  offsets.assign(kLanes, 0);
  std::vector<int64_t> index(count);
  bool isInside = true;
  for (auto [expr, size] : llvm::zip_equal(map.getResults(), shape)) {
    evaluate(expr, indices, count, index.data());
    for (size_t i = 0; i < count; ++i) {
      isInside &= index[i] >= 0 && index[i] < size;
      offsets[i] = offsets[i] * size + index[i];
    }
  }
  return success(isInside);
}

/// Calls `move` with the place of each element of `shape`, and its offset in a tensor
/// of the shape `other`; fails if one is outside.
static LogicalResult forEachOffset(ArrayRef<int64_t> shape, AffineMap map,
                                   ArrayRef<int64_t> other,
                                   function_ref<void(size_t, size_t)> move) {
  size_t total = size_t(ShapedType::getNumElements(shape));
  LaneIndices indices;
  std::vector<int64_t> offsets;
  for (size_t begin = 0; begin < total; begin += kLanes) {
    size_t count = std::min(kLanes, total - begin);
    setIndices(shape, begin, count, indices);
    if (failed(setOffsets(map, other, indices, count, offsets)))
      return failure();
    for (size_t i = 0; i < count; ++i)
      move(begin + i, size_t(offsets[i]));
  }
  return success();
}

/// A tensor whose element at index i is the element of `from` at map(i).
static Elements gather(const Elements &from, RankedTensorType type, AffineMap map) {
  Elements result = Elements::zeros(type, from.isSplat());
  size_t width = from.width();
  char *to = result.bytes();
  const char *source = from.data.data();
  if (from.isSplat()) {
    std::memcpy(to, source, width);
    return result;
  }
  LogicalResult gathered = forEachOffset(
      type.getShape(), map, from.type.getShape(), [&](size_t at, size_t offset) {
        std::memcpy(to + at * width, source + offset * width, width);
      });
  return succeeded(gathered) ? result : Elements();
}

/// All elements, in memory that only the result has.
static Elements makeWritable(Elements from) {
  if (from.memory && from.memory.use_count() == 1 && !from.isSplat())
    return from;
  Elements result = Elements::zeros(from.type);
  size_t width = from.width();
  if (from.data.size() == result.data.size())
    std::memcpy(result.bytes(), from.data.data(), from.data.size());
  else
    for (size_t i = 0, n = size_t(from.type.getNumElements()); i < n; ++i)
      std::memcpy(result.bytes() + i * width, from.data.data(), width);
  return result;
}

/// Writes `from` into `to`, its element at index i to map(i); fails if one is outside.
static LogicalResult scatter(const Elements &from, Elements &to, AffineMap map) {
  size_t width = from.width(), stride = from.isSplat() ? 0 : width;
  char *bytes = to.bytes();
  const char *source = from.data.data();
  return forEachOffset(
      from.type.getShape(), map, to.type.getShape(), [&](size_t at, size_t offset) {
        std::memcpy(bytes + offset * width, source + at * stride, width);
      });
}

/// Where the elements of a slice lie in the whole; none if the place is not constant.
static std::optional<AffineMap> sliceMap(ArrayRef<OpFoldResult> offsets,
                                         ArrayRef<OpFoldResult> strides,
                                         const llvm::SmallBitVector &dropped,
                                         MLIRContext *context) {
  SmallVector<AffineExpr> exprs;
  unsigned rank = 0;
  for (auto [i, offset, stride] : llvm::enumerate(offsets, strides)) {
    std::optional<int64_t> start = getConstantIntValue(offset),
                           step = getConstantIntValue(stride);
    if (!start || !step)
      return std::nullopt;
    AffineExpr index = dropped.test(i) ? getAffineConstantExpr(0, context)
                                       : getAffineDimExpr(rank++, context);
    exprs.push_back(index * *step + *start);
  }
  return AffineMap::get(rank, 0, exprs, context);
}

std::optional<AffineMap> mlir::qlinear::getSliceMap(tensor::ExtractSliceOp op) {
  return sliceMap(op.getMixedOffsets(), op.getMixedStrides(), op.getDroppedDims(),
                  op.getContext());
}

//===----------------------------------------------------------------------===//
// linalg, arith, math
//===----------------------------------------------------------------------===//

/// More iterations are left to the program: each takes some nanoseconds.
static constexpr int64_t kMaxIterations = int64_t(1) << 31;

Elements ConstantEvaluator::computeLinalg(linalg::LinalgOp op, unsigned resultNumber) {
  OpOperand *init = op.getDpsInitOperand(resultNumber);
  AffineMap out = op.getMatchingIndexingMap(init);
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  RankedTensorType type = evaluatedType(init->get());
  Block *body = op.getBlock();
  Value yielded = body->getTerminator()->getOperand(resultNumber);
  if (!out.isProjectedPermutation() || ShapedType::isDynamicShape(sizes))
    return {};
  SmallVector<unsigned> outer, inner; // loops of the result, loops of sums
  for (AffineExpr e : out.getResults())
    outer.push_back(cast<AffineDimExpr>(e).getPosition());
  int64_t iterations = 1, sums = 1;
  for (auto [loop, size] : llvm::enumerate(sizes)) {
    if (iterations > kMaxIterations / std::max<int64_t>(size, 1))
      return {};
    iterations *= size;
    if (out.isFunctionOfDim(loop))
      continue;
    if (op.getIteratorTypesArray()[loop] != utils::IteratorType::reduction)
      return {};
    inner.push_back(loop);
    sums *= size;
  }
  if (sums == 0)
    return {};

  // Elements that are only moved keep their bits.
  if (auto argument = dyn_cast<BlockArgument>(yielded);
      argument && argument.getOwner() == body && inner.empty()) {
    OpOperand *operand = op.getMatchingOpOperand(argument);
    AffineMap map = op.getMatchingIndexingMap(operand);
    if (Elements from = lookup(operand->get());
        from && !op.isDpsInit(operand) && isSimple(map))
      return gather(from, type, map.compose(inversePermutation(out)));
  }
  if (!isComputable(type.getElementType()))
    return {};

  ScalarProgram program;
  struct Input {
    Elements elements;
    AffineMap map;
    Lanes *lanes;
    bool isContiguous;
  };
  SmallVector<Input> inputs;
  Lanes *start = nullptr;
  Elements startElements;
  bool isSplat = inner.empty();
  for (OpOperand &operand : op->getOpOperands()) {
    BlockArgument argument = op.getMatchingBlockArgument(&operand);
    if (argument.use_empty())
      continue;
    Elements from = lookup(operand.get());
    if (op.isDpsInit(&operand) && !inner.empty() && &operand != init)
      return {};
    Lanes &lanes = program.lanesOf(argument);
    if (&operand == init) {
      start = &lanes;
      startElements = from;
      if (!from)
        return {};
      isSplat &= from.isSplat();
      continue;
    }
    if (!isa<ShapedType>(operand.get().getType())) { // a scalar, as of linalg.fill
      Lanes *scalar = program.operandOf(operand.get());
      if (!scalar)
        return {};
      lanes = *scalar;
      continue;
    }
    AffineMap map = op.getMatchingIndexingMap(&operand);
    if (!from || !isSimple(map))
      return {};
    isSplat &= from.isSplat();
    inputs.push_back({from, map, &lanes, inner.empty() && map == out});
  }
  for (Operation &scalar : body->without_terminator()) {
    if (matchPattern(&scalar, m_Constant()))
      continue;
    if (scalar.getNumResults() != 1 ||
        !program.add(&scalar, scalar.getOperands(), scalar.getResult(0)))
      return {};
  }
  Lanes *result = program.operandOf(yielded);
  if (!result)
    return {};
  isSplat &= !program.usesIndices;
  Elements elements = Elements::zeros(type, isSplat);
  bool needsIndices = program.usesIndices || llvm::any_of(inputs, [](const Input &i) {
                        return !i.isContiguous && !i.elements.isSplat();
                      });
  size_t total = isSplat ? 1 : size_t(type.getNumElements());
  LaneIndices ofResult, loops(sizes.size());
  for (std::vector<int64_t> &loop : loops)
    loop.resize(kLanes);
  std::vector<int64_t> offsets;
  SmallVector<int64_t> at(inner.size(), 0);
  for (size_t begin = 0; begin < total; begin += kLanes) {
    size_t count = std::min(kLanes, total - begin);
    if (needsIndices && !isSplat) {
      setIndices(type.getShape(), begin, count, ofResult);
      for (auto [d, loop] : llvm::enumerate(outer))
        std::copy_n(ofResult[d].begin(), count, loops[loop].begin());
    }
    if (start)
      load(startElements, nullptr, begin, count, *start);
    for (int64_t sum = 0; sum < sums; ++sum) {
      for (auto [i, loop] : llvm::enumerate(inner))
        std::fill_n(loops[loop].begin(), count, at[i]);
      for (const Input &input : inputs) {
        bool isPlain = input.isContiguous || input.elements.isSplat();
        if (!isPlain && failed(setOffsets(input.map, input.elements.type.getShape(),
                                          loops, count, offsets)))
          return {};
        load(input.elements, isPlain ? nullptr : offsets.data(), begin, count,
             *input.lanes);
      }
      if (!program.run(count, loops))
        return {};
      if (start && !inner.empty() && start != result)
        std::copy_n(result->begin(), count, start->begin());
      for (size_t i = inner.size(); i-- > 0 && ++at[i] == sizes[inner[i]];)
        at[i] = 0;
    }
    store(*result, begin, count, elements);
  }
  return elements;
}

Elements ConstantEvaluator::computeElementwise(Operation *op, OpResult result) {
  RankedTensorType type = evaluatedType(result);
  ScalarProgram program;
  bool isSplat = true;
  for (Value operand : op->getOperands()) {
    Elements from = lookup(operand);
    if (!from) // a scalar, say the condition of arith.select
      return {};
    program.lanesOf(operand);
    isSplat &= from.isSplat();
  }
  if (!program.add(op, op->getOperands(), result))
    return {};
  Elements elements = Elements::zeros(type, isSplat);
  size_t total = isSplat ? 1 : size_t(type.getNumElements());
  for (size_t begin = 0; begin < total; begin += kLanes) {
    size_t count = std::min(kLanes, total - begin);
    for (Value operand : op->getOperands())
      load(lookup(operand), nullptr, begin, count, program.lanesOf(operand));
    if (!program.run(count, {}))
      return {};
    store(program.lanesOf(result), begin, count, elements);
  }
  return elements;
}

//===----------------------------------------------------------------------===//
// tensor
//===----------------------------------------------------------------------===//

/// Dimensions that a list of constants, or values, gives.
static llvm::SmallBitVector none(size_t rank) { return llvm::SmallBitVector(rank); }

Elements ConstantEvaluator::computeTensor(Operation *op, OpResult result) {
  RankedTensorType type = evaluatedType(result);
  MLIRContext *context = op->getContext();
  // The same bytes in another shape.
  auto reshape = [&]() -> Elements {
    Elements from = lookup(op->getOperand(0));
    if (!from || from.width() != widthOf(type.getElementType()) ||
        from.type.getNumElements() != type.getNumElements())
      return {};
    from.type = type;
    return from;
  };
  return TypeSwitch<Operation *, Elements>(op)
      .Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::CastOp,
            tensor::BitcastOp, tensor::ReshapeOp>(
          [&](Operation *) { return reshape(); })
      .Case([&](tensor::EmptyOp) { return Elements::zeros(type, /*isSplat=*/true); })
      .Case<tensor::FromElementsOp, tensor::SplatOp>([&](Operation *) {
        ScalarProgram program;
        bool isSplat = isa<tensor::SplatOp>(op);
        Elements elements = Elements::zeros(type, isSplat);
        for (auto [i, scalar] : llvm::enumerate(op->getOperands())) {
          Lanes *lanes = program.operandOf(scalar);
          if (!lanes)
            return Elements();
          store(*lanes, i, 1, elements);
        }
        return elements;
      })
      .Case([&](tensor::ExtractSliceOp slice) {
        Elements from = lookup(slice.getSource());
        std::optional<AffineMap> map = getSliceMap(slice);
        return from && map ? gather(from, type, *map) : Elements();
      })
      .Case([&](tensor::InsertSliceOp slice) {
        Elements from = lookup(slice.getSource());
        std::optional<AffineMap> map =
            sliceMap(slice.getMixedOffsets(), slice.getMixedStrides(),
                     slice.getDroppedDims(), context);
        Value dest = slice.getDest();
        Elements whole = lookup(dest);
        if (!from || !whole || !map)
          return Elements();
        if (dest.hasOneUse())
          known.erase(dest);
        whole = makeWritable(std::move(whole));
        return succeeded(scatter(from, whole, *map)) ? whole : Elements();
      })
      .Case([&](tensor::ConcatOp concat) {
        Elements whole = Elements::zeros(type);
        SmallVector<int64_t> offsets(type.getRank(), 0);
        for (Value input : concat.getInputs()) {
          Elements from = lookup(input);
          SmallVector<OpFoldResult> starts = getAsIndexOpFoldResult(context, offsets),
                                    ones(offsets.size(),
                                         IntegerAttr::get(IndexType::get(context), 1));
          if (!from ||
              failed(scatter(from, whole,
                             *sliceMap(starts, ones, none(offsets.size()), context))))
            return Elements();
          offsets[concat.getDim()] += from.type.getDimSize(concat.getDim());
        }
        return whole;
      })
      .Case([&](tensor::PadOp pad) {
        Elements from = lookup(pad.getSource());
        Value value = pad.getConstantPaddingValue();
        ScalarProgram program;
        Lanes *lanes = value ? program.operandOf(value) : nullptr;
        SmallVector<OpFoldResult> ones(size_t(type.getRank()),
                                       IntegerAttr::get(IndexType::get(context), 1));
        std::optional<AffineMap> map =
            sliceMap(pad.getMixedLowPad(), ones, none(ones.size()), context);
        if (!from || !lanes || !map)
          return Elements();
        Elements whole = Elements::zeros(type, /*isSplat=*/true);
        store(*lanes, 0, 1, whole);
        whole = makeWritable(std::move(whole));
        return succeeded(scatter(from, whole, *map)) ? whole : Elements();
      })
      .Default(Elements());
}

//===----------------------------------------------------------------------===//
// Any of these
//===----------------------------------------------------------------------===//

Elements ConstantEvaluator::compute(OpResult result) {
  Operation *op = result.getOwner();
  if (auto generic = dyn_cast<linalg::LinalgOp>(op))
    return computeLinalg(generic, result.getResultNumber());
  if (Elements elements = computeTensor(op, result))
    return elements;
  return OpTrait::hasElementwiseMappableTraits(op) && op->getNumResults() == 1
             ? computeElementwise(op, result)
             : Elements();
}
