//===- Inspect.h - What is in a file ----------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Everything is found out as JSON (docs/quant-inspect.md), and the text is printed from
// that.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANT_INSPECT_INSPECT_H
#define QLINEAR_TOOLS_QUANT_INSPECT_INSPECT_H

#include "qlinear/Encoding/Packer.h"

#include "llvm/Support/JSON.h"

namespace qlinear::inspect {

using llvm::json::Object;

/// Weights of a checkpoint or an archive.
Result<Object> describeWeights(const Checkpoint &checkpoint);
std::string weightsText(const Object &weights);

/// The values of one weight, decoded.
Result<Object> describeValues(const Checkpoint &checkpoint, const std::string &name);
std::string valuesText(const Object &values);

/// What differs between two files of weights; SNR is that of the second.
Result<Object> compare(const Checkpoint &a, const Checkpoint &b);
std::string comparisonText(const Object &comparison);

/// Whether a file is a shared library.
bool isArtifact(const std::string &path);
/// An artifact, of any architecture, without running code from it.
Result<Object> describeArtifact(const std::string &path);
std::string artifactText(const Object &artifact);

/// The values of a weight as floats.
Result<std::vector<float>> floatsOf(const SourceWeight &weight);
/// The shape as text: "512 x 256".
std::string shapeText(const std::vector<uint64_t> &shape);

} // namespace qlinear::inspect
#endif
