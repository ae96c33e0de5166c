//===- Tail.h - Elementwise operations behind a linear ----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_TAIL_H
#define QLINEAR_LIB_TRANSFORMS_TAIL_H

#include "qlinear/Dialect/QLinear.h"

#include "mlir/IR/Dominance.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::qlinear {

/// A tensor as scalar code sees it: a constant, or an element of `tensor`, which is
/// M x N, or N and the same for all rows.
struct ScalarSource {
  TypedAttr constant;
  Value tensor;
};

/// What `value`, an M x N tensor, is for scalar code.
ScalarSource sourceOf(Value value);
/// The tensors that scalar code reads, in order.
SmallVector<Value> inputsOf(Operation *op);
/// Why `op` is not one element of each input to one of each result; "" if it is.
std::string whyNotElementwise(Operation *op);
/// Appends the scalar code of `op`, given the elements of its inputs, and maps its
/// results to their elements.
void emitScalars(OpBuilder &builder, Operation *op, ValueRange elements,
                 IRMapping &scalars);

/// Moves the elementwise operation that alone reads the result of `norm` into its
/// epilogue. Null if there is none that can move.
NormOp fuseIntoNorm(IRRewriter &rewriter, NormOp norm, DominanceInfo &dominance);

/// What computes from a linear's results, element by element, and can move into its
/// epilogue. A result whose users all move is not stored any more; any other stays a
/// result.
class Tail {
public:
  /// The tail of `linear`. With `shareInput` unset it stops where another linear on the
  /// same input comes in: the two are to be merged first.
  Tail(LinearOp linear, DominanceInfo &dominance, bool shareInput = true);

  explicit operator bool() const { return !ops.empty(); }
  /// Why operations that use a result stay; in the order of the results' users.
  const llvm::MapVector<Operation *, std::string> &reasons() const { return declined; }
  ArrayRef<Operation *> operations() const { return ops; }

  /// Replaces the linear and its tail by one linear.
  LinearOp fuse(IRRewriter &rewriter);

private:
  /// Adds `op` and the operations that it depends on to `needed`, or says why not.
  std::string require(Operation *op, llvm::SetVector<Operation *> &needed);
  std::string requireInput(Value input, const ScalarSource &source,
                           llvm::SetVector<Operation *> &needed);
  /// Whether a value is computed from what `isRoot` finds.
  bool comesFrom(Value value, llvm::function_ref<bool(Operation *)> isRoot);
  bool isRows(Type type) const;
  std::string choosePlace();
  bool isSize(Operation *user);
  void replaceSizes(RewriterBase &rewriter, Value value);

  LinearOp linear;
  DominanceInfo &dominance;
  bool shareInput;
  SmallVector<Operation *> ops;
  SmallVector<Value> outputs; ///< of `ops` or the linear, used elsewhere
  SmallVector<Value> extras;  ///< the linear's, then what else is read
  Operation *place = nullptr; ///< the fused linear comes before it
  llvm::MapVector<Operation *, std::string> declined;
};

/// Appends the elements that `linear` yields, computed from `products` and `extras`,
/// to the block that `builder` points into.
SmallVector<Value> inlineEpilogue(OpBuilder &builder, LinearOp linear,
                                  ValueRange products, ValueRange extras);

/// A new linear on `x` with the attributes of `like` and an epilogue block whose
/// arguments fit `weights` and `extras`; the block is still empty.
LinearOp createWithBlock(OpBuilder &builder, Location loc, TypeRange results, Value x,
                         ValueRange weights, ValueRange extras, LinearOp like);

bool haveSameN(ValueRange weights);

/// Whether `value` can be made to dominate `op` by moving chains of pure definitions
/// without regions up; with `move`, does so.
bool hoistBefore(Value value, Operation *op, DominanceInfo &dominance, bool move);

} // namespace mlir::qlinear
#endif
