//===- Constants.cpp - Weights that are constants in the IR ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/Constants.h"

#include "DialectImpl.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::EncodedWeight;
using ::qlinear::Encoding;
using ::qlinear::MetaStorage;
using ::qlinear::StepScope;

static uint32_t maskOf(unsigned bits) { return bits >= 32 ? ~0u : (1u << bits) - 1; }

/// Bytes that an element takes in a constant: i4 takes a whole one.
static size_t elementBytes(ShapedType type) {
  return llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

std::optional<ArrayRef<char>> mlir::qlinear::getRawElements(Attribute attribute) {
  if (auto dense = dyn_cast_if_present<DenseElementsAttr>(attribute))
    return dense.getRawData();
  auto resource = dyn_cast_if_present<DenseResourceElementsAttr>(attribute);
  AsmResourceBlob *blob = resource ? resource.getRawHandle().getBlob() : nullptr;
  auto type = resource ? dyn_cast<RankedTensorType>(resource.getType()) : nullptr;
  if (!blob || !type ||
      blob->getData().size() != type.getNumElements() * elementBytes(type))
    return std::nullopt;
  return blob->getData();
}

Attribute mlir::qlinear::getConstantAttribute(Value component) {
  Attribute attribute;
  if (auto get = component.getDefiningOp<memref::GetGlobalOp>()) {
    // What bufferization makes of a constant.
    auto global =
        SymbolTable::lookupNearestSymbolFrom<memref::GlobalOp>(get, get.getNameAttr());
    if (global && global.getConstant() && !global.isExternal())
      return *global.getInitialValue();
    return {};
  }
  matchPattern(component, m_Constant(&attribute));
  return attribute;
}

/// Those of a value; none if it is not such a constant.
static std::optional<ArrayRef<char>> rawElements(Value value) {
  return getRawElements(getConstantAttribute(value));
}

/// Calls `store` with each element's place and bits, zero-extended from T.
template <typename T, typename Store>
static void forEach(ArrayRef<char> data, size_t count, Store store) {
  size_t stride = data.size() == sizeof(T) ? 0 : sizeof(T);
  for (size_t i = 0; i < count; ++i) {
    T bits;
    std::memcpy(&bits, data.data() + i * stride, sizeof(T));
    store(i, bits);
  }
}

/// Reads `(element + bias) & mask` into `fields`; a null value has no elements.
template <typename Field>
static bool readFields(Value value, uint32_t mask, uint32_t bias,
                       std::vector<Field> &fields) {
  if (!value)
    return true;
  std::optional<ArrayRef<char>> data = rawElements(value);
  if (!data)
    return false;
  auto type = cast<ShapedType>(value.getType());
  size_t count = type.getNumElements();
  fields.resize(count);
  auto store = [&](size_t i, uint32_t bits) {
    fields[i] = Field((bits + bias) & mask);
  };
  switch (elementBytes(type)) {
  case 1:
    forEach<uint8_t>(*data, count, store);
    return true;
  case 2:
    forEach<uint16_t>(*data, count, store);
    return true;
  default:
    forEach<uint32_t>(*data, count, store);
    return true;
  }
}

bool mlir::qlinear::isConstant(PackOp pack) {
  return llvm::all_of(pack->getOperands(),
                      [](Value v) { return rawElements(v).has_value(); });
}

FailureOr<EncodedWeight> mlir::qlinear::getConstantWeight(PackOp pack) {
  WeightType type = pack.getType();
  EncodedWeight w;
  w.encoding = type.getEncoding().getValue();
  w.N = type.getN();
  w.K = type.getK();
  const Encoding &e = w.encoding;
  // A field is the code plus its bias, in the low bits.
  if (!readFields(pack.getCodes(), maskOf(e.codes.bits), e.codes.fieldBias(),
                  w.fields) ||
      !readFields(pack.getScales(), maskOf(e.scale.fieldBits()), 0, w.scaleFields) ||
      !readFields(pack.getOffsets(), maskOf(e.offset.fieldBits()), 0, w.offsetFields) ||
      !readFields(pack.getScaleSteps(), ~0u, 0, w.scaleSteps) ||
      !readFields(pack.getOffsetSteps(), ~0u, 0, w.offsetSteps))
    return failure();
  return w;
}

/// A constant tensor of codes, which are `field - bias` or, with `isSigned`, the two's
/// complement of `codeBits` bits; or of floats with these bits.
template <typename Field>
static Value createConstant(OpBuilder &builder, Location loc, ArrayRef<int64_t> shape,
                            Type element, ArrayRef<Field> fields, unsigned codeBits,
                            bool isSigned, int bias = 0) {
  auto type = RankedTensorType::get(shape, element);
  // An element narrower than its bytes is stored zero-extended.
  uint32_t mask = maskOf(element.getIntOrFloatBitWidth());
  uint32_t sign = isSigned && bias == 0 ? 1u << (codeBits - 1) : 0;
  auto fill = [&]<typename T>(T) {
    SmallVector<T> raw(fields.size());
    for (size_t i = 0; i < fields.size(); ++i)
      raw[i] = T((((fields[i] ^ sign) - sign) - uint32_t(bias)) & mask);
    ArrayRef<char> bytes(reinterpret_cast<const char *>(raw.data()),
                         raw.size() * sizeof(T));
    return DenseElementsAttr::getFromRawBuffer(type, bytes);
  };
  size_t bytes = elementBytes(type);
  return arith::ConstantOp::create(builder, loc,
                                   bytes == 1   ? fill(uint8_t())
                                   : bytes == 2 ? fill(uint16_t())
                                                : fill(uint32_t()));
}

PackOp mlir::qlinear::createConstantWeight(OpBuilder &builder, Location loc,
                                           const EncodedWeight &w, bool narrow) {
  MLIRContext *context = builder.getContext();
  const Encoding &e = w.encoding;
  auto type = WeightType::get(context, w.N, w.K, EncodingAttr::get(context, e));
  int64_t n = type.getN(), groups = type.getGroups();

  Value codes = createConstant<uint8_t>(
      builder, loc, {n, type.getK()}, builder.getIntegerType(narrow ? e.codes.bits : 8),
      w.fields, e.codes.bits, /*isSigned=*/false, e.codes.fieldBias());
  auto meta = [&](const MetaStorage &m, const std::vector<uint32_t> &fields) -> Value {
    if (m.kind == MetaStorage::Kind::none)
      return {};
    Type element = builder.getIntegerType(m.fieldBits());
    if (m.kind == MetaStorage::Kind::plain && byteWidth(m.type) > 1)
      element = toMLIR(m.type, context);
    return createConstant<uint32_t>(builder, loc, {n, groups}, element, fields,
                                    m.fieldBits(), m.isSigned);
  };
  Value scales = meta(e.scale, w.scaleFields);
  Value offsets = meta(e.offset, w.offsetFields);

  SmallVector<Value> steps;
  auto addSteps = [&](const MetaStorage &m, const std::vector<uint32_t> &values) {
    if (m.scope == StepScope::constant)
      return;
    SmallVector<int64_t> shape = {n};
    if (int64_t perRow = int64_t(values.size()) / n;
        m.scope == StepScope::block || perRow > 1)
      shape.push_back(perRow);
    steps.push_back(createConstant<uint32_t>(
        builder, loc, shape, toMLIR(m.type, context), values, 0, false));
  };
  addSteps(e.scale, w.scaleSteps);
  addSteps(e.offset, w.offsetSteps);
  return PackOp::create(builder, loc, type, codes, scales, offsets, steps);
}
