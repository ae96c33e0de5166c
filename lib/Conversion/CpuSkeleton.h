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

/// Of kernels whose items are parts of all rows: as many as there may be threads.
inline constexpr int64_t kRowParts = 256;

/// The work items of a linear's kernel.
int64_t countItems(LinearOp linear, const CpuGemv &kernel);
int64_t countItems(LinearOp linear, const CpuGemm &kernel);

/// Appends the kernel of `linear` that `kernel`, which is complete, describes to
/// `symbols`' module. Its arguments are a pointer per weight, for the activations
/// (quantized unless the linear says otherwise), per extra and per result.
LLVM::LLVMFuncOp buildLinearKernel(SymbolTable &symbols, LinearOp linear,
                                   StringRef name, const CpuGemv &kernel);
LLVM::LLVMFuncOp buildLinearKernel(SymbolTable &symbols, LinearOp linear,
                                   StringRef name, const CpuGemm &kernel);

/// The kernel that quantizes rows of K elements of `type`. An item is a row, or one of
/// so many equal `parts` of all rows.
LLVM::LLVMFuncOp buildQuantizeKernel(SymbolTable &symbols, Location loc, StringRef name,
                                     Type type, int64_t K,
                                     std::optional<int64_t> parts);

/// The kernel of a norm. An item is a row, or one of so many equal `parts` of all rows.
LLVM::LLVMFuncOp buildNormKernel(SymbolTable &symbols, NormOp op, StringRef name,
                                 std::optional<int64_t> parts);

/// The kernel of a `qlinear.embedding`, with such items.
LLVM::LLVMFuncOp buildEmbeddingKernel(SymbolTable &symbols, EmbeddingOp op,
                                      StringRef name, std::optional<int64_t> parts);

/// The kernel of a `qlinear.rotary`, with such items.
LLVM::LLVMFuncOp buildRotaryKernel(SymbolTable &symbols, RotaryOp op, StringRef name,
                                   std::optional<int64_t> parts);

} // namespace mlir::qlinear
#endif
