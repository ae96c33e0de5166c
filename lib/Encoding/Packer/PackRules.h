//===- PackRules.h - Which weight is treated how ----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_PACKER_PACKRULES_H
#define QLINEAR_LIB_ENCODING_PACKER_PACKRULES_H

#include "../Files/Json.h"
#include "qlinear/Encoding/Packer.h"
#include "qlinear/Encoding/Pattern.h"

#include <algorithm>
#include <fmt/core.h>
#include <regex>

namespace qlinear {

struct Treatment {
  bool pack = false;
  std::string reason; ///< why not
  SelectionRule rule;
  /// Its floats are quantized so, or its values anew.
  std::optional<QuantizeOptions> quantize;
};

/// PackOptions with its expressions compiled.
class PackRules {
public:
  static Result<PackRules> compile(const PackOptions &options);
  Result<Treatment> treat(const SourceWeight &weight) const;

private:
  const PackOptions *options = nullptr;
  std::vector<Pattern> rules, quantizers, include, exclude;

  static bool anyFinds(const std::vector<Pattern> &patterns, const std::string &name) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const Pattern &p) { return p.finds(name); });
  }
};

/// The values that are quantized here; nothing where the source's codes stay.
Result<std::optional<FloatWeight>> valuesToQuantize(LoadedWeight &loaded,
                                                    const Treatment &treatment);

/// The encoding of a weight; `floats` are what valuesToQuantize() said.
Result<Selection> selectFor(const SourceWeight &weight, LoadedWeight &loaded,
                            const std::optional<FloatWeight> &floats,
                            const Treatment &treatment);

} // namespace qlinear
#endif
