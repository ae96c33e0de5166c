//===- GpuPlan.cpp - The constants of a GPU kernel ------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "GpuKernel.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir::qlinear;

namespace qlinear {

constexpr int64_t kMaxCluster = 8; // blocks, on every chip that has clusters

int64_t KernelPlan::recordsOf(const KernelWalk &walk, int phase) const {
  int64_t at = records;
  for (unsigned i = 0; i < walk.recordKind; ++i)
    at += staged(int(unitsOf(phase))).records() * recordKinds[i].bytes();
  return at;
}

static kernels::CopyMode modeOf(CopyKind copy) {
  switch (copy) {
  case CopyKind::bulk:
    return kernels::kBulk;
  case CopyKind::async:
    return kernels::kAsync;
  case CopyKind::load:
    return kernels::kDirect;
  }
  llvm_unreachable("unknown copy kind");
}

static KernelSegment makeSegment(LinearOp op, llvm::ArrayRef<unsigned> weights) {
  KernelSegment segment;
  for (unsigned index : weights) {
    layout::WeightLayout layout = op.getWeightType(index).getLayout();
    auto same = [&](KernelWalk &walk) {
      return walk.layout.spec.pack() == layout.spec.pack() &&
             walk.weights.size() < kernels::kMaxWeights;
    };
    auto walk = llvm::find_if(segment.walks, same);
    if (walk == segment.walks.end()) {
      segment.walks.push_back({});
      walk = std::prev(segment.walks.end());
      walk->layout = layout;
    }
    walk->weights.push_back(index);
    segment.N = int64_t(layout.N);
    segment.tiles = int64_t(layout.tiles());
  }
  return segment;
}

/// Gives each segment its range on the axis of cost, whose unit is chosen so that
/// the kernel's 32-bit arithmetic suffices, and the most tiles a block can get.
static void shareTiles(KernelPlan &plan) {
  int64_t unit = 0;
  for (KernelSegment &segment : plan.segments) {
    segment.cost = 0;
    for (KernelWalk &walk : segment.walks)
      segment.cost += int64_t(walk.layout.tileBytes() * walk.weights.size());
    unit = std::gcd(unit, segment.cost);
  }
  int64_t total = 0;
  for (KernelSegment &segment : plan.segments)
    total += segment.cost / unit * segment.tiles;
  int64_t shares = plan.grid / plan.split;
  int64_t shrink = std::max<int64_t>(1, llvm::divideCeil(total * shares, 1 << 30));
  plan.totalCost = 0;
  for (KernelSegment &segment : plan.segments) {
    segment.cost = std::max<int64_t>(1, segment.cost / unit / shrink);
    segment.start = plan.totalCost;
    plan.totalCost += segment.cost * segment.tiles;
  }
  for (KernelSegment &segment : plan.segments) {
    auto tileAt = [&](int64_t block) {
      int64_t at = block * plan.totalCost / shares - segment.start;
      return std::min(segment.tiles, int64_t(llvm::divideCeil(std::max<int64_t>(at, 0),
                                                              segment.cost)));
    };
    for (int64_t block = 0; block < shares; ++block)
      segment.maxTiles = std::max(segment.maxTiles, tileAt(block + 1) - tileAt(block));
  }
}

/// Lays out shared memory and returns its size.
static int64_t layOut(KernelPlan &plan) {
  int64_t at = 0;
  auto reserve = [&](int64_t bytes, int64_t alignment) {
    int64_t start = llvm::alignTo(at, alignment);
    at = start + bytes;
    return start;
  };
  int64_t stage = 0;
  for (KernelSegment &segment : plan.segments)
    for (KernelWalk &walk : segment.walks)
      stage = std::max<int64_t>(stage, kernels::stageBytes(walk.layout));
  bool ring = plan.mode != kernels::kDirect;
  plan.ringBytes = ring ? stage * plan.stages : 0;
  reserve(plan.ringBytes * plan.warps, layout::kLine);
  kernels::StagedActivations staged = plan.staged(int(plan.phaseUnits));
  plan.codes = reserve(staged.codeBytes(), layout::kLine);
  int64_t records = 0;
  for (kernels::RecordKind kind : plan.recordKinds)
    records += staged.records() * kind.bytes();
  plan.records = reserve(records, 16);
  plan.codesBarrier = reserve(plan.bulkCodes ? 8 : 0, 8);
  for (KernelSegment &segment : plan.segments) {
    if (plan.split > 1) {
      size_t weights = 0;
      for (KernelWalk &walk : segment.walks)
        weights += walk.weights.size();
      segment.gather = reserve(plan.split * int64_t(weights) * plan.ownTiles(segment) *
                                   kernels::slotBytes(plan.tokens),
                               16);
    }
    for (KernelWalk &walk : segment.walks) {
      int64_t runs = segment.maxTiles * int64_t(walk.weights.size());
      walk.constants = reserve(
          runs * layout::kTileRows * 4 * kernels::rowFloats(walk.layout.spec), 16);
      if (plan.tensor)
        walk.exchange =
            reserve(plan.warps * kernels::exchangeBytes(walk.layout.spec), 16);
      walk.barriers.clear();
      walk.slots.clear();
      for (int phase = 0; phase < plan.phases; ++phase) {
        walk.barriers.push_back(
            reserve(plan.mode == kernels::kBulk ? plan.warps * plan.stages * 8 : 0, 8));
        walk.slots.push_back(reserve(kernels::slotCount(int(runs), plan.warps) *
                                         kernels::slotBytes(plan.tokens),
                                     16));
      }
    }
  }
  return int64_t(llvm::alignTo(at, 16));
}

/// Fewest tokens for which tensor cores are faster than dp4a (on sm_90; dp4a is ahead
/// by 2% at 2 tokens, and behind by 3% at 4 and 28% at 8).
constexpr int kTensorTokens = 3;

/// Blocks that share K. A single token gains nothing: its activations are few, and the
/// cluster's barrier costs more than quantizing them.
static int splitOf(const KernelPlan &plan, const ScheduleAttr::Fields &schedule,
                   const GpuChip &chip) {
  if (!chip.has(Feature::cluster) || plan.tokens == 1 || plan.K % layout::kUnitK)
    return 1;
  int64_t split = std::min({schedule.splitK, plan.grid, kMaxCluster});
  while (plan.units % split)
    --split;
  return int(split);
}

std::optional<KernelPlan> planKernel(LinearOp op, const ScheduleAttr::Fields &schedule,
                                     int tokens, const GpuChip &chip) {
  KernelPlan plan;
  plan.K = op.getK();
  int warps = int(schedule.warps ? schedule.warps : chip.warpsFor(tokens));
  plan.warps = warps;
  plan.mode = modeOf(schedule.copy);
  plan.pdl = schedule.pdl && chip.pdl();
  plan.tensor = tokens >= kTensorTokens && plan.mode != kernels::kDirect;
  // Bulk copies bring quantized activations, unless they would queue behind those that
  // fill the ring at that time (a kernel for up to 2 tokens has filled it before),
  // which is worse than loads by threads as long as those are few.
  plan.bulkCodes = plan.mode == kernels::kBulk && (tokens <= 2 || tokens > 4);
  // Fragments have 8 columns, for which tokens are repeated.
  plan.tokens = plan.tensor ? int(llvm::PowerOf2Ceil(unsigned(tokens))) : tokens;

  llvm::SmallVector<unsigned> all(op.getWeights().size());
  std::iota(all.begin(), all.end(), 0);
  if (op.hasEpilogue()) {
    plan.segments.push_back(makeSegment(op, all));
    for (unsigned i = 0; i < op.getNumResults(); ++i)
      plan.segments.back().results.push_back(i);
  } else {
    for (unsigned i : all) {
      plan.segments.push_back(makeSegment(op, {i}));
      plan.segments.back().results.push_back(i);
    }
  }
  int64_t tiles = 0;
  for (KernelSegment &segment : plan.segments) {
    tiles += segment.tiles;
    for (KernelWalk &walk : segment.walks) {
      auto kind = kernels::RecordKind::of(walk.layout.spec);
      auto found = llvm::find(plan.recordKinds, kind);
      walk.recordKind = unsigned(found - plan.recordKinds.begin());
      if (found == plan.recordKinds.end())
        plan.recordKinds.push_back(kind);
    }
  }
  if (plan.recordKinds.size() > kernels::kMaxRecordKinds)
    return std::nullopt;
  plan.grid = schedule.grid ? schedule.grid : chip.multiprocessors;
  if (!plan.pdl) // else every multiprocessor gets a block (below)
    plan.grid = std::min(plan.grid, tiles);
  plan.units = int64_t(plan.segments.front().walks.front().layout.unitsPerTile());
  plan.split = splitOf(plan, schedule, chip);
  plan.units /= plan.split;
  plan.grid = plan.grid / plan.split * plan.split;
  shareTiles(plan);
  int most = int(std::min<int64_t>(schedule.stages, 8));
  auto fits = [&](int64_t bytes, int phases, int leastStages) {
    plan.phases = phases;
    plan.phaseUnits = llvm::divideCeil(plan.units, phases);
    if (plan.phaseUnits * (phases - 1) >= plan.units)
      return false; // the last phase would be empty
    for (plan.stages = most; plan.stages >= leastStages; --plan.stages) {
      plan.sharedBytes = layOut(plan);
      if (plan.sharedBytes <= bytes)
        return true;
    }
    return false;
  };
  // Under programmatic dependent launch the next kernel's blocks fill their rings
  // beside this one's: that is worth a stage, and no more warps than 64 K registers
  // allow for both. It needs one block of each kernel on every multiprocessor. Where
  // two blocks of one kernel meet, they end late, the next kernel's go where there is
  // room, and the imbalance is handed on from launch to launch (measured: 1.4 times the
  // time). Three rules keep the blocks even:
  //   - the grid has a block for every multiprocessor. One without tiles waits like the
  //     others for the kernel before;
  //   - three blocks never fit, so where one ends, one of the next kernel starts;
  //   - a kernel that does not fit twice has the multiprocessor to itself. Where it
  //   ends
  //     first, two blocks of a kernel that fits twice could start after it. So all
  //     kernels for one and two rows fit twice, with fewer warps if need be.
  constexpr int64_t kReserved = 1024; // of each block, by the system
  auto shareOf = [&](int64_t blocks) {
    return (chip.sharedBytes + kReserved) / blocks - kReserved;
  };
  int64_t beside = shareOf(2);
  // The copies that the blocks have under way while they wait are queued before the
  // results of the kernel before and the loads of x, so the last stage has to wait for
  // those (measured: 2% for four rows, 1% for one; nothing where bulk copies bring x).
  bool quantizes = llvm::isa<mlir::RankedTensorType>(op.getX().getType());
  auto early = [&] { return plan.stages > 2 ? plan.stages - 1 : plan.stages; };
  if (plan.pdl && tokens <= 2) {
    for (int shared : {12, 8}) {
      plan.warps = std::min(warps, shared);
      if (!fits(beside, 1, std::min(most, 2)))
        continue;
      plan.sharedBytes = std::max(plan.sharedBytes, shareOf(3) + 16);
      plan.blocksPerMultiprocessor = 2;
      plan.earlyStages = early();
      // Quantizing long rows takes as long as filling the ring; the copies go on
      // meanwhile if the first units are taken out of it (with more than one row the
      // registers are needed).
      plan.ahead = plan.stages > 2 && tokens == 1 && plan.mode != kernels::kDirect &&
                   quantizes && plan.segments.size() == 1 &&
                   plan.segments[0].walks.size() == 1;
      return plan;
    }
    plan.warps = warps;
  }
  // A ring of one stage hides no latency, so phases come before that.
  for (int least : {std::min(most, 2), 1})
    for (int phases = 1; phases <= std::min<int64_t>(plan.units, 4); ++phases)
      if (fits(chip.sharedBytes, phases, least)) {
        if (plan.pdl)
          plan.sharedBytes = std::max(plan.sharedBytes, beside + 16);
        bool loads = quantizes || !plan.bulkCodes;
        plan.earlyStages = plan.pdl && phases == 1 && loads ? early() : plan.stages;
        return plan;
      }
  return std::nullopt;
}

} // namespace qlinear
