//===- ScalarProgram.h - Scalar code on many elements ----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The body of an elementwise operation or a contraction, compiled to steps. A step is
// one arith or math operation on a vector of lanes, so that the interpreter's work is
// per vector and not per element. Integers are held zero-extended in 64 bits, floats as
// doubles that are rounded to their type after each operation; for f32, f16 and bf16
// that is the same as arithmetic in the type itself, as a double has more than twice
// their bits.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_SCALARPROGRAM_H
#define QLINEAR_LIB_TRANSFORMS_SCALARPROGRAM_H

#include "ConstantEvaluator.h"

#include <deque>
#include <functional>

namespace mlir::qlinear {

/// Elements that are handled at once.
inline constexpr size_t kLanes = 1024;

union Lane {
  uint64_t bits;
  double number;
};
using Lanes = std::vector<Lane>;

/// Whether elements of this type can be loaded.
bool isLoadable(Type element);
/// Whether they can be computed and stored as well.
bool isComputable(Type element);

/// Loads `count` lanes from the elements at `offsets` or, without offsets, from those
/// at `begin` on.
void load(const Elements &from, const int64_t *offsets, size_t begin, size_t count,
          Lanes &to);
/// Stores lanes into the elements from `begin` on.
void store(const Lanes &from, size_t begin, size_t count, Elements &to);

class ScalarProgram {
public:
  /// The lanes of a value, to be filled in before run().
  Lanes &lanesOf(Value value);

  /// The lanes of a computed or constant value; null for any other.
  Lanes *operandOf(Value value);

  /// Adds the steps of `op`, which has one result. `results` takes the place of the
  /// result, so that operations on tensors can be steps, too. False if it is not known.
  bool add(Operation *op, ValueRange operands, Value result);

  /// Runs all steps. False if a result is undefined.
  bool run(size_t count, const LaneIndices &loops);

  /// Whether add() has seen linalg.index.
  bool usesIndices = false;

private:
  struct Context {
    size_t count;
    const LaneIndices &loops;
  };
  using Step = std::function<bool(const Context &)>;
  template <typename Function> bool unary(Value a, Value result, Function function);
  template <typename Function>
  bool binary(ValueRange operands, Value result, Function function);
  bool addInteger(Operation *op, ValueRange operands, Value result);
  bool addFloat(Operation *op, ValueRange operands, Value result);
  bool addConversion(Operation *op, ValueRange operands, Value result);
  bool addFolded(Operation *op, ValueRange operands, Value result);

  DenseMap<Value, Lanes *> slots;
  std::deque<Lanes> storage;
  std::vector<Step> steps;
};

} // namespace mlir::qlinear
#endif
