//===- ImportFloats.cpp - Float weights -----------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// F32, F16 and BF16 matrices that no other importer claims are linear weights [out,
// in]. GPT-2 and its relatives in transformers have Conv1D layers instead, whose
// weights are [in, out], under names that other models give to linear ones (c_attn,
// c_proj, c_fc). A square one fits both. So the model's type and the shapes of the
// layer's block have to agree; where they do not, the weight is not quantized.
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

#include <algorithm>

using namespace qlinear;
using nlohmann::json;

namespace {

/// Model types of transformers whose c_attn, ... are Conv1D.
constexpr std::string_view kConv1DModels[] = {"gpt2", "openai-gpt", "imagegpt",
                                              "decision_transformer", "clvp"};

enum class Layout { unknown, linear, conv1D };

/// The last two parts of a weight's name without ".weight": "mlp", "c_proj".
std::pair<std::string_view, std::string_view> moduleOf(std::string_view name) {
  if (!name.ends_with(".weight"))
    return {};
  name.remove_suffix(std::string_view(".weight").size());
  size_t dot = name.rfind('.');
  if (dot == name.npos)
    return {"", name};
  size_t before = name.rfind('.', dot - 1);
  size_t begin = before == name.npos ? 0 : before + 1;
  return {name.substr(begin, dot - begin), name.substr(dot + 1)};
}

bool hasConv1DName(std::string_view name) {
  std::string_view leaf = moduleOf(name).second;
  return leaf == "c_attn" || leaf == "c_proj" || leaf == "c_fc" || leaf == "q_attn";
}

/// The layout that the tensor's own shape tells: queries, keys and values and the inner
/// layer of an MLP have more outputs than inputs, its outer layer fewer.
Layout ownLayout(const Tensor &t) {
  auto [parent, leaf] = moduleOf(t.name);
  bool isWide = leaf == "c_attn" || leaf == "c_fc";
  if (t.shape.size() != 2 || t.shape[0] == t.shape[1] ||
      (!isWide && !(leaf == "c_proj" && parent == "mlp")))
    return Layout::unknown;
  return (t.shape[0] > t.shape[1]) == isWide ? Layout::linear : Layout::conv1D;
}

/// The layout of the tensors below a prefix; `unknown` if they differ.
Layout layoutBelow(const Checkpoint &checkpoint, std::string_view prefix) {
  Layout out = Layout::unknown;
  for (const Tensor *t : checkpoint.startingWith(prefix)) {
    Layout own = ownLayout(*t);
    if (own == Layout::unknown)
      continue;
    if (out != Layout::unknown && own != out)
      return Layout::unknown;
    out = own;
  }
  return out;
}

/// The shapes' word on a weight: its own, else its block's, else the model's.
Layout layoutOf(const Checkpoint &checkpoint, const Tensor &t) {
  if (Layout own = ownLayout(t); own != Layout::unknown)
    return own;
  std::string_view name = t.name;
  for (size_t dot = name.rfind('.'); dot != name.npos && dot > 0;
       dot = name.rfind('.', dot - 1))
    if (Layout block = layoutBelow(checkpoint, name.substr(0, dot + 1));
        block != Layout::unknown)
      return block;
  return layoutBelow(checkpoint, "");
}

/// Every "model_type" of a configuration and of the models in it.
void collectTypes(const json &config, unsigned depth, std::vector<std::string> &types) {
  if (!config.is_object() || depth == 0)
    return;
  for (auto &[key, value] : config.items())
    if (key == "model_type" && value.is_string())
      types.push_back(value.get<std::string>());
    else
      collectTypes(value, depth - 1, types);
}

/// Sets the shape, and whether the weight is read transposed; or why it is not known.
void decideLayout(SourceWeight &w, const ImportContext &context, const Tensor &t,
                  bool &isTransposed) {
  std::vector<std::string> types;
  collectTypes(context.declared.config(), 4, types);
  auto conv = std::find_if(types.begin(), types.end(), [](const std::string &type) {
    return std::find(std::begin(kConv1DModels), std::end(kConv1DModels), type) !=
           std::end(kConv1DModels);
  });
  Layout shapes = layoutOf(context.checkpoint, t);
  isTransposed = conv != types.end();
  // A model of several may have both kinds.
  if (isTransposed && types.size() > 1 && shapes == Layout::linear)
    isTransposed = false;
  else if (isTransposed && shapes == Layout::linear)
    w.doubt = fmt::format("model_type {} has Conv1D layers, [inputs, outputs], but the "
                          "shapes are of [outputs, inputs]",
                          inQuotes(*conv));
  else if (!isTransposed &&
           (shapes == Layout::conv1D || (shapes == Layout::unknown && types.empty())))
    w.doubt = fmt::format(
        "by its name it may be a Conv1D of transformers, [inputs, outputs]{}; keep the "
        "config.json whose model_type says so beside it",
        shapes == Layout::conv1D ? ", as the shapes are" : "");
  if (!isTransposed || !w.doubt.empty())
    return;
  std::swap(w.N, w.K);
  w.format += " Conv1D";
  w.assumed = {"transformers' Conv1D, [inputs, outputs]", *conv,
               "model_type of config.json", ""};
}

} // namespace

Result<void> qlinear::importFloats(ImportContext &context) {
  for (const Tensor &t : context.checkpoint.tensors()) {
    if (context.claimed.contains(&t) || t.shape.size() != 2 || !isFloat(&t))
      continue;
    SourceWeight w;
    w.name = t.name;
    w.format = t.type;
    w.N = t.shape[0];
    w.K = t.shape[1];
    w.isFloat = true;
    w.parts = {&t};
    bool isTransposed = false;
    if (!context.checkpoint.isGguf() && hasConv1DName(t.name))
      decideLayout(w, context, t, isTransposed);
    w.load = [&t, isTransposed, N = w.N, K = w.K]() -> Result<LoadedWeight> {
      auto floats = toFloats(t);
      if (!floats)
        return floats.takeError();
      if (!isTransposed)
        return LoadedWeight(std::move(*floats));
      FloatWeight out(floats->size());
      for (uint64_t n = 0; n < N; ++n)
        for (uint64_t k = 0; k < K; ++k)
          out[n * K + k] = (*floats)[k * N + n];
      return LoadedWeight(std::move(out));
    };
    context.add(std::move(w));
  }
  return {};
}
