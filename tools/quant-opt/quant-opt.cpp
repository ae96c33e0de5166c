//===- quant-opt.cpp - The pass driver ------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mlir-opt with the qlinear dialect and its passes beside all of upstream's.
//
//===----------------------------------------------------------------------===//
#include "common/LlvmCommandLine.h"
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/InitAllPasses.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  qlinear::setVersionOf("quant-opt");
  mlir::registerAllPasses();
  qlinear::registerAllPasses();

  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<mlir::qlinear::QLinearDialect>();

  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "QLinear optimizer driver\n", registry));
}
