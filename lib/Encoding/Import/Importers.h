//===- Importers.h - Conventions of quantized checkpoints -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An importer finds the weights of one convention in a checkpoint, claims the
// tensors that they are made of, and says how to load them. To add one: a file
// of its own, a line here and one in the table of Inventory.cpp.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_IMPORT_IMPORTERS_H
#define QLINEAR_LIB_ENCODING_IMPORT_IMPORTERS_H

#include "Convention.h"
#include "qlinear/Encoding/Packer.h"

#include <nlohmann/json.hpp>
#include <set>

namespace qlinear {

struct ImportContext {
  const Checkpoint &checkpoint;
  Declaration declared;
  std::set<const Tensor *> claimed;
  std::vector<SourceWeight> weights;
  std::vector<std::string> notes; ///< what the user should know

  /// Adds a note, once.
  void note(std::string text);
  /// Takes the weight and claims its parts.
  void add(SourceWeight weight);
  /// The same for a weight that cannot be read, and why.
  void addUnreadable(std::string name, std::string convention,
                     std::vector<const Tensor *> parts, std::string reason);
  /// The same for a form that no importer reads: its tensors are carried over.
  void addForeign(std::string name, std::string convention,
                  std::vector<const Tensor *> parts, std::string reason);
};

/// GGUF's block formats.
Result<void> importGguf(ImportContext &context);
/// Weights of a packed archive.
Result<void> importArchive(ImportContext &context);
/// The form for other tools to write.
Result<void> importPlain(ImportContext &context);
/// GPTQ (both versions) and AWQ.
Result<void> importGptq(ImportContext &context);
/// compressed-tensors' integers (pack-quantized, int-quantized) and floats of 4 bits.
Result<void> importCompressedTensors(ImportContext &context);
/// MLX.
Result<void> importMlx(ImportContext &context);
/// ModelOpt's NVFP4.
Result<void> importModelOpt(ImportContext &context);
/// torchao's tensor subclasses.
Result<void> importTorchao(ImportContext &context);
/// bitsandbytes' NF4.
Result<void> importBitsandbytes(ImportContext &context);
/// HQQ.
Result<void> importHqq(ImportContext &context);
/// The matrices of F32, F16 and BF16 that no other importer took.
Result<void> importFloats(ImportContext &context);

} // namespace qlinear
#endif
