//===- KernelParts.h - The kernels of a module, one by one ------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_KERNELPARTS_H
#define QLINEAR_LIB_TARGET_KERNELPARTS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>
#include <vector>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace qlinear {

/// One kernel of a module that has not been linked with micro-kernels, and what it
/// declares, as bitcode, by which it gets into another context.
struct KernelPart {
  std::string name, bitcode;
};

/// The kernels (all that is defined), in order.
std::vector<KernelPart> splitKernels(const llvm::Module &module);

std::string writeBitcode(const llvm::Module &module);
llvm::Expected<std::unique_ptr<llvm::Module>> readBitcode(llvm::StringRef bitcode,
                                                          llvm::LLVMContext &context);

/// One module of several, of the triple and data layout of the first.
llvm::Expected<std::unique_ptr<llvm::Module>>
joinBitcode(llvm::ArrayRef<llvm::StringRef> parts, llvm::StringRef name,
            llvm::LLVMContext &context);

} // namespace qlinear
#endif
