//===- Files.h - Weight files made by hand ----------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_ARCHIVE_FILES_H
#define QLINEAR_UNITTESTS_ARCHIVE_FILES_H

#include "qlinear/Encoding/Packer.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <random>

namespace qlinear::test {

/// A directory that lives as long as the test.
class TemporaryDirectory {
public:
  TemporaryDirectory() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "qlinear-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string &name) const { return path / name; }
  /// Names of what is in it.
  std::vector<std::string> list() const {
    std::vector<std::string> out;
    for (const auto &e : std::filesystem::directory_iterator(path))
      out.push_back(e.path().filename().string());
    return out;
  }
  std::filesystem::path path;
};

inline void writeFile(const std::string &path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}
inline std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Little-endian fields one after the other.
class Bytes {
public:
  std::string text;
  template <typename T> Bytes &put(T v) {
    text.append(reinterpret_cast<const char *>(&v), sizeof v);
    return *this;
  }
  Bytes &string(std::string_view s) {
    put(uint64_t(s.size()));
    text += s;
    return *this;
  }
};

struct GgufTensor {
  std::string name;
  uint32_t type;
  std::vector<uint64_t> dims; ///< innermost first
  std::string data;
};

/// A GGUF v3 file; `pairs` are key-values ready made.
inline std::string makeGguf(const std::vector<GgufTensor> &tensors,
                            const std::vector<std::string> &pairs = {},
                            uint64_t alignment = 32) {
  Bytes out;
  out.text = "GGUF";
  out.put(uint32_t(3)).put(uint64_t(tensors.size())).put(uint64_t(pairs.size()));
  for (const std::string &p : pairs)
    out.text += p;
  auto align = [&](uint64_t n) { return (n + alignment - 1) / alignment * alignment; };
  uint64_t offset = 0;
  for (const GgufTensor &t : tensors) {
    out.string(t.name).put(uint32_t(t.dims.size()));
    for (uint64_t d : t.dims)
      out.put(d);
    out.put(t.type).put(offset);
    offset += align(t.data.size());
  }
  for (const GgufTensor &t : tensors) {
    out.text.resize(align(out.text.size()));
    out.text += t.data;
  }
  return out.text;
}
inline std::string pairU32(std::string_view key, uint32_t value) {
  return Bytes().string(key).put(uint32_t(4)).put(value).text;
}
inline std::string pairString(std::string_view key, std::string_view value) {
  return Bytes().string(key).put(uint32_t(8)).string(value).text;
}

/// Blocks of random bits whose f16 floats (at `floats`) are finite.
inline std::string randomBlocks(uint64_t blocks, size_t bytes,
                                std::initializer_list<size_t> floats,
                                std::mt19937_64 &rng) {
  std::string out(blocks * bytes, '\0');
  for (char &c : out)
    c = char(rng());
  for (uint64_t b = 0; b < blocks; ++b)
    for (size_t at : floats)
      out[b * bytes + at + 1] &= char(0xBB); // exponent below 11111
  return out;
}

/// A safetensors file from its header's text.
inline std::string makeSafetensors(std::string_view header, std::string_view data) {
  Bytes out;
  out.string(header);
  out.text += data;
  return out.text;
}

/// Everything that can be read of a file; true if all of it could.
inline bool readAll(const std::string &path) {
  auto checkpoint = Checkpoint::open(path);
  if (!checkpoint)
    return false;
  auto inventory = takeInventory(*checkpoint);
  if (!inventory)
    return false;
  for (const SourceWeight &w : inventory->weights)
    if (auto loaded = w.load(); !loaded)
      return false;
  return true;
}

/// The message of the error with which opening fails; "" if it does not fail.
inline std::string openError(const std::string &path, const std::string &bytes) {
  writeFile(path, bytes);
  auto r = Checkpoint::open(path);
  return r ? "" : r.error();
}

} // namespace qlinear::test
#endif
