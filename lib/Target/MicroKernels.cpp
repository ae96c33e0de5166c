//===- MicroKernels.cpp - Linking the embedded bitcode --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "MicroKernels.h"

#include "qlinear/Kernels/Bitcode.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

/// A generated call declares the function that it calls by the types of its arguments,
/// so nothing else notices if the micro-kernel takes others. This does.
static LogicalResult checkSignatures(Operation *op, const llvm::Module &module,
                                     const llvm::Module &kernels) {
  for (const llvm::Function &called : module) {
    if (!called.isDeclaration() || !called.getName().starts_with("ql_"))
      continue;
    const llvm::Function *kernel = kernels.getFunction(called.getName());
    if (!kernel)
      continue; // of another embedded file: the code generator misses it if of none
    if (called.getFunctionType() == kernel->getFunctionType())
      continue;
    std::string types[2];
    llvm::raw_string_ostream(types[0]) << *called.getFunctionType();
    llvm::raw_string_ostream(types[1]) << *kernel->getFunctionType();
    return op->emitError("micro-kernel '")
           << called.getName() << "' is called as " << types[0] << ", but it is "
           << types[1] << "; the call and kernels/ have to be changed together";
  }
  return success();
}

LogicalResult qlinear::linkMicroKernels(Operation *op, llvm::Module &module,
                                        llvm::StringRef name) {
  std::string_view bytes = kernelBitcode(std::string_view(name));
  auto parsed = llvm::parseBitcodeFile(
      llvm::MemoryBufferRef(StringRef(bytes.data(), bytes.size()), name),
      module.getContext());
  if (!parsed)
    return op->emitError("embedded micro-kernels '")
           << name << "' cannot be read: " << llvm::toString(parsed.takeError());
  if (failed(checkSignatures(op, module, **parsed)))
    return failure();
  (*parsed)->setTargetTriple(module.getTargetTriple());
  (*parsed)->setDataLayout(module.getDataLayout());
  if (llvm::Linker::linkModules(module, std::move(*parsed),
                                llvm::Linker::LinkOnlyNeeded))
    return op->emitError("embedded micro-kernels '") << name << "' cannot be linked";
  return success();
}
