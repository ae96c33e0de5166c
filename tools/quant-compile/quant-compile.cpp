//===- quant-compile.cpp - Compile linears to an artifact -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Packer.h"
#include "qlinear/Support/Chips.h"
#include "qlinear/Target/Compiler.h"
#include "qlinear/Target/HostObject.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/WithColor.h"

using namespace llvm;
using qlinear::Compilation;
using qlinear::TargetCode;

namespace {

enum class Emit { mlir, llvm, ptx, cubin, obj, so };

cl::OptionCategory category("quant-compile");
cl::opt<std::string> input(cl::Positional, cl::desc("<input: MLIR text or bytecode>"),
                           cl::init("-"), cl::cat(category));
cl::opt<std::string> output("o", cl::desc("Output file; - is standard output"),
                            cl::value_desc("file"), cl::cat(category));
cl::opt<std::string>
    targets("target",
            cl::desc("What to compile for, comma-separated: cuda:sm_NN, cuda:emulated, "
                     "cpu (all instruction sets; the runtime picks one), the same of "
                     "an architecture: cpu:x86-64, cpu:arm64; one instruction set: "
                     "cpu:amx, cpu:avx512vnni, cpu:avxvnni, cpu:avx2, "
                     "cpu:neon-i8mm, cpu:neon-dotprod, cpu:neon, cpu:portable"),
            cl::init("cpu"), cl::value_desc("list"), cl::cat(category));
cl::opt<Emit> emitKind(
    "emit", cl::desc("What to write"), cl::init(Emit::so), cl::cat(category),
    cl::values(
        clEnumValN(Emit::mlir, "mlir", "the module, lowered to launches and kernels"),
        clEnumValN(Emit::llvm, "llvm", "LLVM IR of the kernels"),
        clEnumValN(Emit::ptx, "ptx", "PTX of a CUDA target"),
        clEnumValN(Emit::cubin, "cubin", "machine code of a CUDA target"),
        clEnumValN(Emit::obj, "obj", "the artifact as an object file"),
        clEnumValN(Emit::so, "so", "the artifact as a shared library (default)")));
cl::opt<std::string> header("header",
                            cl::desc("Write a C header of the compiled functions"),
                            cl::value_desc("file"), cl::cat(category));
cl::opt<std::string>
    params("params",
           cl::desc("Check the types of all parameters against a packed archive"),
           cl::value_desc("archive.safetensors"), cl::cat(category));
cl::opt<std::string> encoding(
    "encoding",
    cl::desc("Re-encode constant weights and the types of parameters first, as "
             "qlinear-compact-metadata does: auto, row-u8, ..."),
    cl::value_desc("rule"), cl::cat(category));
cl::opt<double> minSnr("min-snr", cl::desc("SNR in dB that --encoding=auto keeps"),
                       cl::init(45), cl::value_desc("dB"), cl::cat(category));
cl::opt<std::string> scheduleTable(
    "schedule-table",
    cl::desc(
        "Measured schedules: a file of quant-tune's, or the name of a table that "
        "the compiler comes with (h100, h200); linears without an entry get the cost "
        "model's"),
    cl::value_desc("table"), cl::cat(category));
cl::opt<bool> batchInvariant(
    "batch-invariant",
    cl::desc("The bits of a row's results depend neither on the number of rows of the "
             "call nor on the other rows; slower where rows are few"),
    cl::cat(category));
cl::opt<bool> raise_("raise",
                     cl::desc("Find dequantized weights in linalg and make them "
                              "quantized linears first, as qlinear-raise does"),
                     cl::cat(category));
cl::opt<std::string> activations(
    "activations",
    cl::desc("What linears multiply their weights with: int8 (x quantized per 32 "
             "columns; default) or float (x as it is); linears that say it themselves "
             "are left alone"),
    cl::value_desc("format"), cl::cat(category));
cl::opt<bool> fuse("fuse",
                   cl::desc("Fuse linears and elementwise operations (default)"),
                   cl::init(true), cl::cat(category));
cl::opt<bool> quantize("quantize-activations",
                       cl::desc("Quantize activations once for all users (default); "
                                "else each does it for itself"),
                       cl::init(true), cl::cat(category));
cl::opt<std::string>
    ptxVersion("ptx-version",
               cl::desc("PTX version; default: the oldest that has the chip"),
               cl::value_desc("8.0"), cl::cat(category));
cl::opt<std::string> ptxas("ptxas", cl::desc("Path of ptxas; default: found on PATH"),
                           cl::value_desc("file"), cl::cat(category));
cl::opt<std::string>
    sanitize("sanitize",
             cl::desc("Instrument host code: 'address' (the process that "
                      "runs it needs AddressSanitizer's runtime)"),
             cl::value_desc("address"), cl::cat(category));
cl::opt<std::string>
    saveTemps("save-temps",
              cl::desc("Directory for the lowered modules, PTX, the LLVM IR "
                       "of the artifact, and the manifest"),
              cl::value_desc("dir"), cl::cat(category));
cl::opt<std::string>
    runtimeDir("runtime-dir",
               cl::desc("Where libQLinearRuntime.so lies; default: beside "
                        "this tool; not needed for another architecture"),
               cl::value_desc("dir"), cl::cat(category));
cl::opt<std::string> remarksFilter(
    "remarks-filter",
    cl::desc(
        "Print the remarks of passes of matching names, as quant-opt does: what they "
        "did, and what they declined and why"),
    cl::value_desc("regex, such as qlinear.*"), cl::cat(category));
cl::opt<bool> listTargets("list-targets",
                          cl::desc("Print the GPU targets and what is known of them"),
                          cl::cat(category));
cl::opt<bool> verbose("verbose",
                      cl::desc("Describe what was compiled, on standard error"),
                      cl::cat(category));

[[nodiscard]] int fail(const Twine &message) {
  WithColor::error(errs(), "quant-compile") << message << "\n";
  return 1;
}

/// The table of chips as text.
std::string describeChips() {
  using qlinear::Feature;
  const std::pair<uint32_t, const char *> names[] = {
      {Feature::mma, "mma"},     {Feature::async, "async"},
      {Feature::fp8, "fp8"},     {Feature::bulk, "bulk"},
      {Feature::pdl, "pdl"},     {Feature::cluster, "cluster"},
      {Feature::wgmma, "wgmma"}, {Feature::tcgen05, "tcgen05"}};
  std::string text = "target       PTX  multiprocessors  shared KiB  also  features\n";
  for (const qlinear::Chip &chip : qlinear::kChips) {
    std::string also, features = "dp4a";
    for (char variant : chip.variants)
      also += std::string(also.empty() ? "" : ", ") + variant;
    for (auto [feature, name] : names)
      if ((chip.features | chip.more) & feature)
        features += std::string(" ") + name + (chip.has(feature) ? "" : "*");
    text += formatv("{0,-11}  {1}  {2,15}  {3,10}  {4,-4}  {5}\n",
                    "cuda:sm_" + std::to_string(chip.number),
                    qlinear::spellPtxVersion(chip.ptx), chip.multiprocessors,
                    chip.sharedBytes / 1024, also, features);
  }
  return text;
}

/// The directory of libQLinearRuntime.so: of the build or the install tree.
std::string findRuntime(const char *argv0) {
  if (!runtimeDir.empty())
    return runtimeDir;
  std::string tool =
      sys::fs::getMainExecutable(argv0, reinterpret_cast<void *>(&findRuntime));
  StringRef prefix = sys::path::parent_path(sys::path::parent_path(tool));
  for (StringRef lib : {QLINEAR_LIBDIR, "lib"}) {
    SmallString<128> dir(prefix);
    sys::path::append(dir, lib);
    if (sys::fs::exists(dir + "/libQLinearRuntime.so"))
      return dir.str().str();
  }
  return "";
}

/// The end that "-o" has if it is not given.
const char *extension() {
  switch (emitKind) {
  case Emit::mlir:
    return ".mlir";
  case Emit::llvm:
    return ".ll";
  case Emit::ptx:
    return ".ptx";
  case Emit::cubin:
    return ".cubin";
  case Emit::obj:
    return ".o";
  case Emit::so:
    return ".so";
  }
  return "";
}

template <typename T> std::string print(const T &value) {
  std::string text;
  raw_string_ostream os(text);
  os << value;
  return text;
}

std::string printModule(const Module &module) {
  std::string text;
  raw_string_ostream os(text);
  module.print(os, nullptr);
  return text;
}

Error writeTemps(const Compilation &compilation) {
  if (std::error_code ec = sys::fs::create_directories(saveTemps))
    return createStringError(ec, "cannot create %s: %s", saveTemps.c_str(),
                             ec.message().c_str());
  auto write = [&](StringRef name, StringRef contents) {
    SmallString<128> path(saveTemps);
    sys::path::append(path, name);
    return qlinear::toError(qlinear::writeOutput(path.str().str(), contents));
  };
  for (const TargetCode &code : compilation.targets) {
    std::string name = code.target.str();
    std::replace(name.begin(), name.end(), ':', '-');
    if (Error e = write(name + ".mlir", print(code.module.get())))
      return e;
    if (code.llvm)
      if (Error e = write(name + ".ll", printModule(*code.llvm)))
        return e;
    if (!code.image.ptx.empty())
      if (Error e = write(name + ".ptx", code.image.ptx))
        return e;
    if (!code.image.cubin.empty())
      if (Error e = write(name + ".cubin",
                          StringRef(code.image.cubin.data(), code.image.cubin.size())))
        return e;
    if (!code.image.ptxasLog.empty())
      if (Error e = write(name + ".ptxas.txt", code.image.ptxasLog))
        return e;
  }
  if (compilation.artifact)
    if (Error e = write("artifact.ll", printModule(*compilation.artifact)))
      return e;
  return write("manifest.json", compilation.manifest);
}

/// A summary of the manifest.
void describe(const Compilation &compilation) {
  auto manifest = json::parse(compilation.manifest);
  if (!manifest) {
    consumeError(manifest.takeError());
    return;
  }
  const json::Object &root = *manifest->getAsObject();
  int64_t bytes = 0;
  for (const json::Value &weight : *root.getArray("weights"))
    bytes += weight.getAsObject()->getInteger("bytes").value_or(0);
  errs() << root.getArray("weights")->size() << " weights, "
         << format("%.1f MB", double(bytes) / 1e6) << "\n";
  for (const json::Value &value : *root.getArray("targets")) {
    const json::Object &target = *value.getAsObject();
    errs() << *target.getString("target") << "\n";
    for (const json::Value &f : *target.getArray("functions")) {
      const json::Object &function = *f.getAsObject();
      errs() << "  " << *function.getString("name") << "\n";
      for (const json::Value &step : *function.getArray("steps"))
        for (const json::Value &k : *step.getAsObject()->getArray("kernels")) {
          const json::Object &kernel = *k.getAsObject();
          errs() << "    " << *kernel.getString("name") << ": up to "
                 << *kernel.getInteger("rows") << " rows, ";
          if (auto items = kernel.getInteger("items"))
            errs() << *items << " work items\n";
          else
            errs() << *kernel.getInteger("grid") << " blocks of "
                   << *kernel.getInteger("block") << " threads, "
                   << kernel.getInteger("smem").value_or(0)
                   << " bytes of shared memory\n";
        }
    }
  }
}

/// The one target whose code is asked for.
const TargetCode *onlyTarget(const Compilation &compilation, bool mustBeCuda) {
  if (compilation.targets.size() != 1 ||
      (mustBeCuda && compilation.targets[0].target.kind != qlinear::Target::Kind::cuda))
    return nullptr;
  return &compilation.targets[0];
}

int writeCode(const Compilation &compilation, qlinear::OutputFile &file) {
  bool device = emitKind == Emit::ptx || emitKind == Emit::cubin;
  const TargetCode *code = onlyTarget(compilation, device);
  if (!code)
    return fail(device ? "--emit=ptx and --emit=cubin need one CUDA target, such as "
                         "--target=cuda:sm_90"
                       : "--emit=mlir and --emit=llvm need one target, such as "
                         "--target=cuda:sm_90 or --target=cpu:avx2");
  std::string text;
  StringRef contents;
  switch (emitKind) {
  case Emit::mlir:
    contents = text = print(code->module.get()) + "\n";
    break;
  case Emit::llvm:
    if (!code->llvm)
      return fail("the module has no kernels");
    contents = text = printModule(*code->llvm);
    break;
  case Emit::ptx:
    contents = code->image.ptx;
    break;
  default:
    contents = StringRef(code->image.cubin.data(), code->image.cubin.size());
    if (contents.empty())
      return fail("no cubin without ptxas; put it on PATH, set CUDA_HOME, or use "
                  "--emit=ptx");
  }
  if (auto r = file.append(contents); !r)
    return fail(r.error());
  return 0;
}

int writeArtifact(const Compilation &compilation, qlinear::OutputFile &file,
                  const char *argv0) {
  if (emitKind == Emit::obj) {
    if (Error error = qlinear::writeObject(compilation, file))
      return fail(toString(std::move(error)));
    return 0;
  }
  std::string runtime = findRuntime(argv0);
  bool isForeign = compilation.architecture != qlinear::kHostArchitecture;
  if (runtime.empty() && !isForeign)
    return fail("libQLinearRuntime.so is not beside this tool; say where it is with "
                "--runtime-dir");
  if (Error error = qlinear::writeSharedLibrary(compilation, file, runtime,
                                                /*allowUndefined=*/!sanitize.empty()))
    return fail(toString(std::move(error)));
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  cl::SetVersionPrinter(
      [](raw_ostream &os) { os << "quant-compile (QLinear " QLINEAR_VERSION ")\n"; });
  mlir::registerAsmPrinterCLOptions();
  mlir::registerDefaultTimingManagerCLOptions();
  cl::HideUnrelatedOptions({&category});
  cl::ParseCommandLineOptions(
      argc, argv,
      "Compiles functions of quantized linear layers to a shared library.\n\n"
      "  quant-compile layer.mlir --target=cpu -o layer.so --header=layer.h\n"
      "  quant-compile layer.mlir --target=cuda:sm_90 --emit=ptx -o -\n");

  if (listTargets) {
    auto file = qlinear::OutputFile::create("-");
    if (auto written = file->append(describeChips()); !written)
      return fail(written.error());
    if (auto published = file->publish(); !published)
      return fail(published.error());
    return 0;
  }
  qlinear::CompileSettings settings;
  auto parsed = qlinear::Target::parseList(targets);
  if (!parsed)
    return fail(toString(parsed.takeError()));
  settings.targets = std::move(*parsed);
  if (!sanitize.empty() && sanitize != "address")
    return fail("--sanitize=" + sanitize + " is not known; use --sanitize=address");
  settings.sanitizeAddress = !sanitize.empty();
  settings.pipeline.raise = raise_;
  settings.pipeline.encoding = encoding;
  settings.pipeline.minSnr = minSnr;
  if (auto valid = qlinear::verifyMinSnr(minSnr); !valid)
    return fail(valid.error());
  settings.pipeline.scheduleTable = scheduleTable;
  settings.pipeline.batchInvariant = batchInvariant;
  settings.pipeline.activations = activations;
  settings.pipeline.fuse = fuse;
  settings.pipeline.quantizeActivations = quantize;
  settings.nvptx.ptxVersion = ptxVersion;
  settings.nvptx.ptxas = ptxas;
  settings.nvptx.assemble = emitKind != Emit::ptx && emitKind != Emit::llvm;
  settings.params = params;
  if (output.empty()) {
    if (input == "-")
      output = "-";
    else
      output = (sys::path::stem(input) + extension()).str();
  }
  if (emitKind == Emit::so && output == "-")
    return fail("a shared library cannot be written to standard output; give a file "
                "with -o");
  if (!header.empty() && emitKind != Emit::so && emitKind != Emit::obj)
    return fail("--header describes the functions of an artifact; it goes with "
                "--emit=so or --emit=obj");
  if (auto r = qlinear::checkOutputs({output, header}, {input, params, scheduleTable});
      !r)
    return fail(r.error());
  // Whether the files can be written is known before the work; they appear together.
  std::vector<qlinear::OutputFile> files;
  for (const std::string &path : {output.getValue(), header.getValue()}) {
    if (path.empty())
      continue;
    auto file = emitKind == Emit::so && files.empty()
                    ? qlinear::createLibraryFile(path)
                    : qlinear::OutputFile::create(path);
    if (!file)
      return fail(file.error());
    files.push_back(std::move(*file));
  }

  mlir::DefaultTimingManager timingManager;
  mlir::applyDefaultTimingManagerCLOptions(timingManager);
  mlir::TimingScope timing = timingManager.getRootScope();

  mlir::DialectRegistry registry;
  qlinear::registerCompiler(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  context.printOpOnDiagnostic(false);
  // Operations of torch, ONNX and IREE are known by their names.
  context.allowUnregisteredDialects();

  std::string message;
  std::unique_ptr<MemoryBuffer> buffer = mlir::openInputFile(input, &message);
  if (!buffer)
    return fail(message);
  auto sources = std::make_shared<SourceMgr>();
  sources->AddNewSourceBuffer(std::move(buffer), SMLoc());
  mlir::SourceMgrDiagnosticHandler diagnostics(*sources, &context, errs());
  if (!remarksFilter.empty()) {
    std::string problem;
    if (!Regex(remarksFilter).isValid(problem))
      return fail("--remarks-filter=" + remarksFilter +
                  " is not a regular expression: " + problem);
    // Kinds that are not named are not enabled.
    const std::string &filter = remarksFilter;
    mlir::remark::RemarkCategories categories{filter, filter, filter, filter, filter};
    if (failed(mlir::remark::enableOptimizationRemarks(
            context, nullptr, std::make_unique<mlir::remark::RemarkEmittingPolicyAll>(),
            categories, /*printAsEmitRemarks=*/true)))
      return fail("remarks cannot be printed");
  }
  mlir::TimingScope parsing = timing.nest("parse");
  mlir::OwningOpRef<mlir::ModuleOp> module;
  bool isForeign = false;
  {
    mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
      isForeign |= StringRef(diagnostic.str()).contains("custom op '");
      return mlir::failure(); // to the one above
    });
    module = mlir::parseSourceFile<mlir::ModuleOp>(sources, &context);
  }
  if (!module)
    return isForeign
               ? fail("the dialects of torch, ONNX, StableHLO and IREE are not "
                      "linked: lower the module to linalg, or print it in generic "
                      "form (--mlir-print-op-generic of their tools)")
               : 1;
  parsing.stop();

  qlinear::Stage stage = emitKind == Emit::mlir   ? qlinear::Stage::mlir
                         : emitKind == Emit::llvm ? qlinear::Stage::llvm
                         : emitKind == Emit::ptx || emitKind == Emit::cubin
                             ? qlinear::Stage::code
                             : qlinear::Stage::artifact;
  mlir::FailureOr<Compilation> compilation =
      qlinear::compile(*module, settings, stage, input, timing);
  if (mlir::failed(compilation))
    return 1;

  mlir::TimingScope writing = timing.nest("write");
  if (!saveTemps.empty())
    if (Error error = writeTemps(*compilation))
      return fail(toString(std::move(error)));
  if (!header.empty())
    if (auto r = files[1].append(compilation->header); !r)
      return fail(r.error());
  if (int status = stage == qlinear::Stage::artifact
                       ? writeArtifact(*compilation, files[0], argv[0])
                       : writeCode(*compilation, files[0]))
    return status;
  if (auto r = qlinear::OutputFile::publish(files); !r)
    return fail(r.error());
  if (verbose && stage != qlinear::Stage::mlir)
    describe(*compilation);
  return 0;
}
