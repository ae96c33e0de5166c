//===- HalfFloats.h - 16-bit floats without library calls -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_HOST_HALFFLOATS_H
#define QLINEAR_LIB_TARGET_HOST_HALFFLOATS_H

namespace llvm {
class Function;
} // namespace llvm

namespace qlinear {

/// Does arithmetic on f16 and bf16 in f32, which is wide enough for the result to
/// be rounded as if it had been exact.
void widenHalfArithmetic(llvm::Function &function);

/// Keeps f16 and bf16 values that are used in another block than their own as
/// integers: a host without such registers keeps them as f32 there, and converts
/// back by library functions that not every system has.
void keepHalvesAsIntegers(llvm::Function &function);

} // namespace qlinear
#endif
