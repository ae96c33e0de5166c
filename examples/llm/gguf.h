//===- gguf.h - What a GGUF file says of its model --------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_EXAMPLES_LLM_GGUF_H
#define QLINEAR_EXAMPLES_LLM_GGUF_H

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

/// Reads the keys of a GGUF file with their values: sizes of the model, its vocabulary.
/// Tensors are left out: quant-pack has packed them. A length that the file says is
/// checked against what is left of it, before there is memory for it.
class GgufReader {
public:
  explicit GgufReader(const std::string &path)
      : path(path), file(path, std::ios::binary) {
    std::error_code error;
    left = std::filesystem::file_size(path, error);
    if (!file || error)
      throw std::runtime_error("cannot read '" + path + "'");
  }

  nlohmann::json keys() {
    if (left < 24 || number<uint32_t>() != 0x46554747) // "GGUF"
      fail("it does not begin with GGUF");
    if (auto version = number<uint32_t>(); version != 2 && version != 3)
      fail("its version is " + std::to_string(version) + "; 2 and 3 are read");
    number<uint64_t>(); // how many tensors
    auto keys = nlohmann::json::object();
    for (auto count = number<uint64_t>(); count > 0; --count) {
      std::string key = text();
      keys[key] = value(number<uint32_t>());
    }
    return keys;
  }

private:
  nlohmann::json value(uint32_t type) {
    switch (type) {
    case 0:
      return number<uint8_t>();
    case 1:
      return number<int8_t>();
    case 2:
      return number<uint16_t>();
    case 3:
      return number<int16_t>();
    case 4:
      return number<uint32_t>();
    case 5:
      return number<int32_t>();
    case 6:
      return number<float>();
    case 7:
      return number<uint8_t>() != 0;
    case 8:
      return text();
    case 10:
      return number<uint64_t>();
    case 11:
      return number<int64_t>();
    case 12:
      return number<double>();
    }
    if (type != 9)
      fail("it has a value of type " + std::to_string(type));
    nlohmann::json::array_t values;
    auto element = number<uint32_t>();
    auto count = number<uint64_t>();
    if (element == 9 || count > left) // an element is a byte at least
      fail("it has an array of " + std::to_string(count) + " values");
    values.reserve(count);
    while (values.size() < count)
      values.push_back(value(element));
    return values;
  }

  template <typename T> T number() {
    T value{};
    read(reinterpret_cast<char *>(&value), sizeof value);
    return value;
  }

  std::string text() {
    auto size = number<uint64_t>();
    std::string value(size <= left ? size : 0, '\0');
    read(value.data(), size);
    return value;
  }

  void read(char *to, uint64_t bytes) {
    if (bytes > left)
      fail("it ends within a value");
    file.read(to, std::streamsize(bytes));
    left -= bytes;
  }

  [[noreturn]] void fail(const std::string &what) {
    throw std::runtime_error("cannot read '" + path + "' as GGUF: " + what);
  }

  std::string path;
  std::ifstream file;
  uint64_t left;
};

#endif
