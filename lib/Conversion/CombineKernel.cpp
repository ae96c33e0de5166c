//===- CombineKernel.cpp - The GPU kernel that adds up experts ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Epilogue.h"
#include "GpuKernel.h"
#include "GpuSkeleton.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace qlinear {

namespace {
class CombineSkeleton : public GpuSkeleton {
public:
  using GpuSkeleton::GpuSkeleton;
  void combine(CombineOp op, int64_t threads, bool pdl);
};
} // namespace

/// Sums of T pieces: an element of a result is a thread's.
void CombineSkeleton::combine(CombineOp op, int64_t threads, bool pdl) {
  awaitPrior(pdl);
  int64_t n = op.getN(), choices = op.getChoices();
  auto extent = [&](int64_t v) { return constant64(v); };
  auto add = [&](Value x, Value y) -> Value {
    return arith::AddIOp::create(b, loc, x, y);
  };
  auto times = [&](Value x, int64_t y) -> Value {
    return arith::MulIOp::create(b, loc, x, extent(y));
  };
  auto load = [&](Value pointer, Value index, Type type) -> Value {
    type = getElementTypeOrSelf(type);
    return LLVM::LoadOp::create(b, loc, type, element(pointer, index, type));
  };
  auto loadF32 = [&](Value pointer, Value index, Type type) -> Value {
    Value v = load(pointer, index, type);
    return v.getType() == f32 ? v : arith::ExtFOp::create(b, loc, f32, v).getResult();
  };
  auto wide = [&](Value v) -> Value { return arith::ExtUIOp::create(b, loc, i64, v); };
  Value first = add(times(wide(call("ql_ptx_block", i32, {})), threads), wide(thread));
  Value step = times(wide(call("ql_ptx_blocks", i32, {})), threads);
  auto loop = scf::ForOp::create(b, loc, first, times(wide(rows), n), step);
  b.setInsertionPointToStart(loop.getBody());
  Value at = loop.getInductionVar();
  Value m = arith::DivUIOp::create(b, loc, at, extent(n));
  Value column = arith::RemUIOp::create(b, loc, at, extent(n));
  Value row = times(m, choices);
  Value sum = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0));
  auto terms = scf::ForOp::create(b, loc, extent(0), extent(choices), extent(1), sum);
  b.setInsertionPointToStart(terms.getBody());
  Value piece = add(row, terms.getInductionVar());
  Value x = loadF32(pointers[0], add(times(piece, n), column), op.getX().getType());
  Value scale = loadF32(pointers[1], piece, op.getScales().getType());
  Value term = arith::MulFOp::create(b, loc, scale, x);
  scf::YieldOp::create(
      b, loc,
      arith::AddFOp::create(b, loc, terms.getRegionIterArg(0), term).getResult());
  b.setInsertionPointAfter(terms);
  SmallVector<Value> values =
      emitEpilogue(b, op, terms.getResult(0), [&](unsigned i) -> Value {
        auto type = cast<RankedTensorType>(op.getExtras()[i].getType());
        Value index = isOneElement(type)    ? extent(0)
                      : type.getRank() == 1 ? column
                                            : at;
        return load(pointers[2 + i], index, type);
      });
  for (auto [i, value] : llvm::enumerate(values)) {
    Type type = getElementTypeOrSelf(op.getResult(i).getType());
    if (value.getType() != type)
      value = arith::TruncFOp::create(b, loc, type, value);
    LLVM::StoreOp::create(b, loc, value,
                          element(pointers[2 + op.getExtras().size() + i], at, type));
  }
  b.setInsertionPointAfter(loop);
}

gpu::GPUFuncOp buildCombineKernel(OpBuilder &builder, StringRef name, CombineOp op,
                                  int64_t threads, bool pdl) {
  OpBuilder::InsertionGuard guard(builder);
  CombineSkeleton skeleton(builder, op.getLoc());
  gpu::GPUFuncOp f = skeleton.open(name, KernelArgs::of(op, false), threads, 1);
  skeleton.combine(op, threads, pdl);
  skeleton.close(f);
  return f;
}

} // namespace qlinear
