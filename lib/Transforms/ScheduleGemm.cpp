//===- ScheduleGemm.cpp - Kernels for many tokens -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The cost model. Up to 64 tokens, reading the weights decides: each block gets an even
// share of all tiles, and where that is a few tiles, blocks share K, so that each reads
// less of the activations. For more tokens, products decide: a block's tiles are as
// many as its registers take, and jobs are shared out by the kernel itself (jobTiles).
//
//===----------------------------------------------------------------------===//
#include "KernelPlan.h"

#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir::qlinear;

namespace qlinear {

/// Tiles times tokens of a warp, at most.
static constexpr int64_t kMostSums = 256;

std::string whyMisfit(const Gemm &gemm, const GpuChip &chip) {
  std::string needs;
  auto need = [&](bool wanted, const std::string &field, uint32_t feature) {
    if (needs.empty() && wanted && !chip.has(feature))
      needs = field + " needs " + chipsWith(feature);
  };
  need(true, "a gemm kernel", Feature::mma);
  need(gemm.copy == CopyKind::bulk, "copy = bulk", Feature::bulk);
  need(gemm.copy == CopyKind::async, "copy = async", Feature::async);
  need(gemm.dot == DotKind::wgmma, "dot = wgmma", Feature::wgmma);
  need(gemm.splitK.value_or(1) > 1, "split_k above 1", Feature::cluster);
  return needs.empty() ? "" : needs + ", but the target is " + chip.target;
}

/// Warps that only copy: where products are short, the copies of a warp that
/// multiplies, too, come too late (measured: 20% for 16 tokens; not where four blocks
/// share K: there such a warp costs 30%). With more tokens there are no registers for
/// another warp.
static int copyWarpsOf(CopyKind copy, int64_t tokens, int64_t split) {
  return copy == CopyKind::async || (tokens <= 32 && split <= 2);
}

Result<GemmPlan> planKernel(LinearOp op, const Gemm &gemm, bool pdl,
                            const GpuChip &chip) {
  if (std::string why = whyMisfit(gemm, chip); !why.empty())
    return error(why);
  auto number = [](int64_t n) { return std::to_string(n); };
  GemmPlan plan;
  plan.pdl = pdl;
  plan.mode = modeOf(*gemm.copy);
  plan.shape = {int(*gemm.tokens), int(*gemm.warps), int(*gemm.tiles),
                int(*gemm.stages), copyWarpsOf(*gemm.copy, *gemm.tokens, *gemm.splitK)};
  plan.byGroups = gemm.dot == DotKind::wgmma;
  // A stage is refilled later then: worth it where products take long, and where blocks
  // that share K have a few units each (measured: 25% for 16 tokens); else copies are
  // late.
  plan.ahead =
      plan.byGroups && (*gemm.tiles * *gemm.tokens >= kMostSums || *gemm.splitK > 2);
  plan.grid = *gemm.grid;
  plan.split = *gemm.splitK;
  plan.K = op.getK();
  plan.segments = makeSegments(op);
  plan.units = int64_t(plan.segments.front().walks.front().layout.unitsPerTile());
  if (plan.split > plan.units)
    return error("split_k = " + number(plan.split) + " is more than the " +
                 number(plan.units) + " units of K = " + number(plan.K));
  plan.mostTiles = plan.shape.slots();
  int64_t slotBytes = 0, tableBytes = 0;
  bool alone = true; // no segment has weights of several encodings
  for (KernelSegment &segment : plan.segments) {
    alone &= segment.walks.size() == 1;
    for (KernelWalk &walk : segment.walks) {
      int64_t weights = int64_t(walk.weights.size());
      plan.mostTiles = std::min(plan.mostTiles, plan.shape.slots() / weights);
      slotBytes = std::max<int64_t>(slotBytes, kernels::gemmSlotBytes(walk.layout));
      tableBytes =
          std::max<int64_t>(tableBytes, kernels::gemmTableBytes(walk.layout.spec));
    }
  }
  if (!plan.mostTiles)
    return error("warps * tiles = " + number(plan.shape.slots()) +
                 " is less than the weights of one epilogue");
  // Where groups of warps read x, it is at a multiple of 1024.
  plan.stageBytes = int64_t(llvm::alignTo(
      plan.shape.stageX() + plan.shape.slots() * slotBytes, plan.byGroups ? 1024 : 1));
  int64_t at = plan.stageBytes * plan.shape.stages;
  auto reserve = [&](int64_t bytes, int64_t alignment) {
    int64_t start = llvm::alignTo(at, alignment);
    at = start + bytes;
    return start;
  };
  // Sums take the ring's place, unless other weights of the epilogue need it then.
  if (alone) {
    at = std::max<int64_t>(at, plan.shape.sumsBytes());
  } else {
    for (KernelSegment &segment : plan.segments)
      for (KernelWalk &walk : segment.walks)
        walk.sums = reserve(plan.shape.sumsBytes(), 16);
  }
  plan.barriers = reserve(2 * plan.shape.stages * 8, 8);
  plan.tables = reserve(plan.shape.slots() * tableBytes, 16);
  plan.factors = reserve(plan.shape.warps * layout::kTileRows * 4, 16);
  plan.sharedBytes = int64_t(llvm::alignTo(at, 16));
  if (int64_t room = sharedBytesOf(chip, 1); plan.sharedBytes > room)
    return error(
        "the gemm kernel of K = " + number(plan.K) + " with " +
        number(plan.shape.slots()) + " tiles, tokens = " + number(plan.shape.tokens) +
        " and stages = " + number(plan.shape.stages) + " needs " +
        number(plan.sharedBytes) + " bytes of shared memory, and " + chip.name +
        " has " + number(room) + "; use fewer stages, tiles or warps");
  return plan;
}

namespace {
/// Warps of a block, a multiple of four, as registers are: 12 warps have 168 each, 8
/// have 255, of which a tile takes half as many as tokens for its sums.
constexpr int64_t kMostWarps = 12, kWarpsOfManyTokens = 8;
constexpr int64_t kSumsOfManyWarps = 128;

/// Clusters of `size` blocks that run at once. The processing clusters of a chip have
/// different numbers of multiprocessors, so that not all have their places in clusters
/// of more than two (measured: of the 132 of an H200, 28 clusters of 4 run at once, and
/// 31 in two rounds).
int64_t clustersOf(const GpuChip &chip, int64_t size) {
  int64_t together = size <= 2 ? chip.multiprocessors : chip.multiprocessors * 28 / 33;
  return std::max<int64_t>(1, together / size);
}
} // namespace

Result<Gemm> chooseGemm(LinearOp op, const Gemm &wanted, bool pdl,
                        const GpuChip &chip) {
  if (std::string why = whyMisfit(wanted, chip); !why.empty())
    return error(why);
  Gemm g = wanted;
  int64_t rows = wanted.rows, M = op.getM();
  if (!mlir::ShapedType::isDynamic(M))
    rows = std::min(rows, M);
  g.tokens = wanted.tokens.value_or(
      std::clamp<int64_t>(int64_t(llvm::PowerOf2Ceil(uint64_t(rows))), 16, 128));
  g.copy =
      wanted.copy.value_or(chip.has(Feature::bulk) ? CopyKind::bulk : CopyKind::async);

  int64_t tiles = 0, weights = 1, units = 0;
  for (unsigned i = 0; i < op.getWeights().size(); ++i) {
    layout::WeightLayout layout = op.getWeightType(i).getLayout();
    units = int64_t(layout.unitsPerTile());
    tiles =
        op.hasEpilogue() ? int64_t(layout.tiles()) : tiles + int64_t(layout.tiles());
  }
  for (const KernelSegment &segment : makeSegments(op))
    for (const KernelWalk &walk : segment.walks)
      weights = std::max<int64_t>(weights, int64_t(walk.weights.size()));

  bool few = rows <= *g.tokens; // one block of tokens
  // Blocks that share K each have more tiles, and read less of the activations
  // (measured, with 2.5 tiles for each multiprocessor: 4 blocks are 25% faster than 2
  // for 16 tokens, 2 are 10% faster for 64 and more; with 8: 2 blocks are 20% faster
  // for 16).
  int64_t split = 1, perChip = tiles * weights / chip.multiprocessors;
  if (few && chip.has(Feature::cluster) && chip.pdl() && chip.multiprocessors >= 16) {
    if (perChip < 4)
      split = *g.tokens <= 32 ? 4 : 2;
    else if (perChip < 8 && *g.tokens == 16)
      split = 2;
    split = std::min(split, int64_t(llvm::bit_floor(uint64_t(units))));
  }
  g.splitK = wanted.splitK.value_or(wanted.grid && *wanted.grid % split ? 1 : split);
  g.grid = wanted.grid.value_or(clustersOf(chip, *g.splitK) * *g.splitK);

  // Tiles that a block has, times the weights: one slot each.
  int64_t share = few ? int64_t(llvm::divideCeil(tiles, *g.grid / *g.splitK)) : tiles;
  int64_t slots = share * weights;
  g.dot = wanted.dot.value_or(g.copy == CopyKind::bulk && chip.has(Feature::wgmma)
                                  ? DotKind::wgmma
                                  : DotKind::mma);
  int64_t together = g.dot == DotKind::wgmma ? 4 : 1; // warps of a group
  int64_t copying = together == 1 && copyWarpsOf(*g.copy, *g.tokens, *g.splitK);
  int64_t mostWarps =
      std::min<int64_t>(chip.warps, *g.tokens > 64 ? kWarpsOfManyTokens : kMostWarps);
  mostWarps = std::max(together, mostWarps - copying);
  int64_t mostTiles = std::max<int64_t>(
      1, std::min<int64_t>(
             4, (mostWarps > kWarpsOfManyTokens ? kSumsOfManyWarps : kMostSums) /
                    *g.tokens));
  if (few && *g.tokens == 128) // more blocks are busy
    mostTiles = 1;
  int64_t perWarp = wanted.tiles.value_or(std::clamp<int64_t>(
      int64_t(llvm::divideCeil(slots, wanted.warps.value_or(mostWarps))), 1,
      mostTiles));
  int64_t warps = wanted.warps.value_or(int64_t(llvm::alignTo(
      std::clamp<int64_t>(int64_t(llvm::divideCeil(slots, perWarp)), 1, mostWarps),
      uint64_t(together))));
  std::string why;
  for (;;) {
    g.warps = warps;
    g.tiles = perWarp;
    int64_t most = wanted.stages.value_or(4), least = wanted.stages.value_or(2);
    for (int64_t stages = most; stages >= least; --stages) {
      g.stages = stages;
      Result<GemmPlan> plan = planKernel(op, g, pdl, chip);
      if (plan)
        return g;
      why = plan.takeError().message;
    }
    if (!wanted.warps && warps > together)
      warps -= together;
    else if (!wanted.tiles && perWarp > 1)
      --perWarp;
    else
      return error(why);
  }
}

} // namespace qlinear
