//===- CpuSkeleton.cpp - The generated part of CPU kernels ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   void k(void *const *args, int32_t rows, int64_t begin, int64_t end)
//     for each set of weights that are computed together
//       for the set's tiles in begin * tiles .. end * tiles
//         for each weight: begin, add each unit, end          (micro-kernels)
//         for each of `rows` rows: the epilogue on vectors of 16 columns
//
//===----------------------------------------------------------------------===//
#include "CpuSkeleton.h"
#include "Epilogue.h"
#include "qlinear/Kernels/Cpu.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace mlir::qlinear {

namespace layout = ::qlinear::layout;
namespace cpu = ::qlinear::cpu;

static constexpr int64_t kColumns = layout::kTileRows;

static int32_t dtypeOf(Type type) {
  return type.isF32() ? cpu::kFloat32 : type.isF16() ? cpu::kFloat16 : cpu::kBFloat16;
}

static int64_t bytesOf(Type type) { return type.getIntOrFloatBitWidth() / 8; }

int64_t countTiles(LinearOp linear) {
  int64_t tiles = 0;
  for (unsigned i = 0; i < linear.getWeights().size(); ++i) {
    tiles += linear.getWeightType(i).getLayout().tiles();
    if (linear.hasEpilogue())
      break;
  }
  return tiles;
}

/// 16 lanes of a type, narrow floats as f32.
static VectorType lanesOf(Type type) {
  return cast<VectorType>(vectorLike(type, VectorType::get({kColumns}, type)));
}

//===----------------------------------------------------------------------===//
// Building blocks
//===----------------------------------------------------------------------===//

namespace {

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

  void loop(Value from, Value to, function_ref<void(Value)> body) {
    auto op = scf::ForOp::create(b, loc, from, to, constant(1));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(op.getBody());
    body(op.getInductionVar());
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

} // namespace

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// The rows x 16 products of one tile of a weight, into `out`. `floats` is the type of
/// activations that are not quantized, else null.
static void buildTile(KernelBuilder &k, WeightType type, int64_t rows, Type floats,
                      Value blob, Value activations, Value tile, Value state,
                      Value out) {
  layout::WeightLayout w = type.getLayout();
  Value spec = k.constant(int64_t(type.getEncoding().getValue().spec()));
  Value n = k.constant(type.getN()), kk = k.constant(type.getK());
  Value m = k.constant32(int32_t(rows));
  k.call("ql_cpu_begin_tile", {spec, n, kk, m, blob, tile, state});
  auto addUnit = [&](Value unit, bool tail) {
    SmallVector<Value> args{spec, n, kk, m};
    if (floats)
      args.push_back(k.constant32(dtypeOf(floats)));
    args.append({blob, activations, k.rows(), tile, unit, k.constant32(tail), state});
    k.call(floats ? "ql_cpu_add_float_unit" : "ql_cpu_add_unit", args);
  };
  Value full = k.constant(int64_t(w.fullUnits()));
  if (w.fullUnits())
    k.loop(k.constant(0), full, [&](Value unit) { addUnit(unit, false); });
  if (w.tailChunks())
    addUnit(full, true);
  k.call("ql_cpu_end_tile", {m, state, out});
}

LLVM::LLVMFuncOp buildLinearKernel(SymbolTable &symbols, LinearOp linear,
                                   StringRef name, int64_t rows, int64_t tiles) {
  KernelBuilder k(symbols, linear.getLoc(), name);
  size_t numWeights = linear.getWeights().size();
  auto argumentsOf = [&, next = int64_t(0)](size_t count) mutable {
    SmallVector<Value> values;
    for (size_t i = 0; i < count; ++i)
      values.push_back(k.argument(next++));
    return values;
  };
  SmallVector<Value> blobs = argumentsOf(numWeights);
  Value activations = argumentsOf(1).front();
  SmallVector<Value> extras = argumentsOf(linear.getExtras().size());
  SmallVector<Value> results = argumentsOf(linear.getNumResults());
  Type floats = linear.multipliesFloats()
                    ? getElementTypeOrSelf(linear.getX().getType())
                    : Type();
  Value state = k.scratch(cpu::tileBytes(int(rows)));
  Value buffer = k.scratch(kColumns * 4);
  SmallVector<Value> products;
  for (size_t i = 0; i < (linear.hasEpilogue() ? numWeights : 1); ++i)
    products.push_back(k.scratch(rows * kColumns * 4));
  Value first = k.mul(k.begin(), tiles), last = k.mul(k.end(), tiles);
  Value numRows = arith::ExtSIOp::create(k.b, k.loc, k.b.getI64Type(), k.rows());

  // Tiles [offset, offset + count) of the work are those of weights [from, to).
  auto buildSet = [&](size_t from, size_t to, int64_t offset) {
    int64_t n = linear.getWeightType(from).getN();
    int64_t count = linear.getWeightType(from).getLayout().tiles();
    Value low = k.max(first, k.constant(offset));
    Value high = k.min(last, k.constant(offset + count));
    k.loop(low, high, [&](Value index) {
      Value tile = offset ? k.sub(index, k.constant(offset)) : index;
      for (size_t i = from; i < to; ++i)
        buildTile(k, linear.getWeightType(i), rows, floats, blobs[i], activations, tile,
                  state, products[i - from]);
      Value column = k.mul(tile, kColumns);
      Value columns = k.min(k.constant(kColumns), k.sub(k.constant(n), column));
      k.loop(k.constant(0), numRows, [&](Value row) {
        Value element = k.add(k.mul(row, n), column);
        auto store = [&](size_t result, Value value) {
          Type type = cast<RankedTensorType>(linear.getResult(result).getType())
                          .getElementType();
          k.storeVector(value, buffer);
          k.call("ql_cpu_store",
                 {k.constant32(dtypeOf(type)),
                  k.at(results[result], element, bytesOf(type)), columns, buffer});
        };
        auto product = [&](size_t i) {
          return k.loadVector(k.at(products[i], row, kColumns * 4));
        };
        if (!linear.hasEpilogue())
          return store(from, product(0));

        SmallVector<Value> values = emitEpilogue(
            k.b, linear,
            llvm::to_vector(llvm::map_range(llvm::seq(numWeights), product)),
            [&](unsigned i) -> Value {
              auto type = cast<RankedTensorType>(linear.getExtras()[i].getType());
              Value index = type.getRank() == 1 ? column : element;
              k.call("ql_cpu_load",
                     {k.constant32(dtypeOf(type.getElementType())),
                      k.at(extras[i], index, bytesOf(type.getElementType())), columns,
                      buffer});
              return k.loadVector(buffer);
            });
        for (auto [i, value] : llvm::enumerate(values))
          store(i, value);
      });
    });
  };
  if (linear.hasEpilogue()) {
    buildSet(0, numWeights, 0);
  } else {
    int64_t offset = 0;
    for (size_t i = 0; i < numWeights; ++i) {
      buildSet(i, i + 1, offset);
      offset += linear.getWeightType(i).getLayout().tiles();
    }
  }
  return k.finish();
}

LLVM::LLVMFuncOp buildQuantizeKernel(SymbolTable &symbols, Location loc, StringRef name,
                                     Type type, int64_t K) {
  KernelBuilder k(symbols, loc, name);
  Value x = k.argument(0), out = k.argument(1);
  Value numRows = arith::ExtSIOp::create(k.b, k.loc, k.b.getI64Type(), k.rows());
  layout::ActivationLayout a{layout::u64(K)};
  k.loop(k.begin(), k.min(k.end(), numRows), [&](Value row) {
    k.call("ql_cpu_quantize",
           {k.constant32(dtypeOf(type)), k.constant(K), k.at(x, row, K * bytesOf(type)),
            k.at(out, row, int64_t(a.bytes()))});
  });
  return k.finish();
}

} // namespace mlir::qlinear
