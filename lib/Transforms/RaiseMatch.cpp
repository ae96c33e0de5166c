//===- RaiseMatch.cpp - Find the components of a dequantized weight -------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Raiser.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::Form;
using ::qlinear::MetaStorage;
using ::qlinear::StepScope;

//===----------------------------------------------------------------------===//
// Components
//===----------------------------------------------------------------------===//

static Scalar *skip(Scalar *scalar, ArrayRef<StringRef> names) {
  while (llvm::any_of(names, [&](StringRef name) { return scalar->is(name); }))
    scalar = scalar->operands[0];
  return scalar;
}

/// An element or constant, behind widening; or what was computed into a tensor.
static FailureOr<Component> getComponent(Scalar *scalar) {
  Component result;
  Scalar *inner = skip(scalar, {"arith.extf"});
  if (isConversion(inner)) {
    result.isSigned = inner->is("arith.sitofp");
    Scalar *integer = inner->operands[0];
    unsigned width = integer->type.getIntOrFloatBitWidth();
    while (integer->is("arith.extui") || integer->is("arith.extsi")) {
      bool isSigned = integer->is("arith.extsi");
      // A zero-extended value is the same read either way; a sign-extended one is
      // not when read as unsigned.
      if (isSigned && !result.isSigned)
        return failure();
      result.isSigned = isSigned;
      integer = integer->operands[0];
    }
    if (isElement(integer) && integer->type.getIntOrFloatBitWidth() <= width) {
      result.access = integer->access;
      return result;
    }
    result = Component();
  }
  if (isElement(inner)) {
    result.access = inner->access;
    return result;
  }
  if (inner->kind == Scalar::Kind::constant) {
    result.constant = inner->value;
    return result;
  }
  // Computed elsewhere: the tensor nearest to the computation that holds it.
  Scalar *holder = nullptr;
  for (Scalar *s = scalar;; s = s->operands[0]) {
    if (s->access.tensor)
      holder = s;
    if (s == inner)
      break;
  }
  if (!holder)
    return failure();
  result.access = holder->access;
  return result;
}

//===----------------------------------------------------------------------===//
// Matching
//===----------------------------------------------------------------------===//

/// The element of the codes, extended, in `scalar`.
bool Raiser::matchCodes(Scalar *conversion) {
  bool readSigned = conversion->is("arith.sitofp");
  Scalar *integer = conversion->operands[0];
  if (integer->is("arith.addi"))
    return decline("the zero is added where the form subtracts it");
  // Reads an extended element; true unless the signedness fits.
  auto matchElement = [&](Scalar *s, Component &result, bool isSigned) {
    while (s->is("arith.extui") || s->is("arith.extsi")) {
      bool extendsSigned = s->is("arith.extsi");
      if (extendsSigned && !isSigned)
        return decline(
            "signedness mismatch: a sign-extended integer is read as unsigned");
      isSigned = extendsSigned;
      s = s->operands[0];
    }
    result.isSigned = isSigned;
    if (isElement(s))
      result.access = s->access;
    else if (s->kind == Scalar::Kind::constant)
      result.constant = s->value;
    else
      return decline(
          "the integer arithmetic is more than a difference of two elements");
    return false;
  };
  if (integer->is("arith.subi")) {
    if (!readSigned)
      return decline(
          "signedness mismatch: a difference of integers is read as unsigned");
    if (!readsCodes(integer->operands[0]))
      return decline("the codes are subtracted from the zero");
    if (matchElement(integer->operands[0], formula.codes, true) ||
        matchElement(integer->operands[1], formula.zero, true))
      return true;
    // The difference of two values below 2^b has b + 2 bits with its sign.
    auto bitsOf = [](const Component &c) {
      return c.constant ? cast<IntegerAttr>(c.constant).getValue().getSignificantBits()
                        : c.type().getIntOrFloatBitWidth();
    };
    unsigned width = integer->type.getIntOrFloatBitWidth();
    if (std::max(bitsOf(formula.codes), bitsOf(formula.zero)) + 2 > width)
      return decline("the difference of code and zero may wrap around in i" +
                     Twine(width) + "; extend both to a wider integer first");
    return false;
  }
  return matchElement(integer, formula.codes, readSigned);
}

/// Matches (q - zero) * scale - min; true (with a reason) if it is not that.
bool Raiser::matchFormula(Scalar *scalar) {
  if (scalar->isShared)
    return decline("the dequantized value has another user");
  if (scalar->is("arith.extf") || scalar->is("arith.truncf"))
    return matchFormula(scalar->operands[0]);
  if (isConversion(scalar))
    return matchCodes(scalar);
  bool isAdd = scalar->is("arith.addf"), isSub = scalar->is("arith.subf"),
       isMul = scalar->is("arith.mulf");
  if (!isAdd && !isSub && !isMul)
    return decline("the weight is not s * (q - z) or s * q + m: it has " +
                   (scalar->op ? scalar->op->getName().getStringRef()
                               : StringRef("an element of no known meaning")));
  unsigned at = readsCodes(scalar->operands[0]) ? 0 : 1;
  Scalar *inner = scalar->operands[at], *other = scalar->operands[1 - at];
  if (readsCodes(other))
    return decline("the codes are used twice in the weight");
  if (isSub && at == 1)
    return decline("the codes are subtracted from the zero");
  if (matchFormula(inner))
    return true;
  FailureOr<Component> component = getComponent(other);
  if (failed(component))
    return decline(isMul ? "the scale is computed together with the weight, not read "
                           "from a tensor"
                         : "the zero or min is computed together with the weight, not "
                           "read from a tensor");
  if (formula.min)
    return decline("more follows the min");
  if (isMul) {
    if (formula.scale)
      return decline("the weight has two scales");
    formula.scale = *component;
    return false;
  }
  if (!formula.scale) {
    if (isAdd)
      return decline("the zero is added where the form subtracts it");
    if (formula.zero)
      return decline("the weight has two zeros");
    formula.zero = *component;
    return false;
  }
  if (formula.zero)
    return decline("the weight has both a zero and a min");
  formula.min = *component;
  formula.min.negate = isAdd;
  return false;
}

/// Names the loops; true (with a reason) if they are not those of a linear.
bool Raiser::matchIndices() {
  unsigned numLoops = op.getNumLoops();
  indices.loopSizes = op.getStaticLoopRanges();
  AffineMap xMap = x.access.map, codeMap = formula.codes.access.map;
  // Behind a cast, x may say more than the loops.
  for (auto [e, size] :
       llvm::zip_equal(xMap.getResults(),
                       cast<RankedTensorType>(x.access.tensor.getType()).getShape()))
    if (auto dim = dyn_cast<AffineDimExpr>(e))
      if (int64_t &known = indices.loopSizes[dim.getPosition()];
          ShapedType::isDynamic(known))
        known = size;
  AffineMap result = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  SmallVector<utils::IteratorType> iterators = op.getIteratorTypesArray();
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
    bool inX = xMap.isFunctionOfDim(loop), inW = codeMap.isFunctionOfDim(loop);
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
    if (isReduction && (!xMap.isFunctionOfDim(loop) || !codeMap.isFunctionOfDim(loop)))
      return decline("a reduction does not run over both x and the weight");
    if (!isReduction && !result.isFunctionOfDim(loop))
      return decline("a parallel loop does not run over the result");
  }
  if (indices.order[Indices::N].empty() || indices.order[Indices::K].empty())
    return decline("there is no loop over N or none over K");

  indices.loops.resize(numLoops);
  for (unsigned index : {Indices::M, Indices::N, Indices::K}) {
    int64_t stride = 1;
    ArrayRef<unsigned> order = indices.order[index];
    AffineExpr dim = getAffineDimExpr(index, context);
    for (unsigned loop : llvm::reverse(order)) {
      int64_t size = indices.loopSizes[loop];
      bool isFirst = loop == order.front();
      if (ShapedType::isDynamic(size)) {
        if (index != Indices::M)
          return decline("the group is not constant: N, K or the size of a group is "
                         "known only at run time");
        if (!isFirst)
          return decline("only the slowest of the rows' dimensions may be dynamic");
        if (stride > kUnknownSize >> 20)
          return decline("too many rows in the dimensions after the dynamic one");
        size = kUnknownSize;
      }
      AffineExpr digit = dim.floorDiv(stride);
      indices.loops[loop] = isFirst ? digit : digit % size;
      stride *= size;
    }
    indices.sizes[index] = stride;
  }
  return false;
}

/// How `access` is a matrix of rows `row` and columns `column`; none (with a reason)
/// if it is not.
std::optional<Matrix> Raiser::getMatrix(const Access &access, unsigned row,
                                        unsigned column, StringRef name) {
  auto type = cast<RankedTensorType>(access.tensor.getType());
  AffineMap map = access.map.compose(AffineMap::get(3, 0, indices.loops, context));
  auto fail = [&](const Twine &reason) {
    decline(reason);
    return std::nullopt;
  };
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
      return fail("the dimensions of " + name +
                  " are not rows, groups and columns: their "
                  "sizes do not divide N and K (padded last block), or the indices mix "
                  "the two");
    bool isDynamic = ShapedType::isDynamic(size);
    if (isDynamic && row != Indices::M)
      return fail("the group is not constant: the shape of " + name +
                  " is known only at run time");
    if (digit->size == 1 || !digit->dim) {
      if (isDynamic && indices.sizes[Indices::M] != 1)
        return fail("the shape of " + name + " is known only at run time");
      if (!isDynamic && size != 1)
        return fail("only one of " + Twine(size) + " elements of " + name +
                    " is used in a dimension");
      // Stays beside the dimension before it.
      Key key = keys.empty() ? Key{0, INT64_MIN, 0} : keys.back();
      keys.push_back({key.column, key.stride, int64_t(i)});
      continue;
    }
    if (isDynamic ? digit->size < kUnknownSize : digit->size != size)
      return fail("padded block: " + Twine(digit->size) + " of " + Twine(size) +
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
        return fail(name + " do not change from block to block along N and K");
      next *= digit.size;
    }
    if (next != total)
      return fail(name + " repeat along " + (isColumn ? "K" : "N"));
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

/// Scales, zeros or mins: N x G; sets the group. True (with a reason) if not.
bool Raiser::matchMeta(Component &component, std::optional<Matrix> &matrix,
                       StringRef name) {
  if (component.constant)
    return false;
  Attribute attribute;
  if (matchPattern(component.access.tensor, m_Constant(&attribute)))
    if (auto splat = dyn_cast<SplatElementsAttr>(attribute)) {
      // The same for all, whatever its shape.
      component.constant = cast<TypedAttr>(splat.getSplatValue<Attribute>());
      component.access = {};
      return false;
    }
  matrix = getMatrix(component.access, Indices::N, Indices::K, name);
  if (!matrix)
    return true;
  if (matrix->rowStride != 1 && indices.sizes[Indices::N] != 1)
    return decline("the group axis is along N: " + name +
                   (matrix->hasRows ? " are shared by " +
                                          std::to_string(matrix->rowStride) + " rows"
                                    : std::string(" are the same in all rows")) +
                   "; a group lies in one row");
  if (matrix->columnStride == 1 && indices.sizes[Indices::K] != 1)
    return decline(name + " vary inside a group: there is one for each k");
  if (group && group != matrix->columnStride)
    return decline("scales and offsets have groups of " + Twine(group) + " and " +
                   Twine(matrix->columnStride) + "; they need the same");
  group = matrix->columnStride;
  return false;
}

static std::optional<::qlinear::FloatType> getFloat(Type type) {
  if (type.isF32())
    return ::qlinear::FloatType::f32;
  if (type.isF16())
    return ::qlinear::FloatType::f16;
  if (type.isBF16())
    return ::qlinear::FloatType::bf16;
  return std::nullopt;
}

/// Chooses the encoding; true (with a reason) if there is none.
bool Raiser::matchEncoding() {
  auto bits = cast<IntegerType>(formula.codes.type()).getWidth();
  if (bits > 8)
    return decline("codes of " + Twine(bits) + " bits; a weight code has 4, 5, 6 or 8");
  encoding.codes = {uint8_t(bits), formula.codes.isSigned};
  encoding.group =
      group && group != indices.sizes[Indices::K] ? group : ::qlinear::kWholeRow;
  std::optional<::qlinear::FloatType> scale = getFloat(formula.scale.type());
  if (!scale)
    return decline("scales of an element type that is not f32, f16 or bf16");
  encoding.scale = MetaStorage::plain(*scale);
  if (!formula.zero && !formula.min && !formula.codes.isSigned)
    formula.zero.constant = FloatAttr::get(formula.scale.type(), 0.0);
  encoding.form = formula.min ? Form::min : formula.zero ? Form::zero : Form::symmetric;
  if (encoding.form != Form::symmetric) {
    Component &offset = formula.min ? formula.min : formula.zero;
    if (auto type = dyn_cast<IntegerType>(offset.type())) {
      if (offset.constant) {
        // A small integer; in floats it is exact.
        APInt value = cast<IntegerAttr>(offset.constant).getValue();
        double exact = offset.isSigned ? double(value.getSExtValue())
                                       : double(value.getZExtValue());
        if (std::abs(exact) > 1 << 24)
          return decline("a zero that f32 cannot hold");
        offset.constant = FloatAttr::get(Float32Type::get(context), exact);
        encoding.offset = MetaStorage::plain(::qlinear::FloatType::f32);
      } else if (type.getWidth() == 4 || type.getWidth() == 8) {
        encoding.offset =
            MetaStorage::linear(type.getWidth(), offset.isSigned, StepScope::constant);
      } else if (type.getWidth() <= 16) {
        // Converted; exact in f32.
        encoding.offset = MetaStorage::plain(::qlinear::FloatType::f32);
      } else {
        return decline("zeros of " + Twine(type.getWidth()) +
                       " bits, which f32 cannot hold; store them in 16 or fewer");
      }
    } else if (auto type = getFloat(offset.type())) {
      encoding.offset = MetaStorage::plain(*type);
    } else {
      return decline("offsets of an element type that is not f32, f16 or bf16");
    }
  }
  auto fits =
      encoding.verifyShape(indices.sizes[Indices::N], indices.sizes[Indices::K]);
  return !fits && decline(fits.error());
}

bool Raiser::match() {
  if (!op.hasPureTensorSemantics() || op->getNumResults() != 1 ||
      op.getNumReductionLoops() == 0 ||
      op.getNumReductionLoops() + op.getNumParallelLoops() != op.getNumLoops())
    return false;
  Scalar *root = analysis.analyseBody(op);
  if (!root || !hasConversion(root))
    return false;

  // sum += [extf] (x * w), in any order.
  auto isAccumulator = [](Scalar *s) { return s->kind == Scalar::Kind::accumulator; };
  if (!root->is("arith.addf") ||
      isAccumulator(root->operands[0]) == isAccumulator(root->operands[1]))
    return decline("the body is not a sum of products");
  Scalar *product =
      skip(root->operands[isAccumulator(root->operands[0]) ? 1 : 0], {"arith.extf"});
  if (product->is("arith.truncf"))
    return decline("the accumulator is narrower than the input: the products are "
                   "rounded before the sum");
  if (!product->is("arith.mulf"))
    return decline("the body is not a sum of products");

  // The codes are the largest tensor of integers.
  bool isPadded = false, isDynamic = false, isAmbiguous = false;
  int64_t most = 0;
  walk(product, [&](Scalar *s) {
    isPadded |= s->kind == Scalar::Kind::slice && hasConversion(s);
    if (!isElement(s) || !isa<IntegerType>(s->type))
      return;
    auto type = cast<RankedTensorType>(s->access.tensor.getType());
    if (!type.hasStaticShape()) {
      isDynamic = true;
      return;
    }
    int64_t count = type.getNumElements();
    isAmbiguous = count == most || (isAmbiguous && count < most);
    if (count > most) {
      most = count;
      codes = s;
    }
  });
  if (isPadded)
    return decline("padded last block: the weight is a slice of the dequantized value");
  if (isDynamic)
    return decline(
        "the group is not constant: the shape of the codes or zeros is known "
        "only at run time");
  if (!codes)
    return decline("the codes are not elements of a tensor");
  if (isAmbiguous)
    return decline("two integer tensors of the same size: which has the codes is not "
                   "clear (a zero for each code?)");

  unsigned at = readsCodes(product->operands[0]) ? 0 : 1;
  Scalar *activation = product->operands[1 - at];
  if (readsCodes(activation))
    return decline("the codes are in both factors");
  if (matchFormula(product->operands[at]))
    return true;
  if (!formula.scale)
    return decline("the weight has no scale before the sum");
  if (activation->is("arith.truncf"))
    return decline("the accumulator is narrower than the input, which is rounded "
                   "before the product");
  FailureOr<Component> input = getComponent(activation);
  if (failed(input) || input->constant || !getFloat(input->type()))
    return decline("the other factor is not a tensor of f32, f16 or bf16 that is only "
                   "widened");
  x = *input;

  Type accumulator = root->type;
  if (!getFloat(accumulator))
    return decline("the accumulator is not f32, f16 or bf16");
  if (accumulator.getIntOrFloatBitWidth() < x.type().getIntOrFloatBitWidth())
    return decline("the accumulator is narrower than the input");

  if (matchIndices())
    return true;
  xMatrix = getMatrix(x.access, Indices::M, Indices::K, "x");
  if (!xMatrix)
    return true;
  codeMatrix = getMatrix(formula.codes.access, Indices::N, Indices::K, "the codes");
  if (!codeMatrix)
    return true;
  if (xMatrix->columnStride != 1 || codeMatrix->columnStride != 1 ||
      codeMatrix->rowStride != 1 ||
      (xMatrix->rowStride != 1 && indices.sizes[Indices::M] != 1))
    return decline("x or the codes are not read element by element");
  if (matchMeta(formula.scale, scaleMatrix, "the scales") ||
      (formula.zero && matchMeta(formula.zero, offsetMatrix, "the zeros")) ||
      (formula.min && matchMeta(formula.min, offsetMatrix, "the mins")))
    return true;
  matchEncoding();
  return true;
}
