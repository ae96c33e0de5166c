//===- Pattern.cpp - Regular expressions of names -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Pattern.h"

#include "../Files/Json.h"

#include <fmt/core.h>
#include <regex>

namespace qlinear {

struct Pattern::Expression {
  std::regex regex;
};

Result<Pattern> Pattern::compile(const std::string &text) {
  try {
    Pattern pattern;
    pattern.expression = std::make_shared<const Expression>(
        Expression{std::regex(text, std::regex::ECMAScript | std::regex::optimize)});
    return pattern;
  } catch (const std::regex_error &e) {
    return error(
        fmt::format("{} is not a regular expression: {}", inQuotes(text), e.what()));
  }
}

bool Pattern::finds(const std::string &name) const {
  return std::regex_search(name, expression->regex);
}

} // namespace qlinear
