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
#include "CpuBuilder.h"

namespace mlir::qlinear {

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

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

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
