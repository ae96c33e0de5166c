//===- RaiseMatch.cpp - Find the components of a dequantized weight -------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The terms of the sum are a product of x, scales, and one factor that has the codes:
//
//   x * s1 * s2 * ... * ((q - z) * s3 * ... - m)
//
// in any order and nesting. With partial sums, sum over g of s * (sum over k of x * q),
// the inner sum is one of the factors, and its terms are factors in turn.
//
//===----------------------------------------------------------------------===//
#include "Raiser.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

#include <utility>

using namespace mlir;
using namespace mlir::qlinear;

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

static Scalar *skip(Scalar *scalar, ArrayRef<StringRef> names) {
  while (llvm::any_of(names, [&](StringRef name) { return scalar->is(name); }))
    scalar = scalar->operands[0];
  return scalar;
}

static bool isFloat(Type type) { return type.isF32() || type.isF16() || type.isBF16(); }

/// The range of an integer: that of the elements of a constant, else the range that
/// follows from the operations.
ConstantIntRanges Raiser::rangeOf(Scalar *scalar) {
  unsigned width = ConstantIntRanges::getStorageBitwidth(scalar->type);
  if (auto number = dyn_cast_or_null<IntegerAttr>(scalar->value))
    return ConstantIntRanges::constant(number.getValue());
  if (isElement(scalar))
    return frontends.constants.rangeOf(scalar->access.tensor);
  if (scalar->kind != Scalar::Kind::operation)
    return ConstantIntRanges::maxRange(width);
  SmallVector<ConstantIntRanges> operands;
  for (Scalar *operand : scalar->operands)
    operands.push_back(rangeOf(operand));
  return inferRange(scalar->op, operands);
}

bool Raiser::readsCodes(Scalar *scalar) {
  bool reads = false;
  walk(scalar, [&](Scalar *s) {
    reads |= isElement(s) && s->access.tensor == codes->access.tensor;
  });
  return reads;
}

/// Reads an integer that a conversion or a difference takes; declines if its sign is
/// not clear.
LogicalResult Raiser::readInteger(Scalar *scalar, bool isSigned, Integer &result) {
  while (scalar->is("arith.extui") || scalar->is("arith.extsi")) {
    bool extendsSigned = scalar->is("arith.extsi");
    // A zero-extended value is the same read either way; a sign-extended one is not
    // when read as unsigned.
    if (extendsSigned && !isSigned)
      return decline(
          "signedness mismatch: a sign-extended integer is read as unsigned");
    isSigned = extendsSigned;
    scalar = scalar->operands[0];
  }
  // From 64 to 32 bits: a zero beyond 32 bits has no meaning.
  if (scalar->is("arith.trunci") && isElement(scalar->operands[0]) &&
      scalar->type.getIntOrFloatBitWidth() >= 32)
    scalar = scalar->operands[0];
  result.scalar = scalar;
  if (scalar->kind == Scalar::Kind::constant)
    result.constant = scalar->value;
  bool isClosed = true;
  walk(scalar, [&](Scalar *s) {
    isClosed &= isElement(s) || s->kind == Scalar::Kind::constant ||
                (s->kind == Scalar::Kind::operation && isa<IntegerType>(s->type));
  });
  if (!isClosed)
    return decline("an integer of the weight is computed from more than integers");
  ConstantIntRanges range = rangeOf(scalar);
  unsigned width = result.width() + 1;
  result.isReadSigned = isSigned;
  result.least = isSigned ? range.smin().sext(width) : range.umin().zext(width);
  result.most = isSigned ? range.smax().sext(width) : range.umax().zext(width);
  result.isSigned = result.least.isNegative();
  result.bits = result.isSigned ? std::max(result.least.getSignificantBits(),
                                           result.most.getSignificantBits())
                                : std::max(result.most.getActiveBits(), 1u);
  return success();
}

//===----------------------------------------------------------------------===//
// The weight
//===----------------------------------------------------------------------===//

/// Matches the conversion to float of the codes, or of the codes minus a zero.
LogicalResult Raiser::matchCodes(Scalar *conversion) {
  bool readSigned = conversion->is("arith.sitofp");
  Scalar *integer = conversion->operands[0];
  auto isCode = [&](Scalar *s) { return readsCodes(s); };
  if (integer->is("arith.addi")) {
    unsigned at = isCode(integer->operands[0]) ? 0 : 1;
    Scalar *other = integer->operands[1 - at];
    bool isPart = isCode(other);
    walk(other, [&](Scalar *s) {
      isPart |=
          isElement(s) &&
          cast<RankedTensorType>(s->access.tensor.getType()).getNumElements() ==
              cast<RankedTensorType>(codes->access.tensor.getType()).getNumElements();
    });
    if (!isPart)
      return decline("the zero is added where the form subtracts it");
  }
  if (!integer->is("arith.subi"))
    return readInteger(integer, readSigned, formula.codes);
  if (!readSigned)
    return decline("signedness mismatch: a difference of integers is read as unsigned");
  if (!isCode(integer->operands[0]))
    return decline("the codes are subtracted from the zero");
  Integer zero;
  if (failed(readInteger(integer->operands[0], true, formula.codes)) ||
      failed(readInteger(integer->operands[1], true, zero)))
    return failure();
  // Zeros of 32 and 64 bits are assumed to lie in the range of the codes, as f32 zeros
  // are.
  unsigned width = integer->type.getIntOrFloatBitWidth(), wide = width + 70;
  APInt low = zero.least.sext(wide), high = zero.most.sext(wide);
  if (zero.width() >= 32 && zero.bits == zero.width())
    low = high = APInt(wide, 0);
  APInt least = formula.codes.least.sext(wide) - high,
        most = formula.codes.most.sext(wide) - low;
  if (!least.isSignedIntN(width) || !most.isSignedIntN(width))
    return decline("the difference of code and zero may wrap around in i" +
                   Twine(width) + "; extend both to a wider integer first");
  formula.zero.factors = {integer->operands[1]};
  formula.zero.integer = zero;
  formula.difference = integer;
  return success();
}

/// Takes the difference of codes and an integer zero as the codes, so that there can be
/// another offset; declines, with `reason`, if there is no such difference.
LogicalResult Raiser::absorbZero(StringRef reason) {
  if (!formula.difference)
    return decline(reason);
  formula.zero = Component();
  return readInteger(std::exchange(formula.difference, nullptr), /*isSigned=*/true,
                     formula.codes);
}

/// Matches (q - zero) * scale - min.
LogicalResult Raiser::matchFormula(Scalar *scalar) {
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
  if (failed(matchFormula(inner)))
    return failure();
  if (isMul) {
    formula.scale.factors.push_back(other);
    if (formula.min)
      formula.min.factors.push_back(other);
    return success();
  }
  if (formula.min)
    return decline("more follows the min");
  if (!formula.scale) {
    if (isAdd)
      return decline("the zero is added where the form subtracts it");
    if (formula.zero && failed(absorbZero("the weight has two zeros")))
      return failure();
    formula.zero.factors = {other};
    return success();
  }
  if (formula.zero && failed(absorbZero("the weight has both a zero and a min")))
    return failure();
  formula.min.factors = {other};
  formula.min.negate = isAdd;
  return success();
}

//===----------------------------------------------------------------------===//
// The contraction
//===----------------------------------------------------------------------===//

/// Of two factors that are both computed from integers, the activations: each runs over
/// a parallel loop that the other does not, and the weight is constant, or else the
/// larger one, or else the one with the last dimension of `result`. Null if there are
/// not two.
static Scalar *findActivations(Scalar *product, const Loops &loops, AffineMap result,
                               ConstantEvaluator &constants) {
  struct Factor {
    Scalar *conversion;
    llvm::SmallBitVector parallel;
    bool isConstant = true, isLast = false;
    int64_t elements = 0;
    auto rank() const { return std::tuple(isConstant, elements, isLast); }
  };
  SmallVector<Factor> factors;
  walk(product, [&](Scalar *s) {
    if (!isConversion(s))
      return;
    Factor factor{s, llvm::SmallBitVector(unsigned(loops.kinds.size()))};
    bool reduces = false;
    for (auto [loop, kind] : llvm::enumerate(loops.kinds)) {
      bool depends = dependsOn(s, loop);
      reduces |= depends && kind == utils::IteratorType::reduction;
      factor.parallel[loop] =
          depends && kind == utils::IteratorType::parallel && loops.sizes[loop] != 1;
    }
    walk(s, [&](Scalar *part) {
      if (!isElement(part))
        return;
      auto type = cast<RankedTensorType>(part->access.tensor.getType());
      factor.isConstant &= constants.isConstant(part->access.tensor);
      if (type.hasStaticShape())
        factor.elements = std::max(factor.elements, type.getNumElements());
    });
    if (result.getNumResults())
      if (auto last = dyn_cast<AffineDimExpr>(result.getResults().back()))
        factor.isLast = dependsOn(s, last.getPosition());
    if (reduces)
      factors.push_back(factor);
  });
  auto areApart = [](const Factor &a, const Factor &b) {
    return a.parallel.test(b.parallel) && b.parallel.test(a.parallel);
  };
  // Codes and zeros of one weight are ranked as one.
  auto rankOf = [&](const Factor &a) {
    auto rank = a.rank();
    for (const Factor &b : factors)
      if (!areApart(a, b))
        rank = std::max(rank, b.rank());
    return rank;
  };
  for (const Factor &a : factors)
    for (const Factor &b : factors)
      if (areApart(a, b) && rankOf(a) < rankOf(b))
        return a.conversion;
  return nullptr;
}

/// Finds the codes, the largest tensor of integers; declines if two are as large.
LogicalResult Raiser::findCodes(Scalar *product) {
  Scalar *cut = nullptr;
  bool isDynamic = false;
  int64_t most = 0;
  Scalar *activations = findActivations(
      product, analysis.loops, op.getMatchingIndexingMap(op.getDpsInitOperand(0)),
      frontends.constants);
  auto visit = [&](auto &self, Scalar *s, function_ref<void(Scalar *)> function) {
    if (s == activations)
      return;
    function(s);
    for (Scalar *operand : s->operands)
      self(self, operand, function);
  };
  auto countOf = [](Scalar *s) {
    return cast<RankedTensorType>(s->access.tensor.getType()).getNumElements();
  };
  visit(visit, product, [&](Scalar *s) {
    if (s->kind == Scalar::Kind::slice && hasConversion(s))
      cut = s;
    if (!isElement(s) || isPosition(s) || !isa<IntegerType>(s->type))
      return;
    if (!cast<RankedTensorType>(s->access.tensor.getType()).hasStaticShape())
      isDynamic = true;
    else if (countOf(s) > most)
      most = countOf(s), codes = s;
  });
  if (cut && isa<tensor::PadOp>(cut->op))
    return decline(
        "the weight is padded after it is dequantized; pad the codes and the "
        "scales instead, or cut x");
  if (cut)
    return decline(
        "the weight is a slice of the dequantized value, at an offset that is "
        "known only at run time (a slice for each expert?); slice the codes, "
        "the scales and the zeros, and dequantize what is left");
  if (isDynamic)
    return decline(
        "the group is not constant: the shape of the codes or zeros is known "
        "only at run time");
  if (!codes)
    return decline("the codes are not elements of a tensor");
  if (auto sums = codes->access.tensor.getDefiningOp<linalg::LinalgOp>();
      sums && sums.getNumReductionLoops()) {
    partial.push_back(sums);
    return decline("the sums are of integers, which are scaled afterwards: the "
                   "activations are quantized already; dequantize them before the "
                   "product, a linear quantizes them itself");
  }
  // Others of that size have to be parts of the same code.
  Scalar *whole = nullptr;
  walk(product, [&](Scalar *s) {
    if (isConversion(s) && readsCodes(s))
      whole = s->operands[0];
  });
  if (whole && whole->is("arith.subi"))
    whole = whole->operands[readsCodes(whole->operands[0]) ? 0 : 1];
  codeTree = whole ? whole : codes;
  int64_t inside = 0, all = 0;
  auto count = [&](int64_t &number) {
    return [&](Scalar *s) {
      number += isElement(s) && !isPosition(s) && isa<IntegerType>(s->type) &&
                countOf(s) == most;
    };
  };
  visit(visit, product, count(all));
  if (whole)
    walk(whole, count(inside));
  if (inside != all)
    return decline("two integer tensors of the same size: which has the codes is not "
                   "clear (a zero for each code?)");
  return success();
}

/// Splits a product into the factor with the codes, `rest`, and the others.
LogicalResult Raiser::splitProduct(Scalar *scalar, SmallVectorImpl<Scalar *> &others,
                                   Scalar *&rest) {
  Scalar *inner = skip(scalar, {"arith.extf"});
  if (inner->kind == Scalar::Kind::sum) {
    if (inner->isShared || scalar->isShared)
      return decline("the partial sums have another user");
    partial.push_back(inner->op);
    inner = skip(inner->operands[0], {"arith.extf"});
    if (inner->is("arith.truncf"))
      return decline("the accumulator is narrower than the input: the products are "
                     "rounded before the sum");
  }
  if (!inner->is("arith.mulf")) {
    rest = inner;
    return success();
  }
  unsigned at = readsCodes(inner->operands[0]) ? 0 : 1;
  if (readsCodes(inner->operands[1 - at]))
    return decline("the codes are in both factors");
  if (inner->isShared)
    return decline("the dequantized value has another user");
  // A factor that the body computes may be a product itself.
  auto addFactors = [&](auto &self, Scalar *factor) -> void {
    if (!factor->is("arith.mulf") || factor->access.tensor)
      return others.push_back(factor);
    for (Scalar *operand : factor->operands)
      self(self, operand);
  };
  addFactors(addFactors, inner->operands[1 - at]);
  return splitProduct(inner->operands[at], others, rest);
}

/// Sets x to the product of `factors`: an element behind widening, or a value that a
/// tensor holds already; otherwise a new tensor is made to hold it.
LogicalResult Raiser::matchActivations(ArrayRef<Scalar *> factors) {
  Scalar *activation = factors.front();
  if (activation->is("arith.truncf") && !activation->access.tensor)
    return decline("the accumulator is narrower than the input, which is rounded "
                   "before the product");
  Scalar *inner = skip(activation, {"arith.extf"});
  // Computed elsewhere: the tensor nearest to the computation that holds it.
  Scalar *holder = nullptr;
  for (Scalar *s = activation;; s = s->operands[0]) {
    if (s->access.tensor)
      holder = s;
    if (s == inner)
      break;
  }
  if (factors.size() == 1 && holder && isFloat(holder->type)) {
    x = holder;
    return success();
  }
  x = computeActivations(factors);
  if (!x)
    return decline("the other factor is not computed by arith from tensors to f32, f16 "
                   "or bf16");
  return success();
}

LogicalResult Raiser::match(bool seeSums) {
  if (!op.hasPureTensorSemantics() || op->getNumResults() != 1 ||
      op.getNumReductionLoops() == 0 ||
      op.getNumReductionLoops() + op.getNumParallelLoops() != op.getNumLoops())
    return failure();
  Scalar *root = analysis.analyseBody(op, seeSums);
  if (!root)
    return failure();
  if (seeSums != (analysis.loops.kinds.size() > op.getNumLoops()))
    return failure();
  if (hasConversion(root) && op.getNumDpsInputs() < 2)
    return failure(); // a sum of integers
  if (!hasConversion(root)) {
    // A known dequantization that could not be read?
    walk(root, [&](Scalar *s) {
      if (isElement(s))
        if (StringRef reason = frontends.whyNot(s->access.tensor); !reason.empty())
          why = reason.str();
    });
    return failure();
  }

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
  if (seeSums) {
    // There must be one sum, and everything quantized must be inside it.
    unsigned sums = 0, inside = 0, all = 0;
    walk(product, [&](Scalar *s) {
      all += isConversion(s);
      if (s->kind == Scalar::Kind::sum && sums++ == 0)
        walk(s, [&](Scalar *part) { inside += isConversion(part); });
    });
    if (sums != 1 || inside != all || failed(findCodes(product))) {
      why.clear();
      return failure();
    }
  } else if (failed(findCodes(product))) {
    return failure();
  }

  SmallVector<Scalar *> others;
  Scalar *rest = nullptr;
  if (failed(splitProduct(product, others, rest)))
    return failure();
  // x is what depends on all of k, and not on n.
  unsigned numLoops = analysis.loops.kinds.size();
  auto countLoops = [&](Scalar *s, bool ofK) {
    unsigned count = 0;
    for (auto [loop, kind] : llvm::enumerate(analysis.loops.kinds))
      if (kind == utils::IteratorType::reduction ? ofK
                                                 : !ofK && dependsOn(codeTree, loop))
        count += dependsOn(s, loop);
    return count;
  };
  Scalar *activation = nullptr;
  for (Scalar *other : others) {
    auto rank = [&](Scalar *s) {
      return std::pair(countLoops(s, true), -int(countLoops(s, false)));
    };
    if (!activation || rank(other) > rank(activation))
      activation = other;
  }
  if (seeSums) {
    // Sums over the groups of sums in the groups; anything else is two linears.
    for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
      if (analysis.loops.kinds[loop] == utils::IteratorType::reduction &&
          (!activation || !dependsOn(activation, loop) || !dependsOn(codeTree, loop)))
        return failure();
  }
  if (!activation || countLoops(activation, true) == 0)
    return decline("the body is not a sum of products of a weight and an x along k");
  if (failed(matchFormula(rest)))
    return failure();
  // A factor that runs over rows, and not over N, scales x.
  SmallVector<Scalar *> factors = {activation};
  for (Scalar *other : others) {
    if (other == activation)
      continue;
    if (countLoops(other, false) == 0 &&
        llvm::any_of(llvm::seq(numLoops), [&](unsigned loop) {
          return analysis.loops.kinds[loop] == utils::IteratorType::parallel &&
                 dependsOn(other, loop);
        })) {
      factors.push_back(other);
      continue;
    }
    formula.scale.factors.push_back(other);
    if (formula.min)
      formula.min.factors.push_back(other);
  }
  if (failed(matchActivations(factors)))
    return failure();

  Type accumulator = root->type;
  if (!isFloat(accumulator))
    return decline("the accumulator is not f32, f16 or bf16");
  auto isNarrow = [&](Type type) {
    return type.getIntOrFloatBitWidth() < x->type.getIntOrFloatBitWidth();
  };
  bool partIsNarrow = llvm::any_of(partial, [&](Operation *part) {
    return isNarrow(getElementTypeOrSelf(part->getResult(0).getType()));
  });
  if (isNarrow(accumulator) || partIsNarrow)
    return decline("the accumulator is narrower than the input");
  if (failed(matchIndices()) || failed(matchEncoding()))
    return failure();
  // Steps that cannot be read as a matrix decline, though the scales could be computed.
  return success(why.empty());
}
