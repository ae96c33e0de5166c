//===- HostObject.h - Object files and shared libraries ---------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TARGET_HOSTOBJECT_H
#define QLINEAR_TARGET_HOSTOBJECT_H

#include "qlinear/Encoding/OutputFile.h"
#include "qlinear/Support/InstructionSets.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace qlinear {

/// Position-independent code for CPUs of an architecture. `cpu` and `features` as
/// LLVM spells them ("x86-64-v3", "+avx512vnni"); empty: the baseline of the
/// architecture.
llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createHostMachine(Architecture architecture = kHostArchitecture,
                  llvm::StringRef cpu = "", llvm::StringRef features = "");

/// Instruments the loads and stores of all functions with AddressSanitizer. The
/// process that runs the code must have its runtime, built in or preloaded.
void addAddressSanitizer(llvm::Module &module, llvm::TargetMachine &machine);

/// The object file of a module; optimise it before.
llvm::Expected<llvm::SmallVector<char, 0>> emitObject(llvm::Module &module,
                                                      llvm::TargetMachine &machine);

/// A Result of the libraries below as an llvm::Error.
llvm::Error toError(Result<void> result);
template <typename T> llvm::Expected<T> toExpected(Result<T> result) {
  if (!result)
    return toError(result.takeError());
  return std::move(*result);
}

struct LinkOptions {
  Architecture architecture = kHostArchitecture;
  /// Files of shared libraries. Whoever loads the result finds them by their names: a
  /// program that is linked with them, or its library path.
  llvm::SmallVector<std::string> libraries;
  std::string soname;
  /// References that the process will resolve (AddressSanitizer's). Those of another
  /// architecture's code to the C library are left to it, too.
  bool allowUndefined = false;
};

/// Links object files into a shared library, the contents of `file`, which has to be
/// named; by ld.lld or the C compiler, whichever is beside this program or on PATH. A
/// linker needs nothing of what the C compiler brings along.
llvm::Error linkSharedLibrary(const OutputFile &file,
                              llvm::ArrayRef<std::string> objects,
                              const LinkOptions &options);

} // namespace qlinear
#endif
