//===- RaiseEncoding.cpp - The encoding of a dequantized weight -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A component of a weight is the product of one or more factors. Where it is
//
//   a constant               it is the same for all groups
//   an element               the tensor, reshaped to N x G
//   an integer               its bits are the code, with no step; only offsets
//   an integer by a float    the code of a group, the float the step of its row or of
//                            256 weights: Q4_K's d * 6-bit scale
//   anything else            a computed N x G tensor of f32
//
//===----------------------------------------------------------------------===//
#include "Raiser.h"

#include "qlinear/Dialect/Constants.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

#include <numeric>

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::Form;
using ::qlinear::MetaStorage;
using ::qlinear::StepScope;

static std::optional<::qlinear::FloatType> getFloat(Type type) {
  if (type.isF32())
    return ::qlinear::FloatType::f32;
  if (type.isF16())
    return ::qlinear::FloatType::f16;
  if (type.isBF16())
    return ::qlinear::FloatType::bf16;
  return std::nullopt;
}

/// Behind widening.
static Scalar *skipExtension(Scalar *scalar) {
  while (scalar->is("arith.extf"))
    scalar = scalar->operands[0];
  return scalar;
}

/// The factors of a product of products.
static void getLeaves(Scalar *scalar, SmallVectorImpl<Scalar *> &leaves) {
  scalar = skipExtension(scalar);
  if (!scalar->is("arith.mulf")) {
    leaves.push_back(scalar);
    return;
  }
  for (Scalar *operand : scalar->operands)
    getLeaves(operand, leaves);
}

/// The value of a constant, or of a constant tensor of equal elements.
static TypedAttr getSplat(Scalar *scalar) {
  scalar = skipExtension(scalar);
  if (scalar->kind == Scalar::Kind::constant)
    return scalar->value;
  Attribute attribute;
  if (isElement(scalar) && matchPattern(scalar->access.tensor, m_Constant(&attribute)))
    if (auto splat = dyn_cast<SplatElementsAttr>(attribute))
      return cast<TypedAttr>(splat.getSplatValue<Attribute>());
  return {};
}

/// Finds out how many weights share a component; declines one that is not the same for
/// all weights of a group.
LogicalResult Raiser::matchStride(Component &component) {
  SmallVector<Scalar *> elements;
  bool isClosed = true;
  for (Scalar *factor : component.factors)
    walk(factor, [&](Scalar *s) {
      if (isElement(s) && !getSplat(s))
        elements.push_back(s);
      isClosed &= s->kind != Scalar::Kind::accumulator &&
                  s->kind != Scalar::Kind::slice && s->kind != Scalar::Kind::sum;
    });
  StringRef name = component.name;
  if (!isClosed)
    return decline(name + " are computed from more than elements of tensors");
  int64_t K = indices.sizes[Indices::K];
  for (Scalar *element : elements) {
    if (strideOf(element->access, Indices::M))
      return decline(name + " change from row to row of x");
    int64_t rows = strideOf(element->access, Indices::N),
            stride = strideOf(element->access, Indices::K);
    if (stride == 0 || stride >= K)
      continue; // one for the row
    if (stride == 1)
      return decline(rows == 1 || indices.sizes[Indices::N] == 1
                         ? name + " vary inside a group: there is one for each k"
                     : rows == 0
                         ? "the group axis is along N: " + name +
                               " are the same in all rows; a group lies in one row"
                         : "the group axis is along N: " + name + " are shared by " +
                               Twine(rows) + " rows; a group lies in one row");
    component.stride = std::gcd(component.stride, stride);
  }
  return success();
}

/// Whether `component` is an integer by a float that is the same in the row, or in each
/// 256 weights of it; if so, stores it as such.
bool Raiser::isCoded(Component &component, ArrayRef<Scalar *> leaves) {
  if (leaves.size() != 2)
    return false;
  unsigned at = isConversion(leaves[0]) ? 0 : 1;
  Scalar *code = leaves[at], *step = leaves[1 - at];
  if (!isConversion(code) || !isElement(step) || !getFloat(step->type))
    return false;
  Integer integer;
  std::string saved = why;
  LogicalResult read =
      readInteger(code->operands[0], code->is("arith.sitofp"), integer);
  why = saved;
  if (failed(read) || integer.constant || integer.bits > 8)
    return false;
  int64_t K = indices.sizes[Indices::K];
  FailureOr<Matrix> matrix = getMatrix(step, Indices::N, Indices::K, component.name);
  if (failed(matrix) || !matrix->hasRows || matrix->rowStride != 1 ||
      (matrix->columnStride != K && matrix->columnStride != ::qlinear::kStepBlock))
    return false;
  bool isRow = matrix->columnStride == K;
  if (!group || (!isRow && ::qlinear::kStepBlock % group))
    return false;
  uint8_t bits = integer.bits <= 4 ? 4 : integer.bits <= 6 ? 6 : 8;
  component.kind = Component::Kind::integer;
  component.integer = integer;
  component.step = *matrix;
  component.storage = MetaStorage::linear(bits, integer.isSigned,
                                          isRow ? StepScope::row : StepScope::block,
                                          *getFloat(step->type));
  return true;
}

/// Chooses how a component is stored.
LogicalResult Raiser::matchStorage(Component &component) {
  SmallVector<Scalar *> leaves;
  for (Scalar *factor : component.factors)
    getLeaves(factor, leaves);
  using Kind = Component::Kind;
  bool isOffset = &component != &formula.scale;
  Scalar *leaf = leaves.front();
  bool isInteger = leaves.size() == 1 && (isConversion(leaf) || component.integer);
  if (isInteger && !component.integer &&
      failed(
          readInteger(leaf->operands[0], leaf->is("arith.sitofp"), component.integer)))
    return failure();
  if (leaves.size() == 1) {
    TypedAttr splat =
        getSplat(isInteger ? component.integer.scalar : skipExtension(leaf));
    std::optional<double> value;
    if (auto number = dyn_cast_or_null<FloatAttr>(splat))
      value = number.getValueAsDouble();
    else if (auto number = dyn_cast_or_null<IntegerAttr>(splat))
      value = component.integer.isReadSigned ? double(number.getValue().getSExtValue())
                                             : double(number.getValue().getZExtValue());
    if (value) {
      if (component.negate)
        value = -*value;
      std::optional<::qlinear::FloatType> type = getFloat(splat.getType());
      component.kind = Kind::constant;
      component.constant = FloatAttr::get(
          type ? splat.getType() : Type(Float32Type::get(context)), *value);
      component.storage = MetaStorage::plain(type.value_or(::qlinear::FloatType::f32));
      // A small integer takes fewer bits as one.
      if (isOffset && *value == std::trunc(*value) && *value >= 0 && *value < 256)
        component.storage =
            MetaStorage::linear(*value < 16 ? 4 : 8, false, StepScope::constant);
      return success();
    }
  }
  bool hasOwnStride = component.stride == group;
  if (isInteger && component.integer.width() > 64)
    return decline(component.name + " of more than 64 bits");
  if (isInteger && isOffset && !component.negate && component.integer.bits <= 8) {
    component.kind = Kind::integer;
    uint8_t bits = component.integer.bits <= 4 ? 4 : 8;
    component.storage =
        MetaStorage::linear(bits, component.integer.isSigned, StepScope::constant);
    return success();
  }
  if (hasOwnStride && isCoded(component, leaves))
    return success();
  // The tensor that has it, if there is one.
  Scalar *holder = nullptr;
  if (component.factors.size() == 1)
    for (Scalar *s = component.factors.front();; s = s->operands[0]) {
      if (s->access.tensor && getFloat(s->type))
        holder = s;
      if (!s->is("arith.extf"))
        break;
    }
  if (holder && hasOwnStride) {
    FailureOr<Matrix> matrix =
        getMatrix(holder, Indices::N, Indices::K, component.name);
    int64_t stride = group ? group : indices.sizes[Indices::K];
    if (failed(matrix))
      why.clear();
    else if (matrix->columnStride == stride &&
             ((matrix->hasRows && matrix->rowStride == 1) ||
              indices.sizes[Indices::N] == 1)) {
      component.kind = Kind::matrix;
      component.matrix = *matrix;
      component.storage = MetaStorage::plain(*getFloat(holder->type));
      return success();
    }
  }
  for (Scalar *factor : component.factors) {
    Scalar *scalar = skipExtension(factor);
    if (scalar->type.getIntOrFloatBitWidth() > 32 && !isa<IntegerType>(scalar->type))
      return decline(component.name + " of an element type that is wider than f32");
  }
  component.kind = Kind::computed;
  component.storage = MetaStorage::plain(::qlinear::FloatType::f32);
  return success();
}

/// Chooses the type of the codes.
LogicalResult Raiser::matchCodeType() {
  Integer &code = formula.codes;
  bool isClosed = true;
  walk(code.scalar, [&](Scalar *s) {
    isClosed &= !isElement(s) || strideOf(s->access, Indices::M) == 0;
  });
  if (!isClosed)
    return decline("the codes change from row to row of x");
  if (code.bits > 8)
    return decline("codes of " + Twine(code.bits) +
                   " bits; a weight code has 2, 3, 4, 5, 6 or 8");
  auto roundUp = [](unsigned bits) { return bits == 7 ? 8 : std::max(bits, 2u); };
  // Codes that could have a sign as well need no zero then.
  if (code.isReadSigned && !code.isSigned &&
      roundUp(code.most.getSignificantBits()) == roundUp(code.bits)) {
    code.isSigned = true;
    code.bits = code.most.getSignificantBits();
  }
  encoding.codes = {uint8_t(roundUp(code.bits)), code.isSigned};
  return success();
}

/// Chooses the encoding.
LogicalResult Raiser::matchEncoding() {
  FailureOr<Matrix> matrix = getMatrix(x, Indices::M, Indices::K, "x");
  if (failed(matrix))
    return failure();
  xMatrix = *matrix;
  int64_t N = indices.sizes[Indices::N], K = indices.sizes[Indices::K];
  if (xMatrix->columnStride != 1 ||
      (xMatrix->rowStride != 1 && indices.sizes[Indices::M] != 1))
    return decline("x is not read element by element");
  if (failed(matchCodeType()))
    return failure();
  const Integer &code = formula.codes;
  formula.scale.name = "the scales";
  formula.zero.name = "the zeros";
  formula.min.name = "the mins";
  Component &offset = formula.min ? formula.min : formula.zero;
  if (formula.zero && code.isSigned) {
    // Signed codes around zero.
    Scalar *zero = skipExtension(formula.zero.factors.front());
    while (isConversion(zero) || zero->is("arith.extui") || zero->is("arith.extsi"))
      zero = zero->operands[0];
    TypedAttr splat = getSplat(zero);
    auto number = dyn_cast_or_null<FloatAttr>(splat);
    auto integer = dyn_cast_or_null<IntegerAttr>(splat);
    if ((number && number.getValue().isZero()) ||
        (integer && integer.getValue().isZero()))
      formula.zero = Component();
  }
  bool hasOffset = bool(offset), needsOffset = !hasOffset && !code.isSigned;
  encoding.form = formula.min                ? Form::min
                  : hasOffset || needsOffset ? Form::zero
                                             : Form::symmetric;
  if (formula.scale && failed(matchStride(formula.scale)))
    return failure();
  if (hasOffset && failed(matchStride(offset)))
    return failure();
  int64_t strides[] = {formula.scale.stride, hasOffset ? offset.stride : 0};
  group = std::gcd(strides[0], strides[1]);
  encoding.group = group ? unsigned(group) : ::qlinear::kWholeRow;

  auto constant = [&](Component &component, double value) {
    component.kind = Component::Kind::constant;
    component.constant = FloatAttr::get(Float32Type::get(context), value);
  };
  if (!formula.scale) {
    constant(formula.scale, 1.0);
    formula.scale.storage = MetaStorage::plain(::qlinear::FloatType::f32);
  } else if (failed(matchStorage(formula.scale))) {
    return failure();
  }
  if (needsOffset) {
    constant(formula.zero, 0.0);
    formula.zero.storage = MetaStorage::linear(4, false, StepScope::constant);
  } else if (hasOffset && failed(matchStorage(offset))) {
    return failure();
  }
  encoding.scale = formula.scale.storage;
  if (encoding.form != Form::symmetric)
    encoding.offset = offset.storage;
  if (auto fits = encoding.verifyShape(N, K); !fits)
    return decline(fits.error());
  return success();
}
