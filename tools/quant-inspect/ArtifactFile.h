//===- ArtifactFile.h - An artifact as a file -------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Finds the descriptor of a shared library (docs/artifact.md) by the library's tables,
// as the loader would, without loading it: nothing of it runs, and it may be for
// another architecture. The file is not trusted: every address is looked up with its
// length.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANT_INSPECT_ARTIFACTFILE_H
#define QLINEAR_TOOLS_QUANT_INSPECT_ARTIFACTFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"

#include <vector>

namespace qlinear::inspect {

struct ArtifactImage {
  std::string name;
  llvm::ArrayRef<uint8_t> data; ///< empty: the entry of host code
};

struct ArtifactFile {
  std::unique_ptr<llvm::MemoryBuffer> file;
  std::string architecture; ///< "x86-64", "arm64"
  std::string manifest;
  std::vector<ArtifactImage> images;

  static llvm::Expected<ArtifactFile> open(const std::string &path);
};

/// Registers per thread of the kernels of a cubin, as far as it says them.
llvm::StringMap<unsigned> registersOf(llvm::ArrayRef<uint8_t> cubin);

} // namespace qlinear::inspect
#endif
