//===- Epilogue.h - Epilogues on values of any shape ------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_CONVERSION_EPILOGUE_H
#define QLINEAR_LIB_CONVERSION_EPILOGUE_H

#include "qlinear/Dialect/QLinear.h"

namespace mlir::qlinear {

/// `type`, or where `like` is a vector one of its shape. Elements of a vector are no
/// floats narrower than f32: they are computed in f32, and rounded when they are
/// stored.
Type vectorLike(Type type, Type like);

/// Whether the epilogue of `op` can run on vectors; emits an error that names
/// the operation if not.
LogicalResult checkEpilogue(EpilogueOpInterface op);

/// Emits the epilogue of `op` (without one, nothing) and returns its results.
/// `computed` are its first arguments: f32, or vectors of f32 of one shape, such as
/// lanes of a tile or a fragment of a matrix product. `load` gives the elements of an
/// extra there (of its type, or a vector as vectorLike has it). Results of scalars are
/// of the results' element types, those of vectors as vectorLike has them.
SmallVector<Value> emitEpilogue(OpBuilder &b, EpilogueOpInterface op,
                                ArrayRef<Value> computed,
                                function_ref<Value(unsigned extra)> load);

} // namespace mlir::qlinear
#endif
