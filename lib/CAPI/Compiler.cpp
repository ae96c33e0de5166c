//===- Compiler.cpp - C API of the compiler -------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear-c/Compiler.h"
#include "qlinear/Target/Compiler.h"
#include "qlinear/Target/HostObject.h"

#include "mlir/CAPI/IR.h"
#include "mlir/CAPI/Support.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Path.h"

#include <dlfcn.h>

using namespace mlir;

static constexpr llvm::StringLiteral kDefaultTargets = "cpu";

MlirQLinearCompileOptions mlirQLinearCompileOptionsGetDefault(void) {
  const qlinear::PipelineSettings defaults;
  MlirStringRef empty = wrap(StringRef());
  return {
      wrap(kDefaultTargets),   defaults.raise,
      /*encoding=*/empty,      defaults.minSnr,
      /*params=*/empty,
      /*scheduleTable=*/empty, defaults.batchInvariant,
      /*activations=*/empty,   defaults.fuse,           defaults.quantizeActivations,
      /*ptxVersion=*/empty,
      /*ptxas=*/empty,
      /*runtimeDir=*/empty};
}

void mlirRegisterQLinearCompiler(MlirDialectRegistry registry) {
  qlinear::registerCompiler(*unwrap(registry));
}

/// The directory of the library or program that this code is in.
static std::string ownDirectory() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void *>(&ownDirectory), &info) || !info.dli_fname)
    return ".";
  return llvm::sys::path::parent_path(info.dli_fname).str();
}

static FailureOr<qlinear::Compilation>
compile(ModuleOp module, const MlirQLinearCompileOptions &c, qlinear::Stage stage) {
  auto targets = qlinear::Target::parseList(unwrap(c.targets));
  if (!targets)
    return module.emitError() << llvm::toString(targets.takeError());
  if (stage == qlinear::Stage::code &&
      (targets->size() != 1 || targets->front().kind != qlinear::Target::Kind::cuda))
    return module.emitError() << "PTX is made for one CUDA target, such as cuda:sm_90, "
                                 "not for '"
                              << unwrap(c.targets) << "'";
  qlinear::CompileSettings settings;
  settings.targets = std::move(*targets);
  settings.params = unwrap(c.params).str();
  settings.pipeline.raise = c.raise;
  settings.pipeline.encoding = unwrap(c.encoding).str();
  settings.pipeline.minSnr = c.minSnr;
  settings.pipeline.scheduleTable = unwrap(c.scheduleTable).str();
  settings.pipeline.batchInvariant = c.batchInvariant;
  settings.pipeline.activations = unwrap(c.activations).str();
  settings.pipeline.fuse = c.fuse;
  settings.pipeline.quantizeActivations = c.quantizeActivations;
  settings.nvptx.ptxVersion = unwrap(c.ptxVersion).str();
  settings.nvptx.ptxas = unwrap(c.ptxas).str();
  settings.nvptx.assemble = stage == qlinear::Stage::library;
  DefaultTimingManager timing;
  TimingScope scope = timing.getRootScope();
  return qlinear::compile(module, settings, stage, "a module in memory", scope);
}

MlirLogicalResult mlirQLinearCompile(MlirModule cModule,
                                     const MlirQLinearCompileOptions *options,
                                     MlirStringRef path, MlirStringRef header) {
  ModuleOp module = unwrap(cModule);
  auto report = [&](llvm::Error error) {
    return wrap(LogicalResult(module.emitError() << llvm::toString(std::move(error))));
  };
  FailureOr<qlinear::Compilation> compilation =
      compile(module, *options, qlinear::Stage::library);
  if (failed(compilation))
    return wrap(failure());
  std::string runtime = unwrap(options->runtimeDir).str();
  if (runtime.empty())
    runtime = ownDirectory();
  auto write = [&]() -> llvm::Error {
    auto check = [](qlinear::Result<void> r) { return qlinear::toError(std::move(r)); };
    std::string library = unwrap(path).str(), text = unwrap(header).str();
    if (llvm::Error e = check(qlinear::checkOutputs({library, text}, {})))
      return e;
    std::vector<qlinear::OutputFile> files;
    auto add = [&](qlinear::Result<qlinear::OutputFile> made) -> llvm::Error {
      auto file = qlinear::toExpected(std::move(made));
      if (!file)
        return file.takeError();
      files.push_back(std::move(*file));
      return llvm::Error::success();
    };
    if (llvm::Error e = add(qlinear::createLibraryFile(library)))
      return e;
    if (llvm::Error e = qlinear::writeSharedLibrary(*compilation, files[0], runtime))
      return e;
    if (!text.empty()) {
      if (llvm::Error e = add(qlinear::OutputFile::create(text)))
        return e;
      if (llvm::Error e = check(files[1].append(compilation->header)))
        return e;
    }
    return check(qlinear::OutputFile::publish(files));
  };
  if (llvm::Error e = write())
    return report(std::move(e));
  return wrap(success());
}

MlirLogicalResult mlirQLinearCompileToPTX(MlirModule cModule,
                                          const MlirQLinearCompileOptions *options,
                                          MlirStringCallback callback, void *userData) {
  FailureOr<qlinear::Compilation> compilation =
      compile(unwrap(cModule), *options, qlinear::Stage::code);
  if (failed(compilation))
    return wrap(failure());
  callback(wrap(StringRef(compilation->targets.front().image.ptx)), userData);
  return wrap(success());
}
