//===- InitAllPasses.h - Register every pass and pipeline -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For drivers: what quant-opt and the plugin know. Needs QLinear::QLinearTarget.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_INITALLPASSES_H
#define QLINEAR_INITALLPASSES_H

#include "qlinear/Conversion/Passes.h"
#include "qlinear/Target/HostCode.h"
#include "qlinear/Target/NVPTX.h"
#include "qlinear/Target/Passes.h"
#include "qlinear/Target/Pipelines.h"
#include "qlinear/Transforms/Passes.h"

namespace qlinear {

inline void registerAllPasses() {
  mlir::qlinear::registerQLinearPasses();
  mlir::qlinear::registerQLinearConversionPasses();
  mlir::qlinear::registerQLinearTargetPasses();
  registerHostCodePasses();
  registerNVPTXPasses();
  registerPipelines();
}

} // namespace qlinear
#endif
