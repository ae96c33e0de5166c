//===- ModelKind.cpp - Which model a checkpoint is of ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ModelKind.h"
#include "../Files/Json.h"
#include "ModelNames.h"

#include <algorithm>

using namespace qlinear;
using nlohmann::json;

namespace {

/// Types of transformers' models whose attention has q_proj, k_proj and v_proj of one
/// input, and whose MLP is act(gate_proj x) * up_proj x.
constexpr std::string_view kModelTypes[] = {
    "arcee",  "cohere",  "cohere2",     "ernie4_5",   "gemma",   "gemma2",
    "gemma3", "granite", "gemma3_text", "granitemoe", "llama",   "ministral",
    "olmo",   "olmo2",   "mistral",     "mistral3",   "mixtral", "olmoe",
    "qwen2",  "qwen3",   "qwen2_moe",   "qwen3_moe",  "smollm3", "stablelm"};

constexpr std::pair<std::string_view, GateActivation> kSpellings[] = {
    {"silu", GateActivation::silu},
    {"swish", GateActivation::silu},
    {"gelu_pytorch_tanh", GateActivation::geluTanh},
    {"gelu_new", GateActivation::geluTanh}};

/// transformers ignores the hidden_act of Gemma's first configurations, "gelu".
bool isGemma(std::string_view type) { return type.starts_with("gemma"); }

std::optional<GateActivation> gateOf(const std::string &spelling) {
  for (auto [known, gate] : kSpellings)
    if (known == spelling)
      return gate;
  return std::nullopt;
}

/// Of a configuration, or of the language model in one of several.
std::optional<ModelKind> fromConfig(const json &config) {
  if (auto text = config.find("text_config");
      text != config.end() && text->is_object() && text->contains("model_type"))
    return fromConfig(*text);
  auto type = jsonString(config, "model_type");
  if (!type || std::ranges::find(kModelTypes, *type) == std::end(kModelTypes))
    return std::nullopt;
  auto activation = jsonString(config, "hidden_activation");
  if (!activation && !isGemma(*type))
    activation = jsonString(config, "hidden_act");
  return ModelKind{*type, activation       ? gateOf(*activation)
                          : isGemma(*type) ? std::optional(GateActivation::geluTanh)
                                           : std::nullopt};
}

} // namespace

std::optional<ModelKind> ModelKind::of(const Checkpoint &checkpoint) {
  if (auto names = ModelNames::of(checkpoint))
    return names->kind();
  const auto &metadata = checkpoint.metadata();
  if (auto archive = metadata.find("qlinear"); archive != metadata.end()) {
    auto root = parseJson(archive->second, /*maxDepth=*/5);
    if (root && root->value.is_object())
      if (auto model = root->value.find("model"); model != root->value.end())
        if (auto architecture = jsonString(*model, "architecture"))
          return ModelKind{*architecture,
                           gateOf(jsonString(*model, "gate").value_or(""))};
  }
  const auto &configs = checkpoint.configs();
  auto config = configs.find("config.json");
  if (config == configs.end())
    return std::nullopt;
  auto parsed = parseJson(config->second, /*maxDepth=*/64);
  if (!parsed || !parsed->value.is_object())
    return std::nullopt;
  return fromConfig(parsed->value);
}

json ModelKind::about() const {
  json out = {{"architecture", architecture}, {"names", "hf"}};
  for (auto [spelling, known] : kSpellings)
    if (gate == known && !out.contains("gate"))
      out["gate"] = spelling;
  return out;
}
