//===- Dialect.cpp - Registration of the qlinear dialect ------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/QLinear.h"

#include "DialectImpl.h"
#include "qlinear/Dialect/Sharding.h"

#include "mlir/Conversion/ConvertToLLVM/ToLLVMInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/InliningUtils.h"

using namespace mlir;
using namespace mlir::qlinear;

#include "qlinear/Dialect/QLinearDialect.cpp.inc"

std::string mlir::qlinear::shortNameOf(EncodingAttr encoding) {
  const ::qlinear::Encoding &e = encoding.getValue();
  std::string group =
      e.group == ::qlinear::kWholeRow ? "row" : "g" + std::to_string(e.group);
  return (Twine(e.codes.str()) + "_" + group + "_" + stringifyForm(e.form)).str();
}

std::string mlir::qlinear::cite(StringRef name, unsigned constraint) {
  return (" (C" + Twine(constraint) + " of " + name + ")").str();
}

namespace {
/// Encodings and schedules are long and shared: print them once.
struct QLinearAsmInterface : OpAsmDialectInterface {
  using OpAsmDialectInterface::OpAsmDialectInterface;

  AliasResult getAlias(Attribute attr, raw_ostream &os) const override {
    if (isa<ScheduleAttr, KernelAttrInterface>(attr)) {
      os << (isa<ScheduleAttr>(attr) ? "schedule" : "kernel");
      return AliasResult::OverridableAlias;
    }
    auto encoding = dyn_cast<EncodingAttr>(attr);
    if (!encoding)
      return AliasResult::NoAlias;
    os << shortNameOf(encoding);
    return AliasResult::OverridableAlias;
  }
};

/// Every operation may be inlined: none has effects, and epilogues are isolated.
struct QLinearInliner : DialectInlinerInterface {
  using DialectInlinerInterface::DialectInlinerInterface;

  bool isLegalToInline(Operation *, Region *, bool, IRMapping &) const override {
    return true;
  }
};
} // namespace

namespace {
/// convert-to-llvm would leave our operations without a word, for whatever comes after
/// it to stumble over.
struct QLinearToLLVM : ConvertToLLVMPatternInterface {
  using ConvertToLLVMPatternInterface::ConvertToLLVMPatternInterface;

  struct Refuse : ConversionPattern {
    using ConversionPattern::matchAndRewrite;

    explicit Refuse(MLIRContext *context)
        : ConversionPattern(Pattern::MatchAnyOpTypeTag(), /*benefit=*/1, context) {}

    // A buffer that comes from the function has become several values.
    LogicalResult matchAndRewrite(Operation *op, ArrayRef<ValueRange>,
                                  ConversionPatternRewriter &) const override {
      if (isa<QLinearDialect>(op->getDialect()))
        op->emitError("'")
            << op->getName()
            << "' is left; qlinear-to-runtime makes calls of launches, "
               "and qlinear-finish runs all that comes after qlinear-cpu "
               "or qlinear-cuda";
      return failure();
    }
  };

  void
  populateConvertToLLVMConversionPatterns(ConversionTarget &target, LLVMTypeConverter &,
                                          RewritePatternSet &patterns) const override {
    target.addIllegalDialect<QLinearDialect>();
    patterns.add<Refuse>(patterns.getContext());
  }
};
} // namespace

void QLinearDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "qlinear/Dialect/QLinearOps.cpp.inc"
      >();
  addOperations<PartOp>();
  registerAttributes();
  registerTypes();
  addInterfaces<QLinearAsmInterface, QLinearInliner, QLinearToLLVM>();
  addBytecodeInterface(this);
  attachShardingInterface(getContext());
}

Operation *QLinearDialect::materializeConstant(OpBuilder &builder, Attribute value,
                                               Type type, Location loc) {
  return arith::ConstantOp::materialize(builder, value, type, loc);
}
