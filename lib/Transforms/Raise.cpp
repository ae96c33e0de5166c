//===- Raise.cpp - From dequantized weights in linalg to qlinear ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For every contraction sum of x * w, where w is computed from integer codes:
//
//   1. the scalar tree of the body (RaiseAnalysis.h) is split into x, the codes q
//      and what is added to and multiplied with them;
//   2. the loops become three indices m, n and k, and each component's index in
//      each dimension a digit of one of them; a component whose digits make up
//      (n, k) or (n, k floordiv group) can be reshaped to a matrix;
//   3. the matrices are packed.
//
// Nothing is created before all is known to fit.
//
//===----------------------------------------------------------------------===//
#include "RaiseAnalysis.h"

#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#define DEBUG_TYPE "qlinear-raise"

namespace mlir::qlinear {
#define GEN_PASS_DEF_RAISE
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::Encoding;
using ::qlinear::Form;
using ::qlinear::MetaStorage;
using ::qlinear::StepScope;

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

static bool isElement(const Scalar *s) { return s->kind == Scalar::Kind::element; }

static Scalar *skip(Scalar *scalar, ArrayRef<StringRef> names) {
  while (llvm::any_of(names, [&](StringRef name) { return scalar->is(name); }))
    scalar = scalar->operands[0];
  return scalar;
}

namespace {
/// What a component of a weight is read from.
struct Component {
  Access access;      ///< if it varies
  TypedAttr constant; ///< else
  bool isSigned = false;
  bool negate = false;

  explicit operator bool() const { return access.tensor || constant; }
  Type type() const {
    return constant ? constant.getType()
                    : getElementTypeOrSelf(access.tensor.getType());
  }
};

/// The arithmetic of a weight: (q - zero) * scale - min.
struct Formula {
  Component codes, scale, zero, min;
};

/// The indices of a linear, and of which loop which digit is.
struct Indices {
  enum : unsigned { M, N, K };
  int64_t sizes[3] = {1, 1, 1};
  SmallVector<AffineExpr> loops;  ///< as functions of m, n and k
  SmallVector<unsigned> order[3]; ///< the loops of each, slowest first
  SmallVector<int64_t> loopSizes;
};

/// How to reshape a tensor to a matrix whose rows are one index and columns another.
struct Matrix {
  Value tensor;
  SmallVector<int64_t> permutation;
  int64_t rowDims = 0; ///< the first dimensions after the permutation
  int64_t rowStride = 1, columnStride = 1;
  bool hasRows = false, hasColumns = false;
};
} // namespace

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

namespace {
class Raiser {
public:
  explicit Raiser(linalg::LinalgOp op) : op(op), context(op.getContext()) {}

  /// Fills in everything; false where `op` has no quantized weight. If `why` is set,
  /// it has one, but cannot be raised.
  bool match();
  Value rewrite(OpBuilder &b);

  std::string encodingSpelling() const { return encoding.str(); }

  std::string why;

private:
  bool decline(const Twine &reason) {
    why = reason.str();
    return true;
  }
  bool matchFormula(Scalar *scalar);
  bool matchCodes(Scalar *scalar);
  bool matchIndices();
  std::optional<Matrix> getMatrix(const Access &access, unsigned row, unsigned column,
                                  StringRef name);
  bool matchMeta(Component &component, std::optional<Matrix> &matrix, StringRef name);
  bool matchEncoding();
  bool readsCodes(Scalar *scalar) {
    bool reads = false;
    walk(scalar, [&](Scalar *s) {
      reads |= isElement(s) && s->access.tensor == codes->access.tensor;
    });
    return reads;
  }
  static Value build(OpBuilder &b, Location loc, const Matrix &matrix);
  Value buildMeta(OpBuilder &b, Component &component,
                  const std::optional<Matrix> &matrix, const MetaStorage &storage);

  linalg::LinalgOp op;
  MLIRContext *context;
  ScalarAnalysis analysis;
  Scalar *codes = nullptr;
  Formula formula;
  Component x;
  Indices indices;
  std::optional<Matrix> xMatrix, codeMatrix, scaleMatrix, offsetMatrix;
  int64_t group = 0;
  Encoding encoding;
};
} // namespace

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
        size = kUnknownSize;
      }
      AffineExpr digit = dim.floorDiv(stride);
      indices.loops[loop] = isFirst ? digit : digit % size;
      stride = size == kUnknownSize ? kUnknownSize : stride * size;
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
    if (isDynamic ? digit->size != kUnknownSize && indices.sizes[row] != kUnknownSize
                  : digit->size != size)
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
      // The slowest digit of an unknown size ends it.
      next =
          total == kUnknownSize && &digit == &sorted.back() ? total : next * digit.size;
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

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

static Value transpose(OpBuilder &b, Location loc, Value tensor,
                       ArrayRef<int64_t> permutation) {
  if (llvm::equal(permutation, llvm::seq<int64_t>(permutation.size())))
    return tensor;
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, tensor), permuted;
  for (int64_t dim : permutation)
    permuted.push_back(sizes[dim]);
  Value empty =
      tensor::EmptyOp::create(b, loc, permuted, getElementTypeOrSelf(tensor.getType()));
  return linalg::TransposeOp::create(b, loc, tensor, empty, permutation)->getResult(0);
}

Value Raiser::build(OpBuilder &b, Location loc, const Matrix &matrix) {
  Value tensor = transpose(b, loc, matrix.tensor, matrix.permutation);
  int64_t rank = matrix.permutation.size(), rows = matrix.rowDims;
  // One of the two may have no dimension.
  bool hasBoth = rows != 0 && rows != rank;
  if (hasBoth) {
    if (rank == 2)
      return tensor;
    SmallVector<ReassociationIndices> groups = {
        llvm::to_vector<2>(llvm::seq<int64_t>(0, rows)),
        llvm::to_vector<2>(llvm::seq<int64_t>(rows, rank))};
    return tensor::CollapseShapeOp::create(b, loc, tensor, groups);
  }
  if (rank > 1) {
    SmallVector<ReassociationIndices> all = {
        llvm::to_vector<2>(llvm::seq<int64_t>(0, rank))};
    tensor = tensor::CollapseShapeOp::create(b, loc, tensor, all);
  }
  auto type = cast<RankedTensorType>(tensor.getType());
  int64_t size = type.getDimSize(0);
  SmallVector<int64_t> shape =
      rows ? SmallVector<int64_t>{size, 1} : SmallVector<int64_t>{1, size};
  SmallVector<ReassociationIndices> groups = {{0, 1}};
  return tensor::ExpandShapeOp::create(
      b, loc, RankedTensorType::get(shape, type.getElementType()), tensor, groups);
}

Value Raiser::buildMeta(OpBuilder &b, Component &component,
                        const std::optional<Matrix> &matrix,
                        const MetaStorage &storage) {
  Location loc = op.getLoc();
  int64_t K = indices.sizes[Indices::K];
  SmallVector<int64_t> shape = {indices.sizes[Indices::N],
                                int64_t(encoding.groupsPerRow(K))};
  Value value;
  if (component.constant) {
    auto type = RankedTensorType::get(shape, component.type());
    value = arith::ConstantOp::create(
        b, loc, DenseElementsAttr::get(type, Attribute(component.constant)));
  } else {
    value = build(b, loc, *matrix);
  }
  if (storage.kind == MetaStorage::Kind::plain && isa<IntegerType>(component.type())) {
    auto type = RankedTensorType::get(shape, b.getF32Type());
    value = component.isSigned ? Value(arith::SIToFPOp::create(b, loc, type, value))
                               : Value(arith::UIToFPOp::create(b, loc, type, value));
  }
  if (component.negate)
    value = arith::NegFOp::create(b, loc, value);
  return value;
}

Value Raiser::rewrite(OpBuilder &b) {
  Location loc = op.getLoc();
  Value codes = build(b, loc, *codeMatrix);
  Value scales = buildMeta(b, formula.scale, scaleMatrix, encoding.scale), offsets;
  if (encoding.form != Form::symmetric)
    offsets = buildMeta(b, formula.min ? formula.min : formula.zero, offsetMatrix,
                        encoding.offset);
  int64_t N = indices.sizes[Indices::N], K = indices.sizes[Indices::K];
  auto weight = WeightType::get(context, N, K, EncodingAttr::get(context, encoding));
  Value pack = PackOp::create(b, loc, weight, codes, scales, offsets, ValueRange());

  Value rows = build(b, loc, *xMatrix);
  OpOperand *init = op.getDpsInitOperand(0);
  auto resultType = cast<RankedTensorType>(op->getResult(0).getType());
  Type element = resultType.getElementType();
  int64_t M = cast<RankedTensorType>(rows.getType()).getDimSize(0);
  Value y = LinearOp::create(b, loc, RankedTensorType::get({M, N}, element), rows, pack)
                .getResult(0);

  // To a dimension per loop of m and n, then in the order of the result.
  SmallVector<unsigned> loops(indices.order[Indices::M]);
  llvm::append_range(loops, indices.order[Indices::N]);
  int64_t mDims = indices.order[Indices::M].size(), rank = loops.size();
  SmallVector<int64_t> permutation;
  SmallVector<OpFoldResult> sizes(rank),
      initSizes = tensor::getMixedSizes(b, loc, init->get());
  SmallVector<int64_t> shape(rank);
  AffineMap result = op.getMatchingIndexingMap(init);
  for (auto [i, e] : llvm::enumerate(result.getResults())) {
    int64_t at =
        llvm::find(loops, cast<AffineDimExpr>(e).getPosition()) - loops.begin();
    permutation.push_back(at);
    shape[at] = indices.loopSizes[loops[at]];
    sizes[at] =
        ShapedType::isDynamic(shape[at]) ? initSizes[i] : b.getIndexAttr(shape[at]);
  }
  if (mDims == 0) {
    SmallVector<ReassociationIndices> groups = {{0, 1}};
    y = tensor::CollapseShapeOp::create(b, loc, y, groups);
  }
  SmallVector<ReassociationIndices> groups;
  if (mDims)
    groups.push_back(llvm::to_vector<2>(llvm::seq<int64_t>(0, mDims)));
  groups.push_back(llvm::to_vector<2>(llvm::seq<int64_t>(mDims, rank)));
  if (rank > int64_t(groups.size()))
    y = tensor::ExpandShapeOp::create(b, loc, RankedTensorType::get(shape, element), y,
                                      groups, sizes);
  y = transpose(b, loc, y, permutation);
  if (y.getType() != resultType)
    y = tensor::CastOp::create(b, loc, resultType, y);

  // What the sum starts with, unless that is zero.
  auto fill = init->get().getDefiningOp<linalg::FillOp>();
  Value start = fill ? fill.getInputs()[0] : init->get();
  if (!matchPattern(start, m_AnyZeroFloat()))
    y = arith::AddFOp::create(b, loc, init->get(), y);
  return y;
}

namespace {
struct RaisePass : mlir::qlinear::impl::RaiseBase<RaisePass> {
  void runOnOperation() override {
    SmallVector<linalg::LinalgOp> candidates;
    SmallVector<Operation *> raised;
    getOperation()->walk([&](linalg::LinalgOp op) { candidates.push_back(op); });
    for (linalg::LinalgOp op : candidates) {
      Raiser raiser(op);
      if (!raiser.match())
        continue;
      auto options = remark::RemarkOpts::name("Raise").category(DEBUG_TYPE);
      if (!raiser.why.empty()) {
        ++numDeclined;
        remark::missed(op.getLoc(), options)
            << (op->getName().getStringRef() + " of a quantized weight stays").str()
            << remark::reason("{0}", raiser.why);
        continue;
      }
      OpBuilder builder(op);
      Value result = raiser.rewrite(builder);
      ++numRaised;
      remark::passed(op.getLoc(), options)
          << (op->getName().getStringRef() + " became qlinear.linear").str()
          << remark::metric("encoding", raiser.encodingSpelling());
      op->getResult(0).replaceAllUsesWith(result);
      raised.push_back(op);
    }
    eraseDead(raised);
  }

private:
  /// Erases the operations that were replaced, and what only they used.
  static void eraseDead(ArrayRef<Operation *> replaced) {
    llvm::SetVector<Operation *> candidates;
    candidates.insert_range(replaced);
    for (size_t i = 0; i < candidates.size(); ++i)
      for (Value operand : candidates[i]->getOperands())
        if (Operation *def = operand.getDefiningOp())
          candidates.insert(def);
    for (bool changed = true; changed;) {
      changed = candidates.remove_if([](Operation *op) {
        if (!isOpTriviallyDead(op))
          return false;
        op->erase();
        return true;
      });
    }
  }
};
} // namespace
