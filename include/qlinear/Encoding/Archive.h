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
//   {"version": 2,
//    "weights": {NAME: {"encoding": SPELLING, "n": N, "k": K, "source": "Q4_K",
//                       "xxh3": CHECKSUM}},
//    "carried": {NAME: {"type": "IQ3_S", "shape": [N, K]}},
//    "model": {"architecture": "llama", "names": "gguf", "heads": 32, "kv_heads": 8}}
// The checksum (Checksum.h) is of the blob; archives of before it have none.
// Tensors that are not quantized are carried over as they are; where safetensors
// has no such type ("carried") as the U8 bytes of their blocks. So are GGUF's key-values:
// scalars are texts of __metadata__, arrays ("array[string]") U8 tensors. An archive of GGUF has
// "model", and where transformers names a weight otherwise, "hf" of the weight; where
// its rows are in llama.cpp's order for rotary embeddings, "permuted", the number of
// heads (docs/quant-pack.md).
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_ARCHIVE_H
#define QLINEAR_ENCODING_ARCHIVE_H

#include "qlinear/Encoding/Codec.h"
#include "qlinear/Encoding/OutputFile.h"

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
  /// Gives the memory of these bytes back to the system; they are read again
  /// from the file when they are needed.
  void release(std::span<const std::byte> part) const;
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
  uint64_t offset = 0; ///< of `bytes` in its file, for messages
};

/// The tensors of a GGUF file (version 2 or 3), a safetensors file (by its content, not
/// its name), of all parts of a split GGUF, or of the shards of a
/// `*.safetensors.index.json`. A directory stands for the model.safetensors or
/// the index in it.
class Checkpoint {
public:
  static Result<Checkpoint> open(const std::string &path);
  bool isGguf() const { return gguf; }
  /// The version of the GGUF format.
  uint32_t ggufVersion() const { return version; }
  /// In the order of their data; shards in the order of their names.
  const std::vector<Tensor> &tensors() const { return list; }
  const Tensor *find(std::string_view name) const;
  /// The tensors whose names start with `prefix`, in the order of their names.
  std::vector<const Tensor *> startingWith(std::string_view prefix) const;
  /// safetensors' __metadata__; GGUF's scalar key-values as text.
  const std::map<std::string, std::string> &metadata() const { return meta; }
  /// GGUF's key-values that are arrays, by their keys: `type` is "array[string]", the
  /// shape their number of elements, and `bytes` the value as GGUF has it: the number of
  /// the elements' type (u32), their count (u64), the elements.
  const std::vector<Tensor> &arrays() const { return valueArrays; }
  /// The files that are mapped: more than one for shards.
  const std::vector<std::shared_ptr<MappedFile>> &files() const { return mapped; }
  /// Texts of the files beside a safetensors checkpoint in which quantizers describe
  /// their work, by name: "config.json", "quantize_config.json", ...
  const std::map<std::string, std::string> &configs() const { return beside; }
  /// Gives the memory of a tensor that has been read back to the system.
  void release(const Tensor &tensor) const {
    for (const auto &file : mapped)
      file->release(tensor.bytes);
  }

private:
  friend Result<Checkpoint> readGguf(std::shared_ptr<MappedFile>);
  friend Result<Checkpoint> readSafetensors(std::shared_ptr<MappedFile>);
  friend Result<Checkpoint> readShards(std::shared_ptr<MappedFile>);
  friend Result<Checkpoint> readGgufParts(Checkpoint);
  Result<void> buildIndex();
  bool gguf = false;
  uint32_t version = 0;
  std::vector<std::shared_ptr<MappedFile>> mapped;
  std::vector<Tensor> list;
  std::map<std::string, size_t, std::less<>> index;
  std::map<std::string, std::string> meta;
  std::map<std::string, std::string> beside;
  std::vector<Tensor> valueArrays;
};

/// A GGUF tensor of one of ggufTypes() as its native encoding, bit-exact. Fails
/// on a scale or min that is not finite, naming row, block and file offset.
Result<EncodedWeight> decodeGguf(const Tensor &tensor);
/// The same as pack(*decodeGguf(tensor), blob), one tile at a time.
Result<void> packGguf(const Tensor &tensor, std::span<std::byte> blob);
/// Whether decodeGguf knows this type.
bool isGgufQuantized(std::string_view type);
/// F32, F16 or BF16 tensor as floats.
Result<std::vector<float>> toFloats(const Tensor &tensor);

/// Bits of one element of a safetensors dtype ("F8_E4M3": 8, "F4": 4); 0 if
/// there is no such dtype.
unsigned safetensorsBits(std::string_view dtype);

/// A weight of a packed archive.
struct PackedWeight {
  std::string name, source;
  Encoding encoding;
  uint64_t N = 0, K = 0;
  std::span<const std::byte> blob;
  std::string checksum;                ///< as the archive says it; empty if it does not
  const PackedWeight *whole = nullptr; ///< of a part, whose checksum says nothing

  /// Reads the blob; fails if it does not match the checksum, or if there is none.
  Result<void> verify() const;
};

/// The name under which a file has the weight that a program calls `name`: the same,
/// or, where `has` knows none of it, `name`.weight: frameworks name a tensor by its
/// layer and its part, programs often the layer alone. Empty if there is neither.
std::string resolveWeightName(std::string_view name,
                              const std::function<bool(const std::string &)> &has);

/// A packed archive, mapped. Opening it checks everything but the codes: that
/// each weight is there once, its encoding parses and fits its shape, and its
/// blob has exactly the bytes that the layout says. PackedWeight::verify() checks
/// those.
class Archive {
public:
  static Result<Archive> open(const std::string &path);
  static Result<Archive> open(Checkpoint checkpoint);
  const std::map<std::string, PackedWeight> &weights() const { return packed; }
  /// The weight that resolveWeightName finds, or null. Of the name of a part
  /// (NamedPart) it is cut out of the whole, if that can be, and stays as long as the
  /// archive.
  const PackedWeight *find(std::string_view name) const;
  const Checkpoint &checkpoint() const { return file; }
  /// Tensors of types that safetensors lacks, and GGUF's arrays: their type and shape.
  struct Carried {
    std::string type;
    std::vector<uint64_t> shape;
  };
  const std::map<std::string, Carried> &carried() const { return blocks; }

private:
  struct Parts;
  const PackedWeight *findPart(std::string_view name) const;
  Checkpoint file;
  std::map<std::string, Carried> blocks;
  std::map<std::string, PackedWeight> packed;
  std::shared_ptr<Parts> parts; ///< those that were asked for
};

/// Writes a safetensors file as an OutputFile. The header is written last, into room
/// reserved for it, so sizes may be found out on the way.
/// Tensors follow each other without holes, as the format demands: write those
/// whose sizes are multiples of 128 bytes first, and each of them is aligned.
class SafetensorsWriter {
public:
  /// `headerRoom` bytes are kept for the header: see headerBytes().
  static Result<SafetensorsWriter> create(const std::string &path, uint64_t headerRoom);
  /// Appends a tensor; `type` is a safetensors dtype.
  Result<void> append(const std::string &name, const std::string &type,
                      const std::vector<uint64_t> &shape,
                      std::span<const std::byte> bytes);
  /// Writes the header; the file is complete then, and output() can be published.
  Result<void> finish(const std::map<std::string, std::string> &metadata);
  OutputFile &output() { return file; }
  /// Bytes of the whole file so far.
  uint64_t bytes() const { return end; }

  /// An upper bound of the header's bytes for tensors of these names (of at
  /// most `rank` dimensions) and this metadata.
  static uint64_t headerBytes(const std::vector<std::string> &names, size_t rank,
                              const std::map<std::string, std::string> &metadata);

private:
  explicit SafetensorsWriter(OutputFile file) : file(std::move(file)) {}
  OutputFile file;
  uint64_t start = 0, end = 0; ///< of the data, in the file
  std::vector<Tensor> written; ///< with `offset`s, without bytes
};

/// A safetensors file of these tensors, largest alignment first, with this
/// __metadata__, to be published.
Result<OutputFile> makeSafetensors(const std::string &path,
                                   const std::vector<Tensor> &tensors,
                                   const std::map<std::string, std::string> &metadata);
/// The same, published.
Result<void> writeSafetensors(const std::string &path,
                              const std::vector<Tensor> &tensors,
                              const std::map<std::string, std::string> &metadata);

} // namespace qlinear
#endif
