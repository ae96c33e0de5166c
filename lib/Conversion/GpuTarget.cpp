//===- GpuTarget.cpp - Kernels for GPUs ------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "GpuKernel.h"
#include "KernelTarget.h"
#include "qlinear/Transforms/Schedule.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {
constexpr llvm::StringLiteral kModuleName = "qlinear_kernels";
constexpr int64_t kQuantizeThreads = 128, kPrepareThreads = 256;

/// Kernels of one gpu.module, which is added to the module with the first of them.
class GpuTarget : public KernelTarget {
public:
  GpuTarget(ModuleOp module, const ::qlinear::GpuChip &chip)
      : module(module), chip(chip) {
    addBuilder<LinearOp>(
        [this](LinearOp op, StringRef stem) { return build(op, stem); });
    addBuilder<QuantizeActivationsOp>(
        [this](QuantizeActivationsOp op, StringRef stem) { return build(op, stem); });
  }

  FailureOr<SmallVector<LinearOp>> schedule(RewriterBase &rewriter,
                                            LinearOp linear) override {
    return ::qlinear::scheduleForGpu(rewriter, linear, chip);
  }
  bool quantizesBefore(LinearOp linear) const override {
    return linear.getSchedule()->getQuantize() == QuantizeKind::separate &&
           !linear.multipliesFloats();
  }
  bool startsEarly(Operation *op) const override {
    auto linear = dyn_cast<LinearOp>(op);
    return linear ? *linear.getSchedule()->getPdl() : chip.pdl();
  }
  Operation *symbolTableOf(Operation *) override { return kernelModule(); }

private:
  FailureOr<Kernels> build(LinearOp op, StringRef stem);
  FailureOr<Kernels> build(QuantizeActivationsOp op, StringRef stem);
  gpu::GPUModuleOp kernelModule();
  VariantAttr variant(int64_t rows, StringRef kernel, int64_t grid, int64_t threads,
                      int64_t sharedBytes, VariantAttr before = {}) {
    MLIRContext *context = module.getContext();
    auto symbol = SymbolRefAttr::get(context, kModuleName,
                                     FlatSymbolRefAttr::get(context, kernel));
    return VariantAttr::get(context, rows, symbol, grid, threads, sharedBytes, 0,
                            before);
  }

  ModuleOp module;
  ::qlinear::GpuChip chip;
  gpu::GPUModuleOp made;
};
} // namespace

gpu::GPUModuleOp GpuTarget::kernelModule() {
  if (made)
    return made;
  MLIRContext *context = module.getContext();
  module->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                  UnitAttr::get(context));
  if ((made = module.lookupSymbol<gpu::GPUModuleOp>(kModuleName)))
    return made;
  OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
  auto target = NVVM::NVVMTargetAttr::get(context, 3, "nvptx64-nvidia-cuda", chip.name,
                                          "+ptx" + std::to_string(chip.ptx));
  made = gpu::GPUModuleOp::create(b, module.getLoc(), kModuleName,
                                  b.getArrayAttr({target}));
  return made;
}

FailureOr<Kernels> GpuTarget::build(LinearOp op, StringRef stem) {
  OpBuilder b(op.getContext());
  ScheduleAttr schedule = *op.getSchedule();
  bool pdl = *schedule.getPdl();
  Kernels kernels;
  bool many = llvm::any_of(schedule.getKernels(),
                           [](Attribute kernel) { return isa<GemmAttr>(kernel); });
  std::string prepare = (stem + "_prepare").str();
  if (many) {
    b.setInsertionPointToEnd(kernelModule().getBody());
    ::qlinear::buildPrepareKernel(b, prepare, op, 2 * chip.multiprocessors,
                                  kPrepareThreads, pdl);
    ::qlinear::kernels::PreparedActivations prepared{uint64_t(op.getK())};
    kernels.temps.push_back(TempAttr::get(op.getContext(), /*bytes=*/0,
                                          int64_t(prepared.bytesPerRow()),
                                          /*zero=*/false));
  }
  for (KernelAttrInterface attr : schedule.getKernels()) {
    int64_t rows = attr.getRows();
    std::string kernel = (stem + "_m" + (rows == kAnyRows ? "any" : Twine(rows))).str();
    // Builds what is planned, if it could be.
    auto add = [&](auto plan, VariantAttr before, auto... more) -> LogicalResult {
      if (!plan)
        return op.emitError("schedule: ") << plan.error();
      b.setInsertionPointToEnd(kernelModule().getBody());
      ::qlinear::buildKernel(b, kernel, op, *plan, more...);
      kernels.variants.push_back(variant(rows, kernel, plan->grid, plan->threads(),
                                         plan->sharedBytes, before));
      return success();
    };
    auto gemv = dyn_cast<GemvAttr>(attr);
    if (gemv ? failed(add(::qlinear::planKernel(op, gemv.getValue(), pdl, chip),
                          VariantAttr(), many))
             : failed(add(::qlinear::planKernel(op, cast<GemmAttr>(attr).getValue(),
                                                pdl, chip),
                          variant(rows, prepare, 2 * chip.multiprocessors,
                                  kPrepareThreads, kPrepareThreads / 8))))
      return failure();
  }
  return kernels;
}

FailureOr<Kernels> GpuTarget::build(QuantizeActivationsOp op, StringRef stem) {
  auto input = cast<RankedTensorType>(op.getInput().getType());
  int64_t items = int64_t(op.getResult().getType().getLayout().paddedK()) /
                  ::qlinear::kernels::kItem;
  OpBuilder b(op.getContext());
  Kernels kernels;
  for (int64_t rows : {1, 8, 64}) {
    std::string kernel = (stem + "_m" + Twine(rows)).str();
    int64_t grid = std::min<int64_t>(llvm::divideCeil(rows * items, kQuantizeThreads),
                                     4 * chip.multiprocessors);
    b.setInsertionPointToEnd(kernelModule().getBody());
    ::qlinear::buildQuantizeKernel(b, kernel, op.getLoc(), input, grid,
                                   kQuantizeThreads, chip.pdl());
    kernels.variants.push_back(variant(rows, kernel, grid, kQuantizeThreads, 0));
  }
  return kernels;
}

FailureOr<std::unique_ptr<KernelTarget>>
mlir::qlinear::makeGpuTarget(ModuleOp module, StringRef target) {
  auto chip = ::qlinear::GpuChip::ofTarget(target);
  if (!chip)
    return module.emitError("unknown target '")
           << target
           << "'; GPU targets are cuda:emulated, and cuda:CHIP with CHIP one of "
           << ::qlinear::listChips();
  return std::unique_ptr<KernelTarget>(std::make_unique<GpuTarget>(module, *chip));
}
