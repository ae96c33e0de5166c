//===- Suggest.h - What a misspelled word may have meant --------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_SUPPORT_SUGGEST_H
#define QLINEAR_SUPPORT_SUGGEST_H

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace qlinear {

/// Characters to insert, remove or replace, to make one word of the other
/// (Levenshtein's distance).
inline size_t editDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

/// "; did you mean 'row-u8'?", of the known word that is nearest; nothing where none is
/// near: a third of its characters differ.
inline std::string didYouMean(std::string_view word,
                              const std::vector<std::string> &known) {
  const std::string *best = nullptr;
  size_t least = 0;
  for (const std::string &candidate : known)
    if (size_t distance = editDistance(word, candidate); !best || distance < least) {
      best = &candidate;
      least = distance;
    }
  if (!best || word.empty() || 3 * least > best->size())
    return "";
  return "; did you mean '" + *best + "'?";
}

} // namespace qlinear
#endif
