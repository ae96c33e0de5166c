//===- Layers.cpp - The linear layers of an archive -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "LayerGroups.h"
#include "PackRules.h"

#include <algorithm>
#include <set>

using namespace qlinear;

namespace {

/// Parts of a block that share their input, and the name of all: by llama.cpp's names
/// and by transformers'. Of those that have a gate, it is the first.
struct Sharing {
  std::vector<std::string_view> parts;
  std::string_view together;
  bool isGated;
};
const Sharing kSharing[] = {
    {{"attn_q", "attn_k", "attn_v"}, "attn_qkv", false},
    {{"ffn_gate", "ffn_up"}, "ffn_gate_up", true},
    {{"ffn_gate_shexp", "ffn_up_shexp"}, "ffn_gate_up_shexp", true},
    {{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
     "self_attn.qkv_proj",
     false},
    {{"gate_proj", "up_proj"}, "gate_up_proj", true},
    {{"w1", "w3"}, "w1_w3", true}};

/// Less than, where numbers in names count by their value: blk.2 is before blk.10.
bool isBefore(std::string_view a, std::string_view b) {
  auto isDigit = [](char c) { return c >= '0' && c <= '9'; };
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (!isDigit(a[i]) || !isDigit(b[j])) {
      if (a[i] != b[j])
        return a[i] < b[j];
      ++i, ++j;
      continue;
    }
    auto number = [&](std::string_view text, size_t &at) {
      while (at < text.size() && text[at] == '0')
        ++at;
      size_t begin = at;
      while (at < text.size() && isDigit(text[at]))
        ++at;
      return text.substr(begin, at - begin);
    };
    std::string_view x = number(a, i), y = number(b, j);
    if (x != y)
      return std::pair(x.size(), x) < std::pair(y.size(), y);
  }
  return std::pair(a.size() - i, a) < std::pair(b.size() - j, b);
}

/// The layer's name: of blk.0.attn_q.weight it is blk.0.attn_q.
std::string stemOf(const std::string &name) {
  constexpr std::string_view kEnd = ".weight";
  return name.ends_with(kEnd) && name.size() > kEnd.size()
             ? name.substr(0, name.size() - kEnd.size())
             : name;
}

/// The name as a C identifier that is not taken yet.
std::string identifier(const std::string &name, std::set<std::string> &taken) {
  std::string out;
  for (char c : name)
    out += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
               ? c
               : '_';
  if (out.empty() || (out[0] >= '0' && out[0] <= '9'))
    out = "_" + out;
  std::string unique = out;
  for (int count = 2; !taken.insert(unique).second; ++count)
    unique = out + "_" + std::to_string(count);
  return unique;
}

class Grouping {
public:
  Grouping(std::vector<LayerWeight> all,
           const std::map<std::string, LayerTensor> &others,
           const std::optional<ModelKind> &kind)
      : kind(kind) {
    std::ranges::sort(all, isBefore, &LayerWeight::name);
    auto isThere = [&](const std::string &name) {
      return others.contains(name) ||
             std::ranges::find(all, name, &LayerWeight::name) != all.end();
    };
    bool hasHead = isThere("output.weight") || isThere("lm_head.weight");
    for (LayerWeight &w : all) {
      std::string stem = stemOf(w.name);
      // Where there is no other head, it is the embedding.
      bool isHead = !hasHead && (stem == "token_embd" || stem == "model.embed_tokens");
      if (!hasLinearName(w.name) && !isHead)
        continue;
      auto bias = others.find(stem + ".bias");
      if (bias != others.end() && bias->second.shape == std::vector<uint64_t>{w.N} &&
          !mlirFloatType(bias->second.type).empty()) {
        w.bias = bias->first;
        w.biasType = bias->second.type;
      }
      numberOf.emplace(stem, weights.size());
      weights.push_back(std::move(w));
    }
  }

  std::vector<Layer> run() {
    std::vector<Layer> out;
    std::vector<bool> isDone(weights.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      Layer layer{stemOf(weights[i].name), {}, {}};
      for (size_t member : groupOf(i, layer)) {
        if (!isDone[member])
          layer.weights.push_back(weights[member]);
        isDone[member] = true;
      }
      if (!layer.weights.empty())
        out.push_back(std::move(layer));
    }
    std::ranges::sort(out, isBefore, &Layer::name);
    std::set<std::string> taken;
    for (Layer &layer : out)
      layer.name = identifier(layer.name, taken);
    return out;
  }

private:
  /// The weights of the function that weight i is in; names and completes it.
  std::vector<size_t> groupOf(size_t i, Layer &layer) const {
    for (const Sharing &sharing : kSharing)
      for (std::string_view part : sharing.parts) {
        std::string_view name = layer.name;
        if (!kind || !name.ends_with(part))
          continue;
        std::string block(name.substr(0, name.size() - part.size()));
        if (!block.ends_with('.'))
          continue;
        std::vector<size_t> members = membersOf(block, sharing);
        if (members.empty())
          continue;
        layer.name = block + std::string(sharing.together);
        if (sharing.isGated)
          layer.gate = kind->gate;
        return members;
      }
    return {i};
  }

  /// Empty unless all are there and fit.
  std::vector<size_t> membersOf(const std::string &block,
                                const Sharing &sharing) const {
    std::vector<size_t> out;
    for (std::string_view part : sharing.parts) {
      auto at = numberOf.find(block + std::string(part));
      if (at == numberOf.end())
        return {};
      const LayerWeight &first = weights[out.empty() ? at->second : out.front()];
      const LayerWeight &w = weights[at->second];
      if (w.K != first.K || (sharing.isGated && w.N != first.N))
        return {};
      out.push_back(at->second);
    }
    return sharing.isGated && !kind->gate ? std::vector<size_t>() : out;
  }

  const std::optional<ModelKind> &kind;
  std::vector<LayerWeight> weights;
  std::map<std::string, size_t> numberOf; ///< by stem
};

} // namespace

std::vector<Layer>
qlinear::groupLayers(std::vector<LayerWeight> weights,
                     const std::map<std::string, LayerTensor> &others,
                     const std::optional<ModelKind> &kind) {
  return Grouping(std::move(weights), others, kind).run();
}

std::vector<Layer> qlinear::layersOf(const Archive &archive) {
  std::vector<LayerWeight> weights;
  std::map<std::string, LayerTensor> others;
  for (const auto &[name, w] : archive.weights())
    weights.push_back({name, w.N, w.K, w.encoding, "", ""});
  for (const Tensor &t : archive.checkpoint().tensors())
    if (!archive.weights().contains(t.name))
      others.emplace(t.name, LayerTensor{t.type, t.shape});
  return groupLayers(std::move(weights), others, ModelKind::of(archive.checkpoint()));
}
