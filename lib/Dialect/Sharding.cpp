//===- Sharding.cpp - Linears of which each process has a part ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What upstream's shard dialect asks operations. A linear has loops over M, over K, and
// over N of each weight (of all weights, with a region):
//
//   y: M x N = x: M x K * w: N x K
//
// Sharded along N, each process has rows of the weights, and of the results their
// columns. Sharded along K it has columns of the weights, and an all-reduce adds the
// results up. Weights are no tensors: they have no sharding of their own, but follow
// that of the linear, as qlinear.part. Other operations on rows can be sharded along M.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/Sharding.h"

#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "mlir/Dialect/Shard/Interfaces/ShardingInterface.h"
#include "mlir/Dialect/Shard/Interfaces/ShardingInterfaceImpl.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::Axis;
using shard::GridAxis;
using shard::Sharding;
using shard::ShardingOption;

#define GET_OP_CLASSES
#include "qlinear/Dialect/QLinearPartOp.cpp.inc"

StringRef mlir::qlinear::stringifyAxis(Axis axis) {
  return axis == Axis::rows ? "rows" : "columns";
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

namespace {
constexpr int kM = 0, kK = 1, kN = 2; ///< loops; from kN on, one per weight
constexpr int kWhole = -1;            ///< a dimension that is not divided

/// The loops of a value's dimensions; none of a value that has no sharding.
using Dims = SmallVector<int, 2>;

struct Loops {
  unsigned count = 0;
  SmallVector<Dims> operands, results;
};

bool isSharded(Value value) { return isa<RankedTensorType>(value.getType()); }

Loops loopsOf(LinearOp op) {
  bool isShared = !op.getEpilogue().empty(); // one N
  Loops loops;
  loops.count = kN + (isShared ? 1 : op.getWeights().size());
  auto extras = op.getExtras(), outs = op.getOuts();
  for (OpOperand &operand : op->getOpOperands()) {
    unsigned i = operand.getOperandNumber();
    bool isExtra = !extras.empty() && i >= extras.getBeginOperandIndex() &&
                   i < extras.getBeginOperandIndex() + extras.size();
    bool isOut = !outs.empty() && i >= outs.getBeginOperandIndex();
    if (!isSharded(operand.get()) || (isExtra && isOneElement(operand.get().getType())))
      loops.operands.push_back({});
    else if (isExtra && cast<RankedTensorType>(operand.get().getType()).getRank() == 1)
      loops.operands.push_back({kN});
    else if (isOut && !isShared)
      loops.operands.push_back({kM, int(kN + i - outs.getBeginOperandIndex())});
    else if (isExtra || isOut)
      loops.operands.push_back({kM, kN});
    else
      loops.operands.push_back({kM, kK});
  }
  for (unsigned i = 0; i < op->getNumResults(); ++i)
    loops.results.push_back({kM, int(kN + (isShared ? 0 : i))});
  return loops;
}

/// Of operations whose rows are independent, and wholes.
Loops loopsOfRows(Operation *op) {
  Loops loops;
  loops.count = 1;
  auto dims = [](Value value) -> Dims {
    if (!isSharded(value))
      return {};
    if (cast<RankedTensorType>(value.getType()).getRank() == 1)
      return {kWhole};
    return {kM, kWhole};
  };
  for (Value operand : op->getOperands())
    loops.operands.push_back(dims(operand));
  for (Value result : op->getResults())
    loops.results.push_back(dims(result));
  return loops;
}

/// The axes of the grid along which each loop is divided.
struct Division {
  FlatSymbolRefAttr grid;
  SmallVector<SmallVector<GridAxis>> axes;

  /// Takes over the sharding of a value; false if it contradicts what is there.
  bool add(Sharding sharding, const Dims &dims) {
    if (!sharding)
      return true;
    if (grid && grid != sharding.getGridAttr())
      return false;
    grid = sharding.getGridAttr();
    for (auto [i, split] : llvm::enumerate(sharding.getSplitAxes())) {
      ArrayRef<GridAxis> along = split.asArrayRef();
      if (along.empty())
        continue;
      if (i >= dims.size() || dims[i] == kWhole)
        return false;
      if (!axes[dims[i]].empty() && ArrayRef<GridAxis>(axes[dims[i]]) != along)
        return false;
      axes[dims[i]] = llvm::to_vector(along);
    }
    return true;
  }

  /// No axis divides two loops, but for N of several weights, of which each has its
  /// own.
  bool isConsistent() const {
    auto overlap = [](ArrayRef<GridAxis> a, ArrayRef<GridAxis> b) {
      return llvm::any_of(a,
                          [&](GridAxis axis) { return llvm::is_contained(b, axis); });
    };
    for (size_t i = 0; i < axes.size(); ++i)
      for (size_t j = 0; j < std::min<size_t>(i, kN); ++j)
        if (overlap(axes[i], axes[j]))
          return false;
    return true;
  }

  Sharding of(const Dims &dims, MLIRContext *context) const {
    SmallVector<SmallVector<GridAxis>> split;
    for (int loop : dims)
      split.push_back(loop == kWhole ? SmallVector<GridAxis>() : axes[loop]);
    shard::removeTrailingEmptySubArray(split);
    SmallVector<shard::GridAxesAttr> attrs;
    for (const auto &some : split)
      attrs.push_back(shard::GridAxesAttr::get(context, some));
    return Sharding::get(grid, attrs);
  }
};

std::optional<Division> divisionOf(const Loops &loops, ArrayRef<Sharding> operands,
                                   ArrayRef<Sharding> results) {
  Division division;
  division.axes.resize(loops.count);
  for (auto [sharding, dims] : llvm::zip_equal(results, loops.results))
    if (!division.add(sharding, dims))
      return std::nullopt;
  for (auto [sharding, dims] : llvm::zip_equal(operands, loops.operands))
    if (!division.add(sharding, dims))
      return std::nullopt;
  return division.isConsistent() ? std::optional(division) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// The interface
//===----------------------------------------------------------------------===//

/// What upstream's defaults do, for operations whose operands are not all tensors.
template <typename Model, typename Op>
struct ShardedByLoops : shard::ShardingInterface::ExternalModel<Model, Op> {
  FailureOr<ShardingOption> getShardingOption(Operation *op,
                                              ArrayRef<Sharding> operands,
                                              ArrayRef<Sharding> results) const {
    std::optional<Division> division = divisionOf(Model::loops(op), operands, results);
    if (!division)
      return failure();
    if (!division->grid)
      return ShardingOption::makeEmpty();
    return ShardingOption(division->axes, division->grid);
  }

  FailureOr<std::vector<Sharding>>
  getShardingAnnotations(Operation *op, const ShardingOption &option) const {
    Loops loops = Model::loops(op);
    Division division{option.grid, option.shardingArray};
    std::vector<Sharding> shardings;
    for (const Dims &dims : loops.operands)
      shardings.push_back(dims.empty() ? Sharding()
                                       : division.of(dims, op->getContext()));
    for (const Dims &dims : loops.results)
      shardings.push_back(division.of(dims, op->getContext()));
    return shardings;
  }

  LogicalResult addShardingAnnotations(Operation *op, OpBuilder &b,
                                       const ShardingOption &option) const {
    auto shardings = getShardingAnnotations(op, option);
    for (OpResult result : op->getResults())
      shard::maybeInsertTargetShardingAnnotation(
          (*shardings)[op->getNumOperands() + result.getResultNumber()], result, b);
    for (OpOperand &operand : op->getOpOperands()) {
      OpBuilder::InsertionGuard guard(b);
      if (isSharded(operand.get()))
        shard::maybeInsertSourceShardingAnnotation(
            (*shardings)[operand.getOperandNumber()], operand, b);
    }
    return success();
  }
};

/// The operation on the process's rows.
template <typename Op> struct RowsSharding : ShardedByLoops<RowsSharding<Op>, Op> {
  static Loops loops(Operation *op) { return loopsOfRows(op); }

  LogicalResult partition(Operation *op, ArrayRef<Value> partitioned,
                          ArrayRef<Sharding> operands, ArrayRef<Sharding> results,
                          IRMapping &map, SymbolTableCollection &symbols,
                          OpBuilder &b) const {
    if (!cachesOf(op).empty())
      return op->emitOpError("writes caches, whose rows are of no token in particular; "
                             "shard the module before there are caches");
    if (!divisionOf(loops(op), operands, results))
      return op->emitOpError("can be sharded along its rows only");
    shard::partitionTriviallyShardableOperation(*op, partitioned, operands, results,
                                                map, symbols, b);
    return success();
  }
};

/// Every process loads the whole; what it uses of it, qlinear.part says.
struct LoadSharding : shard::ShardingInterface::ExternalModel<LoadSharding, LoadOp> {
  FailureOr<ShardingOption> getShardingOption(Operation *, ArrayRef<Sharding>,
                                              ArrayRef<Sharding>) const {
    return ShardingOption::makeEmpty();
  }

  LogicalResult partition(Operation *op, ArrayRef<Value>, ArrayRef<Sharding>,
                          ArrayRef<Sharding>, IRMapping &map, SymbolTableCollection &,
                          OpBuilder &b) const {
    b.clone(*op, map);
    return success();
  }
};

struct LinearSharding : ShardedByLoops<LinearSharding, LinearOp> {
  static Loops loops(Operation *op) { return loopsOf(cast<LinearOp>(op)); }

  LogicalResult partition(Operation *op, ArrayRef<Value> partitioned,
                          ArrayRef<Sharding> operands, ArrayRef<Sharding> results,
                          IRMapping &map, SymbolTableCollection &symbols,
                          OpBuilder &b) const;
};

/// Checks that `size` can be divided among processes.
FailureOr<int64_t> divide(LinearOp op, WeightType type, Axis axis, int64_t processes) {
  int64_t size = axis == Axis::rows ? type.getN() : type.getK();
  int64_t step = cutStep(type.getEncoding().getValue(), axis);
  if (size % (processes * step) == 0)
    return size / processes;
  return op.emitOpError("is sharded along ")
         << (axis == Axis::rows ? "N = " : "K = ") << size << " among " << processes
         << " processes, and " << type << " can be cut at multiples of " << step << " "
         << stringifyAxis(axis) << ": " << size << " is not a multiple of "
         << processes * step << "; pad the weight, take another number of processes, "
         << "or leave this linear whole";
}
} // namespace

LogicalResult LinearSharding::partition(Operation *op, ArrayRef<Value> partitioned,
                                        ArrayRef<Sharding> operands,
                                        ArrayRef<Sharding> results, IRMapping &map,
                                        SymbolTableCollection &symbols,
                                        OpBuilder &b) const {
  auto linear = cast<LinearOp>(op);
  std::optional<Division> division = divisionOf(loops(op), operands, results);
  if (!division)
    return op->emitOpError("has shardings that contradict each other; an axis of the "
                           "grid divides M, N or K, and one value as the other");
  auto grid = shard::getGridOrNull(op, division->grid, symbols);
  auto alongLoop = [&](int loop) -> ArrayRef<GridAxis> {
    return grid ? ArrayRef<GridAxis>(division->axes[loop]) : ArrayRef<GridAxis>();
  };
  ArrayRef<GridAxis> alongK = alongLoop(kK);
  bool isShared = !linear.getEpilogue().empty();
  if (!alongK.empty() && isShared)
    return op->emitOpError("is sharded along K, and its epilogue would be computed on "
                           "sums of which each process has a part; run "
                           "shard-partition before qlinear-fuse");
  if (!isSharded(linear.getX()))
    return op->emitOpError("has quantized activations, which cannot be sharded; run "
                           "shard-partition before qlinear-quantize-activations");

  IRMapping operandsOf;
  for (auto [operand, part] : llvm::zip_equal(op->getOperands(), partitioned))
    operandsOf.map(operand, part);
  for (auto [i, weight] : llvm::enumerate(linear.getWeights())) {
    auto type = cast<WeightType>(weight.getType());
    ArrayRef<GridAxis> alongN = alongLoop(kN + (isShared ? 0 : i));
    for (auto [axis, along] :
         {std::pair(Axis::rows, alongN), {Axis::columns, alongK}}) {
      if (along.empty())
        continue;
      int64_t processes = shard::collectiveProcessGroupSize(along, grid);
      if (ShapedType::isDynamic(processes))
        return op->emitOpError("is sharded on ")
               << division->grid << ", whose shape is not known; give it one";
      FailureOr<int64_t> size = divide(linear, type, axis, processes);
      if (failed(size))
        return failure();
      bool isRows = axis == Axis::rows;
      type = WeightType::get(op->getContext(), isRows ? *size : type.getN(),
                             isRows ? type.getK() : *size, type.getEncoding());
      Value whole = operandsOf.lookup(weight);
      operandsOf.map(weight, PartOp::create(b, op->getLoc(), type, whole, !isRows,
                                            division->grid.getValue(), along)
                                 .getResult());
    }
  }
  Operation *mine = b.clone(*op, operandsOf);
  for (auto [whole, part, dims] :
       llvm::zip_equal(op->getResults(), mine->getResults(), loops(op).results)) {
    if (!grid) {
      map.map(whole, part);
      continue;
    }
    part.setType(
        shard::shardType(whole.getType(), grid, division->of(dims, op->getContext())));
    Value sum = part;
    if (!alongK.empty())
      sum = shard::AllReduceOp::create(b, op->getLoc(), part, grid.getSymName(), alongK,
                                       shard::ReductionKind::Sum);
    map.map(whole, sum);
  }
  return success();
}

void mlir::qlinear::attachShardingInterface(MLIRContext *context) {
  LoadOp::attachInterface<LoadSharding>(*context);
  LinearOp::attachInterface<LinearSharding>(*context);
  NormOp::attachInterface<RowsSharding<NormOp>>(*context);
  RotaryOp::attachInterface<RowsSharding<RotaryOp>>(*context);
  EmbeddingOp::attachInterface<RowsSharding<EmbeddingOp>>(*context);
}
