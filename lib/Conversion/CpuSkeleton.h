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

/// The kernel of a `qlinear.grouped_linear`, whose choices are computed one by one,
/// each as `choice` (ChoiceLinear), in so many items; x is quantized where it
/// multiplies codes, row by row, or piece by piece. Its arguments are those of the
/// operation; with `hasOrder` the order of the choices comes after its inputs.
LLVM::LLVMFuncOp buildGroupedKernel(SymbolTable &symbols, GroupedLinearOp op,
                                    LinearOp choice, StringRef name,
                                    int64_t itemsPerChoice, bool hasOrder);

/// Whether there is a kernel for many rows, which takes choices in their order.
bool sortsChoices(GroupedLinearOp op);
/// That kernel, which reads a part of an expert once for some of its rows; so many
/// items are parts of all experts.
LLVM::LLVMFuncOp buildSortedKernel(SymbolTable &symbols, GroupedLinearOp op,
                                   LinearOp choice, StringRef name, int64_t items);
/// The kernel that finds the order: the numbers of the choices, by their experts.
LLVM::LLVMFuncOp buildOrderKernel(SymbolTable &symbols, GroupedLinearOp op,
                                  StringRef name);

/// The kernel that quantizes the pieces of rows, of K columns each, one by one.
LLVM::LLVMFuncOp buildPiecesKernel(SymbolTable &symbols, GroupedLinearOp op,
                                   StringRef name, std::optional<int64_t> parts);

/// The kernel of a `qlinear.combine`, with items as that of a norm.
LLVM::LLVMFuncOp buildCombineKernel(SymbolTable &symbols, CombineOp op, StringRef name,
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
