//===- Schedule.cpp - Choose the kernel of each linear --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelPlan.h"
#include "ScheduleTable.h"
#include "qlinear/Transforms/ModuleTarget.h"
#include "qlinear/Transforms/Passes.h"

#define DEBUG_TYPE "qlinear-schedule"

using namespace mlir;
using namespace mlir::qlinear;

namespace mlir::qlinear {
#define GEN_PASS_DEF_SCHEDULE
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

namespace qlinear {

size_t countKernelArgs(KernelOpInterface op) {
  size_t caches = mlir::qlinear::cachesOf(op).size();
  size_t own = op->getNumResults() - (op->getNumResults() ? caches : 0);
  return op.getKernelWeights().size() + op.getKernelInputs().size() + 2 * caches +
         std::max(own, op.getKernelOuts().size());
}

LogicalResult checkKernelArgs(KernelOpInterface op) {
  if (size_t count = countKernelArgs(op); count > kMaxKernelArgs)
    return op->emitError("a kernel of ")
           << op.getKernelWeights().size() << " weights, "
           << op.getKernelInputs().size() << " inputs and " << op->getNumResults()
           << " results has " << count << " arguments, and the runtime passes at most "
           << kMaxKernelArgs << "; use several operations";
  return success();
}

NormOp normBefore(LinearOp op) {
  auto norm = op.getX().getDefiningOp<NormOp>();
  if (!norm || !op.getX().hasOneUse() || norm->getBlock() != op->getBlock())
    return {};
  if (norm.getK() % kernels::kNormColumns || norm.getK() > kernels::kMostNormColumns)
    return {};
  for (OpOperand &use : norm->getUses()) {
    // Null in a block after this one.
    Operation *user = norm->getBlock()->findAncestorOpInBlock(*use.getOwner());
    if (use != op.getXMutable() && user && (user == op || user->isBeforeInBlock(op)))
      return {};
  }
  // x itself is in the temporary.
  return countKernelArgs(op) - 1 + countKernelArgs(norm) <= kMaxKernelArgs ? norm
                                                                           : NormOp();
}

LogicalResult checkBatchInvariant(LinearOp op) {
  std::string why = op.getScheduleAttr().whyNotBatchInvariant();
  if (why.empty())
    return success();
  return op.emitError("the schedule is not batch-invariant: ")
         << why << ", or leave the schedule to qlinear-schedule";
}

SmallVector<int64_t> rowsWithKernels(int64_t M) {
  SmallVector<int64_t> rows;
  for (int64_t r = 1; r <= kMaxGemvRows; r *= 2) {
    rows.push_back(r);
    if (!ShapedType::isDynamic(M) && r >= M)
      break;
  }
  return rows;
}

std::string whyMisfit(ScheduleAttr schedule, const std::optional<GpuChip> &chip,
                      StringRef target) {
  if (chip && schedule.getPdl().value_or(false) && !chip->pdl())
    return "pdl = true needs " + chipsWith(Feature::pdl) + ", but the target is " +
           target.str();
  for (KernelAttrInterface kernel : schedule.getKernels()) {
    if (kernel.isForGpu() != chip.has_value()) {
      std::string text;
      llvm::raw_string_ostream(text)
          << "the kernel " << kernel << " is for " << (chip ? "CPUs" : "GPUs")
          << ", but the target is " << target;
      return text;
    }
    std::string why;
    if (auto gemv = dyn_cast<GemvAttr>(kernel))
      why = whyMisfit(gemv.getValue(), *chip);
    else if (auto gemm = dyn_cast<GemmAttr>(kernel))
      why = whyMisfit(gemm.getValue(), *chip);
    if (!why.empty())
      return why;
  }
  return "";
}

/// The most rows for which decoding a unit for them alone is faster than by way of a
/// panel: at 4 rows by 8 to 40%.
static constexpr int64_t kFewRows = 4;

/// The kernels of a linear whose schedule names none.
static SmallVector<KernelAttrInterface> cpuKernelsOf(LinearOp op, bool batchInvariant) {
  SmallVector<KernelAttrInterface> kernels;
  MLIRContext *context = op.getContext();
  for (int64_t rows : rowsWithKernels(op.getM()))
    if ((rows <= kFewRows && !batchInvariant) || op.multipliesFloats())
      kernels.push_back(CpuGemvAttr::get(context, CpuGemv{rows, std::nullopt}));
  if (!op.multipliesFloats() &&
      (ShapedType::isDynamic(op.getM()) || op.getM() > kFewRows || batchInvariant))
    kernels.push_back(CpuGemmAttr::get(context, CpuGemm{}));
  return kernels;
}

/// Rows that share a decoded unit: decoding is then a twentieth of the time, and the
/// rows' part of the unit is in the first-level cache with it.
static int64_t tokensOf(LinearOp op) {
  constexpr int64_t most = 64;
  return ShapedType::isDynamic(op.getM())
             ? most
             : std::min<int64_t>(most, llvm::divideCeil(op.getM(), kTokenBlock) *
                                           kTokenBlock);
}

/// Tiles of a work item: enough to use what has been read of x again, few enough to
/// give work to many threads; an even number, of which two are multiplied at once.
static int64_t tilesOf(LinearOp op) {
  int64_t tiles = 0;
  for (size_t i = 0; i < op.getWeights().size(); ++i)
    tiles = std::max<int64_t>(tiles, op.getWeightType(i).getLayout().tiles());
  return std::clamp<int64_t>(tiles / 128 * 2, 2, 8);
}

ScheduleAttr withManyRows(LinearOp op, ScheduleAttr schedule) {
  SmallVector<KernelAttrInterface> kernels(schedule.getKernels());
  if (kernels.empty() || kernels.back().getRows() != kMaxGemvRows ||
      op.multipliesFloats())
    return schedule;
  kernels.push_back(CpuGemmAttr::get(op.getContext(), CpuGemm{}));
  return ScheduleAttr::get(op.getContext(), kernels, schedule.getQuantize(),
                           schedule.getPdl());
}

LogicalResult scheduleForCpu(RewriterBase &rewriter, LinearOp op, bool batchInvariant) {
  ScheduleAttr given = op.getScheduleAttr();
  SmallVector<KernelAttrInterface> kernels;
  if (given) {
    if (std::string why = whyMisfit(given, std::nullopt, "a CPU"); !why.empty())
      return op.emitError("schedule: ")
             << why << "; leave the schedule to qlinear-schedule, or change the field";
    llvm::append_range(kernels, given.getKernels());
  }
  if (kernels.empty())
    kernels = cpuKernelsOf(op, batchInvariant);
  for (KernelAttrInterface &kernel : kernels) {
    if (auto gemv = dyn_cast<CpuGemvAttr>(kernel)) {
      CpuGemv fields = gemv.getValue();
      fields.tiles = fields.tiles.value_or(1);
      kernel = CpuGemvAttr::get(op.getContext(), fields);
      continue;
    }
    if (op.multipliesFloats())
      return op.emitError("schedule: the kernel ")
             << kernel << " multiplies quantized activations, and those of this linear "
             << "are not quantized; use #qlinear.cpu_gemv";
    CpuGemm fields = cast<CpuGemmAttr>(kernel).getValue();
    fields.tokens = fields.tokens.value_or(tokensOf(op));
    fields.tiles = fields.tiles.value_or(tilesOf(op));
    kernel = CpuGemmAttr::get(op.getContext(), fields);
  }
  rewriter.modifyOpInPlace(op, [&] {
    op.setScheduleAttr(
        ScheduleAttr::get(op.getContext(), kernels, std::nullopt, std::nullopt));
  });
  return batchInvariant ? checkBatchInvariant(op) : success();
}

} // namespace qlinear

namespace {
struct Schedule : public mlir::qlinear::impl::ScheduleBase<Schedule> {
  using ScheduleBase::ScheduleBase;

  void runOnOperation() override {
    auto known = ::qlinear::targetOf(getOperation(), target, "cuda:sm_90");
    if (failed(known))
      return signalPassFailure();
    auto chip = ::qlinear::GpuChip::ofTarget(*known);
    if (!chip && !StringRef(*known).starts_with("cpu")) {
      getOperation()->emitError("unknown target '")
          << *known << "'; targets are cuda:sm_NN, cuda:emulated and cpu:ISA";
      return signalPassFailure();
    }
    if (!table.empty() && (*known == "cpu" || StringRef(*known).contains(','))) {
      getOperation()->emitError("schedules are measured for one instruction set, but "
                                "the target is '")
          << *known << "'; say which, for example target=cpu:avx2";
      return signalPassFailure();
    }
    if (!table.empty() && batchInvariant) {
      getOperation()->emitError("batch-invariant kernels are not measured: the table '")
          << table
          << "' has those of which each is the fastest for its rows; leave out "
          << "one of the two";
      return signalPassFailure();
    }
    ::qlinear::ScheduleTable measured;
    if (!table.empty() && failed(measured.read(table, *known, &getContext())))
      return signalPassFailure();
    SmallVector<LinearOp> linears;
    getOperation()->walk([&](LinearOp op) { linears.push_back(op); });
    for (LinearOp op : linears) {
      // Kernels are made of operations on tensors, and of rows.
      if (isa<MemRefType>(op.getX().getType()) || op.getM() == 0)
        continue;
      bool isGiven = bool(op.getScheduleAttr());
      ScheduleAttr found = isGiven ? ScheduleAttr() : measured.find(op);
      if (found)
        op.setScheduleAttr(chip ? ::qlinear::withManyRows(op, found, *chip)
                                : ::qlinear::withManyRows(op, found));
      if (!isGiven)
        ++(found ? numFromTable : numFromModel);
      IRRewriter rewriter(&getContext());
      if (chip ? failed(::qlinear::scheduleForGpu(rewriter, op, *chip, batchInvariant,
                                                  /*joinsNorms=*/true))
               : failed(::qlinear::scheduleForCpu(rewriter, op, batchInvariant)))
        return signalPassFailure();
    }
  }
};
} // namespace
