//===- MicroKernels.h - Linking the embedded bitcode ------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_MICROKERNELS_H
#define QLINEAR_LIB_TARGET_MICROKERNELS_H

#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"

namespace qlinear {

/// Links what `module` needs of the embedded micro-kernels `name`
/// (Kernels/Bitcode.h) into it, for its triple and data layout.
llvm::Error linkMicroKernels(llvm::Module &module, llvm::StringRef name);

} // namespace qlinear
#endif
