//===- Tail.cpp - Elementwise operations behind a linear ------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   y = linear x, W {f};  a = g(y);  z = h(a, y, b)     g, h elementwise
//   -> z = linear x, W extras(b) {h . (g . f, f)}
//
// The tail of a linear are the users of a result, if all of them can move, and all
// that they compute from that result: so y above may have two users, as the gate of
// x * sigmoid(x) has.
//
//===----------------------------------------------------------------------===//
#include "Tail.h"

#include "qlinear/Transforms/Fuse.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"

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

SmallVector<Value> mlir::qlinear::inlineEpilogue(OpBuilder &builder, LinearOp linear,
                                                 ValueRange products,
                                                 ValueRange extras) {
  SmallVector<Value> elements;
  if (!linear.hasEpilogue()) {
    for (auto [product, result] : llvm::zip_equal(products, linear.getResults()))
      elements.push_back(roundTo(builder, linear.getLoc(), product,
                                 cast<ShapedType>(result.getType()).getElementType()));
    return elements;
  }
  IRMapping map;
  for (auto [arg, value] : llvm::zip_equal(linear.getComputedArguments(), products))
    map.map(arg, value);
  for (auto [arg, value] : llvm::zip_equal(linear.getExtraArguments(), extras))
    map.map(arg, value);
  for (Operation &op : linear.getBody().without_terminator())
    builder.clone(op, map);
  for (Value value : linear.getBody().getTerminator()->getOperands())
    elements.push_back(map.lookupOrDefault(value));
  return elements;
}

LinearOp mlir::qlinear::createWithBlock(OpBuilder &builder, Location loc,
                                        TypeRange results, Value x, ValueRange weights,
                                        ValueRange extras, LinearOp like) {
  auto linear = LinearOp::create(builder, loc, results, x, weights, extras,
                                 /*outs=*/ValueRange(), like);
  Block &block = linear.getEpilogue().emplaceBlock();
  for (size_t i = 0; i < weights.size(); ++i)
    block.addArgument(builder.getF32Type(), loc);
  for (Value extra : extras)
    block.addArgument(cast<ShapedType>(extra.getType()).getElementType(), loc);
  return linear;
}

bool mlir::qlinear::haveSameN(ValueRange weights) {
  return llvm::all_equal(llvm::map_range(
      weights, [](Value w) { return cast<WeightType>(w.getType()).getN(); }));
}

bool mlir::qlinear::hoistBefore(Value value, Operation *op, DominanceInfo &dominance,
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

//===----------------------------------------------------------------------===//
// Scalar code
//===----------------------------------------------------------------------===//

static std::string nameOf(Operation *op) {
  return ("'" + op->getName().getStringRef() + "'").str();
}

/// Prints a type as the assembly does.
static std::string spell(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

/// The constant that all elements of `value`, a tensor or a scalar, are; null if there
/// is none.
static TypedAttr constantElement(Value value) {
  Attribute constant;
  if (matchPattern(value, m_Constant(&constant))) {
    if (!isa<ElementsAttr>(constant))
      return dyn_cast<TypedAttr>(constant);
    auto dense = dyn_cast<DenseElementsAttr>(constant); // null for a resource
    return dense && dense.isSplat() ? cast<TypedAttr>(dense.getSplatValue<Attribute>())
                                    : TypedAttr();
  }
  Operation *def = value.getDefiningOp();
  if (auto splat = dyn_cast_if_present<tensor::SplatOp>(def))
    return constantElement(splat.getInput());
  if (auto fill = dyn_cast_if_present<linalg::FillOp>(def))
    return constantElement(fill.getInputs().front());
  return {};
}

/// The tensor of N whose elements all rows of `value` are; null if it is computed in
/// another way.
static Value broadcastOverRows(Value value) {
  auto linalgOp = value.getDefiningOp<linalg::LinalgOp>();
  if (!linalgOp || linalgOp.getNumDpsInputs() != 1 || linalgOp.getNumDpsInits() != 1 ||
      linalgOp.getNumLoops() != 2 || linalgOp.getNumParallelLoops() != 2)
    return {};
  OpOperand *input = linalgOp.getDpsInputOperand(0);
  Operation *yield = linalgOp.getBlock()->getTerminator();
  MLIRContext *context = value.getContext();
  AffineMap perColumn = AffineMap::get(2, 0, getAffineDimExpr(1, context));
  if (yield->getOperand(0) != linalgOp.getMatchingBlockArgument(input) ||
      linalgOp.getMatchingIndexingMap(input) != perColumn ||
      !linalgOp.getMatchingIndexingMap(linalgOp.getDpsInitOperand(0)).isIdentity())
    return {};
  return input->get();
}

ScalarSource mlir::qlinear::sourceOf(Value value) {
  if (TypedAttr constant = constantElement(value))
    return {constant, {}};
  if (Value row = broadcastOverRows(value)) {
    if (TypedAttr constant = constantElement(row))
      return {constant, {}};
    return {{}, row};
  }
  return {{}, value};
}

/// Whether the epilogue of a linear can hold `op`.
static bool isScalarCode(Operation &op) {
  return isPure(&op) && op.getNumRegions() == 0 &&
         (isa<arith::ArithDialect>(op.getDialect()) ||
          op.getDialect()->getNamespace() == "math");
}

/// Whether `op` is the kind of operation that fuses at all: others are not worth a
/// remark.
static bool isCandidate(Operation *op) {
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return linalgOp.hasPureTensorSemantics() &&
           linalgOp.getNumParallelLoops() == linalgOp.getNumLoops();
  return OpTrait::hasElementwiseMappableTraits(op) && isScalarCode(*op);
}

SmallVector<Value> mlir::qlinear::inputsOf(Operation *op) {
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return linalgOp.getDpsInputs();
  return SmallVector<Value>(op->getOperands());
}

std::string mlir::qlinear::whyNotElementwise(Operation *op) {
  if (!isCandidate(op))
    return nameOf(op) + " is not elementwise";
  auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
  if (!linalgOp)
    return "";
  if (linalgOp.getNumLoops() != 2)
    return nameOf(op) + " has " + std::to_string(linalgOp.getNumLoops()) +
           " loops; an epilogue has two, over M and N";
  AffineMap perColumn = AffineMap::get(2, 0, getAffineDimExpr(1, op->getContext()));
  for (OpOperand *input : linalgOp.getDpsInputOperands()) {
    AffineMap map = linalgOp.getMatchingIndexingMap(input);
    if (!map.isIdentity() && map != perColumn && !constantElement(input->get()))
      return "operand " + std::to_string(input->getOperandNumber()) +
             " is not read at (m, n) or (n)";
  }
  for (OpOperand &init : linalgOp.getDpsInitsMutable()) {
    if (!linalgOp.getMatchingIndexingMap(&init).isIdentity())
      return "result " +
             std::to_string(init.getOperandNumber() - linalgOp.getNumDpsInputs()) +
             " is not written at (m, n)";
    if (linalgOp.payloadUsesValueFromOperand(&init))
      return "it reads what it replaces, operand " +
             std::to_string(init.getOperandNumber());
  }
  Block *body = linalgOp.getBlock();
  for (Operation &inner : body->without_terminator())
    if (!isScalarCode(inner))
      return "its body has " + nameOf(&inner) +
             "; an epilogue has operations of arith and math";
  // Canonicalisation moves constants out; fusion copies them back.
  for (Operation &inner : *body)
    for (Value operand : inner.getOperands())
      if (operand.getParentBlock() != body && !matchPattern(operand, m_Constant()))
        return "its body reads a scalar from outside; only constants can be";
  return "";
}

static bool isFloat(Type type) {
  Type element = getElementTypeOrSelf(type);
  return element.isF32() || element.isF16() || element.isBF16();
}

//===----------------------------------------------------------------------===//
// Finding the tail
//===----------------------------------------------------------------------===//

bool Tail::isRows(Type type) const {
  auto rows = cast<RankedTensorType>(linear->getResult(0).getType());
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getShape() == rows.getShape();
}

/// A tensor with as many rows as the linear's input; null if there is none.
static Value rowsOf(LinearOp linear) {
  if (auto quantize = linear.getX().getDefiningOp<QuantizeActivationsOp>())
    return quantize.getInput();
  return isa<RankedTensorType>(linear.getX().getType()) ? linear.getX() : Value();
}

/// Whether `user` asks for a size only, which is known without the value.
bool Tail::isSize(Operation *user) {
  auto dim = dyn_cast<tensor::DimOp>(user);
  std::optional<int64_t> index = dim ? dim.getConstantIndex() : std::nullopt;
  return index &&
         (*index == 1 || linear.getM() != ShapedType::kDynamic || rowsOf(linear));
}

bool Tail::comesFrom(Value value, llvm::function_ref<bool(Operation *)> isRoot) {
  SmallVector<Value> worklist{value};
  DenseSet<Operation *> seen;
  while (!worklist.empty()) {
    Operation *def = worklist.pop_back_val().getDefiningOp();
    if (!def || def->getBlock() != linear->getBlock() || !seen.insert(def).second)
      continue;
    if (isRoot(def))
      return true;
    llvm::append_range(worklist, def->getOperands());
    llvm::SetVector<Value> captured;
    getUsedValuesDefinedAbove(def->getRegions(), captured);
    llvm::append_range(worklist, captured);
  }
  return false;
}

std::string Tail::requireInput(Value input, const ScalarSource &source,
                               llvm::SetVector<Operation *> &needed) {
  auto number = [&] { return "an operand, " + spell(input.getType()) + ", "; };
  if (source.constant || input.getDefiningOp() == linear)
    return "";
  if (comesFrom(source.tensor, [&](Operation *op) { return op == linear; }))
    return require(source.tensor.getDefiningOp(), needed);
  auto type = dyn_cast<RankedTensorType>(source.tensor.getType());
  int64_t n = linear.getWeightType(0).getN();
  bool perColumn = type && type.getRank() == 1 && type.getDimSize(0) == n;
  if (!type || (!isRows(type) && !perColumn) || !isFloat(type)) {
    if (Operation *def = input.getDefiningOp())
      return number() + "is the result of " + nameOf(def) +
             "; an epilogue reads M x N or N floats, and constants";
    return number() + "is not M x N or N floats";
  }
  if (!shareInput && comesFrom(source.tensor, [&](Operation *op) {
        auto other = dyn_cast<LinearOp>(op);
        return other && other.getX() == linear.getX();
      }))
    return "an operand is computed by another linear on the same input";
  return "";
}

std::string Tail::require(Operation *op, llvm::SetVector<Operation *> &needed) {
  if (needed.contains(op))
    return "";
  if (op->getBlock() != linear->getBlock())
    return nameOf(op) + " is in another block";
  if (std::string why = whyNotElementwise(op); !why.empty())
    return why;
  for (Type type : op->getResultTypes())
    if (!isRows(type))
      return "its result is " + spell(type) + ", but the linear's is " +
             spell(linear->getResult(0).getType());
  for (Value input : inputsOf(op))
    if (std::string why = requireInput(input, sourceOf(input), needed); !why.empty())
      return why;
  needed.insert(op); // after all that it needs
  return "";
}

/// The operation in `block` that `op` is, or is nested in.
static Operation *ancestorIn(Block *block, Operation *op) {
  return block->findAncestorOpInBlock(*op);
}

/// The users of a result of `linear`, each once, as they stand in its block; those in
/// other blocks come last.
static SmallVector<Operation *> usersInOrder(OpResult result) {
  llvm::SetVector<Operation *> users(result.user_begin(), result.user_end());
  SmallVector<Operation *> ordered = users.takeVector();
  Block *block = result.getOwner()->getBlock();
  llvm::sort(ordered, [&](Operation *a, Operation *b) {
    Operation *first = ancestorIn(block, a), *second = ancestorIn(block, b);
    if (!first || !second)
      return first && !second;
    return first != second && first->isBeforeInBlock(second);
  });
  return ordered;
}

Tail::Tail(LinearOp linear, DominanceInfo &dominance, bool shareInput)
    : linear(linear), dominance(dominance), shareInput(shareInput) {
  llvm::SetVector<Operation *> taken;
  std::string general;
  if (!haveSameN(linear.getWeights()))
    general = "the weights of the linear differ in N, and an epilogue needs one N; "
              "make it one linear for each N";
  for (OpResult result : linear->getResults()) {
    llvm::SetVector<Operation *> needed = taken;
    Operation *other = nullptr; // a user that needs the stored result
    bool all = true;
    SmallVector<Operation *> candidates;
    for (Operation *user : usersInOrder(result)) {
      if (isSize(user))
        continue;
      if (!isCandidate(user)) {
        other = user;
        continue;
      }
      candidates.push_back(user);
      std::string why = general.empty() ? require(user, needed) : general;
      if (why.empty())
        continue;
      declined[user] = why;
      all = false;
    }
    if (candidates.empty())
      continue;
    if (other || !all) {
      for (Operation *user : candidates)
        if (!declined.contains(user))
          declined[user] = "the linear's result is needed by " +
                           nameOf(other ? other : declined.begin()->first) +
                           " as well, so it has to leave the kernel";
      continue;
    }
    taken = std::move(needed);
  }
  for (Operation *op : taken)
    declined.erase(op);
  if (taken.empty())
    return;
  ops = taken.takeVector();
  llvm::sort(ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  if (std::string why = choosePlace(); !why.empty()) {
    for (Operation *op : ops)
      declined[op] = why;
    ops.clear();
  }
}

std::string Tail::choosePlace() {
  llvm::SmallPtrSet<Operation *, 8> inside(ops.begin(), ops.end());
  auto consider = [&](Value value) {
    bool isUsed = false;
    for (Operation *user : value.getUsers())
      if (!inside.contains(user) && !isSize(user)) {
        isUsed = true;
        // What stays a result of the linear must not come later than its users.
        Operation *at = ancestorIn(linear->getBlock(), user);
        if (value.getDefiningOp() == linear && at &&
            (!place || at->isBeforeInBlock(place)))
          place = at;
      }
    if (isUsed)
      outputs.push_back(value);
    return isUsed;
  };
  for (Value result : linear->getResults())
    consider(result);
  for (Operation *op : ops)
    for (Value result : op->getResults())
      if (consider(result) && (!place || op->isBeforeInBlock(place)))
        place = op;
  if (outputs.empty())
    return "its result is not used";
  for (Value output : outputs)
    if (!isFloat(output.getType()))
      return "a result is " + spell(output.getType()) +
             "; linears have results of f32, f16 or bf16";
  extras.assign(linear.getExtras().begin(), linear.getExtras().end());
  for (Operation *op : ops)
    for (Value input : inputsOf(op)) {
      ScalarSource source = sourceOf(input);
      Operation *def = input.getDefiningOp();
      if (source.constant || def == linear || (def && inside.contains(def)))
        continue;
      if (!llvm::is_contained(extras, source.tensor))
        extras.push_back(source.tensor);
    }
  auto whatComesAfter = [&](Operation *at) {
    return llvm::find_if(extras, [&](Value extra) {
      return !hoistBefore(extra, at, dominance, /*move=*/false);
    });
  };
  // Where the linear is, if possible, so that siblings keep their order.
  if (whatComesAfter(linear) == extras.end())
    place = linear;
  if (auto late = whatComesAfter(place); late != extras.end())
    return "an operand, the result of " + nameOf(late->getDefiningOp()) +
           ", is computed only after the place of the fused linear";
  return "";
}

std::string mlir::qlinear::whyNotFused(Operation *op) {
  DominanceInfo dominance;
  SmallVector<Operation *> worklist{op};
  DenseSet<Operation *> seen;
  while (!worklist.empty()) {
    Operation *at = worklist.pop_back_val();
    for (Value operand : at->getOperands()) {
      Operation *def = operand.getDefiningOp();
      if (!def || !seen.insert(def).second)
        continue;
      auto linear = dyn_cast<LinearOp>(def);
      if (!linear) {
        if (isCandidate(def))
          worklist.push_back(def);
        continue;
      }
      if (!linear.hasTensorSemantics())
        continue;
      Tail tail(linear, dominance);
      if (auto found = tail.reasons().find(op); found != tail.reasons().end())
        return found->second;
      if (!tail && !tail.reasons().empty())
        return "the tail of the linear before it is cut at " +
               nameOf(tail.reasons().begin()->first) + ": " +
               tail.reasons().begin()->second;
    }
  }
  return "";
}

//===----------------------------------------------------------------------===//
// Fusing it
//===----------------------------------------------------------------------===//

void mlir::qlinear::emitScalars(OpBuilder &builder, Operation *op, ValueRange elements,
                                IRMapping &scalars) {
  auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
  if (!linalgOp) {
    SmallVector<Type> types = llvm::map_to_vector(
        op->getResultTypes(), [](Type t) { return getElementTypeOrSelf(t); });
    OperationState state(op->getLoc(), op->getName(), elements, types, op->getAttrs());
    state.propertiesAttr = op->getPropertiesAsAttribute();
    scalars.map(op->getResults(), builder.create(state)->getResults());
    return;
  }
  IRMapping map;
  for (auto [operand, element] :
       llvm::zip_equal(linalgOp.getDpsInputOperands(), elements))
    map.map(linalgOp.getMatchingBlockArgument(operand), element);
  for (Operation &inner : *linalgOp.getBlock()) {
    for (Value operand : inner.getOperands())
      if (operand.getParentBlock() != linalgOp.getBlock() && !map.contains(operand))
        builder.clone(*operand.getDefiningOp(), map);
    if (!inner.hasTrait<OpTrait::IsTerminator>())
      builder.clone(inner, map);
  }
  for (auto [result, value] : llvm::zip_equal(
           op->getResults(), linalgOp.getBlock()->getTerminator()->getOperands()))
    scalars.map(result, map.lookupOrDefault(value));
}

/// Replaces the sizes of a value of M x N elements by what says how many there are.
void Tail::replaceSizes(RewriterBase &rewriter, Value value) {
  for (Operation *user : llvm::make_early_inc_range(value.getUsers())) {
    if (!isSize(user))
      continue;
    auto dim = cast<tensor::DimOp>(user);
    int64_t index = *dim.getConstantIndex();
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(dim);
    auto type = cast<RankedTensorType>(value.getType());
    if (type.isDynamicDim(index))
      rewriter.replaceOpWithNewOp<tensor::DimOp>(dim, rowsOf(linear), index);
    else
      rewriter.replaceOpWithNewOp<arith::ConstantIndexOp>(dim, type.getDimSize(index));
  }
}

LinearOp Tail::fuse(IRRewriter &rewriter) {
  for (Value extra : extras)
    hoistBefore(extra, place, dominance, /*move=*/true);
  SmallVector<Location> locations{linear.getLoc()};
  for (Operation *op : ops)
    locations.push_back(op->getLoc());
  Location loc = rewriter.getFusedLoc(locations);
  rewriter.setInsertionPoint(place);
  size_t weights = linear.getWeights().size(), own = linear.getExtras().size();
  LinearOp fused = createWithBlock(rewriter, loc, ValueRange(outputs).getTypes(),
                                   linear.getX(), linear.getWeights(), extras, linear);
  rewriter.setInsertionPointToEnd(&fused.getBody());
  ValueRange arguments = fused.getBody().getArguments();
  ValueRange elements = arguments.drop_front(weights);
  IRMapping scalars;
  scalars.map(linear->getResults(),
              inlineEpilogue(rewriter, linear, arguments.take_front(weights),
                             elements.take_front(own)));
  for (Operation *op : ops) {
    SmallVector<Value> inputs;
    for (Value input : inputsOf(op)) {
      if (Value known = scalars.lookupOrNull(input)) {
        inputs.push_back(known);
        continue;
      }
      ScalarSource source = sourceOf(input);
      inputs.push_back(
          source.constant
              ? Value(arith::ConstantOp::create(rewriter, input.getLoc(),
                                                source.constant))
              : elements[llvm::find(extras, source.tensor) - extras.begin()]);
    }
    emitScalars(rewriter, op, inputs, scalars);
  }
  SmallVector<Value> yielded;
  for (Value output : outputs)
    yielded.push_back(scalars.lookup(output));
  YieldOp::create(rewriter, loc, yielded);
  for (auto [output, result] : llvm::zip_equal(outputs, fused->getResults())) {
    replaceSizes(rewriter, output);
    rewriter.replaceAllUsesExcept(output, result, fused);
  }
  for (Operation *op : llvm::reverse(ops)) {
    for (Value result : op->getResults())
      replaceSizes(rewriter, result);
    if (op->use_empty())
      rewriter.eraseOp(op);
  }
  for (Value result : linear->getResults())
    replaceSizes(rewriter, result);
  if (linear->use_empty())
    rewriter.eraseOp(linear);
  return fused;
}
