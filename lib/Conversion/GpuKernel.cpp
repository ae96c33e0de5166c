//===- GpuKernel.cpp - The skeleton of a GPU kernel -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "GpuKernel.h"
#include "GpuSkeleton.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/BitVector.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace qlinear {

namespace {
/// Whether kernels for few rows get x as int8 codes.
bool isQuantized(LinearOp op) {
  return !isa<RankedTensorType>(op.getX().getType()) ||
         op.getSchedule()->getQuantize() == QuantizeKind::norm;
}

/// Emits one kernel.
class Skeleton : public GpuSkeleton {
public:
  using GpuSkeleton::GpuSkeleton;
  /// With `grouped` the linear is that of a choice (ChoiceLinear).
  void linear(LinearOp op, const KernelPlan &plan, GroupedLinearOp grouped = {});
  void quantize(RankedTensorType input, int64_t grid, int64_t threads, bool pdl);
  void embedding(EmbeddingOp op, int64_t threads, bool pdl);
  void rotary(RotaryOp op, int64_t threads, bool pdl);

private:
  /// What a block of a grouped linear is for.
  struct Choice {
    GroupedLinearOp op;
    Value firstTile;         ///< of the expert, in the weights
    Value multiplies, fills; ///< whether there is this expert, or only its piece
    Value fill;              ///< the elements of such a piece
  };
  /// A walk in the making: its state, and the block's tiles.
  struct Active {
    const KernelSegment *segment;
    const KernelWalk *walk;
    int phase;
    Value state, unit, tile0, tiles, startEarly;
  };

  std::pair<Value, Value> tilesOf(const KernelPlan &plan, const KernelSegment &segment,
                                  Value block);
  Active begin(LinearOp op, const KernelPlan &plan, const KernelSegment &segment,
               const KernelWalk &walk, Value block, int phase);
  void start(const Active &active, Value condition, int firstStage, int lastStage,
             bool afterLoads = false);
  void stageActivations(LinearOp op, const KernelPlan &plan, int phase,
                        llvm::function_ref<void()> startRest);
  void epilogue(LinearOp op, const KernelPlan &plan, const KernelSegment &segment,
                ArrayRef<Active> walks);

  /// First unit of a block's phase.
  Value unit0(const KernelPlan &plan, int phase) {
    Value first = constant(phase * plan.phaseUnits);
    return plan.split == 1
               ? first
               : arith::AddIOp::create(
                     b, loc, first,
                     arith::MulIOp::create(b, loc, rank, constant(plan.units)));
  }
  /// Calls `body(row, token)` for rows 16 `tiles` tiles, shared among threads.
  void forEachRow(const KernelPlan &plan, Value tiles,
                  llvm::function_ref<void(Value, Value)> body);
  SmallVector<Value> totals(LinearOp op, const KernelPlan &plan, ArrayRef<Active> walks,
                            Value row, Value token);
  void gather(LinearOp op, const KernelPlan &plan, const KernelSegment &segment,
              ArrayRef<Active> walks);
  Value choose(GroupedLinearOp grouped, const KernelPlan &plan, Value block);
  void fill(LinearOp op, const KernelPlan &plan, const KernelSegment &segment,
            Value block);

  std::optional<Choice> choice;
  Value items; ///< state of ql_load_activations
  Value rank;  ///< in the cluster, if plan.split > 1
};
} // namespace

/// The block's first tile of a segment, and how many it has.
std::pair<Value, Value> Skeleton::tilesOf(const KernelPlan &plan,
                                          const KernelSegment &segment, Value block) {
  auto tileAt = [&](Value index) -> Value {
    Value at = arith::DivUIOp::create(
        b, loc, arith::MulIOp::create(b, loc, index, constant(plan.totalCost)),
        constant(plan.grid / plan.split));
    if (plan.segments.size() == 1 && segment.cost == 1)
      return at;
    at = arith::SubIOp::create(b, loc, at, constant(segment.start));
    at = arith::MaxSIOp::create(b, loc, at, constant(0));
    at = arith::AddIOp::create(b, loc, at, constant(segment.cost - 1));
    at = arith::DivUIOp::create(b, loc, at, constant(segment.cost));
    return arith::MinSIOp::create(b, loc, at, constant(segment.tiles));
  };
  Value first = tileAt(block);
  Value last = tileAt(arith::AddIOp::create(b, loc, block, constant(1)));
  return {first, arith::SubIOp::create(b, loc, last, first)};
}

Skeleton::Active Skeleton::begin(LinearOp op, const KernelPlan &plan,
                                 const KernelSegment &segment, const KernelWalk &walk,
                                 Value block, int phase) {
  Active active{&segment, &walk, phase, {}, {}, {}, {}, {}};
  std::tie(active.tile0, active.tiles) = tilesOf(plan, segment, block);
  active.state = state();
  active.unit = state();
  const layout::WeightLayout &l = walk.layout;
  // A weight of several experts has the rows of all of them.
  auto weightRows = int64_t(l.N);
  Value first = active.tile0;
  if (choice) {
    weightRows *= int64_t(choice->op.getExperts());
    first = arith::AddIOp::create(b, loc, first, choice->firstTile);
    active.tiles =
        arith::SelectOp::create(b, loc, choice->multiplies, active.tiles, constant(0));
  }
  // That of all weights of the walk.
  EncodingAttr encoding = op.getWeightType(walk.weights.front()).getEncoding();
  call("ql_walk_init",
       {active.state, constant(plan.mode), constant(plan.product),
        SpecOp::create(b, loc, encoding), constant64(weightRows),
        constant64(int64_t(l.K)), constant(int64_t(walk.weights.size())),
        unit0(plan, phase), constant(plan.unitsOf(phase)), constant(plan.warps),
        constant(plan.stages), constant(plan.ringBytes), first, active.tiles, shared(0),
        shared(walk.barriers[phase]), shared(walk.exchange)});
  for (auto [i, weight] : llvm::enumerate(walk.weights))
    call("ql_walk_weight", {active.state, constant(int64_t(i)), pointers[weight]});
  return active;
}

/// Starts the copies that fill some stages of a walk's ring if `condition` holds (null:
/// always); `afterLoads`: of activations.
void Skeleton::start(const Active &active, Value condition, int firstStage,
                     int lastStage, bool afterLoads) {
  SmallVector<Value> args{active.state, constant(firstStage), constant(lastStage),
                          constant(afterLoads)};
  if (!condition)
    return call("ql_walk_start", args);
  auto guard = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  b.setInsertionPointToStart(guard.thenBlock());
  call("ql_walk_start", args);
  b.setInsertionPointAfter(guard);
}

/// Activations of a phase into shared memory. `startRest` starts the copies that would
/// delay the loads of x: they come after those, or where x is quantized already, which
/// is little to load, when it has arrived.
void Skeleton::stageActivations(LinearOp op, const KernelPlan &plan, int phase,
                                llvm::function_ref<void()> startRest) {
  uint64_t kinds = 0;
  for (auto [i, kind] : llvm::enumerate(plan.recordKinds))
    kinds |= uint64_t(kind.pack()) << 16 * i;
  Value x = xOf(op);
  SmallVector<Value> what{
      constant64(plan.K),      unit0(plan, phase),     constant(plan.unitsOf(phase)),
      constant(plan.tokens),   constant(plan.product), rows,
      constant(plan.threads())};
  if (!isQuantized(op)) {
    auto type = cast<RankedTensorType>(op.getX().getType());
    what.insert(what.begin(), {items, constant(elementOf(type.getElementType()))});
    what.push_back(x);
    call("ql_load_activations", what);
    startRest();
    what.append({constant64(int64_t(kinds)), shared(plan.codes), shared(plan.records)});
    call(op.multipliesFloats() ? "ql_stage_floats" : "ql_stage_activations", what);
  } else {
    what.append({constant64(int64_t(kinds)), constant(plan.bulkCodes), constant(phase),
                 shared(plan.codesBarrier), x, shared(plan.codes),
                 shared(plan.records)});
    call("ql_stage_quantized", what);
    startRest();
  }
}

void Skeleton::forEachRow(const KernelPlan &plan, Value tiles,
                          llvm::function_ref<void(Value, Value)> body) {
  Value count = arith::MulIOp::create(b, loc, tiles, constant(layout::kTileRows));
  // Threads share the rows of all tokens: element i is row i % count of token
  // i / count.
  Value all = plan.tokens == 1 ? count : arith::MulIOp::create(b, loc, count, rows);
  auto loop = scf::ForOp::create(b, loc, thread, all, constant(plan.threads()));
  b.setInsertionPointToStart(loop.getBody());
  Value row = loop.getInductionVar(), token = constant(0);
  if (plan.tokens > 1) {
    token = call("ql_divide", i32, {row, count});
    row =
        arith::SubIOp::create(b, loc, row, arith::MulIOp::create(b, loc, token, count));
  }
  body(row, token);
  b.setInsertionPointAfter(loop);
}

/// The block's products of each weight at a row of its tiles; null for weights of
/// other segments.
SmallVector<Value> Skeleton::totals(LinearOp op, const KernelPlan &plan,
                                    ArrayRef<Active> walks, Value row, Value token) {
  SmallVector<Value> products(op.getWeights().size());
  for (const Active &active : walks)
    for (auto [i, weight] : llvm::enumerate(active.walk->weights)) {
      Value total = call("ql_walk_total", f32,
                         {active.state, constant(plan.tokens), token,
                          constant(int64_t(i)), row, shared(active.walk->constants),
                          shared(active.walk->slots[active.phase])});
      Value &product = products[weight];
      product = product ? arith::AddFOp::create(b, loc, product, total) : total;
    }
  return products;
}

/// Hands the block's products to the blocks of the cluster that finish them.
void Skeleton::gather(LinearOp op, const KernelPlan &plan, const KernelSegment &segment,
                      ArrayRef<Active> walks) {
  forEachRow(plan, walks.front().tiles, [&](Value row, Value token) {
    SmallVector<Value> products = totals(op, plan, walks, row, token);
    int64_t weights = llvm::count_if(products, [](Value v) { return bool(v); });
    int64_t index = 0;
    for (Value product : products)
      if (product)
        call("ql_gather_store",
             {shared(segment.gather), constant(plan.split), rank, constant(weights),
              constant(plan.ownTiles(segment)), constant(plan.tokens), token,
              constant(index++), row, product});
  });
}

/// For each row of x and each finished row of the block's tiles: the epilogue.
void Skeleton::epilogue(LinearOp op, const KernelPlan &plan,
                        const KernelSegment &segment, ArrayRef<Active> walks) {
  unsigned nWeights = unsigned(op.getWeights().size());
  Value tiles = walks.front().tiles;
  if (plan.split > 1) // tiles rank, rank + split, ...
    tiles = arith::DivUIOp::create(
        b, loc,
        arith::SubIOp::create(
            b, loc, arith::AddIOp::create(b, loc, tiles, constant(plan.split - 1)),
            rank),
        constant(plan.split));
  Value base =
      arith::MulIOp::create(b, loc, walks.front().tile0, constant(layout::kTileRows));
  forEachRow(plan, tiles, [&](Value row, Value m) {
    SmallVector<Value> products;
    Value inTiles = row; // of the cluster
    if (plan.split > 1) {
      int64_t weights = 0, index = 0;
      for (const KernelWalk &walk : segment.walks)
        weights += int64_t(walk.weights.size());
      llvm::BitVector used(nWeights);
      for (const KernelWalk &walk : segment.walks)
        for (unsigned weight : walk.weights)
          used.set(weight);
      for (unsigned weight = 0; weight < nWeights; ++weight)
        products.push_back(
            used.test(weight)
                ? call("ql_gather_total", f32,
                       {shared(segment.gather), constant(plan.split), constant(weights),
                        constant(plan.ownTiles(segment)), constant(plan.tokens), m,
                        constant(index++), row})
                : Value());
      inTiles = call("ql_gather_row", i32, {constant(plan.split), rank, row});
    } else {
      products = totals(op, plan, walks, row, m);
    }
    Value n = arith::AddIOp::create(b, loc, base, inTiles);
    finish(op, segment, products, n, m);
  });
}

/// The choice that a block is for: of those of a token by turns, `plan.grid` blocks for
/// each. From here on the pointers, but for those of the weights, are those of the
/// choice, as the linear of a choice has them, and there is one row. Returns the place
/// among the blocks of the choice.
Value Skeleton::choose(GroupedLinearOp grouped, const KernelPlan &plan, Value block) {
  // The ids are what the kernel before this one has made: nothing is known before.
  awaitPrior(plan.pdl);
  auto minus = [&](Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); };
  auto compare = [&](arith::CmpIPredicate predicate, Value x, Value y) -> Value {
    return arith::CmpIOp::create(b, loc, predicate, x, y);
  };
  auto select = [&](Value condition, Value x, Value y) -> Value {
    return arith::SelectOp::create(b, loc, condition, x, y);
  };
  Value choices = constant(grouped.getChoices());
  Value number = arith::DivUIOp::create(b, loc, block, constant(plan.grid));
  Value own = arith::RemUIOp::create(b, loc, block, constant(plan.grid));
  Value count = arith::MulIOp::create(b, loc, rows, choices);
  // The kernel may be for more rows than there are.
  Value isThere = compare(arith::CmpIPredicate::ult, number, count);
  number = select(isThere, number, minus(count, constant(1)));
  Value token = arith::DivUIOp::create(b, loc, number, choices);

  auto wide = [&](Value v) -> Value { return arith::ExtUIOp::create(b, loc, i64, v); };
  auto moved = [&](Value pointer, Value index, int64_t size, Type type) {
    Value at = arith::MulIOp::create(b, loc, wide(index), constant64(size));
    return element(pointer, at, getElementTypeOrSelf(type));
  };
  size_t weights = grouped.getWeights().size();
  Value ids = pointers[weights + 1];
  pointers.erase(pointers.begin() + int64_t(weights) + 1);
  Value id = LLVM::LoadOp::create(b, loc, i32, element(ids, wide(number), i32));
  Value isKnown =
      compare(arith::CmpIPredicate::ult, id, constant(int64_t(grouped.getExperts())));
  Value expert = select(isKnown, id, constant(0));
  Value isNone = compare(arith::CmpIPredicate::slt, id, constant(0));
  auto real = [&](const APFloat &v) -> Value {
    return arith::ConstantFloatOp::create(b, loc, cast<mlir::FloatType>(f32), v);
  };
  const llvm::fltSemantics &single = APFloat::IEEEsingle();
  Value no = arith::ConstantIntOp::create(b, loc, b.getI1Type(), 0);
  choice = {
      grouped,
      arith::MulIOp::create(b, loc, expert,
                            constant(grouped.getN() / layout::kTileRows)),
      arith::AndIOp::create(b, loc, isThere, isKnown), select(isKnown, no, isThere),
      select(isNone, real(APFloat::getZero(single)), real(APFloat::getNaN(single)))};

  int64_t n = grouped.getN();
  Value &x = pointers[weights];
  x = moved(x, grouped.hasPieces() ? number : token, grouped.getK(),
            grouped.getX().getType());
  for (unsigned i = 0; i < grouped.getExtras().size(); ++i) {
    Value &extra = pointers[weights + 1 + i];
    Type type = grouped.getExtras()[i].getType();
    switch (grouped.getExtraKind(i)) {
    case GroupedLinearOp::ExtraKind::one:
    case GroupedLinearOp::ExtraKind::column:
      break;
    case GroupedLinearOp::ExtraKind::expertColumn:
      extra = moved(extra, expert, n, type);
      break;
    case GroupedLinearOp::ExtraKind::choice:
      extra = moved(extra, number, 1, type);
      break;
    case GroupedLinearOp::ExtraKind::element:
      extra = moved(extra, number, n, type);
      break;
    }
  }
  for (unsigned i = 0; i < grouped.getNumResults(); ++i) {
    Value &result = pointers[weights + 1 + grouped.getExtras().size() + i];
    result = moved(result, number, n, grouped.getResult(i).getType());
  }
  rows = constant(1);
  return own;
}

/// The piece of a choice of no expert.
void Skeleton::fill(LinearOp op, const KernelPlan &plan, const KernelSegment &segment,
                    Value block) {
  auto [tile0, tiles] = tilesOf(plan, segment, block);
  Value first = arith::MulIOp::create(b, loc, tile0, constant(layout::kTileRows));
  tiles = arith::SelectOp::create(b, loc, choice->fills, tiles, constant(0));
  forEachRow(plan, tiles, [&, first = first](Value row, Value m) {
    Value at = indexOf(segment, arith::AddIOp::create(b, loc, first, row), m);
    for (unsigned result : segment.results) {
      Type type = getElementTypeOrSelf(op.getResult(result).getType());
      Value value =
          type.isF32()
              ? choice->fill
              : arith::TruncFOp::create(b, loc, type, choice->fill).getResult();
      LLVM::StoreOp::create(b, loc, value, element(resultOf(op, result), at, type));
    }
  });
}

void Skeleton::linear(LinearOp op, const KernelPlan &plan, GroupedLinearOp grouped) {
  items = state();
  Value block = call("ql_ptx_block", i32, {});
  if (grouped)
    block = choose(grouped, plan, block);
  if (plan.split > 1) {
    Value split = constant(plan.split);
    rank = call("ql_ptx_cluster_rank", i32, {split});
    block = arith::DivUIOp::create(b, loc, block, split);
    call("ql_ptx_cluster_arrive", {split}); // the block has started
  }
  Value yes = arith::ConstantIntOp::create(b, loc, b.getI1Type(), 1);
  // Walks in the order in which they are done: phase by phase.
  SmallVector<SmallVector<Active>> phases(plan.phases);
  for (int phase = 0; phase < plan.phases; ++phase)
    for (const KernelSegment &segment : plan.segments)
      for (const KernelWalk &walk : segment.walks)
        phases[phase].push_back(begin(op, plan, segment, walk, block, phase));

  // The copies of a phase's first walk that has tiles start before anything waits.
  auto startFirst = [&](MutableArrayRef<Active> walks, int stages) {
    Value none;
    for (Active &active : walks) {
      Value any = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sgt, active.tiles,
                                        constant(0));
      active.startEarly = none ? arith::AndIOp::create(b, loc, none, any) : any;
      Value empty = arith::XOrIOp::create(b, loc, any, yes);
      none = none ? arith::AndIOp::create(b, loc, none, empty) : empty;
      start(active, active.startEarly, 0, stages);
    }
  };
  startFirst(phases.front(), plan.earlyStages);
  bool waits = plan.pdl && !grouped;
  if (waits)
    call("ql_ptx_launch_dependents", {});
  for (const Active &active : phases.front())
    for (unsigned i = 0; i < active.walk->weights.size(); ++i)
      call("ql_stage_rows", {active.state, constant(i), constant(plan.threads()),
                             shared(active.walk->constants)});
  if (waits)
    call("ql_ptx_wait_prior_grids", {});

  bool quantized = isQuantized(op);
  for (int phase = 0; phase < plan.phases; ++phase) {
    stageActivations(op, plan, phase, [&] {
      if (plan.earlyStages == plan.stages)
        return;
      for (const Active &active : phases[phase]) {
        start(active, active.startEarly, plan.earlyStages, plan.stages,
              /*afterLoads=*/!quantized);
        if (plan.ahead)
          call("ql_walk_take", {active.state, active.unit});
      }
    });
    call("ql_ptx_barrier", {});
    if (quantized && plan.bulkCodes)
      call("ql_await_codes", {constant(phase), shared(plan.codesBarrier)});
    for (Active &active : phases[phase]) {
      if (phases[phase].size() > 1)
        start(active, arith::XOrIOp::create(b, loc, active.startEarly, yes), 0,
              plan.stages);
      call("ql_walk_multiply",
           {active.state, constant(plan.tokens), shared(plan.codes),
            shared(plan.recordsOf(*active.walk, phase)), shared(active.walk->constants),
            shared(active.walk->slots[phase]), active.unit, constant(plan.ahead)});
    }
    if (phase + 1 < plan.phases) {
      startFirst(phases[phase + 1], plan.stages); // a warp's own ring is free
      if (quantized && plan.bulkCodes)
        call("ql_ptx_proxy_fence", {}); // the next phase's codes replace this one's
    }
    call("ql_ptx_barrier", {});
  }

  auto walksOf = [&](const KernelSegment &segment) {
    SmallVector<Active> walks;
    for (const auto &phase : phases)
      llvm::copy_if(phase, std::back_inserter(walks),
                    [&](const Active &active) { return active.segment == &segment; });
    return walks;
  };
  if (plan.split > 1) {
    call("ql_ptx_cluster_wait", {});
    for (const KernelSegment &segment : plan.segments)
      gather(op, plan, segment, walksOf(segment));
    call("ql_ptx_cluster_arrive", {constant(plan.split)});
    call("ql_ptx_cluster_wait", {});
  }
  for (const KernelSegment &segment : plan.segments) {
    epilogue(op, plan, segment, walksOf(segment));
    if (choice)
      fill(op, plan, segment, block);
  }
}

void Skeleton::quantize(RankedTensorType input, int64_t grid, int64_t threads,
                        bool pdl) {
  awaitPrior(pdl);
  call("ql_quantize",
       {constant(elementOf(input.getElementType())), constant64(input.getDimSize(1)),
        rows, constant(threads), constant(grid), pointers[0], pointers[1]});
}

void Skeleton::embedding(EmbeddingOp op, int64_t threads, bool pdl) {
  awaitPrior(pdl);
  WeightType type = op.getWeightType();
  call("ql_embedding",
       {SpecOp::create(b, loc, type.getEncoding()), constant64(type.getN()),
        constant64(type.getK()), constant(elementOf(op.getElement())), rows,
        constant(threads), pointers[0], pointers[1], pointers[2]});
}

void Skeleton::rotary(RotaryOp op, int64_t threads, bool pdl) {
  awaitPrior(pdl);
  unsigned count = unsigned(op.getInputs().size()), plain = op.getNumRows();
  auto norms = unsigned(op.getNorms().size());
  bool cached = plain < count;
  ArrayRef<Value> at = ArrayRef(pointers).drop_front(count + 2 + norms);
  ArrayRef<Value> caches = at.drop_front(cached); // each with how many rows it has
  ArrayRef<Value> results = caches.drop_front(2 * (count - plain));
  for (unsigned i = 0; i < count; ++i) {
    SmallVector<Value> args{constant(elementOf(op.getElement())),
                            constant(elementOf(op.getTableElement()))};
    bool normalizes = i < norms;
    if (normalizes)
      args.append({constant(elementOf(op.getNormElement())),
                   constant(op.getZeroCentered()),
                   arith::ConstantOp::create(b, loc, op.getEpsilonAttr())});
    args.append({constant(op.getColumns(i) / int64_t(op.getHead())),
                 constant(int64_t(op.getHead())), constant(op.getRotated(i)), rows,
                 constant(threads), pointers[i]});
    if (normalizes)
      args.push_back(pointers[count + 2 + i]);
    args.append({pointers[count], pointers[count + 1]});
    if (i < plain) {
      args.append(
          {LLVM::ZeroOp::create(b, loc, ptr), constant64(0), constant(1), results[i]});
    } else {
      ArrayRef<Value> cache = caches.drop_front(2 * (i - plain));
      int64_t columns = op.getColumns(i) / op.getPieces();
      args.append({at.front(), LLVM::PtrToIntOp::create(b, loc, i64, cache[1]),
                   constant(columns / int64_t(op.getHead())), cache[0]});
    }
    call(normalizes ? "ql_rotary_norm" : "ql_rotary", args);
  }
}

gpu::GPUFuncOp buildKernel(OpBuilder &builder, StringRef name, LinearOp op,
                           const KernelPlan &plan, const KernelArgs &args,
                           GroupedLinearOp grouped) {
  OpBuilder::InsertionGuard guard(builder);
  Skeleton skeleton(builder, op.getLoc());
  gpu::GPUFuncOp f =
      skeleton.open(name, args, plan.threads(), plan.blocksPerMultiprocessor);
  if (plan.split > 1)
    f->setAttr(NVVM::NVVMDialect::getClusterDimAttrName(),
               builder.getDenseI32ArrayAttr({plan.split, 1, 1}));
  skeleton.linear(op, plan, grouped);
  skeleton.close(f);
  return f;
}

gpu::GPUFuncOp buildQuantizeKernel(OpBuilder &builder, StringRef name,
                                   QuantizeActivationsOp op, int64_t grid,
                                   int64_t threads, bool pdl) {
  OpBuilder::InsertionGuard guard(builder);
  Skeleton skeleton(builder, op.getLoc());
  gpu::GPUFuncOp f = skeleton.open(name, KernelArgs::of(op, false), threads, 1);
  skeleton.quantize(cast<RankedTensorType>(op.getInput().getType()), grid, threads,
                    pdl);
  skeleton.close(f);
  return f;
}

gpu::GPUFuncOp buildEmbeddingKernel(OpBuilder &builder, StringRef name, EmbeddingOp op,
                                    int64_t threads, bool pdl) {
  OpBuilder::InsertionGuard guard(builder);
  Skeleton skeleton(builder, op.getLoc());
  gpu::GPUFuncOp f = skeleton.open(name, KernelArgs::of(op, false), threads, 1);
  skeleton.embedding(op, threads, pdl);
  skeleton.close(f);
  return f;
}

gpu::GPUFuncOp buildRotaryKernel(OpBuilder &builder, StringRef name, RotaryOp op,
                                 int64_t threads, bool pdl) {
  OpBuilder::InsertionGuard guard(builder);
  Skeleton skeleton(builder, op.getLoc());
  gpu::GPUFuncOp f = skeleton.open(name, KernelArgs::of(op, false), threads, 1);
  skeleton.rotary(op, threads, pdl);
  skeleton.close(f);
  return f;
}

} // namespace qlinear
