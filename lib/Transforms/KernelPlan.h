//===- KernelPlan.h - The constants of a GPU kernel -------------*- C++ -*-===//
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
// The plan is a function of the linear, its schedule and the chip. `qlinear-schedule`
// makes plans to know what fits, `qlinear-to-gpu` to build kernels.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TRANSFORMS_KERNELPLAN_H
#define QLINEAR_LIB_TRANSFORMS_KERNELPLAN_H

#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Encoding/Result.h"
#include "qlinear/Kernels/Gemm.h"
#include "qlinear/Transforms/Schedule.h"

#include "llvm/Support/MathExtras.h"

#include <vector>

namespace qlinear {

/// Weights of one segment that are walked together.
struct KernelWalk {
  layout::WeightLayout layout;
  llvm::SmallVector<unsigned> weights; ///< operand numbers
  // Where its parts lie in shared memory (barriers and slots of each phase; sums of a
  // kernel for many tokens), and the index of its record plane.
  int64_t sums = 0;
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
  int64_t gather = 0; ///< in shared memory: sums of the cluster's blocks
};

/// All constants of one kernel: shapes, ranges, shared memory.
struct KernelPlan {
  bool pdl = false;
  int tokens = 1, warps = 0, stages = 0;
  /// Stages whose copies start before the kernel waits for the one before it.
  int earlyStages = 0;
  int64_t K = 0, grid = 0, totalCost = 0;
  kernels::CopyMode mode = kernels::kDirect;
  bool ahead = false;
  kernels::Product product = kernels::kDp4a;
  bool bulkCodes = false; ///< bulk copies of quantized activations
  /// Blocks of this kernel and the next for which a multiprocessor has registers.
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
    return {tokens, units, product};
  }
  /// Where the records of a walk lie.
  int64_t recordsOf(const KernelWalk &walk, int phase) const;
};

/// A kernel for many tokens.
struct GemmPlan {
  bool pdl = false;
  kernels::CopyMode mode = kernels::kBulk;
  bool byGroups = false; ///< products by groups of four warps
  kernels::GemmShape shape;
  /// Blocks, and those of a cluster, which share the units of K; by groups the pieces
  /// of K that a job has at most.
  int64_t grid = 0, split = 1;
  int64_t K = 0, units = 0;
  int64_t mostTiles = 0; ///< of a job
  std::vector<KernelSegment> segments;
  // Bytes and offsets in shared memory; the ring is at 0, by groups that of
  // activations.
  int64_t stageBytes = 0, barriers = 0, tables = 0, factors = 0, sharedBytes = 0;
  int64_t ring = 0, rounds = 0; ///< by groups: of units; finished sums

  /// What blocks share in memory: two counters for each group of warps and each job
  /// that has pieces, and the sums of pieces. Such jobs are less than two for each
  /// block, and a block has two pieces at most (Shares.h).
  int64_t counters() const {
    return byGroups && split > 1 ? 2 * (2 * grid * shape.groups()) : 0;
  }
  int64_t counterBytes() const {
    return int64_t(llvm::alignTo(uint64_t(4 * counters()), layout::kLine));
  }
  int64_t scratchBytes() const {
    return counterBytes() + (counters() ? 2 * grid * shape.pieceBytes() : 0);
  }

  int64_t threads() const { return shape.threads(); }
  /// Blocks that have the same activations at a time.
  int64_t blocks() const { return shape.pair ? 2 : 1; }
  kernels::PreparedActivations prepared() const { return {uint64_t(K)}; }
};

/// The temporary of a linear's kernels for many tokens: what any of them shares between
/// blocks, then the prepared activations. The counters are at the start.
struct GemmScratch {
  static constexpr int64_t kPast = 16; ///< read past the scales, in pieces of 16 bytes
  int64_t bytes = 0, counters = 0;
  void add(const GemmPlan &plan) {
    bytes = std::max(bytes, plan.scratchBytes());
    counters = std::max(counters, plan.counters());
  }
};

/// The most rows of kernels that share a multiprocessor with the next one's.
inline constexpr int64_t kSharingRows = 2;

/// Most dynamic shared memory of each of `blocks` blocks on a multiprocessor.
int64_t sharedBytesOf(const GpuChip &chip, int64_t blocks);

/// Why the chip has no kernel with these fields, of which some may be left out; "" if
/// it has.
std::string whyMisfit(const mlir::qlinear::Gemv &gemv, const GpuChip &chip);

/// Lays out the kernel of `op` that a complete `gemv` describes, or says why the chip
/// or the linear has no such kernel. Nothing is chosen here.
Result<KernelPlan> planKernel(mlir::qlinear::LinearOp op,
                              const mlir::qlinear::Gemv &gemv, bool pdl,
                              const GpuChip &chip);

/// The same for kernels for many tokens.
std::string whyMisfit(const mlir::qlinear::Gemm &gemm, const GpuChip &chip);
Result<GemmPlan> planKernel(mlir::qlinear::LinearOp op, const mlir::qlinear::Gemm &gemm,
                            bool pdl, const GpuChip &chip);

/// Chooses the fields that `wanted` leaves out; the error says why there is no such
/// kernel.
Result<mlir::qlinear::Gemm> chooseGemm(mlir::qlinear::LinearOp op,
                                       const mlir::qlinear::Gemm &wanted, bool pdl,
                                       const GpuChip &chip);

/// A measured schedule of kernels for up to kMaxGemvRows rows with the usual ones for
/// more.
mlir::qlinear::ScheduleAttr withManyRows(mlir::qlinear::LinearOp op,
                                         mlir::qlinear::ScheduleAttr schedule,
                                         const GpuChip &chip);
/// The same for CPUs.
mlir::qlinear::ScheduleAttr withManyRows(mlir::qlinear::LinearOp op,
                                         mlir::qlinear::ScheduleAttr schedule);

/// The segments of a linear's kernels, without what depends on the kernel.
std::vector<KernelSegment> makeSegments(mlir::qlinear::LinearOp op);
kernels::CopyMode modeOf(mlir::qlinear::CopyKind copy);

} // namespace qlinear
#endif
