//===- RaiseContractions.cpp - Contractions of other dialects -------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// operation                                   | y
// aten.linear x, w, b?                        | x w^T + b
// aten.mm, aten.matmul x, w; aten.mv w, x     | x w;  w x
// aten.addmm b, x, w                          | x w + b
// onnx.MatMul x, w; onnx.Gemm x, w, b?        | x w;  x w + b or x w^T + b
// onnx.MatMulNBits x, B, s, z?, g?, b?        | x w^T + b, w from packed B
// quant.matmul_rhs_group_quant x, q, s, z, .. | x w^T (Brevitas)
//
//===----------------------------------------------------------------------===//
#include "RaiseFrontends.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::qlinear;

/// y = x w + bias, with w K x N, or x w^T with w N x K. x has rows in any number of
/// dimensions, or is a vector.
std::optional<Frontends::Linear> Frontends::build(Operation *op, Value x, Value weight,
                                                  bool isKMajor, Value bias) {
  OpBuilder &b = builder;
  Location loc = op->getLoc();
  std::optional<TensorInfo> result = infoOf(op->getResult(0).getType());
  std::optional<TensorInfo> input = infoOf(x.getType());
  std::optional<TensorInfo> matrix = infoOf(weight.getType());
  if (!result || !input || !matrix || matrix->type.getRank() != 2 ||
      input->type.getRank() == 0 || result->type.getRank() != input->type.getRank() ||
      !isa<FloatType>(result->type.getElementType()))
    return decline(op, "the operands and the result of " + nameOf(op) +
                           " are not all tensors of known shape and type, the weight a "
                           "matrix; run shape inference before");
  if (bias && !isTensor(bias))
    return decline(op, "the bias is not a tensor; add it in an operation of its own");
  Type element = result->type.getElementType();
  int64_t rank = input->type.getRank();
  x = toBuiltin(x);
  weight = toBuiltin(weight);
  Value addend = bias ? toBuiltin(bias) : Value();
  if (!x || !weight || (bias && !addend))
    return decline(op, "!torch.vtensor needs torch_c.to_builtin_tensor; load that "
                       "dialect, or allow unregistered ones");
  int64_t K = matrix->type.getDimSize(isKMajor ? 0 : 1),
          N = matrix->type.getDimSize(isKMajor ? 1 : 0);
  if (input->type.getDimSize(rank - 1) != K || ShapedType::isDynamic(K) ||
      ShapedType::isDynamic(N))
    return decline(op, "x has K = " + Twine(input->type.getDimSize(rank - 1)) +
                           " columns, the weight is " + Twine(N) + " x " + Twine(K));
  b.setInsertionPoint(op);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, x);
  SmallVector<ReassociationIndices> groups = {
      llvm::to_vector<2>(llvm::seq<int64_t>(0, rank - 1)), {rank - 1}};
  if (rank == 1) {
    groups = {{0, 1}};
    x = tensor::ExpandShapeOp::create(
        b, loc, RankedTensorType::get({1, K}, input->type.getElementType()), x, groups);
  } else if (rank > 2) {
    x = tensor::CollapseShapeOp::create(b, loc, x, groups);
  }
  SmallVector<OpFoldResult> rows = tensor::getMixedSizes(b, loc, x);
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(element));
  Value empty = tensor::EmptyOp::create(
      b, loc, ArrayRef<OpFoldResult>{rows[0], b.getIndexAttr(N)}, element);
  Value init = linalg::FillOp::create(b, loc, zero, empty).getResult(0);

  AffineExpr m = b.getAffineDimExpr(0), n = b.getAffineDimExpr(1),
             k = b.getAffineDimExpr(2);
  auto map = [&](AffineExpr row, AffineExpr column) {
    return AffineMap::get(3, 0, {row, column}, context);
  };
  AffineMap maps[] = {map(m, k), isKMajor ? map(k, n) : map(n, k), map(m, n)};
  utils::IteratorType kinds[] = {utils::IteratorType::parallel,
                                 utils::IteratorType::parallel,
                                 utils::IteratorType::reduction};
  auto body = [&](OpBuilder &b, Location loc, ValueRange args) {
    // f16 and bf16 meet in f32.
    auto convert = [&](Value value) {
      auto from = cast<FloatType>(value.getType()), to = cast<FloatType>(element);
      if (from != to && from.getWidth() == to.getWidth()) {
        from = b.getF32Type();
        value = arith::ExtFOp::create(b, loc, from, value);
      }
      if (from.getWidth() < to.getWidth())
        return Value(arith::ExtFOp::create(b, loc, to, value));
      return from == to ? value : Value(arith::TruncFOp::create(b, loc, to, value));
    };
    Value product = arith::MulFOp::create(b, loc, convert(args[0]), convert(args[1]));
    linalg::YieldOp::create(b, loc,
                            Value(arith::AddFOp::create(b, loc, args[2], product)));
  };
  auto contraction = linalg::GenericOp::create(
      b, loc, init.getType(), ValueRange{x, weight}, init, maps, kinds, body);
  Value y = contraction.getResult(0);
  if (addend) {
    auto type = cast<RankedTensorType>(addend.getType());
    if (type.getRank() != 1 || type.getDimSize(0) != N ||
        type.getElementType() != element)
      return decline(op, "the bias is not a vector of N = " + Twine(N) +
                             " elements of the type of the result");
    AffineMap identity = b.getMultiDimIdentityMap(2);
    AffineMap biasMaps[] = {identity, AffineMap::get(2, 0, n), identity};
    auto add = [&](OpBuilder &b, Location loc, ValueRange args) {
      linalg::YieldOp::create(b, loc,
                              Value(arith::AddFOp::create(b, loc, args[0], args[1])));
    };
    Value target = tensor::EmptyOp::create(
        b, loc, ArrayRef<OpFoldResult>{rows[0], b.getIndexAttr(N)}, element);
    y = linalg::GenericOp::create(b, loc, y.getType(), ValueRange{y, addend}, target,
                                  biasMaps, ArrayRef(kinds).take_front(2), add)
            .getResult(0);
  }
  auto inferred = RankedTensorType::get({N}, element);
  if (rank == 1) {
    y = tensor::CollapseShapeOp::create(b, loc, inferred, y, groups);
  } else if (rank > 2) {
    SmallVector<int64_t> shape(input->type.getShape());
    shape.back() = N;
    sizes.back() = b.getIndexAttr(N);
    y = tensor::ExpandShapeOp::create(b, loc, RankedTensorType::get(shape, element), y,
                                      groups, sizes);
  }
  if (!tensor::CastOp::areCastCompatible(y.getType(), result->type))
    return decline(op, "the result of " + nameOf(op) +
                           " has another shape than its operands make");
  if (y.getType() != result->type)
    y = tensor::CastOp::create(b, loc, result->type, y);
  return Linear{contraction, fromBuiltin(b, loc, y, op->getResult(0).getType())};
}

bool Frontends::isContraction(StringRef name) {
  return llvm::is_contained<StringRef>(
      {"onnx.MatMulNBits", "MatMulNBits", "quant.matmul_rhs_group_quant", "onnx.Gemm",
       "onnx.MatMul", "aten.addmm", "aten.mv", "aten.linear", "aten.mm", "aten.matmul"},
      name);
}

/// The operation nearest to a value that keeps it from being a dequantized weight, if
/// it is computed from one; else nothing.
StringRef Frontends::findBetween(Value value) {
  SmallVector<Operation *> queue;
  auto push = [&](Value operand) {
    Operation *def = operand.getDefiningOp();
    if (def && isTensor(operand) && !llvm::is_contained(queue, def))
      queue.push_back(def);
  };
  push(value);
  for (size_t i = 0; i < queue.size() && i < 32; ++i) {
    Operation *op = queue[i];
    if (isContraction(nameOf(op)))
      continue;
    if (i && (isDequantization(op) || isIntegerCast(op)))
      return nameOf(
          llvm::find_if(queue, [](Operation *o) { return !isPassedOn(o); })[0]);
    for (Value operand : op->getOperands())
      push(operand);
  }
  return {};
}

std::optional<Frontends::Linear> Frontends::lowerLinear(Operation *op) {
  StringRef name = nameOf(op);
  if (!isContraction(name) || op->getNumResults() != 1 || op->getNumOperands() < 2)
    return std::nullopt;
  if (name == "onnx.MatMulNBits" || name == "MatMulNBits")
    return matMulNBits(op);
  if (name == "quant.matmul_rhs_group_quant")
    return groupMatMul(op);
  bool isGemm = name == "onnx.Gemm", isAddmm = name == "aten.addmm";
  bool isMatvec = name == "aten.mv", isLinear = name == "aten.linear";
  if (isAddmm && op->getNumOperands() < 3)
    return std::nullopt;
  Value x = op->getOperand(isMatvec || isAddmm ? 1 : 0);
  Value weight = op->getOperand(isMatvec ? 0 : isAddmm ? 2 : 1);
  auto couldBe = [](Value v) { return isDequantized(v); };
  std::optional<TensorInfo> left = infoOf(x.getType()),
                            right = infoOf(weight.getType());
  if (couldBe(x) && !couldBe(weight) && left && right && left->type.getRank() == 2 &&
      right->type.getRank() == 1 && name.ends_with("matmul"))
    std::swap(x, weight), isMatvec = true; // w x, like aten.mv
  if (!couldBe(weight)) {
    if (couldBe(x) && !isMatvec)
      return decline(op, "the quantized factor is the left one; transpose the product, "
                         "y^T = w^T x^T");
    if (StringRef between = findBetween(weight); !between.empty())
      return decline(op, between + " stands between the quantized weight and " + name +
                             ", and is not seen through; lower the module to linalg "
                             "before, or apply scales to the result");
    return std::nullopt;
  }
  bool isKMajor = !isLinear && !isMatvec;
  Value bias;
  if (isGemm || isLinear) {
    if (op->getNumOperands() > 2 && !isNone(op->getOperand(2)))
      bias = op->getOperand(2);
  } else if (isAddmm) {
    bias = op->getOperand(0);
  }
  if (isGemm || isAddmm) {
    for (StringRef factor : {"alpha", "beta"})
      if (auto value = dyn_cast_or_null<FloatAttr>(attributeOf(op, factor)))
        if (!value.getValue().isExactlyValue(1.0) && (factor == "alpha" || bias))
          return decline(op, name + " with " + factor +
                                 " other than 1; multiply in an operation of its own");
    for (unsigned i : {3u, 4u})
      if (isAddmm && i < op->getNumOperands() &&
          integerOf(op->getOperand(i)).value_or(0) != 1)
        return decline(op, "aten.addmm with alpha or beta other than the integer 1; "
                           "multiply in an operation of its own");
    if (integerOf(op, "transA").value_or(0))
      return decline(op, "onnx.Gemm with transA; transpose x before it");
    isKMajor = !integerOf(op, "transB").value_or(0);
  }
  return build(op, x, weight, isKMajor, bias);
}

//===----------------------------------------------------------------------===//
// ONNX
//===----------------------------------------------------------------------===//

std::optional<Dequantization> Frontends::onnxDequantize(Operation *op) {
  if (op->getNumOperands() < 2 || !isTensor(op->getOperand(0)) ||
      !isTensor(op->getOperand(1)))
    return decline(op, "onnx.DequantizeLinear needs tensors of codes and scales");
  Dequantization d;
  d.codes = toBuiltin(op->getOperand(0));
  d.scale = toBuiltin(op->getOperand(1));
  if (!d.codes || !d.scale)
    return decline(op, "!torch.vtensor needs torch_c.to_builtin_tensor; load that "
                       "dialect, or allow unregistered ones");
  // Without a sign in the type: int8 or int4, as in ONNX-MLIR.
  d.isSigned = infoOf(op->getOperand(0).getType())->isSigned.value_or(true);
  if (op->getNumOperands() > 2 && !isNone(op->getOperand(2))) {
    d.zero = toBuiltin(op->getOperand(2));
    d.isZeroSigned = d.isSigned;
  }
  auto codes = cast<RankedTensorType>(d.codes.getType());
  auto scales = cast<RankedTensorType>(d.scale.getType());
  if (!codes.hasStaticShape() || !scales.hasStaticShape())
    return decline(op, "the group is not constant: the shape of the codes or scales "
                       "is known only at run time");
  int64_t rank = codes.getRank();
  int64_t axis = integerOf(op, "axis").value_or(1);
  int64_t block = integerOf(op, "block_size").value_or(0);
  if (axis < 0)
    axis += rank;
  SmallVector<int64_t> shape;
  SmallVector<AffineExpr> indices;
  if (scales.getNumElements() == 1 && block == 0) {
    // The same for all.
  } else if (axis < 0 || axis >= rank) {
    return decline(op, "onnx.DequantizeLinear: axis = " + Twine(axis) +
                           " is not within the rank, " + Twine(rank));
  } else if (block == 0) {
    shape = {codes.getDimSize(axis)};
    indices = {builder.getAffineDimExpr(axis)};
  } else {
    int64_t size = codes.getDimSize(axis);
    if (block < 0 || size % block)
      return decline(op, "block_size = " + Twine(block) + " does not divide " +
                             Twine(size) +
                             " (padded last block); pad the codes, or "
                             "choose a block that divides");
    shape = llvm::to_vector(codes.getShape());
    shape[axis] /= block;
    for (int64_t i = 0; i < rank; ++i)
      indices.push_back(builder.getAffineDimExpr(i));
    indices[axis] = shape[axis] == 1 ? builder.getAffineConstantExpr(0)
                                     : indices[axis].floorDiv(block);
  }
  if (failed(shapeGroups(op, "onnx.DequantizeLinear", shape, indices, d)))
    return std::nullopt;
  return d;
}

std::optional<Frontends::Linear> Frontends::matMulNBits(Operation *op) {
  OpBuilder &b = builder;
  Location loc = op->getLoc();
  std::optional<int64_t> K = integerOf(op, "K"), N = integerOf(op, "N"),
                         block = integerOf(op, "block_size");
  int64_t bits = integerOf(op, "bits").value_or(4);
  if (!K || !N || !block || *K <= 0 || *N <= 0 || *block <= 0)
    return decline(op, "onnx.MatMulNBits needs the attributes K, N and block_size");
  if (bits != 2 && bits != 4 && bits != 8)
    return decline(op,
                   "bits = " + Twine(bits) + "; codes of 2, 4 or 8 bits fill bytes");
  if (int64_t order = integerOf(op, "weight_prepacked").value_or(0))
    return decline(op, "weight_prepacked = " + Twine(order) +
                           ": B is in the order of one kernel; write the model without "
                           "prepacked weights");
  if (*K % *block)
    return decline(op, "padded last block: K = " + Twine(*K) +
                           " is not a multiple of block_size = " + Twine(*block) +
                           "; pad x and B, or use a block_size that divides");
  int64_t groups = *K / *block;
  unsigned count = op->getNumOperands();
  auto optional = [&](unsigned at) {
    return at < count && !isNone(op->getOperand(at)) ? op->getOperand(at) : Value();
  };
  if (optional(4))
    return decline(op,
                   "g_idx: the groups are not consecutive columns; sort the columns "
                   "of B and of x by g_idx");
  auto sizeOf = [&](Value value) -> int64_t {
    std::optional<TensorInfo> info = infoOf(value.getType());
    return info && info->type.hasStaticShape() ? info->type.getNumElements() : -1;
  };
  Value codes = op->getOperand(1), scales = optional(2), zeros = optional(3);
  if (!scales || sizeOf(codes) != *N * *K * bits / 8 || sizeOf(scales) != *N * groups ||
      infoOf(codes.getType())->type.getElementTypeBitWidth() != 8)
    return decline(op, "onnx.MatMulNBits with N = " + Twine(*N) + ", K = " + Twine(*K) +
                           ", bits = " + Twine(bits) + " has " +
                           Twine(*N * *K * bits / 8) + " bytes in B and " +
                           Twine(*N * groups) + " scales; these shapes differ");
  Dequantization d;
  codes = toBuiltin(codes);
  scales = toBuiltin(scales);
  Value zero = zeros ? toBuiltin(zeros) : Value();
  if (!codes || !scales || (zeros && !zero))
    return decline(op, "!torch.vtensor needs torch_c.to_builtin_tensor; load that "
                       "dialect, or allow unregistered ones");
  b.setInsertionPoint(op);
  d.codes = unpack(b, loc, codes, bits, *N, *K);
  d.scale = reshape(b, loc, scales, {*N, groups});
  AffineExpr n = b.getAffineDimExpr(0), k = b.getAffineDimExpr(1);
  d.scaleMap = d.zeroMap = AffineMap::get(
      2, 0, {n, groups == 1 ? b.getAffineConstantExpr(0) : k.floorDiv(*block)},
      context);
  int64_t zeroBytes = llvm::divideCeil(groups * bits, 8);
  if (!zero) {
    auto type = RankedTensorType::get({*N, groups}, b.getI8Type());
    d.zero = arith::ConstantOp::create(
        b, loc, DenseElementsAttr::get(type, APInt(8, uint64_t(1) << (bits - 1))));
  } else if (isa<FloatType>(getElementTypeOrSelf(zero.getType()))) {
    if (sizeOf(zero) != *N * groups)
      return decline(op, Twine(sizeOf(zero)) + " float zeros for " +
                             Twine(*N * groups) + " groups");
    d.zero = reshape(b, loc, zero, {*N, groups});
  } else {
    if (sizeOf(zero) != *N * zeroBytes ||
        getElementTypeOrSelf(zero.getType()).getIntOrFloatBitWidth() != 8)
      return decline(op, "zeros of " + Twine(sizeOf(zero)) + " bytes; each row has " +
                             Twine(groups) + " of " + Twine(bits) + " bits in " +
                             Twine(zeroBytes) + " bytes");
    d.zero = unpack(b, loc, zero, bits, *N, groups);
  }
  auto type = RankedTensorType::get({*N, *K}, getElementTypeOrSelf(scales.getType()));
  Value weight = build(b, op, d, type);
  if (!weight)
    return std::nullopt;
  return build(op, op->getOperand(0), weight, /*isKMajor=*/false, optional(5));
}

//===----------------------------------------------------------------------===//
// Brevitas
//===----------------------------------------------------------------------===//

std::optional<Frontends::Linear> Frontends::groupMatMul(Operation *op) {
  OpBuilder &b = builder;
  Location loc = op->getLoc();
  StringRef name = nameOf(op);
  std::optional<int64_t> bits = integerOf(op, "rhs_bit_width", 4),
                         group = integerOf(op, "rhs_group_size", 5);
  if (op->getNumOperands() < 4 || !bits || !group || *group <= 0)
    return decline(op, name + " needs x, the codes, scales, zeros, and constants for "
                              "the bits and the group size");
  std::optional<TensorInfo> x = infoOf(op->getOperand(0).getType()),
                            codes = infoOf(op->getOperand(1).getType());
  for (unsigned i : {2u, 3u})
    if (auto info = infoOf(op->getOperand(i).getType());
        !info || !info->type.hasStaticShape())
      return decline(op, name + ": the scales and zeros are not of a constant shape");
  if (!x || !codes || x->type.getRank() == 0 || codes->type.getRank() != 2 ||
      !codes->type.hasStaticShape() || (*bits != 2 && *bits != 4 && *bits != 8))
    return decline(op, name + " with codes that are not a matrix of 2, 4 or 8 bits");
  int64_t N = codes->type.getDimSize(0), K = x->type.getShape().back();
  unsigned width = codes->type.getElementTypeBitWidth();
  if (ShapedType::isDynamic(K) || K % *group ||
      codes->type.getDimSize(1) * width != K * *bits || (width != 8 && width != *bits))
    return decline(op, name + ": K = " + Twine(K) +
                           " is not a multiple of the group, " + Twine(*group) +
                           ", or not what the codes have");
  Dequantization d;
  Value packed = toBuiltin(op->getOperand(1));
  d.scale = toBuiltin(op->getOperand(2));
  d.zero = toBuiltin(op->getOperand(3));
  if (!packed || !d.scale || !d.zero)
    return decline(op, "!torch.vtensor needs torch_c.to_builtin_tensor; load that "
                       "dialect, or allow unregistered ones");
  b.setInsertionPoint(op);
  d.codes = width == *bits ? packed : unpack(b, loc, packed, *bits, N, K);
  int64_t groups = K / *group;
  AffineExpr n = b.getAffineDimExpr(0), k = b.getAffineDimExpr(1);
  for (Value *tensor : {&d.scale, &d.zero}) {
    if (cast<RankedTensorType>(tensor->getType()).getNumElements() != N * groups)
      return decline(op, name + ": there are not " + Twine(N * groups) +
                             " scales and zeros, one for each group");
    *tensor = reshape(b, loc, *tensor, {N, groups});
  }
  d.scaleMap = d.zeroMap = AffineMap::get(
      2, 0, {n, groups == 1 ? b.getAffineConstantExpr(0) : k.floorDiv(*group)},
      context);
  auto type = RankedTensorType::get({N, K}, getElementTypeOrSelf(d.scale.getType()));
  Value weight = build(b, op, d, type);
  if (!weight)
    return std::nullopt;
  return build(op, op->getOperand(0), weight, /*isKMajor=*/false, Value());
}
