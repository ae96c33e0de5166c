//===- Safetensors.cpp - The safetensors container ------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   u64 header length | JSON header, padded with spaces | data
//   header: {NAME: {"dtype": D, "shape": [...], "data_offsets": [begin, end]},
//            "__metadata__": {KEY: TEXT}}
// The tensors cover the data without overlaps or holes.
//
//===----------------------------------------------------------------------===//
#include "Json.h"
#include "Readers.h"

#include <algorithm>
#include <cstring>
#include <fmt/core.h>

using namespace qlinear;
using nlohmann::json;

/// The format's own bound of the header's length.
static constexpr uint64_t kMaxHeader = 100'000'000;

unsigned qlinear::safetensorsBits(std::string_view dtype) {
  static const std::pair<std::string_view, unsigned> types[] = {
      {"BOOL", 8},    {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},
      {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
      {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"I16", 16},
      {"U16", 16},    {"F16", 16},    {"BF16", 16},       {"I32", 32},
      {"U32", 32},    {"F32", 32},    {"I64", 64},        {"U64", 64},
      {"F64", 64},    {"C64", 64}};
  for (auto [name, bits] : types)
    if (name == dtype)
      return bits;
  return 0;
}

namespace {

class HeaderReader {
public:
  HeaderReader(const MappedFile &file, const JsonDocument &document, uint64_t dataStart)
      : file(file), document(document), data(file.bytes().subspan(dataStart)),
        dataStart(dataStart) {}

  Error defect(const std::string &name, std::string_view what) const {
    auto at = document.keyOffsets.find(name);
    return error(fmt::format("'{}': {} at offset {}: {}", file.path(), inQuotes(name),
                             at == document.keyOffsets.end() ? 8 : at->second, what));
  }

  Result<std::map<std::string, std::string>> metadata(const json &object) const {
    std::map<std::string, std::string> out;
    if (object.is_null()) // as MLX writes for none
      return out;
    if (!object.is_object())
      return defect("__metadata__", "must be an object of texts");
    for (auto &[key, value] : object.items()) {
      if (!value.is_string())
        return defect("__metadata__", fmt::format("{} is not a text", inQuotes(key)));
      out.emplace(key, value.get<std::string>());
    }
    return out;
  }

  Result<Tensor> tensor(const std::string &name, const json &entry) const {
    Tensor t;
    t.name = name;
    if (name.empty() || !isText(name) || name.size() > kMaxName)
      return defect(name,
                    fmt::format("a tensor's name must be text without NUL of 1 to {} "
                                "bytes",
                                kMaxName));
    if (!entry.is_object())
      return defect(name, "must be an object with dtype, shape and data_offsets");
    auto dtype = jsonString(entry, "dtype");
    if (!dtype)
      return defect(name, "dtype is missing or not a text");
    t.type = *dtype;
    unsigned bits = safetensorsBits(*dtype);
    if (!bits)
      return defect(name, fmt::format("unknown dtype {}", inQuotes(*dtype)));
    auto shape = jsonNumbers(entry, "shape");
    if (!shape)
      return defect(name, "shape is missing or not an array of unsigned integers");
    t.shape = *shape;
    auto offsets = jsonNumbers(entry, "data_offsets");
    if (!offsets || offsets->size() != 2)
      return defect(name, "data_offsets is missing or not two unsigned integers");
    uint64_t begin = (*offsets)[0], stop = (*offsets)[1];
    if (begin > stop || stop > data.size())
      return defect(name,
                    fmt::format("data_offsets [{}, {}] do not lie in the file's {} "
                                "bytes of data",
                                begin, stop, data.size()));
    auto count = checkedProduct(t.shape);
    uint64_t totalBits;
    if (!count || __builtin_mul_overflow(*count, bits, &totalBits))
      return defect(name, fmt::format("shape {} of {} has more than 2^64 bits",
                                      shapeText(t.shape), *dtype));
    if (totalBits % 8 || totalBits / 8 != stop - begin)
      return defect(name, fmt::format("shape {} of {} takes {} bits, but data_offsets "
                                      "[{}, {}] hold {} bytes",
                                      shapeText(t.shape), *dtype, totalBits, begin,
                                      stop, stop - begin));
    t.bytes = data.subspan(begin, stop - begin);
    t.offset = dataStart + begin;
    return t;
  }

  /// Sorted by their data, the tensors must cover it.
  Result<void> checkCover(const std::vector<Tensor> &sorted) const {
    uint64_t at = dataStart;
    for (const Tensor &t : sorted) {
      if (t.offset != at)
        return defect(
            t.name,
            fmt::format("data_offsets start at {}, {} the end of the tensor "
                        "before, {}",
                        t.offset - dataStart,
                        t.offset < at ? "which overlaps" : "which leaves a hole after",
                        at - dataStart));
      at += t.bytes.size();
    }
    if (at != dataStart + data.size())
      return error(
          fmt::format("'{}': the {} bytes from offset {} on belong to no tensor",
                      file.path(), dataStart + data.size() - at, at));
    return {};
  }

private:
  const MappedFile &file;
  const JsonDocument &document;
  std::span<const std::byte> data;
  uint64_t dataStart;
};

} // namespace

Result<Checkpoint> qlinear::readSafetensors(std::shared_ptr<MappedFile> file) {
  auto bytes = file->bytes();
  if (bytes.size() < 8)
    return error(
        fmt::format("'{}': header length at offset 0: needs 8 bytes, but the file "
                    "has {}",
                    file->path(), bytes.size()));
  uint64_t length;
  memcpy(&length, bytes.data(), 8);
  if (length > kMaxHeader || length > bytes.size() - 8)
    return error(
        fmt::format("'{}': header length at offset 0: {} bytes; the file has {} "
                    "left and the format allows {}",
                    file->path(), length, bytes.size() - 8, kMaxHeader));
  std::string_view text(reinterpret_cast<const char *>(bytes.data() + 8), length);
  if (!text.starts_with('{'))
    return error(fmt::format("'{}': header at offset 8: does not start with '{{'",
                             file->path()));
  auto document = parseJson(text, /*maxDepth=*/4, /*base=*/8);
  if (!document)
    return error(fmt::format("'{}': header: {}", file->path(), document.error()));

  Checkpoint out;
  HeaderReader reader(*file, *document, 8 + length);
  for (auto &[name, entry] : document->value.items()) {
    if (name == "__metadata__") {
      auto meta = reader.metadata(entry);
      if (!meta)
        return meta.takeError();
      out.meta = std::move(*meta);
      continue;
    }
    auto tensor = reader.tensor(name, entry);
    if (!tensor)
      return tensor.takeError();
    out.list.push_back(std::move(*tensor));
  }
  std::sort(out.list.begin(), out.list.end(), [](const Tensor &a, const Tensor &b) {
    return std::pair(a.offset, a.bytes.size()) < std::pair(b.offset, b.bytes.size());
  });
  if (auto r = reader.checkCover(out.list); !r)
    return r.takeError();
  out.mapped.push_back(std::move(file));
  if (auto r = out.buildIndex(); !r)
    return r.takeError();
  return out;
}
