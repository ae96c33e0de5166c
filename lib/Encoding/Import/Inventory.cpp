//===- Inventory.cpp - What a checkpoint holds ----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "../Files/Json.h"
#include "../Files/Readers.h"
#include "Importers.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fmt/core.h>

using namespace qlinear;

uint64_t SourceWeight::bytes() const {
  uint64_t sum = 0;
  for (const Tensor *t : parts)
    sum += t->bytes.size();
  return sum;
}

void ImportContext::note(std::string text) {
  if (std::find(notes.begin(), notes.end(), text) == notes.end())
    notes.push_back(std::move(text));
}

void ImportContext::add(SourceWeight weight) {
  claimed.insert(weight.parts.begin(), weight.parts.end());
  weights.push_back(std::move(weight));
}

void ImportContext::addUnreadable(std::string name, std::string convention,
                                  std::vector<const Tensor *> parts,
                                  std::string reason) {
  SourceWeight w;
  w.name = std::move(name);
  w.format = std::move(convention);
  for (const Tensor *t : parts)
    if (!claimed.contains(t))
      w.parts.push_back(t);
  w.defect = std::move(reason);
  w.load = [why = w.defect]() -> Result<LoadedWeight> { return error(why); };
  add(std::move(w));
}

void ImportContext::addForeign(std::string name, std::string convention,
                               std::vector<const Tensor *> parts, std::string reason) {
  addUnreadable(std::move(name), std::move(convention), std::move(parts),
                std::move(reason));
  std::swap(weights.back().defect, weights.back().foreign);
}

/// NVFP4 weights of ModelOpt have a scale for all of the tensor, which llama.cpp keeps
/// in X.scale, beside X.weight, and multiplies what the linear gives with.
static void takeScale(const ImportContext &context, const Tensor &t, SourceWeight &w) {
  constexpr std::string_view suffix = ".weight";
  if (!t.name.ends_with(suffix))
    return;
  const Tensor *scale = context.checkpoint.find(
      t.name.substr(0, t.name.size() - suffix.size()) + ".scale");
  if (!scale)
    return;
  w.parts.push_back(scale);
  w.native->scale = MetaStorage::scaled();
  auto decoded = [&t, scale]() -> Result<EncodedWeight> {
    float step;
    if (scale->type != "F32" || scale->bytes.size() != sizeof(step))
      return error(fmt::format("tensor {}: must be one F32, the scale of {}, but is {} "
                               "of {}",
                               inQuotes(scale->name), inQuotes(t.name), scale->type,
                               shapeText(scale->shape)));
    memcpy(&step, scale->bytes.data(), sizeof(step));
    if (!std::isfinite(step))
      return error(fmt::format("tensor {}: is {}; only finite scales can be used",
                               inQuotes(scale->name), step));
    auto weight = decodeGguf(t);
    if (!weight)
      return weight;
    weight->encoding.scale = MetaStorage::scaled();
    weight->scaleSteps.assign(weight->N, std::bit_cast<uint32_t>(step));
    return weight;
  };
  w.load = [decoded]() -> Result<LoadedWeight> {
    auto weight = decoded();
    if (!weight)
      return weight.takeError();
    return LoadedWeight(std::move(*weight));
  };
  w.packNative = [decoded](std::span<std::byte> blob) -> Result<void> {
    auto weight = decoded();
    if (!weight)
      return weight.takeError();
    return pack(*weight, blob);
  };
}

Result<void> qlinear::importGguf(ImportContext &context) {
  if (!context.checkpoint.isGguf())
    return {};
  for (const Tensor &t : context.checkpoint.tensors()) {
    if (!isGgufQuantized(t.type) || t.shape.size() != 2)
      continue;
    auto encoding = ggufEncoding(t.type);
    if (!encoding)
      return encoding.takeError();
    SourceWeight w;
    w.name = t.name;
    w.format = t.type;
    w.assumed = {"GGUF", std::to_string(context.checkpoint.ggufVersion()), "its type",
                 ""};
    w.N = t.shape[0];
    w.K = t.shape[1];
    w.parts = {&t};
    w.load = [&t]() -> Result<LoadedWeight> {
      auto weight = decodeGguf(t);
      if (!weight)
        return weight.takeError();
      return LoadedWeight(std::move(*weight));
    };
    w.native = *encoding;
    w.packNative = [&t](std::span<std::byte> blob) { return packGguf(t, blob); };
    if (t.type == "NVFP4")
      takeScale(context, t, w);
    context.add(std::move(w));
  }
  return {};
}

Result<void> qlinear::importArchive(ImportContext &context) {
  if (context.checkpoint.isGguf() || !context.checkpoint.metadata().contains("qlinear"))
    return {};
  auto archive = Archive::open(context.checkpoint);
  if (!archive)
    return archive.takeError();
  for (const auto &[name, packed] : archive->weights()) {
    SourceWeight w;
    w.name = name;
    w.format = packed.source;
    w.N = packed.N;
    w.K = packed.K;
    w.isPacked = true;
    w.parts = {context.checkpoint.find(name)};
    w.native = packed.encoding;
    // A damaged weight must not get a checksum that says it is whole.
    auto check = [packed]() {
      return packed.checksum.empty() ? Result<void>() : packed.verify();
    };
    w.load = [packed, check]() -> Result<LoadedWeight> {
      if (auto r = check(); !r)
        return r.takeError();
      auto weight = unpack(packed.encoding, packed.N, packed.K, packed.blob);
      if (!weight)
        return error(
            fmt::format("tensor {}: {}", inQuotes(packed.name), weight.error()));
      return LoadedWeight(std::move(*weight));
    };
    w.packNative = [packed, check](std::span<std::byte> blob) -> Result<void> {
      if (auto r = check(); !r)
        return r;
      memcpy(blob.data(), packed.blob.data(), blob.size());
      return {};
    };
    context.add(std::move(w));
  }
  return {};
}

/// If a checkpoint says how it was quantized, and no importer found a weight, its
/// method is unknown here: its codes must not be carried over as weights.
static Result<void> checkMethod(ImportContext &context) {
  if (std::any_of(context.weights.begin(), context.weights.end(),
                  [](const SourceWeight &w) { return !w.isFloat; }))
    return {};
  if (context.declared.isKnownMethod()) {
    // It may be a part of a model, or all its layers be left as they were.
    if (!context.declared.method().empty())
      context.note(fmt::format(
          "{} says quant_method {}, but no weight of it is here; tensors are carried "
          "over as they are",
          context.declared.where(), inQuotes(context.declared.method())));
    return {};
  }
  return error(fmt::format(
      "'{}': {} beside it says quant_method {}, of which no weight is known; "
      "{} are read; dequantize the model with what wrote it and use --quantize, or "
      "remove quantization_config to carry its tensors over as they are",
      context.checkpoint.files().front()->path(), context.declared.where(),
      inQuotes(context.declared.method()), knownMethods()));
}

Result<Inventory> qlinear::takeInventory(const Checkpoint &checkpoint) {
  auto declared = Declaration::read(checkpoint);
  if (!declared)
    return declared.takeError();
  ImportContext context{checkpoint, std::move(*declared), {}, {}, {}};
  for (auto *import : {importGguf, importArchive, importPlain, importGptq,
                       importCompressedTensors, importTorchao, importHqq, importMlx,
                       importModelOpt, importBitsandbytes, importFloats})
    if (auto r = import(context); !r)
      return r.takeError();
  if (auto r = checkMethod(context); !r)
    return r.takeError();

  bool isForeign = std::any_of(context.weights.begin(), context.weights.end(),
                               [](auto &w) { return w.assumed.saidBy.size(); });
  if (auto keys = context.declared.unknownKeys(); isForeign && !keys.empty())
    context.note(fmt::format(
        "{} has {}{}, which is not known here and left out of account",
        context.declared.where(), inQuotes(keys.front()),
        keys.size() > 1 ? fmt::format(" and {} more keys", keys.size() - 1) : ""));
  Inventory out;
  out.notes = std::move(context.notes);
  out.weights = std::move(context.weights);
  auto position = [&](const SourceWeight &w) { return w.parts.front(); };
  std::sort(out.weights.begin(), out.weights.end(),
            [&](const auto &a, const auto &b) { return position(a) < position(b); });
  for (const Tensor &t : checkpoint.tensors())
    if (!context.claimed.contains(&t))
      out.others.push_back(&t);
  return out;
}
