//===- RaiseNorm.cpp - RMS norms in linalg --------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   v = sum x^2 / K + epsilon      n = x * rsqrt(v)   or   x / sqrt(v)
//   -> n = qlinear.norm rms x
//
// in as many operations as a frontend makes of it: elementwise operations are seen
// through, and so are unit dimensions and broadcasts; squares are products or powers,
// the mean is a quotient or a product. x has its columns last. Only the product (or
// quotient) is replaced: what else the operation computes of it (a scale, a rounding)
// stays, and qlinear-fuse moves it into the norm. All is in f32 from x on, which may be
// f16 or bf16: a norm whose sum or root is rounded to less is another function.
//
//===----------------------------------------------------------------------===//
#include "RaiseNorm.h"

#include "qlinear/Dialect/QLinear.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

#include <cmath>

using namespace mlir;
using namespace mlir::qlinear;

namespace {
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

bool isElementwise(linalg::LinalgOp op) {
  return op && op->getNumResults() == 1 && op.hasPureTensorSemantics() &&
         op.getNumParallelLoops() == op.getNumLoops() && !isa<linalg::FillOp>(*op) &&
         !op.payloadUsesValueFromOperand(op.getDpsInitOperand(0));
}

/// The element of what `def`, a reshape by dimensions of size 1, has reshaped.
std::optional<Node> throughReshape(Operation *def, AffineMap map) {
  auto walk = [&](ArrayRef<ReassociationIndices> groups, ArrayRef<int64_t> shape,
                  auto visit) {
    for (auto [i, group] : llvm::enumerate(groups)) {
      std::optional<int64_t> wide;
      for (int64_t dim : group)
        if (shape[dim] != 1) {
          if (wide)
            return false;
          wide = dim;
        }
      visit(i, wide, group);
    }
    return true;
  };
  MLIRContext *context = def->getContext();
  AffineExpr zero = getAffineConstantExpr(0, context);
  SmallVector<AffineExpr> indices;
  if (auto op = dyn_cast<tensor::ExpandShapeOp>(def)) {
    if (!walk(op.getReassociationIndices(), op.getResultType().getShape(),
              [&](size_t, std::optional<int64_t> wide, const auto &) {
                indices.push_back(wide ? map.getResult(*wide) : zero);
              }))
      return std::nullopt;
    return Node{op.getSrc(), AffineMap::get(map.getNumDims(), 0, indices, context), {}};
  }
  auto op = dyn_cast<tensor::CollapseShapeOp>(def);
  if (!op)
    return std::nullopt;
  indices.assign(op.getSrcType().getRank(), zero);
  if (!walk(op.getReassociationIndices(), op.getSrcType().getShape(),
            [&](size_t i, std::optional<int64_t> wide, const auto &) {
              if (wide)
                indices[*wide] = map.getResult(i);
            }))
    return std::nullopt;
  return Node{op.getSrc(), AffineMap::get(map.getNumDims(), 0, indices, context), {}};
}

/// One step towards what computes a node; nothing if it is that, or a leaf.
std::optional<Node> stepInto(Node node) {
  if (node.in) {
    auto argument = dyn_cast<BlockArgument>(node.value);
    if (!argument || argument.getOwner() != node.in.getBlock())
      return std::nullopt;
    OpOperand *operand = node.in.getMatchingOpOperand(argument);
    if (node.in.isDpsInit(operand) || !isa<RankedTensorType>(operand->get().getType()))
      return std::nullopt;
    return Node{
        operand->get(), node.in.getMatchingIndexingMap(operand).compose(node.map), {}};
  }
  Operation *def = node.value.getDefiningOp();
  if (!def)
    return std::nullopt;
  if (auto op = dyn_cast<linalg::LinalgOp>(def)) {
    if (!isElementwise(op))
      return std::nullopt;
    AffineMap result = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
    if (!result.isPermutation())
      return std::nullopt;
    return Node{op.getBlock()->getTerminator()->getOperand(0),
                inversePermutation(result).compose(node.map), op};
  }
  if (auto cast = dyn_cast<tensor::CastOp>(def))
    return Node{cast.getSource(), node.map, {}};
  return throughReshape(def, node.map);
}

/// What computes a node: an operation in a body or on tensors, a reduction, or none.
Node resolve(Node node) {
  while (std::optional<Node> next = stepInto(node))
    node = *next;
  return node;
}

Operation *operationOf(Node node) {
  Operation *def = node.value.getDefiningOp();
  if (!def || (node.in && def->getBlock() != node.in.getBlock()))
    return nullptr;
  return node.in || OpTrait::hasElementwiseMappableTraits(def) ? def : nullptr;
}

Node operandOf(Node node, unsigned i) {
  return {operationOf(node)->getOperand(i), node.map, node.in};
}

/// The node, if an operation of this kind computes it.
template <typename... Ops> std::optional<Node> match(Node node) {
  node = resolve(node);
  Operation *op = operationOf(node);
  return op && isa<Ops...>(op) ? std::optional(node) : std::nullopt;
}

/// The constant that a node is everywhere.
std::optional<double> constantOf(Node node) {
  node = resolve(node);
  Attribute value;
  if (node.in) {
    if (auto argument = dyn_cast<BlockArgument>(node.value);
        argument && argument.getOwner() == node.in.getBlock())
      node.value = node.in.getMatchingOpOperand(argument)->get();
  } else if (auto fill = node.value.getDefiningOp<linalg::FillOp>()) {
    node.value = fill.getInputs().front();
  } else if (auto splat = node.value.getDefiningOp<tensor::SplatOp>()) {
    node.value = splat.getInput();
  }
  // Numbers of columns and epsilons come as integers and in f64.
  if (Operation *def = node.value.getDefiningOp();
      def && isa<arith::SIToFPOp, arith::UIToFPOp, arith::TruncFOp, arith::ExtFOp,
                 arith::IndexCastOp>(def))
    return constantOf({def->getOperand(0), node.map, node.in});
  if (!matchPattern(node.value, m_Constant(&value)))
    return std::nullopt;
  if (auto dense = dyn_cast<DenseElementsAttr>(value)) {
    if (!dense.isSplat())
      return std::nullopt;
    value = dense.getSplatValue<Attribute>();
  }
  if (auto number = dyn_cast<FloatAttr>(value))
    return number.getValueAsDouble();
  if (auto number = dyn_cast<IntegerAttr>(value))
    return double(number.getInt());
  return std::nullopt;
}

/// `node` is the product (sum) of a constant and something else.
template <typename Op>
std::optional<std::pair<Node, double>> matchWithConstant(Node node) {
  std::optional<Node> op = match<Op>(node);
  for (unsigned i = 0; op && i < 2; ++i)
    if (std::optional<double> constant = constantOf(operandOf(*op, i)))
      return std::pair(operandOf(*op, 1 - i), *constant);
  return std::nullopt;
}

/// The tensors that a node is an element of, the nearest first: the last may be of a
/// narrower type, which is only extended.
SmallVector<Node> elementsOf(Node node) {
  SmallVector<Node> elements;
  while (true) {
    if (node.isElement())
      elements.push_back(node);
    if (std::optional<Node> next = stepInto(node))
      node = *next;
    else if (Operation *op = operationOf(node); op && isa<arith::ExtFOp>(op))
      node = operandOf(node, 0);
    else
      return elements;
  }
}

class Norm {
public:
  explicit Norm(linalg::GenericOp op) : op(op) {}

  /// Whether `product`, in the body of the operation, is a norm.
  bool match(Operation &product);
  void rewrite(Operation &product);

private:
  bool matchDivisor(Node root, Node x);
  bool matchMean(Node mean, Node x);
  bool matchSquare(Node square, Node x, AffineExpr reduced);

  linalg::GenericOp op;
  Value input;
  double epsilon = 0;
};
} // namespace

bool Norm::match(Operation &product) {
  MLIRContext *context = op.getContext();
  // One more dimension: that of the sum.
  AffineMap loops = AffineMap::getMultiDimIdentityMap(op.getNumLoops() + 1, context)
                        .getMajorSubMap(op.getNumLoops());
  auto operand = [&](unsigned i) { return Node{product.getOperand(i), loops, op}; };
  if (!product.getResult(0).getType().isF32())
    return false;
  if (isa<arith::DivFOp>(product)) {
    std::optional<Node> root = ::match<math::SqrtOp>(operand(1));
    return root && matchDivisor(operandOf(*root, 0), operand(0));
  }
  if (!isa<arith::MulFOp>(product))
    return false;
  for (unsigned i : {0, 1}) {
    if (std::optional<Node> root = ::match<math::RsqrtOp>(operand(i)))
      return matchDivisor(operandOf(*root, 0), operand(1 - i));
    std::optional<Node> quotient = ::match<arith::DivFOp>(operand(i));
    if (!quotient || constantOf(operandOf(*quotient, 0)) != 1.0)
      continue;
    if (std::optional<Node> root = ::match<math::SqrtOp>(operandOf(*quotient, 1)))
      return matchDivisor(operandOf(*root, 0), operand(1 - i));
  }
  return false;
}

bool Norm::matchDivisor(Node root, Node x) {
  if (auto sum = matchWithConstant<arith::AddFOp>(root)) {
    if (!(sum->second >= 0) || !std::isfinite(sum->second))
      return false;
    epsilon = sum->second;
    return matchMean(sum->first, x);
  }
  epsilon = 0;
  return matchMean(root, x);
}

bool Norm::matchMean(Node mean, Node x) {
  double factor = 0;
  Node sum;
  if (auto product = matchWithConstant<arith::MulFOp>(mean)) {
    std::tie(sum, factor) = *product;
  } else if (auto quotient = ::match<arith::DivFOp>(mean)) {
    std::optional<double> count = constantOf(operandOf(*quotient, 1));
    if (!count)
      return false;
    sum = operandOf(*quotient, 0);
    factor = 1 / *count;
  } else {
    return false;
  }
  sum = resolve(sum);
  auto reduction =
      sum.isElement() ? sum.value.getDefiningOp<linalg::LinalgOp>() : nullptr;
  if (!reduction || reduction.getNumReductionLoops() != 1 ||
      reduction->getNumResults() != 1 || !reduction.hasPureTensorSemantics() ||
      reduction.getNumLoops() != op.getNumLoops())
    return false;
  Value start = reduction.getDpsInitOperand(0)->get();
  if (constantOf({start, sum.map, {}}) != 0.0)
    return false;
  // Its parallel loops are those here, its reduction is one more.
  MLIRContext *context = op.getContext();
  AffineMap result = reduction.getMatchingIndexingMap(reduction.getDpsInitOperand(0));
  AffineExpr reduced = getAffineDimExpr(op.getNumLoops(), context);
  SmallVector<AffineExpr> inner(reduction.getNumLoops());
  for (auto [e, index] : llvm::zip_equal(result.getResults(), sum.map.getResults())) {
    if (auto dim = dyn_cast<AffineDimExpr>(e))
      inner[dim.getPosition()] = index;
    else if (!isa<AffineConstantExpr>(e))
      return false;
  }
  int64_t columns = 0;
  for (auto [i, kind] : llvm::enumerate(reduction.getIteratorTypesArray()))
    if (kind == utils::IteratorType::reduction) {
      inner[i] = reduced;
      columns = reduction.getStaticLoopRanges()[i];
    }
  if (llvm::is_contained(inner, AffineExpr()) || ShapedType::isDynamic(columns) ||
      std::abs(factor * double(columns) - 1) > 1e-6)
    return false;
  Block *body = reduction.getBlock();
  auto add = body->getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  BlockArgument sumSoFar = body->getArguments().back();
  if (!add || !add.getType().isF32() || body != add->getBlock())
    return false;
  bool isFirst = add.getLhs() == sumSoFar;
  if (!isFirst && add.getRhs() != sumSoFar)
    return false;
  Node square{isFirst ? add.getRhs() : add.getLhs(),
              AffineMap::get(op.getNumLoops() + 1, 0, inner, context), reduction};
  return matchSquare(square, x, reduced);
}

bool Norm::matchSquare(Node square, Node x, AffineExpr reduced) {
  Node a, b;
  if (auto product = ::match<arith::MulFOp>(square)) {
    a = operandOf(*product, 0);
    b = operandOf(*product, 1);
  } else if (auto power = ::match<math::PowFOp, math::FPowIOp>(square)) {
    if (constantOf(operandOf(*power, 1)) != 2.0)
      return false;
    a = b = operandOf(*power, 0);
  } else {
    return false;
  }
  // x has the columns of the last loop; the square those of the sum.
  unsigned last = op.getNumLoops() - 1;
  AffineMap identity = AffineMap::getMultiDimIdentityMap(last + 2, op.getContext())
                           .getMajorSubMap(last + 1);
  auto isSame = [&](const Node &mine, const Node &other) {
    return mine.value == other.value && mine.map == identity &&
           other.map == mine.map.replace(getAffineDimExpr(last, op.getContext()),
                                         reduced, last + 2, 0);
  };
  SmallVector<Node> first = elementsOf(a), second = elementsOf(b);
  // The last that all three have: before it is extended, if it is.
  for (const Node &mine : llvm::reverse(elementsOf(x))) {
    Type element = getElementTypeOrSelf(mine.value.getType());
    bool isFloat = element.isF32() || element.isF16() || element.isBF16();
    auto matches = [&](const Node &other) { return isSame(mine, other); };
    if (isFloat && llvm::any_of(first, matches) && llvm::any_of(second, matches)) {
      input = mine.value;
      return true;
    }
  }
  return false;
}

void Norm::rewrite(Operation &product) {
  OpBuilder b(op);
  Location loc = product.getLoc();
  auto type = cast<RankedTensorType>(input.getType());
  int64_t rank = type.getRank();
  Value rows = input;
  SmallVector<ReassociationIndices> groups = {
      llvm::to_vector<2>(llvm::seq<int64_t>(0, rank - 1)), {rank - 1}};
  if (rank > 2)
    rows = tensor::CollapseShapeOp::create(b, loc, rows, groups);
  auto rowsType = cast<RankedTensorType>(rows.getType());
  auto norm = NormOp::create(b, loc, TypeRange{rowsType.clone(b.getF32Type())},
                             NormKind::rms, ValueRange{rows}, ValueRange(),
                             ValueRange(), APFloat(float(epsilon)));
  Value n = norm->getResult(0);
  if (rank > 2)
    n = tensor::ExpandShapeOp::create(b, loc, type.clone(b.getF32Type()), n, groups,
                                      tensor::getMixedSizes(b, loc, input));
  // What else is computed of it, which reads the norm in the place of the product.
  Operation *yield = op.getBody()->getTerminator();
  if (yield->getOperand(0) == product.getResult(0)) {
    op->getResult(0).replaceAllUsesWith(n);
  } else {
    llvm::SetVector<Operation *> needed;
    llvm::SetVector<Value> arguments;
    SmallVector<Value> worklist(yield->getOperands());
    while (!worklist.empty()) {
      Value value = worklist.pop_back_val();
      if (value == product.getResult(0))
        continue;
      if (Operation *def = value.getDefiningOp();
          def && def->getBlock() == op.getBody()) {
        if (needed.insert(def))
          llvm::append_range(worklist, def->getOperands());
      } else if (isa<BlockArgument>(value) && value.getParentBlock() == op.getBody()) {
        arguments.insert(value);
      }
    }
    SmallVector<Value> inputs, own;
    SmallVector<AffineMap> maps;
    for (OpOperand *input : op.getDpsInputOperands()) {
      BlockArgument argument = op.getMatchingBlockArgument(input);
      if (!arguments.contains(argument))
        continue;
      own.push_back(argument);
      inputs.push_back(input->get());
      maps.push_back(op.getMatchingIndexingMap(input));
    }
    inputs.push_back(n);
    maps.append(2,
                AffineMap::getMultiDimIdentityMap(op.getNumLoops(), op.getContext()));
    auto rest =
        linalg::GenericOp::create(b, loc, op->getResultTypes(), inputs, op.getOutputs(),
                                  maps, op.getIteratorTypesArray(),
                                  [&](OpBuilder &inner, Location, ValueRange elements) {
                                    IRMapping map;
                                    map.map(own, elements.take_front(own.size()));
                                    map.map(product.getResult(0), elements[own.size()]);
                                    for (Operation &each : *op.getBody())
                                      if (needed.contains(&each) || &each == yield)
                                        inner.clone(each, map);
                                  });
    op->replaceAllUsesWith(rest);
  }
  // What it has read, if nobody else does.
  llvm::SetVector<Operation *> dead;
  dead.insert(op);
  while (!dead.empty()) {
    Operation *last = dead.pop_back_val();
    if (!isOpTriviallyDead(last))
      continue;
    for (Value operand : last->getOperands())
      if (Operation *def = operand.getDefiningOp())
        dead.insert(def);
    last->erase();
  }
}

bool mlir::qlinear::raiseNorm(linalg::GenericOp op) {
  if (!isElementwise(op) || op.getNumLoops() < 2 ||
      !op.getMatchingIndexingMap(op.getDpsInitOperand(0)).isIdentity())
    return false;
  for (Operation &inner : op.getBody()->without_terminator()) {
    Norm norm(op);
    if (inner.getNumResults() == 1 && norm.match(inner)) {
      norm.rewrite(inner);
      return true;
    }
  }
  return false;
}
