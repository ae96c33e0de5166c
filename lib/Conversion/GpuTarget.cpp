//===- GpuTarget.cpp - Kernels for GPUs ------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ChoiceLinear.h"
#include "GpuKernel.h"
#include "KernelTarget.h"
#include "qlinear/Transforms/Schedule.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {
constexpr llvm::StringLiteral kModuleName = "qlinear_kernels";
constexpr int64_t kQuantizeThreads = 128;
/// Of a multiprocessor.
constexpr int64_t kThreadsTogether = 2048;
/// Of one launch of a grouped linear, whose blocks are many for each row.
constexpr int64_t kMostGroupedRows = 64;

/// Kernels of one gpu.module, which is added to the module with the first of them.
class GpuTarget : public KernelTarget {
public:
  GpuTarget(ModuleOp module, const ::qlinear::GpuChip &chip)
      : module(module), chip(chip) {
    addBuilder<LinearOp>(
        [this](LinearOp op, StringRef stem) { return build(NormOp(), op, stem); });
    addBuilder<QuantizeActivationsOp>(
        [this](QuantizeActivationsOp op, StringRef stem) { return build(op, stem); });
    addBuilder<GroupedLinearOp>(
        [this](GroupedLinearOp op, StringRef stem) { return build(op, stem); });
    addBuilder<CombineOp>(
        [this](CombineOp op, StringRef stem) { return build(op, stem); });
    addBuilder<NormOp>([this](NormOp op, StringRef stem) { return build(op, stem); });
    addBuilder<EmbeddingOp>(
        [this](EmbeddingOp op, StringRef stem) { return build(op, stem); });
    addBuilder<RotaryOp>(
        [this](RotaryOp op, StringRef stem) { return build(op, stem); });
  }

  FailureOr<SmallVector<LinearOp>> schedule(RewriterBase &rewriter, LinearOp linear,
                                            bool joinsNorms) override {
    return ::qlinear::scheduleForGpu(rewriter, linear, chip, /*batchInvariant=*/false,
                                     joinsNorms);
  }
  NormOp normOf(LinearOp linear) const override {
    bool joins = linear.getSchedule()->getQuantize() == QuantizeKind::norm;
    return joins ? ::qlinear::normBefore(linear) : NormOp();
  }
  FailureOr<Kernels> buildJoined(NormOp norm, LinearOp linear,
                                 StringRef stem) override {
    return build(norm, linear, stem);
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
  /// Kernels of a linear, and of the norm it is launched with, if there is one.
  FailureOr<Kernels> build(NormOp norm, LinearOp op, StringRef stem);
  /// What runs before a kernel for `rows` rows, which takes x as an image, or else as
  /// codes or floats: the norm, or what prepares the image; null if there is nothing.
  VariantAttr before(NormOp norm, LinearOp op, const ::qlinear::GemmScratch &scratch,
                     StringRef stem, int64_t rows, bool image);
  FailureOr<Kernels> build(QuantizeActivationsOp op, StringRef stem);
  FailureOr<Kernels> build(GroupedLinearOp op, StringRef stem);
  FailureOr<Kernels> build(CombineOp op, StringRef stem);
  FailureOr<Kernels> build(NormOp op, StringRef stem);
  FailureOr<Kernels> build(EmbeddingOp op, StringRef stem);
  FailureOr<Kernels> build(RotaryOp op, StringRef stem);
  /// Variants of one kernel whose threads share the items of all rows.
  Kernels byItems(StringRef kernel, int64_t itemsPerRow, int64_t threads);
  gpu::GPUModuleOp kernelModule();
  /// Blocks of a norm that run at once.
  int64_t mostBlocks(const ::qlinear::NormPlan &plan) const {
    return chip.multiprocessors * (kThreadsTogether / plan.threads);
  }
  VariantAttr variant(int64_t rows, StringRef kernel, int64_t grid, int64_t threads,
                      int64_t sharedBytes, VariantAttr before = {}, bool f16 = false) {
    MLIRContext *context = module.getContext();
    auto symbol = SymbolRefAttr::get(context, kModuleName,
                                     FlatSymbolRefAttr::get(context, kernel));
    return VariantAttr::get(context, rows, symbol, grid, threads, sharedBytes, 0,
                            before, f16);
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

FailureOr<Kernels> GpuTarget::build(NormOp norm, LinearOp op, StringRef stem) {
  OpBuilder b(op.getContext());
  ScheduleAttr schedule = *op.getSchedule();
  bool pdl = *schedule.getPdl();
  // All plans first: kernels for many rows share a temporary, which has room for each.
  SmallVector<::qlinear::GemmPlan> plans;
  ::qlinear::GemmScratch scratch;
  for (auto attr : llvm::make_filter_range(schedule.getKernels(), [](Attribute kernel) {
         return isa<GemmAttr>(kernel);
       })) {
    auto plan = ::qlinear::planKernel(op, cast<GemmAttr>(attr).getValue(), pdl, chip);
    if (!plan)
      return op.emitError("schedule: ") << plan.error();
    scratch.add(*plan);
    plans.push_back(std::move(*plan));
  }
  bool many = !plans.empty();
  auto args = norm ? ::qlinear::JoinedArgs(norm, op, scratch.bytes).linear
                   : ::qlinear::KernelArgs::of(op, many);
  Kernels kernels;
  if (norm || many) {
    ::qlinear::kernels::PreparedActivations prepared{uint64_t(op.getK())};
    ::qlinear::layout::ActivationLayout codes{uint64_t(op.getK())};
    int64_t perRow = many ? int64_t(prepared.bytesPerRow()) : 0;
    if (norm)
      perRow = std::max(perRow, int64_t(codes.bytes()));
    kernels.temps.push_back(TempAttr::get(op.getContext(),
                                          scratch.bytes + ::qlinear::GemmScratch::kPast,
                                          perRow, /*zero=*/false));
  }
  auto *plan = plans.begin();
  // With the same fields, one kernel does for several numbers of rows.
  SmallVector<std::pair<Gemm, std::string>> built;
  for (KernelAttrInterface attr : schedule.getKernels()) {
    int64_t rows = attr.getRows();
    std::string kernel = (stem + "_m" + (rows == kAnyRows ? "any" : Twine(rows))).str();
    auto add = [&](const auto &plan, bool isBuilt, auto... more) {
      constexpr bool image = sizeof...(more) > 0;
      VariantAttr first = before(norm, op, scratch, stem, rows, image);
      if (!isBuilt) {
        b.setInsertionPointToEnd(kernelModule().getBody());
        ::qlinear::buildKernel(b, kernel, op, plan, args, more...);
      }
      kernels.variants.push_back(variant(rows, kernel, plan.grid, plan.threads(),
                                         plan.sharedBytes, first, image));
    };
    if (auto gemv = dyn_cast<GemvAttr>(attr)) {
      auto plan = ::qlinear::planKernel(op, gemv.getValue(), pdl, chip);
      if (!plan)
        return op.emitError("schedule: ") << plan.error();
      add(*plan, /*isBuilt=*/false);
    } else {
      Gemm fields = cast<GemmAttr>(attr).getValue();
      fields.rows = kAnyRows;
      auto *same = llvm::find_if(built, [&](auto &b) { return b.first == fields; });
      bool isBuilt = same != built.end();
      if (isBuilt)
        kernel = same->second;
      else
        built.push_back({fields, kernel});
      add(*plan++, isBuilt, scratch);
    }
  }
  return kernels;
}

VariantAttr GpuTarget::before(NormOp norm, LinearOp op,
                              const ::qlinear::GemmScratch &scratch, StringRef stem,
                              int64_t rows, bool image) {
  if (!norm && !image)
    return {};
  bool pdl = *op.getSchedule()->getPdl();
  std::string kernel = (stem + (image ? "_prepare" : "_quantize")).str();
  bool isBuilt = bool(kernelModule().lookupSymbol(kernel));
  OpBuilder b(op.getContext());
  b.setInsertionPointToEnd(kernelModule().getBody());
  if (norm) {
    auto plan = ::qlinear::NormPlan::of(norm);
    auto args = ::qlinear::JoinedArgs(norm, op, scratch.bytes).norm;
    ::qlinear::NormLeaves leaves{image, scratch.counters};
    if (!isBuilt)
      ::qlinear::buildNormKernel(b, kernel, norm, plan, args, pdl, &leaves);
    return variant(rows, kernel, std::min(rows, mostBlocks(plan)), plan.threads,
                   plan.sharedBytes());
  }
  // A block prepares a token, of as many as run at once.
  int64_t threads = ::qlinear::kernels::prepareThreads(
      ::qlinear::kernels::PreparedActivations{uint64_t(op.getK())});
  int64_t most =
      chip.multiprocessors * (::qlinear::kernels::kPrepareThreadsTogether / threads);
  if (!isBuilt)
    ::qlinear::buildPrepareKernel(b, kernel, op, scratch, threads, pdl);
  return variant(rows, kernel, std::min(rows, most), threads, threads / 8);
}

FailureOr<Kernels> GpuTarget::build(QuantizeActivationsOp op, StringRef stem) {
  int64_t items = int64_t(op.getResult().getType().getLayout().paddedK()) /
                  ::qlinear::kernels::kItem;
  OpBuilder b(op.getContext());
  Kernels kernels;
  for (int64_t rows : {1, 8, 64}) {
    std::string kernel = (stem + "_m" + Twine(rows)).str();
    int64_t grid = std::min<int64_t>(llvm::divideCeil(rows * items, kQuantizeThreads),
                                     4 * chip.multiprocessors);
    b.setInsertionPointToEnd(kernelModule().getBody());
    ::qlinear::buildQuantizeKernel(b, kernel, op, grid, kQuantizeThreads, chip.pdl());
    kernels.variants.push_back(variant(rows, kernel, grid, kQuantizeThreads, 0));
  }
  return kernels;
}

FailureOr<Kernels> GpuTarget::build(GroupedLinearOp op, StringRef stem) {
  ChoiceLinear choice(op, /*quantized=*/false);
  LinearOp linear = choice.get();
  // The blocks of one token's choices are one for each multiprocessor.
  Gemv gemv;
  gemv.rows = 1;
  gemv.grid = std::clamp<int64_t>(chip.multiprocessors / op.getChoices(), 1,
                                  op.getN() / ::qlinear::layout::kTileRows);
  MLIRContext *context = op.getContext();
  linear.setScheduleAttr(
      ScheduleAttr::get(context, KernelAttrInterface(GemvAttr::get(context, gemv)),
                        QuantizeKind::inside, chip.pdl()));
  IRRewriter rewriter(context);
  auto parts =
      ::qlinear::scheduleForGpu(rewriter, linear, chip,
                                /*batchInvariant=*/false, /*joinsNorms=*/false);
  if (failed(parts))
    return failure();
  if (parts->size() > 1)
    return op.emitError("the ") << op.getWeights().size()
                                << " weights of a grouped_linear are too many for one "
                                   "kernel; use several operations";
  auto attr = cast<GemvAttr>(linear.getSchedule()->getKernels().front());
  auto plan = ::qlinear::planKernel(linear, attr.getValue(), chip.pdl(), chip);
  if (!plan)
    return op.emitError() << plan.error();
  OpBuilder b(context);
  std::string kernel = (stem + "_many").str();
  b.setInsertionPointToEnd(kernelModule().getBody());
  ::qlinear::buildKernel(b, kernel, linear, *plan, ::qlinear::KernelArgs::of(op, false),
                         op);
  Kernels kernels;
  int64_t M = op.getM();
  for (int64_t rows = 1; rows <= kMostGroupedRows; rows *= 2) {
    kernels.variants.push_back(variant(rows, kernel,
                                       rows * op.getChoices() * plan->grid,
                                       plan->threads(), plan->sharedBytes));
    if (!ShapedType::isDynamic(M) && rows >= M)
      break;
  }
  return kernels;
}

FailureOr<Kernels> GpuTarget::build(CombineOp op, StringRef stem) {
  constexpr int64_t kThreads = 128;
  OpBuilder b(op.getContext());
  std::string kernel = (stem + "_many").str();
  b.setInsertionPointToEnd(kernelModule().getBody());
  ::qlinear::buildCombineKernel(b, kernel, op, kThreads, chip.pdl());
  int64_t most = chip.multiprocessors * (kThreadsTogether / kThreads);
  Kernels kernels;
  for (int64_t rows : {int64_t(1), int64_t(8), int64_t(64), kAnyRows}) {
    int64_t grid =
        llvm::divideCeil(std::min(rows, most * kThreads) * op.getN(), kThreads);
    kernels.variants.push_back(
        variant(rows, kernel, std::min(grid, most), kThreads, 0));
  }
  return kernels;
}

FailureOr<Kernels> GpuTarget::build(NormOp op, StringRef stem) {
  OpBuilder b(op.getContext());
  auto plan = ::qlinear::NormPlan::of(op);
  std::string kernel = (stem + "_many").str();
  b.setInsertionPointToEnd(kernelModule().getBody());
  ::qlinear::buildNormKernel(b, kernel, op, plan, ::qlinear::KernelArgs::of(op, false),
                             chip.pdl());
  int64_t most = mostBlocks(plan);
  Kernels kernels;
  for (int64_t rows : {int64_t(1), int64_t(8), int64_t(64), kAnyRows})
    kernels.variants.push_back(
        variant(rows, kernel, std::min(rows, most), plan.threads, plan.sharedBytes()));
  return kernels;
}

FailureOr<Kernels> GpuTarget::build(RotaryOp op, StringRef stem) {
  constexpr int64_t kThreads = 128;
  int64_t items = 0;
  for (unsigned i = 0; i < op.getInputs().size(); ++i) {
    auto head = int(op.getHead());
    ::qlinear::kernels::RotaryShape shape{int(op.getColumns(i)) / head, head,
                                          int(op.getRotated())};
    items = std::max<int64_t>(items, shape.threadsPerRow(!op.getNorms().empty()));
  }
  OpBuilder b(op.getContext());
  std::string kernel = (stem + "_many").str();
  b.setInsertionPointToEnd(kernelModule().getBody());
  ::qlinear::buildRotaryKernel(b, kernel, op, kThreads, chip.pdl());
  return byItems(kernel, items, kThreads);
}

FailureOr<Kernels> GpuTarget::build(EmbeddingOp op, StringRef stem) {
  constexpr int64_t kThreads = 64;
  OpBuilder b(op.getContext());
  std::string kernel = (stem + "_many").str();
  b.setInsertionPointToEnd(kernelModule().getBody());
  ::qlinear::buildEmbeddingKernel(b, kernel, op, kThreads, chip.pdl());
  int64_t chunks =
      llvm::divideCeil(op.getWeightType().getK(), ::qlinear::layout::kChunk);
  return byItems(kernel, chunks, kThreads);
}

Kernels GpuTarget::byItems(StringRef kernel, int64_t itemsPerRow, int64_t threads) {
  int64_t most = chip.multiprocessors * (kThreadsTogether / threads);
  Kernels kernels;
  for (int64_t rows : {int64_t(1), int64_t(8), int64_t(64), kAnyRows}) {
    int64_t grid =
        llvm::divideCeil(std::min(rows, most * threads) * itemsPerRow, threads);
    kernels.variants.push_back(variant(rows, kernel, std::min(grid, most), threads, 0));
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
