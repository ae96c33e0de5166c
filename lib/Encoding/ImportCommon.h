//===- ImportCommon.h - What importers share --------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_IMPORTCOMMON_H
#define QLINEAR_LIB_ENCODING_IMPORTCOMMON_H

#include "Importers.h"
#include "Json.h"

#include <fmt/core.h>
#include <optional>

namespace qlinear {

/// Integers of `bits` bits packed into 32-bit words, lowest bits first.
struct PackedWords {
  std::span<const std::byte> bytes;
  unsigned bits;

  unsigned perWord() const { return 32 / bits; }
  uint32_t word(uint64_t index) const {
    uint32_t w;
    __builtin_memcpy(&w, bytes.data() + 4 * index, 4);
    return w;
  }
  /// Integer `index` of a run of words.
  uint32_t at(uint64_t index) const {
    return word(index / perWord()) >> (index % perWord() * bits) & ((1u << bits) - 1);
  }
};

/// The tensors of one weight of a convention, checked as they are asked for.
class Parts {
public:
  Parts(const Checkpoint &checkpoint, std::string prefix)
      : checkpoint(checkpoint), prefix(std::move(prefix)) {}

  const Tensor *find(std::string_view suffix) const {
    return checkpoint.find(prefix + std::string(suffix));
  }
  /// The weight's name in the archive.
  std::string name() const { return prefix + ".weight"; }
  Error bad(std::string_view what) const {
    return error(fmt::format("weight {}: {}", inQuotes(prefix), what));
  }

private:
  const Checkpoint &checkpoint;
  std::string prefix;
};

/// Prefixes X of tensors named X + suffix, in file order.
std::vector<std::string> prefixesOf(const ImportContext &context,
                                    std::string_view suffix);

bool isMatrix(const Tensor *t, uint64_t rows, uint64_t columns);
bool isInt32(const Tensor *t);
bool isFloat(const Tensor *t);

/// The group of K columns in G groups as `Encoding` has it; nothing if it has no
/// such group.
std::optional<unsigned> groupOf(uint64_t K, uint64_t G);

/// "AWQ u4:128".
std::string formatName(std::string_view convention, CodeType codes, unsigned group);

/// Adds a weight that `load` decodes.
void addAffine(ImportContext &context, const Parts &parts, std::string format,
               uint64_t N, uint64_t K, std::vector<const Tensor *> tensors,
               std::function<Result<AffineWeight>()> load);

} // namespace qlinear
#endif
