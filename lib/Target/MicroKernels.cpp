//===- MicroKernels.cpp - Linking the embedded bitcode --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "MicroKernels.h"

#include "qlinear/Kernels/Bitcode.h"

#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/Module.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

/// A generated call declares the function that it calls by the types of its arguments,
/// so nothing else notices if the micro-kernel takes others. This does.
static Error checkSignatures(const Module &module, const Module &kernels) {
  for (const Function &called : module) {
    if (!called.isDeclaration() || !called.getName().starts_with("ql_"))
      continue;
    const Function *kernel = kernels.getFunction(called.getName());
    if (!kernel)
      continue; // of another embedded file: the code generator misses it if of none
    if (called.getFunctionType() == kernel->getFunctionType())
      continue;
    std::string text;
    raw_string_ostream(text) << "micro-kernel '" << called.getName()
                             << "' is called as " << *called.getFunctionType()
                             << ", but it is " << *kernel->getFunctionType()
                             << "; the call and kernels/ have to be changed together";
    return createStringError(text);
  }
  return Error::success();
}

Error qlinear::linkMicroKernels(Module &module, StringRef name) {
  std::string_view bytes = kernelBitcode(std::string_view(name));
  // Of hundreds of functions a kernel needs some tens: only those are read.
  auto parsed =
      getLazyBitcodeModule(MemoryBufferRef(StringRef(bytes.data(), bytes.size()), name),
                           module.getContext(), /*ShouldLazyLoadMetadata=*/true);
  if (!parsed)
    return createStringError("embedded micro-kernels '" + name +
                             "' cannot be read: " + toString(parsed.takeError()));
  if (Error wrong = checkSignatures(module, **parsed))
    return wrong;
  (*parsed)->setTargetTriple(module.getTargetTriple());
  (*parsed)->setDataLayout(module.getDataLayout());
  if (Linker::linkModules(module, std::move(*parsed), Linker::LinkOnlyNeeded))
    return createStringError("embedded micro-kernels '" + name + "' cannot be linked");
  return Error::success();
}
