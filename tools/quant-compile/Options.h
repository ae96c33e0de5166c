//===- Options.h - The command line of quant-compile ------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANT_COMPILE_OPTIONS_H
#define QLINEAR_TOOLS_QUANT_COMPILE_OPTIONS_H

#include "qlinear/Target/Compiler.h"

#include "llvm/Support/CommandLine.h"

namespace qlinear::options {

enum class Emit { mlir, llvm, ptx, cubin, obj, so };

extern llvm::cl::OptionCategory category;
extern llvm::cl::opt<std::string> input;
extern llvm::cl::opt<std::string> output;
extern llvm::cl::opt<std::string> targets;
extern llvm::cl::opt<Emit> emitKind;
extern llvm::cl::opt<std::string> header;
extern llvm::cl::opt<std::string> functions;
extern llvm::cl::opt<std::string> archive;
extern llvm::cl::opt<std::string> quantizer;
extern llvm::cl::opt<std::string> dtype;
extern llvm::cl::opt<std::string> params;
extern llvm::cl::opt<std::string> encoding;
extern llvm::cl::opt<double> minSnr;
extern llvm::cl::opt<std::string> scheduleTable;
extern llvm::cl::opt<std::string> ptxas;
extern llvm::cl::opt<std::string> sanitize;
extern llvm::cl::opt<std::string> saveTemps;
extern llvm::cl::opt<std::string> runtimeDir;
extern llvm::cl::opt<std::string> remarksFilter;
extern llvm::cl::opt<bool> listTargets;
extern llvm::cl::opt<bool> verbose;

/// Whether the input is a checkpoint, and not MLIR.
bool isForCheckpoint();
/// Whether that is an ONNX model.
bool isOnnx();
/// Whether an artifact is written.
bool isArtifact();

/// Names the outputs that have none yet.
void nameOutputs();
/// Fails on options that are for the other kind of input, or for another output.
llvm::Error checkOptions();
llvm::Expected<CompileSettings> readSettings();

} // namespace qlinear::options
#endif
