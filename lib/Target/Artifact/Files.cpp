//===- Files.cpp - Artifacts as object files and shared libraries ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Target/Compiler.h"
#include "qlinear/Target/HostObject.h"

#include "qlinear-runtime/runtime.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;

namespace qlinear {

static llvm::Expected<llvm::SmallVector<char, 0>>
emitArtifact(const Compilation &compilation) {
  auto machine = createHostMachine(compilation.architecture);
  if (!machine)
    return machine.takeError();
  return emitObject(*compilation.artifact, **machine);
}

llvm::Error writeObject(const Compilation &compilation, OutputFile &file) {
  auto object = emitArtifact(compilation);
  if (!object)
    return object.takeError();
  return toError(file.append(StringRef(object->data(), object->size())));
}

Result<OutputFile> createLibraryFile(const std::string &path) {
  return OutputFile::create(path, {/*mode=*/0777, /*isNamed=*/true});
}

std::string runtimeLibrary() {
  return "libQLinearRuntime.so." + std::to_string(QLR_ABI_VERSION);
}

/// Writes a library in place of another architecture's runtime, which is not on this
/// machine: all that a linker reads are its name and the functions that it has.
static llvm::Error writeStubRuntime(const Compilation &compilation, StringRef dir) {
  llvm::LLVMContext context;
  llvm::Module module("stub", context);
  auto *type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), false);
  for (const llvm::Function &called : *compilation.artifact)
    if (called.isDeclaration() && called.getName().starts_with("qlr_")) {
      auto *function = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage,
                                              called.getName(), module);
      llvm::ReturnInst::Create(context,
                               llvm::BasicBlock::Create(context, "", function));
    }
  auto machine = createHostMachine(compilation.architecture);
  if (!machine)
    return machine.takeError();
  auto code = emitObject(module, **machine);
  if (!code)
    return code.takeError();
  std::string object = (dir + "/stub.o").str();
  if (auto r = writeOutput(object, StringRef(code->data(), code->size())); !r)
    return toError(std::move(r));
  LinkOptions options;
  options.architecture = compilation.architecture;
  options.soname = runtimeLibrary();
  auto file = createLibraryFile((dir + "/" + options.soname).str());
  if (!file)
    return toError(file.takeError());
  if (llvm::Error error = linkSharedLibrary(*file, {object}, options))
    return error;
  return toError(file->publish());
}

llvm::Error writeSharedLibrary(const Compilation &compilation, const OutputFile &file,
                               StringRef runtimeDir, bool allowUndefined) {
  SmallString<128> dir;
  if (std::error_code ec = llvm::sys::fs::createUniqueDirectory("qlinear", dir))
    return llvm::createStringError(ec, "cannot create a temporary folder: %s",
                                   ec.message().c_str());
  llvm::scope_exit remove([&] { llvm::sys::fs::remove_directories(dir); });
  SmallVector<std::string> objects;
  auto add = [&](StringRef object) {
    objects.push_back((dir + "/" + llvm::Twine(objects.size()) + ".o").str());
    return toError(writeOutput(objects.back(), object));
  };
  auto descriptor = emitArtifact(compilation);
  if (!descriptor)
    return descriptor.takeError();
  if (llvm::Error error = add(StringRef(descriptor->data(), descriptor->size())))
    return error;
  for (const TargetCode &code : compilation.targets)
    for (const KernelCode &kernel : code.kernels)
      if (!kernel.object.empty())
        if (llvm::Error error = add(kernel.object))
          return error;
  LinkOptions options;
  options.architecture = compilation.architecture;
  if (compilation.architecture != kHostArchitecture) {
    if (llvm::Error error = writeStubRuntime(compilation, dir))
      return error;
    runtimeDir = dir;
  }
  options.libraries.push_back((runtimeDir + "/" + runtimeLibrary()).str());
  options.soname = llvm::sys::path::filename(file.path()).str();
  options.allowUndefined = allowUndefined;
  return linkSharedLibrary(file, objects, options);
}

} // namespace qlinear
