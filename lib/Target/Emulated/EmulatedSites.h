//===- EmulatedSites.h - Where device code accesses memory ------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_EMULATED_EMULATEDSITES_H
#define QLINEAR_LIB_TARGET_EMULATED_EMULATEDSITES_H

#include "llvm/IR/Constant.h"
#include "llvm/IR/DebugLoc.h"
#include "llvm/IR/Module.h"

#include <string>

namespace qlinear {

/// "kernels/cuda/Walk.h:120 (fetch, take, ql_walk_multiply)": the line, then the
/// functions around it, which were inlined one into the next. Without a location it is
/// code that the compiler generates.
std::string describeLocation(const llvm::DebugLoc &location);

/// The qlr_emu_site (runtime/emulated/Intrinsics.h) of an access: `what` it is and of
/// how many bytes (0: not always the same). Equal ones are one constant of the module.
llvm::Constant *emulatedSite(llvm::Module &module, llvm::StringRef what, uint64_t bytes,
                             const llvm::DebugLoc &location);

} // namespace qlinear
#endif
