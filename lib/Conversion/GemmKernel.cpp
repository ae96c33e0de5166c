//===- GemmKernel.cpp - The skeleton of a kernel for many tokens ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The blocks (or clusters) take jobs in turn: a group of tiles of one segment, times a
// block of tokens. Those that run at the same time have the same tiles as far as they
// can, which then are read from memory once.
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

class GemmSkeleton : public GpuSkeleton {
public:
  using GpuSkeleton::GpuSkeleton;
  void linear(LinearOp op, const GemmPlan &plan, const GemmScratch &scratch);
  void prepare(LinearOp op, const GemmScratch &scratch, int64_t threads, bool pdl);

private:
  Value add(Value a, Value c) { return arith::AddIOp::create(b, loc, a, c); }
  Value sub(Value a, Value c) { return arith::SubIOp::create(b, loc, a, c); }
  Value mul(Value a, Value c) { return arith::MulIOp::create(b, loc, a, c); }
  Value quotient(Value a, Value c) { return arith::DivUIOp::create(b, loc, a, c); }
  Value least(Value a, Value c) { return arith::MinSIOp::create(b, loc, a, c); }
  /// a / c, rounded up.
  Value portions(Value a, Value c) { return quotient(add(a, sub(c, constant(1))), c); }
  void job(LinearOp op, const GemmPlan &plan, const KernelSegment &segment,
           ArrayRef<Value> states, Value tile0, Value tiles, Value token0, Value first);

  Value place; ///< in the ring
  Value rank;  ///< in the cluster, if plan.split > 1
};

/// One job: sums of all weights of the segment, then the epilogue.
void GemmSkeleton::job(LinearOp op, const GemmPlan &plan, const KernelSegment &segment,
                       ArrayRef<Value> states, Value tile0, Value tiles, Value token0,
                       Value first) {
  Value split = constant(plan.split);
  for (auto [walk, state] : llvm::zip(segment.walks, states)) {
    call("ql_gemm_multiply",
         {state, place, tile0, tiles, token0, first, shared(walk.sums)});
    first = constant(0);
  }
  auto meetCluster = [&] {
    call("ql_ptx_cluster_arrive", {split});
    call("ql_ptx_cluster_wait", {});
  };
  if (plan.split > 1)
    meetCluster();
  // Threads, of all blocks of the cluster, share the rows of all tokens: element i is
  // row i % count of token i / count.
  Value count = mul(tiles, constant(layout::kTileRows));
  Value tokens = least(constant(plan.shape.tokens), sub(rows, token0));
  Value begin = thread;
  if (plan.split > 1)
    begin = add(thread, mul(rank, constant(plan.threads())));
  auto loop = scf::ForOp::create(b, loc, begin, mul(count, tokens),
                                 constant(plan.threads() * plan.split));
  b.setInsertionPointToStart(loop.getBody());
  Value token = call("ql_divide", i32, {loop.getInductionVar(), count});
  Value row = sub(loop.getInductionVar(), mul(token, count));
  SmallVector<Value> products(op.getWeights().size());
  for (auto [walk, state] : llvm::zip(segment.walks, states))
    for (auto [i, weight] : llvm::enumerate(walk.weights))
      products[weight] = call(
          "ql_gemm_total", f32,
          {state, split, token0, token, constant(int64_t(i)), row, shared(walk.sums)});
  finish(op, segment, products, add(mul(tile0, constant(layout::kTileRows)), row),
         add(token0, token));
  b.setInsertionPointAfter(loop);
  if (plan.split > 1)
    meetCluster();
  if (plan.mode == kernels::kBulk)
    call("ql_ptx_proxy_fence", {}); // the next job's copies replace the sums
  call("ql_ptx_barrier", {});
}

void GemmSkeleton::linear(LinearOp op, const GemmPlan &plan,
                          const GemmScratch &scratch) {
  Value image = inTemporary(scratch.bytes);
  Value block = call("ql_ptx_block", i32, {});
  Value unit0 = constant(0), units = constant(plan.units);
  if (plan.split > 1) {
    Value split = constant(plan.split);
    rank = call("ql_ptx_cluster_rank", i32, {split});
    block = quotient(block, split);
    unit0 = quotient(mul(rank, units), split);
    units = sub(quotient(mul(add(rank, constant(1)), units), split), unit0);
  }
  place = state();
  // All states come before calls that are more than a block of code.
  SmallVector<SmallVector<Value>> states;
  for (const KernelSegment &segment : plan.segments)
    for (states.emplace_back(); states.back().size() < segment.walks.size();)
      states.back().push_back(state());
  call("ql_gemm_open", {place, constant(plan.mode), constant(plan.shape.warps),
                        constant(plan.shape.stages), shared(plan.barriers)});
  for (auto [segment, own] : llvm::zip(plan.segments, states)) {
    for (auto [walk, gemm] : llvm::zip(segment.walks, own)) {
      EncodingAttr encoding = op.getWeightType(walk.weights.front()).getEncoding();
      call("ql_gemm_init", {gemm,
                            constant(plan.mode),
                            SpecOp::create(b, loc, encoding),
                            constant64(int64_t(walk.layout.N)),
                            constant64(plan.K),
                            constant(int64_t(walk.weights.size())),
                            constant(plan.shape.tokens),
                            constant(plan.shape.warps),
                            constant(plan.shape.warpTiles),
                            constant(plan.shape.stages),
                            constant(plan.shape.copyWarps),
                            constant(plan.stageBytes),
                            unit0,
                            units,
                            rows,
                            image,
                            shared(0),
                            shared(plan.barriers),
                            shared(plan.tables),
                            shared(plan.factors)});
      for (auto [i, weight] : llvm::enumerate(walk.weights))
        call("ql_gemm_weight", {gemm, constant(int64_t(i)), pointers[weight]});
    }
  }
  call("ql_ptx_barrier", {});
  if (plan.pdl)
    call("ql_ptx_launch_dependents", {});

  int64_t clusters = plan.grid / plan.split, allTiles = 0;
  for (const KernelSegment &segment : plan.segments)
    allTiles += segment.tiles;
  Value tokenBlocks = portions(rows, constant(plan.shape.tokens));
  Value jobTiles = call(
      "ql_gemm_job_tiles", i32,
      {constant(allTiles), tokenBlocks, constant(clusters), constant(plan.mostTiles)});
  Value groups = constant(0);
  SmallVector<Value> firstGroups;
  for (const KernelSegment &segment : plan.segments) {
    firstGroups.push_back(groups);
    groups = add(groups, portions(constant(segment.tiles), jobTiles));
  }
  firstGroups.push_back(groups);
  auto loop =
      scf::ForOp::create(b, loc, block, mul(groups, tokenBlocks), constant(clusters));
  b.setInsertionPointToStart(loop.getBody());
  Value index = loop.getInductionVar(), group = quotient(index, tokenBlocks);
  Value token0 = mul(sub(index, mul(group, tokenBlocks)), constant(plan.shape.tokens));
  // The block's first job waits for the kernel before.
  Value first = constant(0);
  if (plan.pdl)
    first = arith::ExtUIOp::create(
        b, loc, i32,
        arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, index, block));
  for (auto [i, segment] : llvm::enumerate(plan.segments)) {
    if (plan.segments.size() > 1) {
      Value after = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, group,
                                          firstGroups[i]);
      Value before = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, group,
                                           firstGroups[i + 1]);
      auto guard = scf::IfOp::create(
          b, loc, arith::AndIOp::create(b, loc, after, before), false);
      b.setInsertionPointToStart(guard.thenBlock());
    }
    Value tile0 = mul(sub(group, firstGroups[i]), jobTiles);
    Value tiles = least(jobTiles, sub(constant(segment.tiles), tile0));
    Block *inside = b.getInsertionBlock();
    job(op, plan, segment, states[i], tile0, tiles, token0, first);
    if (plan.segments.size() > 1)
      b.setInsertionPointAfter(inside->getParentOp());
  }
  b.setInsertionPointAfter(loop);
  if (plan.pdl) // a block without jobs has not yet
    call("ql_ptx_wait_prior_grids", {});
}

void GemmSkeleton::prepare(LinearOp op, const GemmScratch &scratch, int64_t threads,
                           bool pdl) {
  awaitPrior(pdl);
  call("ql_clear", {temporary, constant(scratch.counters), constant(threads)});
  SmallVector<Value> args{constant64(op.getK()),      rows,
                          constant(threads),          xOf(op),
                          inTemporary(scratch.bytes), shared(0)};
  if (auto x = dyn_cast<RankedTensorType>(op.getX().getType())) {
    args.insert(args.begin(), constant(elementOf(x.getElementType())));
    call("ql_prepare", args);
  } else {
    call("ql_prepare_quantized", args);
  }
}

} // namespace

gpu::GPUFuncOp buildKernel(OpBuilder &builder, StringRef name, LinearOp op,
                           const GemmPlan &plan, const KernelArgs &args,
                           const GemmScratch &scratch) {
  if (plan.byGroups)
    return buildGroupKernel(builder, name, op, plan, args, scratch);
  OpBuilder::InsertionGuard guard(builder);
  GemmSkeleton skeleton(builder, op.getLoc());
  gpu::GPUFuncOp f = skeleton.open(name, args, plan.threads(), 1);
  if (plan.split > 1)
    f->setAttr(NVVM::NVVMDialect::getClusterDimAttrName(),
               builder.getDenseI32ArrayAttr({int32_t(plan.split), 1, 1}));
  skeleton.linear(op, plan, scratch);
  skeleton.close(f);
  return f;
}

gpu::GPUFuncOp buildPrepareKernel(OpBuilder &builder, StringRef name, LinearOp op,
                                  const GemmScratch &scratch, int64_t threads,
                                  bool pdl) {
  OpBuilder::InsertionGuard guard(builder);
  GemmSkeleton skeleton(builder, op.getLoc());
  gpu::GPUFuncOp f = skeleton.open(name, KernelArgs::of(op, true), threads,
                                   int(kernels::kPrepareThreadsTogether / threads));
  skeleton.prepare(op, scratch, threads, pdl);
  skeleton.close(f);
  return f;
}

} // namespace qlinear
