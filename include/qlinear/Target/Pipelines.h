//===- Pipelines.h - From qlinear to launches -------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TARGET_PIPELINES_H
#define QLINEAR_TARGET_PIPELINES_H

#include "qlinear/Support/InstructionSets.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Support/LLVM.h"

#include <string>
#include <vector>

namespace qlinear {

/// What code is compiled for, spelled `cuda:sm_90`, `cuda:emulated`, `cpu:avx2`.
struct Target {
  enum class Kind { cuda, emulated, cpu };
  Kind kind = Kind::cpu;
  std::string detail; ///< "sm_90", "emulated"; a name of kInstructionSets

  std::string str() const { return (kind == Kind::cpu ? "cpu:" : "cuda:") + detail; }
  bool isHost() const { return kind != Kind::cuda; }

  /// A comma-separated list; "cpu" stands for all instruction sets of this
  /// machine's architecture, of which the runtime picks one, "cpu:arm64" for those of
  /// arm64, "cpu:native" for the best that this machine has. Errors name the unknown
  /// target and those that exist, or two targets of different architectures: no
  /// artifact can have both.
  static llvm::Expected<std::vector<Target>> parseList(llvm::StringRef text);
};

/// The architecture of host code for targets of parseList(): that of the first CPU,
/// or this machine's where there is none.
Architecture architectureOf(llvm::ArrayRef<Target> targets);

/// How a module is compiled; the same for all targets.
struct PipelineSettings {
  /// Find dequantized weights in linalg first, as `qlinear-raise` does.
  bool raise = false;
  /// Functions are compiled as a whole: those of other dialects are adopted, and the
  /// rows of their tensors are one dimension, also in signatures.
  bool wholeFunctions = false;
  /// Re-encode metadata first: a rule or an encoding, as of
  /// `qlinear-compact-metadata`; empty: weights stay as they are.
  std::string encoding;
  double minSnr = 45; ///< dB, for encoding = auto
  std::string params; ///< archive whose parameters are re-encoded, if any
  std::string outputParams;
  /// Measured schedules, as of `qlinear-schedule`; empty: the cost model alone.
  std::string scheduleTable;
  /// The bits of a row's results do not depend on the number of rows, or on those
  /// beside it; nothing is measured for such kernels, so `scheduleTable` has to be
  /// empty.
  bool batchInvariant = false;
  /// Whether linears that do not say it quantize their activations: "int8" or "float",
  /// as of `qlinear-set-activations`; empty: as the dialect has it, int8.
  std::string activations;
  bool fuse = true;
  bool quantizeActivations = true; ///< not where `batchInvariant`: kernels differ in it
};

/// The steps, each a textual pass pipeline on a module:
/// what does not depend on the target (raising, canonicalisation, re-encoding);
std::string preparePipeline(const PipelineSettings &settings);
/// fusion and shared quantization, after which functions consist of linears;
std::string optimizePipeline(const PipelineSettings &settings);
/// schedules and kernels, after which functions consist of launches.
std::string lowerPipeline(const Target &target, const PipelineSettings &settings);

/// Adds a textual pipeline; fails with a diagnostic at an unknown location.
mlir::LogicalResult addPipeline(mlir::OpPassManager &manager, llvm::StringRef text);

/// Registers `qlinear-cuda` and `qlinear-cpu`, and upstream's passes in them.
void registerPipelines();

} // namespace qlinear
#endif
