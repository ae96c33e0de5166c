//===- NormKernel.cpp - The GPU kernel of a norm --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block takes a row at a time. Its threads take groups of adjacent columns, as many
// as one load brings, in turn:
//
//   thread   0      1     ...  T-1   |  0      1    ...      round by round
//          [0..7][8..15]  ...        |
//
// A row of few rounds stays in registers between the sums and the epilogue; a longer
// one is loaded again, from L1. What the next linear wants as codes or in an image
// stays in registers, too (kernels/cuda/Columns.h).
//
//===----------------------------------------------------------------------===//
#include "Epilogue.h"
#include "GpuKernel.h"
#include "GpuSkeleton.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace qlinear {

NormPlan NormPlan::of(NormOp op) {
  constexpr int64_t kThreads = 1024;
  NormPlan plan;
  plan.width = kernels::kNormColumns;
  if (op.getK() % plan.width)
    plan.width = 1; // rows are not aligned
  plan.groups = op.getK() / plan.width;
  plan.rounds = llvm::divideCeil(plan.groups, kThreads);
  plan.threads =
      llvm::alignTo(llvm::divideCeil(plan.groups, plan.rounds), kernels::kWarp);
  return plan;
}

namespace {
class NormSkeleton : public GpuSkeleton {
public:
  NormSkeleton(OpBuilder &b, NormOp op, const NormPlan &plan, const NormLeaves *leaves)
      : GpuSkeleton(b, op.getLoc()), op(op), plan(plan), leaves(leaves),
        floats(VectorType::get({plan.width}, f32)) {}

  gpu::GPUFuncOp build(StringRef name, const KernelArgs &args, bool pdl);

private:
  void row(Value m);
  /// `width` elements of argument `index` from `at` on, of their type.
  Value load(unsigned index, Value at, Type type) {
    auto vector = VectorType::get({plan.width}, type);
    return LLVM::LoadOp::create(b, loc, vector, element(pointers[index], at, type),
                                alignmentOf(type));
  }
  unsigned alignmentOf(Type type) {
    return unsigned(
        std::min<int64_t>(plan.width * type.getIntOrFloatBitWidth() / 8, 16));
  }
  Value at(Value vector, int64_t lane) {
    return LLVM::ExtractElementOp::create(b, loc, vector, constant(lane));
  }
  Value real(double v) {
    return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(v)));
  }
  /// The first column of a group.
  Value columnOf(Value group) {
    return arith::ExtUIOp::create(
        b, loc, i64, arith::MulIOp::create(b, loc, group, constant(plan.width)));
  }
  /// The sum of the inputs in a group, which there is, as f32.
  Value input(Value group);
  /// `values`, and for each of the thread's groups what `body` makes of them; it gets
  /// the group and its input.
  SmallVector<Value>
  forEachGroup(SmallVector<Value> values,
               function_ref<SmallVector<Value>(Value, Value, ValueRange)> body);
  /// The sum over the row of what `term` makes of an element.
  Value reduce(function_ref<Value(Value)> term);
  /// The epilogue of a group and the stores of its results; returns as f32 the one that
  /// is left for a linear, or null.
  Value finish(Value group, Value input, Value mean, Value factor);
  /// Leaves the row `m` for the linear; `values` are those of the thread's groups.
  void leave(Value m, ArrayRef<Value> values);

  NormOp op;
  NormPlan plan;
  const NormLeaves *leaves;
  unsigned leftAt = 0; ///< the index of its pointer
  VectorType floats;
  Value rowStart;          ///< index of the row's first element
  SmallVector<Value> kept; ///< inputs of the thread's groups
};
} // namespace

Value NormSkeleton::input(Value group) {
  mlir::FloatType type = op.getInputElement();
  Value start = arith::AddIOp::create(b, loc, rowStart, columnOf(group));
  auto widened = [&](Value v) -> Value {
    return type.isF32() ? v : arith::ExtFOp::create(b, loc, floats, v);
  };
  Value sum = widened(load(0, start, type));
  if (op.getInputs().size() == 1)
    return sum;
  sum = arith::AddFOp::create(b, loc, sum, widened(load(1, start, type)));
  if (type.isF32())
    return sum;
  return widened(
      arith::TruncFOp::create(b, loc, VectorType::get({plan.width}, type), sum));
}

SmallVector<Value> NormSkeleton::forEachGroup(
    SmallVector<Value> values,
    function_ref<SmallVector<Value>(Value, Value, ValueRange)> body) {
  // Calls `body` if there is such a group; else values stay.
  auto guarded = [&](Value group, bool always, ValueRange before,
                     function_ref<SmallVector<Value>()> then) -> SmallVector<Value> {
    if (always)
      return then();
    Value inside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, group,
                                         constant(plan.groups));
    auto branch = scf::IfOp::create(b, loc, before.getTypes(), inside,
                                    /*withElseRegion=*/!before.empty());
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    SmallVector<Value> after = then();
    if (before.empty())
      return after;
    scf::YieldOp::create(b, loc, after);
    b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(b, loc, before);
    return branch.getResults();
  };
  if (!plan.keepsRow()) {
    auto loop = scf::ForOp::create(b, loc, thread, constant(plan.groups),
                                   constant(plan.threads), values);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value group = loop.getInductionVar();
    SmallVector<Value> next = body(group, input(group), loop.getRegionIterArgs());
    if (!next.empty())
      scf::YieldOp::create(b, loc, next);
    return loop.getResults();
  }
  bool first = kept.empty();
  for (int64_t round = 0; round < plan.rounds; ++round) {
    bool always = (round + 1) * plan.threads <= plan.groups;
    Value group = arith::AddIOp::create(b, loc, thread, constant(round * plan.threads));
    if (first) {
      Value none = arith::ConstantOp::create(b, loc, b.getZeroAttr(floats));
      kept.push_back(guarded(group, always, none, [&]() -> SmallVector<Value> {
                       return {input(group)};
                     }).front());
    }
    values = guarded(group, always, values,
                     [&] { return body(group, kept[round], values); });
  }
  return values;
}

Value NormSkeleton::reduce(function_ref<Value(Value)> term) {
  Value sum = forEachGroup({real(0)}, [&](Value, Value input, ValueRange sums) {
                Value sum = sums.front();
                for (int64_t lane = 0; lane < plan.width; ++lane)
                  sum = arith::AddFOp::create(b, loc, sum, term(at(input, lane)));
                return SmallVector<Value>{sum};
              }).front();
  return call("ql_block_sum", f32, {sum, constant(plan.threads), shared(0)});
}

Value NormSkeleton::finish(Value group, Value input, Value mean, Value factor) {
  Value column = columnOf(group);
  Value start = arith::AddIOp::create(b, loc, rowStart, column);
  SmallVector<Value> extras;
  for (auto [i, extra] : llvm::enumerate(op.getExtras())) {
    auto type = cast<RankedTensorType>(extra.getType());
    auto number = unsigned(op.getInputs().size() + i);
    extras.push_back(isOneElement(type)
                         ? Value(LLVM::LoadOp::create(b, loc, type.getElementType(),
                                                      pointers[number]))
                         : load(number, type.getRank() == 1 ? column : start,
                                type.getElementType()));
  }
  SmallVector<Value> results;
  for (Type type : op.getResultTypes())
    results.push_back(LLVM::PoisonOp::create(
        b, loc, VectorType::get({plan.width}, getElementTypeOrSelf(type))));
  for (int64_t lane = 0; lane < plan.width; ++lane) {
    Value s = at(input, lane), n = s;
    if (mean)
      n = arith::SubFOp::create(b, loc, n, mean);
    n = arith::MulFOp::create(b, loc, n, factor);
    SmallVector<Value> values =
        emitEpilogue(b, op, {n, s}, [&](unsigned i) {
          return isa<VectorType>(extras[i].getType()) ? at(extras[i], lane) : extras[i];
        });
    for (auto [result, value] : llvm::zip_first(results, values)) {
      Type type = getElementTypeOrSelf(result.getType());
      if (value.getType() != type)
        value = arith::TruncFOp::create(b, loc, type, value);
      result = LLVM::InsertElementOp::create(b, loc, result, value, constant(lane));
    }
  }
  unsigned first = unsigned(op.getInputs().size() + op.getExtras().size());
  Value left;
  for (auto [i, result] : llvm::enumerate(results)) {
    Type type = getElementTypeOrSelf(result.getType());
    if (leaves && first + i == leftAt)
      left = type.isF32() ? result : arith::ExtFOp::create(b, loc, floats, result);
    else
      LLVM::StoreOp::create(b, loc, result, element(pointers[first + i], start, type),
                            alignmentOf(type));
  }
  return left;
}

void NormSkeleton::leave(Value m, ArrayRef<Value> values) {
  auto half = VectorType::get({plan.width / 2}, f32);
  auto part = [&](Value value, int64_t from) -> Value {
    Value low = LLVM::PoisonOp::create(b, loc, half);
    for (int64_t i = 0; i < plan.width / 2; ++i)
      low =
          LLVM::InsertElementOp::create(b, loc, low, at(value, from + i), constant(i));
    return low;
  };
  Value K = constant64(op.getK()), to = pointers[leftAt], most;
  auto halves = [&](Value value) {
    return SmallVector<Value>{part(value, 0), part(value, plan.width / 2)};
  };
  if (leaves->image) {
    for (Value value : values) {
      Value magnitude = call("ql_columns_magnitude", i32, halves(value));
      most = most ? arith::MaxUIOp::create(b, loc, most, magnitude) : magnitude;
    }
    most = call("ql_block_largest", i32, {most, constant(plan.threads), shared(0)});
  }
  for (auto [round, value] : llvm::enumerate(values)) {
    Value group =
        arith::AddIOp::create(b, loc, thread, constant(int64_t(round) * plan.threads));
    SmallVector<Value> args = halves(value);
    if (leaves->image)
      args.append({K, rows, m, group, most, to});
    else
      args.append({K, m, group, to});
    call(leaves->image ? "ql_columns_prepare" : "ql_columns_quantize", args);
  }
}

void NormSkeleton::row(Value m) {
  int64_t K = op.getK();
  rowStart = arith::MulIOp::create(b, loc, arith::ExtUIOp::create(b, loc, i64, m),
                                   constant64(K));
  kept.clear();
  auto meanOf = [&](function_ref<Value(Value)> term) -> Value {
    return arith::DivFOp::create(b, loc, reduce(term), real(double(K)));
  };
  Value mean;
  if (op.getKind() == NormKind::layer)
    mean = meanOf([](Value v) { return v; });
  Value square = meanOf([&](Value v) -> Value {
    if (mean)
      v = arith::SubFOp::create(b, loc, v, mean);
    return arith::MulFOp::create(b, loc, v, v);
  });
  square = arith::AddFOp::create(
      b, loc, square, arith::ConstantOp::create(b, loc, op.getEpsilonAttr()));
  Value factor =
      arith::DivFOp::create(b, loc, real(1), math::SqrtOp::create(b, loc, square));
  // Of each round, what is left for the linear; zero where there is no group.
  SmallVector<Value> values;
  if (leaves)
    values.assign(size_t(plan.rounds),
                  arith::ConstantOp::create(b, loc, b.getZeroAttr(floats)));
  size_t round = 0;
  values = forEachGroup(values, [&](Value group, Value input, ValueRange before) {
    SmallVector<Value> after = llvm::to_vector(before);
    if (Value left = finish(group, input, mean, factor))
      after[round++] = left;
    return after;
  });
  if (leaves)
    leave(m, values);
}

gpu::GPUFuncOp NormSkeleton::build(StringRef name, const KernelArgs &args, bool pdl) {
  gpu::GPUFuncOp f = open(name, args, plan.threads, 1);
  if (leaves)
    leftAt = args.x->index;
  awaitPrior(pdl);
  if (leaves && leaves->image)
    call("ql_clear", {temporary, constant(leaves->counters), constant(plan.threads)});
  auto loop = scf::ForOp::create(b, loc, call("ql_ptx_block", i32, {}), rows,
                                 call("ql_ptx_blocks", i32, {}));
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    row(loop.getInductionVar());
  }
  close(f);
  return f;
}

gpu::GPUFuncOp buildNormKernel(OpBuilder &builder, StringRef name, NormOp op,
                               const NormPlan &plan, const KernelArgs &args, bool pdl,
                               const NormLeaves *leaves) {
  OpBuilder::InsertionGuard guard(builder);
  return NormSkeleton(builder, op, plan, leaves).build(name, args, pdl);
}

} // namespace qlinear
