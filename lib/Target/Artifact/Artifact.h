//===- Artifact.h - The contents of an artifact -----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_ARTIFACT_ARTIFACT_H
#define QLINEAR_LIB_TARGET_ARTIFACT_ARTIFACT_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/ArrayRef.h"

#include <memory>
#include <string>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace qlinear {

/// An entry of the descriptor: data, or (with a symbol) a function.
struct ArtifactImage {
  std::string name;
  llvm::ArrayRef<char> data;
  std::string symbol;
  unsigned align = 16;
};

/// The name of an exported function as a C identifier.
std::string cIdentifier(llvm::StringRef name);

/// Why C cannot have a function of this name beside all that a program is linked with;
/// "" if it can.
std::string whyNotExported(llvm::StringRef name);

/// The module with the descriptor and one exported function per entry of
/// `functions`; symbols of images are declared.
std::unique_ptr<llvm::Module>
buildDescriptor(llvm::LLVMContext &context, llvm::StringRef manifest,
                llvm::ArrayRef<ArtifactImage> images,
                llvm::ArrayRef<mlir::func::FuncOp> functions);

/// The C header that declares them; `source` is named in a comment.
std::string writeHeader(llvm::ArrayRef<mlir::func::FuncOp> functions,
                        llvm::StringRef source);

} // namespace qlinear
#endif
