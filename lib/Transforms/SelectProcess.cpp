//===- SelectProcess.cpp - The program of one process of a grid -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   f: a; b = exchange a'; c; d = exchange c'; return d
//   -> f_0: a -> a'     host: b = exchange a'     f_1: b, c -> c'     host: d = ...
//
// A function ends where its host exchanges data with other processes. What has no
// operands (weights, constants) is made anew in each function that uses it.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/Sharding.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Shard/IR/ShardDialect.h"
#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "mlir/Dialect/Shard/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FormatVariadic.h"

namespace mlir::qlinear {
#define GEN_PASS_DEF_SELECTPROCESS
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;
using shard::GridAxis;

//===----------------------------------------------------------------------===//
// The place in the grid
//===----------------------------------------------------------------------===//

/// The index along each axis; nothing if the grid has no such process.
static std::optional<SmallVector<int64_t>> placeIn(shard::GridOp grid,
                                                   int64_t process) {
  SmallVector<int64_t> place(grid.getRank());
  for (int64_t axis = grid.getRank() - 1; axis >= 0; --axis) {
    int64_t size = grid.getShape()[axis];
    if (ShapedType::isDynamic(size))
      return std::nullopt;
    place[axis] = process % size;
    process /= size;
  }
  return process == 0 ? std::optional(place) : std::nullopt;
}

/// (index, number) of the process among those along `axes`.
static std::pair<int64_t, int64_t> among(ArrayRef<GridAxis> axes, shard::GridOp grid,
                                         ArrayRef<int64_t> place) {
  int64_t index = 0, count = 1;
  for (GridAxis axis : axes) {
    index = index * grid.getShape()[axis] + place[axis];
    count *= grid.getShape()[axis];
  }
  return {index, count};
}

namespace {
struct Place {
  shard::GridOp grid;
  SmallVector<int64_t> index;
};
/// By the grid's name.
using Places = llvm::StringMap<Place>;

/// A parameter in the place of a part of one.
LogicalResult replacePart(PartOp part, const Places &places, SymbolTable &symbols) {
  auto load = part.getWeight().getDefiningOp<LoadOp>();
  if (!load)
    return part.emitOpError(
        "is of a weight that is not loaded, and only parameters have "
        "parts in an archive; run shard-partition before passes "
        "that change weights");
  auto whole = symbols.lookup<ParameterOp>(load.getParameter());
  const Place &place = places.at(part.getGrid());
  auto [index, count] = among(part.getGridAxes(), place.grid, place.index);
  bool isRows = !part.getColumns();
  WeightType type = part.getType(), all = whole.getWeightType();
  uint64_t extent = uint64_t(isRows ? type.getN() : type.getK());
  ::qlinear::NamedPart named{whole.getArchiveName().str(),
                             part.getAxis(),
                             {uint64_t(index) * extent, uint64_t(index + 1) * extent},
                             uint64_t(isRows ? all.getN() : all.getK())};
  OpBuilder b(whole);
  std::string source = named.name();
  ParameterOp mine;
  for (auto other : whole->getParentOfType<ModuleOp>().getOps<ParameterOp>())
    if (other.getType() == type && other.getArchiveName() == source)
      mine = other;
  if (!mine) {
    mine = ParameterOp::create(
        b, whole.getLoc(),
        b.getStringAttr(whole.getSymName() + "_" + Twine(index)).getValue(),
        StringAttr(), type, b.getStringAttr(source));
    symbols.insert(mine);
  }
  b.setInsertionPoint(part);
  part.replaceAllUsesWith(
      LoadOp::create(b, part.getLoc(), type, mine.getSymName()).getResult());
  part.erase();
  if (load->use_empty())
    load.erase();
  if (SymbolTable::symbolKnownUseEmpty(whole, whole->getParentOp()))
    symbols.erase(whole);
  return success();
}

/// Constants for what asks for the place of the process.
template <typename Op> struct PlaceToConstants : OpRewritePattern<Op> {
  PlaceToConstants(MLIRContext *context, const Places &places)
      : OpRewritePattern<Op>(context), places(places) {}

  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    Place place = places.at(op.getGrid());
    SmallVector<GridAxis> axes;
    if constexpr (!std::is_same_v<Op, shard::ProcessLinearIndexOp>)
      axes = llvm::to_vector(op.getAxes());
    if (axes.empty())
      axes = llvm::to_vector(llvm::seq<GridAxis>(0, place.grid.getRank()));
    SmallVector<Value> values;
    auto add = [&](int64_t value) {
      values.push_back(arith::ConstantIndexOp::create(rewriter, op.getLoc(), value));
    };
    if constexpr (std::is_same_v<Op, shard::ProcessLinearIndexOp>)
      add(among(axes, place.grid, place.index).first);
    else
      for (GridAxis axis : axes)
        add(std::is_same_v<Op, shard::GridShapeOp> ? place.grid.getShape()[axis]
                                                   : place.index[axis]);
    rewriter.replaceOp(op, values);
    return success();
  }

  const Places &places;
};

//===----------------------------------------------------------------------===//
// Functions between exchanges
//===----------------------------------------------------------------------===//

bool isExchange(Operation &op) {
  return isa<shard::ShardDialect>(op.getDialect()) && !isa<shard::GridOp>(op);
}

/// What has neither operands nor effects can be made anew where it is used.
bool isMadeAnew(Operation *op) {
  return op && op->getNumOperands() == 0 && op->getNumRegions() == 0 && isPure(op);
}

struct Splitter {
  Splitter(func::FuncOp function, SymbolTable &symbols)
      : function(function), symbols(symbols) {}
  LogicalResult run();

private:
  LogicalResult makeStep(ArrayRef<Operation *> ops, ArrayRef<Operation *> after,
                         StringRef name, bool isLast);

  func::FuncOp function;
  SymbolTable &symbols;
  /// The operations of each function; the exchanges after it.
  SmallVector<SmallVector<Operation *>> steps{1};
  SmallVector<SmallVector<Operation *>> exchanges;
  DenseMap<Value, std::string> names; ///< what each value is, in words
};
} // namespace

/// "all_reduce sum of result 0 of f on [0]".
static std::string describe(Operation *exchange, StringRef operand) {
  std::string text = exchange->getName().stripDialect().str();
  if (auto reduce = dyn_cast<shard::AllReduceOp>(exchange))
    text += (" " + stringifyReductionKind(reduce.getReduction())).str();
  if (auto gather = dyn_cast<shard::AllGatherOp>(exchange))
    text += llvm::formatv(" along {0}", gather.getGatherAxis().getSExtValue()).str();
  text += (" of " + operand).str();
  if (auto axes = exchange->getAttrOfType<DenseI16ArrayAttr>("grid_axes"))
    text += llvm::formatv(" on [{0}]", llvm::make_range(axes.asArrayRef().begin(),
                                                        axes.asArrayRef().end()))
                .str();
  return text;
}

LogicalResult Splitter::run() {
  Block &body = function.front();
  for (Operation &op : body.without_terminator()) {
    WalkResult inside = op.walk([&](Operation *inner) {
      return inner != &op && isExchange(*inner) ? WalkResult::interrupt()
                                                : WalkResult::advance();
    });
    if (inside.wasInterrupted())
      return op.emitError("'")
             << op.getName()
             << "' exchanges data of processes inside; only functions "
                "are taken apart: move the exchange out of it";
    if (isExchange(op)) {
      exchanges.resize(steps.size());
      exchanges.back().push_back(&op);
    } else if (!isMadeAnew(&op)) {
      if (exchanges.size() == steps.size())
        steps.emplace_back();
      steps.back().push_back(&op);
    }
  }
  if (exchanges.empty())
    return success();
  if (!SymbolTable::symbolKnownUseEmpty(function, function->getParentOp()))
    return function.emitOpError("is taken apart where processes exchange data, and is "
                                "called from elsewhere; inline it there first");
  for (BlockArgument argument : body.getArguments())
    names[argument] = ("argument " + Twine(argument.getArgNumber())).str();
  exchanges.resize(steps.size());
  for (auto [i, ops] : llvm::enumerate(steps)) {
    std::string name = function.getSymName().str();
    if (steps.size() > 1)
      name += "_" + std::to_string(i);
    if (failed(makeStep(ops, exchanges[i], name, i + 1 == steps.size())))
      return failure();
  }
  symbols.erase(function);
  return success();
}

LogicalResult Splitter::makeStep(ArrayRef<Operation *> ops, ArrayRef<Operation *> after,
                                 StringRef name, bool isLast) {
  Block &body = function.front();
  llvm::SmallPtrSet<Operation *, 16> own(ops.begin(), ops.end());
  llvm::SetVector<Value> inputs, outputs;
  for (Operation *op : ops) {
    op->walk([&](Operation *inner) {
      for (Value value : inner->getOperands()) {
        Operation *maker = value.getDefiningOp();
        bool isInside = value.getParentBlock() != &body || own.contains(maker);
        if (!isInside && !isMadeAnew(maker))
          inputs.insert(value);
      }
    });
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) {
            return !own.contains(body.findAncestorOpInBlock(*user));
          }))
        outputs.insert(result);
  }
  for (Value value : llvm::concat<const Value>(inputs, outputs))
    if (isa<WeightType, ActivationsType>(value.getType()))
      return emitError(value.getLoc())
             << "a value of type " << value.getType() << " is used after processes "
             << "exchange data, and functions exchange tensors only; run this pass "
             << "before qlinear-quantize-activations";
  OpBuilder b(function);
  SmallVector<Type> inputTypes, outputTypes;
  for (Value value : inputs)
    inputTypes.push_back(value.getType());
  for (Value value : outputs)
    outputTypes.push_back(value.getType());
  auto step = func::FuncOp::create(b, function.getLoc(), name,
                                   b.getFunctionType(inputTypes, outputTypes));
  step.setVisibility(function.getVisibility());
  Block *block = step.addEntryBlock();
  IRMapping map;
  SmallVector<Attribute> taken;
  for (auto [value, argument] : llvm::zip_equal(inputs, block->getArguments())) {
    map.map(value, argument);
    taken.push_back(b.getStringAttr(names.lookup(value)));
  }
  step->setAttr("qlinear.inputs", b.getArrayAttr(taken));
  b.setInsertionPointToEnd(block);
  for (Operation *op : ops) {
    op->walk([&](Operation *inner) {
      for (Value value : inner->getOperands())
        if (isMadeAnew(value.getDefiningOp()) && !map.contains(value))
          b.clone(*value.getDefiningOp(), map);
    });
    b.clone(*op, map);
  }
  SmallVector<Value> returned;
  for (auto [k, value] : llvm::enumerate(outputs)) {
    returned.push_back(map.lookup(value));
    names[value] = llvm::formatv("result {0} of {1}", k, name).str();
  }
  func::ReturnOp::create(b, function.getLoc(), returned);
  for (Operation *exchange : after)
    names[exchange->getResult(0)] =
        describe(exchange, names.lookup(exchange->getOperand(0)));
  if (isLast) {
    SmallVector<Attribute> given;
    for (Value value : body.getTerminator()->getOperands())
      given.push_back(b.getStringAttr(names.lookup(value)));
    step->setAttr("qlinear.outputs", b.getArrayAttr(given));
  }
  // Its name is free when the whole is gone.
  if (name == function.getSymName())
    function.setSymName((name + "$").str());
  return success();
}

namespace {
struct SelectProcess : mlir::qlinear::impl::SelectProcessBase<SelectProcess> {
  using SelectProcessBase::SelectProcessBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    SelectProcessBase::getDependentDialects(registry);
    shard::registerAllSliceOpLoweringDialects(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    Places places;
    for (auto grid : module.getOps<shard::GridOp>()) {
      std::optional<SmallVector<int64_t>> place = placeIn(grid, process);
      if (process < 0 || !place) {
        grid.emitError("the grid @")
            << grid.getSymName() << " has no process " << int64_t(process)
            << "; its shape is known, and process= is below their number";
        return signalPassFailure();
      }
      places[grid.getSymName()] = {grid, *place};
    }
    SmallVector<PartOp> parts;
    module.walk([&](PartOp part) { parts.push_back(part); });
    for (PartOp part : parts)
      if (failed(replacePart(part, places, symbols)))
        return signalPassFailure();
    SymbolTableCollection collection;
    RewritePatternSet patterns(&getContext());
    shard::populateAllSliceOpLoweringPatterns(patterns, collection);
    patterns.add<PlaceToConstants<shard::ProcessLinearIndexOp>,
                 PlaceToConstants<shard::ProcessMultiIndexOp>,
                 PlaceToConstants<shard::GridShapeOp>>(&getContext(), places);
    if (failed(applyPatternsGreedily(module, std::move(patterns))))
      return signalPassFailure();
    for (auto function : llvm::to_vector(module.getOps<func::FuncOp>()))
      if (!function.isExternal() && failed(Splitter(function, symbols).run()))
        return signalPassFailure();
    for (auto grid : llvm::to_vector(module.getOps<shard::GridOp>()))
      grid.erase();
  }
};
} // namespace
