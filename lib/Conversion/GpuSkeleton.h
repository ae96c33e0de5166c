//===- GpuSkeleton.h - What generated GPU kernels are made of ---*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_CONVERSION_GPUSKELETON_H
#define QLINEAR_LIB_CONVERSION_GPUSKELETON_H

#include "KernelArgs.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace qlinear {

layout::Float elementOf(mlir::Type type);

/// Emits kernels: what all families of them share.
class GpuSkeleton {
public:
  GpuSkeleton(mlir::OpBuilder &builder, mlir::Location loc)
      : b(builder), loc(loc), i32(b.getI32Type()), i64(b.getI64Type()),
        f32(b.getF32Type()), ptr(mlir::LLVM::LLVMPointerType::get(b.getContext())),
        sharedPtr(mlir::LLVM::LLVMPointerType::get(b.getContext(), kShared)) {}

  /// A kernel of the pointers of `args` and the number of rows.
  mlir::gpu::GPUFuncOp open(mlir::StringRef name, const KernelArgs &args,
                            int64_t threads, int minBlocks);
  void close(mlir::gpu::GPUFuncOp f);

protected:
  /// For kernels that have nothing to do before: with `pdl`, lets the next kernel start
  /// and waits for the one before.
  void awaitPrior(bool pdl);
  static constexpr unsigned kShared = 3; // address space

  mlir::Value constant(int64_t v) {
    return mlir::arith::ConstantIntOp::create(b, loc, i32, v);
  }
  mlir::Value constant64(int64_t v) {
    return mlir::arith::ConstantIntOp::create(b, loc, i64, v);
  }
  /// Calls a micro-kernel, declaring it where needed.
  mlir::Value call(mlir::StringRef name, mlir::Type result, mlir::ValueRange args);
  void call(mlir::StringRef name, mlir::ValueRange args) {
    call(name, mlir::Type(), args);
  }
  /// Memory for the state of a micro-kernel between calls; in the function's first
  /// block, so that it becomes registers.
  mlir::Value state() {
    return mlir::LLVM::AllocaOp::create(
        b, loc, ptr, mlir::LLVM::LLVMArrayType::get(i64, kernels::kStateBytes / 8),
        constant(1), /*alignment=*/16);
  }
  /// Dynamic shared memory, `offset` bytes on.
  mlir::Value shared(int64_t offset);
  /// The address of element `index` (i64) of an array.
  mlir::Value element(mlir::Value base, mlir::Value index, mlir::Type type);
  /// The epilogue and the stores of row `n` of a segment's weights and token `m`, if
  /// there is such a row. `products` are one per weight of the linear.
  void finish(mlir::qlinear::LinearOp op, const KernelSegment &segment,
              mlir::SmallVector<mlir::Value> products, mlir::Value n, mlir::Value m);
  /// The values of a segment's results in row `n` and token `m`, which there are.
  mlir::SmallVector<mlir::Value> valuesOf(mlir::qlinear::LinearOp op,
                                          const KernelSegment &segment,
                                          mlir::SmallVector<mlir::Value> products,
                                          mlir::Value n, mlir::Value m);
  /// The index of element (m, n) of a result or extra of a segment.
  mlir::Value indexOf(const KernelSegment &segment, mlir::Value n, mlir::Value m);
  /// The pointer of x, and that of result `result`.
  mlir::Value xOf(mlir::qlinear::LinearOp op) {
    return pointers[op.getWeights().size()];
  }
  mlir::Value resultOf(mlir::qlinear::LinearOp op, unsigned result) {
    return pointers[op.getWeights().size() + 1 + op.getExtras().size() + result];
  }
  /// `offset` bytes on in the temporary.
  mlir::Value inTemporary(int64_t offset) {
    return element(temporary, constant64(offset), b.getI8Type());
  }

  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::Type i32, i64, f32, ptr, sharedPtr;
  // Of the open kernel.
  mlir::SmallVector<mlir::Value> pointers; ///< of the operation (KernelArgs)
  mlir::Value temporary, thread, rows;
};

} // namespace qlinear
#endif
