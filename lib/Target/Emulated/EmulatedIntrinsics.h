//===- EmulatedIntrinsics.h - NVVM intrinsics on the host -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_EMULATED_EMULATEDINTRINSICS_H
#define QLINEAR_LIB_TARGET_EMULATED_EMULATEDINTRINSICS_H

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstrTypes.h"
#include "llvm/Support/Error.h"

namespace qlinear {

/// A call of a function of runtime/emulated/Intrinsics.h; pointers of other
/// address spaces are made plain, and the result type is as given.
llvm::CallInst *callEmulated(llvm::IRBuilderBase &b, llvm::StringRef name,
                             llvm::Type *result, llvm::ArrayRef<llvm::Value *> args);

/// `pointer` in address space 0.
llvm::Value *plainPointer(llvm::IRBuilderBase &b, llvm::Value *pointer);

/// f32 -> bf16 or f16 and f16 -> f32, element by element: not every host has
/// these conversions, nor a compiler library with them.
llvm::Value *convertHalf(llvm::IRBuilderBase &b, llvm::Value *value, llvm::Type *to);

/// Two f16 in a word: of three words a product and a sum, or of two f32. f32 holds such
/// a product exactly, and its own rounding is far below that of f16.
llvm::Value *halfPair(llvm::IRBuilderBase &b, llvm::ArrayRef<llvm::Value *> args);

/// Replaces a call of an `llvm.nvvm.*` intrinsic, or of a `ql_ptx_*` function of
/// kernels/cuda/Intrinsics.h; fails where there is no counterpart on the host.
llvm::Error lowerIntrinsic(llvm::CallInst &call);

} // namespace qlinear
#endif
