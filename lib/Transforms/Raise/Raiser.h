//===- Raiser.h - One linear on a dequantized weight -----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_RAISE_RAISER_H
#define QLINEAR_LIB_TRANSFORMS_RAISE_RAISER_H

#include "RaiseFrontends.h"

#include "qlinear/Dialect/QLinear.h"

namespace mlir::qlinear {

/// How to reshape a tensor to a matrix whose rows are one index and columns another.
struct Matrix {
  Value tensor;
  SmallVector<int64_t> permutation;
  int64_t rowDims = 0; ///< the first dimensions after the permutation
  int64_t rowStride = 1, columnStride = 1;
  bool hasRows = false, hasColumns = false;
};

/// An integer: an element of a tensor, a constant, or computed from several of them.
struct Integer {
  Scalar *scalar = nullptr;
  TypedAttr constant; ///< if it is one
  /// How it is read, and the values that it can have then.
  bool isReadSigned = false;
  APInt least, most; ///< with a bit more than its type
  /// The fewest bits for them, and whether with a sign.
  unsigned bits = 0;
  bool isSigned = false;

  explicit operator bool() const { return scalar; }
  /// Whether a tensor has it.
  bool isHeld() const { return scalar->access.tensor != nullptr; }
  unsigned width() const { return scalar->type.getIntOrFloatBitWidth(); }
};

/// Scales, zeros or mins: the product of factors, and how it is stored.
struct Component {
  SmallVector<Scalar *, 2> factors;
  bool negate = false;
  StringRef name;

  enum class Kind {
    constant, ///< `constant` everywhere
    matrix,   ///< the elements of `matrix`
    integer,  ///< `integer`, perhaps with a step
    computed, ///< the factors, in f32
  };
  Kind kind = Kind::constant;
  TypedAttr constant;
  std::optional<Matrix> matrix, step;
  Integer integer;
  int64_t stride = 0; ///< consecutive weights of a row that share it; 0: all
  ::qlinear::MetaStorage storage;

  explicit operator bool() const { return !factors.empty(); }
};

/// The arithmetic of a weight: (q - zero) * scale - min.
struct Formula {
  Integer codes;
  Component scale, zero, min;
  /// Codes minus zero, if that is a difference of integers.
  Scalar *difference = nullptr;
};

/// The indices of a linear, and of which loop which digit is.
struct Indices {
  enum : unsigned { M, N, K };
  int64_t sizes[3] = {1, 1, 1};
  int64_t unknownSize = 0;        ///< that stands for the sizes of M that are not known
  SmallVector<AffineExpr> loops;  ///< as functions of m, n and k
  SmallVector<unsigned> order[3]; ///< the loops of each, slowest first
};

/// A contraction that may be a linear on a quantized weight.
class Raiser {
public:
  Raiser(linalg::LinalgOp op, Frontends &frontends)
      : op(op), context(op.getContext()), frontends(frontends),
        analysis(frontends, frontends.constants) {}

  /// Fills in everything. Fails if `op` has no quantized weight, or, with `why` set, if
  /// it has one but cannot be raised. With `seeSums` the weight is that of partial sums
  /// that `op` scales and adds up.
  LogicalResult match(bool seeSums);

  /// Creates what replaces the result, before the builder's insertion point.
  Value rewrite(OpBuilder &b);

  std::string encodingSpelling() const { return encoding.str(); }

  /// Why it stays, if it does.
  std::string why;
  /// The contractions that are done together with `op`, or would be.
  SmallVector<Operation *> partial;
  /// Operations that were created and then evaluated.
  SmallVector<Operation *> folded;

private:
  // A matcher that fails has declined: `why` is the reason.
  LogicalResult decline(const Twine &reason) {
    why = reason.str();
    return failure();
  }
  // RaiseMatch.cpp
  LogicalResult findCodes(Scalar *product);
  LogicalResult splitProduct(Scalar *scalar, SmallVectorImpl<Scalar *> &others,
                             Scalar *&rest);
  LogicalResult matchActivations(ArrayRef<Scalar *> factors);
  LogicalResult matchFormula(Scalar *scalar);
  LogicalResult matchCodes(Scalar *conversion);
  LogicalResult absorbZero(StringRef reason);
  LogicalResult readInteger(Scalar *scalar, bool isSigned, Integer &result);
  ConstantIntRanges rangeOf(Scalar *scalar);
  bool readsCodes(Scalar *scalar);
  // RaiseIndices.cpp
  LogicalResult matchIndices();
  FailureOr<Matrix> getMatrix(const Access &access, unsigned row, unsigned column,
                              StringRef name);
  /// Of the tensor that has `scalar`, or a reshape of it.
  FailureOr<Matrix> getMatrix(const Scalar *scalar, unsigned row, unsigned column,
                              StringRef name);
  /// The largest s such that an element is read at an index that depends on `index`
  /// (of N or K) by its quotient with s only; 0 if it does not depend on it.
  int64_t strideOf(const Access &access, unsigned index);
  // RaiseEncoding.cpp
  LogicalResult matchCodeType();
  LogicalResult matchStride(Component &component);
  LogicalResult matchStorage(Component &component);
  bool isCoded(Component &component, ArrayRef<Scalar *> leaves);
  LogicalResult matchEncoding();
  // RaiseRewrite.cpp
  /// The element of a new tensor that is the product of the factors; null if it cannot
  /// be computed outside of the body.
  Scalar *computeActivations(ArrayRef<Scalar *> factors);
  Value build(OpBuilder &b, const Matrix &matrix);
  Value compute(OpBuilder &b, const Component &component, int64_t stride, Type element);
  Value buildIntegers(OpBuilder &b, const Component &component, int64_t stride,
                      unsigned bits, StringRef name);
  Value buildMeta(OpBuilder &b, const Component &component);
  Value buildStep(OpBuilder &b, const Component &component);
  Value buildResult(OpBuilder &b, Value y);
  Value fold(OpBuilder &b, Value tensor);

  linalg::LinalgOp op;
  MLIRContext *context;
  Frontends &frontends;
  ScalarAnalysis analysis;
  Scalar *codes = nullptr;    ///< the largest element that is an integer
  Scalar *codeTree = nullptr; ///< what is computed from it, if it is a part of the code
  Formula formula;
  Scalar *x = nullptr;
  Indices indices;
  std::optional<Matrix> xMatrix;
  int64_t group = 0; ///< 0: the whole row
  ::qlinear::Encoding encoding;
};

} // namespace mlir::qlinear
#endif
