//===- KernelMaker.cpp - Operations to launches of kernels ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Checks.h"
#include "KernelTarget.h"
#include "qlinear/Conversion/Kernels.h"
#include "qlinear/Transforms/Schedule.h"

#include "mlir/IR/AsmState.h"

using namespace mlir;
using namespace mlir::qlinear;

KernelMaker::KernelMaker(std::unique_ptr<KernelTarget> target, StringRef pass)
    : target(std::move(target)), pass(pass) {}
KernelMaker::~KernelMaker() = default;

FailureOr<std::unique_ptr<KernelMaker>> KernelMaker::create(Operation *scope,
                                                            StringRef target) {
  if (target.starts_with("cpu"))
    return std::unique_ptr<KernelMaker>(
        new KernelMaker(makeCpuTarget(), "qlinear-to-cpu"));
  auto module = dyn_cast<ModuleOp>(scope);
  if (!module)
    return scope->emitError("'")
           << scope->getName() << "' cannot have kernels for '" << target << "'"
           << ": a gpu.module is in a builtin.module, run qlinear-to-gpu on that";
  auto gpu = makeGpuTarget(module, target);
  if (failed(gpu))
    return failure();
  return std::unique_ptr<KernelMaker>(
      new KernelMaker(std::move(*gpu), "qlinear-to-gpu"));
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

/// A name "<stem><number>" that no symbol has, also not with what kernels append.
std::string KernelMaker::freshName(Operation *symbolTable, StringRef stem) {
  for (unsigned &number = numbers[{symbolTable, stem.str()}];;) {
    std::string name = (stem + Twine(number++)).str();
    auto isTaken = [&](Operation &op) {
      auto symbol = op.getAttrOfType<StringAttr>(SymbolTable::getSymbolAttrName());
      return symbol && (symbol == name || symbol.getValue().starts_with(name + "_m") ||
                        symbol == name + "_prepare" || symbol == name + "_quantize");
    };
    if (llvm::none_of(symbolTable->getRegion(0).front(), isTaken))
      return name;
  }
}

FailureOr<KernelMaker::Made> KernelMaker::kernelsOf(KernelOpInterface op, NormOp norm) {
  const KernelTarget::Builder *build = target->builderOf(op);
  if (!build)
    return op->emitError("'") << op->getName() << "' has no kernels in " << pass
                              << "; leave it to another pass, or add kernels for it";
  Operation *table = target->symbolTableOf(op);
  std::string key = keyOf(op);
  if (norm) // and which of its results x is
    key += keyOf(norm) +
           std::to_string(cast<OpResult>(op.getKernelInputs()[0]).getResultNumber());
  Made &known = made[{table, std::move(key)}];
  if (known.variants) {
    ++numShared;
    return known;
  }
  // "qlinear.quantize_activations": "quantize".
  StringRef stem =
      op->getName().stripDialect().take_until([](char c) { return c == '_'; });
  std::string name = freshName(table, stem);
  FailureOr<Kernels> built =
      norm ? target->buildJoined(norm, cast<LinearOp>(op.getOperation()), name)
           : (*build)(op, name);
  if (failed(built))
    return failure();
  llvm::SmallDenseSet<SymbolRefAttr> kernels; // one may do for several numbers of rows
  for (VariantAttr variant : built->variants) {
    kernels.insert(variant.getKernel());
    if (VariantAttr before = variant.getBefore())
      kernels.insert(before.getKernel());
  }
  numKernels += int64_t(kernels.size());
  auto list = [&](auto &attributes) {
    return ArrayAttr::get(op->getContext(),
                          SmallVector<Attribute>(attributes.begin(), attributes.end()));
  };
  known = {list(built->variants),
           built->temps.empty() ? ArrayAttr() : list(built->temps)};
  if (isa<QuantizeActivationsOp>(op.getOperation()))
    quantizers.insert(known.variants);
  return known;
}

LogicalResult KernelMaker::launch(RewriterBase &rewriter, KernelOpInterface op) {
  FailureOr<Made> kernels = kernelsOf(op, /*norm=*/{});
  if (failed(kernels))
    return failure();
  rewriter.setInsertionPoint(op);
  SmallVector<Value> inputs = inputsOf(rewriter, op);
  auto launch =
      LaunchOp::create(rewriter, op.getLoc(), op->getResultTypes(), kernels->variants,
                       op.getKernelWeights(), inputs, cachesOf(op), op.getKernelOuts(),
                       kernels->temps, target->startsEarly(op));
  launch->setDiscardableAttrs(op->getDiscardableAttrDictionary());
  rewriter.replaceOp(op, launch);
  return success();
}

LogicalResult KernelMaker::launchJoined(RewriterBase &rewriter, NormOp norm,
                                        LinearOp linear) {
  FailureOr<Made> kernels =
      kernelsOf(cast<KernelOpInterface>(linear.getOperation()), norm);
  if (failed(kernels))
    return failure();
  SmallVector<Value> inputs = norm.getKernelInputs(), outs;
  llvm::append_range(inputs, linear.getExtras());
  SmallVector<Value> results; // but x
  llvm::copy_if(norm->getResults(), std::back_inserter(results),
                [&](Value result) { return result != linear.getX(); });
  if (results.empty()) // there are as many as results, or none
    outs = linear.getKernelOuts();
  llvm::append_range(results, linear->getResults());
  rewriter.setInsertionPoint(linear);
  auto launch = LaunchOp::create(
      rewriter, linear.getLoc(), ValueRange(results).getTypes(), kernels->variants,
      linear.getKernelWeights(), inputs,
      /*caches=*/ValueRange(), outs, kernels->temps, target->startsEarly(linear));
  launch->setDiscardableAttrs(linear->getDiscardableAttrDictionary());
  for (auto [before, after] : llvm::zip(results, launch.getResults()))
    rewriter.replaceAllUsesWith(before, after);
  rewriter.eraseOp(linear);
  rewriter.eraseOp(norm);
  return success();
}

/// What the kernels of `op` take for its inputs.
SmallVector<Value> KernelMaker::inputsOf(RewriterBase &rewriter, KernelOpInterface op) {
  SmallVector<Value> inputs = op.getKernelInputs();
  if (auto grouped = dyn_cast<GroupedLinearOp>(op.getOperation())) {
    if (target->quantizesBefore(grouped))
      inputs[0] = quantized(rewriter, grouped, grouped.getX());
    target->prepareInputs(rewriter, grouped, inputs);
  }
  return inputs;
}

/// The activations `x` of `op`, quantized: before it, or where another operation before
/// it in the block has them from.
Value KernelMaker::quantized(RewriterBase &rewriter, Operation *op, Value x) {
  for (Operation *user : x.getUsers()) {
    auto launch = dyn_cast<LaunchOp>(user);
    bool quantizes = launch ? quantizers.contains(launch.getVariants())
                            : isa<QuantizeActivationsOp>(user);
    if (quantizes && user->getBlock() == op->getBlock() && user->isBeforeInBlock(op))
      return user->getResult(0);
  }
  rewriter.setInsertionPoint(op);
  return QuantizeActivationsOp::create(rewriter, op->getLoc(), x).getResult();
}

LogicalResult KernelMaker::convert(RewriterBase &rewriter, KernelOpInterface op,
                                   bool joinsNorms) {
  if (failed(checkForKernels(op, op.getM(), pass)))
    return failure();
  auto linear = dyn_cast<LinearOp>(op.getOperation());
  if (!linear)
    return failed(::qlinear::checkKernelArgs(op)) ? failure() : launch(rewriter, op);
  FailureOr<SmallVector<LinearOp>> parts =
      target->schedule(rewriter, linear, joinsNorms);
  if (failed(parts))
    return failure();
  for (LinearOp part : *parts) {
    if (NormOp norm = target->normOf(part)) {
      if (failed(launchJoined(rewriter, norm, part)))
        return failure();
      continue;
    }
    if (isa<RankedTensorType>(part.getX().getType()) && target->quantizesBefore(part)) {
      Value x = quantized(rewriter, part, part.getX());
      rewriter.modifyOpInPlace(part, [&] { part.getXMutable().assign(x); });
    }
    if (failed(launch(rewriter, cast<KernelOpInterface>(part.getOperation()))))
      return failure();
  }
  return success();
}

LogicalResult KernelMaker::convertAll(Operation *scope) {
  IRRewriter rewriter(scope->getContext());
  // Linears leave activations to quantize, and take norms.
  for (bool linears : {true, false}) {
    SmallVector<KernelOpInterface> ops;
    scope->walk([&](KernelOpInterface op) {
      if (isa<LinearOp, GroupedLinearOp>(op.getOperation()) == linears)
        ops.push_back(op);
    });
    for (KernelOpInterface op : ops)
      if (failed(convert(rewriter, op, /*joinsNorms=*/true)))
        return failure();
    numConverted += int64_t(ops.size());
  }
  return success();
}

namespace {
struct KernelPattern : OpInterfaceRewritePattern<KernelOpInterface> {
  KernelPattern(MLIRContext *context, KernelMaker &maker)
      : OpInterfaceRewritePattern(context), maker(maker) {
    // A linear leaves a qlinear.quantize_activations, which leaves nothing.
    setHasBoundedRewriteRecursion();
  }

  LogicalResult matchAndRewrite(KernelOpInterface op,
                                PatternRewriter &rewriter) const override {
    // A conversion may have replaced the norm before a linear already.
    return maker.convert(rewriter, op, /*joinsNorms=*/false);
  }

  KernelMaker &maker;
};
} // namespace

void mlir::qlinear::populateKernelPatterns(RewritePatternSet &patterns,
                                           KernelMaker &maker) {
  patterns.add<KernelPattern>(patterns.getContext(), maker);
}
