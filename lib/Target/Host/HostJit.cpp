//===- HostJit.cpp - CPU kernels compiled in memory -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Target/HostJit.h"
#include "qlinear/Target/HostCode.h"
#include "qlinear/Target/HostObject.h"

#include "llvm/ExecutionEngine/Orc/ExecutionUtils.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Target/TargetMachine.h"

using namespace llvm;

namespace qlinear {

HostJit::HostJit(std::unique_ptr<orc::LLJIT> jit) : jit(std::move(jit)) {}
HostJit::~HostJit() = default;

static Expected<std::unique_ptr<orc::LLJIT>> compile(Module &code,
                                                     const InstructionSet &set) {
  auto machine = createKernelMachine(set);
  if (!machine)
    return machine.takeError();
  auto object = emitObject(code, **machine);
  if (!object)
    return object.takeError();
  auto jit = orc::LLJITBuilder().create();
  if (!jit)
    return jit.takeError();
  auto process = orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(
      (*jit)->getDataLayout().getGlobalPrefix());
  if (!process)
    return process.takeError();
  (*jit)->getMainJITDylib().addGenerator(std::move(*process));
  StringRef bytes(object->data(), object->size());
  if (llvm::Error e = (*jit)->addObjectFile(MemoryBuffer::getMemBufferCopy(bytes)))
    return std::move(e);
  return std::move(*jit);
}

mlir::FailureOr<std::unique_ptr<HostJit>> HostJit::create(mlir::ModuleOp module,
                                                          StringRef instructionSet) {
  const InstructionSet *set = findInstructionSet(instructionSet);
  if (set && !machineRuns(*set))
    return module.emitError("this machine does not run cpu:")
           << instructionSet << "; use cpu:portable";
  LLVMContext context;
  auto code = toHostLLVM(module, context, {instructionSet.str(), /*prefix=*/""});
  if (failed(code)) // as where there is no such set
    return mlir::failure();
  auto jit = compile(**code, *set);
  if (!jit)
    return module.emitError("CPU kernels cannot be compiled: ")
           << toString(jit.takeError());
  return std::unique_ptr<HostJit>(new HostJit(std::move(*jit)));
}

Expected<HostKernel> HostJit::lookup(StringRef name) {
  auto symbol = jit->lookup(name);
  if (!symbol)
    return symbol.takeError();
  return symbol->toPtr<HostKernel>();
}

} // namespace qlinear
