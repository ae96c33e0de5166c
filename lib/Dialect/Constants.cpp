//===- Constants.cpp - Weights that are constants in the IR ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/Constants.h"

#include "DialectImpl.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::EncodedWeight;
using ::qlinear::Encoding;
using ::qlinear::MetaStorage;
using ::qlinear::StepScope;

/// The elements of a constant tensor as they lie in memory (i4 takes a byte),
/// or a single one if they are all the same. Null data if not available.
static std::optional<ArrayRef<char>> rawElements(Value value) {
  Attribute attr;
  if (!value || !matchPattern(value, m_Constant(&attr)))
    return std::nullopt;
  if (auto dense = dyn_cast<DenseElementsAttr>(attr))
    return dense.getRawData();
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr))
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      return blob->getData();
  return std::nullopt;
}

/// The bits of each element, zero-extended from `mask`.
static bool readBits(Value value, uint32_t mask, uint32_t bias,
                     llvm::function_ref<void(size_t, uint32_t)> store) {
  std::optional<ArrayRef<char>> data = rawElements(value);
  if (!data)
    return false;
  auto type = cast<RankedTensorType>(value.getType());
  size_t width = llvm::divideCeil(type.getElementTypeBitWidth(), 8);
  size_t count = type.getNumElements();
  if (data->size() != count * width && data->size() != width)
    return false;
  size_t stride = data->size() == width ? 0 : width;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, data->data() + i * stride, width);
    store(i, (bits + bias) & mask);
  }
  return true;
}

static uint32_t maskOf(unsigned bits) { return bits >= 32 ? ~0u : (1u << bits) - 1; }

static bool readBits(Value value, uint32_t mask, std::vector<uint32_t> &elements) {
  if (!value)
    return true;
  elements.resize(cast<RankedTensorType>(value.getType()).getNumElements());
  return readBits(value, mask, 0, [&](size_t i, uint32_t bits) { elements[i] = bits; });
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
  w.fields.resize(w.N * w.K);
  const Encoding &e = w.encoding;
  // A field is the code plus its bias, in the low bits.
  if (!readBits(pack.getCodes(), maskOf(e.codes.bits), e.codes.bias(),
                [&](size_t i, uint32_t bits) { w.fields[i] = uint8_t(bits); }) ||
      !readBits(pack.getScales(), maskOf(e.scale.fieldBits()), w.scaleFields) ||
      !readBits(pack.getOffsets(), maskOf(e.offset.fieldBits()), w.offsetFields) ||
      !readBits(pack.getScaleSteps(), ~0u, w.scaleSteps) ||
      !readBits(pack.getOffsetSteps(), ~0u, w.offsetSteps))
    return failure();
  return w;
}

/// A constant tensor with these bits as elements.
template <typename T>
static Value createConstant(OpBuilder &builder, Location loc, ArrayRef<int64_t> shape,
                            Type element, ArrayRef<T> bits, unsigned codeBits,
                            bool isSigned, int bias = 0) {
  auto type = RankedTensorType::get(shape, element);
  size_t width = llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
  SmallVector<char> raw(bits.size() * width);
  for (auto [i, value] : llvm::enumerate(bits)) {
    int64_t code = int64_t(value) - bias;
    if (isSigned && bias == 0 && (value >> (codeBits - 1) & 1))
      code -= int64_t(1) << codeBits;
    // Narrow elements are stored zero-extended.
    uint32_t stored = uint32_t(code) & maskOf(element.getIntOrFloatBitWidth());
    std::memcpy(raw.data() + i * width, &stored, width);
  }
  return arith::ConstantOp::create(builder, loc,
                                   DenseElementsAttr::getFromRawBuffer(type, raw));
}

PackOp mlir::qlinear::createConstantWeight(OpBuilder &builder, Location loc,
                                           const EncodedWeight &w, bool narrow) {
  MLIRContext *context = builder.getContext();
  const Encoding &e = w.encoding;
  auto type = WeightType::get(context, w.N, w.K, EncodingAttr::get(context, e));
  int64_t n = type.getN(), groups = type.getGroups();

  Value codes = createConstant<uint8_t>(
      builder, loc, {n, type.getK()}, builder.getIntegerType(narrow ? e.codes.bits : 8),
      w.fields, e.codes.bits, e.codes.isSigned, e.codes.bias());
  auto meta = [&](const MetaStorage &m, const std::vector<uint32_t> &fields) -> Value {
    if (m.kind == MetaStorage::Kind::none)
      return {};
    Type element = m.kind == MetaStorage::Kind::plain ? Type(toMLIR(m.type, context))
                                                      : builder.getIntegerType(m.bits);
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
