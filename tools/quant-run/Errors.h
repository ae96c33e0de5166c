//===- Errors.h - How far results may be from the reference -----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANTRUN_ERRORS_H
#define QLINEAR_TOOLS_QUANTRUN_ERRORS_H

#include "Reference.h"

namespace qlinear::run {

/// Largest relative error of a row, |y - want| / |want| in the 2-norm; infinite where
/// only one of a result and its reference is a number. `anyKind`: an infinity may be a
/// NaN, where those activations are not quantized. `rounded`: terms are, and a row of
/// few results, small as large ones cancel, is compared with the average.
double rowError(const Matrix &y, const Matrix &want, bool anyKind, bool rounded);

/// What --verify allows, relative to a row's norm. Results of int8 activations may have
/// a code rounded the other way in each linear on the way; those of floats have errors
/// of f32 sums alone, or of weights and activations that are rounded to f16, in each
/// product (of an epilogue that multiplies two of them, say). 16-bit results are
/// rounded by half a unit in the last place.
double boundOf(qlr_dtype dtype, bool int8, bool half, Behind behind);

} // namespace qlinear::run
#endif
