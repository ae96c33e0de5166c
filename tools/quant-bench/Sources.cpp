//===- Sources.cpp - Weights to measure, and their encodings --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include "qlinear/Encoding/Pattern.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <random>
#include <set>

using namespace qlinear;
using namespace qlinear::bench;

//===----------------------------------------------------------------------===//
// Methods
//===----------------------------------------------------------------------===//

Result<Method> bench::parseMethod(const std::string &text, double minSnr) {
  Method method{text, std::nullopt, {}};
  method.rule.minSnr = minSnr;
  std::string name = text;
  size_t slash = text.find('/');
  if (std::string codes = text.substr(0, slash); codes.find(':') != codes.npos) {
    auto quantize = parseQuantize(codes);
    if (!quantize)
      return quantize.takeError();
    method.quantize = *quantize;
    name = slash == text.npos ? "auto" : text.substr(slash + 1);
  }
  if (auto gguf = ggufEncoding(name))
    name = gguf->str();
  if (auto valid = verifyRuleName(name); !valid)
    return valid.takeError();
  method.rule.name = name;
  return method;
}

Result<std::vector<Method>> bench::parseMethods(const std::string &text,
                                                double minSnr) {
  if (Encoding::parse(text)) { // has commas of its own
    auto whole = parseMethod(text, minSnr);
    return std::vector{std::move(*whole)};
  }
  std::vector<Method> methods;
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find(',', begin), text.size());
    auto method = parseMethod(text.substr(begin, end - begin), minSnr);
    if (!method)
      return method.takeError();
    methods.push_back(std::move(*method));
    begin = end + 1;
  }
  return methods;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// "4096x14336" as N and K.
static std::optional<std::pair<uint64_t, uint64_t>> shapeOf(const std::string &text) {
  uint64_t N = 0, K = 0;
  const char *end = text.data() + text.size();
  auto [x, first] = std::from_chars(text.data(), end, N);
  if (first != std::errc() || x == end || *x != 'x')
    return std::nullopt;
  auto [last, second] = std::from_chars(x + 1, end, K);
  if (second != std::errc() || last != end)
    return std::nullopt;
  return std::pair(N, K);
}

/// Of normal distribution, such that rows of activations of size 1 give such of size 1.
static Result<Source> randomSource(const std::string &text, uint64_t N, uint64_t K) {
  if (N == 0 || K == 0 || N > (uint64_t(1) << 36) / K)
    return error(
        fmt::format("'{}' is no shape of weights: N and K are from 1, and there "
                    "are at most 2^36 weights",
                    text));
  Source source{text, "random", N, K, {}};
  source.load = [N, K]() -> Result<LoadedWeight> {
    std::mt19937_64 random(N * 31 + K);
    std::normal_distribution<float> normal(0, 1 / std::sqrt(float(K)));
    FloatWeight values(N * K);
    for (float &v : values)
      v = normal(random);
    return LoadedWeight(std::move(values));
  };
  return source;
}

/// The weights of a file that are asked for, the largest first.
static Result<std::vector<Source>>
weightsOf(const Inventory &inventory, const std::string &path, const Choice &choice) {
  std::vector<Pattern> patterns;
  for (const std::string &text : choice.tensors) {
    auto pattern = Pattern::compile(text);
    if (!pattern)
      return pattern.takeError();
    patterns.push_back(std::move(*pattern));
  }
  std::vector<const SourceWeight *> found;
  std::string problem;
  for (const SourceWeight &w : inventory.weights) {
    bool named =
        std::ranges::any_of(patterns, [&](auto &p) { return p.finds(w.name); });
    if (!patterns.empty() && !named)
      continue;
    std::string why = w.defect.empty() ? w.foreign : w.defect;
    if (!why.empty() && named)
      return error(fmt::format("'{}' cannot be read: {}", w.name, why));
    if (why.empty() && (named || !w.isFloat || hasLinearName(w.name)))
      found.push_back(&w);
  }
  if (found.empty())
    return error(fmt::format(
        "'{}' has no weight {}; quant-inspect lists what is in it", path,
        patterns.empty() ? "of a linear layer" : "whose name --tensor finds"));
  std::vector<Source> out;
  if (patterns.empty()) // equally large ones as the file has them
    std::ranges::sort(found, {}, [](const SourceWeight *w) {
      return std::pair(-double(w->N) * double(w->K), w);
    });
  std::set<std::tuple<uint64_t, uint64_t, std::string>> seen;
  for (const SourceWeight *w : found) {
    if (patterns.empty() &&
        (out.size() == choice.largest || !seen.emplace(w->N, w->K, w->format).second))
      continue;
    out.push_back({w->name, w->format, w->N, w->K, w->load});
  }
  return out;
}

Result<Sources> bench::chooseWeights(const Choice &choice) {
  Sources sources;
  for (const std::string &input : choice.inputs) {
    if (auto shape = shapeOf(input)) {
      auto source = randomSource(input, shape->first, shape->second);
      if (!source)
        return source.takeError();
      sources.weights.push_back(std::move(*source));
      continue;
    }
    auto file = Checkpoint::open(input);
    if (!file)
      return file.takeError();
    auto checkpoint = std::make_unique<Checkpoint>(std::move(*file));
    auto inventory = takeInventory(*checkpoint);
    if (!inventory)
      return inventory.takeError();
    sources.files.push_back(std::move(checkpoint));
    sources.inventories.push_back(std::make_unique<Inventory>(std::move(*inventory)));
    auto weights = weightsOf(*sources.inventories.back(), input, choice);
    if (!weights)
      return weights.takeError();
    std::ranges::move(*weights, std::back_inserter(sources.weights));
  }
  return sources;
}

Result<std::vector<float>> bench::valuesOf(const LoadedWeight &loaded) {
  if (auto *floats = std::get_if<FloatWeight>(&loaded))
    return *floats;
  if (auto *affine = std::get_if<AffineWeight>(&loaded))
    return dequantize(*affine);
  return dequantize(std::get<EncodedWeight>(loaded));
}

//===----------------------------------------------------------------------===//
// Encoding
//===----------------------------------------------------------------------===//

/// How floats are quantized for a method; nothing where the source's own codes stay.
static std::optional<QuantizeOptions> quantizerOf(const LoadedWeight &loaded,
                                                  const Method &method,
                                                  const QuantizeOptions &fallback) {
  if (method.quantize)
    return method.quantize;
  auto spelled = Encoding::parse(method.rule.name);
  if (!spelled)
    return std::holds_alternative<FloatWeight>(loaded) ? std::optional(fallback)
                                                       : std::nullopt;
  // Of the same codes only the metadata is encoded anew.
  auto *affine = std::get_if<AffineWeight>(&loaded);
  auto *encoded = std::get_if<EncodedWeight>(&loaded);
  if ((affine && affine->codes == spelled->codes && affine->group == spelled->group) ||
      (encoded && encoded->encoding.codes == spelled->codes &&
       encoded->encoding.group == spelled->group))
    return std::nullopt;
  return QuantizeOptions{spelled->codes, spelled->group, spelled->form};
}

static Result<Selection> selectFor(const LoadedWeight &loaded,
                                   std::span<const float> floats, uint64_t N,
                                   uint64_t K, const Method &method,
                                   const QuantizeOptions &fallback) {
  if (auto options = quantizerOf(loaded, method, fallback)) {
    auto plain = namedEncoding("f32", options->codes, options->group, options->form);
    if (!plain)
      return plain.takeError();
    if (auto fits = plain->verifyShape(N, K); !fits)
      return fits.takeError();
    auto quantized = quantize(floats, N, K, *options);
    return quantized ? select(*quantized, method.rule)
                     : Result<Selection>(quantized.takeError());
  }
  if (auto *affine = std::get_if<AffineWeight>(&loaded))
    return select(*affine, method.rule);
  return select(std::get<EncodedWeight>(loaded), method.rule);
}

Result<Coded> bench::encode(const LoadedWeight &loaded, std::span<const float> floats,
                            uint64_t N, uint64_t K, const Method &method,
                            const QuantizeOptions &fallback) {
  auto selection = selectFor(loaded, floats, N, K, method, fallback);
  if (!selection)
    return selection.takeError();
  double snr = snrOf(floats, selection->weight);
  return Coded{method.text, std::move(selection->weight),
               selection->quality.bitsPerWeight, snr};
}
