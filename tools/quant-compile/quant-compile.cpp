//===- quant-compile.cpp - Compile linears to an artifact -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Checkpoint.h"
#include "Describe.h"
#include "Options.h"
#include "common/LlvmCommandLine.h"
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
using namespace qlinear::options;
using qlinear::Compilation;
using qlinear::TargetCode;

namespace {

[[nodiscard]] int fail(const Twine &message) {
  WithColor::error(errs(), "quant-compile") << message << "\n";
  return 1;
}

/// The directory of the runtime: of the build or the install tree.
std::string findRuntime(const char *argv0) {
  if (!runtimeDir.empty())
    return runtimeDir;
  std::string tool =
      sys::fs::getMainExecutable(argv0, reinterpret_cast<void *>(&findRuntime));
  StringRef prefix = sys::path::parent_path(sys::path::parent_path(tool));
  for (StringRef lib : {QLINEAR_LIBDIR, "lib"}) {
    SmallString<128> dir(prefix);
    sys::path::append(dir, lib);
    if (sys::fs::exists(dir + "/" + qlinear::runtimeLibrary()))
      return dir.str().str();
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
    return fail(qlinear::runtimeLibrary() + " is not beside this tool; say where it is "
                                            "with --runtime-dir");
  if (Error error = qlinear::writeSharedLibrary(compilation, file, runtime,
                                                /*allowUndefined=*/!sanitize.empty()))
    return fail(toString(std::move(error)));
  return 0;
}

/// What the tool writes. Whether it can is known before the work.
struct Outputs {
  std::optional<qlinear::OutputFile> code, header, functions;

  qlinear::Result<void> open() {
    auto open = [&](const std::string &path,
                    std::optional<qlinear::OutputFile> &to) -> qlinear::Result<void> {
      if (path.empty())
        return {};
      auto file = emitKind == Emit::so && &to == &code
                      ? qlinear::createLibraryFile(path)
                      : qlinear::OutputFile::create(path);
      if (!file)
        return file.takeError();
      to = std::move(*file);
      return {};
    };
    if (auto r = open(output, code); !r)
      return r;
    if (auto r = open(qlinear::options::header, header); !r)
      return r;
    return open(qlinear::options::functions, functions);
  }
  /// Hands them over, to appear together.
  void moveTo(std::vector<qlinear::OutputFile> &files) {
    for (auto *file : {&code, &header, &functions})
      if (*file)
        files.push_back(std::move(**file));
  }
};

std::string counted(size_t count, const char *what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

/// What is compiled, and into what.
struct Job {
  qlinear::CompileSettings settings;
  std::string name; ///< of the input
  ArrayRef<qlinear::Layer> layers;
  std::string archive; ///< of the layers
  const char *argv0;
};

bool enableRemarks(mlir::MLIRContext &context) {
  // Kinds that are not named are not enabled.
  const std::string &filter = remarksFilter;
  mlir::remark::RemarkCategories categories{filter, filter, filter, filter, filter};
  return succeeded(mlir::remark::enableOptimizationRemarks(
      context, nullptr, std::make_unique<mlir::remark::RemarkEmittingPolicyAll>(),
      categories, /*printAsEmitRemarks=*/true));
}

/// Compiles the module and writes the outputs, which do not appear yet. Returns the
/// exit status.
int compileModule(std::unique_ptr<MemoryBuffer> buffer, const Job &job,
                  Outputs &outputs, mlir::TimingScope &timing) {
  mlir::DialectRegistry registry;
  qlinear::registerCompiler(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  context.printOpOnDiagnostic(false);
  // Operations of torch, ONNX and IREE are known by their names.
  context.allowUnregisteredDialects();
  auto sources = std::make_shared<SourceMgr>();
  sources->AddNewSourceBuffer(std::move(buffer), SMLoc());
  mlir::SourceMgrDiagnosticHandler diagnostics(*sources, &context, errs());
  if (!remarksFilter.empty() && !enableRemarks(context))
    return fail("remarks cannot be printed");
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
                         : emitKind == Emit::obj  ? qlinear::Stage::artifact
                         : emitKind == Emit::so   ? qlinear::Stage::library
                                                  : qlinear::Stage::code;
  qlinear::Progress progress(/*enabled=*/true);
  qlinear::CompileSettings settings = job.settings;
  settings.progress = [&](StringRef what, size_t done, size_t total) {
    progress.say("compiled " + std::to_string(done) + " of " +
                 counted(total, what.str().c_str()));
    if (done == total)
      progress.clear();
  };
  mlir::FailureOr<Compilation> compilation =
      qlinear::compile(*module, settings, stage, job.name, timing);
  if (mlir::failed(compilation))
    return 1;

  if (!compilation->cacheProblem.empty())
    WithColor::warning(errs(), "quant-compile")
        << "compiled kernels cannot be kept in " << settings.cache << ": "
        << compilation->cacheProblem
        << "; name another folder with QLINEAR_CACHE, or keep none with --no-cache\n";

  mlir::TimingScope writing = timing.nest("write");
  if (!saveTemps.empty())
    if (Error error = writeTemps(*compilation))
      return fail(toString(std::move(error)));
  if (outputs.header)
    if (auto r = outputs.header->append(compilation->header); !r)
      return fail(r.error());
  if (outputs.functions)
    if (auto r = outputs.functions->append(qlinear::functionsJson(
            compilation->manifest, output, job.archive, job.layers));
        !r)
      return fail(r.error());
  if (int status = isArtifact() ? writeArtifact(*compilation, *outputs.code, job.argv0)
                                : writeCode(*compilation, *outputs.code))
    return status;
  if (verbose && stage != qlinear::Stage::mlir) {
    qlinear::describeManifest(compilation->manifest);
    errs() << counted(compilation->compiled, "kernel") << " and images compiled, "
           << compilation->cached << " of them taken from "
           << (settings.cache.empty() ? "no cache" : settings.cache) << "\n";
  }
  return 0;
}

/// Packs a checkpoint, and compiles its linear layers.
int compileLayers(const qlinear::Checkpoint &checkpoint,
                  const qlinear::CheckpointOptions &options, Job job, Outputs &outputs,
                  mlir::TimingScope &timing) {
  qlinear::Progress progress(/*enabled=*/true);
  job.settings.pipeline.encoding = "";
  size_t count = 0;
  auto compile = [&](const qlinear::LayerModule &module,
                     std::vector<qlinear::OutputFile> &files) -> qlinear::Result<void> {
    count = module.layers.size();
    job.layers = module.layers;
    job.archive = module.archive;
    job.settings.checksums = module.checksums;
    progress.say("lowering " + counted(count, "function"));
    int status = compileModule(MemoryBuffer::getMemBufferCopy(module.mlir, job.name),
                               job, outputs, timing);
    progress.clear();
    if (status) // has been reported
      return qlinear::error("");
    outputs.moveTo(files);
    return {};
  };
  if (auto r = qlinear::compileCheckpoint(checkpoint, options, progress, compile); !r)
    return r.error().empty() ? 1 : fail(r.error());
  if (output != "-")
    outs() << counted(count, "function") << " for "
           << counted(job.settings.targets.size(), "target") << " in " << output
           << ", weights in " << job.archive << "\n";
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  qlinear::setVersionOf("quant-compile");
  mlir::registerAsmPrinterCLOptions();
  mlir::registerDefaultTimingManagerCLOptions();
  qlinear::showOnly(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "Compiles functions of quantized linear layers to a shared library.\n\n"
      "  quant-compile layer.mlir --target=cpu -o layer.so --header=layer.h\n"
      "  quant-compile layer.mlir --target=cuda:sm_90 --emit=ptx -o -\n"
      "  quant-compile model.gguf --target=cpu,cuda:sm_90 -o model.so\n");

  if (listTargets) {
    auto file = qlinear::OutputFile::create("-");
    if (auto written = file->append(qlinear::describeChips()); !written)
      return fail(written.error());
    if (auto published = file->publish(); !published)
      return fail(published.error());
    return 0;
  }
  auto settings = readSettings();
  if (!settings)
    return fail(toString(settings.takeError()));
  nameOutputs();
  if (Error error = checkOptions())
    return fail(toString(std::move(error)));
  if (std::string problem;
      !remarksFilter.empty() && !Regex(remarksFilter).isValid(problem))
    return fail("--remarks-filter=" + remarksFilter +
                " is not a regular expression: " + problem);

  std::optional<qlinear::Checkpoint> checkpoint;
  qlinear::CheckpointOptions layerOptions{input,     archive, encoding,
                                          quantizer, minSnr,  dtype};
  std::vector<std::string> written{output, header, functions},
      read{input, params, scheduleTable};
  std::optional<qlinear::OnnxModel> onnx;
  if (isForCheckpoint()) {
    std::string path = input;
    if (isOnnx()) {
      auto imported = qlinear::importOnnx(input);
      if (!imported)
        return fail(StringRef(imported.error()).rtrim());
      onnx.emplace(std::move(*imported));
      path = onnx->archive;
      // What was imported is packed again, where it stays.
      if (layerOptions.encoding.empty())
        layerOptions.encoding = "auto";
    }
    auto opened = qlinear::Checkpoint::open(path);
    if (!opened)
      return fail(opened.error());
    checkpoint = std::move(*opened);
    for (const auto &file : checkpoint->files())
      read.push_back(file->path());
    if (qlinear::mustPack(*checkpoint, layerOptions))
      written.push_back(archive);
  }
  if (auto r = qlinear::checkOutputs(written, read); !r)
    return fail(r.error());
  Outputs outputs;
  if (auto r = outputs.open(); !r)
    return fail(r.error());

  mlir::DefaultTimingManager timingManager;
  mlir::applyDefaultTimingManagerCLOptions(timingManager);
  mlir::TimingScope timing = timingManager.getRootScope();
  Job job{std::move(*settings), input, {}, "", argv[0]};
  if (checkpoint)
    return compileLayers(*checkpoint, layerOptions, std::move(job), outputs, timing);

  std::string message;
  std::unique_ptr<MemoryBuffer> buffer = mlir::openInputFile(input, &message);
  if (!buffer)
    return fail(message);
  if (int status = compileModule(std::move(buffer), job, outputs, timing))
    return status;
  std::vector<qlinear::OutputFile> files;
  outputs.moveTo(files);
  if (auto r = qlinear::OutputFile::publish(files); !r)
    return fail(r.error());
  return 0;
}
