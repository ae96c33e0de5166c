//===- CpuExperts.cpp - CPU kernels of mixtures of experts ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   for each item in begin .. end: a part of the tiles of a choice
//     the expert that is chosen; if there is it
//       for the part's tiles
//         for each weight: begin, add each unit, end          (micro-kernels)
//         the epilogue
//     else: the piece is 0 or NaN
//
// and for many rows, whose choices are in order of their experts
//
//   for each item in begin .. end: a part of the tiles of each expert
//     for up to 8 choices of one expert at a time
//       their rows, or pieces, of x side by side
//       for the part's tiles: as above, with the rows at once
//
//===----------------------------------------------------------------------===//
#include "CpuBuilder.h"
#include "CpuSkeleton.h"

namespace mlir::qlinear {

namespace {
/// 16 times the same number.
Value lanes(KernelBuilder &k, float value) {
  auto type = lanesOf(k.b.getF32Type());
  return arith::ConstantOp::create(k.b, k.loc, DenseElementsAttr::get(type, value));
}

/// The kernel of a choice, whose pointers are moved to it.
class ChoiceKernel : public LinearKernel {
public:
  /// For up to `rows` choices at once.
  ChoiceKernel(SymbolTable &symbols, GroupedLinearOp op, LinearOp choice,
               StringRef name, int64_t rows, bool hasOrder)
      : LinearKernel(symbols, choice, name, rows, cpu::tileBytes(int(rows)),
                     /*hasIds=*/true, hasOrder),
        op(op), first{activations, extras, results} {
    experts = int64_t(op.getExperts());
    if (op.multipliesFloats())
      floats = getElementTypeOrSelf(op.getX().getType());
    rowBytes = rowBytesOf(op);
    count = k.constant32(1);
    if (rows > 1)
      gathered = k.scratch(rows * rowBytes);
  }

  /// Bytes of a row, or of a piece, of x as micro-kernels take it.
  static int64_t rowBytesOf(GroupedLinearOp op) {
    int64_t K = op.getK();
    return op.multipliesFloats()
               ? K * bytesOf(getElementTypeOrSelf(op.getX().getType()))
               : int64_t(layout::ActivationLayout{layout::u64(K)}.bytes());
  }

  /// Part `part` of `parts` of choice `number`.
  void compute(Value number, Value part, int64_t parts);
  /// The same of some choices of one expert from `at` on in the order, of `all`;
  /// returns where the next ones are.
  Value computeSome(Value at, Value all, Value part, int64_t parts);

private:
  void moveTo(Value number, Value expert);
  Value rowOf(Value number) {
    return k.at(first.activations,
                op.hasPieces() ? number : k.div(number, op.getChoices()), rowBytes);
  }
  Value isKnown(Value id) {
    return arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::ult, id,
                                 k.constant32(int32_t(op.getExperts())));
  }
  Value expertOf(Value id) {
    return arith::ExtUIOp::create(k.b, k.loc, k.b.getI64Type(), id);
  }
  /// The tiles of a part.
  std::pair<Value, Value> tilesOf(Value part, int64_t parts) {
    int64_t tiles = op.getN() / kColumns;
    Value low = k.div(k.mul(part, tiles), parts);
    return {low, k.div(k.mul(k.add(part, k.constant(1)), tiles), parts)};
  }
  /// Tiles of the choices at `activations`, for up to `rows` of them; `store` is called
  /// for each tile of the weights from `from` on.
  void multiply(std::pair<Value, Value> tiles, int64_t rows,
                function_ref<void(size_t from, Value tile)> store);
  /// Tiles of a choice of no expert.
  void fill(Value id, std::pair<Value, Value> tiles);

  GroupedLinearOp op;
  struct {
    Value activations;
    SmallVector<Value> extras, results;
  } first; ///< of the operation
  Type floats;
  int64_t rowBytes;
  Value gathered; ///< rows of x side by side
};
} // namespace

void ChoiceKernel::moveTo(Value number, Value expert) {
  int64_t n = op.getN();
  for (unsigned i = 0; i < extras.size(); ++i) {
    int64_t size = bytesOf(getElementTypeOrSelf(op.getExtras()[i].getType()));
    switch (op.getExtraKind(i)) {
    case GroupedLinearOp::ExtraKind::one:
    case GroupedLinearOp::ExtraKind::column:
      break;
    case GroupedLinearOp::ExtraKind::expertColumn:
      extras[i] = k.at(first.extras[i], expert, n * size);
      break;
    case GroupedLinearOp::ExtraKind::choice:
      extras[i] = k.at(first.extras[i], number, size);
      break;
    case GroupedLinearOp::ExtraKind::element:
      extras[i] = k.at(first.extras[i], number, n * size);
      break;
    }
  }
  for (unsigned i = 0; i < results.size(); ++i)
    results[i] = k.at(first.results[i], number,
                      n * bytesOf(getElementTypeOrSelf(op.getResult(i).getType())));
}

void ChoiceKernel::multiply(std::pair<Value, Value> tiles, int64_t rows,
                            function_ref<void(size_t, Value)> store) {
  size_t size = linear.hasEpilogue() ? blobs.size() : 1;
  for (size_t from = 0; from < blobs.size(); from += size)
    k.loop(tiles.first, tiles.second, [&](Value tile) {
      for (size_t i = from; i < from + size; ++i)
        addUnits(*this, i, rows, floats, tile, products[i - from]);
      store(from, tile);
    });
}

void ChoiceKernel::fill(Value id, std::pair<Value, Value> tiles) {
  Value isNone =
      arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::slt, id, k.constant32(0));
  Value value =
      arith::SelectOp::create(k.b, k.loc, isNone, lanes(k, 0),
                              lanes(k, std::numeric_limits<float>::quiet_NaN()));
  k.loop(tiles.first, tiles.second, [&](Value tile) {
    for (unsigned i = 0; i < results.size(); ++i)
      k.storeSome(value, results[i], k.mul(tile, kColumns),
                  getElementTypeOrSelf(op.getResult(i).getType()), k.constant(kColumns),
                  buffer);
  });
}

void ChoiceKernel::compute(Value number, Value part, int64_t parts) {
  auto tiles = tilesOf(part, parts);
  Value id = k.loadInt32(ids, number);
  k.branch(
      isKnown(id),
      [&] {
        Value expert = expertOf(id);
        moveTo(number, expert);
        firstTile = k.mul(expert, op.getN() / kColumns);
        activations = rowOf(number);
        multiply(tiles, 1, [&](size_t from, Value tile) {
          storeTile(from, tile, /*firstProduct=*/{}, /*firstRow=*/{}, k.constant(1));
        });
      },
      [&] {
        moveTo(number, k.constant(0));
        fill(id, tiles);
      });
}

Value ChoiceKernel::computeSome(Value at, Value all, Value part, int64_t parts) {
  auto tiles = tilesOf(part, parts);
  auto numberAt = [&](Value place) {
    return arith::ExtUIOp::create(k.b, k.loc, k.b.getI64Type(),
                                  k.loadInt32(order, place))
        .getResult();
  };
  k.call("ql_cpu_same_expert", {ids, order, at, all, k.constant(kMaxGemvRows), buffer});
  Value some = k.loadInt32(buffer, k.constant(0));
  Value some64 = arith::ExtUIOp::create(k.b, k.loc, k.b.getI64Type(), some);
  Value id = k.loadInt32(ids, numberAt(at));
  auto known = [&](int64_t rows) {
    Value expert = expertOf(id);
    firstTile = k.mul(expert, op.getN() / kColumns);
    count = some;
    if (rows == 1) {
      activations = rowOf(numberAt(at));
    } else {
      k.loop(k.constant(0), some64, [&](Value row) {
        k.copy(k.at(gathered, row, rowBytes), rowOf(numberAt(k.add(at, row))),
               rowBytes);
      });
      activations = gathered;
    }
    multiply(tiles, rows, [&](size_t from, Value tile) {
      k.loop(k.constant(0), some64, [&](Value row) {
        moveTo(numberAt(k.add(at, row)), expert);
        storeTile(from, tile, /*firstProduct=*/row, /*firstRow=*/{}, k.constant(1));
      });
    });
  };
  auto upTo = [&](int32_t rows) -> Value {
    return arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::sle, some,
                                 k.constant32(rows));
  };
  k.branch(
      isKnown(id),
      [&] {
        k.branch(
            upTo(1), [&] { known(1); },
            [&] {
              k.branch(upTo(4), [&] { known(4); }, [&] { known(kMaxGemvRows); });
            });
      },
      [&] {
        k.loop(k.constant(0), some64, [&](Value row) {
          moveTo(numberAt(k.add(at, row)), k.constant(0));
          fill(id, tiles);
        });
      });
  return k.add(at, some64);
}

LLVM::LLVMFuncOp buildGroupedKernel(SymbolTable &symbols, GroupedLinearOp op,
                                    LinearOp choice, StringRef name,
                                    int64_t itemsPerChoice, bool hasOrder) {
  ChoiceKernel kernel(symbols, op, choice, name, /*rows=*/1, hasOrder);
  KernelBuilder &k = kernel.k;
  // There may be fewer rows than the items are for.
  Value items = k.mul(k.rows64(), op.getChoices() * itemsPerChoice);
  k.loop(k.begin(), k.min(k.end(), items), [&](Value item) {
    Value number = k.div(item, itemsPerChoice);
    kernel.compute(number, k.sub(item, k.mul(number, itemsPerChoice)), itemsPerChoice);
  });
  return k.finish();
}

bool sortsChoices(GroupedLinearOp op) {
  // What is on the stack: the rows of a few choices, the sizes of groups.
  constexpr int64_t most = 1 << 19;
  bool isMany = ShapedType::isDynamic(op.getM()) || op.getM() > kMaxGemvRows;
  return isMany && kMaxGemvRows * ChoiceKernel::rowBytesOf(op) <= most &&
         4 * int64_t(op.getExperts()) <= most;
}

LLVM::LLVMFuncOp buildSortedKernel(SymbolTable &symbols, GroupedLinearOp op,
                                   LinearOp choice, StringRef name, int64_t items) {
  ChoiceKernel kernel(symbols, op, choice, name, kMaxGemvRows, /*hasOrder=*/true);
  KernelBuilder &k = kernel.k;
  Value all = k.mul(k.rows64(), op.getChoices());
  k.loop(k.begin(), k.end(), [&](Value part) {
    k.loopWhile(all,
                [&](Value at) { return kernel.computeSome(at, all, part, items); });
  });
  return k.finish();
}

LLVM::LLVMFuncOp buildOrderKernel(SymbolTable &symbols, GroupedLinearOp op,
                                  StringRef name) {
  KernelBuilder k(symbols, op.getLoc(), name);
  auto experts = int64_t(op.getExperts());
  Value starts = k.scratch((experts + 1) * 4);
  k.call("ql_cpu_order_choices", {k.argument(0), k.mul(k.rows64(), op.getChoices()),
                                  k.constant(experts), starts, k.argument(1)});
  return k.finish();
}

LLVM::LLVMFuncOp buildPiecesKernel(SymbolTable &symbols, GroupedLinearOp op,
                                   StringRef name, std::optional<int64_t> parts) {
  KernelBuilder k(symbols, op.getLoc(), name);
  Value x = k.argument(0), out = k.argument(1);
  int64_t K = op.getK(), pieces = op.getChoices();
  Type type = getElementTypeOrSelf(op.getX().getType());
  layout::ActivationLayout a{layout::u64(K)};
  auto [begin, end] = k.rowsOf(parts);
  k.loop(k.mul(begin, pieces), k.mul(end, pieces), [&](Value piece) {
    k.call("ql_cpu_quantize",
           {k.constant32(dtypeOf(type)), k.constant(K),
            k.at(x, piece, K * bytesOf(type)), k.at(out, piece, int64_t(a.bytes()))});
  });
  return k.finish();
}

LLVM::LLVMFuncOp buildCombineKernel(SymbolTable &symbols, CombineOp op, StringRef name,
                                    std::optional<int64_t> parts) {
  KernelBuilder k(symbols, op.getLoc(), name);
  int64_t n = op.getN(), choices = op.getChoices();
  Value x = k.argument(0), scales = k.argument(1);
  auto count = int64_t(op.getExtras().size());
  Type type = getElementTypeOrSelf(op.getX().getType());
  auto scaleType = cast<RankedTensorType>(op.getScales().getType());
  auto oneScale = RankedTensorType::get({1}, scaleType.getElementType());
  Value buffer = k.scratch(kColumns * 4), columns = k.constant(n);
  auto [begin, end] = k.rowsOf(parts);
  k.loop(begin, end, [&](Value row) {
    k.loop(k.constant(0), columns, kColumns, [&](Value column) {
      Value element = k.add(k.mul(row, n), column);
      Value some = k.min(k.constant(kColumns), k.sub(columns, column));
      auto terms = scf::ForOp::create(k.b, k.loc, k.constant(0), k.constant(choices),
                                      k.constant(1), lanes(k, 0));
      {
        OpBuilder::InsertionGuard guard(k.b);
        k.b.setInsertionPointToStart(terms.getBody());
        Value piece = k.add(k.mul(row, choices), terms.getInductionVar());
        Value scale = k.at(scales, piece, bytesOf(oneScale.getElementType()));
        scale = k.loadExtra(scale, oneScale, {}, {}, {}, buffer);
        Value values =
            k.loadSome(x, k.add(k.mul(piece, n), column), type, some, buffer);
        Value term = arith::MulFOp::create(k.b, k.loc, scale, values);
        term = arith::AddFOp::create(k.b, k.loc, terms.getRegionIterArg(0), term);
        scf::YieldOp::create(k.b, k.loc, term);
      }
      SmallVector<Value> values =
          emitEpilogue(k.b, op, terms.getResult(0), [&](unsigned i) {
            auto extra = cast<RankedTensorType>(op.getExtras()[i].getType());
            return k.loadExtra(k.argument(2 + i), extra, column, element, some, buffer);
          });
      for (auto [i, value] : llvm::enumerate(values))
        k.storeSome(value, k.argument(2 + count + int64_t(i)), element,
                    getElementTypeOrSelf(op.getResult(i).getType()), some, buffer);
    });
  });
  return k.finish();
}

} // namespace mlir::qlinear
