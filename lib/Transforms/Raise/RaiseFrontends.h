//===- RaiseFrontends.h - Other dialects' linears, in linalg ----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What qlinear-raise knows about operations outside linalg: of the quant dialect, and
// of torch, ONNX and IREE, whose dialects are not linked. Those are found by their
// names and attributes, registered or not:
//
//   "torch.operator"(...) {name = "torch.torchao.dequantize_affine"}
//   "torch.quantized_decomposed.dequantize_per_channel_group"(...)
//   "torch.operator"(...) {name = "onnx.MatMulNBits", torch.onnx.K = 64 : si64, ...}
//   "onnx.MatMulNBits"(...) {K = 64, ...}
//
// Each has an equivalent on builtin tensors, in linalg, which is created beside it for
// the analysis. Equivalents that stay unused are erased again. Tensors are builtin
// ones, also with si8, ui8, ... elements, or !torch.vtensor, which is converted by
// torch_c.to_builtin_tensor.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_RAISE_RAISEFRONTENDS_H
#define QLINEAR_LIB_TRANSFORMS_RAISE_RAISEFRONTENDS_H

#include "../ConstantEvaluator.h"
#include "RaiseAnalysis.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

#include <optional>

namespace mlir::qlinear {

/// A tensor type in builtin terms.
struct TensorInfo {
  RankedTensorType type;        ///< of signless integers or floats
  std::optional<bool> isSigned; ///< of integers, where the type says it
};

/// s * (q - z), elementwise.
struct Dequantization {
  Value codes;                  ///< builtin tensor
  AffineMap codeMap, resultMap; ///< the identity if null
  bool isSigned = false;
  Value scale; ///< builtin tensor
  AffineMap scaleMap;
  Value zero; ///< builtin tensor; null if there is none
  AffineMap zeroMap;
  bool isZeroSigned = false;
  /// In terms of a code in the middle of its range, s * (q - middle) + zero.
  std::optional<double> middle;
  /// The least and the largest code, as the operation says.
  std::optional<std::pair<int64_t, int64_t>> range;
};

class Frontends {
public:
  /// A contraction that stands for an operation, and the value that replaces its
  /// result.
  struct Linear {
    linalg::LinalgOp contraction;
    Value result;
  };

  explicit Frontends(MLIRContext *context);

  /// The equivalent of the result of an operation that dequantizes, or passes on a
  /// dequantized value; null if the operation is none of them, or has no equivalent.
  Value lower(Value value);

  /// The equivalent of a contraction with a dequantized weight. None if `op` is no such
  /// contraction, or has no equivalent; whyNot(op) is the reason then.
  std::optional<Linear> lowerLinear(Operation *op);

  /// Why a known operation has no equivalent; empty if it has one.
  StringRef whyNot(Operation *op) const {
    auto it = reasons.find(op);
    return it == reasons.end() ? StringRef() : StringRef(it->second);
  }
  StringRef whyNot(Value value) const;

  /// Whether a tensor has more than one user in the module as it was; users that are,
  /// or lead to, nothing but contractions do not count if `isWeight`, as each may
  /// become a linear.
  bool isShared(Value value, bool isWeight) const;

  /// The name of an operation, or for torch.operator that of its operator, without
  /// "torch.".
  static StringRef nameOf(Operation *op);
  static bool isDequantization(Operation *op);
  /// Of a contraction that lowerLinear() knows.
  static bool isContraction(StringRef name);

  /// Creates operations before `op`, which eraseUnused() erases if they are not used.
  OpBuilder &builderBefore(Operation *op) {
    builder.setInsertionPoint(op);
    return builder;
  }

  /// Erases dead operations, and operations that only they used.
  void eraseDead(ArrayRef<Operation *> operations);
  /// Erases created operations that are not used.
  void eraseUnused();

  ConstantEvaluator constants;

private:
  struct Listener : OpBuilder::Listener {
    llvm::SetVector<Operation *> created;
    void notifyOperationInserted(Operation *op, OpBuilder::InsertPoint) override {
      // Not those in the body of a linalg operation, which has no parent yet.
      if (op->getParentOp())
        created.insert(op);
    }
  };

  // Types and parameters.
  static std::optional<TensorInfo> infoOf(Type type);
  static bool isTensor(Value value) { return infoOf(value.getType()).has_value(); }
  static bool isNone(Value value);
  /// An attribute, also of torch.operator ("torch.onnx.K" for "K").
  static Attribute attributeOf(Operation *op, StringRef name);
  // Parameters: the attribute `name`, else operand `at`.
  static std::optional<int64_t> integerOf(Value value);
  static std::optional<int64_t> integerOf(Operation *op, StringRef name,
                                          unsigned at = ~0u);
  static std::optional<SmallVector<int64_t>> integersOf(Operation *op, StringRef name,
                                                        unsigned at = ~0u);
  static StringRef stringOf(Operation *op, StringRef name, unsigned at = ~0u);
  /// The operands that are tensors, or none where one could be.
  static SmallVector<Value> tensorsOf(Operation *op);

  // Tensors.
  static ElementsAttr constantOf(Value value);
  /// As a builtin tensor of signless elements.
  Value toBuiltin(Value value);
  Value fromBuiltin(OpBuilder &b, Location loc, Value value, Type type);
  /// A reshape between static shapes.
  static Value reshape(OpBuilder &b, Location loc, Value tensor,
                       ArrayRef<int64_t> shape);
  /// The first `columns` fields of `bits` in each of `rows` rows of bytes, lowest
  /// first.
  static Value unpack(OpBuilder &b, Location loc, Value bytes, unsigned bits,
                      int64_t rows, int64_t columns);
  /// Integers that are constants, in as few bits as they need; else as they are.
  static Value narrowZeros(OpBuilder &b, Location loc, Value zeros, bool &isSigned);
  LogicalResult narrow(OpBuilder &b, Operation *op, Dequantization &d);

  /// Remembers the reason for whyNot.
  std::nullopt_t decline(Operation *op, const Twine &reason) {
    reasons[op] = reason.str();
    return std::nullopt;
  }

  // Dequantization.
  /// Whether the result has the elements of operand 0, transposed or converted.
  static bool isPassedOn(Operation *op);
  /// Whether integers of at most 8 bits become floats.
  static bool isIntegerCast(Operation *op);
  bool leadsToContractions(Value value, unsigned depth) const;
  /// Whether an operation of another dialect is known to have no effects.
  static bool isPure(Operation *op);
  static bool isDequantized(Value value);
  Value lowerOp(Operation *op);
  Value build(OpBuilder &b, Operation *op, Dequantization d, RankedTensorType type);
  void setRange(Dequantization &d, Operation *op, std::optional<bool> isSigned,
                unsigned minAt);
  /// The first two tensors of an operation as codes and scales; declines others.
  std::optional<Dequantization> codesAndScales(Operation *op, ArrayRef<Value> tensors);
  /// Gives scales and zeros the shape of the groups, which element d0, d1, ... of the
  /// codes finds at `indices`; declines another number of them.
  LogicalResult shapeGroups(Operation *op, StringRef name, ArrayRef<int64_t> shape,
                            ArrayRef<AffineExpr> indices, Dequantization &d);
  std::optional<Dequantization> torchBlocks(Operation *op);
  std::optional<Dequantization> torchChannels(Operation *op);
  std::optional<Dequantization> onnxDequantize(Operation *op);
  std::optional<Dequantization> linalgExtDequantize(Operation *op);
  std::optional<Dequantization> quantCast(Operation *op);
  std::optional<SmallVector<int64_t>> permutationOf(Operation *op, int64_t rank);

  // Contractions.
  static StringRef findBetween(Value value);
  std::optional<Linear> build(Operation *op, Value x, Value weight, bool isKMajor,
                              Value bias);
  std::optional<Linear> matMulNBits(Operation *op);
  std::optional<Linear> groupMatMul(Operation *op);

  MLIRContext *context;
  Listener listener;
  OpBuilder builder;
  DenseMap<Value, Value> lowered, converted;
  DenseMap<Operation *, std::string> reasons;
};

} // namespace mlir::qlinear
#endif
