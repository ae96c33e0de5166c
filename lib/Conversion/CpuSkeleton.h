//===- CpuSkeleton.h - The generated part of CPU kernels --------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_CONVERSION_CPUSKELETON_H
#define QLINEAR_LIB_CONVERSION_CPUSKELETON_H

#include "qlinear/Dialect/QLinear.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace mlir::qlinear {

/// Tiles of 16 rows over all weights of a linear: with an epilogue they are
/// computed together, so one weight's tiles count.
int64_t countTiles(LinearOp linear);

/// Appends the kernel of `linear` for up to `rows` rows to `symbols`' module; an
/// item of work is `tiles` tiles. Its arguments are a pointer per weight, for the
/// activations (quantized unless the linear says otherwise), per extra and per result.
LLVM::LLVMFuncOp buildLinearKernel(SymbolTable &symbols, LinearOp linear,
                                   StringRef name, int64_t rows, int64_t tiles);

/// The kernel that quantizes rows of K elements of `type`; an item is a row.
LLVM::LLVMFuncOp buildQuantizeKernel(SymbolTable &symbols, Location loc, StringRef name,
                                     Type type, int64_t K);

} // namespace mlir::qlinear
#endif
