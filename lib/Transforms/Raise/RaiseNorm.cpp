//===- RaiseNorm.cpp - RMS and layer norms in linalg ----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   v = sum x^2 / K + epsilon      n = x * rsqrt(v)   or   x / sqrt(v)
//   -> n = qlinear.norm rms x
//
// and the same of c = x - sum x / K, which is qlinear.norm layer x, in as many operations
// as a frontend makes of it (RaiseNodes.h); squares are products or powers, the mean is a
// quotient or a product, and c may be a tensor or computed wherever it is read. x has its
// columns last. Only the product (or quotient) is replaced: what else the operation
// computes of it (a scale, a rounding) stays, and qlinear-fuse moves it into the norm.
// All is in f32 from x on, which may be f16 or bf16: a norm whose sum or root is rounded
// to less is another function.
//
//===----------------------------------------------------------------------===//
#include "RaiseNorm.h"
#include "RaiseNodes.h"

#include "qlinear/Dialect/QLinear.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <cmath>

using namespace mlir;
using namespace mlir::qlinear;

namespace {
class Norm {
public:
  explicit Norm(linalg::GenericOp op)
      : op(op), loops(op.getNumLoops()), column(dim(loops - 1)),
        squared(dim(loops)), averagedColumn(dim(loops + 1)) {}

  /// Whether `product`, in the body of the operation, is a norm.
  bool match(Operation &product);
  void rewrite(Operation &product);

  NormKind kind = NormKind::rms;
  /// What is different about something that looks like a norm.
  std::string why;

private:
  bool matchDivisor(Node root, Node x);
  bool matchSquares(Node mean, Node x);
  std::optional<Node> averaged(Node mean, AffineExpr of);
  SmallVector<Node> centred(Node node, AffineExpr of);
  bool findInput(ArrayRef<Node> xs, ArrayRef<Node> first, ArrayRef<Node> second);

  AffineExpr dim(unsigned i) { return getAffineDimExpr(i, op.getContext()); }
  /// A map with the columns of `from` in the place of the columns.
  AffineMap withColumns(AffineMap map, AffineExpr from, AffineExpr to) {
    return map.replace(from, to, loops + 2, 0);
  }
  bool declined(const Twine &reason) {
    if (why.empty())
      why = reason.str();
    return false;
  }

  linalg::GenericOp op;
  unsigned loops;
  /// The columns of a norm's row, and of the sums of squares and of elements: two
  /// dimensions more than there are loops.
  AffineExpr column, squared, averagedColumn;
  Value input;
  double epsilon = 0;
};
} // namespace

bool Norm::match(Operation &product) {
  AffineMap identity =
      AffineMap::getMultiDimIdentityMap(loops + 2, op.getContext()).getMajorSubMap(loops);
  auto operand = [&](unsigned i) { return Node{product.getOperand(i), identity, op}; };
  auto matches = [&](std::optional<Node> root, Node x) {
    if (!root || !matchDivisor(operandOf(*root, 0), x))
      return false;
    Type type = product.getResult(0).getType();
    return type.isF32() || declined("it is computed in " + Twine(spellOf(type)) +
                                    ", and qlinear.norm in f32");
  };
  if (isa<arith::DivFOp>(product))
    return matches(matchNode<math::SqrtOp>(operand(1)), operand(0));
  if (!isa<arith::MulFOp>(product))
    return false;
  for (unsigned i : {0, 1}) {
    if (std::optional<Node> root = matchNode<math::RsqrtOp>(operand(i)))
      return matches(root, operand(1 - i));
    std::optional<Node> quotient = matchNode<arith::DivFOp>(operand(i));
    if (!quotient || constantOf(operandOf(*quotient, 0)) != 1.0)
      continue;
    if (std::optional<Node> root =
            matchNode<math::SqrtOp>(operandOf(*quotient, 1)))
      return matches(root, operand(1 - i));
  }
  return false;
}

bool Norm::matchDivisor(Node root, Node x) {
  epsilon = 0;
  Node mean = root;
  if (auto sum = matchWithConstant<arith::AddFOp>(root))
    std::tie(mean, epsilon) = *sum;
  if (!matchSquares(mean, x))
    return false;
  if (!(epsilon >= 0) || !std::isfinite(epsilon))
    return declined("epsilon = " + Twine(std::to_string(epsilon)) +
                    " is not a finite number from 0 on");
  return true;
}

/// What `mean` is the mean of, over columns that are `of` there.
std::optional<Node> Norm::averaged(Node mean, AffineExpr of) {
  double factor = 0;
  Node sum;
  if (auto product = matchWithConstant<arith::MulFOp>(mean)) {
    std::tie(sum, factor) = *product;
  } else if (auto quotient = matchNode<arith::DivFOp>(mean)) {
    std::optional<double> count = constantOf(operandOf(*quotient, 1));
    if (!count)
      return std::nullopt;
    sum = operandOf(*quotient, 0);
    factor = 1 / *count;
  } else {
    return std::nullopt;
  }
  sum = resolve(sum);
  auto reduction =
      sum.isElement() ? sum.value.getDefiningOp<linalg::LinalgOp>() : nullptr;
  if (!reduction || reduction.getNumReductionLoops() != 1 ||
      reduction->getNumResults() != 1 || !reduction.hasPureTensorSemantics() ||
      reduction.getNumLoops() != loops)
    return std::nullopt;
  auto add =
      reduction.getBlock()->getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  BlockArgument sumSoFar = reduction.getBlock()->getArguments().back();
  if (!add || add->getBlock() != reduction.getBlock() ||
      (add.getLhs() != sumSoFar && add.getRhs() != sumSoFar))
    return std::nullopt;
  auto no = [&](const Twine &reason) {
    declined(reason);
    return std::nullopt;
  };
  // From here on it is a mean, or looks like one.
  if (!add.getType().isF32())
    return no("a sum of it is rounded to " + spellOf(add.getType()) +
              ", and qlinear.norm computes in f32");
  Value start = reduction.getDpsInitOperand(0)->get();
  if (constantOf({start, sum.map, {}}) != 0.0)
    return no("a sum of it does not start at 0");
  // Its parallel loops are those here, its reduction is one more.
  AffineMap result = reduction.getMatchingIndexingMap(reduction.getDpsInitOperand(0));
  SmallVector<AffineExpr> inner(reduction.getNumLoops());
  for (auto [e, index] : llvm::zip_equal(result.getResults(), sum.map.getResults())) {
    if (auto dim = dyn_cast<AffineDimExpr>(e))
      inner[dim.getPosition()] = index;
    else if (!isa<AffineConstantExpr>(e))
      return std::nullopt;
  }
  int64_t columns = 0;
  for (auto [i, kind] : llvm::enumerate(reduction.getIteratorTypesArray()))
    if (kind == utils::IteratorType::reduction) {
      inner[i] = of;
      columns = reduction.getStaticLoopRanges()[i];
    }
  if (llvm::is_contained(inner, AffineExpr()))
    return std::nullopt;
  if (ShapedType::isDynamic(columns))
    return no("the number of columns of a mean is not known");
  if (std::abs(factor * double(columns) - 1) > 1e-6)
    return no("a sum of " + Twine(columns) + " columns is divided by " +
              std::to_string(1 / factor) + ", so it is no mean");
  return Node{add.getLhs() == sumSoFar ? add.getRhs() : add.getLhs(),
              AffineMap::get(loops + 2, 0, inner, op.getContext()), reduction};
}

/// The tensors whose element, less the mean of its row, a node is; its columns are `of`.
SmallVector<Node> Norm::centred(Node node, AffineExpr of) {
  SmallVector<Node> found;
  std::optional<Node> difference = matchNode<arith::SubFOp>(node);
  if (!difference)
    return found;
  std::optional<Node> term = averaged(operandOf(*difference, 1), averagedColumn);
  if (!term)
    return found;
  SmallVector<Node> terms = elementsOf(*term);
  for (const Node &element : elementsOf(operandOf(*difference, 0)))
    if (llvm::any_of(terms, [&](const Node &other) {
          return other.value == element.value &&
                 other.map == withColumns(element.map, of, averagedColumn);
        }))
      found.push_back(element);
  return found;
}

bool Norm::matchSquares(Node mean, Node x) {
  std::optional<Node> square = averaged(mean, squared);
  if (!square) {
    // mean(x^2) - mean(x)^2, perhaps not less than 0.
    std::optional<Node> most = matchNode<arith::MaximumFOp, arith::MaxNumFOp>(mean);
    for (unsigned i = 0; i < (most ? 2 : 1); ++i)
      if (auto difference =
              matchNode<arith::SubFOp>(most ? operandOf(*most, i) : mean);
          difference && averaged(operandOf(*difference, 0), squared))
        return declined("its variance is the mean of squares less the square of the "
                        "mean, which loses bits; compute the mean of the squares of "
                        "differences");
    return false;
  }
  Node a, b;
  if (auto product = matchNode<arith::MulFOp>(*square)) {
    a = operandOf(*product, 0);
    b = operandOf(*product, 1);
  } else if (auto power = matchNode<math::PowFOp, math::FPowIOp>(*square)) {
    if (constantOf(operandOf(*power, 1)) != 2.0)
      return declined("a mean of it is of another power than squares");
    a = b = operandOf(*power, 0);
  } else {
    return declined("a mean of it is not of squares");
  }
  // What is divided and squared: x, or x less its mean, as one tensor or each by itself.
  if (findInput(elementsOf(x), elementsOf(a), elementsOf(b))) {
    auto isWhole = [&](const Node &element) {
      return element.map == elementAtLoops(element.value, loops + 2).map;
    };
    for (const Node &element :
         llvm::reverse(centred(elementAtLoops(input, loops + 2), column)))
      if (isWhole(element)) {
        input = element.value;
        kind = NormKind::layer;
        break;
      }
    why.clear();
    return true;
  }
  if (findInput(centred(x, column), centred(a, squared), centred(b, squared))) {
    kind = NormKind::layer;
    return true;
  }
  return declined("the squares are of another tensor than what is divided by their "
                  "root, or columns are not its last dimension");
}

/// The last tensor that all three have, before it is extended if it is: x with the
/// columns of the last loop, the others with those of the sum of squares.
bool Norm::findInput(ArrayRef<Node> xs, ArrayRef<Node> first, ArrayRef<Node> second) {
  AffineMap identity =
      AffineMap::getMultiDimIdentityMap(loops + 2, op.getContext()).getMajorSubMap(loops);
  for (const Node &mine : llvm::reverse(xs)) {
    Type element = getElementTypeOrSelf(mine.value.getType());
    bool isFloat = element.isF32() || element.isF16() || element.isBF16();
    auto matches = [&](const Node &other) {
      return mine.value == other.value && mine.map == identity &&
             other.map == withColumns(mine.map, column, squared);
    };
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
  auto norm = NormOp::create(b, loc, TypeRange{rowsType.clone(b.getF32Type())}, kind,
                             ValueRange{rows}, ValueRange(), ValueRange(),
                             APFloat(float(epsilon)));
  Value n = norm->getResult(0);
  if (rank > 2)
    n = tensor::ExpandShapeOp::create(b, loc, type.clone(b.getF32Type()), n, groups,
                                      tensor::getMixedSizes(b, loc, input));
  replaceScalar(op, product, n);
}

std::string mlir::qlinear::raiseNorm(linalg::GenericOp op, std::string &why) {
  if (!isElementwise(op) || op.getNumLoops() < 2 ||
      !op.getMatchingIndexingMap(op.getDpsInitOperand(0)).isIdentity())
    return "";
  for (Operation &inner : op.getBody()->without_terminator()) {
    Norm norm(op);
    if (inner.getNumResults() != 1)
      continue;
    if (norm.match(inner)) {
      std::string what = norm.kind == NormKind::rms ? "an RMS norm" : "a layer norm";
      norm.rewrite(inner);
      return what;
    }
    if (why.empty())
      why = norm.why;
  }
  return "";
}
