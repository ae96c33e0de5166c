//===- Convention.cpp - What is said beside a checkpoint ------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Convention.h"
#include "../Files/Json.h"

#include <algorithm>
#include <fmt/core.h>
#include <regex>

using namespace qlinear;
using nlohmann::json;
using nlohmann::ordered_json;

namespace {

/// The methods that are read, by the names that quantizers write.
struct Method {
  std::string_view name, alias;
  Family family;
};
constexpr Method kMethods[] = {
    {"gptq", "", Family::words},
    {"awq", "", Family::words},
    {"auto-round", "intel/auto-round", Family::words},
    {"compressed-tensors", "", Family::compressedTensors},
    {"torchao", "", Family::torchao},
    {"hqq", "", Family::hqq},
    {"mlx", "", Family::mlx},
    {"modelopt", "", Family::modelopt},
    {"bitsandbytes", "", Family::bitsandbytes},
};

std::string_view nameOf(Family family) {
  switch (family) {
  case Family::words:
    return "GPTQ or AWQ";
  case Family::compressedTensors:
    return "compressed-tensors";
  case Family::torchao:
    return "torchao";
  case Family::hqq:
    return "HQQ";
  case Family::mlx:
    return "MLX";
  case Family::modelopt:
    return "ModelOpt";
  case Family::bitsandbytes:
    return "bitsandbytes";
  }
  return "";
}

/// Keys that say nothing of how codes are stored, or are looked at where they matter.
constexpr std::string_view kKnownKeys[] = {
    // The method and its version.
    "quant_method", "method", "checkpoint_format", "format", "version", "backend",
    "packing_format", "autoround_version", "autoawq_version", "meta", "producer",
    "quantization_status", "is_marlin_format", "pack_dtype", "pack_impl",
    // Bits and groups.
    "bits", "w_bit", "group_size", "q_group_size", "sym", "zero_point", "desc_act",
    "static_groups", "dynamic", "extra_config", "config_groups", "data_type",
    "act_bits", "act_data_type", "act_dynamic", "act_group_size", "act_sym",
    "super_bits", "super_group_size", "mode", "weight_bits", "quant_type",
    "quant_config", "quant_algo", "kv_cache_quant_algo", "load_in_4bit", "load_in_8bit",
    "_load_in_4bit", "_load_in_8bit", "bnb_4bit_compute_dtype",
    "bnb_4bit_quant_storage", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant",
    "llm_int8_enable_fp32_cpu_offload", "llm_int8_has_fp16_weight",
    "llm_int8_skip_modules", "llm_int8_threshold",
    // Which layers.
    "ignore", "exclude_modules", "quantized_layers", "modules_to_not_convert",
    "modules_in_block_to_quantize", "block_name_to_quantize", "to_quant_block_names",
    "quant_block_list", "lm_head", "quant_lm_head", "inside_layer_modules",
    "model_name_or_path", "model_file_base_name", "skip_modules",
    "untie_embedding_weights",
    // How the codes were found.
    "damp_percent", "damp_auto_increment", "true_sequential", "dataset", "tokenizer",
    "nsamples", "iters", "seqlen", "lr", "minmax_lr", "low_gpu_mem_usage", "batch_size",
    "enable_quanted_input", "enable_minmax_tuning", "amp", "scale_dtype",
    "gradient_accumulate_steps", "mse", "act_group_aware", "v2", "gptaq", "alg_ext",
    "enable_alg_ext", "use_safetensors", "enable_norm_bias_tuning", "nblocks",
    // How to run it.
    "exllama_config", "use_exllama", "max_input_length", "do_fuse", "fuse_max_seq_len",
    "modules_to_fuse", "use_cuda_fp16", "disable_exllama", "cache_block_outputs",
    "module_name_preceding_first_block", "pad_token_id", "model_seqlen",
    "global_compression_ratio", "kv_cache_scheme", "sparsity_config",
    "transform_config", "run_compressed", "adapter", "offload_to_disk",
    "include_input_output_embeddings", "untie_embedding_weights", "quant_type_kwargs",
    "use_torch_compile", "offload_meta", "weight_quant_params", "scale_quant_params",
    "zero_quant_params"};

/// Parts of keys that say that a layer is more than its codes and scales.
constexpr std::string_view kOtherLayer[] = {
    "rotat", "hadamard", "transform", "smooth", "codebook", "permut", "spin"};

bool isSaid(const json &value) {
  return !value.is_null() && !(value.is_boolean() && !value.get<bool>()) &&
         !(value.is_string() && value.get<std::string>().empty()) &&
         !((value.is_object() || value.is_array()) && value.empty());
}

std::string lower(std::string text) {
  for (char &c : text)
    c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  return text;
}

/// Bits, a group and so on of an object, over what `rule` has.
Result<void> readRule(LayerRule &rule, const json &object, const std::string &where) {
  auto bad = [&](const char *key, const json &value) {
    return error(
        fmt::format("{} of {} is {}, which is not understood; correct the file", key,
                    where, inQuotes(value.dump())));
  };
  // Two keys may mean the same: then they have to say the same.
  std::map<std::string_view, std::pair<std::string, json>> said;
  auto contradicts = [&](std::string_view meaning, const std::string &key,
                         const json &value) -> Result<void> {
    auto [at, isNew] = said.try_emplace(meaning, key, value);
    if (isNew || at->second.second == value)
      return {};
    return error(fmt::format("{} and {} of {} contradict each other; correct the file",
                             at->second.first, key, where));
  };
  for (auto &[key, value] : object.items()) {
    if (value.is_null())
      continue;
    Result<void> agrees;
    if (key == "bits" || key == "w_bit") {
      if (!value.is_number_unsigned())
        return bad(key.c_str(), value);
      rule.bits = value.get<uint64_t>();
      agrees = contradicts("bits", key, value);
    } else if (key == "group_size" || key == "q_group_size") {
      if (!value.is_number_integer())
        return bad(key.c_str(), value);
      rule.group = value.get<int64_t>() <= 0 ? 0 : value.get<uint64_t>();
      agrees = contradicts("group", key, *rule.group);
    } else if (key == "sym" || key == "zero_point" || key == "desc_act") {
      if (!value.is_boolean())
        return bad(key.c_str(), value);
      bool isTrue = value.get<bool>();
      if (key == "desc_act") {
        rule.isReordered = isTrue;
        continue;
      }
      rule.symmetric = isTrue == (key == "sym");
      agrees = contradicts("symmetric", key, *rule.symmetric);
    } else if (key == "mode" || key == "data_type") {
      if (!value.is_string())
        return bad(key.c_str(), value);
      rule.mode = value.get<std::string>();
      agrees = contradicts("mode", key, value);
    }
    if (!agrees)
      return agrees;
  }
  return {};
}

/// The part of a layer's name from its block on, or its last part: what wrappers of a
/// model leave as it is.
std::string_view tailOf(std::string_view name) {
  auto isNumber = [](std::string_view part) {
    return !part.empty() && std::all_of(part.begin(), part.end(),
                                        [](char c) { return c >= '0' && c <= '9'; });
  };
  size_t begin = 0, before = 0;
  while (begin <= name.size()) {
    size_t end = std::min(name.find('.', begin), name.size());
    if (isNumber(name.substr(begin, end - begin)))
      return name.substr(before);
    before = begin;
    begin = end + 1;
  }
  size_t dot = name.rfind('.');
  return dot == name.npos ? name : name.substr(dot + 1);
}

} // namespace

std::string qlinear::knownMethods() {
  std::string out;
  for (const Method &m : kMethods)
    out += (out.empty() ? "" : ", ") + std::string(m.name);
  return out;
}

Result<bool> qlinear::matchesStart(const std::string &pattern,
                                   const std::string &name) {
  auto bad = [&](std::string_view what) {
    return error(fmt::format("the regular expression {} {}", inQuotes(pattern), what));
  };
  if (pattern.size() > 2000)
    return bad("has more than 2000 characters");
  try {
    auto flags = std::regex::ECMAScript;
#ifdef __GLIBCXX__
    flags |= std::regex_constants::__polynomial; // the file is not trusted
#endif
    return std::regex_search(name, std::regex(pattern, flags),
                             std::regex_constants::match_continuous);
  } catch (const std::regex_error &e) {
    return bad(fmt::format("cannot be read: {}", e.what()));
  }
}

bool qlinear::isSameLayer(const std::string &a, const std::string &b) {
  return tailOf(a) == tailOf(b);
}

//===----------------------------------------------------------------------===//
// Declaration
//===----------------------------------------------------------------------===//

std::optional<std::string>
Declaration::text(std::initializer_list<const char *> keys) const {
  for (const char *key : keys)
    if (auto value = jsonString(description, key))
      return value;
  return std::nullopt;
}

/// Adds what another file says; where the two differ, nothing can be relied on.
void Declaration::merge(const json &object, const std::string &from) {
  constexpr std::pair<const char *, const char *> kSame[] = {
      {"w_bit", "bits"}, {"q_group_size", "group_size"}};
  json added = object;
  for (auto [old, key] : kSame)
    if (auto at = added.find(old); at != added.end() && !added.contains(key)) {
      added[key] = *at;
      added.erase(old);
    }
  auto isAbsent = [](const json &in, json::const_iterator at) {
    return at == in.end() || at->is_null() || (at->is_object() && at->empty());
  };
  for (const char *key :
       {"quant_method", "method", "bits", "group_size", "sym", "desc_act", "zero_point",
        "checkpoint_format", "format", "version", "packing_format", "dynamic",
        "extra_config", "quant_algo"}) {
    auto a = std::as_const(description).find(key), b = std::as_const(added).find(key);
    if (isAbsent(description, a) || isAbsent(added, b))
      continue;
    json x = *a, y = *b;
    if (x.is_string() && y.is_string()) {
      x = lower(x.get<std::string>());
      y = lower(y.get<std::string>());
    }
    if (x != y && defect.empty())
      defect = fmt::format("{} of {} is {}, but {} in {}; keep the file that is right",
                           key, place, inQuotes(x.dump()), inQuotes(y.dump()), from);
  }
  for (auto &[key, value] : added.items())
    if (auto at = description.find(key); at == description.end() || at->is_null())
      description[key] = value;
  place = place.empty() ? from : place + " and " + from;
}

Result<Declaration> Declaration::read(const Checkpoint &checkpoint) {
  Declaration out;
  std::map<std::string, json> files;
  for (const auto &[name, text] : checkpoint.configs()) {
    auto parsed = parseJson(text, /*maxDepth=*/64);
    if (!parsed)
      return error(fmt::format("{} beside '{}': {}", name,
                               checkpoint.files().front()->path(), parsed.error()));
    files.emplace(name, std::move(parsed->value));
  }
  auto objectIn = [](const json &from, const char *key) {
    auto at = from.is_object() ? from.find(key) : from.end();
    return from.is_object() && at != from.end() && at->is_object() ? &*at : nullptr;
  };
  if (auto at = files.find("config.json"); at != files.end()) {
    out.model = at->second;
    const json *own = nullptr;
    for (const char *key : {"quantization_config", "compression_config"})
      if (!own && (own = objectIn(out.model, key)))
        out.merge(*own, fmt::format("{} of config.json", key));
    if (const json *mlx = objectIn(out.model, "quantization"))
      out.merge(*mlx, "quantization of config.json");
    // Models made of several have one in the part that was quantized.
    if (out.place.empty() && out.model.is_object())
      for (auto &[key, part] : out.model.items())
        if (const json *nested = objectIn(part, "quantization_config"))
          out.merge(*nested, fmt::format("{}.quantization_config of config.json", key));
    bool isAtTop =
        out.place.empty() && out.model.is_object() &&
        std::any_of(std::begin(kKnownKeys), std::begin(kKnownKeys) + 3,
                    [&](std::string_view k) { return out.model.contains(k); });
    if (isAtTop) {
      json top = out.model;
      top.erase("method"); // among a model's own keys it may be another's
      out.merge(top, "config.json");
    }
  }
  for (const char *name : {"quantize_config.json", "quant_config.json"})
    if (auto at = files.find(name); at != files.end() && at->second.is_object()) {
      json object = at->second;
      bool isAwq = object.contains("w_bit") || object.contains("q_group_size");
      if (!object.contains("quant_method") && !object.contains("method") &&
          !out.text({"quant_method", "method"}))
        object["quant_method"] = isAwq ? "awq" : "gptq";
      out.merge(object, name);
    }
  if (auto at = files.find("hf_quant_config.json"); at != files.end()) {
    const json *own = objectIn(at->second, "quantization");
    json object = own ? *own : json::object();
    object["quant_method"] = "modelopt";
    out.merge(object, "hf_quant_config.json");
  }

  out.name = lower(out.text({"quant_method", "method"}).value_or(""));
  for (const Method &m : kMethods)
    if (!m.alias.empty() && out.name == m.alias)
      out.name = m.name;
  out.checkNames();
  out.readOverrides(checkpoint);
  return out;
}

/// The method and the layout have several keys, of which writers use one or all.
void Declaration::checkNames() {
  auto agree = [&](std::initializer_list<const char *> keys) {
    const char *first = nullptr;
    std::string said;
    for (const char *key : keys) {
      std::string value = lower(jsonString(description, key).value_or(""));
      if (key == std::string_view("is_marlin_format") && description.contains(key) &&
          description[key] == true)
        value = "marlin";
      if (value.empty())
        continue;
      if (!first) {
        first = key;
        said = value;
      } else if (value != said && defect.empty()) {
        defect =
            fmt::format("{} ({}) and {} ({}) of {} contradict each other; keep the "
                        "one that the weights were saved with",
                        first, inQuotes(said), key, inQuotes(value), place);
      }
    }
  };
  agree({"quant_method", "method"});
  if (name == "awq")
    agree({"checkpoint_format", "version", "format"});
  else if (name != "compressed-tensors") // whose versions and formats are its own
    agree({"checkpoint_format", "format", "is_marlin_format"});
}

/// The first entry that matches decides, so the order in the file matters, which `json`
/// does not keep.
void Declaration::readOverrides(const Checkpoint &checkpoint) {
  const char *key = name == "gptq" || name == "awq" ? "dynamic"
                    : name == "auto-round"          ? "extra_config"
                                                    : nullptr;
  for (const auto &[file, text] : checkpoint.configs()) {
    ordered_json root = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!root.is_object())
      continue;
    std::vector<const ordered_json *> places = {&root};
    for (auto &[member, value] : root.items())
      if (value.is_object()) {
        places.push_back(&value);
        if (auto at = value.find("quantization_config"); at != value.end())
          places.push_back(&*at);
      }
    for (const ordered_json *object : places) {
      auto at = object->is_object() && key ? object->find(key) : object->end();
      if (!object->is_object() || !key || at == object->end() || !at->is_object() ||
          !layers.empty())
        continue;
      for (auto &[pattern, value] : at->items())
        layers.push_back({pattern, json::parse(value.dump())});
    }
  }
  if (name.empty() || name == "mlx") // MLX has them beside the numbers for the whole
    for (auto &[layer, value] : description.items())
      if (value.is_object() || value.is_boolean())
        layers.push_back({layer, value});
}

bool Declaration::isOverride(const std::string &key) const {
  return std::any_of(layers.begin(), layers.end(),
                     [&](const Override &o) { return o.key == key; });
}

bool Declaration::isKnownMethod() const {
  return name.empty() || std::any_of(std::begin(kMethods), std::end(kMethods),
                                     [&](const Method &m) { return m.name == name; });
}

std::string Declaration::objection(Family family) const {
  if (!defect.empty())
    return defect;
  if (!isKnownMethod())
    return fmt::format("{} says quant_method {}, which is not known here, so that its "
                       "tensors may mean something else than those of {}; {} are read: "
                       "dequantize the model with what wrote it and use --quantize",
                       place, inQuotes(name), nameOf(family), knownMethods());
  for (const Method &m : kMethods)
    if (m.name == name && m.family != family)
      return fmt::format("{} says quant_method {}, but its tensors are those of {}; "
                         "keep the file that belongs to the weights",
                         place, inQuotes(name), nameOf(family));
  for (auto &[key, value] : description.items())
    for (std::string_view part : kOtherLayer)
      // compressed-tensors' transforms may be fused; and names of layers are no keys.
      if (key != "transform_config" && !isOverride(key) &&
          lower(key).find(part) != std::string::npos && isSaid(value))
        return fmt::format("{} of {}: its layers may do more than multiply by their "
                           "weights; quantize the model again without it",
                           inQuotes(key), place);
  return "";
}

Result<std::vector<LayerRule>>
Declaration::rulesFor(const std::string &layer,
                      const std::function<bool(const std::string &)> &isLayer) const {
  LayerRule whole;
  if (auto r = readRule(whole, description, place); !r)
    return r.takeError();
  const bool isDynamic = name == "gptq" || name == "awq";
  auto apply = [&](const Override &o) -> Result<LayerRule> {
    LayerRule rule = whole;
    rule.from = fmt::format("{} of {}", inQuotes(o.key), place);
    if (o.value.is_boolean())
      rule.isQuantized = o.value.get<bool>();
    else if (isDynamic && o.key.starts_with("-:"))
      rule.isQuantized = false;
    else if (o.value.is_object())
      if (auto r = readRule(rule, o.value, rule.from); !r)
        return r.takeError();
    return rule;
  };
  auto only = [](Result<LayerRule> rule) -> Result<std::vector<LayerRule>> {
    if (!rule)
      return rule.takeError();
    return std::vector<LayerRule>{std::move(*rule)};
  };

  if (!isDynamic)
    for (const Override &o : layers)
      if (o.key == layer)
        return only(apply(o));
  std::vector<LayerRule> out = {whole};
  for (const Override &o : layers) {
    bool hasSign = o.key.starts_with("-:") || o.key.starts_with("+:");
    if (isDynamic || o.key.find_first_of("*[(\\^$|+") != o.key.npos) {
      auto matches =
          matchesStart(isDynamic && hasSign ? o.key.substr(2) : o.key, layer);
      if (!matches)
        return error(fmt::format("{}: {}", place, matches.error()));
      if (*matches)
        return only(apply(o));
    } else if (isSameLayer(o.key, layer) && !isLayer(o.key)) {
      auto rule = apply(o);
      if (!rule)
        return rule.takeError();
      out.push_back(std::move(*rule));
    }
  }
  return out;
}

std::vector<std::string> Declaration::unknownKeys() const {
  std::vector<std::string> out;
  if (place == "config.json")
    return out;
  for (auto &[key, value] : description.items())
    if (isSaid(value) && !isOverride(key) &&
        std::find(std::begin(kKnownKeys), std::end(kKnownKeys), key) ==
            std::end(kKnownKeys))
      out.push_back(key);
  return out;
}
