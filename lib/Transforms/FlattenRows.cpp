//===- FlattenRows.cpp - One dimension for the rows of activations --------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   y: M x N   e = expand y: B x T x N   z = g(e, b)
//          ->  f = g(y, b): M x N        z = expand f
//
// by upstream's patterns. They take linalg.generic, so other elementwise operations are
// made such first, where they have three dimensions or more.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

#include <map>

#define DEBUG_TYPE "qlinear-flatten-rows"

namespace mlir::qlinear {
#define GEN_PASS_DEF_FLATTENROWS
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

/// Whether the body only passes one of the inputs on.
static bool isBroadcast(Operation *op) {
  auto generic = dyn_cast_or_null<linalg::GenericOp>(op);
  return generic && generic.getNumDpsInputs() == 1 && generic->getNumResults() == 1 &&
         generic.getNumReductionLoops() == 0 &&
         generic.getBlock()->getOperations().size() == 1 &&
         generic.getBlock()->getTerminator()->getOperand(0) ==
             generic.getRegionInputArgs().front();
}

namespace {
/// A named elementwise operation as linalg.generic.
struct Generalize : OpInterfaceRewritePattern<linalg::LinalgOp> {
  using OpInterfaceRewritePattern::OpInterfaceRewritePattern;

  LogicalResult matchAndRewrite(linalg::LinalgOp op,
                                PatternRewriter &rewriter) const override {
    bool isNeeded = isa<linalg::BroadcastOp>(*op) || op.getNumLoops() > 2;
    if (!isNeeded || isa<linalg::GenericOp, linalg::FillOp, linalg::TransposeOp>(*op) ||
        op.getNumParallelLoops() != op.getNumLoops() || !op.hasPureTensorSemantics())
      return rewriter.notifyMatchFailure(op, "nothing to generalize");
    return linalg::generalizeNamedOp(rewriter, op);
  }
};

/// The same for arith and math on tensors.
struct ElementwiseToGeneric : RewritePattern {
  explicit ElementwiseToGeneric(MLIRContext *context)
      : RewritePattern(MatchAnyOpTypeTag(), /*benefit=*/1, context) {}

  LogicalResult matchAndRewrite(Operation *op,
                                PatternRewriter &rewriter) const override {
    auto type = op->getNumResults() == 1
                    ? dyn_cast<RankedTensorType>(op->getResult(0).getType())
                    : nullptr;
    if (!type || type.getRank() < 3 || !OpTrait::hasElementwiseMappableTraits(op) ||
        !llvm::all_of(op->getOperandTypes(), llvm::IsaPred<RankedTensorType>))
      return rewriter.notifyMatchFailure(op, "not elementwise on three dimensions");
    Location loc = op->getLoc();
    SmallVector<AffineMap> maps(op->getNumOperands() + 1,
                                rewriter.getMultiDimIdentityMap(type.getRank()));
    SmallVector<utils::IteratorType> kinds(type.getRank(),
                                           utils::IteratorType::parallel);
    Value init = tensor::EmptyOp::create(
        rewriter, loc, tensor::getMixedSizes(rewriter, loc, op->getOperand(0)),
        type.getElementType());
    auto body = [&](OpBuilder &b, Location loc, ValueRange arguments) {
      SmallVector<Type> types = {type.getElementType()};
      OperationState state(loc, op->getName(), arguments.drop_back(), types,
                           op->getDiscardableAttrDictionary().getValue());
      state.propertiesAttr = op->getPropertiesAsAttribute();
      linalg::YieldOp::create(b, loc, b.create(state)->getResults());
    };
    rewriter.replaceOpWithNewOp<linalg::GenericOp>(op, type, op->getOperands(), init,
                                                   maps, kinds, body);
    return success();
  }
};

/// Whether a reshape is of rows: all dimensions but the last are one.
bool isRows(ArrayRef<ReassociationIndices> groups) {
  return groups.size() == 2 && groups[1].size() == 1 && groups[0].size() > 1;
}

/// Whether a size does nothing but give tensors their shapes. As a value, say of a
/// mean, it is not to change.
bool isOnlyOfShapes(Value size, unsigned depth = 16) {
  return depth != 0 && llvm::all_of(size.getUsers(), [&](Operation *user) {
           if (isa<tensor::EmptyOp, tensor::ExpandShapeOp, cf::AssertOp>(user))
             return true;
           return user->getNumResults() == 1 && user->getNumRegions() == 0 &&
                  user->getResult(0).getType().isIntOrIndex() &&
                  isOnlyOfShapes(user->getResult(0), depth - 1);
         });
}

/// A sum of products of sizes of tensors, each with its factor. Sizes multiply to what
/// fits, since the tensors do.
class SizeExpression {
public:
  static std::optional<SizeExpression> of(Value value, unsigned depth = 16) {
    APInt number;
    if (matchPattern(value, m_ConstantInt(&number)))
      return number.isSignedIntN(64) ? constant(number.getSExtValue()) : std::nullopt;
    Operation *def = value.getDefiningOp();
    if (!def || depth == 0)
      return std::nullopt;
    if (isa<tensor::DimOp>(def)) {
      SizeExpression size;
      size.terms[{value.getAsOpaquePointer()}] = 1;
      return size;
    }
    if (isa<arith::IndexCastOp>(def))
      return of(def->getOperand(0), depth - 1);
    SmallVector<std::optional<SizeExpression>> operands;
    for (Value operand : def->getOperands())
      operands.push_back(of(operand, depth - 1));
    if (isa<arith::AddIOp>(def))
      return sum(operands[0], operands[1], 1);
    if (isa<arith::MulIOp>(def))
      return product(operands[0], operands[1]);
    if (auto apply = dyn_cast<affine::AffineApplyOp>(def))
      return of(apply.getAffineMap().getResult(0), apply.getAffineMap().getNumDims(),
                operands);
    return std::nullopt;
  }

  /// Whether `predicate` holds for all sizes.
  static bool isTrue(arith::CmpIOp compare) {
    std::optional<SizeExpression> difference =
        sum(of(compare.getLhs()), of(compare.getRhs()), -1);
    if (!difference)
      return false;
    auto all = [&](auto holds) {
      return llvm::all_of(difference->terms, [&](auto &t) { return holds(t.second); });
    };
    switch (compare.getPredicate()) {
    case arith::CmpIPredicate::eq:
      return all([](int64_t factor) { return factor == 0; });
    case arith::CmpIPredicate::sge:
      return all([](int64_t factor) { return factor >= 0; });
    case arith::CmpIPredicate::sle:
      return all([](int64_t factor) { return factor <= 0; });
    default:
      return false;
    }
  }

private:
  using Optional = std::optional<SizeExpression>;

  static Optional constant(int64_t value) {
    SizeExpression result;
    result.terms[{}] = value;
    return result;
  }

  static Optional sum(Optional a, const Optional &b, int64_t factor) {
    if (!a || !b)
      return std::nullopt;
    for (auto &[sizes, times] : b->terms) {
      int64_t &term = a->terms[sizes], more;
      if (llvm::MulOverflow(times, factor, more) || llvm::AddOverflow(term, more, term))
        return std::nullopt;
    }
    return a;
  }

  static Optional product(const Optional &a, const Optional &b) {
    if (!a || !b)
      return std::nullopt;
    SizeExpression result;
    for (auto &[left, m] : a->terms)
      for (auto &[right, n] : b->terms) {
        std::vector<const void *> sizes(left);
        llvm::append_range(sizes, right);
        llvm::sort(sizes);
        int64_t &term = result.terms[sizes], more;
        if (llvm::MulOverflow(m, n, more) || llvm::AddOverflow(term, more, term))
          return std::nullopt;
      }
    return result;
  }

  static Optional of(AffineExpr expr, unsigned numDims, ArrayRef<Optional> operands) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      return operands[dim.getPosition()];
    if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
      return operands[numDims + symbol.getPosition()];
    if (auto number = dyn_cast<AffineConstantExpr>(expr))
      return constant(number.getValue());
    auto binary = cast<AffineBinaryOpExpr>(expr);
    Optional a = of(binary.getLHS(), numDims, operands),
             b = of(binary.getRHS(), numDims, operands);
    if (expr.getKind() == AffineExprKind::Add)
      return sum(a, b, 1);
    return expr.getKind() == AffineExprKind::Mul ? product(a, b) : std::nullopt;
  }

  std::map<std::vector<const void *>, int64_t> terms;
};

struct FlattenRowsPass : mlir::qlinear::impl::FlattenRowsBase<FlattenRowsPass> {
  using FlattenRowsBase::FlattenRowsBase;

  void runOnOperation() override {
    if (signatures) {
      getOperation()->walk([&](FunctionOpInterface function) {
        // Functions that the module calls keep their signature.
        if (SymbolTable::getSymbolVisibility(function) ==
                SymbolTable::Visibility::Public &&
            !function.isExternal() &&
            llvm::hasSingleElement(function.getFunctionBody()) &&
            SymbolTable::symbolKnownUseEmpty(function, getOperation()))
          flattenSignature(function);
      });
      return;
    }
    // What frontends assert of sizes, where it always holds.
    getOperation()->walk([](cf::AssertOp assertion) {
      if (auto compare = assertion.getArg().getDefiningOp<arith::CmpIOp>();
          compare && SizeExpression::isTrue(compare))
        assertion.erase();
    });
    MLIRContext *context = &getContext();
    // Broadcasts first: behind a reshape they would be seen no more.
    RewritePatternSet broadcasts(context), reshapes(context);
    broadcasts.add<Generalize, ElementwiseToGeneric>(context);
    linalg::populateElementwiseOpsFusionPatterns(broadcasts, [](OpOperand *operand) {
      auto user = dyn_cast<linalg::GenericOp>(operand->getOwner());
      return user && user.getNumReductionLoops() == 0 &&
             isBroadcast(operand->get().getDefiningOp());
    });
    // Reshapes of rows move down; no others.
    linalg::populateFoldReshapeOpsByCollapsingPatterns(
        reshapes, [](OpOperand *operand) {
          auto expand = operand->get().getDefiningOp<tensor::ExpandShapeOp>();
          return expand && isRows(expand.getReassociationIndices());
        });
    tensor::CollapseShapeOp::getCanonicalizationPatterns(reshapes, context);
    tensor::ExpandShapeOp::getCanonicalizationPatterns(reshapes, context);
    tensor::populateFoldTensorEmptyPatterns(reshapes);
    if (failed(applyPatternsGreedily(getOperation(), std::move(broadcasts))) ||
        failed(applyPatternsGreedily(getOperation(), std::move(reshapes))))
      signalPassFailure();
  }

private:
  /// The type to which an argument is collapsed; null if it has other uses than that
  /// collapse and its sizes.
  static RankedTensorType rowsOf(BlockArgument argument) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    RankedTensorType rows;
    if (!type || type.getRank() < 3)
      return {};
    bool isExact = llvm::count_if(type.getShape(), ShapedType::isDynamic) <= 1;
    for (Operation *user : argument.getUsers()) {
      if (auto size = dyn_cast<tensor::DimOp>(user);
          size && size.getConstantIndex() && (isExact || isOnlyOfShapes(size)))
        continue;
      auto collapse = dyn_cast<tensor::CollapseShapeOp>(user);
      if (!collapse || !isRows(collapse.getReassociationIndices()))
        return {};
      rows = collapse.getResultType();
    }
    return rows;
  }

  /// Puts all rows into the first dynamic dimension. Where several are dynamic, no
  /// value depends on how the rows are shared among them.
  static void flatten(BlockArgument argument, RankedTensorType rows) {
    auto type = cast<RankedTensorType>(argument.getType());
    OpBuilder b = OpBuilder::atBlockBegin(argument.getOwner());
    Location loc = argument.getLoc();
    argument.setType(rows);
    int64_t others = 1, dynamic = -1;
    for (int64_t i = type.getRank() - 2; i >= 0; --i)
      if (type.isDynamicDim(i))
        dynamic = i;
      else
        others *= type.getDimSize(i);
    for (Operation *user : llvm::to_vector(argument.getUsers())) {
      auto size = dyn_cast<tensor::DimOp>(user);
      Value value = argument;
      if (size && *size.getConstantIndex() == dynamic) {
        value = tensor::DimOp::create(b, loc, argument, 0);
        if (others != 1)
          value = arith::DivUIOp::create(
              b, loc, value, arith::ConstantIndexOp::create(b, loc, others));
      } else if (size) {
        int64_t i = *size.getConstantIndex();
        value = arith::ConstantIndexOp::create(
            b, loc, type.isDynamicDim(i) ? 1 : type.getDimSize(i));
      }
      user->getResult(0).replaceAllUsesWith(value);
      user->erase();
    }
  }

  void flattenSignature(FunctionOpInterface function) {
    Block &body = function.getFunctionBody().front();
    auto types = cast<FunctionType>(function.getFunctionType());
    SmallVector<Type> inputs(types.getInputs()), results(types.getResults());
    auto report = [&](StringRef what, size_t index, Type from, Type to) {
      remark::passed(function.getLoc(),
                     remark::RemarkOpts::name("FlattenRows").category(DEBUG_TYPE))
          << llvm::formatv(
                 "{0} {1} of '{2}', '{3}', becomes '{4}': its first dimensions "
                 "are the rows of a linear",
                 what, index, function.getName(), from, to)
                 .str();
    };
    for (BlockArgument argument : body.getArguments())
      if (RankedTensorType rows = rowsOf(argument)) {
        report("argument", argument.getArgNumber(), argument.getType(), rows);
        inputs[argument.getArgNumber()] = rows;
        flatten(argument, rows);
      }
    for (OpOperand &operand : body.getTerminator()->getOpOperands()) {
      auto expand = operand.get().getDefiningOp<tensor::ExpandShapeOp>();
      if (!expand || !isRows(expand.getReassociationIndices()))
        continue;
      report("result", operand.getOperandNumber(), expand.getType(),
             expand.getSrcType());
      operand.set(expand.getSrc());
      results[operand.getOperandNumber()] = expand.getSrcType();
      if (expand.use_empty())
        expand.erase();
    }
    function.setType(FunctionType::get(&getContext(), inputs, results));
  }
};
} // namespace
