//===- RaiseAnalysis.h - Scalars of linalg operations, for raising --------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What qlinear-raise knows about the body of a linalg operation: the scalar that
// one iteration computes, as a tree of arith operations whose leaves are elements
// of tensors. Elementwise producers, transposes, broadcasts and reshapes are seen
// through, so fused and unfused forms give the same tree.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_RAISE_RAISEANALYSIS_H
#define QLINEAR_LIB_TRANSFORMS_RAISE_RAISEANALYSIS_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"

#include <deque>
#include <optional>

namespace mlir::qlinear {
class ConstantEvaluator;
class Frontends;

/// An element of a tensor: its indices are functions of the loops of the operation
/// under analysis.
struct Access {
  Value tensor;
  AffineMap map;
};

/// A scalar of one iteration.
struct Scalar {
  enum class Kind {
    operation,   ///< `op` of `operands`
    element,     ///< an element of a tensor that is not seen through
    constant,    ///< `value`
    accumulator, ///< the element of the result, before this iteration
    slice,       ///< an element of a padding, or of a slice at offsets that are not
                 ///< constant, of operands[0]'s tensor
    sum,         ///< of operands[0] over the loops of `op` that are reductions
  };
  Kind kind;
  Type type;
  Operation *op = nullptr; ///< of a position, the linalg.index
  SmallVector<Scalar *, 2> operands;
  TypedAttr value;
  /// Where the scalar lies in memory: the element; for an operation the tensor that
  /// it was computed into, null if it is computed in the body only.
  Access access;
  /// Of an element: the tensors between it and the operation, the innermost first.
  SmallVector<Access, 1> views;
  /// Whether a tensor that holds this scalar has more than one use.
  bool isShared = false;

  /// Of an operation: the name of `op`, or of the part of `op` that this scalar stands
  /// for (math.fma is two).
  StringRef name;

  bool is(StringRef other) const { return name == other; }
};

/// Visits `scalar`, then its operands.
void walk(Scalar *scalar, function_ref<void(Scalar *)> visit);
inline bool isElement(const Scalar *scalar) {
  return scalar->kind == Scalar::Kind::element;
}
/// The index of a loop, as an element of a constant that was made for it.
inline bool isPosition(const Scalar *scalar) { return isElement(scalar) && scalar->op; }
/// From an integer to a float, unless the integer is computed from positions only.
bool isConversion(const Scalar *scalar);
/// Whether anything in the tree is read with this loop.
bool dependsOn(Scalar *scalar, unsigned loop);
/// Whether there is a conversion in the tree.
bool hasConversion(Scalar *scalar);

/// Whether the trees are made of such operations.
bool isScalarOperation(Operation *op);

/// Why a contraction of a quantized weight is left alone, if it is no sum of products
/// that are understood; else "".
std::string explainUnmatched(linalg::LinalgOp op);

/// The loops of an operation, followed by the loops of the sums inside it.
struct Loops {
  SmallVector<utils::IteratorType> kinds;
  SmallVector<int64_t> sizes;
};

/// Dimensions of the maps of accesses: the loops, with room for the loops of sums.
inline constexpr unsigned kMaxLoops = 16;

/// Elements of the constant of a position.
inline constexpr int64_t kMaxPositions = int64_t(1) << 20;

/// Builds the trees; owns them.
class ScalarAnalysis {
public:
  ScalarAnalysis(Frontends &frontends, ConstantEvaluator &constants)
      : frontends(frontends), constants(constants) {}

  /// The value that the body of `op`, which has one result, yields; null if
  /// it does more than arith. With `seeSums` a contraction that `op` reads is a sum.
  Scalar *analyseBody(linalg::LinalgOp op, bool seeSums);

  /// An element that is a leaf: its tensor is not seen through.
  Scalar *makeElement(Value tensor, AffineMap map);

  Loops loops;

private:
  Scalar *make(Scalar::Kind kind, Type type);
  Scalar *makeOperation(Operation *op, StringRef name, ArrayRef<Scalar *> operands);
  Scalar *constantOf(Value value);
  Scalar *elementOf(Value tensor, AffineMap map);
  Scalar *positionOf(linalg::IndexOp index, IntegerType type, linalg::LinalgOp op,
                     AffineMap toLoops);
  Scalar *scalarOf(Value value, linalg::LinalgOp op, AffineMap toLoops,
                   bool hasAccumulator);
  Scalar *seeThrough(Value tensor, AffineMap map);
  Scalar *sumOf(linalg::LinalgOp op, AffineMap map);
  bool isLeaf(Value tensor);

  Frontends &frontends;
  ConstantEvaluator &constants;
  bool seeSums = false;
  std::deque<Scalar> scalars;
};

/// One digit of an index in mixed radix: (index floordiv stride) mod size.
/// `dim` is the index; none for the constant 0, whose size is 1.
struct Digit {
  std::optional<unsigned> dim;
  int64_t stride = 1, size = 1;
};

/// Stands for the size of each of `count` unknown dimensions: a prime, so that it is a
/// multiple of no known size, and larger than most; 0 for too many dimensions.
inline int64_t unknownSize(unsigned count) {
  return count <= 2   ? (int64_t(1) << 24) - 3
         : count == 3 ? (int64_t(1) << 17) - 1
         : count == 4 ? (int64_t(1) << 13) - 1
                      : 0;
}

/// The digit that `expr` is, for indices (dimensions) of these sizes.
std::optional<Digit> getDigit(AffineExpr expr, ArrayRef<int64_t> sizes);

} // namespace mlir::qlinear
#endif
