//===- CodeMaker.h - Code of the kernels of all targets ---------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_CODEMAKER_H
#define QLINEAR_LIB_TARGET_CODEMAKER_H

#include "Work.h"
#include "qlinear/Target/Compiler.h"

namespace qlinear {

/// "cpu:avx2" -> "cpu_avx2.", the prefix of the symbols of its kernels.
std::string symbolPrefix(const Target &target);

/// Compiles the kernels of lowered modules: each by itself, those of all targets side
/// by side, and none that lies in the cache. What is made does not depend on that.
class CodeMaker {
public:
  CodeMaker(const CompileSettings &settings, Stage stage, Architecture architecture)
      : settings(settings), stage(stage), architecture(architecture) {}

  /// Translates the kernels of a target to LLVM IR. Emits diagnostics on failure.
  mlir::LogicalResult add(const TargetCode &code);

  /// Compiles what was added, for these targets in this order, whose kernels, LLVM IR
  /// (in `context`) or images become those. Emits diagnostics on failure.
  mlir::LogicalResult run(llvm::MutableArrayRef<TargetCode> targets,
                          llvm::LLVMContext &context);

  WorkReport report;

private:
  /// What is made of a kernel.
  enum class Form { object, ir };
  /// The results of one kernel: indices into `works`.
  struct Kernel {
    std::string name;
    std::optional<size_t> object, ir;
  };
  struct Added {
    std::vector<Kernel> kernels;
    NVPTXImage image; ///< its chip and version
    std::string ptxas;
    bool hasKernels = false;
  };

  mlir::LogicalResult addHost(const TargetCode &code, Added &added);
  mlir::LogicalResult addDevice(const TargetCode &code, Added &added);
  void addKernels(const llvm::Module &skeletons, const Target &target,
                  llvm::StringRef keyOfTarget,
                  std::function<llvm::Error(llvm::Module &)> complete, Added &added);
  std::function<llvm::Expected<std::string>()>
  compileKernel(std::string bitcode, Form form,
                std::function<llvm::Error(llvm::Module &)> complete) const;
  mlir::LogicalResult makeImages(llvm::MutableArrayRef<TargetCode> targets,
                                 llvm::ArrayRef<std::string> results);
  WorkSettings workSettings(llvm::StringRef what) const;

  bool wantsObjects(const Target &target) const {
    return stage == Stage::library && target.isHost();
  }
  bool wantsIR(const Target &target) const {
    if (target.kind == Target::Kind::cuda)
      return true; // images are made of it
    return stage != Stage::library || settings.keepLLVM;
  }

  const CompileSettings &settings;
  Stage stage;
  Architecture architecture;
  std::vector<Work> works;
  std::vector<Added> targets;
};

} // namespace qlinear
#endif
