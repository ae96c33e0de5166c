//===- Archive.h - Weight files: GGUF, safetensors, packed ------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Readers map the file and never trust it: every length, offset and count is
// checked against the file's size before it is used, and a defect is an error
// that names the field and its offset in the file.
//
// A packed archive is a safetensors file. Each quantized weight is one U8
// tensor (its blob, as Layout.h says) under the weight's own name, 128-byte
// aligned in the file; the key "qlinear" of __metadata__ holds a JSON object
//   {"version": 1, "weights": {NAME: {"encoding": SPELLING, "n": N, "k": K,
//    "source": "Q4_K"}}}
// Tensors that are not quantized are carried over as they are.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_ARCHIVE_H
#define QLINEAR_ENCODING_ARCHIVE_H

#include "qlinear/Encoding/Codec.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>

namespace qlinear {

/// A read-only mapping of a file.
class MappedFile {
public:
  static Result<std::shared_ptr<MappedFile>> open(const std::string &path);
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {data, size}; }
  const std::string &path() const { return name; }
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

private:
  MappedFile() = default;
  std::string name;
  const std::byte *data = nullptr;
  size_t size = 0;
};

/// A tensor of a file; `bytes` lies in the mapping, which `Checkpoint` keeps.
struct Tensor {
  std::string name;
  std::string type;            ///< safetensors' or GGUF's own name: "BF16", "Q4_K"
  std::vector<uint64_t> shape; ///< outermost first: a linear weight is {N, K}
  std::span<const std::byte> bytes;
};

/// A GGUF v3 or safetensors file (by its content, not its name).
class Checkpoint {
public:
  static Result<Checkpoint> open(const std::string &path);
  bool isGguf() const { return gguf; }
  const std::vector<Tensor> &tensors() const { return list; }
  const Tensor *find(std::string_view name) const;
  /// safetensors' __metadata__; GGUF's scalar key-values as text.
  const std::map<std::string, std::string> &metadata() const { return meta; }

private:
  friend Result<Checkpoint> readGguf(std::shared_ptr<MappedFile>);
  friend Result<Checkpoint> readSafetensors(std::shared_ptr<MappedFile>);
  bool gguf = false;
  std::shared_ptr<MappedFile> file;
  std::vector<Tensor> list;
  std::map<std::string, std::string> meta;
};

/// A GGUF tensor of type Q4_0 ... Q6_K as its native encoding, bit-exact.
Result<EncodedWeight> decodeGguf(const Tensor &tensor);
/// Whether decodeGguf knows this type.
bool isGgufQuantized(std::string_view type);
/// F32, F16 or BF16 tensor as floats.
Result<std::vector<float>> toFloats(const Tensor &tensor);

/// A weight of a packed archive.
struct PackedWeight {
  std::string name, source;
  Encoding encoding;
  uint64_t N = 0, K = 0;
  std::span<const std::byte> blob;
};

/// A packed archive, mapped.
class Archive {
public:
  static Result<Archive> open(const std::string &path);
  const std::map<std::string, PackedWeight> &weights() const { return packed; }
  const Checkpoint &checkpoint() const { return file; }

private:
  Checkpoint file;
  std::map<std::string, PackedWeight> packed;
};

/// Writes a safetensors file: beside the target first, then renamed, so that a
/// failure leaves what was there. All headers are known before the first byte
/// is produced; the data of each tensor is produced when its turn comes.
struct PendingTensor {
  std::string name, type;
  std::vector<uint64_t> shape;
  uint64_t bytes = 0;
  std::function<Result<void>(std::span<std::byte>)> produce;
};
Result<void> writeSafetensors(const std::string &path,
                              const std::vector<PendingTensor> &tensors,
                              const std::map<std::string, std::string> &metadata);

} // namespace qlinear
#endif
