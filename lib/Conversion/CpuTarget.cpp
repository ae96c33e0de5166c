//===- CpuTarget.cpp - Kernels for CPUs ------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "CpuSkeleton.h"
#include "Epilogue.h"
#include "KernelTarget.h"
#include "qlinear/Kernels/Cpu.h"
#include "qlinear/Transforms/Schedule.h"
#include "qlinear/Transforms/Split.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {
/// Kernels beside the functions that launch them.
class CpuTarget : public KernelTarget {
public:
  CpuTarget() {
    addBuilder<LinearOp>(
        [this](LinearOp op, StringRef stem) { return build(op, stem); });
    addBuilder<QuantizeActivationsOp>(
        [this](QuantizeActivationsOp op, StringRef stem) { return build(op, stem); });
  }

  FailureOr<SmallVector<LinearOp>> schedule(RewriterBase &rewriter,
                                            LinearOp linear) override;
  bool quantizesBefore(LinearOp linear) const override {
    return !linear.multipliesFloats();
  }
  bool startsEarly(Operation *) const override { return false; }
  Operation *symbolTableOf(Operation *op) override {
    return SymbolTable::getNearestSymbolTable(op);
  }

private:
  FailureOr<Kernels> build(LinearOp op, StringRef stem);
  FailureOr<Kernels> build(QuantizeActivationsOp op, StringRef stem);
  SymbolTable &symbolsOf(Operation *op) {
    return tables.getSymbolTable(symbolTableOf(op));
  }
  static VariantAttr variant(int64_t rows, LLVM::LLVMFuncOp kernel, int64_t items) {
    return VariantAttr::get(kernel.getContext(), rows, FlatSymbolRefAttr::get(kernel),
                            /*grid=*/0, /*block=*/0, /*smem=*/0, items,
                            /*before=*/{});
  }

  SymbolTableCollection tables;
};
} // namespace

FailureOr<SmallVector<LinearOp>> CpuTarget::schedule(RewriterBase &rewriter,
                                                     LinearOp linear) {
  SmallVector<LinearOp> parts = splitUntil(rewriter, linear, [](LinearOp part) {
    return part.getWeights().size() <= ::qlinear::kMaxCpuWeights &&
           ::qlinear::countKernelArgs(part) <= ::qlinear::kMaxKernelArgs;
  });
  for (LinearOp part : parts)
    if (failed(::qlinear::checkKernelArgs(part)) ||
        failed(::qlinear::scheduleForCpu(rewriter, part)) ||
        failed(checkEpilogue(part)))
      return failure();
  return parts;
}

FailureOr<Kernels> CpuTarget::build(LinearOp op, StringRef stem) {
  Kernels kernels;
  for (KernelAttrInterface attr : op.getSchedule()->getKernels()) {
    CpuGemv kernel = cast<CpuGemvAttr>(attr).getValue();
    std::string name = (stem + "_m" + Twine(kernel.rows)).str();
    kernels.variants.push_back(
        variant(kernel.rows,
                buildLinearKernel(symbolsOf(op), op, name, kernel.rows, *kernel.tiles),
                llvm::divideCeil(countTiles(op), *kernel.tiles)));
  }
  return kernels;
}

FailureOr<Kernels> CpuTarget::build(QuantizeActivationsOp op, StringRef stem) {
  auto input = cast<RankedTensorType>(op.getInput().getType());
  LLVM::LLVMFuncOp kernel = buildQuantizeKernel(
      symbolsOf(op), op.getLoc(), stem, input.getElementType(), input.getDimSize(1));
  Kernels kernels;
  for (int64_t rows = 1; rows <= ::qlinear::cpu::kMaxRows; rows *= 2)
    kernels.variants.push_back(variant(rows, kernel, /*items=*/rows));
  return kernels;
}

std::unique_ptr<KernelTarget> mlir::qlinear::makeCpuTarget() {
  return std::make_unique<CpuTarget>();
}
