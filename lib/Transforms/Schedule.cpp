//===- Schedule.cpp - Choose the kernel of each linear --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ScheduleTable.h"
#include "qlinear/Transforms/ModuleTarget.h"
#include "qlinear/Transforms/Passes.h"

#define DEBUG_TYPE "qlinear-schedule"

using namespace mlir;
using namespace mlir::qlinear;

namespace mlir::qlinear {
#define GEN_PASS_DEF_SCHEDULE
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

namespace qlinear {

size_t countKernelArgs(LinearOp op) {
  return op.getWeights().size() + 1 + op.getExtras().size() + op.getValueTypes().size();
}

std::string whyMisfit(const ScheduleAttr::Fields &fields,
                      const std::optional<GpuChip> &chip, StringRef target) {
  if (!chip)
    return "";
  if (!fields.isa.empty())
    return "isa = \"" + fields.isa + "\" is a field of CPUs, but the target is " +
           target.str();
  std::string needs;
  if (fields.copy == CopyKind::bulk && !chip->has(Feature::bulk))
    needs = "copy = bulk needs " + chipsWith(Feature::bulk);
  else if (fields.copy == CopyKind::async && !chip->has(Feature::async))
    needs = "copy = async needs " + chipsWith(Feature::async);
  else if (fields.pdl && !chip->pdl())
    needs = "pdl = true needs " + chipsWith(Feature::pdl);
  return needs.empty() ? "" : needs + ", but the target is " + target.str();
}

} // namespace qlinear

namespace {
struct Schedule : public mlir::qlinear::impl::ScheduleBase<Schedule> {
  using ScheduleBase::ScheduleBase;

  void runOnOperation() override {
    auto known = ::qlinear::targetOf(getOperation(), target, "cuda:sm_90");
    if (failed(known))
      return signalPassFailure();
    auto chip = ::qlinear::GpuChip::ofTarget(*known);
    if (!chip && !StringRef(*known).starts_with("cpu")) {
      getOperation()->emitError("unknown target '")
          << *known << "'; targets are cuda:sm_NN, cuda:emulated and cpu:ISA";
      return signalPassFailure();
    }
    if (!table.empty() && (*known == "cpu" || StringRef(*known).contains(','))) {
      getOperation()->emitError("schedules are measured for one instruction set, but "
                                "the target is '")
          << *known << "'; say which, for example target=cpu:avx2";
      return signalPassFailure();
    }
    ::qlinear::ScheduleTable measured;
    if (!table.empty() && failed(measured.read(table, *known, &getContext())))
      return signalPassFailure();
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
};
} // namespace
