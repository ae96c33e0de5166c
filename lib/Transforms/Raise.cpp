//===- Raise.cpp - From dequantized weights in linalg to qlinear ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For every contraction sum of x * w, where w is computed from integer codes:
//
//   1. the scalar tree of the body (RaiseAnalysis.h) is split into x, the codes q
//      and what is added to and multiplied with them;
//   2. the loops become three indices m, n and k, and each component's index in
//      each dimension a digit of one of them; a component whose digits make up
//      (n, k) or (n, k floordiv group) can be reshaped to a matrix;
//   3. the matrices are packed.
//
// Nothing is created before all is known to fit.
//
//===----------------------------------------------------------------------===//
#include "Raiser.h"

#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#define DEBUG_TYPE "qlinear-raise"

namespace mlir::qlinear {
#define GEN_PASS_DEF_RAISE
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::Form;
using ::qlinear::MetaStorage;

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

static Value transpose(OpBuilder &b, Location loc, Value tensor,
                       ArrayRef<int64_t> permutation) {
  if (llvm::equal(permutation, llvm::seq<int64_t>(permutation.size())))
    return tensor;
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, tensor), permuted;
  for (int64_t dim : permutation)
    permuted.push_back(sizes[dim]);
  Value empty =
      tensor::EmptyOp::create(b, loc, permuted, getElementTypeOrSelf(tensor.getType()));
  return linalg::TransposeOp::create(b, loc, tensor, empty, permutation)->getResult(0);
}

Value Raiser::build(OpBuilder &b, Location loc, const Matrix &matrix) {
  Value tensor = transpose(b, loc, matrix.tensor, matrix.permutation);
  int64_t rank = matrix.permutation.size(), rows = matrix.rowDims;
  // One of the two may have no dimension.
  bool hasBoth = rows != 0 && rows != rank;
  if (hasBoth) {
    if (rank == 2)
      return tensor;
    SmallVector<ReassociationIndices> groups = {
        llvm::to_vector<2>(llvm::seq<int64_t>(0, rows)),
        llvm::to_vector<2>(llvm::seq<int64_t>(rows, rank))};
    return tensor::CollapseShapeOp::create(b, loc, tensor, groups);
  }
  if (rank > 1) {
    SmallVector<ReassociationIndices> all = {
        llvm::to_vector<2>(llvm::seq<int64_t>(0, rank))};
    tensor = tensor::CollapseShapeOp::create(b, loc, tensor, all);
  }
  auto type = cast<RankedTensorType>(tensor.getType());
  int64_t size = type.getDimSize(0);
  SmallVector<int64_t> shape =
      rows ? SmallVector<int64_t>{size, 1} : SmallVector<int64_t>{1, size};
  SmallVector<ReassociationIndices> groups = {{0, 1}};
  return tensor::ExpandShapeOp::create(
      b, loc, RankedTensorType::get(shape, type.getElementType()), tensor, groups);
}

Value Raiser::buildMeta(OpBuilder &b, Component &component,
                        const std::optional<Matrix> &matrix,
                        const MetaStorage &storage) {
  Location loc = op.getLoc();
  int64_t K = indices.sizes[Indices::K];
  SmallVector<int64_t> shape = {indices.sizes[Indices::N],
                                int64_t(encoding.groupsPerRow(K))};
  Value value;
  if (component.constant) {
    auto type = RankedTensorType::get(shape, component.type());
    value = arith::ConstantOp::create(
        b, loc, DenseElementsAttr::get(type, Attribute(component.constant)));
  } else {
    value = build(b, loc, *matrix);
  }
  if (storage.kind == MetaStorage::Kind::plain && isa<IntegerType>(component.type())) {
    auto type = RankedTensorType::get(shape, b.getF32Type());
    value = component.isSigned ? Value(arith::SIToFPOp::create(b, loc, type, value))
                               : Value(arith::UIToFPOp::create(b, loc, type, value));
  }
  if (component.negate)
    value = arith::NegFOp::create(b, loc, value);
  return value;
}

Value Raiser::rewrite(OpBuilder &b) {
  Location loc = op.getLoc();
  Value codes = build(b, loc, *codeMatrix);
  Value scales = buildMeta(b, formula.scale, scaleMatrix, encoding.scale), offsets;
  if (encoding.form != Form::symmetric)
    offsets = buildMeta(b, formula.min ? formula.min : formula.zero, offsetMatrix,
                        encoding.offset);
  int64_t N = indices.sizes[Indices::N], K = indices.sizes[Indices::K];
  auto weight = WeightType::get(context, N, K, EncodingAttr::get(context, encoding));
  Value pack = PackOp::create(b, loc, weight, codes, scales, offsets, ValueRange());

  Value rows = build(b, loc, *xMatrix);
  OpOperand *init = op.getDpsInitOperand(0);
  auto resultType = cast<RankedTensorType>(op->getResult(0).getType());
  Type element = resultType.getElementType();
  int64_t M = cast<RankedTensorType>(rows.getType()).getDimSize(0);
  Value y = LinearOp::create(b, loc, RankedTensorType::get({M, N}, element), rows, pack)
                .getResult(0);

  // To a dimension per loop of m and n, then in the order of the result.
  SmallVector<unsigned> loops(indices.order[Indices::M]);
  llvm::append_range(loops, indices.order[Indices::N]);
  int64_t mDims = indices.order[Indices::M].size(), rank = loops.size();
  SmallVector<int64_t> permutation;
  SmallVector<OpFoldResult> sizes(rank),
      initSizes = tensor::getMixedSizes(b, loc, init->get());
  SmallVector<int64_t> shape(rank);
  AffineMap result = op.getMatchingIndexingMap(init);
  for (auto [i, e] : llvm::enumerate(result.getResults())) {
    int64_t at =
        llvm::find(loops, cast<AffineDimExpr>(e).getPosition()) - loops.begin();
    permutation.push_back(at);
    shape[at] = indices.loopSizes[loops[at]];
    sizes[at] =
        ShapedType::isDynamic(shape[at]) ? initSizes[i] : b.getIndexAttr(shape[at]);
  }
  if (mDims == 0) {
    SmallVector<ReassociationIndices> groups = {{0, 1}};
    y = tensor::CollapseShapeOp::create(b, loc, y, groups);
  }
  SmallVector<ReassociationIndices> groups;
  if (mDims)
    groups.push_back(llvm::to_vector<2>(llvm::seq<int64_t>(0, mDims)));
  groups.push_back(llvm::to_vector<2>(llvm::seq<int64_t>(mDims, rank)));
  if (rank > int64_t(groups.size()))
    y = tensor::ExpandShapeOp::create(b, loc, RankedTensorType::get(shape, element), y,
                                      groups, sizes);
  y = transpose(b, loc, y, permutation);
  if (y.getType() != resultType)
    y = tensor::CastOp::create(b, loc, resultType, y);

  // What the sum starts with, unless that is zero.
  auto fill = init->get().getDefiningOp<linalg::FillOp>();
  Value start = fill ? fill.getInputs()[0] : init->get();
  if (!matchPattern(start, m_AnyZeroFloat()))
    y = arith::AddFOp::create(b, loc, init->get(), y);
  return y;
}

namespace {
struct RaisePass : mlir::qlinear::impl::RaiseBase<RaisePass> {
  void runOnOperation() override {
    SmallVector<linalg::LinalgOp> candidates;
    SmallVector<Operation *> raised;
    getOperation()->walk([&](linalg::LinalgOp op) { candidates.push_back(op); });
    for (linalg::LinalgOp op : candidates) {
      Raiser raiser(op);
      if (!raiser.match())
        continue;
      auto options = remark::RemarkOpts::name("Raise").category(DEBUG_TYPE);
      if (!raiser.why.empty()) {
        ++numDeclined;
        remark::missed(op.getLoc(), options)
            << (op->getName().getStringRef() + " of a quantized weight stays").str()
            << remark::reason("{0}", raiser.why);
        continue;
      }
      OpBuilder builder(op);
      Value result = raiser.rewrite(builder);
      ++numRaised;
      remark::passed(op.getLoc(), options)
          << (op->getName().getStringRef() + " became qlinear.linear").str()
          << remark::metric("encoding", raiser.encodingSpelling());
      op->getResult(0).replaceAllUsesWith(result);
      raised.push_back(op);
    }
    eraseDead(raised);
  }

private:
  /// Erases the operations that were replaced, and what only they used.
  static void eraseDead(ArrayRef<Operation *> replaced) {
    llvm::SetVector<Operation *> candidates;
    candidates.insert_range(replaced);
    for (size_t i = 0; i < candidates.size(); ++i)
      for (Value operand : candidates[i]->getOperands())
        if (Operation *def = operand.getDefiningOp())
          candidates.insert(def);
    for (bool changed = true; changed;) {
      changed = candidates.remove_if([](Operation *op) {
        if (!isOpTriviallyDead(op))
          return false;
        op->erase();
        return true;
      });
    }
  }
};
} // namespace
