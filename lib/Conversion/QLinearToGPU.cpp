//===- QLinearToGPU.cpp - Linears to launches of GPU kernels --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Checks.h"
#include "GpuKernel.h"
#include "qlinear/Conversion/Passes.h"
#include "qlinear/Transforms/ModuleTarget.h"
#include "qlinear/Transforms/Split.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/Support/MathExtras.h"

#define DEBUG_TYPE "qlinear-to-gpu"

using namespace mlir;
using namespace mlir::qlinear;

namespace mlir::qlinear {
#define GEN_PASS_DEF_QLINEARTOGPU
#include "qlinear/Conversion/Passes.h.inc"
} // namespace mlir::qlinear

namespace {
constexpr llvm::StringLiteral kModuleName = "qlinear_kernels";
constexpr int64_t kQuantizeThreads = 128;

struct QLinearToGPU : public mlir::qlinear::impl::QLinearToGPUBase<QLinearToGPU> {
  using QLinearToGPUBase::QLinearToGPUBase;
  void runOnOperation() override;

private:
  ScheduleAttr::Fields scheduleOf(LinearOp op) {
    return op.getSchedule() ? op.getSchedule()->getFields()
                            : ::qlinear::scheduleForGpu(op, chip);
  }
  std::optional<::qlinear::KernelPlan> plan(LinearOp op, ScheduleAttr::Fields schedule,
                                            int64_t rows);
  FailureOr<SmallVector<LinearOp>> share(LinearOp op);
  LogicalResult convert(LinearOp op);
  LogicalResult convert(QuantizeActivationsOp op);
  FailureOr<ArrayAttr> makeVariants(LinearOp op, const ScheduleAttr::Fields &schedule);
  gpu::GPUModuleOp kernelModule();
  std::string freshName(StringRef prefix);
  SymbolRefAttr reference(StringRef kernel) {
    return SymbolRefAttr::get(&getContext(), kModuleName,
                              FlatSymbolRefAttr::get(&getContext(), kernel));
  }

  ::qlinear::GpuChip chip;
  gpu::GPUModuleOp kernels;
  /// Variants of what was compiled before, by everything they depend on.
  llvm::StringMap<ArrayAttr> made;
};
} // namespace

gpu::GPUModuleOp QLinearToGPU::kernelModule() {
  if (kernels)
    return kernels;
  ModuleOp module = getOperation();
  module->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                  UnitAttr::get(&getContext()));
  if ((kernels = module.lookupSymbol<gpu::GPUModuleOp>(kModuleName)))
    return kernels;
  OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
  auto target = NVVM::NVVMTargetAttr::get(&getContext(), 3, "nvptx64-nvidia-cuda",
                                          chip.name, "+ptx" + std::to_string(chip.ptx));
  kernels = gpu::GPUModuleOp::create(b, module.getLoc(), kModuleName,
                                     b.getArrayAttr({target}));
  return kernels;
}

std::string QLinearToGPU::freshName(StringRef prefix) {
  for (unsigned i = 0;; ++i) {
    std::string name = (prefix + Twine(i)).str();
    if (llvm::none_of(kernelModule().getOps<gpu::GPUFuncOp>(), [&](gpu::GPUFuncOp f) {
          return f.getName().starts_with(name + "_m");
        }))
      return name;
  }
}

/// All that a kernel of the op depends on, as text: the op without its operands'
/// names, without locations and the user's own attributes.
static std::string keyOf(Operation *op) {
  std::string key;
  llvm::raw_string_ostream out(key);
  out << op->getName() << op->getPropertiesAsAttribute();
  for (Type type : op->getOperandTypes())
    out << type << ';';
  for (Type type : op->getResultTypes())
    out << type << ';';
  for (Region &region : op->getRegions())
    for (Block &block : region) {
      AsmState state(op, OpPrintingFlags().useLocalScope());
      for (Operation &inner : block)
        inner.print(out, state), out << '\n';
    }
  return key;
}

/// Kinds of sums of activations that the weights need.
static int countRecordKinds(LinearOp op) {
  SmallVector<::qlinear::kernels::RecordKind> kinds;
  for (unsigned i = 0; i < op.getWeights().size(); ++i) {
    auto kind =
        ::qlinear::kernels::RecordKind::of(op.getWeightType(i).getLayout().spec);
    if (!llvm::is_contained(kinds, kind))
      kinds.push_back(kind);
  }
  return int(kinds.size());
}

/// The plan of a kernel; with more blocks than the schedule has, which then do not all
/// run at once, where a block's tiles do not fit into its shared memory otherwise.
std::optional<::qlinear::KernelPlan>
QLinearToGPU::plan(LinearOp op, ScheduleAttr::Fields schedule, int64_t rows) {
  int64_t grid = schedule.grid ? schedule.grid : chip.multiprocessors, tiles = 0;
  for (unsigned i = 0; i < op.getWeights().size(); ++i)
    tiles += int64_t(op.getWeightType(i).getLayout().tiles());
  auto found = ::qlinear::planKernel(op, schedule, int(rows), chip);
  while (!found && grid < tiles) {
    schedule.grid = grid *= 2;
    found = ::qlinear::planKernel(op, schedule, int(rows), chip);
  }
  return found;
}

/// The linears that `op` becomes: several, if one kernel does not take all its weights,
/// or does not for as many rows as kernels of less weights would.
FailureOr<SmallVector<LinearOp>> QLinearToGPU::share(LinearOp op) {
  if (failed(checkForKernels(op, op.getM(), "qlinear-to-gpu")))
    return failure();
  ScheduleAttr::Fields schedule = scheduleOf(op);
  if (std::string why = ::qlinear::whyMisfit(schedule, chip, "cuda:" + chip.name);
      !why.empty())
    return op.emitError("schedule: ")
           << why << "; leave the schedule to qlinear-schedule, or change the field";
  auto rowsThatFit = [&](LinearOp linear) {
    size_t count = 0;
    for (int64_t rows : schedule.rows)
      count += rows <= ::qlinear::kernels::kMaxTokens && plan(linear, schedule, rows);
    return count;
  };
  // What one group of results alone can have is what all should have.
  SmallVector<SmallVector<unsigned>> groups = getIndependentResults(op);
  size_t wanted = schedule.rows.size();
  if (groups.size() > 1 && rowsThatFit(op) < wanted) {
    OpBuilder b(op);
    for (ArrayRef<unsigned> results : groups) {
      LinearOp alone = createPart(b, op, results);
      wanted = std::min(wanted, rowsThatFit(alone));
      alone.erase();
    }
  }
  SmallVector<LinearOp> parts = splitUntil(op, [&](LinearOp part) {
    return part.getWeights().size() <= ::qlinear::kMaxGpuWeights &&
           ::qlinear::countKernelArgs(part) <= ::qlinear::kMaxKernelArgs &&
           rowsThatFit(part) >= wanted;
  });
  if (parts.size() > 1 && isa<RankedTensorType>(parts.front().getX().getType())) {
    OpBuilder b(parts.front());
    Value x =
        QuantizeActivationsOp::create(b, parts.front().getLoc(), parts.front().getX())
            .getResult();
    for (LinearOp part : parts)
      part.getXMutable().assign(x);
  }
  return parts;
}

FailureOr<ArrayAttr> QLinearToGPU::makeVariants(LinearOp op,
                                                const ScheduleAttr::Fields &schedule) {
  std::string key = keyOf(op);
  if (ArrayAttr known = made.lookup(key)) {
    ++numShared;
    return known;
  }
  if (size_t count = ::qlinear::countKernelArgs(op); count > ::qlinear::kMaxKernelArgs)
    return op.emitError("a kernel of ")
           << op.getWeights().size() << " weights, " << op.getExtras().size()
           << " extras and " << op.getNumResults() << " results has " << count
           << " arguments, and the runtime passes at most " << ::qlinear::kMaxKernelArgs
           << "; use several linears";
  OpBuilder b = OpBuilder::atBlockEnd(kernelModule().getBody());
  std::string name = freshName("linear");
  SmallVector<Attribute> variants;
  for (int64_t rows : schedule.rows) {
    if (rows > ::qlinear::kernels::kMaxTokens)
      return op.emitError("schedule has a kernel for rows = ")
             << rows << ", but a GPU kernel takes at most "
             << ::qlinear::kernels::kMaxTokens << "; use rows = [1, 2, 4, 8]";
    auto plan = this->plan(op, schedule, rows);
    if (!plan) {
      if (!variants.empty())
        op.emitRemark("a kernel for ")
            << rows << " rows of K = " << op.getK() << " does not fit into the "
            << chip.sharedBytes << " bytes of shared memory of " << chip.name
            << "; more rows than " << cast<VariantAttr>(variants.back()).getRows()
            << " read the weights several times";
      break;
    }
    std::string kernel = name + "_m" + std::to_string(rows);
    b.setInsertionPointToEnd(kernelModule().getBody());
    ::qlinear::buildKernel(b, kernel, op, *plan);
    ++numKernels;
    variants.push_back(VariantAttr::get(&getContext(), rows, reference(kernel),
                                        plan->grid, plan->threads(), plan->sharedBytes,
                                        0));
  }
  if (variants.empty() && countRecordKinds(op) > ::qlinear::kernels::kMaxRecordKinds)
    return op.emitError("the weights of one epilogue need ")
           << countRecordKinds(op) << " kinds of sums of activations (by group 16 or "
           << "more, with offsets or by the bias of symmetric codes), and a kernel has "
           << "room for " << ::qlinear::kernels::kMaxRecordKinds
           << "; re-encode the weights alike, or use several linears";
  if (variants.empty())
    return op.emitError("K = ")
           << op.getK()
           << ": a quarter of the activations and the copy ring do not fit into "
           << chip.sharedBytes << " bytes of shared memory of " << chip.name
           << "; use fewer warps, or a chip with more";
  return made[key] = b.getArrayAttr(variants);
}

LogicalResult QLinearToGPU::convert(LinearOp op) {
  OpBuilder b(op);
  ScheduleAttr::Fields schedule = scheduleOf(op);
  if (isa<RankedTensorType>(op.getX().getType()) &&
      schedule.quantize == QuantizeKind::separate) {
    auto quantized = QuantizeActivationsOp::create(b, op.getLoc(), op.getX());
    op.getXMutable().assign(quantized.getResult());
  }
  FailureOr<ArrayAttr> variants = makeVariants(op, schedule);
  if (failed(variants))
    return failure();
  SmallVector<Value> inputs{op.getX()};
  llvm::append_range(inputs, op.getExtras());
  auto launch =
      LaunchOp::create(b, op.getLoc(), op.getResultTypes(), *variants, op.getWeights(),
                       inputs, op.getOuts(), ArrayAttr(), schedule.pdl);
  launch->setDiscardableAttrs(op->getDiscardableAttrDictionary());
  op.replaceAllUsesWith(launch.getResults());
  op.erase();
  return success();
}

LogicalResult QLinearToGPU::convert(QuantizeActivationsOp op) {
  if (failed(checkForKernels(op, op.getResult().getType().getM(), "qlinear-to-gpu")))
    return failure();
  auto input = cast<RankedTensorType>(op.getInput().getType());
  OpBuilder b(op);
  std::string key = keyOf(op);
  ArrayAttr &variants = made[key];
  if (variants) {
    ++numShared;
  } else {
    int64_t items = int64_t(op.getResult().getType().getLayout().paddedK()) /
                    ::qlinear::kernels::kItem;
    std::string name = freshName("quantize");
    SmallVector<Attribute> list;
    for (int64_t rows : {1, 8, 64}) {
      std::string kernel = name + "_m" + std::to_string(rows);
      int64_t grid = std::min<int64_t>(llvm::divideCeil(rows * items, kQuantizeThreads),
                                       4 * chip.multiprocessors);
      b.setInsertionPointToEnd(kernelModule().getBody());
      ::qlinear::buildQuantizeKernel(b, kernel, op.getLoc(), input, grid,
                                     kQuantizeThreads, chip.pdl());
      ++numKernels;
      list.push_back(VariantAttr::get(&getContext(), rows, reference(kernel), grid,
                                      kQuantizeThreads, 0, 0));
    }
    variants = b.getArrayAttr(list);
    b.setInsertionPoint(op);
  }
  auto launch = LaunchOp::create(b, op.getLoc(), op->getResultTypes(), variants,
                                 ValueRange(), op.getInput(), ArrayAttr(), chip.pdl());
  launch->setDiscardableAttrs(op->getDiscardableAttrDictionary());
  op.getResult().replaceAllUsesWith(launch->getResult(0));
  op.erase();
  return success();
}

void QLinearToGPU::runOnOperation() {
  auto known = ::qlinear::targetOf(getOperation(), target, "cuda:sm_90");
  if (failed(known) || failed(checkActivations(getOperation())))
    return signalPassFailure();
  if (StringRef(*known).starts_with("cpu")) {
    getOperation().emitError("the target is '")
        << *known << "'; qlinear-to-gpu makes kernels for cuda:sm_NN and "
        << "cuda:emulated, run qlinear-to-cpu for this one";
    return signalPassFailure();
  }
  auto found = ::qlinear::GpuChip::ofTarget(*known);
  if (!found) {
    getOperation().emitError("unknown target '")
        << *known << "'; GPU targets are cuda:emulated, and cuda:CHIP with CHIP one of "
        << ::qlinear::listChips();
    return signalPassFailure();
  }
  chip = *found;
  kernels = nullptr;
  made.clear();
  SmallVector<LinearOp> linears;
  getOperation().walk([&](LinearOp op) { linears.push_back(op); });
  for (LinearOp op : linears) {
    FailureOr<SmallVector<LinearOp>> parts = share(op);
    if (failed(parts))
      return signalPassFailure();
    for (LinearOp part : *parts)
      if (failed(convert(part)))
        return signalPassFailure();
  }
  SmallVector<QuantizeActivationsOp> quantizes;
  getOperation().walk([&](QuantizeActivationsOp op) { quantizes.push_back(op); });
  for (QuantizeActivationsOp op : quantizes)
    if (failed(convert(op)))
      return signalPassFailure();
  if (!linears.empty() || !quantizes.empty())
    ::qlinear::setTarget(getOperation(), *known);
}
