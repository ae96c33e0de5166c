//===- RaiseRewrite.cpp - Create a linear on a quantized weight -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Raiser.h"

#include "qlinear/Dialect/Constants.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::Form;
using ::qlinear::MetaStorage;

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

static Value transpose(OpBuilder &b, Location loc, Value tensor,
                       ArrayRef<int64_t> permutation) {
  if (llvm::equal(permutation, llvm::seq<int64_t>(permutation.size())))
    return tensor;
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, tensor);
  Value empty = tensor::EmptyOp::create(b, loc, applyPermutation(sizes, permutation),
                                        getElementTypeOrSelf(tensor.getType()));
  return linalg::TransposeOp::create(b, loc, tensor, empty, permutation)->getResult(0);
}

Value Raiser::build(OpBuilder &b, const Matrix &matrix) {
  Location loc = op.getLoc();
  Value tensor = transpose(b, loc, matrix.tensor, matrix.permutation);
  int64_t rank = matrix.permutation.size(), rows = matrix.rowDims;
  auto collapse = [&](ArrayRef<ReassociationIndices> groups) {
    return b.createOrFold<tensor::CollapseShapeOp>(loc, tensor, groups);
  };
  // One of the two may have no dimension.
  if (rows != 0 && rows != rank) {
    if (rank == 2)
      return tensor;
    return collapse({llvm::to_vector<2>(llvm::seq<int64_t>(0, rows)),
                     llvm::to_vector<2>(llvm::seq<int64_t>(rows, rank))});
  }
  if (rank > 1)
    tensor = collapse({llvm::to_vector<2>(llvm::seq<int64_t>(0, rank))});
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<int64_t> shape = {1, 1};
  SmallVector<ReassociationIndices> groups;
  if (rank) {
    shape[rows ? 0 : 1] = type.getDimSize(0);
    groups.push_back({0, 1});
  }
  return b.createOrFold<tensor::ExpandShapeOp>(
      loc, RankedTensorType::get(shape, type.getElementType()), tensor, groups);
}

//===----------------------------------------------------------------------===//
// Components
//===----------------------------------------------------------------------===//

/// The part of a tensor that loops of these sizes run over: linalg has each loop run
/// over the whole of a dimension.
static Value cut(OpBuilder &b, Value tensor, AffineMap map, ArrayRef<int64_t> loops) {
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<int64_t> shape(type.getShape());
  for (auto [size, expr] : llvm::zip_equal(shape, map.getResults()))
    if (auto dim = dyn_cast<AffineDimExpr>(expr);
        dim && ShapedType::isStatic(loops[dim.getPosition()]))
      size = loops[dim.getPosition()];
  if (type.getShape() == ArrayRef(shape))
    return tensor;
  SmallVector<OpFoldResult> offsets(shape.size(), b.getIndexAttr(0)),
      strides(shape.size(), b.getIndexAttr(1)),
      sizes = getAsIndexOpFoldResult(b.getContext(), shape);
  return tensor::ExtractSliceOp::create(b, tensor.getLoc(), type.clone(shape), tensor,
                                        offsets, sizes, strides);
}

/// Operations that compute a scalar from elements.
static Value emit(OpBuilder &b, Location loc, Scalar *s,
                  function_ref<Value(Scalar *)> valueOf) {
  if (isElement(s))
    return valueOf(s);
  if (s->kind == Scalar::Kind::constant)
    return arith::ConstantOp::create(b, loc, s->value);
  OperationState state(loc, s->name);
  for (Scalar *operand : s->operands)
    state.operands.push_back(emit(b, loc, operand, valueOf));
  state.addTypes(s->type);
  state.addAttributes(s->op->getAttrs());
  return b.create(state)->getResult(0);
}

Scalar *Raiser::computeActivations(ArrayRef<Scalar *> factors) {
  Location loc = op.getLoc();
  OpBuilder &b = frontends.builderBefore(op);
  bool isClosed = true, isOneType = true;
  SmallVector<Scalar *> elements;
  for (Scalar *factor : factors) {
    isOneType &= factor->type == factors.front()->type;
    walk(factor, [&](Scalar *s) {
      isClosed &= isElement(s) || s->kind == Scalar::Kind::constant ||
                  s->kind == Scalar::Kind::operation;
      if (isElement(s))
        elements.push_back(s);
    });
  }
  Type type = isOneType ? factors.front()->type : b.getF32Type();
  if (!isClosed || !(type.isF32() || type.isF16() || type.isBF16()))
    return nullptr;
  // A dimension for each loop that they depend on.
  SmallVector<AffineExpr> toLoops(kMaxLoops, b.getAffineConstantExpr(0)), loops;
  SmallVector<int64_t> shape;
  SmallVector<OpFoldResult> sizes;
  for (auto [loop, size] : llvm::enumerate(analysis.loops.sizes)) {
    if (llvm::none_of(factors, [&](Scalar *s) { return dependsOn(s, loop); }))
      continue;
    AffineExpr dim = b.getAffineDimExpr(loop);
    toLoops[loop] = b.getAffineDimExpr(loops.size());
    loops.push_back(dim);
    shape.push_back(size);
    OpFoldResult known;
    if (ShapedType::isStatic(size))
      known = b.getIndexAttr(size);
    for (Scalar *s : elements)
      for (auto [at, e] : llvm::enumerate(s->access.map.getResults()))
        if (!known && e == dim)
          known = tensor::getMixedSize(b, loc, s->access.tensor, at);
    if (!known)
      return nullptr;
    sizes.push_back(known);
  }
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  for (Scalar *s : elements) {
    maps.push_back(simplifyAffineMap(
        s->access.map.compose(AffineMap::get(loops.size(), 0, toLoops, context))));
    inputs.push_back(cut(b, s->access.tensor, maps.back(), shape));
  }
  maps.push_back(b.getMultiDimIdentityMap(loops.size()));
  SmallVector<utils::IteratorType> kinds(loops.size(), utils::IteratorType::parallel);
  auto body = [&](OpBuilder &b, Location loc, ValueRange arguments) {
    Value product;
    for (Scalar *factor : factors) {
      Value value = emit(b, loc, factor, [&](Scalar *s) {
        return arguments[llvm::find(elements, s) - elements.begin()];
      });
      if (value.getType() != type)
        value = arith::ExtFOp::create(b, loc, type, value);
      product = product ? arith::MulFOp::create(b, loc, product, value) : value;
    }
    linalg::YieldOp::create(b, loc, product);
  };
  Value empty = tensor::EmptyOp::create(b, loc, sizes, type);
  Value result = linalg::GenericOp::create(b, loc, empty.getType(), inputs, empty, maps,
                                           kinds, body)
                     .getResult(0);
  return analysis.makeElement(result, AffineMap::get(kMaxLoops, 0, loops, context));
}

/// A tensor with an element for each row n and each `stride` columns: the product of
/// the factors as a float, or the integer resized.
Value Raiser::compute(OpBuilder &b, const Component &component, int64_t stride,
                      Type element) {
  Location loc = op.getLoc();
  // From n and the group to m, n and k, and then to the loops.
  AffineExpr n = b.getAffineDimExpr(0), g = b.getAffineDimExpr(1);
  AffineMap toIndices =
      AffineMap::get(2, 0, {b.getAffineConstantExpr(0), n, g * stride}, context);
  AffineMap toLoops = AffineMap::get(3, 0, indices.loops, context).compose(toIndices);
  bool isInteger = isa<IntegerType>(element);
  const Integer &integer = component.integer;
  SmallVector<Scalar *> roots(component.factors.begin(), component.factors.end());
  if (isInteger || integer)
    roots = {integer.scalar};

  SmallVector<int64_t> shape = {indices.sizes[Indices::N],
                                indices.sizes[Indices::K] / stride};
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  DenseMap<Scalar *, unsigned> arguments;
  for (Scalar *root : roots)
    walk(root, [&](Scalar *s) {
      if (isElement(s) && arguments.try_emplace(s, inputs.size()).second) {
        maps.push_back(simplifyAffineMap(s->access.map.compose(toLoops)));
        inputs.push_back(cut(b, s->access.tensor, maps.back(), shape));
      }
    });
  maps.push_back(b.getMultiDimIdentityMap(2));
  Value empty = tensor::EmptyOp::create(b, loc, shape, element);
  SmallVector<utils::IteratorType> kinds(2, utils::IteratorType::parallel);

  auto body = [&](OpBuilder &b, Location loc, ValueRange args) {
    auto argumentOf = [&](Scalar *s) { return args[arguments.lookup(s)]; };
    auto resize = [&](Value v) -> Value {
      unsigned from = v.getType().getIntOrFloatBitWidth(),
               to = element.getIntOrFloatBitWidth();
      if (from > to)
        return arith::TruncIOp::create(b, loc, element, v);
      if (from == to)
        return v;
      if (integer.isSigned)
        return arith::ExtSIOp::create(b, loc, element, v);
      return arith::ExtUIOp::create(b, loc, element, v);
    };
    auto toFloat = [&](Value v) -> Value {
      if (!isa<IntegerType>(v.getType()))
        return v.getType() == element ? v : arith::ExtFOp::create(b, loc, element, v);
      if (integer.isSigned)
        return arith::SIToFPOp::create(b, loc, element, v);
      return arith::UIToFPOp::create(b, loc, element, v);
    };
    Value result;
    for (Scalar *root : roots) {
      Value factor = emit(b, loc, root, argumentOf);
      factor = isInteger ? resize(factor) : toFloat(factor);
      result = result ? arith::MulFOp::create(b, loc, result, factor) : factor;
    }
    if (component.negate && !isInteger)
      result = arith::NegFOp::create(b, loc, result);
    linalg::YieldOp::create(b, loc, result);
  };
  return linalg::GenericOp::create(b, loc, empty.getType(), inputs, empty, maps, kinds,
                                   body)
      .getResult(0);
}

/// An integer for each row and each `stride` columns, of `bits` bits or, where it
/// lies in a tensor of them, as i8.
Value Raiser::buildIntegers(OpBuilder &b, const Component &component, int64_t stride,
                            unsigned bits, StringRef name) {
  const Integer &integer = component.integer;
  if (integer.isHeld() && (integer.width() == bits || integer.width() == 8)) {
    FailureOr<Matrix> matrix = getMatrix(integer.scalar, Indices::N, Indices::K, name);
    why.clear();
    if (succeeded(matrix) && matrix->columnStride == stride &&
        ((matrix->hasRows && matrix->rowStride == 1) || indices.sizes[Indices::N] == 1))
      return build(b, *matrix);
  }
  return compute(b, component, stride, b.getIntegerType(bits));
}

Value Raiser::buildMeta(OpBuilder &b, const Component &component) {
  Location loc = op.getLoc();
  int64_t K = indices.sizes[Indices::K], stride = group ? group : K;
  const MetaStorage &storage = component.storage;
  switch (component.kind) {
  case Component::Kind::constant: {
    bool isFloat = storage.kind == MetaStorage::Kind::plain;
    double value = cast<FloatAttr>(component.constant).getValueAsDouble();
    auto type = RankedTensorType::get({indices.sizes[Indices::N], K / stride},
                                      isFloat ? component.constant.getType()
                                              : Type(b.getIntegerType(storage.bits)));
    Attribute element = isFloat
                            ? Attribute(component.constant)
                            : b.getIntegerAttr(type.getElementType(),
                                               APInt(storage.bits, uint64_t(value)));
    return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, element));
  }
  case Component::Kind::matrix: {
    Value value = build(b, *component.matrix);
    return component.negate ? b.createOrFold<arith::NegFOp>(loc, value) : value;
  }
  case Component::Kind::integer:
    return buildIntegers(b, component, stride, storage.bits, component.name);
  case Component::Kind::computed:
    return compute(b, component, stride, b.getF32Type());
  }
  llvm_unreachable("unknown kind of component");
}

/// The step of a component: a vector for rows, a matrix for blocks.
Value Raiser::buildStep(OpBuilder &b, const Component &component) {
  Location loc = op.getLoc();
  Value step = build(b, *component.step);
  if (component.storage.scope == ::qlinear::StepScope::row) {
    SmallVector<ReassociationIndices> all = {{0, 1}};
    step = b.createOrFold<tensor::CollapseShapeOp>(loc, step, all);
  }
  return component.negate ? b.createOrFold<arith::NegFOp>(loc, step) : step;
}

/// The value of a component that depends on constants only; else as it is.
Value Raiser::fold(OpBuilder &b, Value tensor) {
  Operation *def = tensor.getDefiningOp();
  if (!def || def->hasTrait<OpTrait::ConstantLike>() ||
      !frontends.constants.isConstant(tensor))
    return tensor;
  DenseElementsAttr value = frontends.constants.evaluateToAttr(tensor);
  if (!value)
    return tensor;
  folded.push_back(def);
  return arith::ConstantOp::create(b, op.getLoc(), value);
}

//===----------------------------------------------------------------------===//
// The linear
//===----------------------------------------------------------------------===//

Value Raiser::rewrite(OpBuilder &b) {
  Location loc = op.getLoc();
  int64_t N = indices.sizes[Indices::N], K = indices.sizes[Indices::K];
  Component code;
  code.integer = formula.codes;
  Value codes = buildIntegers(b, code, 1, encoding.codes.bits, "the codes");
  Value scales = buildMeta(b, formula.scale), offsets;
  SmallVector<Value> steps;
  if (formula.scale.step)
    steps.push_back(buildStep(b, formula.scale));
  if (encoding.form != Form::symmetric) {
    const Component &offset = formula.min ? formula.min : formula.zero;
    offsets = buildMeta(b, offset);
    if (offset.step)
      steps.push_back(buildStep(b, offset));
  }
  auto weight = WeightType::get(context, N, K, EncodingAttr::get(context, encoding));
  codes = fold(b, codes);
  scales = fold(b, scales);
  offsets = offsets ? fold(b, offsets) : Value();
  for (Value &step : steps)
    step = fold(b, step);
  Value pack = PackOp::create(b, loc, weight, codes, scales, offsets, steps);

  Value rows = build(b, *xMatrix);
  Type element = getElementTypeOrSelf(op->getResult(0).getType());
  int64_t M = cast<RankedTensorType>(rows.getType()).getDimSize(0);
  Value y = LinearOp::create(b, loc, RankedTensorType::get({M, N}, element), rows, pack)
                .getResult(0);
  return buildResult(b, y);
}

/// From M x N to the shape of the result.
Value Raiser::buildResult(OpBuilder &b, Value y) {
  Location loc = op.getLoc();
  OpOperand *init = op.getDpsInitOperand(0);
  auto resultType = cast<RankedTensorType>(op->getResult(0).getType());
  Type element = resultType.getElementType();
  // To a dimension per loop of m and n, then in the order of the result.
  SmallVector<unsigned> loops(indices.order[Indices::M]);
  llvm::append_range(loops, indices.order[Indices::N]);
  int64_t mDims = indices.order[Indices::M].size(), rank = loops.size();
  SmallVector<int64_t> permutation;
  SmallVector<unsigned> places(rank);
  SmallVector<int64_t> shape(rank);
  AffineMap result = op.getMatchingIndexingMap(init);
  for (auto [i, e] : llvm::enumerate(result.getResults())) {
    int64_t at =
        llvm::find(loops, cast<AffineDimExpr>(e).getPosition()) - loops.begin();
    permutation.push_back(at);
    shape[at] = analysis.loops.sizes[loops[at]];
    places[at] = i;
  }
  if (mDims == 0) {
    SmallVector<ReassociationIndices> groups = {{0, 1}};
    y = tensor::CollapseShapeOp::create(b, loc, y, groups);
  }
  SmallVector<ReassociationIndices> groups;
  if (mDims)
    groups.push_back(llvm::to_vector<2>(llvm::seq<int64_t>(0, mDims)));
  groups.push_back(llvm::to_vector<2>(llvm::seq<int64_t>(mDims, rank)));
  if (rank > int64_t(groups.size())) {
    SmallVector<OpFoldResult> sizes;
    for (auto [place, size] : llvm::zip_equal(places, shape))
      sizes.push_back(ShapedType::isDynamic(size)
                          ? tensor::getMixedSize(b, loc, init->get(), place)
                          : OpFoldResult(b.getIndexAttr(size)));
    y = tensor::ExpandShapeOp::create(b, loc, RankedTensorType::get(shape, element), y,
                                      groups, sizes);
  }
  y = transpose(b, loc, y, permutation);
  if (y.getType() != resultType)
    y = tensor::CastOp::create(b, loc, resultType, y);

  // Adds the start of the sum, unless it is zero.
  auto fill = init->get().getDefiningOp<linalg::FillOp>();
  Value start = fill ? fill.getInputs()[0] : init->get();
  if (!matchPattern(start, m_AnyZeroFloat()))
    y = arith::AddFOp::create(b, loc, init->get(), y);
  return y;
}
