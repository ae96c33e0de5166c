//===- Bitcode.h - The embedded micro-kernels -------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_BITCODE_H
#define QLINEAR_KERNELS_BITCODE_H

#include <string_view>

namespace qlinear {

/// The LLVM bitcode of micro-kernels compiled from kernels/: "cuda" (generated
/// kernels link it), "cuda-intrinsics" (the device operations that the emulated
/// device replaces), and those of the CPU. Empty if there are none of that name.
std::string_view kernelBitcode(std::string_view name);

} // namespace qlinear
#endif
