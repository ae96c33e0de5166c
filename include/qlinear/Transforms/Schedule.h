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

#include <optional>
#include <string>

namespace qlinear {

/// A CUDA architecture: the facts that schedules depend on.
struct GpuChip {
  std::string name;        ///< "sm_90"
  int64_t multiprocessors; ///< of the architecture's data-centre (or largest) chip
  int64_t sharedBytes;     ///< most dynamic shared memory of a block
  int64_t warps;           ///< of a block that shares the multiprocessor with the next
  mlir::qlinear::CopyKind copy;
  bool pdl; ///< has programmatic dependent launch, and clusters

  /// The chip of a target such as "cuda:sm_90", "cuda:sm_100a", "cuda:emulated"
  /// (which has all that sm_90 has, and 4 multiprocessors); nothing for others.
  static std::optional<GpuChip> ofTarget(llvm::StringRef target);

  /// Warps of a block of a kernel for `rows` rows, where a schedule names none.
  int64_t warpsFor(int rows) const;
};

/// Pointers that one kernel can have; the runtime refuses more (its kMaxArgs).
inline constexpr size_t kMaxKernelArgs = 64;
/// Weights that one kernel has: what sharing x gains grows no more with them, and the
/// time to compile grows faster than their number.
inline constexpr size_t kMaxKernelWeights = 8;

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
