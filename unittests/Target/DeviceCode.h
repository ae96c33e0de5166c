//===- DeviceCode.h - Device code of tests, run on the host -----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_TARGET_DEVICECODE_H
#define QLINEAR_UNITTESTS_TARGET_DEVICECODE_H

#include "Emulated.h"
#include "qlinear/Target/Emulated.h"
#include "qlinear/Target/HostObject.h"

#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Target/TargetMachine.h"

namespace qlinear {

/// Kernels, retargeted to the host and compiled in memory.
class DeviceCode {
public:
  explicit DeviceCode(const char *bitcode) {
    auto context = std::make_unique<llvm::LLVMContext>();
    auto buffer =
        llvm::cantFail(llvm::errorOrToExpected(llvm::MemoryBuffer::getFile(bitcode)));
    auto module =
        llvm::cantFail(llvm::parseBitcodeFile(buffer->getMemBufferRef(), *context));
    add(std::move(module), std::move(context));
  }
  DeviceCode(std::unique_ptr<llvm::Module> module,
             std::unique_ptr<llvm::LLVMContext> context) {
    add(std::move(module), std::move(context));
  }

  /// Runs a kernel; the error, or "".
  std::string run(const emulated::Launch &launch, llvm::ArrayRef<void *> params) const {
    auto function =
        llvm::cantFail(jit->lookup(launch.kernel)).toPtr<emulated::ThreadFunction>();
    Result<void> result = emulated::run(launch, function, params.data());
    return result ? "" : result.error();
  }
  /// Arguments are what the kernel takes.
  template <typename... Args>
  std::string call(const emulated::Launch &launch, Args... args) const {
    return run(launch, {static_cast<void *>(&args)...});
  }

private:
  void add(std::unique_ptr<llvm::Module> module,
           std::unique_ptr<llvm::LLVMContext> context) {
    auto machine = llvm::cantFail(createHostMachine());
    llvm::cantFail(retargetToEmulated(*module, *machine));
    jit = llvm::cantFail(llvm::orc::LLJITBuilder().create());
    llvm::cantFail(jit->addIRModule(
        llvm::orc::ThreadSafeModule(std::move(module), std::move(context))));
  }
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

} // namespace qlinear
#endif
