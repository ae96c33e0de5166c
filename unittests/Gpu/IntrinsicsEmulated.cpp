//===- IntrinsicsEmulated.cpp - Test kernels on the emulated device -------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Emulated.h"
#include "IntrinsicsTest.h"
#include "qlinear/Target/Emulated.h"
#include "qlinear/Target/HostObject.h"

#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Target/TargetMachine.h"

using namespace qlinear;

/// The kernels, compiled for this machine.
static llvm::orc::LLJIT &kernels() {
  static std::unique_ptr<llvm::orc::LLJIT> jit = [] {
    auto machine = llvm::cantFail(createHostMachine());
    auto context = std::make_unique<llvm::LLVMContext>();
    auto buffer = llvm::cantFail(llvm::errorOrToExpected(
        llvm::MemoryBuffer::getFile(QLINEAR_INTRINSICS_BITCODE)));
    auto module =
        llvm::cantFail(llvm::parseBitcodeFile(buffer->getMemBufferRef(), *context));
    llvm::cantFail(retargetToEmulated(*module, *machine));
    auto made = llvm::cantFail(llvm::orc::LLJITBuilder().create());
    llvm::cantFail(made->addIRModule(
        llvm::orc::ThreadSafeModule(std::move(module), std::move(context))));
    return made;
  }();
  return *jit;
}

std::string gpu::intrinsics::missing(int, bool) { return ""; }

unsigned gpu::intrinsics::runs() { return 4; }

void gpu::intrinsics::release() {}

std::string gpu::intrinsics::run(const std::vector<Call> &calls, unsigned seed) {
  for (const Call &call : calls) {
    auto function =
        llvm::cantFail(kernels().lookup(call.kernel)).toPtr<emulated::ThreadFunction>();
    std::vector<const void *> parameters;
    for (const Argument &a : call.arguments)
      parameters.push_back(a.array ? static_cast<const void *>(&a.array) : &a.number);
    Result<void> result =
        emulated::run({.kernel = call.kernel,
                       .grid = call.grid,
                       .block = call.block,
                       .smem = call.smem,
                       .seed = seed},
                      function, const_cast<void *const *>(parameters.data()));
    if (!result)
      return result.error();
  }
  return "";
}
