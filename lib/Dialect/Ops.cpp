//===- Ops.cpp - Verifiers and interfaces of the operations ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "OpForms.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace mlir::qlinear;

#include "qlinear/Dialect/QLinearOpInterfaces.cpp.inc"

#define GET_OP_CLASSES
#include "qlinear/Dialect/QLinearOps.cpp.inc"

bool PackOp::hasTensorSemantics() { return isOnTensors(*this); }
bool DequantizeOp::hasTensorSemantics() { return isOnTensors(*this); }
bool QuantizeActivationsOp::hasTensorSemantics() { return isOnTensors(*this); }
bool LinearOp::hasTensorSemantics() { return isOnTensors(*this); }
bool LaunchOp::hasTensorSemantics() { return isOnTensors(*this); }

TypeRange LinearOp::getValueTypes() { return valueTypes(*this); }

bool mlir::qlinear::isOneElement(Type extra) {
  auto shaped = cast<ShapedType>(extra);
  return shaped.getRank() == 1 && shaped.getDimSize(0) == 1;
}

OperandRange mlir::qlinear::cachesOf(Operation *op) {
  if (auto rotary = dyn_cast<RotaryOp>(op))
    return rotary.getCaches();
  if (auto launch = dyn_cast<LaunchOp>(op))
    return launch.getCaches();
  return {op->operand_end(), op->operand_end()};
}

Value mlir::qlinear::cacheBefore(Value value) {
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return {};
  OperandRange caches = cachesOf(result.getOwner());
  size_t first = result.getOwner()->getNumResults() - caches.size();
  return result.getResultNumber() < first ? Value()
                                          : caches[result.getResultNumber() - first];
}

LogicalResult mlir::qlinear::verifyForm(Operation *op, OperandRange outs) {
  bool isValue = isOnTensors(op);
  OperandRange caches = cachesOf(op);
  for (auto [index, operand] : llvm::enumerate(op->getOperands()))
    if (!isValue && isa<TensorType, ActivationsType>(operand.getType()))
      return op->emitOpError()
             << "has buffers, but operand " << index << " is a value, "
             << operand.getType() << "; bufferize all operands or none" << cite(op, 1);
  if (!isValue) {
    if (op->getNumResults() != 0)
      return op->emitOpError() << "has buffers and " << op->getNumResults()
                               << " results; on buffers the results are written into "
                                  "outs(...)"
                               << cite(op, 2);
    if (outs.empty() && caches.empty())
      return op->emitOpError("has buffers but no outs(...); say where the results go")
             << cite(op, 2);
    return success();
  }
  if (op->getNumResults() == 0)
    return op->emitOpError("has no result; on tensors it computes at least one")
           << cite(op, 3);
  if (op->getNumResults() < caches.size())
    return op->emitOpError() << "has " << op->getNumResults() << " results and "
                             << caches.size()
                             << " caches; the last results are what caches become"
                             << cite(op, 3);
  size_t own = op->getNumResults() - caches.size();
  if (!outs.empty() && outs.size() != own)
    return op->emitOpError() << "has " << own << " results"
                             << (caches.empty() ? "" : " that are of no cache")
                             << " and " << outs.size()
                             << " outs; give one per result, or none" << cite(op, 3);
  for (auto [index, cache] : llvm::enumerate(caches))
    if (cache.getType() != op->getResult(own + index).getType())
      return op->emitOpError()
             << "result " << own + index << " is " << op->getResult(own + index).getType()
             << ", but the cache that it is the new value of is " << cache.getType()
             << "; the types must be the same" << cite(op, 4);
  for (auto [index, out] : llvm::enumerate(outs))
    if (out.getType() != op->getResult(index).getType())
      return op->emitOpError()
             << "result " << index << " is " << op->getResult(index).getType()
             << ", but what it replaces is " << out.getType()
             << "; the types must be the same" << cite(op, 4);
  return success();
}

//===----------------------------------------------------------------------===//
// dequantize, quantize_activations
//===----------------------------------------------------------------------===//

/// Whether these are the bytes of quantized activations.
static bool isActivationBytes(Type type) {
  auto buffer = dyn_cast<MemRefType>(type);
  return buffer && buffer.getElementType().isInteger(8);
}

/// A buffer of activations must have the bytes that rows of K columns take.
static LogicalResult verifyActivationBytes(Operation *op, StringRef what, Type type,
                                           int64_t k, unsigned constraint) {
  int64_t columns = cast<MemRefType>(type).getDimSize(1);
  auto expected = int64_t(::qlinear::layout::ActivationLayout{uint64_t(k)}.bytes());
  if (columns != expected)
    return op->emitOpError() << what << " is " << type << ", but a row of K = " << k
                             << " quantized activations has " << expected << " bytes"
                             << cite(op, constraint);
  return success();
}

LogicalResult DequantizeOp::verify() {
  if (failed(verifyForm(*this, getOuts())))
    return failure();
  ArrayRef<int64_t> shape = getValueType().getShape();
  if (isActivationBytes(getInput().getType()))
    return verifyActivationBytes(*this, "the input", getInput().getType(), shape[1],
                                 /*constraint=*/6);
  auto [rows, columns] = shapeOf(getInput().getType());
  if (shape[0] != rows || shape[1] != columns)
    return emitOpError() << "turns " << str(rows) << " x " << str(columns)
                         << " values into a tensor of " << str(shape[0]) << " x "
                         << str(shape[1]) << "; the shape must be the same"
                         << cite<DequantizeOp>(5);
  return success();
}

int64_t QuantizeActivationsOp::getM() { return shapeOf(getInput().getType()).first; }
SmallVector<Value> QuantizeActivationsOp::getKernelWeights() { return {}; }
SmallVector<Value> QuantizeActivationsOp::getKernelInputs() { return {getInput()}; }
SmallVector<Value> QuantizeActivationsOp::getKernelOuts() { return getOuts(); }

LogicalResult QuantizeActivationsOp::verify() {
  if (failed(verifyForm(*this, getOuts())))
    return failure();
  if (hasTensorSemantics())
    return success();
  return verifyActivationBytes(*this, "the result", getOut().getType(),
                               shapeOf(getInput().getType()).second, /*constraint=*/5);
}

FailureOr<OpFoldResult> mlir::qlinear::reifyRows(OpBuilder &builder, Location loc,
                                                 Value x) {
  int64_t m = shapeOf(x.getType()).first;
  if (!ShapedType::isDynamic(m))
    return OpFoldResult(builder.getIndexAttr(m));
  if (auto quantize = x.getDefiningOp<QuantizeActivationsOp>())
    return reifyRows(builder, loc, quantize.getInput());
  if (!isa<RankedTensorType>(x.getType()))
    return failure();
  return tensor::getMixedSize(builder, loc, x, 0);
}

LogicalResult DequantizeOp::reifyResultShapes(OpBuilder &builder,
                                              ReifiedRankedShapedTypeDims &shapes) {
  if (isa<ActivationsType>(getInput().getType())) {
    FailureOr<OpFoldResult> rows = reifyRows(builder, getLoc(), getInput());
    if (failed(rows))
      return failure();
    shapes.push_back({*rows, builder.getIndexAttr(getValueType().getDimSize(1))});
    return success();
  }
  shapes.push_back(getAsIndexOpFoldResult(getContext(), getValueType().getShape()));
  return success();
}

LogicalResult QuantizeActivationsOp::inferReturnTypes(MLIRContext *context,
                                                      std::optional<Location> loc,
                                                      Adaptor adaptor,
                                                      SmallVectorImpl<Type> &types) {
  if (isa<MemRefType>(adaptor.getInput().getType()))
    return success(); // the result is written to a buffer
  auto input = dyn_cast<RankedTensorType>(adaptor.getInput().getType());
  if (!input || input.getRank() != 2)
    return failure(); // the operand's constraint says why
  auto type = ActivationsType::getChecked(
      [&] { return mlir::emitError(loc.value_or(UnknownLoc::get(context))); }, context,
      input.getDimSize(0), input.getDimSize(1));
  if (!type)
    return failure();
  types.push_back(type);
  return success();
}

//===----------------------------------------------------------------------===//
// linear
//===----------------------------------------------------------------------===//

int64_t LinearOp::getM() { return shapeOf(getX().getType()).first; }
SmallVector<Value> LinearOp::getKernelWeights() { return getWeights(); }
SmallVector<Value> LinearOp::getKernelInputs() {
  SmallVector<Value> inputs{getX()};
  llvm::append_range(inputs, getExtras());
  return inputs;
}
SmallVector<Value> LinearOp::getKernelOuts() { return getOuts(); }
int64_t LinearOp::getK() {
  Type x = getX().getType();
  return isActivationBytes(x) ? getWeightType(0).getK() : shapeOf(x).second;
}

ActivationFormatAttr LinearOp::getFormat() {
  if (auto type = dyn_cast<ActivationsType>(getX().getType()))
    return type.getFormat();
  ActivationFormatAttr given = getActivationsAttr();
  return given ? given : ActivationFormatAttr::getDefault(getContext());
}

void LinearOp::build(OpBuilder &builder, OperationState &state, TypeRange results,
                     Value x, ValueRange weights, ValueRange extras, ValueRange outs,
                     LinearOp like) {
  build(builder, state, results, x, weights, extras, outs, like.getActivationsAttr(),
        like.getScheduleAttr());
  state.addAttributes(like->getDiscardableAttrDictionary().getValue());
}

/// What `activations` says must be possible with x as it is.
static LogicalResult verifyFormat(LinearOp op) {
  ActivationFormatAttr given = op.getActivationsAttr();
  if (!given)
    return success();
  Type x = op.getX().getType();
  if (isActivationBytes(x) ? given.isFloat() : given != op.getFormat())
    return op.emitOpError() << "activations = " << given << ", but x is " << x
                            << ", which is quantized; give it the tensor of floats"
                            << cite<LinearOp>(16);
  return success();
}

LogicalResult LinearOp::verify() {
  if (getWeights().empty())
    return emitOpError("has no weight; give at least one") << cite<LinearOp>(5);
  if (failed(verifyForm(*this, getOuts())))
    return failure();
  if (isActivationBytes(getX().getType()) &&
      failed(verifyActivationBytes(*this, "x", getX().getType(), getK(),
                                   /*constraint=*/7)))
    return failure();
  if (failed(verifyFormat(*this)))
    return failure();
  TypeRange values = getValueTypes();
  if (ShapedType::isDynamic(getK()))
    return emitOpError("K of x must be known; only M may be ?") << cite<LinearOp>(6);
  for (auto [index, weight] : llvm::enumerate(getWeights())) {
    int64_t k = cast<WeightType>(weight.getType()).getK();
    if (k != getK())
      return emitOpError() << "x has K = " << getK() << " columns, but weight " << index
                           << " has K = " << k << "; a linear needs the same K"
                           << cite<LinearOp>(6);
  }

  int64_t n = getWeightType(0).getN();
  if (!hasEpilogue()) {
    if (!getExtras().empty())
      return emitOpError() << "has " << getExtras().size()
                           << " extras but no region to use them; add an "
                              "epilogue or remove extras(...)"
                           << cite<LinearOp>(8);
    if (values.size() != getWeights().size())
      return emitOpError() << "has " << getWeights().size() << " weights and "
                           << values.size()
                           << " results; without a region there is one result "
                              "per weight"
                           << cite<LinearOp>(8);
  } else {
    for (auto [index, weight] : llvm::enumerate(getWeights()))
      if (int64_t other = cast<WeightType>(weight.getType()).getN(); other != n)
        return emitOpError() << "weight 0 has N = " << n << ", but weight " << index
                             << " has N = " << other
                             << "; with a region all weights need the same N"
                             << cite<LinearOp>(9);
    for (auto [index, extra] : llvm::enumerate(getExtras())) {
      auto type = cast<ShapedType>(extra.getType());
      if (isOneElement(type))
        continue;
      if (type.getShape().back() != n)
        return emitOpError() << "extra " << index << " has "
                             << str(type.getShape().back())
                             << " columns, but the weights have N = " << n
                             << "; an extra is a tensor of N or M x N, or of 1"
                             << cite<LinearOp>(10);
      if (type.getRank() == 2 && !compatible(type.getDimSize(0), getM()))
        return emitOpError() << "extra " << index << " has " << type.getDimSize(0)
                             << " rows, but x has M = " << getM()
                             << "; an extra is a tensor of N or M x N, or of 1"
                             << cite<LinearOp>(10);
    }
  }
  for (auto [index, value] : llvm::enumerate(values)) {
    auto type = cast<ShapedType>(value);
    int64_t expected = hasEpilogue() ? n : getWeightType(index).getN();
    if (type.getDimSize(1) != expected || type.getDimSize(0) != getM())
      return emitOpError() << "result " << index << " must be " << str(getM()) << " x "
                           << expected << " (rows of x, N of the weight), but got "
                           << type << cite<LinearOp>(11);
  }
  return success();
}

LogicalResult LinearOp::verifyRegions() {
  return verifyEpilogue(*this, /*firstConstraint=*/12);
}
unsigned LinearOp::getNumComputed() { return unsigned(getWeights().size()); }
StringRef LinearOp::describeComputed() { return "one f32 per weight"; }

LogicalResult LinearOp::reifyResultShapes(OpBuilder &builder,
                                          ReifiedRankedShapedTypeDims &shapes) {
  FailureOr<OpFoldResult> rows = reifyRows(builder, getLoc(), getX());
  if (failed(rows))
    return failure();
  for (Type type : getResultTypes())
    shapes.push_back(
        {*rows, builder.getIndexAttr(cast<RankedTensorType>(type).getDimSize(1))});
  return success();
}

//===----------------------------------------------------------------------===//
// spec
//===----------------------------------------------------------------------===//

OpFoldResult SpecOp::fold(FoldAdaptor) {
  return IntegerAttr::get(getType(), int64_t(getEncoding().getValue().spec()));
}

void SpecOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getResult(), shortNameOf(getEncoding()));
}

//===----------------------------------------------------------------------===//
// launch
//===----------------------------------------------------------------------===//

/// The size of the first dimension of what moves on with the rows.
static std::optional<int64_t> rowsOf(Type type) {
  if (auto activations = dyn_cast<ActivationsType>(type))
    return activations.getM();
  auto shaped = cast<ShapedType>(type);
  if (shaped.getRank() != 2)
    return std::nullopt;
  return shaped.getDimSize(0);
}

int64_t LaunchOp::getM() {
  // A cache has rows of its own.
  for (Type type : llvm::concat<Type>(llvm::to_vector(getInputs().getTypes()),
                                      llvm::to_vector(getValueTypes())))
    if (std::optional<int64_t> rows = rowsOf(type))
      return *rows;
  return 1;
}

LogicalResult LaunchOp::verify() {
  if (getVariants().empty())
    return emitOpError("has no kernel; give at least one variant") << cite<LaunchOp>(5);
  int64_t last = 0;
  for (VariantAttr variant : getVariantList()) {
    if (variant.getRows() <= last)
      return emitOpError() << "has a variant for " << variant.getRows()
                           << " rows after one for " << last
                           << "; variants are ascending in rows" << cite<LaunchOp>(5);
    last = variant.getRows();
  }
  if (failed(verifyForm(*this, getOuts())))
    return failure();
  int64_t m = getM();
  auto verifyRows = [&](TypeRange types, StringRef what) -> LogicalResult {
    for (auto [index, type] : llvm::enumerate(types)) {
      auto tensor = dyn_cast<ShapedType>(type);
      if (tensor && tensor.getRank() != 1 && tensor.getRank() != 2)
        return emitOpError() << what << " " << index << " has rank " << tensor.getRank()
                             << "; a launch takes tensors of N or M x N"
                             << cite<LaunchOp>(7);
      if (tensor && ShapedType::isDynamic(tensor.getShape().back()))
        return emitOpError() << what << " " << index << " is " << type
                             << "; only M, the first of two dimensions, may be ?"
                             << cite<LaunchOp>(7);
      if (std::optional<int64_t> rows = rowsOf(type); rows && !compatible(*rows, m))
        return emitOpError() << what << " " << index << " has " << *rows
                             << " rows, but M = " << m
                             << "; all 2D inputs and results have M rows"
                             << cite<LaunchOp>(8);
    }
    return success();
  };
  return failure(failed(verifyRows(getInputs().getTypes(), "input")) ||
                 failed(verifyRows(getValueTypes(), "result")));
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  SmallVector<SymbolRefAttr> kernels;
  for (VariantAttr variant : getVariantList()) {
    kernels.push_back(variant.getKernel());
    if (VariantAttr before = variant.getBefore())
      kernels.push_back(before.getKernel());
  }
  for (SymbolRefAttr kernel : kernels) {
    Operation *root =
        symbolTable.lookupNearestSymbolFrom(*this, kernel.getRootReference());
    // Inside a module that has been compiled to a binary, names are no symbols.
    bool opaque = root && !kernel.getNestedReferences().empty() &&
                  !root->hasTrait<OpTrait::SymbolTable>();
    if (!opaque && !symbolTable.lookupNearestSymbolFrom(*this, kernel))
      return emitOpError() << "launches " << kernel
                           << ", which is not defined in this module"
                           << cite<LaunchOp>(6);
  }
  return success();
}

LogicalResult LaunchOp::reifyResultShapes(OpBuilder &builder,
                                          ReifiedRankedShapedTypeDims &shapes) {
  OpFoldResult rows;
  for (Value input : getInputs())
    if (rowsOf(input.getType()))
      if (FailureOr<OpFoldResult> found = reifyRows(builder, getLoc(), input);
          succeeded(found)) {
        rows = *found;
        break;
      }
  for (OpResult result : getResults()) {
    auto tensor = dyn_cast<RankedTensorType>(result.getType());
    if (!tensor) {
      shapes.emplace_back();
      continue;
    }
    SmallVector<OpFoldResult> shape =
        getAsIndexOpFoldResult(getContext(), tensor.getShape());
    if (tensor.getRank() == 2 && tensor.isDynamicDim(0)) {
      OpFoldResult size = rows;
      if (Value cache = cacheBefore(result))
        size = *reifyRows(builder, getLoc(), cache);
      if (!size)
        return failure();
      shape[0] = size;
    }
    shapes.push_back(shape);
  }
  return success();
}
