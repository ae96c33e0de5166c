//===- Pipelines.cpp - From qlinear to launches ---------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Pipelines are written as text, so that what quant-compile does is what
// `quant-opt --pass-pipeline` can be told to do.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Target/Pipelines.h"
#include "qlinear/Target/HostCode.h"

#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace qlinear {

llvm::Expected<std::vector<Target>> Target::parseList(StringRef text) {
  std::vector<Target> targets;
  auto add = [&](Kind kind, StringRef detail) {
    for (const Target &t : targets)
      if (t.kind == kind && t.detail == detail)
        return;
    targets.push_back({kind, detail.str()});
  };
  SmallVector<StringRef> names;
  text.split(names, ',', -1, /*KeepEmpty=*/false);
  for (StringRef name : names) {
    name = name.trim();
    StringRef detail = name;
    if (name == "cpu") {
      for (StringRef isa : hostInstructionSets())
        add(Kind::cpu, isa);
    } else if (detail.consume_front("cpu:") &&
               llvm::is_contained(hostInstructionSets(), detail)) {
      add(Kind::cpu, detail);
    } else if (name == "cuda:emulated") {
      add(Kind::emulated, "emulated");
    } else if (StringRef chip = name; chip.consume_front("cuda:sm_") &&
                                      !chip.take_while(llvm::isDigit).empty() &&
                                      chip.drop_while(llvm::isDigit).size() <= 1) {
      add(Kind::cuda, name.drop_front(5));
    } else {
      return llvm::createStringError(
          "unknown target '%s'; targets are cuda:sm_NN (such as cuda:sm_90), "
          "cuda:emulated, cpu, and cpu:ISA with ISA one of %s",
          name.str().c_str(), llvm::join(hostInstructionSets(), ", ").c_str());
    }
  }
  if (targets.empty())
    return llvm::createStringError("no target; use for example --target=cpu or "
                                   "--target=cuda:sm_90");
  return targets;
}

std::string preparePipeline(const PipelineSettings &settings) {
  std::string text = settings.raise ? "qlinear-raise," : "";
  if (settings.wholeFunctions)
    text += "qlinear-adopt-functions,"
            // Frontends assert what they know of sizes.
            "canonicalize,cse,int-range-optimizations,"
            "qlinear-flatten-rows,resolve-ranked-shaped-type-result-dims,"
            "canonicalize,cse,qlinear-flatten-rows{signatures},";
  text += "qlinear-fold-constants,canonicalize,cse";
  if (!settings.encoding.empty()) {
    std::string options = llvm::formatv("encoding={{{0}} min-snr={1}",
                                        settings.encoding, settings.minSnr);
    if (!settings.outputParams.empty())
      options += " archive=" + settings.params + " output=" + settings.outputParams;
    text += ",qlinear-compact-metadata{" + options + "}";
  }
  return text;
}

std::string optimizePipeline(const Target &target, const PipelineSettings &settings) {
  SmallVector<std::string> passes;
  if (settings.fuse)
    passes.push_back("qlinear-fuse");
  if (settings.quantizeActivations)
    passes.push_back("qlinear-quantize-activations");
  passes.push_back("qlinear-fold-constants"); // extras
  passes.push_back("canonicalize");
  passes.push_back("cse");
  return llvm::join(passes, ",");
}

std::string lowerPipeline(const Target &target, const PipelineSettings &settings) {
  std::string option = "target=" + target.str();
  std::string schedule = "qlinear-schedule{" + option;
  if (!settings.scheduleTable.empty())
    schedule += " table={" + settings.scheduleTable + "}";
  return schedule + "}," +
         (target.kind == Target::Kind::cpu ? "qlinear-to-cpu"
                                           : "qlinear-to-gpu{" + option + "}") +
         ",cse";
}

LogicalResult addPipeline(OpPassManager &manager, StringRef text) {
  return parsePassPipeline(text, manager);
}

namespace {
struct PipelineOptions : PassPipelineOptions<PipelineOptions> {
  Option<std::string> target{*this, "target",
                             llvm::cl::desc("cuda:sm_NN, cuda:emulated or cpu:ISA")};
  Option<bool> raise{*this, "raise", llvm::cl::init(false),
                     llvm::cl::desc("Find dequantized weights in linalg first, as "
                                    "qlinear-raise does")};
  Option<std::string> encoding{
      *this, "encoding",
      llvm::cl::desc("Re-encode metadata first, as qlinear-compact-metadata does")};
  Option<double> minSnr{*this, "min-snr", llvm::cl::init(45.0),
                        llvm::cl::desc("SNR in dB that encoding=auto keeps")};
  Option<std::string> scheduleTable{
      *this, "schedule-table",
      llvm::cl::desc("Measured schedules, as qlinear-schedule reads them")};
  Option<bool> fuse{*this, "fuse", llvm::cl::init(true),
                    llvm::cl::desc("Fuse linears and elementwise operations")};
  Option<bool> quantizeActivations{
      *this, "quantize-activations", llvm::cl::init(true),
      llvm::cl::desc("Quantize activations once for all their users")};
};

/// Adds the pipeline with the options that `text` spells.
template <bool isCpu>
LogicalResult build(OpPassManager &manager, StringRef text,
                    function_ref<LogicalResult(const Twine &)> onError) {
  PipelineOptions options;
  if (failed(options.parseFromString(text)))
    return failure();
  Target target{isCpu ? Target::Kind::cpu : Target::Kind::cuda,
                isCpu ? hostInstructionSets().front().str() : "sm_90"};
  if (!options.target.empty()) {
    auto targets = Target::parseList(options.target);
    if (!targets)
      return onError(llvm::toString(targets.takeError()));
    target = targets->front();
  }
  PipelineSettings settings;
  settings.raise = options.raise;
  settings.encoding = options.encoding;
  settings.minSnr = options.minSnr;
  settings.scheduleTable = options.scheduleTable;
  settings.fuse = options.fuse;
  settings.quantizeActivations = options.quantizeActivations;
  std::string passes = preparePipeline(settings) + "," +
                       optimizePipeline(target, settings) + "," +
                       lowerPipeline(target, settings);
  std::string reason;
  llvm::raw_string_ostream os(reason);
  if (failed(parsePassPipeline(passes, manager, os)))
    return onError("cannot run the pipeline " + passes + ": " + reason);
  return success();
}

template <bool isCpu> void add(StringRef name, StringRef description) {
  registerPassPipeline(name, description, build<isCpu>,
                       [](function_ref<void(const mlir::detail::PassOptions &)> visit) {
                         visit(PipelineOptions());
                       });
}
} // namespace

void registerPipelines() {
  static const bool once [[maybe_unused]] = [] {
    registerCanonicalizer();
    registerCSE();
    arith::registerArithIntRangeOpts();
    memref::registerResolveRankedShapeTypeResultDimsPass();
    add<false>("qlinear-cuda",
               "compile linears for a GPU: re-encode, fuse, schedule, make kernels");
    add<true>("qlinear-cpu",
              "compile linears for the CPU: re-encode, fuse, schedule, make kernels");
    return true;
  }();
}

} // namespace qlinear
