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
#include "qlinear/Conversion/Passes.h"
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Target/HostCode.h"
#include "qlinear/Target/NVPTX.h"
#include "qlinear/Target/Pipelines.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::registerAllPasses();
  mlir::qlinear::registerQLinearPasses();
  mlir::qlinear::registerQLinearConversionPasses();
  qlinear::registerHostCodePasses();
  qlinear::registerNVPTXPasses();
  qlinear::registerPipelines();

  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<mlir::qlinear::QLinearDialect>();

  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "QLinear optimizer driver\n", registry));
}
