//===- RaiseAnalysis.cpp - Scalars of linalg operations, for raising ------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "../ConstantEvaluator.h"
#include "RaiseFrontends.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::qlinear;

bool mlir::qlinear::isScalarOperation(Operation *op) {
  return isa<arith::ExtFOp, arith::TruncFOp, arith::ExtSIOp, arith::ExtUIOp,
             arith::SIToFPOp, arith::UIToFPOp, arith::AddFOp, arith::SubFOp,
             arith::MulFOp, arith::DivFOp, arith::NegFOp, arith::AddIOp, arith::SubIOp,
             arith::MulIOp, arith::TruncIOp, arith::ShLIOp, arith::ShRUIOp,
             arith::ShRSIOp, arith::AndIOp, arith::OrIOp, arith::XOrIOp, math::FmaOp>(
      op);
}

void mlir::qlinear::walk(Scalar *scalar, function_ref<void(Scalar *)> visit) {
  visit(scalar);
  for (Scalar *operand : scalar->operands)
    walk(operand, visit);
}

bool mlir::qlinear::isConversion(const Scalar *scalar) {
  if (isElement(scalar) || !scalar->op ||
      !isa<arith::SIToFPOp, arith::UIToFPOp>(scalar->op))
    return false;
  bool hasPosition = false, hasOther = false;
  walk(scalar->operands[0], [&](Scalar *s) {
    hasPosition |= isPosition(s);
    hasOther |= isElement(s) && !isPosition(s);
  });
  return hasOther || !hasPosition;
}

bool mlir::qlinear::dependsOn(Scalar *scalar, unsigned loop) {
  bool depends = false;
  walk(scalar, [&](Scalar *s) {
    depends |= isElement(s) && s->access.map.isFunctionOfDim(loop);
  });
  return depends;
}

bool mlir::qlinear::hasConversion(Scalar *scalar) {
  bool found = false;
  walk(scalar, [&](Scalar *s) { found |= isConversion(s); });
  return found;
}

Scalar *ScalarAnalysis::make(Scalar::Kind kind, Type type) {
  Scalar &scalar = scalars.emplace_back();
  scalar.kind = kind;
  scalar.type = type;
  return &scalar;
}

/// An operation on scalars. Roundings between the two parts of math.fma are not kept
/// anyhow.
Scalar *ScalarAnalysis::makeOperation(Operation *op, StringRef name,
                                      ArrayRef<Scalar *> operands) {
  if (isa<math::FmaOp>(op) && operands.size() == 3) {
    Scalar *product = makeOperation(op, "arith.mulf", operands.take_front(2));
    return makeOperation(op, "arith.addf", {product, operands[2]});
  }
  Scalar *scalar =
      make(Scalar::Kind::operation, getElementTypeOrSelf(op->getResult(0).getType()));
  scalar->op = op;
  scalar->name = name;
  scalar->operands.assign(operands.begin(), operands.end());
  return scalar;
}

Scalar *ScalarAnalysis::analyseBody(linalg::LinalgOp op, bool seeSums) {
  MLIRContext *context = op.getContext();
  this->seeSums = seeSums;
  loops.kinds = op.getIteratorTypesArray();
  loops.sizes = op.getStaticLoopRanges();
  if (loops.sizes.size() > kMaxLoops)
    return nullptr;
  AffineMap toLoops = AffineMap::getMultiDimIdentityMap(kMaxLoops, context)
                          .getMajorSubMap(op.getNumLoops());
  return scalarOf(op.getBlock()->getTerminator()->getOperand(0), op, toLoops,
                  /*hasAccumulator=*/true);
}

/// An element of the result of a contraction, which starts with zero.
Scalar *ScalarAnalysis::sumOf(linalg::LinalgOp op, AffineMap map) {
  MLIRContext *context = op.getContext();
  Value start = op.getDpsInitOperand(0)->get();
  if (auto fill = start.getDefiningOp<linalg::FillOp>())
    start = fill.getInputs()[0];
  if (!matchPattern(start, m_AnyZeroFloat()) ||
      op.getNumReductionLoops() + op.getNumParallelLoops() != op.getNumLoops() ||
      loops.kinds.size() + op.getNumReductionLoops() > kMaxLoops)
    return nullptr;
  // Its parallel loops are functions of the loops here; each reduction is one more.
  SmallVector<AffineExpr> inner(op.getNumLoops());
  AffineMap result = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  for (auto [e, index] : llvm::zip_equal(result.getResults(), map.getResults())) {
    auto dim = dyn_cast<AffineDimExpr>(e);
    if (!dim || inner[dim.getPosition()])
      return nullptr;
    inner[dim.getPosition()] = index;
  }
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  for (auto [i, kind] : llvm::enumerate(op.getIteratorTypesArray())) {
    if (kind == utils::IteratorType::reduction) {
      inner[i] = getAffineDimExpr(loops.kinds.size(), context);
      loops.kinds.push_back(kind);
      loops.sizes.push_back(sizes[i]);
    }
    if (!inner[i])
      return nullptr;
  }
  Scalar *root = scalarOf(op.getBlock()->getTerminator()->getOperand(0), op,
                          AffineMap::get(kMaxLoops, 0, inner, context),
                          /*hasAccumulator=*/true);
  if (!root || !root->is("arith.addf"))
    return nullptr;
  unsigned at = root->operands[0]->kind == Scalar::Kind::accumulator;
  if (root->operands[1 - at]->kind != Scalar::Kind::accumulator)
    return nullptr;
  Scalar *sum = make(Scalar::Kind::sum, root->type);
  sum->op = op;
  sum->operands.push_back(root->operands[at]);
  return sum;
}

Scalar *ScalarAnalysis::constantOf(Value value) {
  Attribute attribute;
  if (!matchPattern(value, m_Constant(&attribute)) ||
      !isa<FloatAttr, IntegerAttr>(attribute))
    return nullptr;
  Scalar *constant = make(Scalar::Kind::constant, value.getType());
  constant->value = cast<TypedAttr>(attribute);
  return constant;
}

/// The index of loop `index` of `op` as an element of a constant 0, 1, 2, ...; null if
/// only the program knows how far the loop runs, or if that is far beyond any weight.
Scalar *ScalarAnalysis::positionOf(linalg::IndexOp index, IntegerType type,
                                   linalg::LinalgOp op, AffineMap toLoops) {
  int64_t size = op.getStaticLoopRanges()[index.getDim()];
  if (ShapedType::isDynamic(size) || size > kMaxPositions)
    return nullptr;
  SmallVector<APInt> values;
  for (int64_t i = 0; i < size; ++i)
    values.push_back(APInt(64, i).zextOrTrunc(type.getWidth()));
  OpBuilder &b = frontends.builderBefore(op);
  Value counted = arith::ConstantOp::create(
      b, op.getLoc(),
      DenseElementsAttr::get(RankedTensorType::get({size}, type), values));
  Scalar *position = makeElement(
      counted, AffineMap::get(kMaxLoops, 0, toLoops.getResult(index.getDim())));
  position->op = index;
  return position;
}

/// A value in the body of `op`, whose loops are the results of `toLoops`.
Scalar *ScalarAnalysis::scalarOf(Value value, linalg::LinalgOp op, AffineMap toLoops,
                                 bool hasAccumulator) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    if (argument.getOwner() != op.getBlock())
      return nullptr;
    OpOperand *operand = op.getMatchingOpOperand(argument);
    if (op.isDpsInit(operand))
      return hasAccumulator ? make(Scalar::Kind::accumulator, value.getType())
                            : nullptr;
    if (!isa<RankedTensorType>(operand->get().getType()))
      return constantOf(operand->get());
    return elementOf(operand->get(),
                     op.getMatchingIndexingMap(operand).compose(toLoops));
  }
  Operation *def = value.getDefiningOp();
  if (Scalar *constant = constantOf(value))
    return constant;
  if (def->getBlock() != op.getBlock())
    return nullptr;
  if (isa<arith::IndexCastOp, arith::IndexCastUIOp>(def))
    if (auto index = def->getOperand(0).getDefiningOp<linalg::IndexOp>())
      return positionOf(index, cast<IntegerType>(value.getType()), op, toLoops);
  if (!isScalarOperation(def))
    return nullptr;
  SmallVector<Scalar *> operands;
  for (Value operand : def->getOperands()) {
    operands.push_back(scalarOf(operand, op, toLoops, hasAccumulator));
    if (!operands.back())
      return nullptr;
  }
  return makeOperation(def, def->getName().getStringRef(), operands);
}

/// Whether an integer tensor is computed from constants, so that its elements are as
/// good as those of a constant. Operations that move elements are seen through, and so
/// are differences, which are of codes and zeros.
bool ScalarAnalysis::isLeaf(Value tensor) {
  Operation *def = tensor.getDefiningOp();
  if (!isa<IntegerType>(getElementTypeOrSelf(tensor.getType())) ||
      !constants.isConstant(tensor))
    return false;
  Operation *scalar = def;
  if (auto op = dyn_cast<linalg::LinalgOp>(def)) {
    scalar = op.getBlock()->getTerminator()->getOperand(0).getDefiningOp();
    if (!scalar)
      return false;
  } else if (isa<tensor::CastOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp,
                 tensor::ExtractSliceOp>(def)) {
    return false;
  }
  while (scalar && isa<arith::ExtSIOp, arith::ExtUIOp>(scalar))
    scalar = scalar->getOperand(0).getDefiningOp();
  return !isa_and_present<arith::SubIOp>(scalar);
}

Scalar *ScalarAnalysis::makeElement(Value tensor, AffineMap map) {
  Scalar *scalar = make(Scalar::Kind::element, getElementTypeOrSelf(tensor.getType()));
  scalar->access = {tensor, map};
  return scalar;
}

Scalar *ScalarAnalysis::elementOf(Value tensor, AffineMap map) {
  Scalar *scalar = seeThrough(tensor, map);
  if (!scalar)
    return makeElement(tensor, map);
  if (!scalar->access.tensor)
    scalar->access = {tensor, map};
  else if (isElement(scalar))
    scalar->views.push_back({tensor, map});
  scalar->isShared |= frontends.isShared(tensor, scalar->kind != Scalar::Kind::sum);
  return scalar;
}

/// The element of `tensor` in terms of the operands of its definition; null if the
/// definition is not understood.
Scalar *ScalarAnalysis::seeThrough(Value tensor, AffineMap map) {
  Operation *def = tensor.getDefiningOp();
  if (!def || isLeaf(tensor))
    return nullptr;
  MLIRContext *context = def->getContext();
  if (auto op = dyn_cast<linalg::LinalgOp>(def)) {
    if (op->getNumResults() != 1 || op.getBlock()->empty() || isa<linalg::FillOp>(def))
      return nullptr;
    if (op.getNumParallelLoops() != op.getNumLoops()) {
      Loops outer = loops;
      Scalar *sum = seeSums ? sumOf(op, map) : nullptr;
      if (!sum)
        loops = outer;
      return sum;
    }
    AffineMap result = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
    // Integers that are computed from indices are as good in their tensor.
    bool isCounted = op.hasIndexSemantics() &&
                     isa<IntegerType>(getElementTypeOrSelf(tensor.getType()));
    if (!result.isPermutation() || isCounted)
      return nullptr;
    return scalarOf(op.getBlock()->getTerminator()->getOperand(0), op,
                    inversePermutation(result).compose(map),
                    /*hasAccumulator=*/false);
  }
  if (auto op = dyn_cast<tensor::CastOp>(def)) {
    auto source = dyn_cast<RankedTensorType>(op.getSource().getType());
    auto result = dyn_cast<RankedTensorType>(op.getType());
    // A source of which less is known would lose sizes.
    if (!source || !result || !tensor::preservesStaticInformation(result, source))
      return nullptr;
    return elementOf(op.getSource(), map);
  }
  if (auto op = dyn_cast<tensor::ExpandShapeOp>(def)) {
    // The source's index is its group of indices, linearised.
    SmallVector<AffineExpr> indices;
    for (const ReassociationIndices &group : op.getReassociationIndices()) {
      AffineExpr index = getAffineConstantExpr(0, context);
      for (auto [i, dim] : llvm::enumerate(group)) {
        int64_t size = op.getResultType().getDimSize(dim);
        if (ShapedType::isDynamic(size) && i != 0)
          return nullptr;
        index = ShapedType::isDynamic(size) ? map.getResult(dim)
                                            : index * size + map.getResult(dim);
      }
      indices.push_back(index);
    }
    return elementOf(op.getSrc(),
                     AffineMap::get(map.getNumDims(), 0, indices, context));
  }
  if (auto op = dyn_cast<tensor::CollapseShapeOp>(def)) {
    SmallVector<AffineExpr> indices(op.getSrcType().getRank(),
                                    getAffineConstantExpr(0, context));
    for (auto [group, index] :
         llvm::zip_equal(op.getReassociationIndices(), map.getResults())) {
      AffineExpr rest = index;
      for (int64_t dim : llvm::reverse(group)) {
        int64_t size = op.getSrcType().getDimSize(dim);
        if (dim == group.front()) {
          indices[dim] = rest;
          break;
        }
        if (ShapedType::isDynamic(size))
          return nullptr;
        indices[dim] = rest % size;
        rest = rest.floorDiv(size);
      }
    }
    return elementOf(op.getSrc(),
                     AffineMap::get(map.getNumDims(), 0, indices, context));
  }
  if (isa<tensor::ExtractSliceOp, tensor::PadOp>(def)) {
    // Of interest only if it cuts or pads a dequantized weight.
    auto extract = dyn_cast<tensor::ExtractSliceOp>(def);
    std::optional<AffineMap> slice = extract ? getSliceMap(extract) : std::nullopt;
    // As long as only the program knows, it cuts activations, and how long is lost
    // here.
    if (slice && !extract.getType().hasStaticShape())
      return nullptr;
    Value source = def->getOperand(0);
    SmallVector<AffineExpr> anywhere(cast<RankedTensorType>(source.getType()).getRank(),
                                     getAffineConstantExpr(0, context));
    Scalar *inner = elementOf(
        source, slice ? slice->compose(map)
                      : AffineMap::get(map.getNumDims(), 0, anywhere, context));
    if (!hasConversion(inner))
      return nullptr;
    if (slice) {
      // The whole computed tensor is more than the slice that is used.
      if (!isElement(inner))
        inner->access = {tensor, map};
      return inner;
    }
    Scalar *cut = make(Scalar::Kind::slice, getElementTypeOrSelf(tensor.getType()));
    cut->op = def;
    cut->operands.push_back(inner);
    cut->access = {tensor, map};
    return cut;
  }
  if (isScalarOperation(def)) {
    SmallVector<Scalar *> operands;
    for (Value operand : def->getOperands())
      operands.push_back(elementOf(operand, map));
    return makeOperation(def, def->getName().getStringRef(), operands);
  }
  Value lowered = frontends.lower(tensor);
  return lowered ? elementOf(lowered, map) : nullptr;
}

//===----------------------------------------------------------------------===//
// Digits
//===----------------------------------------------------------------------===//

/// The terms of a sum, each a factor times a digit; fails if one is anything else.
static LogicalResult getTerms(AffineExpr expr, ArrayRef<int64_t> sizes, int64_t factor,
                              SmallVectorImpl<std::pair<int64_t, Digit>> &terms) {
  if (auto binary = dyn_cast<AffineBinaryOpExpr>(expr)) {
    if (binary.getKind() == AffineExprKind::Add)
      return success(succeeded(getTerms(binary.getLHS(), sizes, factor, terms)) &&
                     succeeded(getTerms(binary.getRHS(), sizes, factor, terms)));
    if (binary.getKind() == AffineExprKind::Mul) {
      auto by = dyn_cast<AffineConstantExpr>(binary.getRHS());
      if (!by || by.getValue() <= 0)
        return failure();
      return getTerms(binary.getLHS(), sizes, factor * by.getValue(), terms);
    }
  }
  std::optional<Digit> digit = getDigit(expr, sizes);
  if (!digit)
    return failure();
  if (digit->size != 1)
    terms.push_back({factor, *digit});
  return success();
}

std::optional<Digit> mlir::qlinear::getDigit(AffineExpr expr, ArrayRef<int64_t> sizes) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
    int64_t size = sizes[dim.getPosition()];
    return size == 1 ? Digit() : Digit{dim.getPosition(), 1, size};
  }
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue() == 0 ? std::optional(Digit()) : std::nullopt;
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return std::nullopt;
  if (binary.getKind() == AffineExprKind::Add ||
      binary.getKind() == AffineExprKind::Mul) {
    // Digits that follow one another are one.
    SmallVector<std::pair<int64_t, Digit>> terms;
    if (failed(getTerms(expr, sizes, 1, terms)))
      return std::nullopt;
    if (terms.empty())
      return Digit();
    llvm::sort(terms, [](const auto &a, const auto &b) { return a.first < b.first; });
    auto [factor, digit] = terms.front();
    if (factor != 1)
      return std::nullopt;
    for (auto &[next, higher] : llvm::drop_begin(terms)) {
      if (higher.dim != digit.dim || next != digit.size ||
          higher.stride != digit.stride * digit.size)
        return std::nullopt;
      digit.size *= higher.size;
    }
    return digit;
  }
  auto by = dyn_cast<AffineConstantExpr>(binary.getRHS());
  std::optional<Digit> digit = getDigit(binary.getLHS(), sizes);
  if (!by || by.getValue() <= 0 || !digit)
    return std::nullopt;
  int64_t divisor = by.getValue();
  bool divides = digit->size % divisor == 0;
  switch (binary.getKind()) {
  case AffineExprKind::FloorDiv:
    if (digit->size <= divisor)
      return Digit();
    if (!divides)
      return std::nullopt;
    digit->stride *= divisor;
    digit->size /= divisor;
    return digit;
  case AffineExprKind::Mod:
    if (digit->size <= divisor)
      return digit;
    if (!divides)
      return std::nullopt;
    if (divisor == 1)
      return Digit();
    digit->size = divisor;
    return digit;
  default:
    return std::nullopt;
  }
}
