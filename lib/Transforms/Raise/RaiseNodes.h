//===- RaiseNodes.h - What computes a scalar, seen through ------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The scalars that elementwise operations compute of elements of tensors, in as many
// operations as a frontend makes of it: elementwise operations are seen through, and so
// are unit dimensions and broadcasts. For patterns of floats between linears.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_RAISE_RAISENODES_H
#define QLINEAR_LIB_TRANSFORMS_RAISE_RAISENODES_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

#include <optional>
#include <string>

namespace mlir::qlinear {

/// A scalar in terms of the loops of the operation that is looked at: in the body of
/// `in`, whose loops are functions of these; or an element of a tensor at `map`, if
/// `in` is null.
struct Node {
  Value value;
  AffineMap map;
  linalg::LinalgOp in;

  explicit operator bool() const { return bool(value); }
  bool isElement() const { return !in; }
};

/// Whether it computes one tensor, each element by itself.
bool isElementwise(linalg::LinalgOp op);

/// One step towards what computes a node; nothing if it is that, or a leaf.
std::optional<Node> stepInto(Node node);
/// What computes a node: an operation in a body or on tensors, a reduction, or none.
Node resolve(Node node);
/// The operation that computes a resolved node, or null, and its operands.
Operation *operationOf(Node node);
Node operandOf(Node node, unsigned i);

/// The node, if an operation of this kind computes it.
template <typename... Ops> std::optional<Node> matchNode(Node node) {
  node = resolve(node);
  Operation *op = operationOf(node);
  return op && isa<Ops...>(op) ? std::optional(node) : std::nullopt;
}

/// An element of a tensor at indices that are the first loops, of `count` dimensions in
/// all.
inline Node elementAtLoops(Value tensor, unsigned count) {
  unsigned rank = unsigned(cast<RankedTensorType>(tensor.getType()).getRank());
  return {tensor,
          AffineMap::getMultiDimIdentityMap(count, tensor.getContext())
              .getMajorSubMap(rank),
          {}};
}

/// The constant that a node is everywhere.
std::optional<double> constantOf(Node node);

/// `node` is the product (sum) of a constant and something else.
template <typename Op>
std::optional<std::pair<Node, double>> matchWithConstant(Node node) {
  std::optional<Node> op = matchNode<Op>(node);
  for (unsigned i = 0; op && i < 2; ++i)
    if (std::optional<double> constant = constantOf(operandOf(*op, i)))
      return std::pair(operandOf(*op, 1 - i), *constant);
  return std::nullopt;
}

/// The tensors that a node is an element of, the nearest first: the last may be of a
/// narrower type, which is only extended.
SmallVector<Node> elementsOf(Node node);

/// A type as text.
std::string spellOf(Type type);

/// Replaces `scalar`, which the body of `op` computes in each iteration, by the element
/// of a tensor of the shape of the result: what else the body computes of it stays. Then
/// erases what is not used any more.
void replaceScalar(linalg::GenericOp op, Operation &scalar, Value tensor);

} // namespace mlir::qlinear
#endif
