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

/// Whether a matrix is a linear layer, by the names that models use: it is no
/// embedding, position or norm.
bool hasLinearName(const std::string &name);

struct Treatment {
  bool pack = false;
  std::string reason; ///< why not
  SelectionRule rule;
  QuantizeOptions quantize;
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

} // namespace qlinear
#endif
