//===- Readers.h - Readers of file formats ----------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_FILES_READERS_H
#define QLINEAR_LIB_ENCODING_FILES_READERS_H

#include "qlinear/Encoding/Archive.h"

namespace qlinear {

/// Longest name of a tensor: names are matched with regular expressions, whose
/// cost grows with them.
inline constexpr uint64_t kMaxName = 4096;
inline constexpr uint32_t kGgufMagic = 0x46554747; ///< "GGUF"

/// A type of GGUF tensors: blocks of `block` weights in `bytes` bytes.
struct GgufType {
  uint32_t id;
  std::string_view name;
  uint32_t block, bytes;
};

const GgufType *ggufType(uint32_t id);
const GgufType *ggufType(std::string_view name);
/// The name here of a type that ggufType does not know: "type 139".
std::string ggufUnknownName(uint32_t id);
bool isGgufUnknown(std::string_view name);
/// Whether a type is that of an array of GGUF's key-values.
bool isGgufArray(std::string_view name);
/// Whether a type of GGUF has none in safetensors, which has its bytes as U8.
bool isGgufAlone(std::string_view name);

/// Readers of one format each; Checkpoint::open picks.
Result<Checkpoint> readGguf(std::shared_ptr<MappedFile> file);
Result<Checkpoint> readSafetensors(std::shared_ptr<MappedFile> file);
/// Of a `*.safetensors.index.json` and the files that it names beside it.
Result<Checkpoint> readShards(std::shared_ptr<MappedFile> index);
/// All parts of a GGUF that is split over files ("split.count"), given any one.
Result<Checkpoint> readGgufParts(Checkpoint one);

} // namespace qlinear
#endif
