//===- ReferenceBuilder.h - The meaning of elements in linalg ---*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_REFERENCEBUILDER_H
#define QLINEAR_LIB_TRANSFORMS_REFERENCEBUILDER_H

#include "qlinear/Dialect/QLinear.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Transforms/DialectConversion.h"

namespace mlir::qlinear {

inline constexpr utils::IteratorType kParallel = utils::IteratorType::parallel;
inline constexpr utils::IteratorType kReduction = utils::IteratorType::reduction;

Value constant(OpBuilder &b, Location loc, FloatType type, double v);
/// Widens or rounds (to nearest even) to another float type.
Value toFloat(OpBuilder &b, Location loc, Value value, FloatType type);

/// An empty tensor of these sizes.
Value emptyTensor(OpBuilder &b, Location loc, ArrayRef<OpFoldResult> sizes,
                  Type element);
/// A linalg.generic with one result per type; the maps of the results come last.
linalg::GenericOp generic(OpBuilder &b, Location loc, ValueRange inputs,
                          ValueRange outputs, ArrayRef<AffineMap> maps,
                          ArrayRef<utils::IteratorType> iterators,
                          function_ref<void(OpBuilder &, Location, ValueRange)> body);
/// An elementwise function of a 2D tensor.
Value mapElements(OpBuilder &b, Location loc, Value input, Type element,
                  function_ref<Value(OpBuilder &, Location, Value)> f);
Value castElements(OpBuilder &b, Location loc, Value input, FloatType type);
/// The results of an epilogue on tensors of what is computed, of any float type.
ValueRange mapEpilogue(OpBuilder &b, EpilogueOpInterface op, ArrayRef<Value> computed,
                       ValueRange extras);

/// What M x K float activations are after quantization, in f64:
///   d = max|x| / 127,  q = rint(x * (127 / max|x|)),  value d * q
/// with d and 127 / max|x| in f32 and the exact product, per 32 columns; 0 where
/// max|x| is below 2^-119, NaN where it is not finite.
Value quantizeTensor(OpBuilder &b, Location loc, Value x);

/// The pattern of qlinear.norm.
void populateNormReference(RewritePatternSet &patterns, const TypeConverter &converter);
/// The pattern of qlinear.embedding.
void populateEmbeddingReference(RewritePatternSet &patterns,
                                const TypeConverter &converter);
/// The pattern of qlinear.rotary.
void populateRotaryReference(RewritePatternSet &patterns,
                             const TypeConverter &converter);
/// The patterns of qlinear.grouped_linear, whose sums are in `accumulate`, and which
/// quantizes with `int8` where it does not say, and of qlinear.combine.
void populateExpertReference(RewritePatternSet &patterns,
                             const TypeConverter &converter, FloatType accumulate,
                             bool int8);

} // namespace mlir::qlinear
#endif
