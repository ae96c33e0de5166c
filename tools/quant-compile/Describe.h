//===- Describe.h - What there is, for people and programs ----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANT_COMPILE_DESCRIBE_H
#define QLINEAR_TOOLS_QUANT_COMPILE_DESCRIBE_H

#include "qlinear/Encoding/Layers.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace qlinear {

/// The table of chips as text.
std::string describeChips();

/// A summary of a manifest, on standard error.
void describeManifest(llvm::StringRef manifest);

/// The functions of a manifest as JSON (docs/artifact.md). `layers` are those that the
/// functions were made of, if they were; they know the names of biases.
std::string functionsJson(llvm::StringRef manifest, llvm::StringRef artifact,
                          llvm::StringRef archive, llvm::ArrayRef<Layer> layers);

} // namespace qlinear
#endif
