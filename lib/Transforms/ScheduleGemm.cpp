//===- ScheduleGemm.cpp - Kernels for many tokens -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The cost model. By warps: up to 64 tokens, reading the weights decides: each block
// gets an even share of all tiles, and where that is a few tiles, blocks share K, so
// that each reads less of the activations. For more tokens, products decide: a block's
// tiles are as many as its registers take, and jobs are shared out by the kernel itself
// (jobTiles). By groups of warps the kernel shares out all of the work (Shares.h), and
// a job is as large as the registers allow.
//
//===----------------------------------------------------------------------===//
#include "KernelPlan.h"

#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace mlir::qlinear;

namespace qlinear {

/// Tiles times tokens of a warp, at most.
static constexpr int64_t kMostSums = 256;
/// Tokens of a job, at least, and by warps at most.
static constexpr int64_t kFewestTokens = 16, kMostTokensOfWarps = 128;
/// Tiles of a block with these that keep it busy by themselves.
static constexpr int64_t kEnoughTiles = 8;

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
  need(gemm.splitK.value_or(1) > 1 && gemm.dot != DotKind::wgmma, "split_k above 1",
       Feature::cluster);
  return needs.empty() ? "" : needs + ", but the target is " + chip.target;
}

/// Warps that only copy: where products are short, the copies of a warp that
/// multiplies, too, come too late (measured: 20% for 16 tokens; not where four blocks
/// share K: there such a warp costs 30%). With more tokens there are no registers for
/// another warp.
static int copyWarpsOf(CopyKind copy, int64_t tokens, int64_t split) {
  return copy == CopyKind::async || (tokens <= 32 && split <= 2);
}

namespace {
/// What a linear has to multiply.
struct Work {
  int64_t tiles = 0, weights = 1; ///< of each tile, at most
  int64_t units;                  ///< of K
  explicit Work(LinearOp op)
      : units(int64_t(op.getWeightType(0).getLayout().unitsPerTile())) {
    for (const KernelSegment &segment : makeSegments(op)) {
      tiles += segment.tiles;
      for (const KernelWalk &walk : segment.walks)
        weights = std::max(weights, int64_t(walk.weights.size()));
    }
  }
  int64_t slots() const { return tiles * weights; }
};

/// Lays out shared memory, part after part.
class Room {
public:
  explicit Room(int64_t at = 0) : at(at) {}
  int64_t reserve(int64_t bytes, int64_t alignment) {
    int64_t start = llvm::alignTo(at, alignment);
    at = start + bytes;
    return start;
  }
  int64_t at;
};

/// Bytes of a slot and of decoded scales, the most of all weights.
struct SlotBytes {
  int64_t unit = 0, table = 0;
  explicit SlotBytes(const GemmPlan &plan) {
    for (const KernelSegment &segment : plan.segments)
      for (const KernelWalk &walk : segment.walks) {
        unit = std::max<int64_t>(unit, kernels::gemmSlotBytes(walk.layout));
        table = std::max<int64_t>(table, kernels::gemmTableBytes(walk.layout.spec));
      }
  }
};

/// By warps: one ring.
void layOutByWarps(GemmPlan &plan) {
  SlotBytes slot(plan);
  plan.stageBytes = plan.shape.stageX() + plan.shape.slots() * slot.unit;
  Room room(plan.stageBytes * plan.shape.stages);
  bool alone = true; // no segment has weights of several encodings
  for (KernelSegment &segment : plan.segments)
    alone &= segment.walks.size() == 1;
  // Sums take the ring's place, unless other weights of the epilogue need it then.
  if (alone) {
    room.at = std::max<int64_t>(room.at, plan.shape.sumsBytes());
  } else {
    for (KernelSegment &segment : plan.segments)
      for (KernelWalk &walk : segment.walks)
        walk.sums = room.reserve(plan.shape.sumsBytes(), 16);
  }
  plan.barriers = room.reserve(2 * plan.shape.stages * 8, 8);
  plan.tables = room.reserve(plan.shape.slots() * slot.table, 16);
  plan.factors = room.reserve(plan.shape.warps * layout::kTileRows * 4, 16);
  plan.sharedBytes = int64_t(llvm::alignTo(room.at, 16));
}

/// By groups: a ring of units, and what is left (of `most` bytes) for one of
/// activations, of few columns a stage where products with them take long.
void layOutByGroups(GemmPlan &plan, int64_t most) {
  constexpr int kEnoughStages = 4, kMostStages = 6;
  SlotBytes slot(plan);
  kernels::GemmShape &shape = plan.shape;
  auto layOut = [&] {
    Room room(shape.xStages * shape.stageX());
    plan.ring = room.reserve(shape.stages * shape.slots() * slot.unit, layout::kLine);
    plan.tables = room.reserve(shape.slots() * slot.table, 16);
    plan.factors = room.reserve(shape.warps * layout::kTileRows * 4, 16);
    plan.rounds = room.reserve(shape.groups() * shape.roundBytes(), 16);
    plan.barriers = room.reserve(2 * (shape.stages + shape.xStages) * 8, 8);
    plan.sharedBytes = int64_t(llvm::alignTo(room.at, 16));
  };
  int columns = shape.tokens <= 32 ? 4 : shape.tokens <= 128 ? 2 : 1;
  for (shape.xBlocks = columns; shape.xBlocks > 0; shape.xBlocks /= 2)
    for (shape.roundTokens = std::min(shape.tokens, 64); shape.roundTokens >= 16;
         shape.roundTokens -= 8) {
      if (shape.tokens % shape.roundTokens)
        continue;
      for (shape.xStages = kMostStages; shape.xStages >= kEnoughStages;
           --shape.xStages) {
        layOut();
        if (plan.sharedBytes <= most)
          return;
      }
    }
  shape.xBlocks = 1;
  shape.roundTokens = 16;
  for (shape.xStages = kEnoughStages; shape.xStages > 2; --shape.xStages) {
    layOut();
    if (plan.sharedBytes <= most)
      return;
  }
  layOut();
}
} // namespace

Result<GemmPlan> planKernel(LinearOp op, const Gemm &gemm, bool pdl,
                            const GpuChip &chip) {
  if (std::string why = whyMisfit(gemm, chip); !why.empty())
    return error(why);
  auto number = [](int64_t n) { return std::to_string(n); };
  GemmPlan plan;
  plan.pdl = pdl;
  plan.mode = modeOf(*gemm.copy);
  plan.byGroups = gemm.dot == DotKind::wgmma;
  plan.shape = {int(*gemm.tokens), int(*gemm.warps), int(*gemm.tiles),
                int(*gemm.stages),
                plan.byGroups ? kernels::kGroupWarps
                              : copyWarpsOf(*gemm.copy, *gemm.tokens, *gemm.splitK)};
  plan.grid = *gemm.grid;
  plan.split = *gemm.splitK;
  plan.K = op.getK();
  plan.segments = makeSegments(op);
  plan.units = int64_t(plan.segments.front().walks.front().layout.unitsPerTile());
  if (!plan.byGroups && plan.split > plan.units)
    return error("split_k = " + number(plan.split) + " is more than the " +
                 number(plan.units) + " units of K = " + number(plan.K));
  plan.mostTiles = plan.shape.slots();
  for (const KernelSegment &segment : plan.segments) {
    if (plan.byGroups && segment.walks.size() > 1)
      return error("dot = wgmma takes weights of one encoding where an epilogue has "
                   "several; use dot = mma");
    for (const KernelWalk &walk : segment.walks) {
      int64_t weights = int64_t(walk.weights.size());
      plan.mostTiles =
          std::min(plan.mostTiles, plan.byGroups ? plan.shape.groupSlots() / weights *
                                                       plan.shape.groups()
                                                 : plan.shape.slots() / weights);
    }
  }
  if (!plan.mostTiles)
    return error("warps * tiles = " + number(plan.shape.slots()) +
                 " is less than the weights of one epilogue");
  int64_t tiles = 0;
  for (const KernelSegment &segment : plan.segments)
    tiles = std::max(tiles, segment.tiles);
  // Pairs read half of the activations, which pays where these are most of what is read
  // (measured: 2 to 5% for 256 tokens, nothing for up to 64).
  plan.shape.pair = plan.byGroups && plan.shape.tokens > 128 && plan.grid % 2 == 0 &&
                    tiles > plan.mostTiles && chip.has(Feature::cluster);
  int64_t room = sharedBytesOf(chip, 1);
  if (plan.byGroups)
    layOutByGroups(plan, room);
  else
    layOutByWarps(plan);
  if (plan.sharedBytes > room)
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

/// Whether groups of warps may multiply, as far as is said.
bool mayGroup(LinearOp op, const Gemm &wanted, CopyKind copy, const GpuChip &chip) {
  return copy == CopyKind::bulk && chip.has(Feature::wgmma) &&
         wanted.warps.value_or(kernels::kGroupWarps) % kernels::kGroupWarps == 0 &&
         llvm::all_of(makeSegments(op), [](const KernelSegment &segment) {
           return segment.walks.size() == 1;
         });
}

/// The tokens of a job by groups of warps, for up to `rows` rows: few are all in one.
/// With products of many, jobs take as long as these, and a bit for the weights; what
/// does not fill a wave of blocks is shared, which costs as long as some units
/// (measured, for 256 and 512 rows and K of 5376 to 21504).
int64_t tokensOf(int64_t rows, int64_t tiles, int64_t units, int64_t grid) {
  if (rows <= 128)
    return int64_t(llvm::alignTo(uint64_t(rows), 16));
  int64_t best = 256;
  double least = 0;
  for (int64_t tokens : {256, 224, 192, 160, 128}) {
    double blocks = rows == kAnyRows ? double(rows) / double(tokens)
                                     : double(llvm::divideCeil(rows, tokens));
    double waves = blocks * double(llvm::divideCeil(tiles, 8)) / double(grid);
    bool full = std::ceil(waves) - waves <= 0.1;
    double cost =
        (full ? std::ceil(waves) : waves + 6.4 / double(units)) * double(tokens + 32);
    if (tokens == 256 || cost < least) {
      least = cost;
      best = tokens;
    }
  }
  return best;
}

/// The warps of a block, `most` at most, whose jobs take least where none is shared: as
/// long as their tiles, and some for a job itself.
int64_t warpsOfWholeJobs(int64_t most, int64_t tiles, int64_t rows, int64_t tokens,
                         int64_t grid) {
  constexpr int64_t kJob = 4; // in tiles
  int64_t blocks = rows == kAnyRows ? 8 : int64_t(llvm::divideCeil(rows, tokens));
  auto cost = [&](int64_t warps) {
    return llvm::divideCeil(llvm::divideCeil(tiles, warps) * blocks, grid) *
           (warps + kJob);
  };
  int64_t best = most;
  for (int64_t warps = most; warps > 0; warps -= kernels::kGroupWarps)
    if (cost(warps) < cost(best))
      best = warps;
  return best;
}

/// The fields of a kernel by groups of warps, for up to `rows` rows. Tiles of a job are
/// as many as there are registers for, but as many jobs as blocks.
Result<Gemm> chooseGroups(LinearOp op, Gemm g, int64_t rows, bool pdl,
                          const GpuChip &chip) {
  Gemm wanted = g;
  g.dot = DotKind::wgmma;
  g.grid = wanted.grid.value_or(chip.multiprocessors);
  g.splitK = wanted.splitK.value_or(8);
  g.tiles = wanted.tiles.value_or(1);
  Work work(op);
  int64_t tiles = work.slots(), units = work.units;
  g.tokens = wanted.tokens.value_or(tokensOf(rows, tiles, units, *g.grid));
  // More warps hide each other's latencies, but there have to be as many jobs as blocks
  // (measured: 12 warps are 10% faster than 8 for 64 tokens and 20 tiles for each
  // block, and 15% slower for 16 tokens and 8 tiles).
  int64_t most = *g.tokens >= 128 ? 8 : 12;
  if (*g.splitK == 1)
    most = warpsOfWholeJobs(most, tiles, rows, *g.tokens, *g.grid);
  else if (tiles < most * *g.grid)
    most = 8;
  // Where a block's share is a few units of 8 tiles, jobs of 4 tiles are cut into less
  // pieces, whose sums have to meet (measured for 10 units a block: 5% for 32 tokens,
  // 17 to 19% for 64 and 128, 8% for 192, a loss for 16; with 27 units a loss for all).
  int64_t jobs =
      int64_t(llvm::divideCeil(tiles, 8)) *
      (rows == kAnyRows ? *g.grid : int64_t(llvm::divideCeil(rows, *g.tokens)));
  if (*g.splitK > 1 && *g.tokens > 16 && 2 * jobs <= *g.grid &&
      jobs * units < 16 * *g.grid)
    most = 4;
  std::string why;
  for (int64_t warps = wanted.warps.value_or(most); warps > 0;
       warps -= kernels::kGroupWarps) {
    g.warps = warps;
    int64_t mostStages = wanted.stages.value_or(*g.tokens > 128 ? 3 : 4);
    for (int64_t stages = mostStages; stages >= wanted.stages.value_or(2); --stages) {
      g.stages = stages;
      Result<GemmPlan> plan = planKernel(op, g, pdl, chip);
      if (plan)
        return g;
      why = plan.takeError().message;
    }
    if (wanted.warps)
      break;
  }
  return error(why);
}

/// Clusters of `size` blocks that run at once. The processing clusters of a chip have
/// different numbers of multiprocessors, so that not all have their places in clusters
/// of more than two (measured: of the 132 of an H200, 28 clusters of 4 run at once, and
/// 31 in two rounds).
int64_t clustersOf(const GpuChip &chip, int64_t size) {
  int64_t together = size <= 2 ? chip.multiprocessors : chip.multiprocessors * 28 / 33;
  return std::max<int64_t>(1, together / size);
}

/// The other fields of a kernel by warps for up to `rows` rows, `wanted.tokens` at a
/// time.
Result<Gemm> chooseWarpsFor(LinearOp op, const Gemm &wanted, int64_t rows, bool pdl,
                            const GpuChip &chip) {
  Gemm g = wanted;
  auto [tiles, weights, units] = Work(op);
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
  g.dot = DotKind::mma;
  int64_t mostWarps =
      std::min<int64_t>(chip.warps, *g.tokens > 64 ? kWarpsOfManyTokens : kMostWarps);
  mostWarps =
      std::max<int64_t>(1, mostWarps - copyWarpsOf(*g.copy, *g.tokens, *g.splitK));
  int64_t mostTiles = std::max<int64_t>(
      1, std::min<int64_t>(
             4, (mostWarps > kWarpsOfManyTokens ? kSumsOfManyWarps : kMostSums) /
                    *g.tokens));
  if (few && *g.tokens == 128) // more blocks are busy
    mostTiles = 1;
  // Each warp reads all of x from shared memory, so of few tokens it has several tiles
  // (measured for 16 tokens and 9 to 21 tiles: 3 are 2 to 13% faster than 2; a loss for
  // 4, and where blocks share K).
  bool readsMore = *g.tokens == kFewestTokens && *g.splitK == 1 &&
                   *g.copy == CopyKind::bulk && slots >= kEnoughTiles;
  int64_t perWarp = wanted.tiles.value_or(std::clamp<int64_t>(
      int64_t(llvm::divideCeil(slots, wanted.warps.value_or(mostWarps))),
      readsMore ? 3 : 1, mostTiles));
  // As many slots as there is room for.
  auto withStages = [&]() -> Result<Gemm> {
    std::string why;
    int64_t most = wanted.stages.value_or(4), least = wanted.stages.value_or(2);
    for (int64_t stages = most; stages >= least; --stages) {
      g.stages = stages;
      Result<GemmPlan> plan = planKernel(op, g, pdl, chip);
      if (plan)
        return g;
      why = plan.takeError().message;
    }
    return error(why);
  };
  Result<Gemm> best = error("");
  int64_t taken = 0;
  for (int64_t each = perWarp; each >= wanted.tiles.value_or(1); --each) {
    int64_t most = wanted.warps.value_or(
        std::clamp<int64_t>(int64_t(llvm::divideCeil(slots, each)), 1, mostWarps));
    for (int64_t warps = most;
         warps >= wanted.warps.value_or(1) && std::min(warps * each, slots) > taken;
         --warps) {
      g.warps = warps;
      g.tiles = each;
      Result<Gemm> chosen = withStages();
      if (chosen)
        taken = std::min(warps * each, slots);
      if (chosen || !best)
        best = std::move(chosen);
    }
  }
  return best;
}

/// The fields of a kernel by warps, for up to `rows` rows. Jobs are as large as shared
/// memory and the work allow: in tokens, each of whose tiles costs its decoding, times
/// tiles, each of which reads the activations (measured with 64 instead of 128 tokens:
/// 163 KiB, 20% faster for many rows, 26% for 128 of a large matrix and 20% slower of a
/// small one; where 99 KiB have no room for 128, a third faster than no such kernel).
Result<Gemm> chooseWarps(LinearOp op, Gemm g, int64_t rows, bool pdl,
                         const GpuChip &chip) {
  if (g.tokens)
    return chooseWarpsFor(op, g, rows, pdl, chip);
  int64_t most = std::clamp<int64_t>(int64_t(llvm::PowerOf2Ceil(uint64_t(rows))),
                                     kFewestTokens, kMostTokensOfWarps);
  Result<Gemm> best = error("");
  int64_t largest = 0, slots = Work(op).slots();
  for (int64_t tokens = most; tokens >= kFewestTokens; tokens /= 2) {
    g.tokens = tokens;
    Result<Gemm> chosen = chooseWarpsFor(op, g, rows, pdl, chip);
    int64_t job = 0;
    if (chosen) {
      int64_t blocks =
          rows == kAnyRows ? *chosen->grid : llvm::divideCeil(rows, tokens);
      int64_t share = llvm::divideCeil(slots * blocks * *chosen->splitK, *chosen->grid);
      job = tokens * std::min(*chosen->warps * *chosen->tiles, share);
    }
    if (tokens == most || job > largest) { // else the error for most tokens stays
      best = chosen;
      largest = job;
    }
  }
  return best;
}

/// Whether each block by warps has one job, of some tiles and all of K, and a ring that
/// keeps memory busy. Groups of warps cut such work into pieces, whose sums have to
/// meet, and read x more often (measured for 16 tokens and 9, 11 and 21 tiles of 4-bit
/// codes: by warps 15 to 18% faster, as Q4_K 7 to 12%; with 8 tiles of half of K, or 6
/// jobs a block, groups are 5 to 12% faster).
bool takesLargeJobs(LinearOp op, const Gemm &byWarps) {
  constexpr int64_t kEnoughStages = 3;
  Work work(op);
  int64_t weights = work.weights, jobs = 0;
  int64_t share = int64_t(llvm::divideCeil(work.tiles, *byWarps.grid));
  for (const KernelSegment &segment : makeSegments(op))
    jobs += int64_t(llvm::divideCeil(segment.tiles, share));
  return *byWarps.splitK == 1 && *byWarps.stages >= kEnoughStages &&
         share * weights >= kEnoughTiles &&
         share * weights <= *byWarps.warps * *byWarps.tiles && jobs <= *byWarps.grid;
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
  g.copy =
      wanted.copy.value_or(chip.has(Feature::bulk) ? CopyKind::bulk : CopyKind::async);
  bool groups = wanted.dot.value_or(mayGroup(op, wanted, *g.copy, chip)
                                        ? DotKind::wgmma
                                        : DotKind::mma) == DotKind::wgmma;
  if (groups && !wanted.dot && rows <= kFewestTokens) {
    Gemm byWarps = wanted;
    byWarps.dot = DotKind::mma;
    Result<Gemm> chosen = chooseGemm(op, byWarps, pdl, chip);
    if (chosen && takesLargeJobs(op, *chosen))
      return chosen;
  }
  if (groups)
    return chooseGroups(op, g, rows, pdl, chip);
  return chooseWarps(op, g, rows, pdl, chip);
}

} // namespace qlinear
