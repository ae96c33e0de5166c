//===- RaiseDequantize.cpp - Dequantize operations of other dialects ------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// operation                                          | operands
// torchao.dequantize_affine                          | q, block_size, s, z?, dtype,
// min, max quantized_decomposed.dequantize_per_channel_group  | q, s, z, min, max,
// dtype, group quantized_decomposed.dequantize_per_channel        | q, s, z, axis, min,
// max, dtype onnx.DequantizeLinear {axis, block_size}           | q, s, z?
// iree_linalg_ext.dequantize_affine {indexing_maps}  | q, s, z?, init
// quant.dcast                                        | q; s and z are in its type
//
//===----------------------------------------------------------------------===//
#include "RaiseFrontends.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace mlir::qlinear;

bool Frontends::isPassedOn(Operation *op) {
  return llvm::is_contained<StringRef>(
             {"torch_c.to_builtin_tensor", "torch_c.from_builtin_tensor", "aten.t",
              "aten.numpy_T", "aten.transpose.int", "aten.permute", "aten.to.dtype",
              "aten._to_copy", "aten.detach", "aten.contiguous",
              "prims.convert_element_type", "onnx.Transpose", "onnx.Cast",
              "onnx.Identity"},
             nameOf(op)) &&
         op->getNumOperands() != 0 && op->getNumResults() == 1;
}

bool Frontends::isDequantization(Operation *op) {
  return llvm::is_contained<StringRef>(
             {"torchao.dequantize_affine", "quant.dequantize_affine",
              "torchao.dequantize_affine_tinygemm",
              "torchao.dequantize_affine_no_zero_point",
              "quantized_decomposed.dequantize_per_channel_group",
              "quantized_decomposed.dequantize_per_channel",
              "quantized_decomposed.dequantize_per_tensor.tensor",
              "onnx.DequantizeLinear", "iree_linalg_ext.dequantize_affine",
              "quant.dcast"},
             nameOf(op)) &&
         op->getNumOperands() != 0 && op->getNumResults() == 1;
}

bool Frontends::isIntegerCast(Operation *op) {
  if (!llvm::is_contained<StringRef>(
          {"aten.to.dtype", "aten._to_copy", "prims.convert_element_type", "onnx.Cast"},
          nameOf(op)) ||
      op->getNumOperands() == 0 || op->getNumResults() != 1)
    return false;
  std::optional<TensorInfo> from = infoOf(op->getOperand(0).getType()),
                            to = infoOf(op->getResult(0).getType());
  auto integer = from ? dyn_cast<IntegerType>(from->type.getElementType()) : nullptr;
  return integer && integer.getWidth() > 1 && integer.getWidth() <= 8 && to &&
         from->type.getRank() == 2 && from->type.hasStaticShape() &&
         isa<FloatType>(to->type.getElementType());
}

bool Frontends::isDequantized(Value value) {
  Operation *def = value.getDefiningOp();
  while (def && isPassedOn(def) && !isIntegerCast(def))
    def = def->getOperand(0).getDefiningOp();
  return def && (isDequantization(def) || isIntegerCast(def));
}

bool Frontends::isPure(Operation *op) {
  return isPassedOn(op) || isDequantization(op) ||
         llvm::is_contained<StringRef>(
             {"constant.int", "constant.float", "constant.none", "constant.str",
              "constant.bool", "prim.ListConstruct", "derefine", "vtensor.literal",
              "onnx.Constant", "onnx.NoValue", "util.global.load",
              "ml_program.global_load_const"},
             nameOf(op));
}

Value Frontends::lower(Value value) {
  Operation *def = value.getDefiningOp();
  if (!def || !isDequantized(value) || reasons.contains(def))
    return {};
  if (Value known = lowered.lookup(value))
    return known;
  builder.setInsertionPointAfter(def);
  Value result = lowerOp(def);
  if (!result)
    return {};
  // Nobody has verified an operation of a dialect that is not linked.
  if (cast<RankedTensorType>(result.getType()).getShape() !=
      infoOf(value.getType())->type.getShape()) {
    decline(def, "the result of " + nameOf(def) +
                     " has another shape than its operands "
                     "make");
    return {};
  }
  return lowered[value] = result;
}

/// The order of the dimensions; none (with a reason) if it is not known.
std::optional<SmallVector<int64_t>> Frontends::permutationOf(Operation *op,
                                                             int64_t rank) {
  StringRef name = nameOf(op);
  SmallVector<int64_t> result = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  auto wrap = [&](int64_t dim) { return dim < 0 ? dim + rank : dim; };
  if (name == "aten.transpose.int") {
    std::optional<int64_t> a = integerOf(op, "dim0", 1), b = integerOf(op, "dim1", 2);
    if (!a || !b || wrap(*a) < 0 || wrap(*a) >= rank || wrap(*b) < 0 ||
        wrap(*b) >= rank)
      return decline(op, name + ": the dimensions are not constants within the rank");
    std::swap(result[wrap(*a)], result[wrap(*b)]);
  } else if (name == "aten.permute" || name == "onnx.Transpose") {
    auto order = integersOf(op, name == "aten.permute" ? "dims" : "perm", 1);
    if (!order && name == "aten.permute")
      return decline(op, "aten.permute: the dimensions are not constants");
    if (!order)
      order = llvm::to_vector(llvm::reverse(result));
    for (int64_t &dim : *order)
      dim = wrap(dim);
    result = *order;
    if (!isPermutationVector(result) || int64_t(result.size()) != rank)
      return decline(op, name + ": the order of the dimensions is no permutation");
  } else {
    std::reverse(result.begin(), result.end());
  }
  return result;
}

Value Frontends::lowerOp(Operation *op) {
  StringRef name = nameOf(op);
  std::optional<TensorInfo> info = infoOf(op->getResult(0).getType());
  if (!info) {
    decline(op, name + ": the result is not a tensor of known shape and type; run "
                       "shape inference first, or convert to builtin tensors");
    return {};
  }
  if (isIntegerCast(op)) {
    Dequantization d;
    d.codes = toBuiltin(op->getOperand(0));
    if (!d.codes) {
      decline(op, "!torch.vtensor needs torch_c.to_builtin_tensor; load that dialect, "
                  "or allow unregistered ones");
      return {};
    }
    d.isSigned = infoOf(op->getOperand(0).getType())->isSigned.value_or(true);
    builder.setInsertionPointAfter(op);
    auto one = RankedTensorType::get({}, builder.getF32Type());
    d.scale = arith::ConstantOp::create(builder, op->getLoc(),
                                        DenseElementsAttr::get(one, 1.0f));
    d.scaleMap = AffineMap::get(2, 0, {}, context);
    return build(builder, op, d, info->type);
  }
  if (isPassedOn(op)) {
    bool isTransposition =
        llvm::is_contained<StringRef>({"aten.t", "aten.numpy_T", "aten.transpose.int",
                                       "aten.permute", "onnx.Transpose"},
                                      name);
    Value source = lower(op->getOperand(0));
    if (!source || !isTransposition)
      return source;
    auto order = permutationOf(op, info->type.getRank());
    if (!order)
      return {};
    builder.setInsertionPointAfter(op);
    auto type = cast<RankedTensorType>(source.getType());
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(builder, op->getLoc(), source);
    Value empty = tensor::EmptyOp::create(
        builder, op->getLoc(), applyPermutation(sizes, *order), type.getElementType());
    return linalg::TransposeOp::create(builder, op->getLoc(), source, empty, *order)
        ->getResult(0);
  }
  std::optional<Dequantization> d;
  if (name == "quant.dcast")
    d = quantCast(op);
  else if (name == "onnx.DequantizeLinear")
    d = onnxDequantize(op);
  else if (name == "iree_linalg_ext.dequantize_affine")
    d = linalgExtDequantize(op);
  else if (name.starts_with("quantized_decomposed."))
    d = torchChannels(op);
  else
    d = torchBlocks(op);
  if (!d)
    return {};
  builder.setInsertionPointAfter(op);
  return build(builder, op, *d, info->type);
}

/// A value as f32.
static Value toF32(OpBuilder &b, Location loc, Value value) {
  return value.getType().isF32() ? value
                                 : arith::ExtFOp::create(b, loc, b.getF32Type(), value);
}

Value Frontends::build(OpBuilder &b, Operation *op, Dequantization d,
                       RankedTensorType type) {
  Location loc = op->getLoc();
  auto isFloat = [](Type t) { return t.isF32() || t.isF16() || t.isBF16(); };
  Type scaleType = getElementTypeOrSelf(d.scale.getType());
  Type zeroType = d.zero ? getElementTypeOrSelf(d.zero.getType()) : Type();
  if (!isa<IntegerType>(getElementTypeOrSelf(d.codes.getType())) ||
      !isFloat(type.getElementType()) || !isFloat(scaleType) ||
      (zeroType && !isa<IntegerType>(zeroType) && !isFloat(zeroType))) {
    decline(op, nameOf(op) + " of element types other than integer codes, f32, f16 or "
                             "bf16 scales and results, and integer or float zeros");
    return {};
  }
  auto codes = cast<RankedTensorType>(d.codes.getType());
  if (!d.resultMap && type.getShape() != codes.getShape()) {
    decline(op, "the result of " + nameOf(op) +
                    " has another shape than its operands make");
    return {};
  }
  if (failed(narrow(b, op, d)))
    return {};
  if (d.zero) {
    d.zero = narrowZeros(b, loc, d.zero, d.isZeroSigned);
    zeroType = getElementTypeOrSelf(d.zero.getType());
  }
  int64_t rank = codes.getRank();
  AffineMap identity = b.getMultiDimIdentityMap(rank);
  SmallVector<Value> inputs = {d.codes, d.scale};
  SmallVector<AffineMap> maps = {d.codeMap ? d.codeMap : identity, d.scaleMap};
  if (d.zero) {
    inputs.push_back(d.zero);
    maps.push_back(d.zeroMap);
  }
  maps.push_back(d.resultMap ? d.resultMap : identity);
  SmallVector<utils::IteratorType> kinds(maps.front().getNumDims(),
                                         utils::IteratorType::parallel);
  Value empty = tensor::EmptyOp::create(b, loc, type.getShape(), type.getElementType());
  auto body = [&](OpBuilder &b, Location loc, ValueRange args) {
    Type f32 = b.getF32Type();
    auto toFloat = [&](Value integer, bool isSigned) -> Value {
      if (isSigned)
        return arith::SIToFPOp::create(b, loc, f32, integer);
      return arith::UIToFPOp::create(b, loc, f32, integer);
    };
    Value w = toFloat(args[0], d.isSigned);
    Value zero = d.zero ? args[2] : Value();
    if (zero && isa<IntegerType>(zeroType))
      zero = toFloat(zero, d.isZeroSigned);
    else if (zero)
      zero = toF32(b, loc, zero);
    if (zero && !d.middle)
      w = arith::SubFOp::create(b, loc, w, zero);
    w = arith::MulFOp::create(b, loc, w, toF32(b, loc, args[1]));
    if (zero && d.middle)
      w = arith::AddFOp::create(b, loc, w, zero);
    if (!type.getElementType().isF32())
      w = arith::TruncFOp::create(b, loc, type.getElementType(), w);
    linalg::YieldOp::create(b, loc, w);
  };
  return linalg::GenericOp::create(b, loc, type, inputs, empty, maps, kinds, body)
      .getResult(0);
}

/// Takes quant_min and quant_max, operands `minAt` and the next, and says whether the
/// codes are signed: as their type does, else the range, else `isSigned`.
void Frontends::setRange(Dequantization &d, Operation *op, std::optional<bool> isSigned,
                         unsigned minAt) {
  std::optional<int64_t> low = integerOf(op, "quant_min", minAt),
                         high = integerOf(op, "quant_max", minAt + 1);
  if (low && high && *low <= *high)
    d.range = {*low, *high};
  d.isSigned = isSigned.value_or(!d.range || d.range->first < 0);
  // Codes that are not negative are the same read either way, and take a bit less.
  unsigned width = getElementTypeOrSelf(d.codes.getType()).getIntOrFloatBitWidth();
  if (d.isSigned && d.range && d.range->first >= 0 &&
      d.range->second < int64_t(1) << (width - 1))
    d.isSigned = false;
}

std::optional<Dequantization> Frontends::codesAndScales(Operation *op,
                                                        ArrayRef<Value> tensors) {
  if (tensors.size() < 2 || !isTensor(tensors[0]) || !isTensor(tensors[1]))
    return decline(op, nameOf(op) + " needs tensors of codes and scales");
  Dequantization d;
  d.codes = toBuiltin(tensors[0]);
  d.scale = toBuiltin(tensors[1]);
  if (!d.codes || !d.scale)
    return decline(op, "!torch.vtensor needs torch_c.to_builtin_tensor; load that "
                       "dialect, or allow unregistered ones");
  return d;
}

LogicalResult Frontends::shapeGroups(Operation *op, StringRef name,
                                     ArrayRef<int64_t> shape,
                                     ArrayRef<AffineExpr> indices, Dequantization &d) {
  int64_t rank = cast<RankedTensorType>(d.codes.getType()).getRank();
  builder.setInsertionPointAfter(op);
  for (Value *tensor : {&d.scale, &d.zero}) {
    if (!*tensor)
      continue;
    auto type = cast<RankedTensorType>(tensor->getType());
    if (!type.hasStaticShape() ||
        type.getNumElements() != ShapedType::getNumElements(shape)) {
      decline(op, name + ": there are not " + Twine(ShapedType::getNumElements(shape)) +
                      " scales and zeros, one for each group");
      return failure();
    }
    *tensor = reshape(builder, op->getLoc(), *tensor, shape);
  }
  d.scaleMap = d.zeroMap = AffineMap::get(unsigned(rank), 0, indices, context);
  return success();
}

std::optional<Dequantization> Frontends::torchBlocks(Operation *op) {
  StringRef name = nameOf(op);
  SmallVector<Value> tensors = tensorsOf(op);
  std::optional<Dequantization> found = codesAndScales(op, tensors);
  if (!found)
    return std::nullopt;
  Dequantization d = *found;
  auto codes = cast<RankedTensorType>(d.codes.getType());
  auto scales = cast<RankedTensorType>(d.scale.getType());
  if (!codes.hasStaticShape() || !scales.hasStaticShape())
    return decline(op, "the group is not constant: the shape of the codes or scales "
                       "is known only at run time");
  // With all the operands there is a list of blocks between the codes and the scales.
  bool isPositional = op->getNumOperands() > 2 && !isTensor(op->getOperand(1));
  unsigned minAt = isPositional ? 5 : ~0u - 1;
  auto blocks = integersOf(op, "block_size", isPositional ? 1 : ~0u);
  if (isPositional && !blocks)
    return decline(op, "the group is not constant: block_size is no list of constants");
  SmallVector<int64_t> groups;
  SmallVector<AffineExpr> indices;
  if (blocks && int64_t(blocks->size()) != codes.getRank())
    return decline(op, "block_size has " + Twine(blocks->size()) + " sizes for " +
                           Twine(codes.getRank()) + " dimensions");
  if (!blocks && scales.getRank() != codes.getRank())
    return decline(op, "there is no block_size, and the scales do not have the rank of "
                       "the codes, which would tell");
  for (auto [i, size] : llvm::enumerate(codes.getShape())) {
    int64_t block = blocks                      ? (*blocks)[i]
                    : scales.getDimSize(i) == 0 ? 0
                                                : size / scales.getDimSize(i);
    if (block == -1)
      block = size;
    if (block <= 0 || size % block || (!blocks && size != block * scales.getDimSize(i)))
      return decline(op, "block_size = " + Twine(block) + " does not divide " +
                             Twine(size) +
                             " (padded last block); pad the codes, or "
                             "choose a block that divides");
    groups.push_back(size / block);
    indices.push_back(block == size ? builder.getAffineConstantExpr(0)
                                    : builder.getAffineDimExpr(i).floorDiv(block));
  }
  int64_t count = ShapedType::getNumElements(groups);
  AffineMap map = AffineMap::get(codes.getRank(), 0, indices, context);
  auto perBlock = [&](Value &tensor, StringRef what) {
    int64_t found = cast<RankedTensorType>(tensor.getType()).getNumElements();
    if (found != count) {
      decline(op, Twine(found) + " " + what + " for " + Twine(count) + " blocks");
      return false;
    }
    builder.setInsertionPointAfter(op);
    tensor = reshape(builder, op->getLoc(), tensor, groups);
    return true;
  };
  if (!perBlock(d.scale, "scales"))
    return std::nullopt;
  d.scaleMap = d.zeroMap = map;
  setRange(d, op, infoOf(tensors[0].getType())->isSigned, minAt);
  StringRef domain = stringOf(op, "zero_point_domain", isPositional ? 7 : ~0u);
  domain.consume_front("ZeroPointDomain.");
  bool hasZero = tensors.size() > 2 && isTensor(tensors[2]) && domain != "NONE";
  if (hasZero) {
    d.zero = toBuiltin(tensors[2]);
    if (!cast<RankedTensorType>(d.zero.getType()).hasStaticShape())
      return decline(op, "the group is not constant: the shape of the zeros is known "
                         "only at run time");
    if (!perBlock(d.zero, "zeros"))
      return std::nullopt;
    d.isZeroSigned = infoOf(tensors[2].getType())->isSigned.value_or(true);
  }
  if (domain == "FLOAT" || name.contains("tinygemm")) {
    if (!d.range)
      return decline(op, "a float zero point counts from the middle of the range; "
                         "quant_min and quant_max are not constants");
    d.middle = double(d.range->first + d.range->second + 1) / 2;
  }
  return d;
}

std::optional<Dequantization> Frontends::torchChannels(Operation *op) {
  StringRef name = nameOf(op);
  bool isGrouped = name.ends_with("_group"), isWhole = name.contains("per_tensor");
  SmallVector<Value> tensors = tensorsOf(op);
  std::optional<Dequantization> found = codesAndScales(op, tensors);
  if (!found)
    return std::nullopt;
  Dequantization d = *found;
  if (tensors.size() > 2 && isTensor(tensors[2])) {
    d.zero = toBuiltin(tensors[2]);
    d.isZeroSigned = infoOf(tensors[2].getType())->isSigned.value_or(true);
  }
  auto codes = cast<RankedTensorType>(d.codes.getType());
  auto scales = cast<RankedTensorType>(d.scale.getType());
  if (!codes.hasStaticShape() || !scales.hasStaticShape())
    return decline(op, "the group is not constant: the shape of the codes or scales "
                       "is known only at run time");
  int64_t rank = codes.getRank();
  SmallVector<AffineExpr> indices;
  SmallVector<int64_t> shape;
  if (isGrouped) {
    std::optional<int64_t> group = integerOf(op, "group_size", 6);
    int64_t K = rank ? codes.getShape().back() : 0;
    if (!group)
      return decline(op, "the group is not constant: group_size is no constant");
    if (rank != 2 || *group <= 0 || K % *group)
      return decline(op, "group_size = " + Twine(*group) +
                             " does not divide K = " + Twine(K) +
                             " (padded last block); pad the codes, or choose "
                             "a group that divides");
    shape = {codes.getDimSize(0), K / *group};
    indices = {builder.getAffineDimExpr(0),
               shape[1] == 1 ? builder.getAffineConstantExpr(0)
                             : builder.getAffineDimExpr(1).floorDiv(*group)};
  } else if (!isWhole) {
    std::optional<int64_t> axis = integerOf(op, "axis", 3);
    if (axis && *axis < 0)
      *axis += rank;
    if (!axis || *axis < 0 || *axis >= rank)
      return decline(op, name + ": the axis is no constant within the rank, " +
                             Twine(rank));
    shape = {codes.getDimSize(*axis)};
    indices = {builder.getAffineDimExpr(*axis)};
  }
  if (failed(shapeGroups(op, name, shape, indices, d)))
    return std::nullopt;
  setRange(d, op, infoOf(tensors[0].getType())->isSigned, isGrouped || isWhole ? 3 : 4);
  return d;
}

std::optional<Dequantization> Frontends::linalgExtDequantize(Operation *op) {
  auto attribute = dyn_cast_or_null<ArrayAttr>(attributeOf(op, "indexing_maps"));
  SmallVector<AffineMap> maps;
  if (attribute)
    for (Attribute map : attribute)
      if (auto typed = dyn_cast<AffineMapAttr>(map))
        maps.push_back(typed.getValue());
  // Codes, scales, perhaps zeros, and the destination of the result.
  size_t count = op->getNumOperands();
  if ((count != 3 && count != 4) || maps.size() != count ||
      !isTensor(op->getOperand(0)))
    return decline(op, "iree_linalg_ext.dequantize_affine needs codes, scales, perhaps "
                       "zeros, an init, and an indexing map for each");
  Dequantization d;
  builder.setInsertionPointAfter(op);
  auto toTensor = [&](Value value) -> Value {
    if (isTensor(value))
      return toBuiltin(value);
    return tensor::FromElementsOp::create(
        builder, op->getLoc(), RankedTensorType::get({}, value.getType()), value);
  };
  d.codes = toTensor(op->getOperand(0));
  d.scale = toTensor(op->getOperand(1));
  d.codeMap = maps[0];
  d.scaleMap = maps[1];
  if (count == 4) {
    d.zero = toTensor(op->getOperand(2));
    d.zeroMap = maps[2];
    d.isZeroSigned = !attributeOf(op, "zp_unsigned");
  }
  d.resultMap = maps.back();
  for (auto [value, map] : llvm::zip_equal(
           SmallVector<Value>{d.codes, d.scale, d.zero, op->getOperands().back()},
           SmallVector<AffineMap>{d.codeMap, d.scaleMap, d.zeroMap, d.resultMap})) {
    auto type = value ? dyn_cast<RankedTensorType>(value.getType()) : nullptr;
    if (value && (!type || type.getRank() != map.getNumResults() ||
                  map.getNumDims() != d.resultMap.getNumDims() || map.getNumSymbols()))
      return decline(op, "iree_linalg_ext.dequantize_affine: an indexing map does not "
                         "fit the rank of its operand");
  }
  if (!d.resultMap.isPermutation() || !d.codeMap.isPermutation())
    return decline(op, "iree_linalg_ext.dequantize_affine: the codes or the result are "
                       "not indexed by a permutation of the loops");
  setRange(d, op, !attributeOf(op, "input_unsigned"), ~0u - 1);
  return d;
}

//===----------------------------------------------------------------------===//
// The quant dialect
//===----------------------------------------------------------------------===//

std::optional<Dequantization> Frontends::quantCast(Operation *op) {
  auto cast = mlir::cast<quant::DequantizeCastOp>(op);
  auto tensor = dyn_cast<RankedTensorType>(cast.getInput().getType());
  auto quantized =
      tensor ? dyn_cast<quant::QuantizedType>(tensor.getElementType()) : nullptr;
  if (!quantized)
    return decline(op, "quant.dcast of something else than a ranked tensor");
  Location loc = op->getLoc();
  Type expressed = quantized.getExpressedType();
  auto storage = dyn_cast<IntegerType>(quantized.getStorageType());
  if (!storage || !isa<FloatType>(expressed))
    return decline(op,
                   "the storage type is no integer, or the expressed type no float");
  Dequantization d;
  d.isSigned = quantized.isSigned();
  d.isZeroSigned = true;
  auto storageType = RankedTensorType::get(
      tensor.getShape(), IntegerType::get(context, storage.getWidth()));
  auto source = cast.getInput().getDefiningOp<quant::StorageCastOp>();
  if (source && source.getInput().getType() == storageType) {
    d.codes = source.getInput();
  } else {
    builder.setInsertionPointAfterValue(cast.getInput());
    d.codes = quant::StorageCastOp::create(builder, loc, storageType, cast.getInput());
  }
  builder.setInsertionPointAfter(op);
  auto floats = [&](ArrayRef<int64_t> shape, ArrayRef<APFloat> values) -> Value {
    auto type = RankedTensorType::get(shape, expressed);
    return arith::ConstantOp::create(builder, loc,
                                     DenseElementsAttr::get(type, values));
  };
  // A zero is a code, so it has its bits.
  auto integers = [&](ArrayRef<int64_t> shape, ArrayRef<int64_t> values) -> Value {
    auto type = RankedTensorType::get(shape, builder.getI64Type());
    return llvm::all_equal(values) && values.front() == 0
               ? Value()
               : arith::ConstantOp::create(builder, loc,
                                           DenseElementsAttr::get(type, values));
  };
  auto rounded = [&](double value) {
    APFloat result(value);
    bool losesInfo;
    result.convert(mlir::cast<FloatType>(expressed).getFloatSemantics(),
                   APFloat::rmNearestTiesToEven, &losesInfo);
    return result;
  };
  SmallVector<AffineExpr> indices;
  if (auto type = dyn_cast<quant::UniformQuantizedType>(quantized)) {
    d.scale = floats({}, rounded(type.getScale()));
    d.zero = integers({}, type.getZeroPoint());
  } else if (auto type = dyn_cast<quant::UniformQuantizedPerAxisType>(quantized)) {
    int64_t axis = type.getQuantizedDimension();
    SmallVector<APFloat> scales = llvm::map_to_vector(type.getScales(), rounded);
    int64_t size = scales.size();
    d.scale = floats(size, scales);
    d.zero = integers(size, type.getZeroPoints());
    indices = {builder.getAffineDimExpr(axis)};
  } else if (auto type = dyn_cast<quant::UniformQuantizedSubChannelType>(quantized)) {
    ArrayRef<int64_t> shape = type.getScales().getType().getShape();
    d.scale = floats(shape, llvm::to_vector(type.getScales().getValues<APFloat>()));
    SmallVector<int64_t> zeros;
    for (const APInt &zero : type.getZeroPoints().getValues<APInt>())
      zeros.push_back(d.isSigned ? zero.getSExtValue() : int64_t(zero.getZExtValue()));
    d.zero = integers(shape, zeros);
    for (unsigned i = 0; i < tensor.getRank(); ++i)
      indices.push_back(builder.getAffineDimExpr(i));
    for (auto [dim, block] :
         llvm::zip_equal(type.getQuantizedDimensions(), type.getBlockSizes()))
      indices[dim] = indices[dim].floorDiv(block);
    for (auto [i, size] : llvm::enumerate(tensor.getShape()))
      if (shape[i] == 1)
        indices[i] = builder.getAffineConstantExpr(0);
      else if (ShapedType::isDynamic(size) || size % shape[i])
        return decline(op, "the blocks of the quantized type do not divide the shape");
  } else {
    return decline(op, "a quantized type that is not uniform");
  }
  d.scaleMap = d.zeroMap = AffineMap::get(tensor.getRank(), 0, indices, context);
  return d;
}
