//===- PackRules.cpp - Which weight is treated how ------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "PackRules.h"

using namespace qlinear;

bool qlinear::hasLinearName(const std::string &name) {
  static const std::regex others("embed|embd|norm|\\bw[tp]e\\b|position",
                                 std::regex::ECMAScript | std::regex::icase);
  return !std::regex_search(name, others);
}

Result<PackRules> PackRules::compile(const PackOptions &options) {
  PackRules out;
  out.options = &options;
  auto add = [](std::vector<Pattern> &to, const std::string &text) -> Result<void> {
    auto pattern = Pattern::compile(text);
    if (!pattern)
      return pattern.takeError();
    to.push_back(std::move(*pattern));
    return {};
  };
  for (const auto &o : options.rules)
    if (auto r = add(out.rules, o.pattern); !r)
      return r.takeError();
  for (const auto &o : options.quantizers)
    if (auto r = add(out.quantizers, o.pattern); !r)
      return r.takeError();
  for (const auto &text : options.include)
    if (auto r = add(out.include, text); !r)
      return r.takeError();
  for (const auto &text : options.exclude)
    if (auto r = add(out.exclude, text); !r)
      return r.takeError();
  return out;
}

Result<Treatment> PackRules::treat(const SourceWeight &w) const {
  Treatment t;
  auto carry = [&](std::string reason) {
    t.reason = std::move(reason);
    return t;
  };
  t.rule = options->rule;
  for (size_t i = 0; i < rules.size(); ++i)
    if (rules[i].finds(w.name)) {
      t.rule = options->rules[i].value;
      break;
    }
  if (anyFinds(exclude, w.name))
    return carry("excluded");
  bool named = anyFinds(include, w.name);
  if (!include.empty() && !named)
    return carry("not included");
  if (!w.foreign.empty())
    return carry(w.foreign);
  if (!w.defect.empty())
    return error(w.defect + " (--exclude carries it over as it is)");
  if (w.N == 0 || w.K == 0)
    return carry("empty");
  const QuantizeOptions *quantize = options->quantize ? &*options->quantize : nullptr;
  for (size_t i = 0; i < quantizers.size(); ++i)
    if (quantizers[i].finds(w.name)) {
      quantize = &options->quantizers[i].value;
      named = true;
      break;
    }
  if (w.isFloat) {
    if (!quantize)
      return carry("float weight; --quantize packs it");
    if (!named && !w.name.ends_with(".weight"))
      return carry("float, and its name does not end in '.weight'; --include packs it");
    if (!named && !hasLinearName(w.name))
      return carry("float embedding, position or norm by its name; --include packs it");
    if (!w.doubt.empty() && named)
      return error(fmt::format("tensor {}: {}", inQuotes(w.name), w.doubt));
    if (!w.doubt.empty())
      return carry(w.doubt);
  }
  if (quantize && (w.isFloat || options->requantize)) {
    auto plain =
        namedEncoding("bf16", quantize->codes, quantize->group, quantize->form);
    if (!plain)
      return plain.takeError();
    if (auto r = plain->verifyShape(w.N, w.K); !r) {
      if (named || !w.isFloat)
        return error(fmt::format("tensor {}: {}", inQuotes(w.name), r.error()));
      return carry(r.error());
    }
    t.quantize = *quantize;
  }
  t.pack = true;
  return t;
}

Result<std::optional<FloatWeight>>
qlinear::valuesToQuantize(LoadedWeight &loaded, const Treatment &treatment) {
  if (auto *floats = std::get_if<FloatWeight>(&loaded))
    return std::optional(std::move(*floats));
  if (!treatment.quantize)
    return std::optional<FloatWeight>();
  auto *affine = std::get_if<AffineWeight>(&loaded);
  auto values =
      affine ? dequantize(*affine) : dequantize(std::get<EncodedWeight>(loaded));
  if (!values)
    return values.takeError();
  return std::optional(std::move(*values));
}

Result<Selection> qlinear::selectFor(const SourceWeight &w, LoadedWeight &loaded,
                                     const std::optional<FloatWeight> &floats,
                                     const Treatment &treatment) {
  if (floats) {
    auto quantized = quantize(*floats, w.N, w.K, *treatment.quantize);
    if (!quantized)
      return quantized.takeError();
    return select(*quantized, treatment.rule);
  }
  if (auto *native = std::get_if<EncodedWeight>(&loaded))
    return select(*native, treatment.rule);
  return select(std::get<AffineWeight>(loaded), treatment.rule);
}
