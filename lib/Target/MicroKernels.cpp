//===- MicroKernels.cpp - Linking the embedded bitcode --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "MicroKernels.h"

#include "qlinear/Target/KernelBitcode.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/Linker/Linker.h"

using namespace mlir;

LogicalResult qlinear::linkMicroKernels(Operation *op, llvm::Module &module,
                                        llvm::StringRef name) {
  std::string_view bytes = kernelBitcode(std::string_view(name));
  auto parsed = llvm::parseBitcodeFile(
      llvm::MemoryBufferRef(StringRef(bytes.data(), bytes.size()), name),
      module.getContext());
  if (!parsed)
    return op->emitError("embedded micro-kernels '")
           << name << "' cannot be read: " << llvm::toString(parsed.takeError());
  (*parsed)->setTargetTriple(module.getTargetTriple());
  (*parsed)->setDataLayout(module.getDataLayout());
  if (llvm::Linker::linkModules(module, std::move(*parsed),
                                llvm::Linker::LinkOnlyNeeded))
    return op->emitError("embedded micro-kernels '") << name << "' cannot be linked";
  return success();
}
