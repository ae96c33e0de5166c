//===- Fuse.cpp - Linears that share an input, and their neighbours -------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two rewrites, until neither applies:
//
//   siblings    y1 = linear x, W1 {f1};  y2 = linear x, W2 {f2}
//            -> y1, y2 = linear x, W1, W2 {f1, f2}       x is read and quantized once
//
//   consumers   y = linear x, W {f};  z = g(y, b)        g elementwise, y used by
//            -> z = linear x, W extras(b) {g . f}        nothing else
//
// Both keep every rounding: where y is bf16, the epilogue rounds to bf16 before
// g is applied, so the fused module computes the same bits.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#define DEBUG_TYPE "qlinear-fuse"

namespace mlir::qlinear {
#define GEN_PASS_DEF_FUSE
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

//===----------------------------------------------------------------------===//
// Epilogues
//===----------------------------------------------------------------------===//

/// The element of a product, rounded to the type of the result it stands for.
static Value roundTo(OpBuilder &builder, Location loc, Value product, Type type) {
  if (product.getType() == type)
    return product;
  return arith::TruncFOp::create(builder, loc, type, product);
}

/// Appends the elements that `linear` yields, computed from `products` and
/// `extras`, to the block that `builder` points into.
static SmallVector<Value> inlineEpilogue(OpBuilder &builder, LinearOp linear,
                                         ValueRange products, ValueRange extras) {
  SmallVector<Value> elements;
  if (!linear.hasEpilogue()) {
    for (auto [product, result] : llvm::zip_equal(products, linear.getResults()))
      elements.push_back(roundTo(builder, linear.getLoc(), product,
                                 cast<ShapedType>(result.getType()).getElementType()));
    return elements;
  }
  IRMapping map;
  for (auto [arg, value] : llvm::zip_equal(linear.getProductArguments(), products))
    map.map(arg, value);
  for (auto [arg, value] : llvm::zip_equal(linear.getExtraArguments(), extras))
    map.map(arg, value);
  for (Operation &op : linear.getBody().without_terminator())
    builder.clone(op, map);
  for (Value value : linear.getBody().getTerminator()->getOperands())
    elements.push_back(map.lookupOrDefault(value));
  return elements;
}

/// A new linear on `x` with an epilogue block whose arguments fit `weights` and
/// `extras`; the block is still empty.
static LinearOp createWithBlock(OpBuilder &builder, Location loc, TypeRange results,
                                Value x, ValueRange weights, ValueRange extras) {
  auto linear = LinearOp::create(builder, loc, results, x, weights, extras,
                                 /*schedule=*/ScheduleAttr());
  Block &block = linear.getEpilogue().emplaceBlock();
  for (size_t i = 0; i < weights.size(); ++i)
    block.addArgument(builder.getF32Type(), loc);
  for (Value extra : extras)
    block.addArgument(cast<ShapedType>(extra.getType()).getElementType(), loc);
  return linear;
}

static bool sameN(ValueRange weights) {
  return llvm::all_equal(llvm::map_range(
      weights, [](Value w) { return cast<WeightType>(w.getType()).getN(); }));
}

//===----------------------------------------------------------------------===//
// Siblings
//===----------------------------------------------------------------------===//

/// Whether `value` can be made to dominate `op` by moving chains of pure
/// definitions without regions up; with `move`, does so.
static bool hoistBefore(Value value, Operation *op, DominanceInfo &dominance,
                        bool move) {
  if (dominance.properlyDominates(value, op))
    return true;
  Operation *def = value.getDefiningOp();
  if (!def || def->getBlock() != op->getBlock() || !isPure(def) || def->getNumRegions())
    return false;
  for (Value operand : def->getOperands())
    if (!hoistBefore(operand, op, dominance, move))
      return false;
  if (move)
    def->moveBefore(op);
  return true;
}

/// Merges `second`, which comes later in the same block, into `first`.
static LinearOp mergeSiblings(IRRewriter &rewriter, LinearOp first, LinearOp second,
                              DominanceInfo &dominance) {
  SmallVector<Value> weights(first.getWeights()), extras(first.getExtras());
  llvm::append_range(weights, second.getWeights());
  llvm::append_range(extras, second.getExtras());
  bool epilogue = first.hasEpilogue() || second.hasEpilogue();
  if (epilogue && !sameN(weights))
    return {};
  SmallVector<Value> operands(second.getWeights());
  llvm::append_range(operands, second.getExtras());
  for (bool move : {false, true})
    for (Value operand : operands)
      if (!hoistBefore(operand, first, dominance, move))
        return {};

  SmallVector<Type> types(first->getResultTypes());
  llvm::append_range(types, second->getResultTypes());
  rewriter.setInsertionPoint(first);
  Location loc = rewriter.getFusedLoc({first.getLoc(), second.getLoc()});
  LinearOp merged;
  if (epilogue) {
    merged = createWithBlock(rewriter, loc, types, first.getX(), weights, extras);
    rewriter.setInsertionPointToEnd(&merged.getBody());
    size_t w = first.getWeights().size(), e = first.getExtras().size();
    ValueRange products = merged.getBody().getArguments().take_front(weights.size());
    ValueRange elements = merged.getBody().getArguments().drop_front(weights.size());
    SmallVector<Value> yielded =
        inlineEpilogue(rewriter, first, products.take_front(w), elements.take_front(e));
    llvm::append_range(yielded, inlineEpilogue(rewriter, second, products.drop_front(w),
                                               elements.drop_front(e)));
    YieldOp::create(rewriter, loc, yielded);
  } else {
    merged = LinearOp::create(rewriter, loc, types, first.getX(), weights, extras,
                              ScheduleAttr());
  }
  size_t split = first->getNumResults();
  rewriter.replaceOp(first, merged.getResults().take_front(split));
  rewriter.replaceOp(second, merged.getResults().drop_front(split));
  return merged;
}

//===----------------------------------------------------------------------===//
// Consumers
//===----------------------------------------------------------------------===//

namespace {
/// An elementwise operation on M x N tensors, seen as scalar code.
struct Elementwise {
  Operation *op = nullptr;
  /// Tensors that the scalar code reads one element of each.
  SmallVector<Value> inputs;

  static std::optional<Elementwise> match(Operation *op);
  /// Appends the scalar code; `elements` are of `inputs`.
  SmallVector<Value> emit(OpBuilder &builder, ValueRange elements) const;
};
} // namespace

/// A scalar constant for a splat tensor; null if `value` is not one.
static TypedAttr splatElement(Value value) {
  DenseElementsAttr dense;
  if (matchPattern(value, m_Constant(&dense)) && dense.isSplat())
    return cast<TypedAttr>(dense.getSplatValue<Attribute>());
  return {};
}

/// Whether the epilogue of a linear can hold `op`.
static bool isScalarCode(Operation &op) {
  return isPure(&op) && op.getNumRegions() == 0 &&
         (isa<arith::ArithDialect>(op.getDialect()) ||
          op.getDialect()->getNamespace() == "math");
}

/// Whether an operand of scalar code in `body` comes from within, or is a constant,
/// which canonicalisation moves out and fusion copies back.
static bool isLocalOrConstant(Value operand, Block *body) {
  return operand.getParentBlock() == body || matchPattern(operand, m_Constant());
}

std::optional<Elementwise> Elementwise::match(Operation *op) {
  Elementwise result;
  result.op = op;
  if (auto generic = dyn_cast<linalg::LinalgOp>(op)) {
    if (!generic.hasPureTensorSemantics() || generic.getNumLoops() != 2 ||
        generic.getNumParallelLoops() != 2)
      return std::nullopt;
    AffineMap rowMajor = AffineMap::getMultiDimIdentityMap(2, op->getContext());
    AffineMap perColumn = AffineMap::get(2, 0, getAffineDimExpr(1, op->getContext()));
    for (OpOperand *input : generic.getDpsInputOperands()) {
      AffineMap map = generic.getMatchingIndexingMap(input);
      if (!isa<RankedTensorType>(input->get().getType()) ||
          (map != rowMajor && map != perColumn))
        return std::nullopt;
      result.inputs.push_back(input->get());
    }
    for (OpOperand &init : generic.getDpsInitsMutable())
      if (generic.getMatchingIndexingMap(&init) != rowMajor ||
          generic.payloadUsesValueFromOperand(&init))
        return std::nullopt;
    for (Operation &inner : generic.getBlock()->without_terminator())
      if (!isScalarCode(inner))
        return std::nullopt;
    for (Operation &inner : *generic.getBlock())
      for (Value operand : inner.getOperands())
        if (!isLocalOrConstant(operand, generic.getBlock()))
          return std::nullopt;
    return result;
  }
  // arith and math on whole tensors.
  if (!OpTrait::hasElementwiseMappableTraits(op) || !isScalarCode(*op))
    return std::nullopt;
  for (Value operand : op->getOperands())
    if (!isa<RankedTensorType>(operand.getType()))
      return std::nullopt;
  result.inputs.assign(op->operand_begin(), op->operand_end());
  return result;
}

SmallVector<Value> Elementwise::emit(OpBuilder &builder, ValueRange elements) const {
  IRMapping map;
  if (auto generic = dyn_cast<linalg::LinalgOp>(op)) {
    for (auto [operand, element] :
         llvm::zip_equal(generic.getDpsInputOperands(), elements))
      map.map(generic.getMatchingBlockArgument(operand), element);
    for (Operation &inner : *generic.getBlock()) {
      for (Value operand : inner.getOperands())
        if (operand.getParentBlock() != generic.getBlock() && !map.contains(operand))
          builder.clone(*operand.getDefiningOp(), map);
      if (!inner.hasTrait<OpTrait::IsTerminator>())
        builder.clone(inner, map);
    }
    SmallVector<Value> results;
    for (Value value : generic.getBlock()->getTerminator()->getOperands())
      results.push_back(map.lookupOrDefault(value));
    return results;
  }
  SmallVector<Type> types = llvm::map_to_vector(
      op->getResultTypes(), [](Type t) { return getElementTypeOrSelf(t); });
  OperationState state(op->getLoc(), op->getName(), elements, types, op->getAttrs());
  state.propertiesAttr = op->getPropertiesAsAttribute();
  return SmallVector<Value>(builder.create(state)->getResults());
}

/// Pulls the only consumer of a linear's results into its epilogue.
static LinearOp fuseConsumer(IRRewriter &rewriter, LinearOp linear) {
  if (linear->use_empty() || !sameN(linear.getWeights()))
    return {};
  Operation *consumer = *linear->user_begin();
  if (consumer->getBlock() != linear->getBlock() ||
      llvm::any_of(linear->getUsers(),
                   [&](Operation *user) { return user != consumer; }))
    return {};
  std::optional<Elementwise> elementwise = Elementwise::match(consumer);
  if (!elementwise)
    return {};
  auto rows = cast<RankedTensorType>(linear.getResult(0).getType());
  auto isRows = [&](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.getRank() == 2 &&
           tensor.getDimSize(0) == rows.getDimSize(0) &&
           tensor.getDimSize(1) == rows.getDimSize(1);
  };
  auto isFloat = [](Type type) {
    Type element = getElementTypeOrSelf(type);
    return element.isF32() || element.isF16() || element.isBF16();
  };
  for (Type type : consumer->getResultTypes())
    if (!isRows(type) || !isFloat(type))
      return {};

  // What the scalar code reads: the linear's elements, constants, or extras.
  SmallVector<Value> extras(linear.getExtras());
  size_t known = extras.size();
  for (Value input : elementwise->inputs) {
    if (input.getDefiningOp() == linear || splatElement(input))
      continue;
    auto type = cast<RankedTensorType>(input.getType());
    bool perColumn = type.getRank() == 1 && type.getDimSize(0) == rows.getDimSize(1);
    if ((!isRows(type) && !perColumn) || !isFloat(type))
      return {};
    if (!llvm::is_contained(ArrayRef(extras).drop_front(known), input))
      extras.push_back(input);
  }

  rewriter.setInsertionPoint(consumer);
  Location loc = rewriter.getFusedLoc({linear.getLoc(), consumer->getLoc()});
  size_t weights = linear.getWeights().size();
  LinearOp fused = createWithBlock(rewriter, loc, consumer->getResultTypes(),
                                   linear.getX(), linear.getWeights(), extras);
  rewriter.setInsertionPointToEnd(&fused.getBody());
  ValueRange arguments = fused.getBody().getArguments();
  ValueRange extraElements = arguments.drop_front(weights);
  SmallVector<Value> own = inlineEpilogue(
      rewriter, linear, arguments.take_front(weights), extraElements.take_front(known));
  SmallVector<Value> elements;
  for (Value input : elementwise->inputs) {
    if (input.getDefiningOp() == linear) {
      elements.push_back(own[cast<OpResult>(input).getResultNumber()]);
    } else if (TypedAttr splat = splatElement(input)) {
      elements.push_back(arith::ConstantOp::create(rewriter, input.getLoc(), splat));
    } else {
      auto at = llvm::find(ArrayRef(extras).drop_front(known), input);
      elements.push_back(extraElements[at - extras.begin()]);
    }
  }
  YieldOp::create(rewriter, loc, elementwise->emit(rewriter, elements));
  rewriter.replaceOp(consumer, fused.getResults());
  rewriter.eraseOp(linear);
  return fused;
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {
struct FusePass : mlir::qlinear::impl::FuseBase<FusePass> {
  using FuseBase::FuseBase;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<Block *> blocks;
    getOperation()->walk([&](LinearOp linear) {
      if (linear.hasTensorSemantics() &&
          !llvm::is_contained(blocks, linear->getBlock()))
        blocks.push_back(linear->getBlock());
    });
    for (Block *block : blocks) {
      if (siblings)
        fuseSiblings(rewriter, *block);
      if (consumers)
        fuseConsumers(rewriter, *block);
    }
  }

  void fuseSiblings(IRRewriter &rewriter, Block &block) {
    DominanceInfo dominance(block.getParentOp());
    llvm::MapVector<Value, SmallVector<LinearOp>> byInput;
    for (auto linear : block.getOps<LinearOp>())
      if (linear.hasTensorSemantics())
        byInput[linear.getX()].push_back(linear);
    for (auto &[x, linears] : byInput) {
      LinearOp merged = linears.front();
      for (LinearOp next : ArrayRef(linears).drop_front())
        if (LinearOp both = mergeSiblings(rewriter, merged, next, dominance)) {
          merged = both;
          ++siblingsFused;
        }
    }
  }

  void fuseConsumers(IRRewriter &rewriter, Block &block) {
    SmallVector<LinearOp> worklist(block.getOps<LinearOp>());
    while (!worklist.empty())
      if (LinearOp linear = worklist.pop_back_val(); !linear.hasTensorSemantics())
        continue;
      else if (LinearOp fused = fuseConsumer(rewriter, linear)) {
        worklist.push_back(fused);
        ++consumersFused;
      }
  }
};
} // namespace
