//===- ModelNames.cpp - GGUF's names and transformers' --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ModelNames.h"
#include "../Files/Json.h"

#include <algorithm>
#include <fmt/core.h>

using namespace qlinear;
using nlohmann::json;

namespace {

struct Pair {
  std::string_view gguf, hf;
};

/// Most architectures: model.layers.N.* of transformers.
constexpr Pair kCommon[] = {{"attn_q", "self_attn.q_proj"},
                            {"attn_k", "self_attn.k_proj"},
                            {"attn_v", "self_attn.v_proj"},
                            {"attn_qkv", "self_attn.qkv_proj"},
                            {"attn_output", "self_attn.o_proj"},
                            {"attn_q_norm", "self_attn.q_norm"},
                            {"attn_k_norm", "self_attn.k_norm"},
                            {"attn_norm", "input_layernorm"},
                            {"ffn_norm", "post_attention_layernorm"},
                            {"ffn_gate", "mlp.gate_proj"},
                            {"ffn_up", "mlp.up_proj"},
                            {"ffn_down", "mlp.down_proj"},
                            {"ffn_gate_inp", "mlp.gate"},
                            {"ffn_gate_inp_shexp", "mlp.shared_expert_gate"},
                            {"ffn_gate_shexp", "mlp.shared_expert.gate_proj"},
                            {"ffn_up_shexp", "mlp.shared_expert.up_proj"},
                            {"ffn_down_shexp", "mlp.shared_expert.down_proj"}};
constexpr Pair kRoot[] = {{"token_embd", "model.embed_tokens"},
                          {"output", "lm_head"},
                          {"output_norm", "model.norm"}};

/// An architecture by general.architecture: what differs from the common names.
struct Architecture {
  std::string_view name;
  bool isPermuted;   ///< rows of attn_q and attn_k
  bool normsPlusOne; ///< GGUF's norms have 1 added
  std::initializer_list<Pair> names;
};

const Architecture kArchitectures[] = {
    // Also Mistral and Mixtral, whose experts were tensors of their own once.
    {"llama",
     true,
     false,
     {{"ffn_gate_inp", "block_sparse_moe.gate"},
      {"ffn_gate.#", "block_sparse_moe.experts.#.w1"},
      {"ffn_down.#", "block_sparse_moe.experts.#.w2"},
      {"ffn_up.#", "block_sparse_moe.experts.#.w3"}}},
    {"mistral3", true, false, {}},
    {"arcee", true, false, {}},
    {"smollm3", true, false, {}},
    {"nanbeige", true, false, {}},
    {"minicpm", true, false, {}},
    {"olmo", true, false, {}},
    {"granite", true, false, {}},
    {"granitemoe", true, false, {{"ffn_gate_inp", "block_sparse_moe.router.layer"}}},
    {"deepseek",
     true,
     false,
     {{"ffn_gate_shexp", "mlp.shared_experts.gate_proj"},
      {"ffn_up_shexp", "mlp.shared_experts.up_proj"},
      {"ffn_down_shexp", "mlp.shared_experts.down_proj"}}},
    {"qwen2", false, false, {}},
    {"qwen2moe", false, false, {}},
    {"qwen3", false, false, {}},
    {"qwen3moe", false, false, {}},
    {"olmo2",
     false,
     false,
     {{"post_attention_norm", "post_attention_layernorm"},
      {"post_ffw_norm", "post_feedforward_layernorm"}}},
    {"olmoe", false, false, {}},
    {"stablelm", false, false, {}},
    {"command-r", false, false, {}},
    {"cohere2", false, false, {}},
    {"ernie4_5", false, false, {}},
    {"starcoder2", false, false, {{"ffn_up", "mlp.c_fc"}, {"ffn_down", "mlp.c_proj"}}},
    {"phi3", false, false, {{"ffn_up", "mlp.gate_up_proj"}}},
    {"glm4",
     false,
     false,
     {{"ffn_up", "mlp.gate_up_proj"},
      {"post_attention_norm", "post_self_attn_layernorm"},
      {"post_ffw_norm", "post_mlp_layernorm"}}},
    {"nemotron", false, true, {}},
    {"gemma", false, true, {}},
    {"gemma2", false, true, {}},
    {"gemma3", false, true, {}}};

/// The others that have a gate have SiLU.
constexpr std::string_view kGeluGates[] = {"gemma", "gemma2", "gemma3"};

const Architecture *find(std::string_view name) {
  auto at = std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                         [&](const Architecture &a) { return a.name == name; });
  return at == std::end(kArchitectures) ? nullptr : &*at;
}

bool isNumber(std::string_view text) {
  return !text.empty() && text.size() < 10 &&
         std::all_of(
             text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// transformers' name of a block's part, a number in which is "#" in the tables.
std::string partName(const Architecture &a, std::string_view part) {
  size_t dot = part.rfind('.');
  std::string number;
  if (dot != part.npos && isNumber(part.substr(dot + 1)))
    number = part.substr(dot + 1);
  std::string key =
      number.empty() ? std::string(part) : std::string(part.substr(0, dot + 1)) + "#";
  auto search = [&](const auto &pairs) -> std::string {
    for (const Pair &p : pairs)
      if (p.gguf == key) {
        std::string out(p.hf);
        if (size_t at = out.find('#'); at != out.npos)
          out.replace(at, 1, number);
        return out;
      }
    return "";
  };
  std::string own = search(a.names);
  return own.empty() ? search(kCommon) : own;
}

} // namespace

std::optional<ModelNames> ModelNames::of(const Checkpoint &checkpoint) {
  const auto &metadata = checkpoint.metadata();
  auto number = [&](const std::string &key) -> std::optional<uint64_t> {
    auto at = metadata.find(key);
    if (at == metadata.end() || !isNumber(at->second))
      return std::nullopt;
    return std::stoull(at->second);
  };
  auto architecture = metadata.find("general.architecture");
  auto archive = metadata.find("qlinear");
  if (!checkpoint.isGguf() &&
      (archive == metadata.end() || architecture == metadata.end()))
    return std::nullopt;
  ModelNames out;
  if (architecture != metadata.end())
    out.architecture = architecture->second;
  std::string prefix = out.architecture + ".attention.";
  out.heads = number(prefix + "head_count");
  out.kvHeads = metadata.contains(prefix + "head_count_kv")
                    ? number(prefix + "head_count_kv")
                    : out.heads;
  out.headRows = number(prefix + "key_length");
  if (!checkpoint.isGguf())
    if (auto root = parseJson(archive->second, /*maxDepth=*/5);
        root && root->value.is_object())
      if (auto model = root->value.find("model"); model != root->value.end())
        out.areRenamed = jsonString(*model, "names") == "hf";
  return out;
}

std::optional<ModelKind> ModelNames::kind() const {
  if (!find(architecture))
    return std::nullopt;
  bool isGelu = std::ranges::find(kGeluGates, architecture) != std::end(kGeluGates);
  return ModelKind{architecture,
                   isGelu ? GateActivation::geluTanh : GateActivation::silu};
}

std::string ModelNames::defect() const {
  if (find(architecture))
    return "";
  std::string known;
  for (const Architecture &a : kArchitectures)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", a.name);
  return fmt::format(
      "there is no map of the names of general.architecture {}; there is "
      "of {}: pack it without --names=hf",
      inQuotes(architecture), known);
}

Counterpart ModelNames::of(const Tensor &tensor, uint64_t rows) const {
  const Architecture *a = find(architecture);
  std::string_view name = tensor.name;
  size_t end = name.rfind('.');
  if (!a || areRenamed || end == name.npos)
    return {};
  std::string_view kind = name.substr(end), stem = name.substr(0, end);
  if (kind != ".weight" && kind != ".bias")
    return {};
  Counterpart out;
  if (!stem.starts_with("blk.")) {
    for (const Pair &p : kRoot)
      if (p.gguf == stem)
        out.name = fmt::format("{}{}", p.hf, kind);
  } else {
    std::string_view rest = stem.substr(4);
    size_t dot = rest.find('.');
    if (dot == rest.npos || !isNumber(rest.substr(0, dot)))
      return {};
    std::string_view part = rest.substr(dot + 1);
    std::string hf = partName(*a, part);
    if (!hf.empty())
      out.name = fmt::format("model.layers.{}.{}{}", rest.substr(0, dot), hf, kind);
    if (a->isPermuted && (part == "attn_q" || part == "attn_k")) {
      auto count = part == "attn_q" ? heads : kvHeads;
      out.heads = count.value_or(0);
      if (!count || !*count)
        out.difference = fmt::format("its rows are in llama.cpp's order, but "
                                     "{}.attention.head_count{} is not one "
                                     "number of heads",
                                     architecture, part == "attn_q" ? "" : "_kv");
      else if (rows % (2 * *count) || (headRows && *headRows * *count != rows))
        out.difference = fmt::format(
            "its rows are in llama.cpp's order, but {} rows are not {} heads{}", rows,
            *count, headRows ? fmt::format(" of {}", *headRows) : " of an even size");
    }
  }
  if (a->normsPlusOne && stem.ends_with("_norm") && !out.name.empty())
    out = {"", 0, "llama.cpp adds 1 to the norms of this architecture"};
  return out;
}

json ModelNames::about(bool renamed) const {
  json out = {{"architecture", architecture},
              {"names", areRenamed || renamed ? "hf" : "gguf"}};
  if (const Architecture *a = find(architecture); a && out["names"] == "gguf")
    out["permuted"] = a->isPermuted;
  if (heads)
    out["heads"] = *heads;
  if (kvHeads)
    out["kv_heads"] = *kvHeads;
  return out;
}

std::vector<uint64_t> qlinear::rotaryOrder(uint64_t rows, uint64_t heads) {
  std::vector<uint64_t> order(rows);
  uint64_t each = rows / heads;
  for (uint64_t h = 0; h < heads; ++h)
    for (uint64_t i = 0; i < 2; ++i)
      for (uint64_t j = 0; j < each / 2; ++j)
        order[h * each + i * (each / 2) + j] = h * each + 2 * j + i;
  return order;
}

void qlinear::permuteRows(LoadedWeight &weight, const std::vector<uint64_t> &order) {
  if (auto *floats = std::get_if<FloatWeight>(&weight)) {
    permuteRows(*floats, order);
  } else if (auto *w = std::get_if<AffineWeight>(&weight)) {
    permuteRows(w->fields, order);
    permuteRows(w->scales, order);
    permuteRows(w->offsets, order);
  } else {
    auto &e = std::get<EncodedWeight>(weight);
    permuteRows(e.fields, order);
    permuteRows(e.scaleFields, order);
    permuteRows(e.offsetFields, order);
    permuteRows(e.scaleSteps, order);
    permuteRows(e.offsetSteps, order);
  }
}
