//===- ScheduleGpu.cpp - Schedules for CUDA devices -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Decode is bound by reading the weights, so the model keeps enough bytes under
// way: one block per multiprocessor, 12 warps with a ring of 3 units each (83 KB
// for 4.5-bit units), which leaves room for the next kernel's block under
// programmatic dependent launch.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Transforms/Schedule.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir::qlinear;

namespace qlinear {

std::optional<GpuChip> GpuChip::ofTarget(llvm::StringRef target) {
  if (!target.consume_front("cuda:"))
    return std::nullopt;
  if (target == "emulated")
    return GpuChip{kEmulatedChip, "sm_90"};
  std::optional<ChipName> name = ChipName::parse(target);
  const Chip *chip = name ? name->chip() : nullptr;
  return chip ? std::optional(GpuChip{*chip, target.str()}) : std::nullopt;
}

CopyKind GpuChip::copy() const {
  return has(Feature::bulk)    ? CopyKind::bulk
         : has(Feature::async) ? CopyKind::async
                               : CopyKind::load;
}

// Kernels for three and four rows have the multiprocessor to themselves (measured: 3%
// for long rows, 5% for many); those for more need the registers.
int64_t GpuChip::warpsFor(int rows) const {
  return pdl() && (rows == 3 || rows == 4) ? warps + warps / 3 : warps;
}

/// Whether a warp has less than four units: a third stage then only brings forward what
/// little is left to read while the kernel waits (measured at 12 MB: 3% for one row, 9%
/// to 14% for more), and more warps have nothing to do (5% for four rows).
static bool isShort(LinearOp op, const GpuChip &chip) {
  uint64_t units = 0;
  for (unsigned i = 0; i < op.getWeights().size(); ++i) {
    layout::WeightLayout weight = op.getWeightType(i).getLayout();
    units += weight.tiles() * weight.unitsPerTile();
  }
  return units < 4 * uint64_t(chip.multiprocessors * chip.warps);
}

ScheduleAttr::Fields scheduleForGpu(LinearOp op, const GpuChip &chip) {
  ScheduleAttr::Fields fields;
  fields.rows = {1, 2, 4, 8};
  if (!mlir::ShapedType::isDynamic(op.getM()))
    llvm::erase_if(fields.rows,
                   [&](int64_t rows) { return rows > 1 && rows / 2 >= op.getM(); });
  fields.grid = chip.multiprocessors;
  fields.stages = chip.copy() == CopyKind::load ? 1 : 3;
  if (chip.pdl() && isShort(op, chip)) {
    fields.stages = 2;
    fields.warps = chip.warps;
  }
  fields.copy = chip.copy();
  fields.pdl = chip.pdl();
  // Two blocks then stage half of the activations each (measured: 13% at 8 rows of
  // K = 21504, 6% at 2 rows, a loss for K = 8192). Clusters of 4 do not fit evenly
  // into the chip's processing clusters.
  if (chip.pdl() && op.getK() >= 16384)
    fields.splitK = 2;
  return fields;
}

} // namespace qlinear
