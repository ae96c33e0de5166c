//===- HalfFloats.cpp - 16-bit floats without library calls ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "HalfFloats.h"

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/IntrinsicInst.h"

using namespace llvm;

namespace qlinear {

static bool isHalfFloat(Type *type) {
  return type->getScalarType()->isHalfTy() || type->getScalarType()->isBFloatTy();
}

void widenHalfArithmetic(Function &function) {
  for (Instruction &inst : make_early_inc_range(instructions(function))) {
    bool arithmetic = isa<BinaryOperator, UnaryOperator, FCmpInst, FPToSIInst,
                          FPToUIInst, SIToFPInst, UIToFPInst, IntrinsicInst>(inst);
    bool half = isHalfFloat(inst.getType()) || any_of(inst.operands(), [](Value *v) {
                  return isHalfFloat(v->getType());
                });
    if (!arithmetic || !half)
      continue;
    auto wide = [](Type *type) -> Type * {
      Type *f32 = Type::getFloatTy(type->getContext());
      if (!isHalfFloat(type))
        return type;
      auto *vector = dyn_cast<VectorType>(type);
      return vector ? VectorType::get(f32, vector->getElementCount()) : f32;
    };
    IRBuilder<> b(&inst);
    SmallVector<Value *> operands;
    auto *call = dyn_cast<IntrinsicInst>(&inst);
    for (Value *operand : call ? SmallVector<Value *>(call->args())
                               : SmallVector<Value *>(inst.operands()))
      operands.push_back(isHalfFloat(operand->getType())
                             ? b.CreateFPExt(operand, wide(operand->getType()))
                             : operand);
    Value *result;
    if (call) {
      result =
          b.CreateIntrinsic(wide(inst.getType()), call->getIntrinsicID(), operands);
    } else if (auto *compare = dyn_cast<FCmpInst>(&inst)) {
      result = b.CreateFCmp(compare->getPredicate(), operands[0], operands[1]);
    } else if (isa<CastInst>(inst)) {
      result = b.CreateCast(cast<CastInst>(inst).getOpcode(), operands[0],
                            wide(inst.getType()));
    } else {
      result = b.CreateNAryOp(inst.getOpcode(), operands);
    }
    if (isHalfFloat(inst.getType()))
      result = b.CreateFPTrunc(result, inst.getType());
    inst.replaceAllUsesWith(result);
    inst.eraseFromParent();
  }
}

/// i16, or a vector of them.
static Type *integersOf(Type *type) {
  Type *i16 = Type::getInt16Ty(type->getContext());
  auto *vector = dyn_cast<VectorType>(type);
  return vector ? VectorType::get(i16, vector->getElementCount()) : i16;
}

void keepHalvesAsIntegers(Function &function) {
  SmallVector<Instruction *> halves;
  for (Instruction &inst : make_early_inc_range(instructions(function))) {
    if (!isHalfFloat(inst.getType()))
      continue;
    auto *phi = dyn_cast<PHINode>(&inst);
    if (!phi) {
      halves.push_back(&inst);
      continue;
    }
    IRBuilder<> b(phi);
    PHINode *bits =
        b.CreatePHI(integersOf(phi->getType()), phi->getNumIncomingValues());
    for (auto [value, block] : zip(phi->incoming_values(), phi->blocks())) {
      // A block may come in twice, and must then bring the same value.
      int known = bits->getBasicBlockIndex(block);
      b.SetInsertPoint(block->getTerminator());
      bits->addIncoming(known >= 0 ? bits->getIncomingValue(known)
                                   : b.CreateBitCast(value, bits->getType()),
                        block);
    }
    b.SetInsertPoint(phi->getParent(), phi->getParent()->getFirstInsertionPt());
    Value *half = b.CreateBitCast(bits, phi->getType());
    phi->replaceAllUsesWith(half);
    phi->eraseFromParent();
    halves.push_back(cast<Instruction>(half));
  }
  for (Instruction *half : halves) {
    Value *bits = nullptr;
    for (Use &use : make_early_inc_range(half->uses())) {
      auto *user = cast<Instruction>(use.getUser());
      if (user->getParent() == half->getParent())
        continue;
      if (!bits) {
        IRBuilder<> b(half->getParent(), std::next(half->getIterator()));
        bits = b.CreateBitCast(half, integersOf(half->getType()));
      }
      use.set(IRBuilder<>(user).CreateBitCast(bits, half->getType()));
    }
  }
}

} // namespace qlinear
