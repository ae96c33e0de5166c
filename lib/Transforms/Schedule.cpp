//===- Schedule.cpp - Choose the kernel of each linear --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Transforms/Schedule.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/AsmParser/AsmParser.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

#define DEBUG_TYPE "qlinear-schedule"

using namespace mlir;
using namespace mlir::qlinear;

namespace mlir::qlinear {
#define GEN_PASS_DEF_SCHEDULE
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

/// What a table entry is found by: the weights' types decide a linear's speed.
static std::string keyOf(StringRef target, LinearOp op) {
  std::string key;
  llvm::raw_string_ostream out(key);
  out << target;
  for (Value weight : op.getWeights()) {
    auto type = cast<WeightType>(weight.getType());
    out << '|' << type.getEncoding().getValue().str() << '|' << type.getN() << '|'
        << type.getK();
  }
  return key;
}

namespace {
struct Schedule : public mlir::qlinear::impl::ScheduleBase<Schedule> {
  using ScheduleBase::ScheduleBase;

  LogicalResult initialize(MLIRContext *context) override {
    if (table.empty())
      return success();
    return readTable(context);
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
      if (ScheduleAttr found = entries.lookup(keyOf(target, op))) {
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
  LogicalResult readTable(MLIRContext *context) {
    Location loc = UnknownLoc::get(context);
    auto file = llvm::MemoryBuffer::getFile(table);
    if (!file)
      return emitError(loc, "cannot read the schedule table ")
             << table << ": " << file.getError().message();
    auto json = llvm::json::parse((*file)->getBuffer());
    if (!json)
      return emitError(loc, "schedule table ")
             << table << ": " << llvm::toString(json.takeError());
    const llvm::json::Array *list = json->getAsArray();
    if (!list)
      return emitError(loc, "schedule table ") << table << " is not a JSON array";
    for (auto [index, value] : llvm::enumerate(*list)) {
      const llvm::json::Object *entry = value.getAsObject();
      const llvm::json::Array *weights = entry ? entry->getArray("weights") : nullptr;
      auto where = entry ? entry->getString("target") : std::nullopt;
      auto text = entry ? entry->getString("schedule") : std::nullopt;
      if (!weights || !where || !text)
        return emitError(loc, "schedule table ")
               << table << ", entry " << index
               << " needs \"target\", \"weights\" and \"schedule\"";
      std::string key = where->str();
      for (const llvm::json::Value &weight : *weights) {
        const llvm::json::Object *w = weight.getAsObject();
        auto encoding = w ? w->getString("encoding") : std::nullopt;
        auto n = w ? w->getInteger("n") : std::nullopt;
        auto k = w ? w->getInteger("k") : std::nullopt;
        if (!encoding || !n || !k)
          return emitError(loc, "schedule table ")
                 << table << ", entry " << index
                 << ": a weight needs \"encoding\", \"n\" and \"k\"";
        key += ("|" + *encoding + "|" + Twine(*n) + "|" + Twine(*k)).str();
      }
      auto schedule =
          dyn_cast_if_present<ScheduleAttr>(parseAttribute(*text, context));
      if (!schedule)
        return emitError(loc, "schedule table ")
               << table << ", entry " << index << ": '" << *text
               << "' is not a #qlinear.schedule";
      entries[key] = schedule;
    }
    return success();
  }

  llvm::StringMap<ScheduleAttr> entries;
};
} // namespace
