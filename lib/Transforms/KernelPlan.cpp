//===- KernelPlan.cpp - The constants of a GPU kernel ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelPlan.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir::qlinear;

namespace qlinear {

int64_t KernelPlan::recordsOf(const KernelWalk &walk, int phase) const {
  int64_t at = records;
  for (unsigned i = 0; i < walk.recordKind; ++i)
    at += staged(int(unitsOf(phase))).records() * recordKinds[i].bytes();
  return at;
}

kernels::CopyMode modeOf(CopyKind copy) {
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

/// What multiplies, by the schedule and by what x is multiplied as.
static kernels::Product productOf(LinearOp op, DotKind dot) {
  if (!op.multipliesFloats())
    return dot == DotKind::mma ? kernels::kMma : kernels::kDp4a;
  if (dot == DotKind::fma)
    return kernels::kFma;
  auto x = mlir::cast<mlir::RankedTensorType>(op.getX().getType());
  return x.getElementType().isF32() ? kernels::kMmaSplit : kernels::kMmaHalf;
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

std::vector<KernelSegment> makeSegments(LinearOp op) {
  std::vector<KernelSegment> segments;
  llvm::SmallVector<unsigned> all(op.getWeights().size());
  std::iota(all.begin(), all.end(), 0);
  if (op.hasEpilogue()) {
    segments.push_back(makeSegment(op, all));
    for (unsigned i = 0; i < op.getNumResults(); ++i)
      segments.back().results.push_back(i);
  } else {
    for (unsigned i : all) {
      segments.push_back(makeSegment(op, {i}));
      segments.back().results.push_back(i);
    }
  }
  return segments;
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
      if (kernels::onTensorCores(plan.product))
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

int64_t sharedBytesOf(const GpuChip &chip, int64_t blocks) {
  constexpr int64_t kReserved = 1024; // of each block, by the system
  return (chip.sharedBytes + kReserved) / blocks - kReserved;
}

std::string whyMisfit(const Gemv &gemv, const GpuChip &chip) {
  std::string needs;
  auto need = [&](bool wanted, const std::string &field, uint32_t feature) {
    if (needs.empty() && wanted && !chip.has(feature))
      needs = field + " needs " + chipsWith(feature);
  };
  need(gemv.copy == CopyKind::bulk, "copy = bulk", Feature::bulk);
  need(gemv.copy == CopyKind::async, "copy = async", Feature::async);
  need(gemv.xCopy == CopyKind::bulk, "x_copy = bulk", Feature::bulk);
  need(gemv.dot == DotKind::mma, "dot = mma", Feature::mma);
  need(gemv.splitK.value_or(1) > 1, "split_k above 1", Feature::cluster);
  int64_t blocks = std::max<int64_t>(1, gemv.resident.value_or(0));
  int64_t threads = blocks * gemv.warps.value_or(0) * kernels::kWarp;
  if (needs.empty() && threads > chip.threads)
    needs = std::to_string(blocks) + " resident blocks of " +
            std::to_string(*gemv.warps) + " warps are " + std::to_string(threads) +
            " threads, and a multiprocessor has " + std::to_string(chip.threads);
  return needs.empty() ? "" : needs + ", but the target is " + chip.target;
}

Result<KernelPlan> planKernel(LinearOp op, const Gemv &gemv, bool pdl,
                              const GpuChip &chip) {
  if (std::string why = whyMisfit(gemv, chip); !why.empty())
    return error(why);
  if (gemv.dot != DotKind::mma && (gemv.dot == DotKind::fma) != op.multipliesFloats())
    return error("dot = " + stringifyDotKind(*gemv.dot).str() + " multiplies " +
                 (gemv.dot == DotKind::fma ? "float" : "int8") +
                 " activations, but the linear's are " +
                 stringifyActivationKind(op.getFormat().getKind()).str() +
                 "; use dot = mma or " + (op.multipliesFloats() ? "fma" : "dp4a"));
  KernelPlan plan;
  plan.pdl = pdl;
  plan.K = op.getK();
  plan.warps = int(*gemv.warps);
  plan.stages = int(*gemv.stages);
  plan.earlyStages = int(*gemv.early);
  plan.ahead = *gemv.ahead;
  plan.mode = modeOf(*gemv.copy);
  plan.product = productOf(op, *gemv.dot);
  plan.bulkCodes = gemv.xCopy == CopyKind::bulk;
  plan.grid = *gemv.grid;
  plan.split = int(*gemv.splitK);
  plan.phases = int(*gemv.phases);
  // Fragments have 8 columns, for which tokens are repeated.
  plan.tokens =
      int(kernels::onTensorCores(plan.product) ? llvm::PowerOf2Ceil(uint64_t(gemv.rows))
                                               : gemv.rows);

  plan.segments = makeSegments(op);
  for (KernelSegment &segment : plan.segments)
    for (KernelWalk &walk : segment.walks) {
      auto kind = kernels::RecordKind::of(walk.layout.spec);
      auto found = llvm::find(plan.recordKinds, kind);
      walk.recordKind = unsigned(found - plan.recordKinds.begin());
      if (found == plan.recordKinds.end())
        plan.recordKinds.push_back(kind);
    }
  auto number = [](int64_t n) { return std::to_string(n); };
  if (plan.recordKinds.size() > kernels::kMaxRecordKinds)
    return error(
        "the weights of one epilogue need " + number(int64_t(plan.recordKinds.size())) +
        " kinds of sums of activations (by group 16 or more, with offsets or by "
        "the bias of symmetric codes), and a kernel has room for " +
        number(kernels::kMaxRecordKinds) +
        "; re-encode the weights alike, or use several linears");
  plan.units = int64_t(plan.segments.front().walks.front().layout.unitsPerTile());
  if (plan.split > 1 && (plan.units % plan.split || plan.K % layout::kUnitK))
    return error("split_k = " + number(plan.split) + " does not divide the " +
                 number(plan.units) + " units of K = " + number(plan.K) +
                 ", whole ones of " + number(layout::kUnitK) + " columns");
  plan.units /= plan.split;
  plan.phaseUnits = int64_t(llvm::divideCeil(plan.units, plan.phases));
  if (plan.phaseUnits * (plan.phases - 1) >= plan.units)
    return error("phases = " + number(plan.phases) +
                 " leaves the last without any of " + number(plan.units) +
                 " units of K; use less");
  if (plan.ahead && (plan.segments.size() > 1 || plan.segments[0].walks.size() > 1))
    return error(
        "ahead = true is for one weight, or for weights of one encoding in one "
        "epilogue, as each warp has one unit; use ahead = false");
  shareTiles(plan);
  plan.sharedBytes = layOut(plan);
  int64_t resident = *gemv.resident;
  int64_t blocks = std::max<int64_t>(resident, 1);
  // Beside the only block of such a kernel there is room for one of the next.
  bool sharing = pdl && resident == 1 && gemv.rows <= kSharingRows &&
                 *gemv.warps <= chip.warps &&
                 plan.sharedBytes <= sharedBytesOf(chip, 2);
  plan.blocksPerMultiprocessor = sharing ? 2 : int(blocks);
  int64_t room = sharedBytesOf(chip, blocks);
  if (plan.sharedBytes > room)
    return error("the kernel for " + number(gemv.rows) + " rows of K = " +
                 number(plan.K) + " needs " + number(plan.sharedBytes) +
                 " bytes of shared memory, and " + chip.name + " has " + number(room) +
                 (resident > 1 ? " for each of " + number(resident) + " blocks" : "") +
                 "; use more phases, fewer stages or warps");
  if (resident)
    plan.sharedBytes =
        std::max(plan.sharedBytes, sharedBytesOf(chip, resident + 1) + 16);
  return plan;
}

} // namespace qlinear
