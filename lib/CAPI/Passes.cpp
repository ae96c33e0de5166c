//===- Passes.cpp - C API of the passes and pipelines ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear-c/Passes.h"
#include "qlinear/InitAllPasses.h"

#include "mlir/CAPI/Pass.h"

using namespace mlir;
using namespace mlir::qlinear;

#include "qlinear/Conversion/Passes.capi.cpp.inc"
#include "qlinear/Transforms/Passes.capi.cpp.inc"

void mlirRegisterAllQLinearPasses(void) { ::qlinear::registerAllPasses(); }
