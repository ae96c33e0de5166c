//===- gguf.cpp - What a GGUF file says of its model ----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "gguf.h"

#include <cstdint>
#include <filesystem>
#include <fstream>

using nlohmann::json;

namespace {

/// Reads one field after the other. A length that the file says is checked against what
/// is left of it, before there is memory for it.
class Reader {
public:
  explicit Reader(const std::string &path)
      : path(path), file(path, std::ios::binary) {
    std::error_code error;
    left = std::filesystem::file_size(path, error);
    if (!file || error)
      throw std::runtime_error("cannot read '" + path + "'");
  }

  template <typename T> T number() {
    T value;
    read(reinterpret_cast<char *>(&value), sizeof value);
    return value;
  }

  std::string text() {
    auto size = number<uint64_t>();
    require(size);
    std::string value(size, '\0');
    read(value.data(), size);
    return value;
  }

  json value(uint32_t type) {
    switch (type) {
    case 0: return number<uint8_t>();
    case 1: return number<int8_t>();
    case 2: return number<uint16_t>();
    case 3: return number<int16_t>();
    case 4: return number<uint32_t>();
    case 5: return number<int32_t>();
    case 6: return number<float>();
    case 7: return number<uint8_t>() != 0;
    case 8: return text();
    case 9: return array();
    case 10: return number<uint64_t>();
    case 11: return number<int64_t>();
    case 12: return number<double>();
    default: fail("a value of type " + std::to_string(type) + ", which GGUF has not");
    }
  }

  [[noreturn]] void fail(const std::string &what) {
    throw std::runtime_error("'" + path + "' is not a whole GGUF file: " + what);
  }

private:
  json array() {
    auto type = number<uint32_t>();
    auto count = number<uint64_t>();
    require(count); // an element is a byte at least
    if (type == 9)
      fail("an array of arrays");
    json::array_t values;
    values.reserve(count);
    for (uint64_t i = 0; i < count; ++i)
      values.push_back(value(type));
    return values;
  }

  void read(char *to, uint64_t bytes) {
    require(bytes);
    file.read(to, std::streamsize(bytes));
    left -= bytes;
  }

  void require(uint64_t bytes) {
    if (bytes > left)
      fail("a field of " + std::to_string(bytes) + " bytes, and " +
           std::to_string(left) + " are left");
  }

  std::string path;
  std::ifstream file;
  uint64_t left;
};

} // namespace

json readGguf(const std::string &path) {
  Reader reader(path);
  if (reader.number<uint32_t>() != 0x46554747) // "GGUF"
    reader.fail("it does not begin with GGUF");
  if (auto version = reader.number<uint32_t>(); version != 2 && version != 3)
    reader.fail("version " + std::to_string(version) + "; 2 and 3 are read");
  reader.number<uint64_t>(); // tensors
  json keys = json::object();
  for (auto count = reader.number<uint64_t>(); count > 0; --count) {
    std::string key = reader.text();
    keys[key] = reader.value(reader.number<uint32_t>());
  }
  return keys;
}
