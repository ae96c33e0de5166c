//===- QLinearToCPU.cpp - CPU kernels of linears --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Checks.h"
#include "CpuSkeleton.h"
#include "qlinear/Conversion/CpuKernels.h"
#include "qlinear/Conversion/Passes.h"
#include "qlinear/Dialect/Bufferize.h"
#include "qlinear/Transforms/ModuleTarget.h"
#include "qlinear/Transforms/Schedule.h"
#include "qlinear/Transforms/Split.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Builders.h"

#include <map>

namespace mlir::qlinear {
#define GEN_PASS_DEF_QLINEARTOCPU
#include "qlinear/Conversion/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

namespace {

/// Everything that a kernel depends on, as text: types, schedule, epilogue. Linears
/// with the same text share a kernel.
std::string keyOf(LinearOp linear) {
  std::string key;
  llvm::raw_string_ostream os(key);
  os << "K " << linear.getK() << ' ' << linear.getWeights().getTypes() << " ; "
     << linear.getExtras().getTypes() << " ; " << linear->getResultTypes() << " ; "
     << linear.getM() << linear.getFormat() << linear.getScheduleAttr();
  if (linear.multipliesFloats())
    os << linear.getX().getType();
  if (!linear.hasEpilogue())
    return key;
  DenseMap<Value, unsigned> numbers;
  for (BlockArgument argument : linear.getBody().getArguments())
    numbers.try_emplace(argument, numbers.size());
  for (Operation &op : linear.getBody()) {
    os << '\n' << op.getName() << op.getAttrDictionary() << op.getResultTypes();
    for (Value operand : op.getOperands())
      os << ' ' << numbers.lookup(operand);
    for (Value result : op.getResults())
      numbers.try_emplace(result, numbers.size());
  }
  return key;
}

/// Converts the linears of one module.
class Converter {
public:
  explicit Converter(MLIRContext *context) : context(context) {}

  LogicalResult convert(QuantizeActivationsOp op);
  LogicalResult convert(LinearOp linear);

  int64_t numKernels = 0, numShared = 0;

private:
  using Variants = SmallVector<Attribute>;

  LogicalResult convertPart(LinearOp linear);

  SymbolTable &symbolsOf(Operation *op) {
    return tables.getSymbolTable(SymbolTable::getNearestSymbolTable(op));
  }

  /// A free name "<stem><number>".
  std::string freshName(SymbolTable &symbols, StringRef stem) {
    for (unsigned &number = numbers[stem];;) {
      std::string name = (stem + Twine(number++)).str();
      if (!symbols.lookup(name) && !symbols.lookup(name + "_m1"))
        return name;
    }
  }

  /// The variants for a key, made by `make` the first time.
  FailureOr<ArrayAttr> variantsOf(Operation *op, const std::string &key,
                                  function_ref<FailureOr<Variants>()> make) {
    auto &known = made[{SymbolTable::getNearestSymbolTable(op), key}];
    if (known) {
      ++numShared;
      return known;
    }
    FailureOr<Variants> variants = make();
    if (failed(variants))
      return failure();
    return known = ArrayAttr::get(context, *variants);
  }

  VariantAttr variant(int64_t rows, LLVM::LLVMFuncOp kernel, int64_t items) {
    return VariantAttr::get(context, rows, FlatSymbolRefAttr::get(kernel),
                            /*grid=*/0, /*block=*/0, /*smem=*/0, items);
  }

  /// A launch at b that quantizes x (M x K floats).
  Value quantize(OpBuilder &b, Location loc, Value x) {
    auto type = cast<RankedTensorType>(x.getType());
    int64_t K = type.getDimSize(1);
    std::string key;
    llvm::raw_string_ostream(key) << "quantize " << type.getElementType() << ' ' << K;
    Operation *at = b.getInsertionBlock()->getParentOp();
    ArrayAttr variants = *variantsOf(at, key, [&]() -> FailureOr<Variants> {
      SymbolTable &symbols = symbolsOf(at);
      LLVM::LLVMFuncOp kernel = buildQuantizeKernel(
          symbols, loc, freshName(symbols, "quantize"), type.getElementType(), K);
      ++numKernels;
      Variants list;
      for (int64_t rows = 1; rows <= ::qlinear::cpu::kMaxRows; rows *= 2)
        list.push_back(variant(rows, kernel, /*items=*/rows));
      return list;
    });
    Type result = ActivationsType::get(b.getContext(), type.getDimSize(0), K);
    return LaunchOp::create(b, loc, TypeRange(result), variants, ValueRange(),
                            ValueRange(x), /*temps=*/ArrayAttr(), /*pdl=*/false)
        .getResult(0);
  }

  MLIRContext *context;
  SymbolTableCollection tables;
  llvm::StringMap<unsigned> numbers;
  std::map<std::pair<Operation *, std::string>, ArrayAttr> made;
  DenseMap<std::pair<Block *, Value>, Value> activations;
};

LogicalResult Converter::convert(QuantizeActivationsOp op) {
  if (failed(checkForKernels(op, op.getResult().getType().getM(), "qlinear-to-cpu")))
    return failure();
  OpBuilder b(op);
  Value launch = quantize(b, op.getLoc(), op.getInput());
  launch.getDefiningOp()->setDiscardableAttrs(op->getDiscardableAttrDictionary());
  op.getResult().replaceAllUsesWith(launch);
  op.erase();
  return success();
}

LogicalResult Converter::convert(LinearOp linear) {
  if (failed(checkForKernels(linear, linear.getM(), "qlinear-to-cpu")))
    return failure();
  SmallVector<LinearOp> parts = splitUntil(linear, [](LinearOp part) {
    return part.getWeights().size() <= ::qlinear::kMaxCpuWeights &&
           ::qlinear::countKernelArgs(part) <= ::qlinear::kMaxKernelArgs;
  });
  for (LinearOp part : parts)
    if (failed(convertPart(part)))
      return failure();
  return success();
}

LogicalResult Converter::convertPart(LinearOp linear) {
  if (size_t count = ::qlinear::countKernelArgs(linear);
      count > ::qlinear::kMaxKernelArgs)
    return linear.emitError("a kernel of ")
           << linear.getWeights().size() << " weights, " << linear.getExtras().size()
           << " extras and " << linear.getNumResults() << " results has " << count
           << " arguments, and the runtime passes at most " << ::qlinear::kMaxKernelArgs
           << "; use several linears";
  if (failed(::qlinear::scheduleForCpu(linear)) || failed(checkEpilogue(linear)))
    return failure();

  FailureOr<ArrayAttr> variants =
      variantsOf(linear, keyOf(linear), [&]() -> FailureOr<Variants> {
        SymbolTable &symbols = symbolsOf(linear);
        std::string stem = freshName(symbols, "linear");
        Variants list;
        for (KernelAttrInterface attr : linear.getSchedule()->getKernels()) {
          CpuGemv kernel = cast<CpuGemvAttr>(attr).getValue();
          list.push_back(
              variant(kernel.rows,
                      buildLinearKernel(symbols, linear,
                                        (stem + "_m" + Twine(kernel.rows)).str(),
                                        kernel.rows, *kernel.tiles),
                      llvm::divideCeil(countTiles(linear), *kernel.tiles)));
          ++numKernels;
        }
        return list;
      });
  if (failed(variants))
    return failure();

  OpBuilder b(linear);
  Value x = linear.getX();
  if (!isa<ActivationsType>(x.getType()) && !linear.multipliesFloats()) {
    Value &quantized = activations[{linear->getBlock(), x}];
    if (!quantized)
      quantized = quantize(b, linear.getLoc(), x);
    x = quantized;
  }
  SmallVector<Value> inputs = {x};
  llvm::append_range(inputs, linear.getExtras());
  auto launch =
      LaunchOp::create(b, linear.getLoc(), linear->getResultTypes(), *variants,
                       linear.getWeights(), inputs, linear.getOuts(), ArrayAttr(),
                       /*pdl=*/false);
  // An own attribute of the user stays.
  launch->setDiscardableAttrs(linear->getDiscardableAttrDictionary());
  linear.replaceAllUsesWith(launch.getResults());
  linear.erase();
  return success();
}

struct QLinearToCPU : mlir::qlinear::impl::QLinearToCPUBase<QLinearToCPU> {
  using QLinearToCPUBase::QLinearToCPUBase;

  void runOnOperation() override {
    auto known = ::qlinear::targetOf(getOperation(), target, "cpu");
    if (failed(known) || failed(verifyPlaceOfActivations(getOperation())))
      return signalPassFailure();
    if (!StringRef(*known).starts_with("cpu")) {
      getOperation().emitError("the target is '")
          << *known << "'; qlinear-to-cpu makes kernels for cpu and cpu:ISA, run "
          << "qlinear-to-gpu for this one";
      return signalPassFailure();
    }
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<LinearOp, QuantizeActivationsOp>(op))
        ops.push_back(op);
    });
    Converter converter(&getContext());
    for (Operation *op : ops) {
      auto linear = dyn_cast<LinearOp>(op);
      if (failed(linear ? converter.convert(linear)
                        : converter.convert(cast<QuantizeActivationsOp>(op))))
        return signalPassFailure();
    }
    if (!ops.empty())
      ::qlinear::setTarget(getOperation(), *known);
    numKernels += converter.numKernels;
    numShared += converter.numShared;
  }
};

} // namespace
