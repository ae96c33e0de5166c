//===- ScheduleTable.h - Measured schedules ---------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_SCHEDULETABLE_H
#define QLINEAR_LIB_TRANSFORMS_SCHEDULETABLE_H

#include "qlinear/Transforms/Schedule.h"

#include "llvm/ADT/StringMap.h"

#include <string>

namespace qlinear {

/// The entries of a table for one target. A linear's entry is found by the types of its
/// weights, which decide its speed.
class ScheduleTable {
public:
  /// Reads `table`: a file, or the name of a table that comes with the compiler
  /// ("h200"). Every entry is checked; entries for `target` also against its features.
  /// Those of sm_90 serve sm_90a where that has none for the same linear.
  llvm::LogicalResult read(llvm::StringRef table, llvm::StringRef target,
                           mlir::MLIRContext *context);
  /// The schedule of a linear, with the kernels that its M has use for; null if there
  /// is no entry. Fields that it leaves out are left to the cost model.
  mlir::qlinear::ScheduleAttr find(mlir::qlinear::LinearOp op) const;

private:
  llvm::StringMap<mlir::qlinear::ScheduleAttr> entries;
};

} // namespace qlinear
#endif
