//===- Compiler.h - From a module to an artifact ----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What quant-compile does, as a library: a module of functions made of linears
// is compiled for several targets, and the code, the manifest and the exported
// functions of docs/artifact.md become one LLVM module, an object file or a
// shared library.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TARGET_COMPILER_H
#define QLINEAR_TARGET_COMPILER_H

#include "qlinear/Encoding/OutputFile.h"
#include "qlinear/Target/NVPTX.h"
#include "qlinear/Target/Pipelines.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Support/Timing.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace qlinear {

struct CompileSettings {
  std::vector<Target> targets;
  PipelineSettings pipeline;
  NVPTXOptions nvptx; ///< the chip is the target's
  /// Packed archive whose weights must fit the module's parameters; "": unchecked.
  std::string params;
  /// Parameters get the encodings that their weights have in `params`.
  bool adoptEncodings = false;
  /// Checksums of weights by their names in the archive, where `params` is not given.
  llvm::StringMap<std::string> checksums;
  bool sanitizeAddress = false; ///< in host code
  unsigned threads = 0;         ///< that compile kernels; 0: as many as there are cores
  /// Where compiled kernels are kept and looked for (cacheFolder()); "": nowhere.
  std::string cache;
  bool keepLLVM = false; ///< of host code, also where object files are made
  /// Told after each kernel, and after each image of a GPU; in any thread, but by one
  /// at a time.
  std::function<void(llvm::StringRef what, size_t done, size_t total)> progress;
};

/// A kernel of host code.
struct KernelCode {
  std::string symbol;
  std::string object; ///< a file of it, hidden from others; for Stage::library
};

/// The result of compiling for one target.
struct TargetCode {
  Target target;
  mlir::OwningOpRef<mlir::ModuleOp> module; ///< lowered to launches and kernels
  std::vector<KernelCode> kernels;          ///< in order
  /// Kernels; of a CUDA target only for Stage::llvm, of others not for Stage::library,
  /// except with keepLLVM.
  std::unique_ptr<llvm::Module> llvm;
  NVPTXImage image; ///< of a CUDA target
};

struct Compilation {
  Compilation();
  Compilation(Compilation &&);
  ~Compilation();
  std::unique_ptr<llvm::LLVMContext> context;
  std::vector<TargetCode> targets;
  std::string manifest;                          ///< JSON
  std::string header;                            ///< C, declares the exported functions
  Architecture architecture = kHostArchitecture; ///< of host code
  /// Descriptor, exported functions and images; and host code, which for
  /// Stage::library is in the kernels' object files.
  std::unique_ptr<llvm::Module> artifact;
  /// Kernels and images that were made, and how many of them lay in the cache.
  size_t compiled = 0, cached = 0;
  std::string cacheProblem; ///< why it is not used, or not for all
};

/// Dialects, translations and passes that compiling needs.
void registerCompiler(mlir::DialectRegistry &registry);

/// How far to go.
enum class Stage {
  mlir,     ///< lowered modules
  llvm,     ///< LLVM IR of the kernels
  code,     ///< PTX, cubin, host LLVM IR
  artifact, ///< all of it, in one module of LLVM IR: for an object file
  library,  ///< all of it, for a shared library
};

/// Compiles `source` (left as it is after canonicalisation and re-encoding).
/// `name` names the input in comments. Emits diagnostics on failure.
mlir::FailureOr<Compilation> compile(mlir::ModuleOp source,
                                     const CompileSettings &settings, Stage stage,
                                     llvm::StringRef name, mlir::TimingScope &timing);

/// Where a shared library goes: an executable file that the linker writes by name.
Result<OutputFile> createLibraryFile(const std::string &path);

/// Writes the artifact (of Stage::artifact) as an object file. The caller publishes the
/// file.
llvm::Error writeObject(const Compilation &compilation, OutputFile &file);

/// The file of the runtime that artifacts ask for, "libQLinearRuntime.so.1": of its
/// ABI.
std::string runtimeLibrary();

/// Writes the artifact (of Stage::library) as a shared library, linked against
/// runtimeLibrary(), which lies in `runtimeDir` (of another architecture none is
/// needed), to a file of createLibraryFile(), which the caller publishes. With
/// `allowUndefined` the process resolves missing symbols (AddressSanitizer's runtime).
llvm::Error writeSharedLibrary(const Compilation &compilation, const OutputFile &file,
                               llvm::StringRef runtimeDir, bool allowUndefined = false);

/// Compiles the kernels of `kernels` (what qlinear-to-cpu or qlinear-to-gpu put into
/// a module) for all targets, as an artifact with the functions of launches
/// `functions`, which may be in another module. Nothing is exported but the
/// descriptor. Emits diagnostics on failure.
mlir::FailureOr<Compilation>
compileLaunches(mlir::ModuleOp kernels, llvm::ArrayRef<mlir::func::FuncOp> functions,
                const CompileSettings &settings, mlir::TimingScope &timing);

} // namespace qlinear
#endif
