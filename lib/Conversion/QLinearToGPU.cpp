//===- QLinearToGPU.cpp - Linears to launches of GPU kernels --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Checks.h"
#include "GpuKernel.h"
#include "qlinear/Conversion/Passes.h"
#include "qlinear/Dialect/Bufferize.h"
#include "qlinear/Transforms/ModuleTarget.h"

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
  LogicalResult convert(LinearOp op);
  LogicalResult convert(QuantizeActivationsOp op);
  FailureOr<ArrayAttr> makeVariants(LinearOp op);
  gpu::GPUModuleOp kernelModule();
  std::string freshName(StringRef prefix);
  SymbolRefAttr reference(StringRef kernel) {
    return SymbolRefAttr::get(&getContext(), kModuleName,
                              FlatSymbolRefAttr::get(&getContext(), kernel));
  }

  ::qlinear::GpuChip chip;
  gpu::GPUModuleOp kernels;
  /// Variants compiled so far, by everything they depend on.
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

FailureOr<ArrayAttr> QLinearToGPU::makeVariants(LinearOp op) {
  std::string key = keyOf(op);
  if (ArrayAttr known = made.lookup(key)) {
    ++numShared;
    return known;
  }
  OpBuilder b = OpBuilder::atBlockEnd(kernelModule().getBody());
  std::string name = freshName("linear");
  ScheduleAttr schedule = *op.getSchedule();
  SmallVector<Attribute> variants;
  for (KernelAttrInterface attr : schedule.getKernels()) {
    auto gemv = cast<GemvAttr>(attr);
    auto plan = ::qlinear::planKernel(op, gemv.getValue(), *schedule.getPdl(), chip);
    if (!plan)
      return op.emitError("schedule: ") << plan.error();
    std::string kernel = name + "_m" + std::to_string(gemv.getRows());
    b.setInsertionPointToEnd(kernelModule().getBody());
    ::qlinear::buildKernel(b, kernel, op, *plan);
    ++numKernels;
    variants.push_back(VariantAttr::get(&getContext(), gemv.getRows(),
                                        reference(kernel), plan->grid, plan->threads(),
                                        plan->sharedBytes, 0));
  }
  return made[key] = b.getArrayAttr(variants);
}

LogicalResult QLinearToGPU::convert(LinearOp op) {
  OpBuilder b(op);
  ScheduleAttr schedule = *op.getSchedule();
  if (isa<RankedTensorType>(op.getX().getType()) &&
      schedule.getQuantize() == QuantizeKind::separate && !op.multipliesFloats()) {
    auto quantized = QuantizeActivationsOp::create(b, op.getLoc(), op.getX());
    op.getXMutable().assign(quantized.getResult());
  }
  FailureOr<ArrayAttr> variants = makeVariants(op);
  if (failed(variants))
    return failure();
  SmallVector<Value> inputs{op.getX()};
  llvm::append_range(inputs, op.getExtras());
  auto launch =
      LaunchOp::create(b, op.getLoc(), op.getResultTypes(), *variants, op.getWeights(),
                       inputs, op.getOuts(), ArrayAttr(), *schedule.getPdl());
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
  if (failed(known) || failed(verifyPlaceOfActivations(getOperation())))
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
    if (failed(checkForKernels(op, op.getM(), "qlinear-to-gpu")))
      return signalPassFailure();
    FailureOr<SmallVector<LinearOp>> parts = ::qlinear::scheduleForGpu(op, chip);
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
