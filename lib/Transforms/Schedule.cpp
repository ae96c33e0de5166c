//===- Schedule.cpp - Choose the kernel of each linear --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ScheduleTable.h"
#include "qlinear/Transforms/Passes.h"

#define DEBUG_TYPE "qlinear-schedule"

using namespace mlir;
using namespace mlir::qlinear;

namespace mlir::qlinear {
#define GEN_PASS_DEF_SCHEDULE
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

namespace {
struct Schedule : public mlir::qlinear::impl::ScheduleBase<Schedule> {
  using ScheduleBase::ScheduleBase;

  LogicalResult initialize(MLIRContext *context) override {
    measured = {};
    return table.empty() ? success() : measured.read(table, target, context);
  }

  void runOnOperation() override {
    auto chip = ::qlinear::GpuChip::ofTarget(target);
    if (!chip && !StringRef(target).starts_with("cpu")) {
      getOperation()->emitError("unknown target '")
          << target << "'; targets are cuda:sm_NN, cuda:emulated and cpu:ISA";
      return signalPassFailure();
    }
    getOperation()->walk([&](LinearOp op) {
      if (op.getSchedule())
        return;
      if (ScheduleAttr found = measured.find(op)) {
        op.setScheduleAttr(found);
        ++numFromTable;
      } else if (chip) {
        op.setScheduleAttr(
            ScheduleAttr::get(&getContext(), ::qlinear::scheduleForGpu(op, *chip)));
        ++numFromModel;
      }
    });
  }

private:
  ::qlinear::ScheduleTable measured;
};
} // namespace
