//===- RaiseRotary.cpp - Rotary embeddings in linalg ----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   y = x * cos + r * sin,   r = concat(-x[.., D/2 ..], x[.., .. D/2])
//   -> y = qlinear.rotary x by cos, sin
//
// in as many operations as a frontend makes of it (RaiseNodes.h). x has the columns of a
// head last. The dimensions that cos and sin have besides are those of tokens, the others
// of heads: x is transposed to tokens x heads x columns, and back, which cancels the
// transpositions of attentions. Only the sum is replaced, as of norms (RaiseNorm.cpp).
// All is in f32: a rotary embedding whose products are rounded to less is another
// function.
//
//===----------------------------------------------------------------------===//
#include "RaiseRotary.h"
#include "RaiseNodes.h"

#include "qlinear/Dialect/QLinear.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {
class Rotary {
public:
  explicit Rotary(linalg::GenericOp op) : op(op), loops(op.getNumLoops()) {}

  /// Whether `sum`, in the body of the operation, is a rotary embedding.
  bool match(Operation &sum);
  void rewrite(Operation &sum);
  std::string why;

private:
  bool matchProducts(Node straight, Node turned);
  bool matchTables(Node cos, Node sin);
  bool matchDimensions();
  Value table(OpBuilder &b, Location loc, Value of);
  bool declined(const Twine &reason) {
    why = reason.str();
    return false;
  }

  linalg::GenericOp op;
  unsigned loops;
  Value x, cos, sin;
  AffineMap tableMap;
  /// The loops of x in the order of the operation: tokens, heads, columns.
  SmallVector<int64_t> order;
  unsigned tokens = 0;
};

/// The tensor, and where along its last dimension a slice of it starts, which begins with
/// the others, and has all of these as far as is known: that it has them the operation
/// says which reads both. Nothing if it is none such.
std::optional<std::pair<Value, int64_t>> lastSlice(Value value) {
  auto slice = value.getDefiningOp<tensor::ExtractSliceOp>();
  if (!slice || slice.getSourceType().getRank() != slice.getType().getRank() ||
      !slice.hasUnitStride())
    return std::nullopt;
  int64_t last = slice.getSourceType().getRank() - 1;
  for (int64_t d = 0; d < last; ++d)
    if (getConstantIntValue(slice.getMixedOffsets()[d]) != 0 ||
        slice.getType().getDimSize(d) != slice.getSourceType().getDimSize(d))
      return std::nullopt;
  std::optional<int64_t> start = getConstantIntValue(slice.getMixedOffsets()[last]);
  return start ? std::optional(std::pair(slice.getSource(), *start)) : std::nullopt;
}

/// Two tensors that a tensor is made of, side by side along its last dimension.
std::optional<std::pair<Value, Value>> halves(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  int64_t last = type.getRank() - 1, columns = type.getDimSize(last);
  auto isHalf = [&](Value part) {
    auto of = dyn_cast<RankedTensorType>(part.getType());
    return of && of.getRank() == type.getRank() && of.getDimSize(last) * 2 == columns;
  };
  if (ShapedType::isDynamic(columns))
    return std::nullopt;
  if (auto concat = value.getDefiningOp<tensor::ConcatOp>()) {
    if (concat.getInputs().size() != 2 || int64_t(concat.getDim()) != last ||
        !isHalf(concat.getInputs()[0]) || !isHalf(concat.getInputs()[1]))
      return std::nullopt;
    return std::pair(concat.getInputs()[0], concat.getInputs()[1]);
  }
  // Inserted one after the other.
  Value parts[2];
  for (Value into = value; auto insert = into.getDefiningOp<tensor::InsertSliceOp>();
       into = insert.getDest()) {
    if (!insert.hasUnitStride() || !isHalf(insert.getSource()))
      return std::nullopt;
    for (int64_t d = 0; d < last; ++d)
      if (getConstantIntValue(insert.getMixedOffsets()[d]) != 0)
        return std::nullopt;
    std::optional<int64_t> start = getConstantIntValue(insert.getMixedOffsets()[last]);
    if (!start || (*start != 0 && *start != columns / 2) || parts[*start != 0])
      return std::nullopt;
    parts[*start != 0] = insert.getSource();
  }
  if (!parts[0] || !parts[1])
    return std::nullopt;
  return std::pair(parts[0], parts[1]);
}

/// The tensor whose halves, the second one negated, a tensor has in the other order.
Value turnedFrom(Value value) {
  auto parts = halves(value);
  if (!parts)
    return {};
  auto rank = unsigned(cast<RankedTensorType>(value.getType()).getRank());
  int64_t half = cast<RankedTensorType>(value.getType()).getShape().back() / 2;
  auto negative = matchNode<arith::NegFOp>(elementAtLoops(parts->first, rank));
  if (!negative)
    return {};
  SmallVector<Node> second = elementsOf(operandOf(*negative, 0)),
                    first = elementsOf(elementAtLoops(parts->second, rank));
  auto sourceOf = [&](ArrayRef<Node> elements, int64_t start) -> Value {
    for (const Node &element : elements)
      if (auto slice = lastSlice(element.value);
          slice && slice->second == start &&
          element.map == elementAtLoops(element.value, rank).map)
        return slice->first;
    return {};
  };
  Value a = sourceOf(second, half), b = sourceOf(first, 0);
  return a && a == b ? a : Value();
}
} // namespace

bool Rotary::match(Operation &sum) {
  AffineMap identity = AffineMap::getMultiDimIdentityMap(loops, op.getContext());
  if (!isa<arith::AddFOp>(sum))
    return false;
  auto product = [&](unsigned i) {
    return matchNode<arith::MulFOp>(Node{sum.getOperand(i), identity, op});
  };
  std::optional<Node> a = product(0), b = product(1);
  if (!a || !b || !(matchProducts(*a, *b) || matchProducts(*b, *a)))
    return false;
  Type type = sum.getResult(0).getType();
  if (!type.isF32() || !getElementTypeOrSelf(x.getType()).isF32())
    return declined("it is computed in " + spellOf(type) +
                    ", and qlinear.rotary in f32");
  return matchDimensions();
}

/// Whether they are the products of x and cos and of x's halves in turn and sin.
bool Rotary::matchProducts(Node straight, Node turned) {
  AffineMap identity = AffineMap::getMultiDimIdentityMap(loops, op.getContext());
  for (unsigned i : {0, 1})
    for (const Node &element : elementsOf(operandOf(turned, i))) {
      Value source =
          element.map == identity ? turnedFrom(element.value) : Value();
      if (!source)
        continue;
      for (unsigned j : {0, 1})
        for (const Node &other : elementsOf(operandOf(straight, j)))
          if (other.value == source && other.map == identity) {
            x = source;
            return matchTables(operandOf(straight, 1 - j), operandOf(turned, 1 - i));
          }
      return declined("its halves in turn are of another tensor than what is "
                      "multiplied by the cosines");
    }
  return false;
}

bool Rotary::matchTables(Node cosine, Node sine) {
  // The last tensors that are tables: of columns last, each other index a loop, or of a
  // dimension of size 1.
  auto find = [&](Node node, Value &found, AffineMap &map) {
    for (const Node &element : elementsOf(node)) {
      ArrayRef<AffineExpr> results = element.map.getResults();
      int64_t last = -1;
      bool ordered = !results.empty() &&
                     results.back() == getAffineDimExpr(loops - 1, op.getContext());
      auto type = cast<RankedTensorType>(element.value.getType());
      for (auto [d, e] : llvm::enumerate(results)) {
        auto dim = dyn_cast<AffineDimExpr>(e);
        ordered &= dim ? int64_t(dim.getPosition()) > last : type.getDimSize(d) == 1;
        last = dim ? int64_t(dim.getPosition()) : last;
      }
      Type of = type.getElementType();
      if (!ordered || !(of.isF32() || of.isF16() || of.isBF16()))
        continue;
      found = element.value;
      map = element.map;
    }
  };
  AffineMap sineMap;
  find(cosine, cos, tableMap);
  find(sine, sin, sineMap);
  if (!cos || !sin || tableMap != sineMap || cos.getType() != sin.getType())
    return declined("its cosines and sines are not two tensors of one type that have a "
                    "row for each token and the columns of a head last");
  return true;
}

bool Rotary::matchDimensions() {
  auto type = cast<RankedTensorType>(x.getType());
  if (type.getRank() != int64_t(loops) || loops < 2)
    return declined("it has no rows");
  int64_t head = type.getShape().back();
  if (ShapedType::isDynamic(head) || head % 2)
    return declined("the columns of a head are not known, or not even");
  SmallVector<int64_t> heads;
  for (unsigned d = 0; d + 1 < loops; ++d) {
    bool isToken = type.getDimSize(d) == 1 ||
                   tableMap.isFunctionOfDim(d); // of size 1 it is either
    if (isToken) {
      order.push_back(d);
      continue;
    }
    if (type.isDynamicDim(d))
      return declined("dimension " + Twine(d) + ", which the cosines do not have, is "
                      "not known; give them a row for each token, or the heads a "
                      "number");
    heads.push_back(d);
  }
  if (llvm::none_of(llvm::seq(loops - 1),
                    [&](unsigned d) { return tableMap.isFunctionOfDim(d); }))
    return declined("its cosines are the same for all rows");
  tokens = unsigned(order.size());
  llvm::append_range(order, heads);
  order.push_back(loops - 1);
  return true;
}

/// cos or sin with the tokens as rows.
Value Rotary::table(OpBuilder &b, Location loc, Value of) {
  int64_t rank = cast<RankedTensorType>(of.getType()).getRank();
  if (rank == 2)
    return of;
  SmallVector<ReassociationIndices> groups = {
      llvm::to_vector<2>(llvm::seq<int64_t>(0, rank - 1)), {rank - 1}};
  return tensor::CollapseShapeOp::create(b, loc, of, groups);
}

void Rotary::rewrite(Operation &sum) {
  OpBuilder b(op);
  Location loc = sum.getLoc();
  auto transpose = [&](Value value, ArrayRef<int64_t> permutation) -> Value {
    auto sizes = tensor::getMixedSizes(b, loc, value);
    SmallVector<OpFoldResult> permuted;
    for (int64_t d : permutation)
      permuted.push_back(sizes[d]);
    Value empty = tensor::EmptyOp::create(b, loc, permuted, b.getF32Type());
    return linalg::TransposeOp::create(b, loc, value, empty, permutation)->getResult(0);
  };
  SmallVector<int64_t> inverse(order.size());
  for (auto [i, d] : llvm::enumerate(order))
    inverse[d] = int64_t(i);
  bool isInOrder = llvm::is_sorted(order);
  Value rows = isInOrder ? x : transpose(x, order);
  auto type = cast<RankedTensorType>(rows.getType());
  int64_t rank = type.getRank(), head = type.getShape().back();
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, rows);
  SmallVector<ReassociationIndices> groups = {
      llvm::to_vector<2>(llvm::seq<int64_t>(0, tokens)),
      llvm::to_vector<2>(llvm::seq<int64_t>(tokens, rank))};
  if (rank > 2)
    rows = tensor::CollapseShapeOp::create(b, loc, rows, groups);
  auto rotary = RotaryOp::create(
      b, loc, TypeRange{rows.getType()}, ValueRange{rows}, ValueRange(),
      table(b, loc, cos), table(b, loc, sin), ValueRange(), Value(), ValueRange(),
      b.getI64IntegerAttr(head), FloatAttr(), UnitAttr(), IntegerAttr());
  Value result = rotary->getResult(0);
  if (rank > 2)
    result = tensor::ExpandShapeOp::create(b, loc, type, result, groups, sizes);
  if (!isInOrder)
    result = transpose(result, inverse);
  replaceScalar(op, sum, result);
}

bool mlir::qlinear::raiseRotary(linalg::GenericOp op, std::string &why) {
  if (!isElementwise(op) || op.getNumLoops() < 2 ||
      !op.getMatchingIndexingMap(op.getDpsInitOperand(0)).isIdentity())
    return false;
  for (Operation &inner : op.getBody()->without_terminator()) {
    Rotary rotary(op);
    if (rotary.match(inner)) {
      rotary.rewrite(inner);
      return true;
    }
    if (why.empty())
      why = rotary.why;
  }
  return false;
}
