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
// and for many rows, where an item is a part of the rows for `tiles` tiles
//
//     for `tiles` tiles at a time
//       for each set of weights, those of the tiles that are the set's
//         for `tokens` of the item's rows at a time
//           for two of the tiles at a time, or one
//             for each weight: multiply the tiles              (micro-kernel)
//             for each of the tiles and rows: the epilogue
//
//===----------------------------------------------------------------------===//
#include "CpuSkeleton.h"
#include "Epilogue.h"
#include "qlinear/Kernels/Cpu.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include "llvm/Support/MathExtras.h"

namespace mlir::qlinear {

namespace layout = ::qlinear::layout;
namespace cpu = ::qlinear::cpu;

static constexpr int64_t kColumns = layout::kTileRows;
static_assert(kTokenBlock == cpu::kTokenBlock, "of the dialect and of micro-kernels");

static int32_t dtypeOf(Type type) {
  return type.isF32() ? cpu::kFloat32 : type.isF16() ? cpu::kFloat16 : cpu::kBFloat16;
}

static int64_t bytesOf(Type type) { return type.getIntOrFloatBitWidth() / 8; }

/// Tiles of 16 rows over all weights of a linear: with an epilogue they are computed
/// together, so one weight's tiles count.
static int64_t countTiles(LinearOp linear) {
  int64_t tiles = 0;
  for (unsigned i = 0; i < linear.getWeights().size(); ++i) {
    tiles += linear.getWeightType(i).getLayout().tiles();
    if (linear.hasEpilogue())
      break;
  }
  return tiles;
}

int64_t countItems(LinearOp linear, const CpuGemv &kernel) {
  return llvm::divideCeil(countTiles(linear), *kernel.tiles);
}

/// The parts that the rows of `tiles` tiles are cut into: no more than there are blocks
/// of rows.
static int64_t countRowParts(const CpuGemm &kernel) {
  return std::min<int64_t>(kRowParts, llvm::divideCeil(kernel.rows, kTokenBlock));
}
int64_t countItems(LinearOp linear, const CpuGemm &kernel) {
  return llvm::divideCeil(countTiles(linear), *kernel.tiles) * countRowParts(kernel);
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
  /// The encoding and the shape of a weight, as micro-kernels take them.
  SmallVector<Value> shapeOf(WeightType type) {
    return {constant(int64_t(type.getEncoding().getValue().spec())),
            constant(type.getN()), constant(type.getK())};
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

namespace {

/// The kernel of a linear: what those for few and for many rows have in common.
class LinearKernel {
public:
  /// With memory for `rows` products with a tile of each weight, and for `stateBytes`
  /// of the micro-kernels.
  LinearKernel(SymbolTable &symbols, LinearOp linear, StringRef name, int64_t rows,
               int64_t stateBytes)
      : k(symbols, linear.getLoc(), name), linear(linear) {
    auto argumentsOf = [&, next = int64_t(0)](size_t count) mutable {
      SmallVector<Value> values;
      for (size_t i = 0; i < count; ++i)
        values.push_back(k.argument(next++));
      return values;
    };
    blobs = argumentsOf(linear.getWeights().size());
    activations = argumentsOf(1).front();
    extras = argumentsOf(linear.getExtras().size());
    results = argumentsOf(linear.getNumResults());
    state = k.scratch(stateBytes);
    buffer = k.scratch(kColumns * 4);
    for (size_t i = 0; i < (linear.hasEpilogue() ? blobs.size() : 1); ++i)
      products.push_back(k.scratch(rows * kColumns * 4));
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

  KernelBuilder k;
  LinearOp linear;
  SmallVector<Value> blobs, extras, results, products;
  Value activations, state, buffer;
};

/// The products of one tile of weight i for the rows of a kernel for few. `floats` is
/// the type of activations that are not quantized, else null.
void addUnits(LinearKernel &l, size_t i, int64_t rows, Type floats, Value tile,
              Value out) {
  KernelBuilder &k = l.k;
  WeightType type = l.linear.getWeightType(i);
  layout::WeightLayout w = type.getLayout();
  SmallVector<Value> shape = l.k.shapeOf(type);
  Value m = k.constant32(int32_t(rows));
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
        {l.blobs[i], l.activations, k.rows(), tile, unit, k.constant32(tail), l.state});
    k.call(floats ? "ql_cpu_add_float_unit" : "ql_cpu_add_unit", withShape(args));
  };
  Value full = k.constant(int64_t(w.fullUnits()));
  if (w.fullUnits())
    k.loop(k.constant(0), full, [&](Value unit) { addUnit(unit, false); });
  if (w.tailChunks())
    addUnit(full, true);
  k.call("ql_cpu_end_tile", {m, l.state, out});
}

} // namespace

LLVM::LLVMFuncOp buildLinearKernel(SymbolTable &symbols, LinearOp linear,
                                   StringRef name, const CpuGemv &kernel) {
  LinearKernel l(symbols, linear, name, kernel.rows, cpu::tileBytes(int(kernel.rows)));
  KernelBuilder &k = l.k;
  Type floats = linear.multipliesFloats()
                    ? getElementTypeOrSelf(linear.getX().getType())
                    : Type();
  Value rows = k.rows64();
  l.forEachSet(k.mul(k.begin(), *kernel.tiles), k.mul(k.end(), *kernel.tiles),
               [&](size_t from, size_t to, Value low, Value high, int64_t offset) {
                 k.loop(low, high, [&](Value index) {
                   Value tile = l.tileOf(index, offset);
                   for (size_t i = from; i < to; ++i)
                     addUnits(l, i, kernel.rows, floats, tile, l.products[i - from]);
                   l.storeTile(from, tile, /*firstProduct=*/{}, /*firstRow=*/{}, rows);
                 });
               });
  return k.finish();
}

LLVM::LLVMFuncOp buildLinearKernel(SymbolTable &symbols, LinearOp linear,
                                   StringRef name, const CpuGemm &kernel) {
  LinearKernel l(symbols, linear, name, cpu::kGemmTiles * *kernel.tokens,
                 cpu::kGemmStateBytes);
  KernelBuilder &k = l.k;
  layout::ActivationLayout a{layout::u64(linear.getWeightType(0).getK())};
  // The items of a group of tiles follow each other: where a range has all of them, the
  // group's weights are read once.
  int64_t parts = countRowParts(kernel);
  Value rows = k.rows64(), all = k.constant(parts);
  Value blocks = k.div(k.add(rows, k.constant(kTokenBlock - 1)), kTokenBlock);
  auto firstRowOf = [&](Value part) {
    return k.min(rows, k.mul(k.div(k.mul(blocks, part), parts), kTokenBlock));
  };
  Value firstGroup = k.div(k.begin(), parts);
  Value lastGroup = k.div(k.add(k.end(), k.constant(parts - 1)), parts);
  k.loop(firstGroup, lastGroup, [&](Value group) {
    Value item = k.mul(group, parts);
    Value firstRow = firstRowOf(k.max(k.sub(k.begin(), item), k.constant(0)));
    Value lastRow = firstRowOf(k.min(k.sub(k.end(), item), all));
    Value first = k.mul(group, *kernel.tiles);
    Value last = k.add(first, k.constant(*kernel.tiles));
    l.forEachSet(
        first, last,
        [&](size_t from, size_t to, Value low, Value high, int64_t offset) {
          k.loop(firstRow, lastRow, *kernel.tokens, [&](Value token) {
            Value count = k.min(k.constant(*kernel.tokens), k.sub(lastRow, token));
            Value activations = k.at(l.activations, token, int64_t(a.bytes()));
            k.loop(low, high, cpu::kGemmTiles, [&](Value index) {
              Value tile = l.tileOf(index, offset);
              Value tiles = k.min(k.constant(cpu::kGemmTiles), k.sub(high, index));
              for (size_t i = from; i < to; ++i) {
                SmallVector<Value> args = l.k.shapeOf(linear.getWeightType(i));
                args.append({l.blobs[i], activations, k.toInt32(count), tile,
                             k.toInt32(tiles), l.state, k.constant(*kernel.tokens),
                             l.products[i - from]});
                k.call("ql_cpu_multiply_tiles", args);
              }
              k.loop(k.constant(0), tiles, [&](Value t) {
                l.storeTile(from, k.add(tile, t), k.mul(t, *kernel.tokens), token,
                            count);
              });
            });
          });
        });
  });
  return k.finish();
}

LLVM::LLVMFuncOp buildQuantizeKernel(SymbolTable &symbols, Location loc, StringRef name,
                                     Type type, int64_t K,
                                     std::optional<int64_t> parts) {
  KernelBuilder k(symbols, loc, name);
  Value x = k.argument(0), out = k.argument(1);
  layout::ActivationLayout a{layout::u64(K)};
  auto [begin, end] = k.rowsOf(parts);
  k.loop(begin, end, [&](Value row) {
    k.call("ql_cpu_quantize",
           {k.constant32(dtypeOf(type)), k.constant(K), k.at(x, row, K * bytesOf(type)),
            k.at(out, row, int64_t(a.bytes()))});
  });
  return k.finish();
}

LLVM::LLVMFuncOp buildNormKernel(SymbolTable &symbols, NormOp op, StringRef name,
                                 std::optional<int64_t> parts) {
  KernelBuilder k(symbols, op.getLoc(), name);
  int64_t K = op.getK(), next = 0;
  Type type = op.getInputElement();
  Value dtype = k.constant32(dtypeOf(type)), columns = k.constant(K);
  auto argumentsOf = [&](size_t count) {
    SmallVector<Value> values;
    for (size_t i = 0; i < count; ++i)
      values.push_back(k.argument(next++));
    return values;
  };
  SmallVector<Value> inputs = argumentsOf(op.getInputs().size());
  SmallVector<Value> extras = argumentsOf(op.getExtras().size());
  SmallVector<Value> results = argumentsOf(op.getNumResults());
  Value statistics = k.scratch(2 * kColumns * 4), buffer = k.scratch(kColumns * 4);
  auto [begin, end] = k.rowsOf(parts);
  k.loop(begin, end, [&](Value row) {
    SmallVector<Value> x;
    for (Value input : inputs)
      x.push_back(k.at(input, row, K * bytesOf(type)));
    if (x.size() == 1)
      x.push_back(k.null());
    bool mean = op.getKind() == NormKind::layer;
    Value epsilon = arith::ConstantOp::create(k.b, k.loc, op.getEpsilonAttr());
    k.call("ql_cpu_norm_statistics",
           {k.constant32(mean), dtype, columns, epsilon, x[0], x[1], statistics});
    k.loop(k.constant(0), columns, kColumns, [&](Value column) {
      Value element = k.add(k.mul(row, K), column);
      Value count = k.min(k.constant(kColumns), k.sub(columns, column));
      k.call("ql_cpu_load_sum", {dtype, columns, x[0], x[1], column, buffer});
      Value sum = k.loadVector(buffer);
      Value n = arith::SubFOp::create(k.b, k.loc, sum, k.loadVector(statistics));
      Value factor = k.loadVector(k.at(statistics, k.constant(1), kColumns * 4));
      n = arith::MulFOp::create(k.b, k.loc, n, factor);
      SmallVector<Value> values = emitEpilogue(k.b, op, {n, sum}, [&](unsigned i) {
        auto extra = cast<RankedTensorType>(op.getExtras()[i].getType());
        return k.loadExtra(extras[i], extra, column, element, count, buffer);
      });
      for (auto [i, result] : llvm::enumerate(results))
        k.storeSome(values[i], result, element,
                    getElementTypeOrSelf(op.getResult(i).getType()), count, buffer);
    });
  });
  return k.finish();
}

LLVM::LLVMFuncOp buildEmbeddingKernel(SymbolTable &symbols, EmbeddingOp op,
                                      StringRef name, std::optional<int64_t> parts) {
  KernelBuilder k(symbols, op.getLoc(), name);
  Value blob = k.argument(0), indices = k.argument(1), out = k.argument(2);
  int64_t rowBytes = op.getWeightType().getK() * bytesOf(op.getElement());
  auto [begin, end] = k.rowsOf(parts);
  k.loop(begin, end, [&](Value row) {
    SmallVector<Value> args = k.shapeOf(op.getWeightType());
    args.append({k.constant32(dtypeOf(op.getElement())), blob, k.at(indices, row, 4),
                 k.at(out, row, rowBytes)});
    k.call("ql_cpu_embedding", args);
  });
  return k.finish();
}

LLVM::LLVMFuncOp buildRotaryKernel(SymbolTable &symbols, RotaryOp op, StringRef name,
                                   std::optional<int64_t> parts) {
  KernelBuilder k(symbols, op.getLoc(), name);
  int64_t count = int64_t(op.getInputs().size());
  auto norms = int64_t(op.getNorms().size()), plain = int64_t(op.getNumRows());
  auto caches = int64_t(op.getCaches().size());
  SmallVector<Value> pointers; // as qlinear.launch has them
  for (int64_t i = 0; i < count + 2 + norms + (caches ? 1 : 0) + 2 * caches + plain;
       ++i)
    pointers.push_back(k.argument(i));
  ArrayRef<Value> at = ArrayRef(pointers).drop_front(count + 2 + norms);
  ArrayRef<Value> ofCaches = at.drop_front(caches ? 1 : 0);
  ArrayRef<Value> results = ofCaches.drop_front(2 * caches);
  auto head = int64_t(op.getHead());
  int64_t size = bytesOf(op.getElement());
  int64_t tableBytes = op.getRotated() * bytesOf(op.getTableElement());
  auto [begin, end] = k.rowsOf(parts);
  k.loop(begin, end, [&](Value row) {
    for (int64_t i = 0; i < count; ++i) {
      int64_t columns = op.getColumns(unsigned(i));
      SmallVector<Value> args{k.constant32(dtypeOf(op.getElement())),
                              k.constant32(dtypeOf(op.getTableElement()))};
      bool normalizes = i < norms;
      if (normalizes)
        args.append({k.constant32(dtypeOf(op.getNormElement())),
                     k.constant32(op.getZeroCentered()),
                     arith::ConstantOp::create(k.b, k.loc, op.getEpsilonAttr())});
      args.append({k.constant(columns / head), k.constant(head),
                   k.constant(op.getRotated(unsigned(i))),
                   k.at(pointers[i], row, columns * size)});
      if (normalizes)
        args.push_back(pointers[count + 2 + i]);
      args.append({k.at(pointers[count], row, tableBytes),
                   k.at(pointers[count + 1], row, tableBytes)});
      if (i < plain)
        args.append({k.null(), k.constant(0), k.constant(1),
                     k.at(results[i], row, columns * size)});
      else
        args.append({k.at(at.front(), row, op.getPieces() * 4),
                     k.toInt64(ofCaches[2 * (i - plain) + 1]),
                     k.constant(columns / op.getPieces() / head),
                     ofCaches[2 * (i - plain)]});
      k.call(normalizes ? "ql_cpu_rotary_norm" : "ql_cpu_rotary", args);
    }
  });
  return k.finish();
}

} // namespace mlir::qlinear
