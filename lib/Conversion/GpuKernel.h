//===- GpuKernel.h - The skeleton of a GPU kernel ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_CONVERSION_GPUKERNEL_H
#define QLINEAR_LIB_CONVERSION_GPUKERNEL_H

#include "../Transforms/KernelPlan.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace qlinear {

/// Builds the kernel at the builder's position, inside a gpu.module.
mlir::gpu::GPUFuncOp buildKernel(mlir::OpBuilder &builder, llvm::StringRef name,
                                 mlir::qlinear::LinearOp op, const KernelPlan &plan);

/// Builds the kernel that quantizes rows of `input` (a tensor type).
mlir::gpu::GPUFuncOp buildQuantizeKernel(mlir::OpBuilder &builder, llvm::StringRef name,
                                         mlir::Location loc,
                                         mlir::RankedTensorType input, int64_t grid,
                                         int64_t threads, bool pdl);

} // namespace qlinear
#endif
