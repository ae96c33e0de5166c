//===- Checkpoint.h - From a checkpoint to a module -------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANT_COMPILE_CHECKPOINT_H
#define QLINEAR_TOOLS_QUANT_COMPILE_CHECKPOINT_H

#include "common/Programs.h"
#include "common/Progress.h"
#include "qlinear/Encoding/Layers.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringMap.h"

namespace qlinear {

/// Whether an input is a checkpoint, by its name, or a folder: MLIR otherwise.
bool isCheckpoint(const std::string &path);

/// The quantized linear layers of an ONNX model, as quant-import-onnx beside this tool
/// finds them: a packed archive in a folder of its own.
struct OnnxModel {
  TemporaryFolder folder;
  std::string archive;
};
Result<OnnxModel> importOnnx(const std::string &path);

struct CheckpointOptions {
  std::string input;
  std::string archive; ///< where weights are packed, if they are not yet
  std::string encoding, quantize;
  double minSnr = 0;
  std::string dtype;
};

/// The linear layers of a checkpoint, as a module that refers to an archive.
struct LayerModule {
  std::string mlir;
  std::vector<Layer> layers;
  std::string archive;
  llvm::StringMap<std::string> checksums; ///< of its weights
};

/// Packs the checkpoint, unless it is an archive already, and gives its module to
/// `compile`, which adds the files that shall appear together with the archive.
Result<void> compileCheckpoint(
    const Checkpoint &checkpoint, const CheckpointOptions &options, Progress &progress,
    llvm::function_ref<Result<void>(const LayerModule &, std::vector<OutputFile> &)>
        compile);

/// Whether compileCheckpoint() writes an archive.
bool mustPack(const Checkpoint &checkpoint, const CheckpointOptions &options);

} // namespace qlinear
#endif
