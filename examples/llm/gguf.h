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
    if (left < 24 || get<uint32_t>() != 0x46554747) // "GGUF"
      fail("it does not begin with GGUF");
    if (auto version = get<uint32_t>(); version != 2 && version != 3)
      fail("its version is " + std::to_string(version) + "; 2 and 3 are read");
    get<uint64_t>(); // how many tensors
    auto keys = nlohmann::json::object();
    for (auto count = get<uint64_t>(); count > 0; --count) {
      std::string key = get<std::string>();
      keys[key] = value(get<uint32_t>());
    }
    return keys;
  }

private:
  nlohmann::json value(uint32_t type) {
    using R = GgufReader;
    static constexpr nlohmann::json (R::*kReaders[])() = {
        &R::json<uint8_t>,     &R::json<int8_t>,  &R::json<uint16_t>, &R::json<int16_t>,
        &R::json<uint32_t>,    &R::json<int32_t>, &R::json<float>,    &R::json<bool>,
        &R::json<std::string>, &R::array,         &R::json<uint64_t>, &R::json<int64_t>,
        &R::json<double>};
    if (type >= std::size(kReaders))
      fail("it has a value of type " + std::to_string(type));
    return (this->*kReaders[type])();
  }

  nlohmann::json array() {
    nlohmann::json::array_t values;
    auto element = get<uint32_t>();
    auto count = get<uint64_t>();
    if (element == 9 || count > left) // arrays in arrays; an element is a byte at least
      fail("it has an array of " + std::to_string(count) + " values");
    values.reserve(count);
    while (values.size() < count)
      values.push_back(value(element));
    return values;
  }

  template <typename T> nlohmann::json json() { return get<T>(); }

  template <typename T> T get() {
    T value{};
    if constexpr (std::is_same_v<T, bool>) {
      value = get<uint8_t>() != 0;
    } else if constexpr (std::is_same_v<T, std::string>) {
      auto size = get<uint64_t>();
      value.resize(size <= left ? size : 0);
      read(value.data(), size);
    } else {
      read(reinterpret_cast<char *>(&value), sizeof value);
    }
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
