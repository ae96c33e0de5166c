//===- Json.h - JSON that is not trusted ------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Reads JSON from files: nesting is limited, a key may come once per object,
// and text must be UTF-8, or it is an error with the offset of the defect.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_FILES_JSON_H
#define QLINEAR_LIB_ENCODING_FILES_JSON_H

#include "qlinear/Encoding/Result.h"

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

namespace qlinear {

struct JsonDocument {
  nlohmann::json value;
  /// Offset in the text just past each key of the outermost object.
  std::map<std::string, size_t, std::less<>> keyOffsets;
};

/// `base` is added to the offsets in messages.
Result<JsonDocument> parseJson(std::string_view text, unsigned maxDepth,
                               size_t base = 0);

/// The member `key` of an object as an unsigned integer, a string, ...; nothing
/// if it is absent or of another kind.
std::optional<uint64_t> jsonUnsigned(const nlohmann::json &object, const char *key);
std::optional<std::string> jsonString(const nlohmann::json &object, const char *key);
std::optional<std::vector<uint64_t>> jsonNumbers(const nlohmann::json &object,
                                                 const char *key);

/// Whether `text` is UTF-8 without NUL.
bool isText(std::string_view text);
/// `text` with each byte that is no part of UTF-8 replaced by its character in Latin-1,
/// and each NUL by U+FFFD.
std::string toText(std::string_view text);
/// `text` as it may stand in a message: quoted, control and non-ASCII bytes
/// escaped, cut after 100 bytes.
std::string inQuotes(std::string_view text);

/// The product of the dimensions; nothing if it passes 2^64.
std::optional<uint64_t> checkedProduct(const std::vector<uint64_t> &dims);
/// "5376x21504".
std::string shapeText(const std::vector<uint64_t> &dims);

} // namespace qlinear
#endif
