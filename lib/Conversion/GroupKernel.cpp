//===- GroupKernel.cpp - The skeleton of a kernel by groups of warps ------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block's last group of warps copies what the others multiply, pieces of jobs one
// after the other (kernels/cuda/GroupGemm.h). Those that multiply take registers from
// those that copy.
//
//===----------------------------------------------------------------------===//
#include "GpuKernel.h"
#include "GpuSkeleton.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace qlinear {
namespace {

class GroupSkeleton : public GpuSkeleton {
public:
  GroupSkeleton(OpBuilder &builder, LinearOp op, const GemmPlan &plan,
                const GemmScratch &scratch)
      : GpuSkeleton(builder, op.getLoc()), op(op), plan(plan), scratch(scratch) {}
  void build();

private:
  Value compare(arith::CmpIPredicate predicate, Value a, Value c) {
    return arith::CmpIOp::create(b, loc, predicate, a, c);
  }
  Value less(Value a, Value c) { return compare(arith::CmpIPredicate::slt, a, c); }
  Value add(Value a, Value c) { return arith::AddIOp::create(b, loc, a, c); }
  Value sub(Value a, Value c) { return arith::SubIOp::create(b, loc, a, c); }
  Value both(Value a, Value c) { return arith::AndIOp::create(b, loc, a, c); }
  Value mul(Value a, Value c) { return arith::MulIOp::create(b, loc, a, c); }
  Value least(Value a, Value c) { return arith::MinSIOp::create(b, loc, a, c); }
  /// Groups of tiles of a segment.
  int64_t groupsOf(const KernelSegment &segment) const {
    return int64_t(llvm::divideCeil(segment.tiles, plan.mostTiles * plan.blocks()));
  }
  void meetCluster() {
    call("ql_ptx_cluster_arrive", {constant(plan.blocks())});
    call("ql_ptx_cluster_wait", {});
  }
  void init();
  /// Calls `body(segment, its state, tile0, tiles)` for each piece of the block, with
  /// `first` set for the first one.
  void
  forPieces(llvm::function_ref<void(const KernelSegment &, Value, Value, Value)> body);
  void results(const KernelSegment &segment, Value state, Value tile0, Value tiles);

  const kernels::GemmShape &shape() const { return plan.shape; }

  LinearOp op;
  const GemmPlan &plan;
  const GemmScratch &scratch;
  SmallVector<Value> states; ///< of segments
  Value place, shares, piece, sums;
  Value pieces; ///< of the block
  Value rank;   ///< in a pair of blocks
  Value first;  ///< whether the piece is its first one, for which it waits
};

/// The states of all segments.
void GroupSkeleton::init() {
  Value image = inTemporary(scratch.bytes);
  const kernels::GemmShape &shape = plan.shape;
  for (auto [segment, state] : llvm::zip(plan.segments, states)) {
    const KernelWalk &walk = segment.walks.front();
    EncodingAttr encoding = op.getWeightType(walk.weights.front()).getEncoding();
    call("ql_groups_init", {state,
                            SpecOp::create(b, loc, encoding),
                            constant64(int64_t(walk.layout.N)),
                            constant64(plan.K),
                            constant(int64_t(walk.weights.size())),
                            constant(plan.units),
                            constant(shape.tokens),
                            constant(shape.warps),
                            constant(shape.warpTiles),
                            constant(shape.stages),
                            constant(shape.copyWarps),
                            constant(shape.xBlocks),
                            constant(shape.xStages),
                            constant(shape.roundTokens),
                            constant(shape.pair),
                            rank,
                            rows,
                            image,
                            temporary,
                            constant(plan.counterBytes()),
                            shared(0),
                            shared(plan.ring),
                            shared(plan.barriers),
                            shared(plan.tables),
                            shared(plan.factors),
                            shared(plan.rounds)});
    for (auto [i, weight] : llvm::enumerate(walk.weights))
      call("ql_gemm_weight", {state, constant(int64_t(i)), pointers[weight]});
  }
}

void GroupSkeleton::forPieces(
    llvm::function_ref<void(const KernelSegment &, Value, Value, Value)> body) {
  Value zero = constant(0);
  auto loop = scf::ForOp::create(b, loc, zero, pieces, constant(1));
  b.setInsertionPointToStart(loop.getBody());
  Value index = loop.getInductionVar();
  first = zero;
  if (plan.pdl)
    first = arith::ExtUIOp::create(b, loc, i32,
                                   compare(arith::CmpIPredicate::eq, index, zero));
  Value group = call("ql_shares_piece", i32, {shares, index, piece});
  int64_t begin = 0;
  for (auto [segment, state] : llvm::zip(plan.segments, states)) {
    int64_t groups = groupsOf(segment);
    if (plan.segments.size() > 1) {
      Value inside = both(compare(arith::CmpIPredicate::sge, group, constant(begin)),
                          less(group, constant(begin + groups)));
      auto guard = scf::IfOp::create(b, loc, inside, /*withElseRegion=*/false);
      b.setInsertionPointToStart(guard.thenBlock());
    }
    Value index = mul(sub(group, constant(begin)), constant(plan.blocks()));
    Value tile0 = mul(add(index, rank), constant(plan.mostTiles));
    Value tiles = least(constant(plan.mostTiles), sub(constant(segment.tiles), tile0));
    if (shape().pair)
      tiles = arith::MaxSIOp::create(b, loc, tiles, zero);
    Block *block = b.getInsertionBlock();
    call("ql_piece_tiles", {piece, tile0, tiles});
    body(segment, state, tile0, tiles);
    if (plan.segments.size() > 1)
      b.setInsertionPointAfter(block->getParentOp());
    begin += groups;
  }
  b.setInsertionPointAfter(loop);
}

/// A group's finished sums of a piece through the epilogue, in rounds, some
/// elements (a few rows of a token) at a time. What is past the end repeats the last
/// one, without a store.
void GroupSkeleton::results(const KernelSegment &segment, Value state, Value tile0,
                            Value tiles) {
  constexpr int64_t kThreads = kernels::kGroupWarps * kernels::kWarp;
  constexpr int64_t kElements = 4, kRows = kernels::kElementRows;
  const KernelWalk &walk = segment.walks.front();
  const kernels::GemmShape &shape = plan.shape;
  int64_t groupTiles = shape.groupSlots() / int64_t(walk.weights.size());
  int64_t elements = groupTiles * (layout::kTileRows / kRows) * shape.roundTokens;
  Value token0 = call("ql_piece_token0", i32, {piece});
  Value tokens = sub(rows, token0);
  Value row0 = mul(tile0, constant(layout::kTileRows));
  Value rowsLeft =
      least(mul(tiles, constant(layout::kTileRows)), sub(constant(segment.N), row0));
  Value lane = arith::RemUIOp::create(b, loc, thread, constant(kThreads));
  for (int round = 0; round < shape.tokens / shape.roundTokens; ++round) {
    Value start = constant(round * shape.roundTokens);
    // All of the group, or none: where there are tokens left.
    auto guard = scf::IfOp::create(b, loc, less(start, tokens), false);
    b.setInsertionPointToStart(guard.thenBlock());
    call("ql_groups_share", {state, constant(round), sums});
    auto loop = scf::ForOp::create(b, loc, lane, constant(elements),
                                   constant(kElements * kThreads));
    b.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> places;
    SmallVector<SmallVector<Value>> products; ///< of an element's row: of all weights
    for (int64_t e = 0; e < kElements; ++e) {
      places.push_back(add(loop.getInductionVar(), constant(e * kThreads)));
      Value element = least(places.back(), constant(elements - 1));
      for (int64_t r = 0; r < kRows; ++r)
        products.emplace_back(op.getWeights().size());
      for (auto [i, weight] : llvm::enumerate(walk.weights)) {
        Value all = call("ql_groups_products", VectorType::get(kRows, f32),
                         {state, constant(round), element, constant(int64_t(i))});
        for (int64_t r = 0; r < kRows; ++r)
          products[e * kRows + r][weight] =
              LLVM::ExtractElementOp::create(b, loc, all, constant(r));
      }
    }
    for (int64_t e = 0; e < kElements; ++e) {
      Value element = least(places[e], constant(elements - 1));
      Value row = call("ql_groups_row", i32, {state, element});
      Value token = add(start, call("ql_groups_token", i32, {state, element}));
      Value m = add(token0, least(token, sub(tokens, constant(1))));
      Value there = both(less(places[e], constant(elements)), less(token, tokens));
      SmallVector<SmallVector<Value>> values;
      SmallVector<Value> n;
      for (int64_t r = 0; r < kRows; ++r) {
        n.push_back(least(add(row0, add(row, constant(r))), constant(segment.N - 1)));
        values.push_back(valuesOf(op, segment, products[e * kRows + r], n[r], m));
      }
      // An element's rows are side by side; are they aligned, and all or none there?
      bool together = segment.N % kRows == 0;
      for (int64_t r = 0; r < (together ? 1 : kRows); ++r) {
        auto inside = scf::IfOp::create(
            b, loc, both(there, less(add(row, constant(r)), rowsLeft)), false);
        b.setInsertionPointToStart(inside.thenBlock());
        Value at = indexOf(segment, n[r], m);
        for (auto [i, result] : llvm::enumerate(segment.results)) {
          Value value = values[r][i];
          Type type = value.getType();
          Value to = this->element(resultOf(op, result), at, type);
          unsigned bytes = type.getIntOrFloatBitWidth() / 8;
          if (together) {
            bytes *= kRows;
            value = LLVM::PoisonOp::create(b, loc, VectorType::get(kRows, type));
            for (int64_t k = 0; k < kRows; ++k)
              value = LLVM::InsertElementOp::create(b, loc, value, values[k][i],
                                                    constant(k));
          }
          LLVM::StoreOp::create(b, loc, value, to, bytes);
        }
        b.setInsertionPointAfter(inside);
      }
    }
    b.setInsertionPointAfter(loop);
    call("ql_groups_done", {state});
    b.setInsertionPointAfter(guard);
  }
}

void GroupSkeleton::build() {
  const kernels::GemmShape &shape = plan.shape;
  Value block = call("ql_ptx_block", i32, {});
  rank = constant(0);
  if (shape.pair) {
    rank = call("ql_ptx_cluster_rank", i32, {constant(plan.blocks())});
    block = arith::DivUIOp::create(b, loc, block, constant(plan.blocks()));
  }
  for (Value *v : {&place, &shares, &piece, &sums})
    *v = state();
  for (size_t i = 0; i < plan.segments.size(); ++i)
    states.push_back(state());
  call("ql_groups_open",
       {place, constant(shape.warps), constant(shape.stages), constant(shape.xStages),
        constant(shape.pair), shared(plan.barriers)});
  init();
  if (shape.pair)
    meetCluster();
  else
    call("ql_ptx_barrier", {});
  if (plan.pdl)
    call("ql_ptx_launch_dependents", {});
  int64_t groups = 0;
  for (const KernelSegment &segment : plan.segments)
    groups += groupsOf(segment);
  Value tokenBlocks = arith::DivUIOp::create(
      b, loc, add(rows, constant(shape.tokens - 1)), constant(shape.tokens));
  pieces = call("ql_shares_open", i32,
                {shares, constant(plan.units), constant(groups), tokenBlocks,
                 constant(shape.tokens), constant(plan.grid / plan.blocks()), block,
                 constant(plan.split)});

  Value copies = compare(arith::CmpIPredicate::sge, thread,
                         constant(shape.warps * kernels::kWarp));
  auto roles = scf::IfOp::create(b, loc, copies, /*withElseRegion=*/true);
  // With one group each thread has as many registers as there are.
  auto setRegisters = [&](int count, NVVM::SetMaxRegisterAction action) {
    if (shape.groups() > 1)
      NVVM::SetMaxRegisterOp::create(b, loc, uint32_t(count), action);
  };
  b.setInsertionPointToStart(roles.thenBlock());
  setRegisters(shape.copyRegisters(), NVVM::SetMaxRegisterAction::decrease);
  forPieces([&](const KernelSegment &, Value state, Value, Value) {
    call("ql_groups_copy", {state, piece, place, first});
  });
  b.setInsertionPointToStart(roles.elseBlock());
  setRegisters(shape.multiplyRegisters(), NVVM::SetMaxRegisterAction::increase);
  forPieces([&](const KernelSegment &segment, Value state, Value tile0, Value tiles) {
    Value finished =
        call("ql_groups_multiply", i32, {state, piece, place, first, sums});
    auto guard = scf::IfOp::create(
        b, loc, compare(arith::CmpIPredicate::ne, finished, constant(0)), false);
    b.setInsertionPointToStart(guard.thenBlock());
    results(segment, state, tile0, tiles);
    b.setInsertionPointAfter(guard);
    call("ql_ptx_warp_barrier", {}); // products need lanes that are together
  });
  b.setInsertionPointAfter(roles);
  if (shape.pair) // copies and arrivals for a block that has ended
    meetCluster();
  if (plan.pdl) // a thread that had nothing to wait for
    call("ql_ptx_wait_prior_grids", {});
}
} // namespace

gpu::GPUFuncOp buildGroupKernel(OpBuilder &builder, StringRef name, LinearOp op,
                                const GemmPlan &plan, const KernelArgs &args,
                                const GemmScratch &scratch) {
  OpBuilder::InsertionGuard guard(builder);
  GroupSkeleton skeleton(builder, op, plan, scratch);
  gpu::GPUFuncOp f = skeleton.open(name, args, plan.threads(), 1);
  if (plan.shape.pair)
    f->setAttr(NVVM::NVVMDialect::getClusterDimAttrName(),
               builder.getDenseI32ArrayAttr({int32_t(plan.blocks()), 1, 1}));
  skeleton.build();
  skeleton.close(f);
  return f;
}

} // namespace qlinear
