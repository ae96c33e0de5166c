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

#include "mlir/IR/PatternMatch.h"

#include <optional>
#include <string>

namespace qlinear {

/// The chip that a GPU target is compiled for.
struct GpuChip : Chip {
  std::string name;   ///< "sm_90", "sm_100a"
  std::string target; ///< "cuda:sm_90", "cuda:emulated"

  /// The chip of a target such as "cuda:sm_90" or "cuda:emulated"; nothing for others.
  static std::optional<GpuChip> ofTarget(llvm::StringRef target);

  bool pdl() const { return has(Feature::pdl); }
};

/// The pointers of a kernel: weights, inputs and results.
size_t countKernelArgs(mlir::qlinear::KernelOpInterface op);

/// Fails with a diagnostic if they are more than the runtime passes.
llvm::LogicalResult checkKernelArgs(mlir::qlinear::KernelOpInterface op);

/// The norm that makes x of `op` for it alone, if one launch can do both: x is not read
/// by others, what else the norm makes is read after the linear only, and its rows fit
/// into registers. Null if there is none. `op` is on tensors.
mlir::qlinear::NormOp normBefore(mlir::qlinear::LinearOp op);

/// The numbers of rows that get a kernel where a schedule names none: 1, 2, 4 and 8 up
/// to the first that is enough for M.
llvm::SmallVector<int64_t> rowsWithKernels(int64_t M);

/// Why a schedule, complete or not, cannot be for a target, whose `chip` it is if it is
/// a GPU; "" if it can.
std::string whyMisfit(mlir::qlinear::ScheduleAttr schedule,
                      const std::optional<GpuChip> &chip, llvm::StringRef target);

/// Completes the schedule of `op`, which is on tensors, for a GPU: the cost model
/// chooses the fields that it leaves out. Returns the linears that replace `op`, with
/// their schedules: several, if one kernel does not take all weights, or takes fewer
/// rows than kernels of fewer weights would. With `joinsNorms` the norm before `op` may
/// be launched with it. Fails with a diagnostic if no kernel fits, or if the schedule
/// has to be batch-invariant and is not.
llvm::FailureOr<llvm::SmallVector<mlir::qlinear::LinearOp>>
scheduleForGpu(mlir::RewriterBase &rewriter, mlir::qlinear::LinearOp op,
               const GpuChip &chip, bool batchInvariant, bool joinsNorms);

/// Completes the schedule of `op` for CPUs: kernels for 1, 2 and 4 rows and one for any
/// number, or for float activations for 1, 2, 4 and 8. Fails with a diagnostic if a
/// given kernel does not fit, or if the schedule has to be batch-invariant and is not.
llvm::LogicalResult scheduleForCpu(mlir::RewriterBase &rewriter,
                                   mlir::qlinear::LinearOp op, bool batchInvariant);

/// Fails with a diagnostic unless the complete schedule of `op` is batch-invariant.
llvm::LogicalResult checkBatchInvariant(mlir::qlinear::LinearOp op);

} // namespace qlinear
#endif
