//===- Manifest.h - Launches as data ----------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Functions that consist of linears or of launches, as the JSON of
// docs/artifact.md.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_ARTIFACT_MANIFEST_H
#define QLINEAR_LIB_TARGET_ARTIFACT_MANIFEST_H

#include "qlinear/Dialect/QLinear.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/JSON.h"

#include <vector>

namespace qlinear {

/// The weights and constant tensors of an artifact, shared by its functions and
/// targets.
class WeightTable {
public:
  struct Entry {
    std::string name;
    mlir::qlinear::WeightType type;
    std::vector<char> blob; ///< of a constant; empty for a parameter
    std::string image() const { return "weight/" + name; }
  };

  /// Index of the weight that `value` is: a load of a parameter, or a pack of
  /// constants, which is laid out. Fails with a diagnostic at the user.
  mlir::FailureOr<unsigned> lookup(mlir::Value value, mlir::Operation *user);

  /// Index of a constant tensor of floats.
  unsigned addConstant(mlir::DenseElementsAttr value);

  llvm::ArrayRef<Entry> entries() const { return list; }
  llvm::json::Array describe() const;

  /// Constant tensors, each a DenseElementsAttr.
  llvm::ArrayRef<mlir::Attribute> constantTensors() const {
    return tensors.getArrayRef();
  }
  static std::string constantImage(unsigned index) {
    return "constant/" + std::to_string(index);
  }
  llvm::json::Array describeConstants() const;

private:
  std::vector<Entry> list;
  llvm::StringMap<unsigned> parameters;                ///< by name in the archive
  llvm::DenseMap<mlir::Attribute, unsigned> constants; ///< by components and type
  llvm::SetVector<mlir::Attribute> tensors;            ///< DenseElementsAttr
};

/// Public functions with a body, which an artifact exports.
llvm::SmallVector<mlir::func::FuncOp> exportedFunctions(mlir::ModuleOp module);

/// "inputs", "outputs" and "rows" of a function.
mlir::FailureOr<llvm::json::Object> describeSignature(mlir::func::FuncOp function);

/// "temps" and "steps" of a function of launches. `kernelName` maps a variant's
/// symbol to the name of its image.
mlir::FailureOr<llvm::json::Object> describeSteps(mlir::func::FuncOp function,
                                                  WeightTable &weights);

/// "reference" of a function of linears: its meaning in float64.
mlir::FailureOr<llvm::json::Object> describeReference(mlir::func::FuncOp function,
                                                      WeightTable &weights);

} // namespace qlinear
#endif
