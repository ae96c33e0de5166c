//===- Json.cpp - JSON that is not trusted --------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Json.h"

#include "qlinear/Encoding/JsonDepth.h"

#include <fmt/core.h>

using namespace qlinear;
using nlohmann::json;

namespace {

/// Walks text and tells how far the parser has read.
struct CountingIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char *;
  using reference = const char &;

  const char *at;
  const char **read;
  reference operator*() const { return *at; }
  CountingIterator &operator++() {
    *read = ++at;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const CountingIterator &o) const { return at == o.at; }
};

/// Builds a document, or stops with `message`.
class Builder : public nlohmann::json_sax<json> {
public:
  Builder(std::string_view text, unsigned maxDepth, size_t base)
      : begin(text.data()), read(text.data()), maxDepth(maxDepth), base(base) {}

  const char *begin, *read;
  JsonDocument document;
  std::string message;

  bool null() override { return put(nullptr); }
  bool boolean(bool v) override { return put(v); }
  bool number_integer(number_integer_t v) override { return put(v); }
  bool number_unsigned(number_unsigned_t v) override { return put(v); }
  bool number_float(number_float_t v, const string_t &) override { return put(v); }
  bool string(string_t &v) override { return put(std::move(v)); }
  bool binary(binary_t &v) override { return put(std::move(v)); }
  bool start_object(size_t) override { return open(json::object()); }
  bool start_array(size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t &k) override {
    auto [at, isNew] = stack.back()->emplace(k, nullptr);
    if (!isNew)
      return fail(fmt::format("key {} comes twice", inQuotes(k)));
    if (stack.size() == 1)
      document.keyOffsets.emplace(k, offset());
    member = &*at;
    return true;
  }
  bool parse_error(size_t, const std::string &,
                   const nlohmann::detail::exception &e) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string_view what = e.what();
    size_t colon = what.find(": ");
    if (colon != what.npos)
      what.remove_prefix(colon + 2);
    return fail(fmt::format("not JSON: {}", what));
  }

private:
  std::vector<json *> stack;
  json *member = nullptr;
  unsigned maxDepth;
  size_t base;

  size_t offset() const { return base + size_t(read - begin); }
  bool fail(std::string text) {
    if (message.empty())
      message = fmt::format("{} (at offset {})", text, offset());
    return false;
  }
  json *place(json v) {
    if (stack.empty())
      return &(document.value = std::move(v));
    if (stack.back()->is_array())
      return &stack.back()->emplace_back(std::move(v));
    *member = std::move(v);
    return member;
  }
  bool put(json v) {
    place(std::move(v));
    return true;
  }
  bool open(json v) {
    if (stack.size() >= maxDepth)
      return fail(fmt::format("nested deeper than {} levels", maxDepth));
    stack.push_back(place(std::move(v)));
    return true;
  }
  bool close() {
    stack.pop_back();
    return true;
  }
};

} // namespace

Result<JsonDocument> qlinear::parseJson(std::string_view text, unsigned maxDepth,
                                        size_t base) {
  Builder builder(text, maxDepth, base);
  CountingIterator first{text.data(), &builder.read};
  CountingIterator last{text.data() + text.size(), &builder.read};
  if (!json::sax_parse(first, last, &builder))
    return error(builder.message.empty() ? "not JSON" : builder.message);
  return std::move(builder.document);
}

std::optional<uint64_t> qlinear::jsonUnsigned(const json &object, const char *key) {
  auto at = object.find(key);
  if (at == object.end() || !at->is_number_unsigned())
    return std::nullopt;
  return at->get<uint64_t>();
}

std::optional<std::string> qlinear::jsonString(const json &object, const char *key) {
  auto at = object.find(key);
  if (at == object.end() || !at->is_string())
    return std::nullopt;
  return at->get<std::string>();
}

std::optional<std::vector<uint64_t>> qlinear::jsonNumbers(const json &object,
                                                          const char *key) {
  auto at = object.find(key);
  if (at == object.end() || !at->is_array())
    return std::nullopt;
  std::vector<uint64_t> out;
  for (const json &v : *at) {
    if (!v.is_number_unsigned())
      return std::nullopt;
    out.push_back(v.get<uint64_t>());
  }
  return out;
}

/// Bytes of the character that `text` begins with; 0 if it is not UTF-8, or NUL.
static size_t characterLength(std::string_view text) {
  auto byte = [&](size_t j) { return j < text.size() ? uint8_t(text[j]) : uint8_t(0); };
  uint8_t b = byte(0);
  unsigned length = b < 0x80   ? 1
                    : b < 0xC2 ? 0
                    : b < 0xE0 ? 2
                    : b < 0xF0 ? 3
                    : b < 0xF5 ? 4
                               : 0;
  if (b == 0 || length == 0)
    return 0;
  uint32_t point = length == 1 ? b : b & (0x7F >> length);
  for (unsigned j = 1; j < length; ++j) {
    if ((byte(j) & 0xC0) != 0x80)
      return 0;
    point = point << 6 | (byte(j) & 0x3F);
  }
  // Overlong forms, surrogates, past the last plane.
  if ((length == 3 && point < 0x800) || (length == 4 && point < 0x10000) ||
      (point >= 0xD800 && point < 0xE000) || point > 0x10FFFF)
    return 0;
  return length;
}

bool qlinear::isText(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    size_t length = characterLength(text.substr(i));
    if (!length)
      return false;
    i += length;
  }
  return true;
}

std::string qlinear::toText(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (size_t length = characterLength(text.substr(i))) {
      out += text.substr(i, length);
      i += length;
      continue;
    }
    auto byte = uint8_t(text[i++]);
    if (byte == 0)
      out += "\xEF\xBF\xBD";
    else
      out += {char(0xC0 | byte >> 6), char(0x80 | (byte & 0x3F))};
  }
  return out;
}

Result<void> qlinear::checkJsonDepth(std::string_view text, unsigned most) {
  unsigned depth = 0;
  bool inString = false;
  for (size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    if (c == '"')
      inString = !inString;
    else if (inString)
      at += c == '\\'; // and what it escapes
    else if (c == '[' || c == '{') {
      if (++depth > most)
        return error(fmt::format("nests more than {} deep at offset {}", most, at));
    } else if ((c == ']' || c == '}') && depth)
      --depth;
  }
  return {};
}

std::string qlinear::inQuotes(std::string_view text) {
  std::string out = "'";
  for (unsigned char c : text.substr(0, 100)) {
    if (c < 0x20 || c >= 0x7F)
      out += fmt::format("\\x{:02x}", c);
    else
      out += char(c);
  }
  return out + (text.size() > 100 ? "...'" : "'");
}

std::optional<uint64_t> qlinear::checkedProduct(const std::vector<uint64_t> &dims) {
  uint64_t product = 1;
  for (uint64_t d : dims)
    if (__builtin_mul_overflow(product, d, &product))
      return std::nullopt;
  return product;
}

std::string qlinear::shapeText(const std::vector<uint64_t> &dims) {
  std::string out;
  for (uint64_t d : dims)
    out += (out.empty() ? "" : "x") + std::to_string(d);
  return out.empty() ? "scalar" : out;
}
