//===- GpuKernel.h - The skeleton of a GPU kernel ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A linear becomes *segments*, which own disjoint ranges of output tiles: with an
// epilogue one segment over all weights, without one a segment per weight. A
// block takes a contiguous range of all segments' tiles, cut by bytes. In a
// segment, weights of the same encoding form one *walk* (kernels/cuda/Walk.h).
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_CONVERSION_GPUKERNEL_H
#define QLINEAR_LIB_CONVERSION_GPUKERNEL_H

#include "../../kernels/common/Geometry.h"
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Schedule.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

#include <vector>

namespace qlinear {

/// Weights of one segment that are walked together.
struct KernelWalk {
  layout::WeightLayout layout;
  llvm::SmallVector<unsigned> weights; ///< operand numbers
  // Where its parts lie in shared memory (barriers and slots of each phase), and the
  // index of its record plane.
  llvm::SmallVector<int64_t> barriers, slots;
  int64_t constants = 0, exchange = 0;
  unsigned recordKind = 0;
};

struct KernelSegment {
  int64_t N = 0;
  int64_t tiles = 0;
  int64_t start = 0, cost = 1; ///< in the units by which blocks share the work
  int64_t maxTiles = 0;        ///< of one block
  std::vector<KernelWalk> walks;
  llvm::SmallVector<unsigned> results; ///< of the linear
  int64_t gather = 0;          ///< in shared memory: sums of the cluster's blocks
};

/// All constants of one kernel: shapes, ranges, shared memory.
struct KernelPlan {
  int tokens = 1, warps = 0, stages = 0;
  /// Stages whose copies start before the kernel waits for the one before it. The others
  /// follow the loads of x; then there is one phase.
  int earlyStages = 0;
  /// Whether each warp takes its first unit while x is quantized (one walk).
  bool ahead = false;
  int64_t K = 0, grid = 0, totalCost = 0;
  kernels::CopyMode mode = kernels::kDirect;
  bool pdl = false;
  bool tensor = false; ///< multiply on tensor cores
  bool bulkCodes = false; ///< bulk copies of quantized activations
  /// Blocks of this kernel and the next that a multiprocessor has to hold at once.
  int blocksPerMultiprocessor = 1;
  /// Blocks of a cluster, which work on the same tiles, each on its part of K. A tile
  /// is finished by block tile % split of the cluster.
  int split = 1;
  /// A block's `units` units are done in phases of at most `phaseUnits` units, whose
  /// activations are in shared memory at a time.
  int phases = 1;
  int64_t units = 0, phaseUnits = 0;
  std::vector<KernelSegment> segments;
  std::vector<kernels::RecordKind> recordKinds;
  // Bytes and offsets in shared memory.
  int64_t ringBytes = 0; ///< of one warp, from offset 0
  int64_t codes = 0, records = 0, codesBarrier = 0, sharedBytes = 0;

  int64_t unitsOf(int phase) const {
    return std::min(phaseUnits, units - phase * phaseUnits);
  }
  /// Tiles of a segment that one block finishes, at most.
  int64_t ownTiles(const KernelSegment &segment) const {
    return (segment.maxTiles + split - 1) / split;
  }
  int64_t threads() const { return warps * kernels::kWarp; }
  /// A phase's activations.
  kernels::StagedActivations staged(int units) const {
    return {tokens, units, tensor};
  }
  /// Where the records of a walk lie.
  int64_t recordsOf(const KernelWalk &walk, int phase) const;
};

/// Plans the kernel of `op` for `tokens` rows. Where shared memory is short, K is cut
/// into phases, then stages are given up; nothing if that does not help.
std::optional<KernelPlan>
planKernel(mlir::qlinear::LinearOp op,
           const mlir::qlinear::ScheduleAttr::Fields &schedule, int tokens,
           const GpuChip &chip);

/// Builds the kernel at the builder's position, inside a gpu.module.
mlir::gpu::GPUFuncOp buildKernel(mlir::OpBuilder &builder, llvm::StringRef name,
                                 mlir::qlinear::LinearOp op, const KernelPlan &plan);

/// Builds the kernel that quantizes rows of `input` (a tensor type).
mlir::gpu::GPUFuncOp buildQuantizeKernel(mlir::OpBuilder &builder,
                                         llvm::StringRef name, mlir::Location loc,
                                         mlir::RankedTensorType input, int64_t grid,
                                         int64_t threads, bool pdl);

} // namespace qlinear
#endif
