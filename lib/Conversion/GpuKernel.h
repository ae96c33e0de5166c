//===- GpuKernel.h - The skeleton of a GPU kernel ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_CONVERSION_GPUKERNEL_H
#define QLINEAR_LIB_CONVERSION_GPUKERNEL_H

#include "KernelArgs.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace qlinear {

/// Builds the kernel at the builder's position, inside a gpu.module. With `grouped`, of
/// which `op` is the linear of a choice (ChoiceLinear), it is that of all choices, of
/// which each has the blocks of the plan.
mlir::gpu::GPUFuncOp buildKernel(mlir::OpBuilder &builder, llvm::StringRef name,
                                 mlir::qlinear::LinearOp op, const KernelPlan &plan,
                                 const KernelArgs &args,
                                 mlir::qlinear::GroupedLinearOp grouped = {});

/// The kernel for many tokens, and the one before it, of blocks of `threads` threads,
/// which prepares the activations in their temporary.
mlir::gpu::GPUFuncOp buildKernel(mlir::OpBuilder &builder, llvm::StringRef name,
                                 mlir::qlinear::LinearOp op, const GemmPlan &plan,
                                 const KernelArgs &args, const GemmScratch &scratch);
mlir::gpu::GPUFuncOp buildGroupKernel(mlir::OpBuilder &builder, llvm::StringRef name,
                                      mlir::qlinear::LinearOp op, const GemmPlan &plan,
                                      const KernelArgs &args,
                                      const GemmScratch &scratch);
mlir::gpu::GPUFuncOp buildPrepareKernel(mlir::OpBuilder &builder, llvm::StringRef name,
                                        mlir::qlinear::LinearOp op,
                                        const GemmScratch &scratch, int64_t threads,
                                        bool pdl);

/// Builds the kernel that quantizes rows.
mlir::gpu::GPUFuncOp buildQuantizeKernel(mlir::OpBuilder &builder, llvm::StringRef name,
                                         mlir::qlinear::QuantizeActivationsOp op,
                                         int64_t grid, int64_t threads, bool pdl);

/// Builds the kernel of a `qlinear.combine`, for any number of rows and blocks.
mlir::gpu::GPUFuncOp buildCombineKernel(mlir::OpBuilder &builder, llvm::StringRef name,
                                        mlir::qlinear::CombineOp op, int64_t threads,
                                        bool pdl);

/// How the threads of a block share a row of a norm (NormKernel.cpp).
struct NormPlan {
  int64_t width;   ///< adjacent columns that are loaded at once
  int64_t groups;  ///< of so many columns, in a row
  int64_t rounds;  ///< groups of a thread
  int64_t threads; ///< of the block

  static NormPlan of(mlir::qlinear::NormOp op);
  /// Whether the row stays in registers.
  bool keepsRow() const { return rounds * width <= 32; }
  /// A float per warp, for sums.
  int64_t sharedBytes() const { return threads / kernels::kWarp * 4; }
};

/// How a norm leaves the result that is in the temporary (KernelArgs), which it does
/// not store: as int8 codes (ActivationLayout), or for many rows as an image
/// (PreparedActivations), with `counters` words at the start that become zero.
struct NormLeaves {
  bool image;
  int64_t counters;
};

/// Builds the kernel of a norm, for any number of rows and blocks. A row whose result
/// is left has to stay in registers.
mlir::gpu::GPUFuncOp buildNormKernel(mlir::OpBuilder &builder, llvm::StringRef name,
                                     mlir::qlinear::NormOp op, const NormPlan &plan,
                                     const KernelArgs &args, bool pdl,
                                     const NormLeaves *leaves = nullptr);

/// Builds the kernel of a `qlinear.embedding`, for any number of rows and blocks.
mlir::gpu::GPUFuncOp buildEmbeddingKernel(mlir::OpBuilder &builder,
                                          llvm::StringRef name,
                                          mlir::qlinear::EmbeddingOp op,
                                          int64_t threads, bool pdl);

/// Builds the kernel of a `qlinear.rotary`, for any number of rows and blocks.
mlir::gpu::GPUFuncOp buildRotaryKernel(mlir::OpBuilder &builder, llvm::StringRef name,
                                       mlir::qlinear::RotaryOp op, int64_t threads,
                                       bool pdl);

} // namespace qlinear
#endif
