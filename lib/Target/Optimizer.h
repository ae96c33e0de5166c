//===- Optimizer.h - LLVM passes on a module --------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_OPTIMIZER_H
#define QLINEAR_LIB_TARGET_OPTIMIZER_H

#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Target/TargetMachine.h"

namespace qlinear {

/// Runs passes of LLVM's pass manager for one machine: the analyses that they
/// share, set up once.
class Optimizer {
public:
  explicit Optimizer(llvm::TargetMachine &machine) : builder(&machine, tuning()) {
    builder.registerModuleAnalyses(modules);
    builder.registerCGSCCAnalyses(sccs);
    builder.registerFunctionAnalyses(functions);
    builder.registerLoopAnalyses(loops);
    builder.crossRegisterProxies(loops, functions, sccs, modules);
  }

  void run(llvm::Module &module, llvm::ModulePassManager passes) {
    passes.run(module, modules);
  }
  /// Runs `passes`, a pipeline in the syntax of `opt -passes`. It comes from this
  /// library, never from a user, so a mistake in it is a bug.
  void run(llvm::Module &module, llvm::StringRef passes) {
    llvm::ModulePassManager manager;
    llvm::cantFail(builder.parsePassPipeline(manager, passes));
    run(module, std::move(manager));
  }
  /// LLVM's own -O2. (-O3 makes no other instructions of kernels.)
  void runO2(llvm::Module &module) {
    run(module, builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2));
  }

private:
  /// Kernels are written in vectors: looking for others takes time and finds none.
  static llvm::PipelineTuningOptions tuning() {
    llvm::PipelineTuningOptions options;
    options.LoopVectorization = options.LoopInterleaving = false;
    options.SLPVectorization = false;
    return options;
  }

  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder;
};

} // namespace qlinear
#endif
