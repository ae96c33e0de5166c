//===- Raiser.h - One linear on a dequantized weight -----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_RAISER_H
#define QLINEAR_LIB_TRANSFORMS_RAISER_H

#include "RaiseAnalysis.h"

#include "qlinear/Dialect/QLinear.h"

namespace mlir::qlinear {

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

/// A contraction that may be a linear on a quantized weight.
class Raiser {
public:
  explicit Raiser(linalg::LinalgOp op) : op(op), context(op.getContext()) {}

  /// Fills in everything; false where `op` has no quantized weight. If `why` is set,
  /// it has one, but cannot be raised.
  bool match();

  /// Creates what replaces the result, before the builder's insertion point.
  Value rewrite(OpBuilder &b);

  std::string encodingSpelling() const { return encoding.str(); }

  /// Why it stays, if it does.
  std::string why;

private:
  // All the matchers return true, with a reason, if they decline.
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
                  const std::optional<Matrix> &matrix,
                  const ::qlinear::MetaStorage &storage);

  linalg::LinalgOp op;
  MLIRContext *context;
  ScalarAnalysis analysis;
  Scalar *codes = nullptr;
  Formula formula;
  Component x;
  Indices indices;
  std::optional<Matrix> xMatrix, codeMatrix, scaleMatrix, offsetMatrix;
  int64_t group = 0;
  ::qlinear::Encoding encoding;
};

} // namespace mlir::qlinear
#endif
