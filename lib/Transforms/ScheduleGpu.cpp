//===- ScheduleGpu.cpp - Schedules for CUDA devices -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The cost model. Decode is bound by reading the weights, so it keeps enough bytes
// under way: one block per multiprocessor, 12 warps with a ring of 3 units each (83 KB
// for 4.5-bit units), which leaves room for the next kernel's block under programmatic
// dependent launch. Where shared memory is short, stages, warps or all activations at
// once are given up. Fields that a schedule has already are followed.
//
//===----------------------------------------------------------------------===//
#include "KernelPlan.h"
#include "qlinear/Transforms/Split.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace qlinear {

std::optional<GpuChip> GpuChip::ofTarget(llvm::StringRef target) {
  llvm::StringRef chipName = target;
  if (!chipName.consume_front("cuda:"))
    return std::nullopt;
  if (chipName == "emulated")
    return GpuChip{kEmulatedChip, "sm_90", target.str()};
  std::optional<ChipName> name = ChipName::parse(chipName);
  const Chip *chip = name ? name->chip() : nullptr;
  if (!chip)
    return std::nullopt;
  GpuChip known{*chip, chipName.str(), target.str()};
  if (name->suffix == 'a')
    known.features |= chip->more;
  return known;
}

namespace {

/// The fewest rows for which tensor cores are faster than dp4a (on sm_90; dp4a is ahead
/// by 2% at 2 rows, and behind by 3% at 4 and 28% at 8).
constexpr int64_t kTensorRows = 3;
/// Long rows are quantized by two blocks (measured: 13% at 8 rows of K = 21504, 6% at 2
/// rows, a loss for K = 8192). Clusters of 4 do not fit evenly into the chip's
/// processing clusters.
constexpr int64_t kSplitColumns = 16384, kSplit = 2;

/// A schedule's kernels for one linear and chip.
class Chooser {
public:
  Chooser(LinearOp op, const GpuChip &chip, bool joinsNorm)
      : op(op), chip(chip), K(op.getK()) {
    ScheduleAttr given = op.getScheduleAttr();
    pdl = given && given.getPdl() ? *given.getPdl() : chip.pdl();
    QuantizeKind usual = joinsNorm ? QuantizeKind::norm : QuantizeKind::inside;
    quantize = given ? given.getQuantize().value_or(usual) : usual;
    if (quantize == QuantizeKind::norm)
      quantize = usual;
    Operation *maker = op.getX().getDefiningOp();
    followsFewBlocks =
        isa_and_nonnull<KernelOpInterface>(maker) && !isa<LinearOp>(maker);
    floats = op.multipliesFloats();
    preparesX = isa<RankedTensorType>(op.getX().getType()) &&
                (quantize == QuantizeKind::inside || floats);
    for (unsigned i = 0; i < op.getWeights().size(); ++i) {
      layout::WeightLayout weight = op.getWeightType(i).getLayout();
      int64_t own = int64_t(weight.tiles());
      unitsPerTile = int64_t(weight.unitsPerTile());
      units += own * unitsPerTile;
      tiles = op.hasEpilogue() ? own : tiles + own; // of all weights together
    }
  }

  /// Fills in the fields that `wanted` leaves out; the error says why there is no such
  /// kernel. The grid has more blocks than multiprocessors only if the tiles of a block
  /// do not fit into its shared memory otherwise: not all blocks run at once then.
  Result<Gemv> choose(const Gemv &wanted) const {
    int64_t grid = wanted.grid.value_or(chip.multiprocessors);
    for (;; grid *= 2) {
      Result<Gemv> kernel = chooseFor(wanted, grid);
      if (kernel || wanted.grid || grid >= tiles)
        return kernel;
    }
  }

  bool pdl;
  QuantizeKind quantize;

private:
  /// Whether a warp has less than four units: a third stage then only brings forward
  /// what little is left to read while the kernel waits (measured at 12 MB: 3% for one
  /// row, 9% to 14% for more), and more warps have nothing to do (5% for four rows).
  bool isShort() const {
    return chip.pdl() && units < 4 * int64_t(chip.multiprocessors * chip.warps);
  }

  CopyKind fastestCopy() const {
    return chip.has(Feature::bulk)    ? CopyKind::bulk
           : chip.has(Feature::async) ? CopyKind::async
                                      : CopyKind::load;
  }

  // Kernels for three and four rows have the multiprocessor to themselves (measured: 3%
  // for long rows, 5% for many); those for more need the registers.
  int64_t warpsFor(int64_t rows) const {
    bool more = chip.pdl() && !isShort() && (rows == 3 || rows == 4);
    return more ? chip.warps + chip.warps / 3 : chip.warps;
  }

  // A single row gains nothing by clusters: its activations are few, and the barrier
  // costs more than quantizing them.
  int64_t splitFor(int64_t rows, int64_t grid, bool gridIsGiven) const {
    bool split = chip.pdl() && chip.has(Feature::cluster) && rows > 1 &&
                 K >= kSplitColumns && K % layout::kUnitK == 0 &&
                 unitsPerTile % kSplit == 0 && grid >= kSplit &&
                 !(gridIsGiven && grid % kSplit);
    return split ? kSplit : 1;
  }

  Result<Gemv> chooseFor(const Gemv &wanted, int64_t grid) const;

  LinearOp op;
  const GpuChip &chip;
  bool followsFewBlocks; ///< x is made by a kernel that is no linear's
  bool floats;           ///< are multiplied
  bool preparesX;        ///< quantizes it, or stages its floats, in the kernel
  int64_t K, tiles = 0, units = 0, unitsPerTile = 0;
};

Result<Gemv> Chooser::chooseFor(const Gemv &wanted, int64_t grid) const {
  Gemv g = wanted;
  g.copy = wanted.copy.value_or(fastestCopy());
  bool ring = g.copy != CopyKind::load;
  bool tensor = ring && chip.has(Feature::mma);
  if (!g.dot && floats)
    g.dot = tensor ? DotKind::mma : DotKind::fma;
  if (!g.dot)
    g.dot = tensor && g.rows >= kTensorRows ? DotKind::mma : DotKind::dp4a;
  // Bulk copies bring quantized activations, unless they would queue behind those that
  // fill the ring at that time (a kernel for up to 2 rows has filled it before), which
  // is worse than loads by threads as long as those are few.
  if (!g.xCopy)
    g.xCopy = g.copy == CopyKind::bulk && (g.rows <= 2 || g.rows > 4) ? CopyKind::bulk
                                                                      : CopyKind::load;
  if (!wanted.grid && !pdl) // else every multiprocessor gets a block (below)
    grid = std::min(grid, tiles);
  g.splitK = wanted.splitK.value_or(splitFor(g.rows, grid, wanted.grid.has_value()));
  g.grid = wanted.grid ? grid : std::max(*g.splitK, grid / *g.splitK * *g.splitK);

  int64_t most = wanted.stages.value_or(!ring ? 1 : isShort() ? 2 : 3);
  std::string why;
  bool oneWalk = false;
  auto fits = [&](int64_t warps, int64_t resident, int64_t phases, int64_t least) {
    g.warps = warps;
    g.resident = resident;
    g.phases = phases;
    g.ahead = false;
    for (int64_t stages = most; stages >= (wanted.stages ? most : least); --stages) {
      g.early = g.stages = stages;
      Result<KernelPlan> plan = planKernel(op, g, pdl, chip);
      if (plan) {
        oneWalk = plan->segments.size() == 1 && plan->segments[0].walks.size() == 1;
        return true;
      }
      why = plan.error();
    }
    return false;
  };
  // The copies that the blocks have under way while they wait are queued before the
  // results of the kernel before and the loads of x, so the last stage has to wait for
  // those (measured: 2% for four rows, 1% for one; nothing where bulk copies bring x).
  auto finish = [&](bool isLate, bool isAhead) -> Result<Gemv> {
    g.early =
        wanted.early.value_or(isLate && *g.stages > 2 ? *g.stages - 1 : *g.stages);
    g.ahead = wanted.ahead.value_or(isAhead && *g.early < *g.stages);
    if (*g.ahead && !oneWalk) // is wanted: the plan says why not
      return planKernel(op, g, pdl, chip).takeError();
    return g;
  };

  // Under programmatic dependent launch the next kernel's blocks fill their rings
  // beside this one's: they are worth a stage, and no more warps than 64 K registers
  // allow for both. It needs one block of each kernel on every multiprocessor. Where
  // two blocks of one kernel meet, they end late, the next kernel's go where there is
  // room, and the imbalance is handed on from launch to launch (measured: 1.4 times the
  // time). Three rules keep the blocks even:
  //   - the grid has a block for every multiprocessor. One without tiles waits like the
  //     others for the kernel before;
  //   - three blocks never fit, so where one ends, one of the next kernel starts;
  //   - a kernel that does not fit twice has the multiprocessor to itself. Where it
  //     ends first, two blocks of a kernel that fits twice could start after it. So all
  //     kernels for one and two rows fit twice, with fewer warps if need be.
  // After a kernel of few blocks they are not even: where such a block waits beside one
  // of the kernel before it, there are no registers for another. So a kernel that
  // follows reserves as much as lets one of others start beside a block of it, but no
  // second one of its own (measured where two norms come between o and gate and up of
  // 21504 x 5376: these took 1.9 times as long as their read, and the layer 99 us; with
  // no two blocks anywhere it takes 74.5).
  if (pdl && g.rows <= kSharingRows && wanted.resident.value_or(2) == 2 &&
      wanted.phases.value_or(1) == 1)
    for (int64_t cap : {12, 8})
      if (fits(wanted.warps.value_or(std::min(warpsFor(g.rows), cap)), 2, 1,
               std::min<int64_t>(most, 2))) {
        g.resident = wanted.resident.value_or(followsFewBlocks ? 1 : 2);
        // Quantizing long rows takes as long as filling the ring; the copies go on
        // meanwhile if the first units are taken out of it (with more than one row the
        // registers are needed).
        return finish(true, g.rows == 1 && g.dot != DotKind::mma && ring && preparesX &&
                                oneWalk);
      }
  // A ring of one stage hides no latency, so phases come before that.
  int64_t first = wanted.phases.value_or(1);
  int64_t last =
      wanted.phases.value_or(std::clamp<int64_t>(unitsPerTile / *g.splitK, 1, 4));
  for (int64_t least : {std::min<int64_t>(most, 2), int64_t(1)})
    for (int64_t phases = first; phases <= last; ++phases)
      if (fits(wanted.warps.value_or(warpsFor(g.rows)),
               wanted.resident.value_or(pdl ? 1 : 0), phases, least))
        return finish(pdl && phases == 1 && (preparesX || g.xCopy != CopyKind::bulk),
                      false);
  return error(why);
}

/// Adds the usual kernels for more rows than kMaxGemvRows, if `op` has so many and the
/// chip such kernels; with `batchInvariant` those for any number that add in one order.
void addManyRows(LinearOp op, const GpuChip &chip, bool batchInvariant,
                 SmallVector<KernelAttrInterface> &kernels) {
  int64_t M = op.getM();
  bool dynamic = ShapedType::isDynamic(M);
  if ((!dynamic && M <= kMaxGemvRows && !batchInvariant) ||
      countKernelArgs(op) >= kMaxKernelArgs || // with the prepared activations
      !chooseGemm(op, Gemm(), chip.pdl(), chip))
    return;
  Gemm common;
  if (batchInvariant) {
    // What many rows take; by warps, what makes few of them fast.
    Gemm few;
    few.rows = 16;
    few.dot = chooseGemm(op, Gemm(), chip.pdl(), chip)->dot;
    Result<Gemm> chosen = chooseGemm(op, few, chip.pdl(), chip);
    if (!chosen)
      return;
    common.dot = chosen->dot;
    common.splitK = chosen->dot == DotKind::wgmma ? 1 : *chosen->splitK;
  }
  // Fewer on the emulated device, which has no use for what they save.
  bool emulated = chip.target == "cuda:emulated";
  SmallVector<int64_t> all;
  if (dynamic && !emulated) {
    if (chip.has(Feature::wgmma)) // jobs of any 16 tokens, one or several
      all = {16,  32,  48,  64,  96,  128, 160, 192, 224,
             256, 320, 384, 448, 512, 576, 672, 768, 896};
    else
      all = {16, 32, 64, 128};
  }
  all.push_back(kAnyRows);
  for (int64_t rows : all) {
    Gemm gemm = common;
    gemm.rows = rows;
    if (emulated)
      gemm.tokens = 16;
    kernels.push_back(GemmAttr::get(op.getContext(), gemm));
  }
}

/// The kernels that a schedule asks for; without any, the usual ones for M rows.
SmallVector<KernelAttrInterface> wantedOf(LinearOp op, const GpuChip &chip,
                                          bool batchInvariant) {
  ScheduleAttr given = op.getScheduleAttr();
  if (given && !given.getKernels().empty())
    return llvm::to_vector(given.getKernels());
  SmallVector<KernelAttrInterface> few, many;
  addManyRows(op, chip, batchInvariant, many);
  if (many.empty() || (ShapedType::isDynamic(op.getM()) && !batchInvariant))
    for (int64_t rows : rowsWithKernels(op.getM())) {
      Gemv gemv;
      gemv.rows = rows;
      few.push_back(GemvAttr::get(op.getContext(), gemv));
    }
  llvm::append_range(few, many);
  return few;
}

/// Whether the norm before `op` can leave x as all kernels take it: floats have no form
/// but their own for kernels for few rows.
bool joinsNorm(LinearOp op, ArrayRef<KernelAttrInterface> kernels) {
  return normBefore(op) &&
         (!op.multipliesFloats() || llvm::none_of(kernels, llvm::IsaPred<GemvAttr>));
}

/// The kernels that there are, and the first that there isn't.
struct Choice {
  SmallVector<KernelAttrInterface> kernels;
  KernelAttrInterface missing;
  std::string why; ///< there isn't
};

Choice chooseAll(LinearOp op, ArrayRef<KernelAttrInterface> wanted, const GpuChip &chip,
                 bool joinsNorms) {
  Chooser chooser(op, chip, joinsNorms && joinsNorm(op, wanted));
  Choice choice;
  for (KernelAttrInterface w : wanted) {
    auto add = [&](auto kernel, auto attr) {
      if (kernel)
        choice.kernels.push_back(decltype(attr)::getChecked(
            [&] { return op.emitError("schedule: "); }, op.getContext(), *kernel));
      else if (!choice.missing)
        choice.why = kernel.takeError().message, choice.missing = w;
    };
    if (auto gemv = dyn_cast<GemvAttr>(w))
      add(chooser.choose(gemv.getValue()), gemv);
    else if (auto gemm = dyn_cast<GemmAttr>(w))
      add(chooseGemm(op, gemm.getValue(), chooser.pdl, chip), gemm);
  }
  return choice;
}

bool takesCount(LinearOp op) {
  return op.getWeights().size() <= kMaxGpuWeights &&
         countKernelArgs(op) <= kMaxKernelArgs;
}

/// Cuts `op` where one kernel does not take all its weights, or does not for as many
/// rows as kernels of less weights would.
SmallVector<LinearOp> share(RewriterBase &rewriter, LinearOp op,
                            ArrayRef<KernelAttrInterface> wanted, const GpuChip &chip,
                            bool joinsNorms) {
  auto rowsThatFit = [&](LinearOp linear) {
    return chooseAll(linear, wanted, chip, joinsNorms).kernels.size();
  };
  size_t fit = rowsThatFit(op), most = wanted.size();
  if (takesCount(op) && fit == most)
    return {op};
  // All results should have as many rows as any group of them could have alone.
  SmallVector<SmallVector<unsigned>> groups = getIndependentResults(op);
  if (fit < most) {
    rewriter.setInsertionPoint(op);
    for (ArrayRef<unsigned> results : groups) {
      LinearOp alone = createPart(rewriter, op, results);
      most = std::min(most, rowsThatFit(alone));
      rewriter.eraseOp(alone);
    }
  }
  SmallVector<LinearOp> parts = splitUntil(rewriter, op, [&](LinearOp part) {
    return takesCount(part) && rowsThatFit(part) >= most;
  });
  LinearOp first = parts.front();
  if (parts.size() > 1 && isa<RankedTensorType>(first.getX().getType()) &&
      !first.multipliesFloats()) {
    rewriter.setInsertionPoint(first);
    Value x = QuantizeActivationsOp::create(rewriter, first.getLoc(), first.getX())
                  .getResult();
    for (LinearOp part : parts)
      rewriter.modifyOpInPlace(part, [&] { part.getXMutable().assign(x); });
  }
  return parts;
}

LogicalResult complete(RewriterBase &rewriter, LinearOp op,
                       ArrayRef<KernelAttrInterface> wanted, const GpuChip &chip,
                       bool joinsNorms) {
  ScheduleAttr given = op.getScheduleAttr();
  bool named = given && !given.getKernels().empty();
  if (failed(checkKernelArgs(op)))
    return failure();
  Choice choice = chooseAll(op, wanted, chip, joinsNorms);
  if (!llvm::all_of(choice.kernels, [](Attribute kernel) { return bool(kernel); }))
    return failure();
  if (choice.missing && (named || choice.kernels.empty()))
    return op.emitError(named ? "schedule: " : "") << choice.why;
  if (choice.missing && choice.kernels.back().getRows() <= kMaxGemvRows)
    op.emitRemark("a kernel for ")
        << choice.missing.getRows() << " rows of K = " << op.getK()
        << " does not fit into the " << chip.sharedBytes
        << " bytes of shared memory of " << chip.name << "; more rows than "
        << choice.kernels.back().getRows() << " read the weights several times";
  Chooser chooser(op, chip, joinsNorms && joinsNorm(op, wanted));
  rewriter.modifyOpInPlace(op, [&] {
    op.setScheduleAttr(ScheduleAttr::get(op.getContext(), choice.kernels,
                                         chooser.quantize, chooser.pdl));
  });
  return success();
}

} // namespace

ScheduleAttr withManyRows(LinearOp op, ScheduleAttr schedule, const GpuChip &chip) {
  auto kernels = llvm::to_vector(schedule.getKernels());
  if (!kernels.empty() && kernels.back().getRows() == kMaxGemvRows)
    addManyRows(op, chip, /*batchInvariant=*/false, kernels);
  return ScheduleAttr::get(op.getContext(), kernels, schedule.getQuantize(),
                           schedule.getPdl());
}

/// The schedule without what its kernels for few rows owe to the norm before them.
static ScheduleAttr withoutNorm(ScheduleAttr schedule) {
  SmallVector<KernelAttrInterface> kernels;
  for (KernelAttrInterface kernel : schedule.getKernels()) {
    if (auto gemv = dyn_cast<GemvAttr>(kernel)) {
      Gemv kept;
      kept.rows = gemv.getValue().rows;
      kept.dot = gemv.getValue().dot;
      kept.copy = gemv.getValue().copy;
      kernel = GemvAttr::get(schedule.getContext(), kept);
    }
    kernels.push_back(kernel);
  }
  return ScheduleAttr::get(schedule.getContext(), kernels, QuantizeKind::inside,
                           schedule.getPdl());
}

FailureOr<SmallVector<LinearOp>> scheduleForGpu(RewriterBase &rewriter, LinearOp op,
                                                const GpuChip &chip,
                                                bool batchInvariant, bool joinsNorms) {
  ScheduleAttr given = op.getScheduleAttr();
  if (given && given.getQuantize() == QuantizeKind::norm &&
      !(joinsNorms && joinsNorm(op, given.getKernels()))) {
    given = withoutNorm(given);
    rewriter.modifyOpInPlace(op, [&] { op.setScheduleAttr(given); });
  }
  if (given) {
    if (std::string why = whyMisfit(given, chip, chip.target); !why.empty())
      return op.emitError("schedule: ")
             << why << "; leave the schedule to qlinear-schedule, or change the field";
    if (given.isComplete()) {
      if (failed(checkKernelArgs(op)) ||
          (batchInvariant && failed(checkBatchInvariant(op))))
        return failure();
      return SmallVector<LinearOp>{op};
    }
  }
  SmallVector<KernelAttrInterface> wanted = wantedOf(op, chip, batchInvariant);
  SmallVector<LinearOp> parts = share(rewriter, op, wanted, chip, joinsNorms);
  for (LinearOp part : parts)
    if (failed(complete(rewriter, part, wanted, chip, joinsNorms)) ||
        (batchInvariant && failed(checkBatchInvariant(part))))
      return failure();
  return parts;
}

} // namespace qlinear
