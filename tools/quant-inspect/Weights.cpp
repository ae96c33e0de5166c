//===- Weights.cpp - Checkpoints and archives -----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Inspect.h"

#include "common/Progress.h"
#include "common/Table.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <algorithm>
#include <cmath>

using namespace qlinear;
using namespace qlinear::inspect;
using llvm::formatv;
using llvm::StringRef;
using llvm::json::Array;
using llvm::json::Value;

std::string inspect::shapeText(const std::vector<uint64_t> &shape) {
  std::string out;
  for (uint64_t d : shape)
    out += (out.empty() ? "" : " x ") + std::to_string(d);
  return out.empty() ? "scalar" : out;
}

Result<std::vector<float>> inspect::floatsOf(const SourceWeight &weight) {
  auto loaded = weight.load();
  if (!loaded)
    return loaded.takeError();
  if (auto *floats = std::get_if<FloatWeight>(&*loaded))
    return std::move(*floats);
  if (auto *affine = std::get_if<AffineWeight>(&*loaded))
    return dequantize(*affine);
  return dequantize(std::get<EncodedWeight>(*loaded));
}

/// Text that may not be UTF-8, as JSON needs it.
static std::string utf8(const std::string &text) { return llvm::json::fixUTF8(text); }

static Array arrayOf(const std::vector<uint64_t> &shape) {
  Array out;
  for (uint64_t d : shape)
    out.push_back(int64_t(d));
  return out;
}

static std::string kindOf(const Checkpoint &checkpoint) {
  if (checkpoint.isGguf())
    return formatv("GGUF v{0}", checkpoint.ggufVersion());
  return checkpoint.metadata().contains("qlinear") ? "packed archive" : "safetensors";
}

/// The functions that quant-compile makes of an archive.
static Array describeLayers(const Archive &archive) {
  Array out;
  for (const Layer &layer : layersOf(archive)) {
    Array weights;
    for (const LayerWeight &w : layer.weights)
      weights.push_back(utf8(w.name));
    Object entry{{"name", layer.name}, {"weights", std::move(weights)}};
    if (layer.gate)
      entry["gate"] = *layer.gate == GateActivation::silu ? "silu" : "gelu_tanh";
    out.push_back(std::move(entry));
  }
  return out;
}

Result<Object> inspect::describeWeights(const Checkpoint &checkpoint) {
  Object out{{"file", checkpoint.files().front()->path()},
             {"kind", kindOf(checkpoint)}};
  std::optional<Archive> archive;
  if (kindOf(checkpoint) == "packed archive") {
    auto opened = Archive::open(checkpoint);
    if (!opened)
      return opened.takeError();
    archive = std::move(*opened);
    out["layers"] = describeLayers(*archive);
  }
  // A file that cannot be packed can still be looked at.
  auto inventory = takeInventory(checkpoint);
  std::map<const Tensor *, const SourceWeight *> weightOf;
  if (inventory)
    for (const SourceWeight &w : inventory->weights)
      for (const Tensor *t : w.parts)
        weightOf.emplace(t, &w);
  else
    out["problem"] = utf8(inventory.error());

  Array tensors;
  uint64_t bytes = 0;
  for (const Tensor &t : checkpoint.tensors()) {
    bytes += t.bytes.size();
    Object entry{{"name", utf8(t.name)},
                 {"type", utf8(t.type)},
                 {"shape", arrayOf(t.shape)},
                 {"bytes", int64_t(t.bytes.size())},
                 {"offset", int64_t(t.offset)}};
    auto at = weightOf.find(&t);
    if (at != weightOf.end()) {
      const SourceWeight &w = *at->second;
      if (w.isPacked)
        entry["shape"] = arrayOf({w.N, w.K});
      if (w.native)
        entry["encoding"] = w.native->str();
      if (w.parts.size() > 1)
        entry["part_of"] = utf8(w.name);
      if (!w.isFloat)
        entry["format"] = w.format;
      if (w.parts.size() == 1 && w.N && w.K)
        entry["bits_per_weight"] =
            8.0 * double(t.bytes.size()) / (double(w.N) * double(w.K));
    }
    if (archive) {
      auto packed = archive->weights().find(t.name);
      if (packed != archive->weights().end() && !packed->second.checksum.empty())
        entry["xxh3"] = packed->second.checksum;
      if (auto carried = archive->carried().find(t.name);
          carried != archive->carried().end()) {
        entry["format"] = utf8(carried->second.type);
        entry["shape"] = arrayOf(carried->second.shape);
      }
    }
    tensors.push_back(std::move(entry));
  }
  out["tensors"] = std::move(tensors);
  out["bytes"] = int64_t(bytes);
  Object metadata;
  for (const auto &[key, value] : checkpoint.metadata())
    if (key != "qlinear")
      metadata[utf8(key)] = utf8(value);
  for (const Tensor &t : checkpoint.arrays())
    metadata[utf8(t.name)] = formatv("{0} of {1}", t.type, t.shape[0]).str();
  out["metadata"] = std::move(metadata);
  return out;
}

std::string inspect::weightsText(const Object &weights) {
  const Array &tensors = *weights.getArray("tensors");
  std::string out = formatv("{0}: {1}, {2} tensors, {3}\n", *weights.getString("file"),
                            *weights.getString("kind"), tensors.size(),
                            sizeText(double(*weights.getInteger("bytes"))));
  if (auto problem = weights.getString("problem"))
    out += formatv("cannot be packed: {0}\n", *problem);
  if (const Object &metadata = *weights.getObject("metadata"); !metadata.empty()) {
    std::map<std::string, std::string> sorted;
    for (const auto &[key, value] : metadata)
      sorted[key.str()] = value.getAsString()->str();
    Table table({"key", "value"}, 2);
    for (auto &[key, value] : sorted) {
      std::replace_if(
          value.begin(), value.end(), [](char c) { return c >= 0 && c < ' '; }, ' ');
      table.add({key, value.size() > 70 ? value.substr(0, 67) + "..." : value});
    }
    out += "\n" + table.text();
  }
  Table table(
      {"tensor", "type", "shape", "encoding", "bits", "bytes", "offset", "xxh3"}, 4);
  for (const Value &value : tensors) {
    const Object &t = *value.getAsObject();
    std::vector<uint64_t> shape;
    for (const Value &d : *t.getArray("shape"))
      shape.push_back(uint64_t(*d.getAsInteger()));
    auto bits = t.getNumber("bits_per_weight");
    StringRef encoding = t.getString("encoding").value_or("-");
    std::string note = t.getString("xxh3").value_or("").str();
    if (auto whole = t.getString("part_of"))
      note = "of " + whole->str();
    table.add({t.getString("name")->str(),
               t.getString("format").value_or(*t.getString("type")).str(),
               inspect::shapeText(shape), encoding.str(),
               bits ? formatv("{0:f3}", *bits).str() : "-",
               std::to_string(*t.getInteger("bytes")),
               std::to_string(*t.getInteger("offset")), note});
  }
  out += "\n" + table.text();
  if (const Array *layers = weights.getArray("layers"); layers && !layers->empty()) {
    Table functions({"function", "gate", "weights"}, 3);
    for (const Value &value : *layers) {
      const Object &layer = *value.getAsObject();
      functions.add(
          {layer.getString("name")->str(), layer.getString("gate").value_or("-").str(),
           llvm::join(
               llvm::map_range(*layer.getArray("weights"),
                               [](const Value &w) { return w.getAsString()->str(); }),
               ", ")});
    }
    out += "\n" + functions.text();
  }
  return out;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

Result<Object> inspect::describeValues(const Checkpoint &checkpoint,
                                       const std::string &name) {
  auto inventory = takeInventory(checkpoint);
  if (!inventory)
    return inventory.takeError();
  auto &weights = inventory->weights;
  std::string key = resolveWeightName(name, [&](const std::string &full) {
    return std::ranges::find(weights, full, &SourceWeight::name) != weights.end();
  });
  std::vector<float> values;
  std::vector<uint64_t> shape;
  if (auto at = std::ranges::find(weights, key, &SourceWeight::name);
      at != weights.end()) {
    auto floats = floatsOf(*at);
    if (!floats)
      return floats.takeError();
    values = std::move(*floats);
    shape = {at->N, at->K};
  } else if (const Tensor *tensor = checkpoint.find(name)) {
    auto floats = toFloats(*tensor);
    if (!floats)
      return floats.takeError();
    values = std::move(*floats);
    shape = tensor->shape;
    key = name;
  } else {
    return error("'" + checkpoint.files().front()->path() + "' has no tensor '" + name +
                 "'; without --tensor all are listed");
  }
  double sum = 0, squares = 0, least = INFINITY, most = -INFINITY;
  int64_t zeros = 0, finite = 0;
  for (float v : values)
    if (std::isfinite(v)) {
      ++finite;
      sum += v;
      squares += double(v) * v;
      least = std::min<double>(least, v);
      most = std::max<double>(most, v);
      zeros += v == 0;
    }
  constexpr int64_t kBins = 16;
  std::vector<int64_t> bins(kBins);
  double limit = finite ? std::max(std::abs(least), std::abs(most)) : 0;
  for (float v : values)
    if (std::isfinite(v))
      ++bins[size_t(std::clamp<double>(
          limit == 0 ? kBins / 2 : (v + limit) / (2 * limit) * kBins, 0, kBins - 1))];
  Object out{{"file", checkpoint.files().front()->path()},
             {"name", utf8(key)},
             {"shape", arrayOf(shape)},
             {"zeros", zeros},
             {"not_finite", int64_t(values.size()) - finite},
             {"limit", limit},
             {"histogram", Array(bins)}};
  if (finite) {
    out["min"] = least;
    out["max"] = most;
    out["mean"] = sum / double(finite);
    out["rms"] = std::sqrt(squares / double(finite));
  }
  return out;
}

std::string inspect::valuesText(const Object &values) {
  std::vector<uint64_t> shape;
  for (const Value &d : *values.getArray("shape"))
    shape.push_back(uint64_t(*d.getAsInteger()));
  std::string out =
      formatv("{0}  {1}\n", *values.getString("name"), inspect::shapeText(shape));
  char line[160];
  snprintf(line, sizeof(line), "min %.6g  max %.6g  mean %.3g  rms %.6g\n",
           values.getNumber("min").value_or(0), values.getNumber("max").value_or(0),
           values.getNumber("mean").value_or(0), values.getNumber("rms").value_or(0));
  out += line;
  out += formatv("zero {0}  not finite {1}\n", *values.getInteger("zeros"),
                 *values.getInteger("not_finite"));
  const Array &bins = *values.getArray("histogram");
  double limit = *values.getNumber("limit");
  int64_t most = 1;
  for (const Value &bin : bins)
    most = std::max(most, *bin.getAsInteger());
  for (size_t i = 0; i < bins.size(); ++i) {
    int64_t count = *bins[i].getAsInteger();
    snprintf(line, sizeof(line), "%12.4g  %-40s %lld\n",
             limit * (2 * double(i) / double(bins.size()) - 1),
             std::string(size_t(40 * count / most), '#').c_str(),
             static_cast<long long>(count));
    out += line;
  }
  return out;
}
