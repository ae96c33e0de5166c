//===- Describe.cpp - What there is, for people and programs -------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Describe.h"

#include "qlinear/Support/Chips.h"
#include "llvm/ADT/STLExtras.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

using namespace llvm;

std::string qlinear::describeChips() {
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

void qlinear::describeManifest(StringRef text) {
  auto manifest = json::parse(text);
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

/// The weights that a function multiplies with, each once, by their numbers.
static SmallVector<int64_t> weightsOf(const json::Object &function) {
  SmallVector<int64_t> numbers;
  for (const json::Value &op : *function.getObject("reference")->getArray("ops"))
    if (const json::Array *weights = op.getAsObject()->getArray("weights"))
      for (const json::Value &weight : *weights)
        if (!is_contained(numbers, *weight.getAsInteger()))
          numbers.push_back(*weight.getAsInteger());
  return numbers;
}

std::string qlinear::functionsJson(StringRef text, StringRef artifact,
                                   StringRef archive, ArrayRef<Layer> layers) {
  json::Value manifest = cantFail(json::parse(text));
  const json::Object &root = *manifest.getAsObject();
  json::Array targets, functions;
  for (const json::Value &target : *root.getArray("targets"))
    targets.push_back(*target.getAsObject()->getString("target"));
  // Signatures are the same for all targets.
  const json::Object &first = *root.getArray("targets")->front().getAsObject();
  for (const json::Value &value : *first.getArray("functions")) {
    const json::Object &function = *value.getAsObject();
    json::Array inputs = *function.getArray("inputs"), weights;
    for (int64_t number : weightsOf(function)) {
      json::Object weight = *(*root.getArray("weights"))[number].getAsObject();
      weight.erase("bytes");
      weight.erase("xxh3");
      weights.push_back(std::move(weight));
    }
    auto layer = find_if(
        layers, [&](const Layer &l) { return l.name == *function.getString("name"); });
    if (layer != layers.end()) {
      size_t input = 1; // after x
      for (const LayerWeight &weight : layer->weights)
        if (!weight.bias.empty() && input < inputs.size())
          (*inputs[input++].getAsObject())["tensor"] = weight.bias;
    }
    json::Object entry{{"name", *function.getString("name")},
                       {"inputs", std::move(inputs)},
                       {"outputs", *function.get("outputs")},
                       {"weights", std::move(weights)}};
    if (const json::Value *rows = function.get("rows"))
      entry["rows"] = *rows;
    functions.push_back(std::move(entry));
  }
  json::Object out{{"version", 1},
                   {"artifact", sys::path::filename(artifact)},
                   {"targets", std::move(targets)},
                   {"functions", std::move(functions)}};
  if (!archive.empty()) // by its name alone if it is beside the artifact
    out["weights"] = sys::path::parent_path(archive) == sys::path::parent_path(artifact)
                         ? sys::path::filename(archive)
                         : archive;
  return formatv("{0:2}\n", json::Value(std::move(out)));
}
