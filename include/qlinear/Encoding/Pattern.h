//===- Pattern.h - Regular expressions of names -----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_PATTERN_H
#define QLINEAR_ENCODING_PATTERN_H

#include "qlinear/Encoding/Result.h"

#include <memory>
#include <string>

namespace qlinear {

/// Names that a regular expression finds, in ECMAScript's dialect: the one in which
/// rules of tools and passes are written.
class Pattern {
public:
  /// Fails, saying why, if `text` is no such expression.
  static Result<Pattern> compile(const std::string &text);
  /// Whether it matches a part of `name`.
  bool finds(const std::string &name) const;

private:
  Pattern() = default;

  struct Expression;
  std::shared_ptr<const Expression> expression;
};

} // namespace qlinear
#endif
