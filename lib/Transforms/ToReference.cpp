//===- ToReference.cpp - The meaning of qlinear in linalg -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every value of a qlinear type becomes the f64 tensor of the values that it
// stands for, also across functions:
//   !qlinear.weight<NxK>        tensor<NxKxf64>   s * (q - z), ... per code
//   !qlinear.activations<MxK>   tensor<MxKxf64>   d * q per code
//
// so that a linear is a plain contraction of two such tensors:
//   p[m, n] = sum over k of x[m, k] * w[n, k]
//   y[m, n] = epilogue(f32(p[m, n]), extras...)    or p rounded to y's type
//
// Norms are in ReferenceNorm.cpp.
//
//===----------------------------------------------------------------------===//
#include "MoveToTensors.h"
#include "ReferenceBuilder.h"
#include "ResolveWeights.h"
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Func/Transforms/FuncConversions.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/Transforms/Patterns.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/DialectConversion.h"

#include <limits>

namespace mlir::qlinear {
#define GEN_PASS_DEF_TOREFERENCE
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

#define DEBUG_TYPE "qlinear-to-reference"

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::CodeType;
using ::qlinear::Encoding;
using ::qlinear::Form;
using ::qlinear::MetaStorage;
using ::qlinear::StepScope;

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

static Value toFloat(OpBuilder &b, Location loc, Value code, bool isSigned,
                     FloatType type) {
  if (isSigned)
    return arith::SIToFPOp::create(b, loc, type, code);
  return arith::UIToFPOp::create(b, loc, type, code);
}

/// A number of f64 in the IR, for the formulas of Fields.h.
namespace {
struct Number {
  OpBuilder &b;
  Location loc;
  Value value;
  friend Number operator*(Number x, Number y) {
    return {x.b, x.loc, arith::MulFOp::create(x.b, x.loc, x.value, y.value)};
  }
};
} // namespace

/// The f32 value of a float of 8 bits, from its bits; as floatValue of Fields.h.
static Value decodeByteFloat(OpBuilder &b, Location loc, ::qlinear::FloatType type,
                             Value bits) {
  FloatType f32 = b.getF32Type();
  Type i32 = b.getI32Type();
  auto integer = [&](int64_t v) -> Value {
    return arith::ConstantOp::create(b, loc, b.getIntegerAttr(i32, v));
  };
  auto isEqual = [&](Value x, int64_t v) -> Value {
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, x, integer(v));
  };
  auto select = [&](Value condition, Value yes, Value no) -> Value {
    return arith::SelectOp::create(b, loc, condition, yes, no);
  };
  auto asFloat = [&](Value v) -> Value {
    return arith::BitcastOp::create(b, loc, f32, v);
  };
  Value nan = constant(b, loc, f32, std::numeric_limits<double>::quiet_NaN());
  bits = arith::ExtUIOp::create(b, loc, i32, bits);
  if (type == ::qlinear::FloatType::e8m0) {
    Value power = arith::ShLIOp::create(b, loc, bits, integer(23));
    power = select(isEqual(bits, 0), integer(1 << 22), power);
    return select(isEqual(bits, 255), nan, asFloat(power));
  }
  // Exponent and mantissa in their places, with a bias that is 120 less.
  Value magnitude = arith::AndIOp::create(b, loc, bits, integer(0x7F));
  Value sign = arith::ShRUIOp::create(b, loc, bits, integer(7));
  Value small = asFloat(arith::ShLIOp::create(b, loc, magnitude, integer(20)));
  Value value = arith::MulFOp::create(b, loc, small, constant(b, loc, f32, 0x1p120));
  value = select(isEqual(sign, 0), value, arith::NegFOp::create(b, loc, value));
  return select(isEqual(magnitude, 0x7F), nan, value);
}

/// The f32 value of a metadata field. `steps` are the constants it is relative
/// to: a step; for log a base and a step; for delta a base.
static Value decodeField(OpBuilder &b, Location loc, const MetaStorage &meta,
                         Value field, ValueRange steps) {
  FloatType f32 = b.getF32Type(), f64 = b.getF64Type();
  switch (meta.kind) {
  case MetaStorage::Kind::none:
    return constant(b, loc, f32, 0);
  case MetaStorage::Kind::plain:
    if (byteWidth(meta.type) > 1)
      return toFloat(b, loc, field, f32);
    return decodeByteFloat(b, loc, meta.type, field);
  case MetaStorage::Kind::scaled: {
    Value code = decodeByteFloat(b, loc, ::qlinear::FloatType::e4m3, field);
    return arith::MulFOp::create(b, loc, code, toFloat(b, loc, steps[0], f32));
  }
  case MetaStorage::Kind::linear: {
    Value code = toFloat(b, loc, field, meta.isSigned, f32);
    if (steps.empty())
      return code;
    return arith::MulFOp::create(b, loc, code, toFloat(b, loc, steps[0], f32));
  }
  case MetaStorage::Kind::log: {
    Number base{b, loc, toFloat(b, loc, steps[0], f64)};
    Number step{b, loc, toFloat(b, loc, steps[1], f64)};
    Number code{b, loc, toFloat(b, loc, field, /*isSigned=*/false, f64)};
    auto powerOfTwo = [](Number x) -> Number {
      return {x.b, x.loc, math::Exp2Op::create(x.b, x.loc, x.value)};
    };
    Number value = ::qlinear::layout::logValue(base, step, code, powerOfTwo);
    return toFloat(b, loc, value.value, f32);
  }
  case MetaStorage::Kind::delta: { // as deltaValue of Fields.h
    Type i16 = b.getI16Type();
    Value base = arith::BitcastOp::create(b, loc, i16, steps[0]);
    Value code = field;
    if (code.getType() != i16)
      code = arith::ExtUIOp::create(b, loc, i16, code);
    Value bits = arith::AddIOp::create(b, loc, base, code);
    return toFloat(b, loc, arith::BitcastOp::create(b, loc, b.getBF16Type(), bits),
                   f32);
  }
  }
  llvm_unreachable("unknown metadata kind");
}

/// The values of a kind of codes, in f64; null for integers.
static Value createTable(OpBuilder &b, Location loc, CodeType codes) {
  if (!codes.isTable())
    return {};
  SmallVector<double> values;
  ::qlinear::layout::Codes meaning = codes.layout();
  for (int f = 0; f < meaning.count(); ++f)
    values.push_back(meaning.value(f));
  auto type = RankedTensorType::get(int64_t(values.size()), b.getF64Type());
  return arith::ConstantOp::create(b, loc,
                                   DenseElementsAttr::get(type, ArrayRef(values)));
}

/// The f64 value of a code. Only its lowest bits count.
static Value decodeCode(OpBuilder &b, Location loc, CodeType codes, Value code,
                        Value table) {
  if (!table)
    return toFloat(b, loc, code, codes.isSigned, b.getF64Type());
  Value place = arith::IndexCastUIOp::create(b, loc, b.getIndexType(), code);
  Value mask = arith::ConstantIndexOp::create(b, loc, codes.layout().count() - 1);
  place = arith::AndIOp::create(b, loc, place, mask);
  return tensor::ExtractOp::create(b, loc, table, place);
}

/// The f64 value of a weight from that of its code and its group's metadata; there
/// is no offset in the symmetric form.
static Value decodeWeight(OpBuilder &b, Location loc, const Encoding &e, Value q,
                          Value scale, Value offset) {
  FloatType f64 = b.getF64Type();
  Value s = toFloat(b, loc, scale, f64);
  if (e.form == Form::symmetric)
    return arith::MulFOp::create(b, loc, s, q);
  Value o = toFloat(b, loc, offset, f64);
  switch (e.form) {
  case Form::symmetric:
    break;
  case Form::zero:
    return arith::MulFOp::create(b, loc, s, arith::SubFOp::create(b, loc, q, o));
  case Form::min:
    return arith::SubFOp::create(b, loc, arith::MulFOp::create(b, loc, s, q), o);
  case Form::centred: {
    Value centre = constant(b, loc, f64, 1 << (e.codes.bits - 1));
    Value shifted = arith::SubFOp::create(b, loc, q, centre);
    return arith::MulFOp::create(b, loc, s, arith::SubFOp::create(b, loc, shifted, o));
  }
  }
  llvm_unreachable("unknown form");
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

/// N x K weights in f64 from the components of a weight.
static Value decodeTensor(OpBuilder &b, Location loc, PackOp pack, Value codes,
                          Value scales, Value offsets, Value scaleSteps,
                          Value offsetSteps) {
  WeightType type = pack.getType();
  const Encoding e = type.getEncoding().getValue();
  MLIRContext *context = b.getContext();
  AffineExpr n = b.getAffineDimExpr(0), k = b.getAffineDimExpr(1);
  auto map = [&](ArrayRef<AffineExpr> results) {
    return AffineMap::get(2, 0, results, context);
  };
  AffineExpr group = e.group == ::qlinear::kWholeRow ? b.getAffineConstantExpr(0)
                                                     : k.floorDiv(e.group);

  SmallVector<Value> inputs = {codes, scales};
  SmallVector<AffineMap> maps = {map({n, k}), map({n, group})};
  // Where the constants of the scales, and of the offsets, begin and end.
  auto addSteps = [&](const MetaStorage &meta, Value steps) {
    unsigned begin = inputs.size();
    if (meta.scope == StepScope::block) {
      inputs.push_back(steps);
      maps.push_back(map({n, k.floorDiv(::qlinear::kStepBlock)}));
    } else if (meta.kind == MetaStorage::Kind::log) {
      for (int64_t i : {0, 1}) {
        inputs.push_back(steps);
        maps.push_back(map({n, b.getAffineConstantExpr(i)}));
      }
    } else if (meta.scope == StepScope::row) {
      inputs.push_back(steps);
      maps.push_back(map({n}));
    }
    return std::pair<unsigned, unsigned>(begin, inputs.size() - begin);
  };
  if (offsets) {
    inputs.push_back(offsets);
    maps.push_back(map({n, group}));
  }
  auto scaleRange = addSteps(e.scale, scaleSteps);
  auto offsetRange = addSteps(e.offset, offsetSteps);
  maps.push_back(map({n, k}));

  Value table = createTable(b, loc, e.codes);
  Value empty =
      emptyTensor(b, loc, getAsIndexOpFoldResult(context, {type.getN(), type.getK()}),
                  b.getF64Type());
  return generic(b, loc, inputs, empty, maps, {kParallel, kParallel},
                 [&](OpBuilder &b, Location loc, ValueRange arguments) {
                   auto steps = [&](std::pair<unsigned, unsigned> range) {
                     return arguments.slice(range.first, range.second);
                   };
                   Value scale =
                       decodeField(b, loc, e.scale, arguments[1], steps(scaleRange));
                   Value offset;
                   if (offsets)
                     offset = decodeField(b, loc, e.offset, arguments[2],
                                          steps(offsetRange));
                   Value code = decodeCode(b, loc, e.codes, arguments[0], table);
                   linalg::YieldOp::create(
                       b, loc, decodeWeight(b, loc, e, code, scale, offset));
                 })
      .getResult(0);
}

// The formula is in ReferenceBuilder.h.
Value mlir::qlinear::quantizeTensor(OpBuilder &b, Location loc, Value x) {
  constexpr int64_t kChunk = ::qlinear::layout::kChunk;
  FloatType f32 = b.getF32Type(), f64 = b.getF64Type();
  int64_t K = cast<RankedTensorType>(x.getType()).getDimSize(1);
  int64_t chunks = llvm::divideCeil(K, kChunk), padded = chunks * kChunk;
  OpFoldResult rows = tensor::getMixedSize(b, loc, x, 0);
  auto size = [&](int64_t v) { return OpFoldResult(b.getIndexAttr(v)); };

  Value floats = castElements(b, loc, x, f32);
  // The last chunk is filled up with zeros.
  Value chunked = floats;
  if (padded != K) {
    Value zeros = linalg::FillOp::create(b, loc, constant(b, loc, f32, 0),
                                         emptyTensor(b, loc, {rows, size(padded)}, f32))
                      .getResult(0);
    chunked = tensor::InsertSliceOp::create(b, loc, floats, zeros,
                                            ArrayRef<OpFoldResult>{size(0), size(0)},
                                            ArrayRef<OpFoldResult>{rows, size(K)},
                                            ArrayRef<OpFoldResult>{size(1), size(1)});
  }

  MLIRContext *context = b.getContext();
  AffineExpr m = b.getAffineDimExpr(0), c = b.getAffineDimExpr(1),
             i = b.getAffineDimExpr(2);
  AffineMap column = AffineMap::get(3, 0, {m, c * kChunk + i}, context);
  AffineMap chunk = AffineMap::get(3, 0, {m, c}, context);
  // Gives the loop over i its bounds, which c * 32 + i does not.
  AffineMap lane = AffineMap::get(3, 0, {i}, context);
  Value lanes = emptyTensor(b, loc, {size(kChunk)}, f32);

  Value zeros = linalg::FillOp::create(b, loc, constant(b, loc, f32, 0),
                                       emptyTensor(b, loc, {rows, size(chunks)}, f32))
                    .getResult(0);
  Value largest =
      generic(b, loc, {chunked, lanes}, zeros, {column, lane, chunk},
              {kParallel, kParallel, kReduction},
              [&](OpBuilder &b, Location loc, ValueRange arguments) {
                Value magnitude = math::AbsFOp::create(b, loc, arguments[0]);
                linalg::YieldOp::create(
                    b, loc,
                    Value(arith::MaximumFOp::create(b, loc, magnitude, arguments[2])));
              })
          .getResult(0);

  AffineMap element = b.getMultiDimIdentityMap(2);
  AffineMap chunkOf = AffineMap::get(2, 0, {m, c.floorDiv(kChunk)}, context);
  Value empty = emptyTensor(b, loc, {rows, size(K)}, f64);
  return generic(b, loc, {floats, largest}, empty, {element, chunkOf, element},
                 {kParallel, kParallel},
                 [&](OpBuilder &b, Location loc, ValueRange arguments) {
                   Value limit = constant(b, loc, f32, 127), max = arguments[1];
                   Value d = arith::DivFOp::create(b, loc, max, limit);
                   Value inverse = arith::DivFOp::create(b, loc, limit, max);
                   auto product = [&](Value x, Value y) -> Value {
                     return arith::MulFOp::create(b, loc, toFloat(b, loc, x, f64), y);
                   };
                   inverse = toFloat(b, loc, inverse, f64);
                   Value value =
                       product(d, math::RoundEvenOp::create(
                                      b, loc, product(arguments[0], inverse)));
                   auto below = [&](double bound) {
                     return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT,
                                                  max, constant(b, loc, f32, bound));
                   };
                   constexpr double kInfinity = std::numeric_limits<double>::infinity();
                   constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
                   value = arith::SelectOp::create(b, loc, below(0x1p-119),
                                                   constant(b, loc, f64, 0), value);
                   value = arith::SelectOp::create(b, loc, below(kInfinity), value,
                                                   constant(b, loc, f64, kNaN));
                   linalg::YieldOp::create(b, loc, value);
                 })
      .getResult(0);
}

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

namespace {
struct PackPattern : OpConversionPattern<PackOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(PackOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, decodeTensor(rewriter, op.getLoc(), op, op.getCodes(),
                                        op.getScales(), op.getOffsets(),
                                        op.getScaleSteps(), op.getOffsetSteps()));
    return success();
  }
};

struct DequantizePattern : OpConversionPattern<DequantizeOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(DequantizeOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    auto element = cast<FloatType>(op.getValueType().getElementType());
    rewriter.replaceOp(
        op, castElements(rewriter, op.getLoc(), adaptor.getInput(), element));
    return success();
  }
};

struct QuantizeActivationsPattern : OpConversionPattern<QuantizeActivationsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(QuantizeActivationsOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, quantizeTensor(rewriter, op.getLoc(), adaptor.getInput()));
    return success();
  }
};

struct LinearPattern : OpConversionPattern<LinearOp> {
  LinearPattern(TypeConverter &converter, MLIRContext *context, FloatType accumulate,
                bool int8)
      : OpConversionPattern(converter, context), accumulate(accumulate), int8(int8) {}

  LogicalResult matchAndRewrite(LinearOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &b) const override {
    Location loc = op.getLoc();
    Value x = adaptor.getX();
    bool quantizes = op.getActivationsAttr() ? !op.multipliesFloats() : int8;
    if (quantizes && isa<RankedTensorType>(op.getX().getType()))
      x = quantizeTensor(b, loc, x);
    x = castElements(b, loc, x, accumulate);

    SmallVector<Value> products;
    for (Value weight : adaptor.getWeights())
      products.push_back(multiply(b, loc, x, castElements(b, loc, weight, accumulate)));

    if (!op.hasEpilogue()) {
      SmallVector<Value> results;
      for (auto [product, result] : llvm::zip(products, op.getResults()))
        results.push_back(castElements(
            b, loc, product, cast<FloatType>(getElementTypeOrSelf(result.getType()))));
      b.replaceOp(op, results);
      return success();
    }

    b.replaceOp(op, mapEpilogue(b, op, products, adaptor.getExtras()));
    return success();
  }

private:
  /// x * w^T, in order of k.
  Value multiply(OpBuilder &b, Location loc, Value x, Value w) const {
    MLIRContext *context = b.getContext();
    AffineExpr m = b.getAffineDimExpr(0), n = b.getAffineDimExpr(1),
               k = b.getAffineDimExpr(2);
    OpFoldResult sizes[] = {tensor::getMixedSize(b, loc, x, 0),
                            tensor::getMixedSize(b, loc, w, 0)};
    Value zeros = linalg::FillOp::create(b, loc, constant(b, loc, accumulate, 0),
                                         emptyTensor(b, loc, sizes, accumulate))
                      .getResult(0);
    return generic(b, loc, {x, w}, zeros,
                   {AffineMap::get(3, 0, {m, k}, context),
                    AffineMap::get(3, 0, {n, k}, context),
                    AffineMap::get(3, 0, {m, n}, context)},
                   {kParallel, kParallel, kReduction},
                   [&](OpBuilder &b, Location loc, ValueRange arguments) {
                     Value product =
                         arith::MulFOp::create(b, loc, arguments[0], arguments[1]);
                     linalg::YieldOp::create(
                         b, loc,
                         Value(arith::AddFOp::create(b, loc, arguments[2], product)));
                   })
        .getResult(0);
  }

  FloatType accumulate;
  bool int8;
};

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

struct ToReference : mlir::qlinear::impl::ToReferenceBase<ToReference> {
  using ToReferenceBase::ToReferenceBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    ToReferenceBase::getDependentDialects(registry);
    registry.insert<scf::SCFDialect>(); // of caches
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    MLIRContext *context = &getContext();
    if (accumulate != "f64" && accumulate != "f32") {
      module.emitError() << "accumulate=" << accumulate
                         << " is not a type of sums; use f64 or f32";
      return signalPassFailure();
    }
    WalkResult compiled = module.walk([](LaunchOp op) {
      op.emitOpError("has no reference: it is compiled already; run "
                     "qlinear-to-reference before the lowering");
      return WalkResult::interrupt();
    });
    if (compiled.wasInterrupted() || failed(moveToTensors(module)) ||
        failed(resolveWeights(module, weights)))
      return signalPassFailure();

    TypeConverter converter;
    FloatType f64 = Float64Type::get(context);
    converter.addConversion([](Type type) { return type; });
    converter.addConversion([&](WeightType type) {
      return RankedTensorType::get({type.getN(), type.getK()}, f64);
    });
    converter.addConversion([&](ActivationsType type) {
      return RankedTensorType::get({type.getM(), type.getK()}, f64);
    });

    RewritePatternSet patterns(context);
    patterns.add<PackPattern, DequantizePattern, QuantizeActivationsPattern>(converter,
                                                                             context);
    populateNormReference(patterns, converter);
    populateEmbeddingReference(patterns, converter);
    populateRotaryReference(patterns, converter);
    FloatType sums = accumulate == "f64" ? f64 : FloatType(Float32Type::get(context));
    patterns.add<LinearPattern>(converter, context, sums, int8);
    populateExpertReference(patterns, converter, sums, int8);
    populateFunctionOpInterfaceTypeConversionPattern<func::FuncOp>(patterns, converter);
    populateCallOpTypeConversionPattern(patterns, converter);
    populateReturnOpTypeConversionPattern(patterns, converter);

    ConversionTarget target(*context);
    scf::populateSCFStructuralTypeConversionsAndLegality(converter, patterns, target);
    target.addDynamicallyLegalOp<func::FuncOp>([&](func::FuncOp op) {
      return converter.isSignatureLegal(op.getFunctionType());
    });
    target.markUnknownOpDynamicallyLegal([&](Operation *op) {
      return isa<ParameterOp>(op) ||
             (!isa_and_nonnull<QLinearDialect>(op->getDialect()) &&
              converter.isLegal(op));
    });
    if (failed(applyFullConversion(module, target, std::move(patterns))))
      return signalPassFailure();
    for (ParameterOp op : llvm::make_early_inc_range(module.getOps<ParameterOp>()))
      op.erase();
  }
};
} // namespace
