//===- HostJit.h - CPU kernels compiled in memory ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TARGET_HOSTJIT_H
#define QLINEAR_TARGET_HOSTJIT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <memory>

namespace llvm::orc {
class LLJIT;
}

namespace qlinear {

/// A CPU kernel, as docs/artifact.md says.
using HostKernel = void (*)(void *const *args, int32_t rows, int64_t begin,
                            int64_t end);

/// The kernels that qlinear-to-cpu made in a module, ready to be called.
class HostJit {
public:
  /// Fails, with diagnostics or the error of the JIT as one, if they cannot be
  /// compiled, or if this machine lacks the instruction set.
  static mlir::FailureOr<std::unique_ptr<HostJit>>
  create(mlir::ModuleOp module, llvm::StringRef instructionSet);
  ~HostJit();

  /// A kernel by its name; it lives as long as this object.
  llvm::Expected<HostKernel> lookup(llvm::StringRef name);

private:
  explicit HostJit(std::unique_ptr<llvm::orc::LLJIT> jit);
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

} // namespace qlinear
#endif
