//===- NVPTX.h - From a gpu.module to PTX and cubin -------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A gpu.module that `qlinear-to-gpu` made becomes LLVM IR, is linked with the
// embedded micro-kernels, inlined and optimised (toLLVM), and compiled to PTX and
// to machine code (serialize).
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TARGET_NVPTX_H
#define QLINEAR_TARGET_NVPTX_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Support/LLVM.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>
#include <vector>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace mlir {
class DialectRegistry;
}

namespace qlinear {

/// Where the device operations of kernels/cuda/Intrinsics.h come from.
enum class DeviceIntrinsics {
  nvptx,    ///< linked in, as NVVM intrinsics and inline PTX
  external, ///< left as declarations `ql_ptx_*`, for the emulated device
};

/// Translates the module to LLVM IR, links the micro-kernels into it, inlines and
/// optimises. The kernels are the only definitions left; their dynamic shared
/// memory is one external global in address space 3. The module still has the
/// NVPTX triple and data layout. Emits diagnostics on failure.
mlir::FailureOr<std::unique_ptr<llvm::Module>>
toLLVM(mlir::gpu::GPUModuleOp module, llvm::LLVMContext &context,
       DeviceIntrinsics intrinsics = DeviceIntrinsics::nvptx);

struct NVPTXOptions {
  std::string chip;       ///< "sm_90"; empty: that of the module's target
  std::string ptxVersion; ///< "8.0"; empty: the oldest that has the chip
  std::string ptxas;      ///< empty: from PATH, CUDA_ROOT, CUDA_HOME
  bool assemble = true;   ///< also make a cubin
};

struct NVPTXImage {
  std::string chip;
  std::string ptx, ptxVersion;
  std::vector<char> cubin; ///< empty without ptxas
  std::string ptxasLog;    ///< what `ptxas -v` printed
};

/// Compiles the module. Without ptxas it warns that none was found, and
/// returns only PTX.
mlir::FailureOr<NVPTXImage> serialize(mlir::gpu::GPUModuleOp module,
                                      const NVPTXOptions &options = {});

/// The steps of both, for kernels that are compiled apart. The kernels as LLVM IR,
/// which calls micro-kernels;
mlir::FailureOr<std::unique_ptr<llvm::Module>>
translateDeviceKernels(mlir::gpu::GPUModuleOp module, llvm::LLVMContext &context);
/// linking and inlining these, and optimising: of one module, of whatever context, in
/// any thread;
llvm::Error completeDeviceKernels(llvm::Module &module, DeviceIntrinsics intrinsics,
                                  llvm::StringRef chip, llvm::StringRef ptxVersion);
/// an image without contents: chip and version, as the options or the module have it;
mlir::FailureOr<NVPTXImage> prepareImage(mlir::gpu::GPUModuleOp module,
                                         const NVPTXOptions &options);
/// its PTX;
llvm::Error writePtx(llvm::Module &module, NVPTXImage &image);
/// the path of ptxas if `options` ask for a cubin (a warning if there is none, and "");
std::string choosePtxas(mlir::gpu::GPUModuleOp module, const NVPTXOptions &options);
/// the cubin.
llvm::Error assemblePtx(NVPTXImage &image, llvm::StringRef ptxas);

/// Whether there is code generation for a chip, such as "sm_90a".
bool isNVPTXChip(llvm::StringRef chip);

/// Fails, naming those there are, unless kernels for the chip can be written in this
/// version of PTX ("8.0").
llvm::Error checkPtxVersion(llvm::StringRef chip, llvm::StringRef version);

/// The path of ptxas, or an empty string.
std::string findPtxas();

/// Dialect translations that toLLVM needs.
void registerNVPTXTranslations(mlir::DialectRegistry &registry);

/// Registers `qlinear-print-ptx`, `qlinear-print-device-llvm` for quant-opt.
void registerNVPTXPasses();

} // namespace qlinear
#endif
