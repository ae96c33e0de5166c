//===- Weights.cpp - Verifiers of the operations on weights ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "DialectImpl.h"

#include "qlinear/Dialect/Sharding.h"

#include "mlir/Dialect/Shard/IR/ShardOps.h"

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::Encoding;
using ::qlinear::MetaStorage;
using ::qlinear::StepScope;

//===----------------------------------------------------------------------===//
// parameter, load
//===----------------------------------------------------------------------===//

LogicalResult ParameterOp::verify() {
  if (getSource() && getSource()->empty())
    return emitOpError("has an empty name after 'from'; name the weight in its "
                       "archive or leave 'from' out to use the symbol's name")
           << cite<ParameterOp>(1);
  return success();
}

LogicalResult LoadOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  Operation *symbol = symbolTable.lookupNearestSymbolFrom(*this, getParameterAttr());
  auto parameter = dyn_cast_or_null<ParameterOp>(symbol);
  if (!parameter) {
    InFlightDiagnostic diag = emitOpError("loads ")
                              << getParameterAttr() << ", which is ";
    if (symbol)
      diag << "'" << symbol->getName() << "', not a qlinear.parameter";
    else
      diag << "not declared; declare it with qlinear.parameter in the same "
              "module";
    return diag << cite<LoadOp>(1);
  }
  if (parameter.getType() != getType()) {
    InFlightDiagnostic diag = emitOpError("loads ")
                              << getParameterAttr() << " as " << getType()
                              << ", but it is declared as " << parameter.getType()
                              << cite<LoadOp>(2);
    diag.attachNote(parameter.getLoc()) << "declared here";
    return diag;
  }
  return success();
}

void LoadOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getResult(), getParameter());
}

//===----------------------------------------------------------------------===//
// part
//===----------------------------------------------------------------------===//

LogicalResult PartOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto grid = symbols.lookupNearestSymbolFrom<shard::GridOp>(*this, getGridAttr());
  if (!grid)
    return emitOpError("is on ")
           << getGridAttr() << ", which is no shard.grid; declare "
           << "the grid in the same module" << cite<PartOp>(1);
  int64_t processes = 1;
  for (int16_t axis : getGridAxes()) {
    if (axis < 0 || axis >= grid.getRank() ||
        ShapedType::isDynamic(grid.getShape()[axis]))
      return emitOpError("is along axis ")
             << axis << " of " << getGridAttr() << ", which has " << grid.getRank()
             << " axes; an axis is one of these, and its size is known"
             << cite<PartOp>(1);
    processes *= grid.getShape()[axis];
  }
  WeightType whole = getWeight().getType(), part = getType();
  bool isRows = !getColumns();
  int64_t extent = isRows ? part.getN() : part.getK();
  if (whole.getEncoding() != part.getEncoding() ||
      (isRows ? whole.getK() != part.getK() : whole.getN() != part.getN()) ||
      extent * processes != (isRows ? whole.getN() : whole.getK()))
    return emitOpError("of ") << whole << " cannot be " << part << ": each of "
                              << processes << " processes has as many "
                              << stringifyAxis(getAxis())
                              << ", and all else stays the same" << cite<PartOp>(2);
  uint64_t step = cutStep(whole.getEncoding().getValue(), getAxis());
  if (processes > 1 && extent % step)
    return emitOpError("has ")
           << extent << " " << stringifyAxis(getAxis()) << " of " << whole
           << ", which can be cut at multiples of " << step
           << "; take another number of processes" << cite<PartOp>(3);
  return success();
}

//===----------------------------------------------------------------------===//
// pack
//===----------------------------------------------------------------------===//

static bool hasSteps(const MetaStorage &meta) {
  return meta.scope != StepScope::constant;
}

Value PackOp::getScaleSteps() {
  const Encoding &e = getType().getEncoding().getValue();
  return hasSteps(e.scale) ? getSteps().front() : Value();
}

Value PackOp::getOffsetSteps() {
  const Encoding &e = getType().getEncoding().getValue();
  return hasSteps(e.offset) ? getSteps().back() : Value();
}

/// Shape and element type of one component; `element` may be null when any of
/// the integer types i`bits`, i8, i16 that hold `bits` is right.
static LogicalResult verifyComponent(PackOp op, StringRef name, Value value,
                                     ArrayRef<int64_t> shape, StringRef rule,
                                     unsigned bits, Type element) {
  auto type = cast<ShapedType>(value.getType());
  if (type.getShape() != shape) {
    InFlightDiagnostic diag = op.emitOpError() << name << " of a " << op.getType()
                                               << " must have the shape ";
    llvm::interleave(shape, diag, "x");
    diag << " (" << rule << "), but got " << type << cite<PackOp>(2);
    return diag;
  }
  Type actual = type.getElementType();
  if (element) {
    if (actual != element)
      return op.emitOpError() << name << " must have the element type " << element
                              << " that the encoding says, but got " << actual
                              << cite<PackOp>(3);
    return success();
  }
  unsigned container = bits <= 8 ? 8 : 16;
  if (!actual.isSignlessInteger(bits) && !actual.isSignlessInteger(container)) {
    InFlightDiagnostic diag = op.emitOpError()
                              << name << " must have the element type i" << bits;
    if (bits != container)
      diag << " or i" << container;
    diag << " for " << bits << "-bit codes, but got " << actual << cite<PackOp>(3);
    return diag;
  }
  return success();
}

static LogicalResult verifyMeta(PackOp op, StringRef name, Value value,
                                const MetaStorage &meta) {
  WeightType weight = op.getType();
  Type plain;
  unsigned bits = meta.bits;
  if (meta.kind == MetaStorage::Kind::plain) {
    if (byteWidth(meta.type) > 1)
      plain = toMLIR(meta.type, op.getContext());
    else // given as its bits
      bits = 8;
  }
  return verifyComponent(op, name, value, {weight.getN(), weight.getGroups()},
                         "N x groups", bits, plain);
}

static LogicalResult verifySteps(PackOp op, StringRef name, Value value,
                                 const MetaStorage &meta) {
  WeightType weight = op.getType();
  SmallVector<int64_t, 2> shape = {weight.getN()};
  StringRef rule = "one per row";
  if (meta.scope == StepScope::block) {
    shape.push_back(llvm::divideCeil(weight.getK(), ::qlinear::kStepBlock));
    rule = "one per row and 256 columns";
  } else if (meta.rowBytes() > byteWidth(meta.type)) {
    shape.push_back(2);
    rule = "base and step per row";
  }
  return verifyComponent(op, name, value, shape, rule, 0,
                         toMLIR(meta.type, op.getContext()));
}

LogicalResult PackOp::verify() {
  for (Value component : getOperands())
    if (isa<TensorType>(component.getType()) && !hasTensorSemantics())
      return emitOpError("has components that are buffers and some that are tensors; "
                         "bufferize all or none")
             << cite<PackOp>(1);
  WeightType weight = getType();
  const Encoding e = weight.getEncoding().getValue();
  if (failed(verifyComponent(*this, "codes", getCodes(), {weight.getN(), weight.getK()},
                             "N x K", e.codes.bits, {})) ||
      failed(verifyMeta(*this, "scales", getScales(), e.scale)))
    return failure();

  bool hasOffset = e.offset.kind != MetaStorage::Kind::none;
  if (hasOffset != bool(getOffsets()))
    return emitOpError() << "the form " << stringifyForm(e.form)
                         << (hasOffset ? " has offsets; add offsets(...)"
                                       : " has no offsets; remove offsets(...)")
                         << cite<PackOp>(4);
  if (hasOffset && failed(verifyMeta(*this, "offsets", getOffsets(), e.offset)))
    return failure();

  unsigned expected = hasSteps(e.scale) + hasSteps(e.offset);
  if (getSteps().size() != expected)
    return emitOpError() << "the encoding has " << expected << " step tensors (scale: "
                         << (hasSteps(e.scale) ? "yes" : "no")
                         << ", offset: " << (hasSteps(e.offset) ? "yes" : "no")
                         << "), but got " << getSteps().size() << cite<PackOp>(5);
  if (Value steps = getScaleSteps();
      steps && failed(verifySteps(*this, "scale steps", steps, e.scale)))
    return failure();
  if (Value steps = getOffsetSteps();
      steps && failed(verifySteps(*this, "offset steps", steps, e.offset)))
    return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// reencode
//===----------------------------------------------------------------------===//

LogicalResult ReencodeOp::verify() {
  WeightType from = getWeight().getType(), to = getType();
  if (from.getN() != to.getN() || from.getK() != to.getK())
    return emitOpError() << "changes the shape from " << from.getN() << " x "
                         << from.getK() << " to " << to.getN() << " x " << to.getK()
                         << "; only the metadata may change" << cite<ReencodeOp>(1);
  EncodingAttr a = from.getEncoding(), b = to.getEncoding();
  if (a.getCodes().bits != b.getCodes().bits)
    return emitOpError() << "changes the code width from "
                         << unsigned(a.getCodes().bits) << " to "
                         << unsigned(b.getCodes().bits)
                         << " bits; only the metadata may change"
                         << cite<ReencodeOp>(2);
  if (a.getCodes().kind != b.getCodes().kind)
    return emitOpError() << "changes the codes from " << a.getCodes().str() << " to "
                         << b.getCodes().str() << "; only the metadata may change"
                         << cite<ReencodeOp>(2);
  if (a.getGroup() != b.getGroup())
    return emitOpError() << "changes the group size from " << a.getGroup() << " to "
                         << b.getGroup()
                         << " (0: whole row); only the metadata may change"
                         << cite<ReencodeOp>(3);
  return success();
}
