//===- CpuBuilder.h - What generated CPU kernels are made of ----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_CONVERSION_CPUBUILDER_H
#define QLINEAR_LIB_CONVERSION_CPUBUILDER_H

#include "Epilogue.h"
#include "qlinear/Kernels/Cpu.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include "llvm/Support/MathExtras.h"

namespace mlir::qlinear {

namespace layout = ::qlinear::layout;
namespace cpu = ::qlinear::cpu;

inline constexpr int64_t kColumns = layout::kTileRows;
static_assert(kTokenBlock == cpu::kTokenBlock, "of the dialect and of micro-kernels");

inline int32_t dtypeOf(Type type) {
  return type.isF32() ? cpu::kFloat32 : type.isF16() ? cpu::kFloat16 : cpu::kBFloat16;
}

inline int64_t bytesOf(Type type) { return type.getIntOrFloatBitWidth() / 8; }

/// 16 lanes of a type, narrow floats as f32.
inline VectorType lanesOf(Type type) {
  return cast<VectorType>(vectorLike(type, VectorType::get({kColumns}, type)));
}

/// A kernel being built: its function, constants, and calls of micro-kernels.
class KernelBuilder {
public:
  KernelBuilder(SymbolTable &symbols, Location loc, StringRef name)
      : b(loc.getContext()), loc(loc), symbols(symbols) {
    ptr = LLVM::LLVMPointerType::get(b.getContext());
    i32 = b.getI32Type();
    i64 = b.getI64Type();
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()),
                                            {ptr, i32, i64, i64});
    b.setInsertionPointToEnd(&symbols.getOp()->getRegion(0).front());
    func = LLVM::LLVMFuncOp::create(b, loc, name, type);
    func->setAttr("qlinear.kernel", b.getUnitAttr());
    symbols.insert(func);
    b.setInsertionPointToStart(func.addEntryBlock(b));
  }

  Value rows() { return func.getArgument(1); }
  Value rows64() { return arith::ExtSIOp::create(b, loc, i64, rows()); }
  Value toInt32(Value value) { return arith::TruncIOp::create(b, loc, i32, value); }
  Value begin() { return func.getArgument(2); }
  Value end() { return func.getArgument(3); }

  Value constant(int64_t value) {
    return arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(value));
  }
  Value constant32(int32_t value) {
    return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(value));
  }
  Value mul(Value a, int64_t c) {
    return c == 1 ? a : arith::MulIOp::create(b, loc, a, constant(c)).getResult();
  }
  Value mul(Value x, Value y) { return arith::MulIOp::create(b, loc, x, y); }
  Value div(Value a, int64_t c) {
    return c == 1 ? a : arith::DivSIOp::create(b, loc, a, constant(c)).getResult();
  }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); }
  Value min(Value x, Value y) { return arith::MinSIOp::create(b, loc, x, y); }
  Value max(Value x, Value y) { return arith::MaxSIOp::create(b, loc, x, y); }

  /// base + index * scale bytes.
  Value at(Value base, Value index, int64_t scale = 1) {
    return LLVM::GEPOp::create(b, loc, ptr, b.getI8Type(), base,
                               ArrayRef<LLVM::GEPArg>{mul(index, scale)});
  }
  /// Argument i of the kernel: a pointer.
  Value argument(int64_t i) {
    Value slot = LLVM::GEPOp::create(b, loc, ptr, ptr, func.getArgument(0),
                                     ArrayRef<LLVM::GEPArg>{int32_t(i)});
    return LLVM::LoadOp::create(b, loc, ptr, slot);
  }
  /// Scratch memory, 64-byte aligned. To be used in the entry block.
  Value scratch(int64_t bytes) {
    return LLVM::AllocaOp::create(b, loc, ptr, b.getI8Type(), constant(bytes),
                                  /*alignment=*/64);
  }
  Value loadVector(Value from) {
    return LLVM::LoadOp::create(b, loc, lanesOf(b.getF32Type()), from,
                                /*alignment=*/64);
  }
  void storeVector(Value value, Value to) {
    LLVM::StoreOp::create(b, loc, value, to, /*alignment=*/64);
  }
  /// The first `count` of 16 elements of `type` from `index` of `from` on; by way of
  /// `buffer`.
  Value loadSome(Value from, Value index, Type type, Value count, Value buffer) {
    call("ql_cpu_load",
         {constant32(dtypeOf(type)), at(from, index, bytesOf(type)), count, buffer});
    return loadVector(buffer);
  }
  /// The same of an extra of an epilogue, whose columns from `column` on are at
  /// `element` of a matrix.
  Value loadExtra(Value from, RankedTensorType type, Value column, Value element,
                  Value count, Value buffer) {
    if (!isOneElement(type))
      return loadSome(from, type.getRank() == 1 ? column : element,
                      type.getElementType(), count, buffer);
    Value one = loadSome(from, constant(0), type.getElementType(), constant(1), buffer);
    return LLVM::ShuffleVectorOp::create(b, loc, one, one,
                                         SmallVector<int32_t>(kColumns, 0));
  }
  void storeSome(Value value, Value to, Value index, Type type, Value count,
                 Value buffer) {
    storeVector(value, buffer);
    call("ql_cpu_store",
         {constant32(dtypeOf(type)), at(to, index, bytesOf(type)), count, buffer});
  }
  /// The encoding and the shape of a weight, as micro-kernels take them; with
  /// `experts`, of each of which it has so many rows.
  SmallVector<Value> shapeOf(WeightType type, int64_t experts = 1) {
    return {constant(int64_t(type.getEncoding().getValue().spec())),
            constant(type.getN() * experts), constant(type.getK())};
  }
  Value null() { return LLVM::ZeroOp::create(b, loc, ptr); }
  /// A number that comes in a pointer's place.
  Value toInt64(Value pointer) {
    return LLVM::PtrToIntOp::create(b, loc, i64, pointer);
  }
  /// The rows of this call: an item is a row, or one of so many equal parts of all.
  std::pair<Value, Value> rowsOf(std::optional<int64_t> parts) {
    if (!parts)
      return {begin(), min(end(), rows64())};
    auto rowOf = [&](Value part) { return div(mul(part, rows64()), *parts); };
    Value first = rowOf(begin());
    return {first, rowOf(end())};
  }

  void loop(Value from, Value to, function_ref<void(Value)> body) {
    loop(from, to, 1, body);
  }
  void loop(Value from, Value to, int64_t step, function_ref<void(Value)> body) {
    auto op = scf::ForOp::create(b, loc, from, to, constant(step));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(op.getBody());
    body(op.getInductionVar());
  }

  /// Emits `body` where `condition` holds, and else `other`.
  void branch(Value condition, function_ref<void()> body, function_ref<void()> other) {
    auto op = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(op.thenBlock());
    body();
    b.setInsertionPointToStart(op.elseBlock());
    other();
  }
  /// `bytes` bytes from one place to another.
  void copy(Value to, Value from, int64_t bytes) {
    LLVM::MemcpyOp::create(b, loc, to, from, constant(bytes), /*isVolatile=*/false);
  }
  /// Calls body(from) with values of i64 from 0 on until `end`; it returns the next
  /// one.
  void loopWhile(Value end, function_ref<Value(Value)> body) {
    auto loop = scf::WhileOp::create(b, loc, TypeRange(i64), constant(0));
    OpBuilder::InsertionGuard guard(b);
    Block *before = b.createBlock(&loop.getBefore(), {}, TypeRange(i64), {loc});
    Value at = before->getArgument(0);
    Value more = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, at, end);
    scf::ConditionOp::create(b, loc, more, at);
    Block *after = b.createBlock(&loop.getAfter(), {}, TypeRange(i64), {loc});
    Value next = body(after->getArgument(0));
    scf::YieldOp::create(b, loc, next);
  }
  /// An i32 of memory.
  Value loadInt32(Value from, Value index) {
    return LLVM::LoadOp::create(b, loc, i32, at(from, index, 4));
  }

  /// Calls a micro-kernel, declaring it first if it is not.
  void call(StringRef name, ValueRange args) {
    auto callee = symbols.lookup<LLVM::LLVMFuncOp>(name);
    if (!callee) {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(&symbols.getOp()->getRegion(0).front());
      callee = LLVM::LLVMFuncOp::create(
          b, b.getUnknownLoc(), name,
          LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()),
                                      llvm::to_vector(args.getTypes())));
      callee.setVisibility(SymbolTable::Visibility::Private);
      symbols.insert(callee);
    }
    LLVM::CallOp::create(b, loc, callee, args);
  }

  LLVM::LLVMFuncOp finish() {
    LLVM::ReturnOp::create(b, loc, ValueRange{});
    return func;
  }

  OpBuilder b;
  Location loc;

private:
  SymbolTable &symbols;
  LLVM::LLVMFuncOp func;
  Type ptr, i32, i64;
};

/// The kernel of a linear: what those for few and for many rows have in common.
class LinearKernel {
public:
  /// With memory for `rows` products with a tile of each weight, and for `stateBytes`
  /// of the micro-kernels; with `hasIds` of a choice of experts, whose ids the kernel
  /// takes after x, and with `hasOrder` their order after the extras.
  LinearKernel(SymbolTable &symbols, LinearOp linear, StringRef name, int64_t rows,
               int64_t stateBytes, bool hasIds = false, bool hasOrder = false)
      : k(symbols, linear.getLoc(), name), linear(linear) {
    auto argumentsOf = [&, next = int64_t(0)](size_t count) mutable {
      SmallVector<Value> values;
      for (size_t i = 0; i < count; ++i)
        values.push_back(k.argument(next++));
      return values;
    };
    blobs = argumentsOf(linear.getWeights().size());
    activations = argumentsOf(1).front();
    if (hasIds)
      ids = argumentsOf(1).front();
    extras = argumentsOf(linear.getExtras().size());
    if (hasOrder)
      order = argumentsOf(1).front();
    results = argumentsOf(linear.getNumResults());
    state = k.scratch(stateBytes);
    buffer = k.scratch(kColumns * 4);
    for (size_t i = 0; i < (linear.hasEpilogue() ? blobs.size() : 1); ++i)
      products.push_back(k.scratch(rows * kColumns * 4));
    count = k.rows();
  }

  /// Calls body(from, to, low, high, offset) for each set of weights [from, to) that
  /// are computed together, with the tiles low .. high - 1 of the tiles first .. last -
  /// 1 that are the set's; its tile 0 is tile `offset`.
  void forEachSet(Value first, Value last,
                  function_ref<void(size_t, size_t, Value, Value, int64_t)> body) {
    int64_t offset = 0;
    size_t size = linear.hasEpilogue() ? blobs.size() : 1;
    for (size_t from = 0; from < blobs.size(); from += size) {
      int64_t count = linear.getWeightType(from).getLayout().tiles();
      body(from, from + size, k.max(first, k.constant(offset)),
           k.min(last, k.constant(offset + count)), offset);
      offset += count;
    }
  }
  Value tileOf(Value index, int64_t offset) {
    return offset ? k.sub(index, k.constant(offset)) : index;
  }

  /// The epilogue of a tile of the weights [from, ..), whose products are there from
  /// product `firstProduct` on, or 0, for `count` rows, the first of which is
  /// `firstRow`, or 0.
  void storeTile(size_t from, Value tile, Value firstProduct, Value firstRow,
                 Value count) {
    int64_t n = linear.getWeightType(from).getN();
    Value column = k.mul(tile, kColumns);
    Value columns = k.min(k.constant(kColumns), k.sub(k.constant(n), column));
    k.loop(k.constant(0), count, [&](Value row) {
      Value outRow = firstRow ? k.add(firstRow, row) : row;
      Value element = k.add(k.mul(outRow, n), column);
      auto store = [&](size_t result, Value value) {
        k.storeSome(value, results[result], element,
                    getElementTypeOrSelf(linear.getResult(result).getType()), columns,
                    buffer);
      };
      Value at = firstProduct ? k.add(firstProduct, row) : row;
      auto product = [&](size_t i) {
        return k.loadVector(k.at(products[i], at, kColumns * 4));
      };
      if (!linear.hasEpilogue())
        return store(from, product(0));

      SmallVector<Value> values = emitEpilogue(
          k.b, linear,
          llvm::to_vector(llvm::map_range(llvm::seq(blobs.size()), product)),
          [&](unsigned i) -> Value {
            auto type = cast<RankedTensorType>(linear.getExtras()[i].getType());
            return k.loadExtra(extras[i], type, column, element, columns, buffer);
          });
      for (auto [i, value] : llvm::enumerate(values))
        store(i, value);
    });
  }

  /// Where tile `tile` of the linear is in its weights.
  Value inWeight(Value tile) { return firstTile ? k.add(firstTile, tile) : tile; }

  KernelBuilder k;
  LinearOp linear;
  SmallVector<Value> blobs, extras, results, products;
  Value activations, ids, order, state, buffer;
  Value count; ///< rows of x that there are
  /// How many experts have rows in a weight, and the first tile of the one that the
  /// linear is of, or null.
  int64_t experts = 1;
  Value firstTile;
};

/// The products of one tile of weight i for the rows of a kernel for few. `floats` is
/// the type of activations that are not quantized, else null.
inline void addUnits(LinearKernel &l, size_t i, int64_t rows, Type floats, Value tile,
                     Value out) {
  KernelBuilder &k = l.k;
  WeightType type = l.linear.getWeightType(i);
  layout::WeightLayout w = type.getLayout();
  SmallVector<Value> shape = k.shapeOf(type, l.experts);
  Value m = k.constant32(int32_t(rows));
  tile = l.inWeight(tile);
  shape.push_back(m);
  auto withShape = [&](ValueRange rest) {
    SmallVector<Value> args(shape);
    llvm::append_range(args, rest);
    return args;
  };
  k.call("ql_cpu_begin_tile", withShape({l.blobs[i], tile, l.state}));
  auto addUnit = [&](Value unit, bool tail) {
    SmallVector<Value> args;
    if (floats)
      args.push_back(k.constant32(dtypeOf(floats)));
    args.append(
        {l.blobs[i], l.activations, l.count, tile, unit, k.constant32(tail), l.state});
    k.call(floats ? "ql_cpu_add_float_unit" : "ql_cpu_add_unit", withShape(args));
  };
  Value full = k.constant(int64_t(w.fullUnits()));
  if (w.fullUnits())
    k.loop(k.constant(0), full, [&](Value unit) { addUnit(unit, false); });
  if (w.tailChunks())
    addUnit(full, true);
  k.call("ql_cpu_end_tile", {m, l.state, out});
}

} // namespace mlir::qlinear
#endif
