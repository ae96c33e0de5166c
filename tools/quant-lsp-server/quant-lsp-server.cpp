//===- quant-lsp-server.cpp - Editor support ------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The language server of MLIR with the qlinear dialect: diagnostics, definitions,
// hover and completion in .mlir files. Point the editor's MLIR plugin at it.
//
//===----------------------------------------------------------------------===//
#include "common/LlvmCommandLine.h"
#include "qlinear/Dialect/QLinear.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  qlinear::setVersionOf("quant-lsp-server");
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<mlir::qlinear::QLinearDialect>();
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
