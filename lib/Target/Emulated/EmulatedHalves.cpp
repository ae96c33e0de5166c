//===- EmulatedHalves.cpp - f16 on the host -------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedIntrinsics.h"

using namespace llvm;

namespace qlinear {

static Value *convertHalfElement(IRBuilderBase &b, Value *value, Type *to) {
  if (to->isHalfTy() || to->isBFloatTy()) {
    StringRef name = to->isHalfTy() ? "f32_to_f16" : "f32_to_bf16";
    if (value->getType()->isDoubleTy())
      value = b.CreateFPTrunc(value, b.getFloatTy());
    CallInst *bits = callEmulated(b, name, b.getInt16Ty(), {value});
    bits->addRetAttr(Attribute::ZExt);
    return b.CreateBitCast(bits, to);
  }
  CallInst *wide = callEmulated(b, "f16_to_f32", b.getFloatTy(),
                                {b.CreateBitCast(value, b.getInt16Ty())});
  wide->addParamAttr(0, Attribute::ZExt);
  return to->isDoubleTy() ? b.CreateFPExt(wide, to) : wide;
}

Value *convertHalf(IRBuilderBase &b, Value *value, Type *to) {
  auto *vector = dyn_cast<FixedVectorType>(to);
  if (!vector)
    return convertHalfElement(b, value, to);
  Value *result = PoisonValue::get(to);
  for (unsigned i = 0; i < vector->getNumElements(); ++i)
    result =
        b.CreateInsertElement(result,
                              convertHalfElement(b, b.CreateExtractElement(value, i),
                                                 vector->getElementType()),
                              i);
  return result;
}

Value *halfPair(IRBuilderBase &b, ArrayRef<Value *> args) {
  Type *pair = FixedVectorType::get(b.getHalfTy(), 2);
  Type *wide = FixedVectorType::get(b.getFloatTy(), 2);
  Value *values;
  if (args.size() == 3) {
    auto widen = [&](unsigned i) {
      return convertHalf(b, b.CreateBitCast(args[i], pair), wide);
    };
    values = b.CreateIntrinsic(Intrinsic::fma, {wide}, {widen(0), widen(1), widen(2)});
  } else {
    values = b.CreateInsertElement(PoisonValue::get(wide), args[0], uint64_t(0));
    values = b.CreateInsertElement(values, args[1], uint64_t(1));
  }
  return b.CreateBitCast(convertHalf(b, values, pair), b.getInt32Ty());
}

} // namespace qlinear
