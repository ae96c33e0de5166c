//===- KernelParts.cpp - The kernels of a module, one by one --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelParts.h"

#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Transforms/Utils/Cloning.h"

using namespace llvm;

namespace qlinear {

std::string writeBitcode(const Module &module) {
  std::string bytes;
  raw_string_ostream out(bytes);
  // In the order of uses, by which passes go, code is what it would be without bitcode.
  WriteBitcodeToFile(module, out, /*ShouldPreserveUseListOrder=*/true);
  return bytes;
}

Expected<std::unique_ptr<Module>> readBitcode(StringRef bitcode, LLVMContext &context) {
  return parseBitcodeFile(MemoryBufferRef(bitcode, "kernel"), context);
}

std::vector<KernelPart> splitKernels(const Module &module) {
  std::vector<KernelPart> parts;
  for (const Function &kernel : module) {
    if (kernel.isDeclaration())
      continue;
    ValueToValueMapTy map;
    std::unique_ptr<Module> part =
        CloneModule(module, map, [&](const GlobalValue *value) {
          return !isa<Function>(value) || value == &kernel;
        });
    for (Function &function : make_early_inc_range(*part))
      if (function.isDeclaration() && function.use_empty())
        function.eraseFromParent();
    // The name of the file in the symbols of an object.
    part->setSourceFileName(kernel.getName());
    part->setModuleIdentifier(kernel.getName());
    parts.push_back({kernel.getName().str(), writeBitcode(*part)});
  }
  return parts;
}

Expected<std::unique_ptr<Module>> joinBitcode(ArrayRef<StringRef> parts, StringRef name,
                                              LLVMContext &context) {
  auto all = std::make_unique<Module>(name, context);
  for (StringRef bytes : parts) {
    auto part = readBitcode(bytes, context);
    if (!part)
      return part.takeError();
    if (all->getTargetTriple().empty()) {
      all->setTargetTriple((*part)->getTargetTriple());
      all->setDataLayout((*part)->getDataLayout());
    }
    if (Linker::linkModules(*all, std::move(*part)))
      return createStringError("kernels cannot be linked");
  }
  return all;
}

} // namespace qlinear
