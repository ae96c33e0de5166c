//===- HostCode.h - LLVM IR of CPU kernels ----------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The kernels that qlinear-to-cpu made, translated to LLVM IR for one instruction
// set, linked with the embedded micro-kernels, inlined and optimised: ready for
// emitObject (HostObject.h) or a JIT.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TARGET_HOSTCODE_H
#define QLINEAR_TARGET_HOSTCODE_H

#include "qlinear/Support/InstructionSets.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>

namespace llvm {
class LLVMContext;
class Module;
class TargetMachine;
} // namespace llvm

namespace qlinear {

/// The code generator for an instruction set.
llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createKernelMachine(const InstructionSet &set);

struct HostCodeOptions {
  std::string instructionSet = "portable";
  /// Put in front of every kernel's name: objects of several instruction sets
  /// can then be linked together.
  std::string prefix;
};

/// Compiles the kernels of `module` (every `llvm.func` with the attribute
/// `qlinear.kernel`, at any depth; the rest is not looked at). They are the only
/// symbols left with external linkage, each
///   void k(void *const *args, int32_t rows, int64_t begin, int64_t end)
/// and call nothing but memcpy, memmove and memset. Emits diagnostics on failure.
mlir::FailureOr<std::unique_ptr<llvm::Module>>
toHostLLVM(mlir::ModuleOp module, llvm::LLVMContext &context,
           const HostCodeOptions &options);

/// The steps of that. The kernels as LLVM IR, which calls micro-kernels;
mlir::FailureOr<std::unique_ptr<llvm::Module>>
translateHostKernels(mlir::ModuleOp module, llvm::LLVMContext &context,
                     const HostCodeOptions &options);
/// linking and inlining these, and optimising: of one module, of whatever context, in
/// any thread.
llvm::Error completeHostKernels(llvm::Module &module, const InstructionSet &set);

/// Dialect translations that toHostLLVM needs.
void registerHostTranslations(mlir::DialectRegistry &registry);

/// Registers `qlinear-print-host-llvm` for quant-opt.
void registerHostCodePasses();

} // namespace qlinear
#endif
