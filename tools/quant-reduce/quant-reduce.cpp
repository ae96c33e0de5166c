//===- quant-reduce.cpp - Test case reducer -------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mlir-reduce with the qlinear dialect: shrinks a module for which a script
// reports that something goes wrong.
//
//   quant-reduce case.mlir --reduction-tree='traversal-mode=0 test=fails.sh'
//
//===----------------------------------------------------------------------===//
#include "common/LlvmCommandLine.h"
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/InitAllPasses.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-reduce/MlirReduceMain.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  qlinear::setVersionOf("quant-reduce");
  mlir::registerAllPasses();
  qlinear::registerAllPasses();

  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<mlir::qlinear::QLinearDialect>();
  mlir::MLIRContext context(registry);
  return mlir::failed(mlir::mlirReduceMain(argc, argv, context));
}
