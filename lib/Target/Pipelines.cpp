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
#include "qlinear/Support/Chips.h"
#include "qlinear/Target/NVPTX.h"

#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace qlinear {

static const InstructionSet *instructionSetOf(const Target &target) {
  return target.kind == Target::Kind::cpu ? findInstructionSet(target.detail) : nullptr;
}

Architecture architectureOf(ArrayRef<Target> targets) {
  for (const Target &target : targets)
    if (const InstructionSet *set = instructionSetOf(target))
      return set->architecture;
  return kHostArchitecture;
}

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
    if (auto architecture = architectureOfTarget(name)) {
      for (const InstructionSet *set : instructionSetsOf(*architecture))
        add(Kind::cpu, set->name);
    } else if (name == "cpu:native") {
      add(Kind::cpu, kInstructionSets[bestInstructionSet()].name);
    } else if (detail.consume_front("cpu:") && findInstructionSet(detail)) {
      add(Kind::cpu, detail);
    } else if (name == "cuda:emulated") {
      add(Kind::emulated, "emulated");
    } else if (detail.consume_front("cuda:") && isNVPTXChip(detail)) {
      add(Kind::cuda, detail);
    } else if (name.starts_with("cuda:sm_")) {
      return llvm::createStringError("unknown target '%s'; chips are %s",
                                     name.str().c_str(), listChips().c_str());
    } else {
      return llvm::createStringError(
          "unknown target '%s'; targets are cuda:sm_NN (such as cuda:sm_90), "
          "cuda:emulated, cpu, cpu:x86-64, cpu:arm64, cpu:native, and cpu:ISA with ISA "
          "one of %s",
          name.str().c_str(), listInstructionSets().c_str());
    }
  }
  const Target *first = nullptr;
  for (const Target &target : targets) {
    const InstructionSet *set = instructionSetOf(target);
    if (set && !first)
      first = &target;
    if (set && set->architecture != architectureOf(targets))
      return llvm::createStringError(
          "%s is for %s and %s for %s; an artifact has code for one architecture: "
          "compile one for each",
          first->str().c_str(), spell(architectureOf(targets)).data(),
          target.str().c_str(), spell(set->architecture).data());
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

std::string optimizePipeline(const PipelineSettings &settings) {
  SmallVector<std::string> passes;
  if (!settings.activations.empty())
    passes.push_back("qlinear-set-activations{format=" + settings.activations + "}");
  if (settings.fuse)
    passes.push_back("qlinear-fuse");
  // Whether this pays depends on the number of rows.
  if (settings.quantizeActivations && !settings.batchInvariant)
    passes.push_back("qlinear-quantize-activations");
  passes.push_back("qlinear-fold-constants"); // extras
  passes.push_back("canonicalize");
  passes.push_back("cse");
  return llvm::join(passes, ",");
}

static std::string lowerPipeline(StringRef target, bool isCpu,
                                 const PipelineSettings &settings) {
  std::string option = target.empty() ? "" : ("target=" + target).str();
  SmallVector<std::string> schedule;
  if (!option.empty())
    schedule.push_back(option);
  if (!settings.scheduleTable.empty())
    schedule.push_back("table={" + settings.scheduleTable + "}");
  if (settings.batchInvariant)
    schedule.push_back("batch-invariant=true");
  auto withOptions = [](std::string pass, const std::string &options) {
    return options.empty() ? pass : pass + "{" + options + "}";
  };
  std::string lower =
      withOptions(isCpu ? "qlinear-to-cpu" : "qlinear-to-gpu", option) + ",cse";
  // Without a target qlinear-schedule takes the module's, or a GPU; qlinear-to-cpu
  // completes schedules itself.
  if (isCpu && schedule.empty())
    return lower;
  return withOptions("qlinear-schedule", llvm::join(schedule, " ")) + "," + lower;
}

std::string lowerPipeline(const Target &target, const PipelineSettings &settings) {
  return lowerPipeline(target.str(), target.kind == Target::Kind::cpu, settings);
}

LogicalResult addPipeline(OpPassManager &manager, StringRef text) {
  return parsePassPipeline(text, manager);
}

namespace {
struct PipelineOptions : PassPipelineOptions<PipelineOptions> {
  Option<std::string> target{
      *this, "target",
      llvm::cl::desc("cuda:sm_NN, cuda:emulated, cpu or cpu:ISA; default: "
                     "the module's qlinear.target, else cuda:sm_90 or "
                     "cpu")};
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
  Option<bool> batchInvariant{
      *this, "batch-invariant", llvm::cl::init(false),
      llvm::cl::desc("The bits of a row's results do not depend on the rows beside it, "
                     "as of qlinear-schedule")};
  Option<std::string> activations{
      *this, "activations",
      llvm::cl::desc("int8 or float: whether linears that do not say it quantize their "
                     "activations, as of qlinear-set-activations")};
  Option<bool> fuse{*this, "fuse", llvm::cl::init(true),
                    llvm::cl::desc("Fuse linears and elementwise operations")};
  Option<bool> quantizeActivations{
      *this, "quantize-activations", llvm::cl::init(true),
      llvm::cl::desc("Quantize activations once for all their users")};
};

/// What `qlinear-finish` runs after the kernels are made, in upstream's and our passes.
/// Boundaries get plain memrefs, so that x need not be copied to close gaps.
constexpr llvm::StringLiteral kFinish =
    "convert-elementwise-to-linalg,"
    "one-shot-bufferize{{bufferize-function-boundaries "
    "function-boundary-type-conversion=identity-layout-map "
    "allow-return-allocs-from-loops},"
    "buffer-deallocation-pipeline,convert-bufferization-to-memref,"
    "qlinear-to-runtime{{{0}},"
    "convert-linalg-to-loops,scf-forall-to-for,lower-affine,convert-scf-to-cf,"
    "expand-strided-metadata,lower-affine,arith-expand{{include-bf16=true},"
    "convert-math-to-llvm,convert-math-to-libm,convert-to-llvm,"
    "reconcile-unrealized-casts";

struct FinishOptions : PassPipelineOptions<FinishOptions> {
  Option<std::string> target{
      *this, "target",
      llvm::cl::desc("As of qlinear-to-runtime; default: what the "
                     "kernels were made for")};
  Option<std::string> prefix{*this, "prefix", llvm::cl::init("qlinear"),
                             llvm::cl::desc("As of qlinear-to-runtime")};
};

LogicalResult buildFinish(OpPassManager &manager, StringRef text,
                          function_ref<LogicalResult(const Twine &)> onError) {
  FinishOptions options;
  if (failed(options.parseFromString(text)))
    return failure();
  std::string own = "prefix=" + options.prefix;
  if (!options.target.empty())
    own += " target=" + options.target;
  std::string passes = llvm::formatv(kFinish.data(), own), reason;
  llvm::raw_string_ostream os(reason);
  if (failed(parsePassPipeline(passes, manager, os)))
    return onError("cannot run the pipeline " + passes + ": " + reason +
                   "; mlir::registerAllPasses() registers upstream's passes");
  return success();
}

/// Adds the pipeline with the options that `text` spells.
template <bool isCpu>
LogicalResult build(OpPassManager &manager, StringRef text,
                    function_ref<LogicalResult(const Twine &)> onError) {
  PipelineOptions options;
  if (failed(options.parseFromString(text)))
    return failure();
  if (!options.target.empty()) {
    auto targets = Target::parseList(options.target);
    if (!targets)
      return onError(llvm::toString(targets.takeError()));
    for (const Target &target : *targets)
      if ((target.kind == Target::Kind::cpu) != isCpu)
        return onError("qlinear-" + Twine(isCpu ? "cpu" : "cuda") +
                       " does not compile for '" + target.str() + "'; use qlinear-" +
                       (isCpu ? "cuda" : "cpu") + "{target=" + target.str() + "}");
    if (!isCpu && targets->size() > 1)
      return onError("kernels are made for one GPU target at a time, not for '" +
                     options.target + "'; compile a copy of the module for each");
  }
  PipelineSettings settings;
  settings.raise = options.raise;
  settings.encoding = options.encoding;
  settings.minSnr = options.minSnr;
  settings.scheduleTable = options.scheduleTable;
  settings.batchInvariant = options.batchInvariant;
  settings.activations = options.activations;
  settings.fuse = options.fuse;
  settings.quantizeActivations = options.quantizeActivations;
  std::string passes = preparePipeline(settings) + "," + optimizePipeline(settings) +
                       "," + lowerPipeline(options.target, isCpu, settings);
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
    registerPassPipeline(
        "qlinear-finish",
        "lower a module with kernels, and what else is in it, to the LLVM dialect: "
        "bufferization, calls of the runtime, upstream's conversions",
        buildFinish, [](function_ref<void(const mlir::detail::PassOptions &)> visit) {
          visit(FinishOptions());
        });
    return true;
  }();
}

} // namespace qlinear
