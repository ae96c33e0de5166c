//===- RaiseFrontends.cpp - Values of other dialects, for raising ---------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "RaiseFrontends.h"

#include "qlinear/Dialect/Constants.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace mlir::qlinear;

Frontends::Frontends(MLIRContext *context)
    : context(context), builder(context, &listener) {}

//===----------------------------------------------------------------------===//
// Names, types and parameters
//===----------------------------------------------------------------------===//

StringRef Frontends::nameOf(Operation *op) {
  StringRef name = op->getName().getStringRef();
  if (name == "torch.operator" || name == "onnx.Custom")
    if (auto attribute = dyn_cast_or_null<StringAttr>(
            attributeOf(op, name == "onnx.Custom" ? "function_name" : "name")))
      name = attribute.getValue();
  name.consume_front("torch.");
  name.consume_back(".default");
  return name;
}

Attribute Frontends::attributeOf(Operation *op, StringRef name) {
  for (StringRef prefix : {"", "torch.onnx.", "torch."})
    if (Attribute attribute = op->getAttr((prefix + name).str()))
      return attribute;
  return {};
}

/// "si8": the builtin type with its sign.
static std::optional<std::pair<Type, std::optional<bool>>>
parseElement(StringRef text, MLIRContext *c) {
  if (text == "f32")
    return std::pair(Type(Float32Type::get(c)), std::optional<bool>());
  if (text == "f16")
    return std::pair(Type(Float16Type::get(c)), std::optional<bool>());
  if (text == "bf16")
    return std::pair(Type(BFloat16Type::get(c)), std::optional<bool>());
  bool isSigned = text.consume_front("s");
  bool isUnsigned = !isSigned && text.consume_front("u");
  unsigned width;
  if (!text.consume_front("i") || text.getAsInteger(10, width) || width == 0 ||
      width > 64)
    return std::nullopt;
  return std::pair(Type(IntegerType::get(c, width)),
                   isSigned || isUnsigned ? std::optional(isSigned) : std::nullopt);
}

std::optional<TensorInfo> Frontends::infoOf(Type type) {
  MLIRContext *context = type.getContext();
  if (auto tensor = dyn_cast<RankedTensorType>(type)) {
    auto integer = dyn_cast<IntegerType>(tensor.getElementType());
    if (!integer || integer.isSignless())
      return TensorInfo{tensor, std::nullopt};
    return TensorInfo{tensor.clone(IntegerType::get(context, integer.getWidth())),
                      integer.isSigned()};
  }
  // !torch.vtensor<[4,?],si8>, whether the dialect is registered or not.
  if (type.getDialect().getNamespace() != "torch" &&
      !(isa<OpaqueType>(type) &&
        cast<OpaqueType>(type).getDialectNamespace() == "torch"))
    return std::nullopt;
  std::string text;
  llvm::raw_string_ostream(text) << type;
  StringRef rest(text);
  if (!rest.consume_front("!torch.vtensor<[") || !rest.consume_back(">"))
    return std::nullopt;
  auto [sizes, element] = rest.split(']');
  SmallVector<int64_t> shape;
  SmallVector<StringRef> parts;
  sizes.split(parts, ',', -1, /*KeepEmpty=*/false);
  for (StringRef part : parts) {
    int64_t size = ShapedType::kDynamic;
    if (part.trim() != "?" && part.trim().getAsInteger(10, size))
      return std::nullopt;
    shape.push_back(size);
  }
  element.consume_front(",");
  auto parsed = parseElement(element.trim(), context);
  if (!parsed)
    return std::nullopt;
  return TensorInfo{RankedTensorType::get(shape, parsed->first), parsed->second};
}

static Value skipDerefine(Value value) {
  Operation *def = value.getDefiningOp();
  while (def && def->getName().getStringRef() == "torch.derefine") {
    value = def->getOperand(0);
    def = value.getDefiningOp();
  }
  return value;
}

bool Frontends::isNone(Value value) {
  value = skipDerefine(value);
  if (isa<NoneType>(value.getType()))
    return true;
  Operation *def = value.getDefiningOp();
  return def && (def->getName().getStringRef() == "torch.constant.none" ||
                 def->getName().getStringRef() == "onnx.NoValue");
}

static std::optional<int64_t> getInteger(Attribute attribute) {
  auto integer = dyn_cast_or_null<IntegerAttr>(attribute);
  if (!integer || integer.getValue().getSignificantBits() > 64)
    return std::nullopt;
  auto type = dyn_cast<IntegerType>(integer.getType());
  return type && type.isUnsigned() ? int64_t(integer.getValue().getZExtValue())
                                   : integer.getValue().getSExtValue();
}

std::optional<int64_t> Frontends::integerOf(Value value) {
  value = skipDerefine(value);
  Attribute attribute;
  if (matchPattern(value, m_Constant(&attribute)))
    return getInteger(attribute);
  Operation *def = value.getDefiningOp();
  if (def && def->getName().getStringRef() == "torch.constant.int")
    return getInteger(attributeOf(def, "value"));
  return std::nullopt;
}

static std::optional<SmallVector<int64_t>> getIntegers(Attribute attribute) {
  if (auto array = dyn_cast_or_null<DenseI64ArrayAttr>(attribute))
    return SmallVector<int64_t>(array.asArrayRef());
  auto array = dyn_cast_or_null<ArrayAttr>(attribute);
  if (!array)
    return std::nullopt;
  SmallVector<int64_t> result;
  for (Attribute element : array) {
    std::optional<int64_t> integer = getInteger(element);
    if (!integer)
      return std::nullopt;
    result.push_back(*integer);
  }
  return result;
}

std::optional<SmallVector<int64_t>> Frontends::integersOf(Operation *op, StringRef name,
                                                          unsigned at) {
  if (auto result = getIntegers(attributeOf(op, name)))
    return result;
  if (at >= op->getNumOperands())
    return std::nullopt;
  Operation *list = op->getOperand(at).getDefiningOp();
  if (!list || list->getName().getStringRef() != "torch.prim.ListConstruct")
    return std::nullopt;
  SmallVector<int64_t> result;
  for (Value value : list->getOperands()) {
    std::optional<int64_t> integer = integerOf(value);
    if (!integer)
      return std::nullopt;
    result.push_back(*integer);
  }
  return result;
}

std::optional<int64_t> Frontends::integerOf(Operation *op, StringRef name,
                                            unsigned at) {
  if (std::optional<int64_t> value = getInteger(attributeOf(op, name)))
    return value;
  return at < op->getNumOperands() ? integerOf(op->getOperand(at)) : std::nullopt;
}

StringRef Frontends::stringOf(Operation *op, StringRef name, unsigned at) {
  Attribute attribute = attributeOf(op, name);
  if (!attribute && at < op->getNumOperands())
    if (Operation *def = op->getOperand(at).getDefiningOp();
        def && def->getName().getStringRef() == "torch.constant.str")
      attribute = attributeOf(def, "value");
  auto text = dyn_cast_or_null<StringAttr>(attribute);
  return text ? text.getValue() : StringRef();
}

SmallVector<Value> Frontends::tensorsOf(Operation *op) {
  return llvm::filter_to_vector(op->getOperands(),
                                [](Value v) { return isTensor(v) || isNone(v); });
}

StringRef Frontends::whyNot(Value value) const {
  while (Operation *def = value.getDefiningOp()) {
    if (auto it = reasons.find(def); it != reasons.end())
      return it->second;
    if (!isPassedOn(def))
      break;
    value = def->getOperand(0);
  }
  return {};
}

/// Whether every use of a tensor is, or leads to, a contraction.
bool Frontends::leadsToContractions(Value value, unsigned depth) const {
  if (depth == 0)
    return false;
  return llvm::all_of(value.getUsers(), [&](Operation *user) {
    if (listener.created.contains(user))
      return true;
    if (auto op = dyn_cast<linalg::LinalgOp>(user))
      if (op.getNumReductionLoops())
        return op.getNumDpsInputs() > 1;
    if (isContraction(nameOf(user)))
      return true;
    bool isMoved = isPassedOn(user) ||
                   isa<tensor::CastOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp,
                       tensor::ExtractSliceOp, linalg::TransposeOp, linalg::BroadcastOp,
                       arith::ExtFOp, arith::TruncFOp>(user);
    if (auto op = dyn_cast<linalg::GenericOp>(user))
      isMoved = op.getNumDpsInputs() == 1 && op.getBlock()->getOperations().size() <= 2;
    return isMoved && user->getNumResults() == 1 && !user->use_empty() &&
           leadsToContractions(user->getResult(0), depth - 1);
  });
}

bool Frontends::isShared(Value value, bool isWeight) const {
  auto uses = llvm::count_if(value.getUsers(), [&](Operation *user) {
    return !listener.created.contains(user);
  });
  if (uses > 1)
    return !isWeight || !leadsToContractions(value, /*depth=*/8);
  Operation *def = value.getDefiningOp();
  return def && isPassedOn(def) && isShared(def->getOperand(0), isWeight);
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

/// The elements of a constant of any dialect, or of a global that never changes.
ElementsAttr Frontends::constantOf(Value value) {
  if (ElementsAttr elements = getConstantElements(value))
    return elements;
  Operation *def = value.getDefiningOp();
  if (!def)
    return {};
  StringRef name = nameOf(def);
  if (name == "vtensor.literal" || name == "onnx.Constant")
    return dyn_cast_or_null<ElementsAttr>(attributeOf(def, "value"));
  return name == "torch_c.to_builtin_tensor" || name == "torch_c.from_builtin_tensor" ||
                 name == "tensor.bitcast"
             ? constantOf(def->getOperand(0))
             : ElementsAttr();
}

/// The same elements, signless.
static TypedAttr withType(ElementsAttr elements, RankedTensorType type) {
  if (elements.getShapedType() == type)
    return cast<TypedAttr>(elements);
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(elements))
    return DenseResourceElementsAttr::get(type, resource.getRawHandle());
  if (auto dense = dyn_cast<DenseElementsAttr>(elements))
    return DenseElementsAttr::getFromRawBuffer(type, dense.getRawData());
  return {};
}

/// Whether an operation of a dialect that may not be linked can be made.
static bool canCreate(MLIRContext *context, StringRef name) {
  return context->allowsUnregisteredDialects() ||
         RegisteredOperationName::lookup(name, context);
}

Value Frontends::toBuiltin(Value value) {
  std::optional<TensorInfo> info = infoOf(value.getType());
  if (!info)
    return {};
  Operation *def = value.getDefiningOp();
  bool isConverted = value.getType() == info->type;
  if (isConverted && (!def || nameOf(def) != "onnx.Constant"))
    return value;
  if (def && nameOf(def) == "torch_c.from_builtin_tensor")
    return def->getOperand(0);
  if (Value known = converted.lookup(value))
    return known;
  builder.setInsertionPointAfterValue(value);
  Value result;
  ElementsAttr elements = constantOf(value);
  if (TypedAttr typed = elements ? withType(elements, info->type) : TypedAttr()) {
    result = arith::ConstantOp::create(builder, value.getLoc(), info->type, typed);
  } else if (isa<RankedTensorType>(value.getType())) {
    result = isConverted ? value
                         : tensor::BitcastOp::create(builder, value.getLoc(),
                                                     info->type, value);
  } else if (canCreate(context, "torch_c.to_builtin_tensor")) {
    OperationState state(value.getLoc(), "torch_c.to_builtin_tensor", value,
                         TypeRange(info->type));
    result = builder.create(state)->getResult(0);
  }
  return converted[value] = result;
}

Value Frontends::fromBuiltin(OpBuilder &b, Location loc, Value value, Type type) {
  if (value.getType() == type)
    return value;
  if (isa<RankedTensorType>(type))
    return tensor::CastOp::create(b, loc, type, value);
  OperationState state(loc, "torch_c.from_builtin_tensor", value, TypeRange(type));
  return b.create(state)->getResult(0);
}

Value Frontends::reshape(OpBuilder &b, Location loc, Value tensor,
                         ArrayRef<int64_t> shape) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (type.getShape() == shape)
    return tensor;
  // Through one dimension: the analysis sees through both reshapes.
  auto all = [](size_t rank) {
    SmallVector<ReassociationIndices> groups;
    if (rank)
      groups.push_back(llvm::to_vector<2>(llvm::seq<int64_t>(0, rank)));
    return groups;
  };
  Type element = type.getElementType();
  if (type.getRank() != 1)
    tensor = type.getRank() == 0 ? Value(tensor::ExpandShapeOp::create(
                                       b, loc, RankedTensorType::get({1}, element),
                                       tensor, ArrayRef<ReassociationIndices>()))
                                 : Value(tensor::CollapseShapeOp::create(
                                       b, loc, tensor, all(type.getRank())));
  if (shape.size() == 1)
    return tensor;
  auto result = RankedTensorType::get(shape, element);
  if (shape.empty())
    return tensor::CollapseShapeOp::create(b, loc, result, tensor,
                                           ArrayRef<ReassociationIndices>());
  return tensor::ExpandShapeOp::create(b, loc, result, tensor, all(shape.size()));
}

/// A constant of integers of at most 8 bits.
static Value createCodes(OpBuilder &b, Location loc, RankedTensorType type,
                         ArrayRef<uint8_t> codes) {
  ArrayRef<char> raw(reinterpret_cast<const char *>(codes.data()), codes.size());
  return arith::ConstantOp::create(b, loc,
                                   DenseElementsAttr::getFromRawBuffer(type, raw));
}

/// Bytes of a constant, one for each of `count`; empty if they are not there.
static SmallVector<uint8_t> getBytes(ElementsAttr elements, int64_t count) {
  SmallVector<uint8_t> result;
  std::optional<ArrayRef<char>> raw;
  if (elements && elements.getElementType().getIntOrFloatBitWidth() <= 8)
    raw = getRawElements(elements);
  if (!raw || (raw->size() != 1 && int64_t(raw->size()) != count))
    return result;
  result.resize(count);
  for (int64_t i = 0; i < count; ++i)
    result[i] = uint8_t((*raw)[raw->size() == 1 ? 0 : i]);
  return result;
}

Value Frontends::unpack(OpBuilder &b, Location loc, Value bytes, unsigned bits,
                        int64_t rows, int64_t columns) {
  // A code has at least four bits.
  auto type =
      RankedTensorType::get({rows, columns}, b.getIntegerType(std::max(bits, 4u)));
  int64_t perByte = 8 / bits, bytesPerRow = llvm::divideCeil(columns, perByte);
  uint8_t mask = uint8_t((1u << bits) - 1);
  if (SmallVector<uint8_t> raw = getBytes(constantOf(bytes), rows * bytesPerRow);
      !raw.empty()) {
    SmallVector<uint8_t> codes(rows * columns);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        codes[r * columns + c] =
            (raw[r * bytesPerRow + c / perByte] >> (c % perByte * bits)) & mask;
    return createCodes(b, loc, type, codes);
  }
  Value source = reshape(b, loc, bytes, {rows, bytesPerRow});
  if (bits == 8)
    return source;
  AffineExpr r = b.getAffineDimExpr(0), c = b.getAffineDimExpr(1);
  AffineMap maps[] = {AffineMap::get(2, 0, {r, c.floorDiv(perByte)}, b.getContext()),
                      b.getMultiDimIdentityMap(2)};
  utils::IteratorType kinds[] = {utils::IteratorType::parallel,
                                 utils::IteratorType::parallel};
  Value empty = tensor::EmptyOp::create(b, loc, type.getShape(), type.getElementType());
  auto body = [&](OpBuilder &b, Location loc, ValueRange args) {
    auto constant = [&](int64_t v) -> Value {
      return arith::ConstantOp::create(b, loc, b.getI8IntegerAttr(v));
    };
    Value column = linalg::IndexOp::create(b, loc, 1);
    Value index = arith::IndexCastOp::create(b, loc, b.getI8Type(), column);
    Value place = arith::AndIOp::create(b, loc, index, constant(perByte - 1));
    Value shift = arith::MulIOp::create(b, loc, place, constant(bits));
    Value field = arith::ShRUIOp::create(b, loc, args[0], shift);
    if (bits < 4)
      field = arith::AndIOp::create(b, loc, field, constant(mask));
    linalg::YieldOp::create(
        b, loc, Value(arith::TruncIOp::create(b, loc, type.getElementType(), field)));
  };
  return linalg::GenericOp::create(b, loc, type, source, empty, maps, kinds, body)
      .getResult(0);
}

/// Makes the codes as narrow as their range allows; a code in the middle of an unsigned
/// range becomes 0. Declines a constant that is out of the range.
LogicalResult Frontends::narrow(OpBuilder &b, Operation *op, Dequantization &d) {
  auto type = cast<RankedTensorType>(d.codes.getType());
  unsigned width = type.getElementTypeBitWidth(), bits = width;
  if (d.range) {
    auto [low, high] = *d.range;
    for (unsigned candidate : {8u, 6u, 5u, 4u})
      if (candidate <= width &&
          (d.isSigned ? low >= -(1 << (candidate - 1)) && high < 1 << (candidate - 1)
                      : low >= 0 && high < 1 << candidate))
        bits = candidate;
  }
  uint8_t flip = 0;
  if (d.middle && *d.middle != 0) {
    if (d.isSigned || *d.middle != double(int64_t(1) << (bits - 1))) {
      decline(op, "the zero point is a float that counts from the code " +
                      Twine(int64_t(*d.middle)) +
                      "; that is supported for 2^(bits - 1) of "
                      "unsigned codes, and for 0 of signed ones");
      return failure();
    }
    flip = uint8_t(1u << (bits - 1));
    d.isSigned = true;
  }
  if (bits == width && !flip)
    return success();
  RankedTensorType narrow = type.clone(b.getIntegerType(bits));
  int64_t count = type.hasStaticShape() ? type.getNumElements() : 0;
  if (SmallVector<uint8_t> raw = getBytes(constantOf(d.codes), count); !raw.empty()) {
    bool wasSigned = d.isSigned && !flip;
    for (auto [i, byte] : llvm::enumerate(raw)) {
      int value = wasSigned && width == 8 ? int(int8_t(byte)) : int(byte);
      if (d.range && (value < d.range->first || value > d.range->second)) {
        decline(op,
                "the code " + Twine(value) + " at " + Twine(i) +
                    " is outside of its range, quant_min = " + Twine(d.range->first) +
                    " to quant_max = " + Twine(d.range->second));
        return failure();
      }
      byte = (byte ^ flip) & uint8_t((1u << bits) - 1);
    }
    d.codes = createCodes(b, op->getLoc(), narrow, raw);
    return success();
  }
  Location loc = op->getLoc();
  Value empty = tensor::EmptyOp::create(b, loc, tensor::getMixedSizes(b, loc, d.codes),
                                        narrow.getElementType());
  SmallVector<AffineMap> maps(2, b.getMultiDimIdentityMap(type.getRank()));
  SmallVector<utils::IteratorType> kinds(type.getRank(), utils::IteratorType::parallel);
  auto body = [&](OpBuilder &b, Location loc, ValueRange args) {
    Value code = args[0];
    if (bits < width)
      code = arith::TruncIOp::create(b, loc, narrow.getElementType(), code);
    if (flip) {
      auto mask = b.getIntegerAttr(code.getType(), APInt(bits, flip));
      code =
          arith::XOrIOp::create(b, loc, code, arith::ConstantOp::create(b, loc, mask));
    }
    linalg::YieldOp::create(b, loc, code);
  };
  d.codes = linalg::GenericOp::create(b, loc, narrow, d.codes, empty, maps, kinds, body)
                .getResult(0);
  return success();
}

Value Frontends::narrowZeros(OpBuilder &b, Location loc, Value zeros, bool &isSigned) {
  auto type = dyn_cast<IntegerType>(getElementTypeOrSelf(zeros.getType()));
  auto dense = dyn_cast_or_null<DenseIntElementsAttr>(constantOf(zeros));
  if (!type || type.getWidth() <= 8 || !dense)
    return zeros;
  SmallVector<uint8_t> bytes;
  int64_t low = 0, high = 0;
  for (const APInt &value : dense.getValues<APInt>()) {
    if (value.getSignificantBits() > 32)
      return zeros;
    int64_t zero = isSigned ? value.getSExtValue() : int64_t(value.getZExtValue());
    low = std::min(low, zero);
    high = std::max(high, zero);
    bytes.push_back(uint8_t(zero));
  }
  if (low < -128 || high > (low < 0 ? 127 : 255))
    return zeros;
  isSigned = low < 0;
  unsigned bits = isSigned ? (low >= -8 && high < 8 ? 4 : 8) : high < 16 ? 4 : 8;
  for (uint8_t &byte : bytes)
    byte &= uint8_t((1u << bits) - 1);
  return createCodes(
      b, loc, cast<RankedTensorType>(zeros.getType()).clone(b.getIntegerType(bits)),
      bytes);
}

//===----------------------------------------------------------------------===//
// Cleaning up
//===----------------------------------------------------------------------===//

void Frontends::eraseDead(ArrayRef<Operation *> operations) {
  llvm::SetVector<Operation *> candidates;
  candidates.insert_range(operations);
  for (size_t i = 0; i < candidates.size(); ++i)
    for (Value operand : candidates[i]->getOperands())
      if (Operation *def = operand.getDefiningOp())
        candidates.insert(def);
  for (bool changed = true; changed;)
    changed = candidates.remove_if([&](Operation *op) {
      // The operations of other dialects that are understood have no effects.
      bool isReplaced = llvm::is_contained(operations, op);
      if (!op->use_empty() || !(isReplaced || isPure(op) || isOpTriviallyDead(op)))
        return false;
      listener.created.remove(op);
      op->erase();
      return true;
    });
}

void Frontends::eraseUnused() {
  for (Operation *op : llvm::to_vector(llvm::reverse(listener.created)))
    if (op->use_empty()) {
      listener.created.remove(op);
      op->erase();
    }
}
