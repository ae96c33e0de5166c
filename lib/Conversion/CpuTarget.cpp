//===- CpuTarget.cpp - Kernels for CPUs ------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ChoiceLinear.h"
#include "CpuSkeleton.h"
#include "Epilogue.h"
#include "KernelTarget.h"
#include "qlinear/Kernels/Cpu.h"
#include "qlinear/Transforms/Schedule.h"
#include "qlinear/Transforms/Split.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {
/// Tiles of a choice that are one item, so that one token gives work to many threads.
constexpr int64_t kChoiceTiles = 4;
/// Of one launch of a grouped linear, of which an item is a part of a row.
constexpr int64_t kMostGroupedRows = 64;

/// Kernels beside the functions that launch them.
class CpuTarget : public KernelTarget {
public:
  CpuTarget() {
    addBuilder<LinearOp>(
        [this](LinearOp op, StringRef stem) { return build(op, stem); });
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
                                            bool joinsNorms) override;
  bool quantizesBefore(LinearOp linear) const override {
    return !linear.multipliesFloats();
  }
  bool quantizesBefore(GroupedLinearOp op) const override {
    return !op.multipliesFloats() && !op.hasPieces();
  }
  void prepareInputs(RewriterBase &rewriter, GroupedLinearOp op,
                     SmallVector<Value> &inputs) override;
  bool startsEarly(Operation *) const override { return false; }
  Operation *symbolTableOf(Operation *op) override {
    return SymbolTable::getNearestSymbolTable(op);
  }

private:
  FailureOr<Kernels> build(LinearOp op, StringRef stem);
  FailureOr<Kernels> build(QuantizeActivationsOp op, StringRef stem);
  FailureOr<Kernels> build(GroupedLinearOp op, StringRef stem);
  FailureOr<Kernels> build(CombineOp op, StringRef stem);
  FailureOr<Kernels> build(NormOp op, StringRef stem);
  FailureOr<Kernels> build(EmbeddingOp op, StringRef stem);
  FailureOr<Kernels> build(RotaryOp op, StringRef stem);
  /// Kernels of an operation that takes M rows one by one: `build` makes the one whose
  /// items are rows, or so many equal parts of all rows.
  static Kernels
  byRows(int64_t M, StringRef stem,
         function_ref<LLVM::LLVMFuncOp(StringRef name, std::optional<int64_t> parts)>
             build);
  SymbolTable &symbolsOf(Operation *op) {
    return tables.getSymbolTable(symbolTableOf(op));
  }
  static VariantAttr variant(int64_t rows, LLVM::LLVMFuncOp kernel, int64_t items) {
    return VariantAttr::get(kernel.getContext(), rows, FlatSymbolRefAttr::get(kernel),
                            /*grid=*/0, /*block=*/0, /*smem=*/0, items,
                            /*before=*/{}, /*f16=*/false);
  }

  SymbolTableCollection tables;
};
} // namespace

FailureOr<SmallVector<LinearOp>>
CpuTarget::schedule(RewriterBase &rewriter, LinearOp linear, bool /*joinsNorms*/) {
  SmallVector<LinearOp> parts = splitUntil(rewriter, linear, [](LinearOp part) {
    return part.getWeights().size() <= ::qlinear::kMaxCpuWeights &&
           ::qlinear::countKernelArgs(part) <= ::qlinear::kMaxKernelArgs;
  });
  for (LinearOp part : parts)
    if (failed(::qlinear::checkKernelArgs(part)) ||
        failed(::qlinear::scheduleForCpu(rewriter, part, /*batchInvariant=*/false)) ||
        failed(checkEpilogue(part)))
      return failure();
  return parts;
}

FailureOr<Kernels> CpuTarget::build(LinearOp op, StringRef stem) {
  Kernels kernels;
  auto add = [&](const auto &kernel) {
    std::string name = stem.str() + "_m" +
                       (kernel.rows == kAnyRows ? "any" : std::to_string(kernel.rows));
    kernels.variants.push_back(
        variant(kernel.rows, buildLinearKernel(symbolsOf(op), op, name, kernel),
                countItems(op, kernel)));
  };
  for (KernelAttrInterface kernel : op.getSchedule()->getKernels()) {
    if (auto gemv = dyn_cast<CpuGemvAttr>(kernel))
      add(gemv.getValue());
    else
      add(cast<CpuGemmAttr>(kernel).getValue());
  }
  return kernels;
}

Kernels CpuTarget::byRows(
    int64_t M, StringRef stem,
    function_ref<LLVM::LLVMFuncOp(StringRef, std::optional<int64_t>)> build) {
  Kernels kernels;
  LLVM::LLVMFuncOp few = build(stem, std::nullopt);
  for (int64_t rows : ::qlinear::rowsWithKernels(M))
    kernels.variants.push_back(variant(rows, few, /*items=*/rows));
  if (ShapedType::isDynamic(M) || M > kMaxGemvRows)
    kernels.variants.push_back(
        variant(kAnyRows, build((stem + "_many").str(), kRowParts), kRowParts));
  return kernels;
}

FailureOr<Kernels> CpuTarget::build(QuantizeActivationsOp op, StringRef stem) {
  auto input = cast<RankedTensorType>(op.getInput().getType());
  return byRows(op.getM(), stem, [&](StringRef name, std::optional<int64_t> parts) {
    return buildQuantizeKernel(symbolsOf(op), op.getLoc(), name, input.getElementType(),
                               input.getDimSize(1), parts);
  });
}

FailureOr<Kernels> CpuTarget::build(GroupedLinearOp op, StringRef stem) {
  if (failed(checkEpilogue(op)))
    return failure();
  ChoiceLinear choice(op, /*quantized=*/!op.multipliesFloats());
  bool many = sortsChoices(op);
  int64_t tiles = op.getN() / ::qlinear::layout::kTileRows;
  int64_t items = llvm::divideCeil(tiles, kChoiceTiles);
  LLVM::LLVMFuncOp few =
      buildGroupedKernel(symbolsOf(op), op, choice.get(), stem, items, many);
  Kernels kernels;
  int64_t M = op.getM();
  for (int64_t rows = 1; rows <= (many ? kMaxGemvRows : kMostGroupedRows); rows *= 2) {
    kernels.variants.push_back(variant(rows, few, rows * op.getChoices() * items));
    if (!ShapedType::isDynamic(M) && rows >= M)
      break;
  }
  if (many)
    kernels.variants.push_back(
        variant(kAnyRows,
                buildSortedKernel(symbolsOf(op), op, choice.get(),
                                  (stem + "_sorted").str(), items),
                items));
  return kernels;
}

FailureOr<Kernels> CpuTarget::build(CombineOp op, StringRef stem) {
  if (failed(checkEpilogue(op)))
    return failure();
  return byRows(op.getM(), stem, [&](StringRef name, std::optional<int64_t> parts) {
    return buildCombineKernel(symbolsOf(op), op, name, parts);
  });
}

/// The bytes of all pieces, row by row, where they are quantized, and the order of the
/// choices.
void CpuTarget::prepareInputs(RewriterBase &rewriter, GroupedLinearOp op,
                              SmallVector<Value> &inputs) {
  SymbolTable &symbols = symbolsOf(op);
  int64_t M = op.getM(), choices = op.getChoices();
  auto launch = [&](Value input, int64_t columns, Type element,
                    ArrayRef<VariantAttr> variants) -> Value {
    auto type = RankedTensorType::get({M, columns}, element);
    SmallVector<Attribute> list(variants.begin(), variants.end());
    return LaunchOp::create(rewriter, op.getLoc(), type, rewriter.getArrayAttr(list),
                            /*weights=*/ValueRange(), input, /*temps=*/ArrayAttr(),
                            /*pdl=*/false)
        .getResult(0);
  };
  auto made = [&](StringRef name, function_ref<LLVM::LLVMFuncOp()> build) {
    auto kernel = symbols.lookup<LLVM::LLVMFuncOp>(name);
    return kernel ? kernel : build();
  };
  if (op.hasPieces() && !op.multipliesFloats()) {
    ::qlinear::layout::ActivationLayout piece{uint64_t(op.getK())};
    std::string stem;
    llvm::raw_string_ostream(stem) << "qlinear_pieces_" << choices << "x" << op.getK()
                                   << "_" << getElementTypeOrSelf(op.getX().getType());
    Kernels kernels =
        byRows(M, stem, [&](StringRef name, std::optional<int64_t> parts) {
          return made(name,
                      [&] { return buildPiecesKernel(symbols, op, name, parts); });
        });
    inputs[0] = launch(op.getX(), choices * int64_t(piece.bytes()),
                       rewriter.getI8Type(), kernels.variants);
  }
  if (sortsChoices(op)) {
    std::string name =
        ("qlinear_order_" + Twine(choices) + "_" + Twine(op.getExperts())).str();
    LLVM::LLVMFuncOp kernel =
        made(name, [&] { return buildOrderKernel(symbols, op, name); });
    inputs.push_back(launch(op.getIds(), choices, rewriter.getI32Type(),
                            variant(kAnyRows, kernel, /*items=*/1)));
  }
}

FailureOr<Kernels> CpuTarget::build(NormOp op, StringRef stem) {
  if (failed(checkEpilogue(op)))
    return failure();
  return byRows(op.getM(), stem, [&](StringRef name, std::optional<int64_t> parts) {
    return buildNormKernel(symbolsOf(op), op, name, parts);
  });
}

FailureOr<Kernels> CpuTarget::build(EmbeddingOp op, StringRef stem) {
  return byRows(op.getM(), stem, [&](StringRef name, std::optional<int64_t> parts) {
    return buildEmbeddingKernel(symbolsOf(op), op, name, parts);
  });
}

FailureOr<Kernels> CpuTarget::build(RotaryOp op, StringRef stem) {
  return byRows(op.getM(), stem, [&](StringRef name, std::optional<int64_t> parts) {
    return buildRotaryKernel(symbolsOf(op), op, name, parts);
  });
}

std::unique_ptr<KernelTarget> mlir::qlinear::makeCpuTarget() {
  return std::make_unique<CpuTarget>();
}
