//===- HostObject.h - Object files and shared libraries ---------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TARGET_HOSTOBJECT_H
#define QLINEAR_TARGET_HOSTOBJECT_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace qlinear {

/// Position-independent code for this machine's architecture. `cpu` and
/// `features` as LLVM spells them ("x86-64-v3", "+avx512vnni"); empty: the
/// baseline of the architecture.
llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createHostMachine(llvm::StringRef cpu = "", llvm::StringRef features = "");

/// Instruments the loads and stores of all functions with AddressSanitizer. The
/// process that runs the code must have its runtime, built in or preloaded.
void addAddressSanitizer(llvm::Module &module, llvm::TargetMachine &machine);

/// The object file of a module; optimise it before.
llvm::Expected<llvm::SmallVector<char, 0>> emitObject(llvm::Module &module,
                                                      llvm::TargetMachine &machine);

/// Writes a file beside `path` and renames it, so that `path` holds all of it or
/// what it held before. "-" is standard output.
llvm::Error writeFile(llvm::StringRef path, llvm::StringRef contents);

struct LinkOptions {
  /// Directories searched for the libraries. Whoever loads the result finds them: a
  /// program that is linked with them, or its library path.
  llvm::SmallVector<std::string> libraryDirs;
  llvm::SmallVector<std::string> libraries; ///< "QLinearRuntime"
  std::string soname;
  /// References that the process will resolve (AddressSanitizer's).
  bool allowUndefined = false;
};

/// Links object files into the shared library `path`, by ld.lld or the C compiler,
/// whichever is on PATH. Written beside and renamed.
llvm::Error linkSharedLibrary(llvm::StringRef path, llvm::ArrayRef<std::string> objects,
                              const LinkOptions &options);

} // namespace qlinear
#endif
