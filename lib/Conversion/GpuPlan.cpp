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

int64_t KernelPlan::recordsOf(const KernelWalk &walk) const {
  int64_t at = records;
  int64_t chunks = tokens * phaseUnits * layout::kUnitChunks;
  for (unsigned i = 0; i < walk.recordKind; ++i)
    at += chunks * recordKinds[i].bytes();
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
  int64_t shrink = std::max<int64_t>(1, llvm::divideCeil(total * plan.grid, 1 << 30));
  plan.totalCost = 0;
  for (KernelSegment &segment : plan.segments) {
    segment.cost = std::max<int64_t>(1, segment.cost / unit / shrink);
    segment.start = plan.totalCost;
    plan.totalCost += segment.cost * segment.tiles;
  }
  for (KernelSegment &segment : plan.segments) {
    auto tileAt = [&](int64_t block) {
      int64_t at = block * plan.totalCost / plan.grid - segment.start;
      return std::min(segment.tiles,
                      int64_t(llvm::divideCeil(std::max<int64_t>(at, 0), segment.cost)));
    };
    for (int64_t block = 0; block < plan.grid; ++block)
      segment.maxTiles =
          std::max(segment.maxTiles, tileAt(block + 1) - tileAt(block));
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
  plan.codes = reserve(plan.tokens * plan.phaseUnits * layout::kUnitK, layout::kLine);
  int64_t records = 0;
  for (kernels::RecordKind kind : plan.recordKinds)
    records += plan.tokens * plan.phaseUnits * layout::kUnitChunks * kind.bytes();
  plan.records = reserve(records, 16);
  for (KernelSegment &segment : plan.segments)
    for (KernelWalk &walk : segment.walks) {
      int64_t runs = segment.maxTiles * int64_t(walk.weights.size());
      walk.constants = reserve(
          runs * layout::kTileRows * 4 * kernels::rowFloats(walk.layout.spec), 16);
      walk.barriers.clear();
      walk.slots.clear();
      for (int phase = 0; phase < plan.phases; ++phase) {
        walk.barriers.push_back(reserve(
            plan.mode == kernels::kBulk ? plan.warps * plan.stages * 8 : 0, 8));
        walk.slots.push_back(reserve(kernels::slotCount(int(runs), plan.warps) *
                                         kernels::slotBytes(plan.tokens), 16));
      }
    }
  return int64_t(llvm::alignTo(at, 16));
}

std::optional<KernelPlan> planKernel(LinearOp op, const ScheduleAttr::Fields &schedule,
                                     int tokens, const GpuChip &chip) {
  KernelPlan plan;
  plan.tokens = tokens;
  plan.K = op.getK();
  plan.warps = int(schedule.warps);
  plan.mode = modeOf(schedule.copy);
  plan.pdl = schedule.pdl && chip.pdl;

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
  plan.grid = std::min(schedule.grid ? schedule.grid : chip.multiprocessors, tiles);
  shareTiles(plan);
  plan.units = int64_t(plan.segments.front().walks.front().layout.unitsPerTile());
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
  // Under programmatic dependent launch the next kernel's block fills its ring
  // beside this one's: that is worth a stage, and warps where two tokens need more
  // registers (of 64 K, for both blocks). With more tokens long rows do not fit
  // twice; such a kernel must not share at all: among kernels that leave no room,
  // one that does would get two blocks on the multiprocessors that are free first.
  constexpr int64_t kReserved = 1024; // of each block, by the system
  int64_t beside = (chip.sharedBytes + kReserved) / 2 - kReserved;
  if (plan.pdl && tokens <= 2) {
    plan.warps = std::min(plan.warps, tokens == 1 ? 12 : 10);
    if (fits(beside, 1, std::min(most, 2))) {
      plan.blocksPerMultiprocessor = 2;
      return plan;
    }
    plan.warps = int(schedule.warps);
  }
  // A ring of one stage hides no latency, so phases come before that.
  for (int least : {std::min(most, 2), 1})
    for (int phases = 1; phases <= std::min<int64_t>(plan.units, 4); ++phases)
      if (fits(chip.sharedBytes, phases, least)) {
        if (plan.pdl)
          plan.sharedBytes = std::max(plan.sharedBytes, beside + 16);
        return plan;
      }
  return std::nullopt;
}

} // namespace qlinear
