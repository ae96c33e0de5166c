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
#include "mlir/IR/Matchers.h"

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

/// Whether anything in the tree is read with this loop.
static bool dependsOn(Scalar *scalar, unsigned loop) {
  bool depends = false;
  walk(scalar, [&](Scalar *s) {
    depends |= isElement(s) && s->access.map.isFunctionOfDim(loop);
  });
  return depends;
}

/// Bits that an unsigned value takes; the width of its type if nothing is known.
static unsigned getKnownBits(const Scalar *scalar) {
  unsigned width = scalar->type.getIntOrFloatBitWidth();
  auto operand = [&](unsigned i) { return getKnownBits(scalar->operands[i]); };
  auto constant = [&]() -> std::optional<uint64_t> {
    const Scalar *s = scalar->operands[1];
    auto value = dyn_cast_or_null<IntegerAttr>(s->value);
    return value ? std::optional(value.getValue().getZExtValue()) : std::nullopt;
  };
  unsigned bits = width;
  if (scalar->kind == Scalar::Kind::constant)
    bits = cast<IntegerAttr>(scalar->value).getValue().getActiveBits();
  else if (scalar->is("arith.extui") || scalar->is("arith.trunci"))
    bits = operand(0);
  else if (scalar->is("arith.ori") || scalar->is("arith.xori"))
    bits = std::max(operand(0), operand(1));
  else if (scalar->is("arith.andi"))
    bits = std::min(operand(0), operand(1));
  else if (scalar->is("arith.addi"))
    bits = std::max(operand(0), operand(1)) + 1;
  else if (scalar->is("arith.muli"))
    bits = operand(0) + operand(1);
  else if (auto by = scalar->is("arith.shli") ? constant() : std::nullopt)
    bits = operand(0) + unsigned(std::min<uint64_t>(*by, width));
  else if (auto by = scalar->is("arith.shrui") ? constant() : std::nullopt)
    bits = operand(0) - unsigned(std::min<uint64_t>(*by, operand(0)));
  return std::min(bits, width);
}

bool Raiser::readsCodes(Scalar *scalar) {
  bool reads = false;
  walk(scalar, [&](Scalar *s) {
    reads |= isElement(s) && s->access.tensor == codes->access.tensor;
  });
  return reads;
}

/// Reads an integer that a conversion or a difference takes; true (with a reason) if
/// its sign is not clear.
bool Raiser::readInteger(Scalar *scalar, bool isSigned, Integer &result) {
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
  // From 64 to 32 bits: a zero that is beyond has no meaning.
  if (scalar->is("arith.trunci") && isElement(scalar->operands[0]) &&
      scalar->type.getIntOrFloatBitWidth() >= 32)
    scalar = scalar->operands[0];
  result.scalar = scalar;
  result.isSigned = isSigned;
  result.bits = scalar->type.getIntOrFloatBitWidth();
  if (scalar->kind == Scalar::Kind::constant) {
    result.constant = scalar->value;
    return false;
  }
  if (result.isHeld())
    return false;
  bool isClosed = true;
  walk(scalar, [&](Scalar *s) {
    isClosed &= isElement(s) || s->kind == Scalar::Kind::constant ||
                (s->kind == Scalar::Kind::operation && isa<IntegerType>(s->type));
  });
  if (!isClosed)
    return decline("an integer of the weight is computed from more than integers");
  unsigned known = getKnownBits(scalar);
  if (isSigned && known == result.bits)
    return decline("signedness mismatch: an integer of " + Twine(known) +
                   " bits is put together from parts, and then read as signed");
  result.bits = known;
  result.isSigned = false;
  return false;
}

//===----------------------------------------------------------------------===//
// The weight
//===----------------------------------------------------------------------===//

/// What is computed from codes and, perhaps, a zero.
bool Raiser::matchCodes(Scalar *conversion) {
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
  if (readInteger(integer->operands[0], true, formula.codes) ||
      readInteger(integer->operands[1], true, zero))
    return true;
  // The difference of two values below 2^b has b + 2 bits with its sign. Zeros of 32
  // and 64 bits are taken to be those of their codes, as f32 zeros are.
  auto bitsOf = [](const Integer &i) {
    return i.constant ? cast<IntegerAttr>(i.constant).getValue().getSignificantBits()
                      : i.bits;
  };
  unsigned width = integer->type.getIntOrFloatBitWidth(), zeroBits = bitsOf(zero);
  if (zeroBits >= 32 && !zero.constant)
    zeroBits = 0;
  if (std::max(bitsOf(formula.codes), zeroBits) + 2 > width)
    return decline("the difference of code and zero may wrap around in i" +
                   Twine(width) + "; extend both to a wider integer first");
  formula.zero.factors = {integer->operands[1]};
  formula.zero.integer = zero;
  return false;
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
  if (isMul) {
    formula.scale.factors.push_back(other);
    if (formula.min)
      formula.min.factors.push_back(other);
    return false;
  }
  if (formula.min)
    return decline("more follows the min");
  if (!formula.scale) {
    if (isAdd)
      return decline("the zero is added where the form subtracts it");
    if (formula.zero)
      return decline("the weight has two zeros");
    formula.zero.factors = {other};
    return false;
  }
  if (formula.zero)
    return decline("the weight has both a zero and a min");
  formula.min.factors = {other};
  formula.min.negate = isAdd;
  return false;
}

//===----------------------------------------------------------------------===//
// The contraction
//===----------------------------------------------------------------------===//

/// The codes are the largest tensor of integers; true (with a reason) if that does not
/// say which.
bool Raiser::findCodes(Scalar *product) {
  bool isPadded = false, isDynamic = false;
  int64_t most = 0;
  auto countOf = [](Scalar *s) {
    return cast<RankedTensorType>(s->access.tensor.getType()).getNumElements();
  };
  walk(product, [&](Scalar *s) {
    isPadded |= s->kind == Scalar::Kind::slice && hasConversion(s);
    if (!isElement(s) || !isa<IntegerType>(s->type))
      return;
    if (!cast<RankedTensorType>(s->access.tensor.getType()).hasStaticShape())
      isDynamic = true;
    else if (countOf(s) > most)
      most = countOf(s), codes = s;
  });
  if (isPadded)
    return decline("padded last block: the weight is a slice of the dequantized value");
  if (isDynamic)
    return decline(
        "the group is not constant: the shape of the codes or zeros is known "
        "only at run time");
  if (!codes)
    return decline("the codes are not elements of a tensor");
  // Others of that size have to be parts of the same code.
  Scalar *whole = nullptr;
  walk(product, [&](Scalar *s) {
    if (isConversion(s) && readsCodes(s))
      whole = s->operands[0];
  });
  if (whole && whole->is("arith.subi"))
    whole = whole->operands[readsCodes(whole->operands[0]) ? 0 : 1];
  int64_t inside = 0, all = 0;
  auto count = [&](int64_t &number) {
    return [&](Scalar *s) {
      number += isElement(s) && isa<IntegerType>(s->type) && countOf(s) == most;
    };
  };
  walk(product, count(all));
  if (whole)
    walk(whole, count(inside));
  return inside != all &&
         decline("two integer tensors of the same size: which has the codes is not "
                 "clear (a zero for each code?)");
}

/// Splits a product into the factor with the codes, `rest`, and the others. True (with
/// a reason) if it cannot.
bool Raiser::splitProduct(Scalar *scalar, SmallVectorImpl<Scalar *> &others,
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
    return false;
  }
  unsigned at = readsCodes(inner->operands[0]) ? 0 : 1;
  if (readsCodes(inner->operands[1 - at]))
    return decline("the codes are in both factors");
  if (inner->isShared)
    return decline("the dequantized value has another user");
  others.push_back(inner->operands[1 - at]);
  return splitProduct(inner->operands[at], others, rest);
}

/// An element behind widening, or what was computed into a tensor.
bool Raiser::matchActivations(Scalar *activation) {
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
  if (!holder || !isFloat(holder->type))
    return decline("the other factor is not a tensor of f32, f16 or bf16 that is only "
                   "widened");
  x = holder;
  return false;
}

bool Raiser::match(bool seeSums) {
  if (!op.hasPureTensorSemantics() || op->getNumResults() != 1 ||
      op.getNumReductionLoops() == 0 ||
      op.getNumReductionLoops() + op.getNumParallelLoops() != op.getNumLoops())
    return false;
  Scalar *root = analysis.analyseBody(op, seeSums);
  if (!root)
    return false;
  if (seeSums != (analysis.loops.kinds.size() > op.getNumLoops()))
    return false;
  if (!hasConversion(root)) {
    // A dequantization that is known, but could not be read?
    walk(root, [&](Scalar *s) {
      if (isElement(s))
        if (StringRef reason = frontends.whyNot(s->access.tensor); !reason.empty())
          why = reason.str();
    });
    return !why.empty();
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
    // One sum, which has all that is quantized.
    unsigned sums = 0, inside = 0, all = 0;
    walk(product, [&](Scalar *s) {
      all += isConversion(s);
      if (s->kind == Scalar::Kind::sum && sums++ == 0)
        walk(s, [&](Scalar *part) { inside += isConversion(part); });
    });
    if (sums != 1 || inside != all || findCodes(product)) {
      why.clear();
      return false;
    }
  } else if (findCodes(product)) {
    return true;
  }

  SmallVector<Scalar *> others;
  Scalar *rest = nullptr;
  if (splitProduct(product, others, rest))
    return true;
  // x is what depends on all of k, and not on n.
  auto countLoops = [&](Scalar *s, bool ofK) {
    unsigned count = 0;
    for (auto [loop, kind] : llvm::enumerate(analysis.loops.kinds))
      if (kind == utils::IteratorType::reduction
              ? ofK
              : !ofK && codes->access.map.isFunctionOfDim(loop))
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
    // Sums over groups of what is summed up in the groups; all else is two linears.
    for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
      if (analysis.loops.kinds[loop] == utils::IteratorType::reduction &&
          (!activation || !dependsOn(activation, loop) ||
           !codes->access.map.isFunctionOfDim(loop)))
        return false;
  }
  if (!activation || countLoops(activation, true) == 0)
    return decline("the body is not a sum of products of a weight and an x along k");
  if (matchFormula(rest))
    return true;
  for (Scalar *other : others) {
    if (other == activation)
      continue;
    formula.scale.factors.push_back(other);
    if (formula.min)
      formula.min.factors.push_back(other);
  }
  if (matchActivations(activation))
    return true;

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
  return matchIndices() || matchEncoding() || true;
}
