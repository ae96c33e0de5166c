//===- Emulated.h - Device code for the emulated device ---------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// `cuda:emulated` runs the same device code as a GPU on the host: the LLVM IR of
// the kernels after linking, inlining and optimisation, just before the NVPTX
// back end, retargeted here. The runtime side is runtime/emulated.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TARGET_EMULATED_H
#define QLINEAR_TARGET_EMULATED_H

#include "llvm/Support/Error.h"

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace qlinear {

/// Turns device code into code for `host`, in place. Each kernel NAME becomes
/// `void NAME(void *const *params)`, one thread of it, where params[i] is the
/// address of argument i. Shared memory, special registers, shuffles, barriers
/// and asynchronous copies become calls of the functions in
/// runtime/emulated/Intrinsics.h. Fails, naming the function and the operation,
/// on anything without an emulated counterpart: inline assembly above all.
llvm::Error retargetToEmulated(llvm::Module &device, llvm::TargetMachine &host);

} // namespace qlinear
#endif
