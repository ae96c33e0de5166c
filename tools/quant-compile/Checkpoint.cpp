//===- Checkpoint.cpp - From a checkpoint to a module ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Checkpoint.h"

#include "qlinear/Encoding/Packer.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace qlinear;
using llvm::StringRef;

bool qlinear::isCheckpoint(const std::string &path) {
  // Of the last ones, Checkpoint::open() says what to do with them.
  for (StringRef end : {".gguf", ".safetensors", ".safetensors.index.json", ".onnx",
                        ".bin", ".pt", ".pth"})
    if (StringRef(path).ends_with(end))
      return true;
  return llvm::sys::fs::is_directory(path);
}

Result<OnnxModel> qlinear::importOnnx(const std::string &path) {
  auto folder = TemporaryFolder::create("quant-compile");
  if (!folder)
    return folder.takeError();
  OnnxModel model{std::move(*folder), ""};
  model.archive = model.folder.path() + "/model.safetensors";
  auto imported =
      runTool({pythonProgram(), toolsFolder() + "/quant-import-onnx", path,
               "--only-linears", "--quiet", "--encoding", "lossless", "-o",
               model.folder.path() + "/model.mlir", "--weights", model.archive});
  if (!imported)
    return error("'" + path + "' cannot be imported: " + imported.error());
  return model;
}

bool qlinear::mustPack(const Checkpoint &checkpoint, const CheckpointOptions &options) {
  bool isArchive = !checkpoint.isGguf() && checkpoint.metadata().contains("qlinear");
  return !isArchive || !options.encoding.empty() || !options.quantize.empty();
}

namespace {

Result<LayerModule> makeModule(std::vector<Layer> layers, const std::string &archive,
                               const CheckpointOptions &options) {
  if (layers.empty())
    return error("'" + options.input +
                 "' has no quantized linear layer; --quantize=int4:32 quantizes "
                 "floats, and quant-pack --list says what is in it");
  LayerModule out;
  out.mlir =
      layersAsMlir(layers, options.dtype, llvm::sys::path::filename(archive).str());
  out.layers = std::move(layers);
  out.archive = archive;
  return out;
}

Result<PackOptions> packOptions(const CheckpointOptions &options) {
  PackOptions out;
  if (!options.encoding.empty())
    out.rule.name = options.encoding;
  out.rule.minSnr = options.minSnr;
  if (!options.quantize.empty()) {
    auto quantize = parseQuantize(options.quantize);
    if (!quantize)
      return error("--quantize: " + quantize.error());
    out.quantize = *quantize;
  }
  return out;
}

} // namespace

Result<void> qlinear::compileCheckpoint(
    const Checkpoint &checkpoint, const CheckpointOptions &options, Progress &progress,
    llvm::function_ref<Result<void>(const LayerModule &, std::vector<OutputFile> &)>
        compile) {
  if (!mustPack(checkpoint, options)) {
    auto archive = Archive::open(checkpoint);
    if (!archive)
      return archive.takeError();
    auto module = makeModule(layersOf(*archive), options.input, options);
    if (!module)
      return module.takeError();
    for (const auto &[name, weight] : archive->weights())
      if (!weight.checksum.empty())
        module->checksums[name] = weight.checksum;
    std::vector<OutputFile> files;
    if (auto r = compile(*module, files); !r)
      return r;
    return OutputFile::publish(files);
  }
  auto inventory = takeInventory(checkpoint);
  if (!inventory)
    return inventory.takeError();
  auto pack = packOptions(options);
  if (!pack)
    return pack.takeError();
  pack->progress = [&](uint64_t done, uint64_t total) { progress.show(done, total); };
  pack->finish = [&](const PackReport &report,
                     std::vector<OutputFile> &files) -> Result<void> {
    progress.clear();
    for (const std::string &note : report.notes)
      llvm::errs() << "quant-compile: note: " << note << "\n";
    auto module = makeModule(report.layers, options.archive, options);
    if (!module)
      return module.takeError();
    for (const TensorReport &tensor : report.tensors)
      if (tensor.packed)
        module->checksums[tensor.name] = tensor.checksum;
    return compile(*module, files);
  };
  auto report = packArchive(checkpoint, *inventory, options.archive, *pack);
  progress.clear();
  return report ? Result<void>() : Result<void>(report.takeError());
}
