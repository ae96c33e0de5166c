//===- CheckpointFuzzer.cpp - Weight files that lie -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The bytes are a config.json, a zero byte, and a weight file (GGUF, safetensors, a
// packed archive). It is opened, every weight is decoded, and all of it is packed and
// dequantized. Any outcome but a crash, a sanitizer's report or much memory is fine,
// except that what was packed has to be an archive whose checksums are right.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Packer.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <unistd.h>

using namespace qlinear;

namespace {

/// A folder in memory, if there is one, that goes with the process.
struct Folder {
  std::filesystem::path path;
  Folder() {
    const char *shared = "/dev/shm";
    std::string pattern =
        (access(shared, W_OK) == 0 ? std::filesystem::path(shared)
                                   : std::filesystem::temp_directory_path()) /
        "qlinear-fuzz-XXXXXX";
    if (!mkdtemp(pattern.data()))
      abort();
    path = pattern;
  }
  ~Folder() {
    std::error_code ec;
    std::filesystem::remove_all(path, ec);
  }
};

void put(const std::filesystem::path &path, std::string_view bytes) {
  FILE *file = fopen(path.c_str(), "wb");
  if (!file || fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size())
    abort();
  fclose(file);
}

PackOptions optionsFor(size_t size) {
  PackOptions options;
  const char *names[] = {"auto", "lossless", "row-u8", "block-u8", "bf16", "f32"};
  options.rule.name = names[size % std::size(names)];
  const char *quantizers[] = {"int4:32", "int8:row", "int6:16:symmetric"};
  options.quantize = *parseQuantize(quantizers[size % std::size(quantizers)]);
  options.quantize->search = size % 2;
  return options;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static Folder folder;
  std::string_view bytes(reinterpret_cast<const char *>(data), size);
  size_t zero = bytes.find('\0');
  if (zero == bytes.npos)
    return 0;
  std::filesystem::path config = folder.path / "config.json";
  std::error_code ec;
  if (zero)
    put(config, bytes.substr(0, zero));
  else
    std::filesystem::remove(config, ec);
  std::string source = folder.path / "model.safetensors",
              packed = folder.path / "packed";
  put(source, bytes.substr(zero + 1));

  auto checkpoint = Checkpoint::open(source);
  if (!checkpoint)
    return 0;
  auto inventory = takeInventory(*checkpoint);
  if (!inventory)
    return 0;
  uint64_t weights = 0;
  for (const SourceWeight &w : inventory->weights) {
    uint64_t product;
    if (__builtin_mul_overflow(w.N, w.K, &product) ||
        __builtin_add_overflow(weights, product, &weights) || weights > 1 << 20)
      return 0;
    (void)w.load();
  }
  (void)dequantizeTo("BF16", *checkpoint, *inventory, packed, {});
  if (!packArchive(*checkpoint, *inventory, packed, optionsFor(size)))
    return 0;
  auto back = Checkpoint::open(packed);
  if (!back)
    abort();
  if (!back->metadata().contains("qlinear"))
    return 0; // nothing in it was a weight
  auto archive = Archive::open(std::move(*back));
  if (!archive)
    abort();
  for (const auto &[name, weight] : archive->weights())
    if (!weight.verify())
      abort();
  return 0;
}
