//===- Schedule.h - Choosing kernels and their tiling -----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What `qlinear-schedule` knows about targets, and its cost model.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TRANSFORMS_SCHEDULE_H
#define QLINEAR_TRANSFORMS_SCHEDULE_H

#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Support/Chips.h"

#include <optional>
#include <string>

namespace qlinear {

/// The chip that a GPU target is compiled for.
struct GpuChip : Chip {
  std::string name; ///< "sm_90", "sm_100a"

  /// The chip of a target such as "cuda:sm_90" or "cuda:emulated"; nothing for others.
  static std::optional<GpuChip> ofTarget(llvm::StringRef target);

  /// The fastest way in which it copies weights.
  mlir::qlinear::CopyKind copy() const;
  bool pdl() const { return has(Feature::pdl); }

  /// Warps of a block of a kernel for `rows` rows, where a schedule names none.
  int64_t warpsFor(int rows) const;
};

/// The pointers of a kernel: weights, x, extras and results.
size_t countKernelArgs(mlir::qlinear::LinearOp op);

/// Why a kernel with this schedule cannot be made for a target, whose `chip` it is if
/// it is a GPU; "" if it can.
std::string whyMisfit(const mlir::qlinear::ScheduleAttr::Fields &fields,
                      const std::optional<GpuChip> &chip, llvm::StringRef target);

/// The schedule of a linear on a GPU, by the cost model.
mlir::qlinear::ScheduleAttr::Fields scheduleForGpu(mlir::qlinear::LinearOp op,
                                                   const GpuChip &chip);

} // namespace qlinear
#endif
