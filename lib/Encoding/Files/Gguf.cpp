//===- Gguf.cpp - The GGUF v3 container -----------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   "GGUF" | u32 version | u64 tensors | u64 key-values
//   key-value: string key, u32 type, value     string: u64 length, bytes
//   tensor:    string name, u32 rank, u64 dims[rank] (innermost first),
//              u32 type, u64 offset in the data
//   padding to general.alignment (32), then the data
//
// Versions 2 and 3 are the same but for the order of bytes, which 3 may have the other
// way round. Of a tensor whose type is not known, the data reaches to the next one's.
// Strings need not be UTF-8: other bytes are read as Latin-1.
//
//===----------------------------------------------------------------------===//
#include "Json.h"
#include "Readers.h"

#include <algorithm>
#include <cstring>
#include <fmt/core.h>
#include <set>

using namespace qlinear;

const GgufType *qlinear::ggufType(uint32_t id) {
  // Weights and bytes of one block.
  static const GgufType types[] = {
      {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
      {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
      {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 40},      {10, "Q2_K", 256, 84},
      {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
      {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
      {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
      {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
      {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
      {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},
      {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},
      {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},    {40, "NVFP4", 64, 36},
      {41, "Q1_0", 128, 18}};
  for (const GgufType &t : types)
    if (t.id == id)
      return &t;
  return nullptr;
}

const GgufType *qlinear::ggufType(std::string_view name) {
  for (uint32_t id = 0; id < 64; ++id)
    if (const GgufType *t = ggufType(id); t && t->name == name)
      return t;
  return nullptr;
}

constexpr std::string_view kUnknownPrefix = "type ";

std::string qlinear::ggufUnknownName(uint32_t id) {
  return fmt::format("{}{}", kUnknownPrefix, id);
}

bool qlinear::isGgufUnknown(std::string_view name) {
  return name.starts_with(kUnknownPrefix);
}

static constexpr std::string_view kArrayPrefix = "array[";

bool qlinear::isGgufArray(std::string_view name) {
  return name.starts_with(kArrayPrefix);
}

bool qlinear::isGgufAlone(std::string_view name) {
  const GgufType *type = ggufType(name);
  return (type && type->block > 1) || isGgufUnknown(name) || isGgufArray(name);
}

namespace {

enum ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

/// Bytes of a scalar; 0 for strings, arrays and unknown types.
unsigned scalarBytes(uint32_t type) {
  static const unsigned bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < std::size(bytes) ? bytes[type] : 0;
}

/// What arrays of such elements are called here.
std::string arrayName(uint32_t type) {
  static const char *names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                "bool", "string", "array", "u64", "i64", "f64"};
  return fmt::format("{}{}]", kArrayPrefix, names[type]);
}

/// Arrays in arrays: how deep.
constexpr unsigned kMaxArrayDepth = 8;
constexpr uint32_t kMaxRank = 4;

/// Reads fields one after the other; a read past the end is an error.
class Reader {
public:
  Reader(const MappedFile &file) : file(file), bytes(file.bytes()) {}

  size_t offset() const { return at; }
  size_t remaining() const { return bytes.size() - at; }

  Error defect(std::string_view field, size_t where, std::string_view what) const {
    return error(
        fmt::format("'{}': {} at offset {}: {}", file.path(), field, where, what));
  }

  template <typename T> Result<T> number(std::string_view field) {
    if (remaining() < sizeof(T))
      return defect(field, at,
                    fmt::format("needs {} bytes, but the file ends after {}", sizeof(T),
                                remaining()));
    T v;
    memcpy(&v, bytes.data() + at, sizeof(T));
    at += sizeof(T);
    return v;
  }

  Result<void> skip(std::string_view field, uint64_t count, uint64_t each) {
    uint64_t total;
    if (__builtin_mul_overflow(count, each, &total) || total > remaining())
      return defect(field, at,
                    fmt::format("{} elements of {} bytes do not fit in the "
                                "{} bytes left in the file",
                                count, each, remaining()));
    at += total;
    return {};
  }

  Result<std::string_view> string(std::string_view field) {
    size_t where = at;
    auto length = number<uint64_t>(fmt::format("length of {}", field));
    if (!length)
      return length.takeError();
    if (*length > remaining())
      return defect(
          fmt::format("length of {}", field), where,
          fmt::format("{} bytes, but the file has {} left", *length, remaining()));
    std::string_view text(reinterpret_cast<const char *>(bytes.data() + at), *length);
    at += *length;
    return text;
  }

  /// A string, of which bytes that are no text become text.
  Result<std::string> anyText(std::string_view field) {
    auto s = string(field);
    if (!s)
      return s.takeError();
    return toText(*s);
  }

  /// A string that is text.
  Result<std::string> text(std::string_view field) {
    size_t where = at;
    auto s = string(field);
    if (!s)
      return s.takeError();
    if (!isText(*s))
      return defect(field, where,
                    fmt::format("{} is not UTF-8 text without NUL", inQuotes(*s)));
    return std::string(*s);
  }

private:
  const MappedFile &file;
  std::span<const std::byte> bytes;
  size_t at = 0;
};

template <typename T>
Result<std::string> scalarText(Reader &in, std::string_view field) {
  auto v = in.number<T>(field);
  if (!v)
    return v.takeError();
  return fmt::format("{}", *v);
}

/// A scalar or string value as text.
Result<std::string> valueText(Reader &in, uint32_t type, std::string_view field) {
  switch (type) {
  case kU8:
    return scalarText<uint8_t>(in, field);
  case kI8:
    return scalarText<int8_t>(in, field);
  case kU16:
    return scalarText<uint16_t>(in, field);
  case kI16:
    return scalarText<int16_t>(in, field);
  case kU32:
    return scalarText<uint32_t>(in, field);
  case kI32:
    return scalarText<int32_t>(in, field);
  case kF32:
    return scalarText<float>(in, field);
  case kU64:
    return scalarText<uint64_t>(in, field);
  case kI64:
    return scalarText<int64_t>(in, field);
  case kF64:
    return scalarText<double>(in, field);
  case kString:
    return in.anyText(field);
  case kBool: {
    size_t where = in.offset();
    auto v = in.number<uint8_t>(field);
    if (!v)
      return v.takeError();
    if (*v > 1)
      return in.defect(field, where, fmt::format("a bool must be 0 or 1, not {}", *v));
    return std::string(*v ? "true" : "false");
  }
  }
  return in.defect(field, in.offset(), fmt::format("unknown value type {}", type));
}

Result<void> skipArray(Reader &in, std::string_view field, unsigned depth) {
  size_t where = in.offset();
  auto type = in.number<uint32_t>(fmt::format("element type of {}", field));
  if (!type)
    return type.takeError();
  auto count = in.number<uint64_t>(fmt::format("element count of {}", field));
  if (!count)
    return count.takeError();
  if (unsigned bytes = scalarBytes(*type))
    return in.skip(field, *count, bytes);
  if (*type != kString && *type != kArray)
    return in.defect(fmt::format("element type of {}", field), where,
                     fmt::format("unknown value type {}", *type));
  if (*type == kArray && depth == kMaxArrayDepth)
    return in.defect(field, where,
                     fmt::format("arrays nested deeper than {}", kMaxArrayDepth));
  for (uint64_t i = 0; i < *count; ++i) {
    if (*type == kArray) {
      if (auto r = skipArray(in, field, depth + 1); !r)
        return r;
    } else if (auto s = in.string(field); !s) {
      return s.takeError();
    }
  }
  return {};
}

/// An array that skipArray passed.
Tensor arrayOf(const std::string &key, std::span<const std::byte> bytes,
               uint64_t offset) {
  uint32_t type;
  uint64_t count;
  memcpy(&type, bytes.data(), sizeof type);
  memcpy(&count, bytes.data() + sizeof type, sizeof count);
  return {key, arrayName(type), {count}, bytes, offset};
}

struct TensorInfo {
  Tensor tensor;
  const GgufType *type; ///< null: not known, nor are `bytes`
  uint64_t bytes = 0, dataOffset = 0;
  size_t where = 0; ///< of the data offset's field
};

Result<TensorInfo> readTensorInfo(Reader &in, uint64_t index) {
  TensorInfo info;
  size_t where = in.offset();
  auto name = in.text(fmt::format("name of tensor {}", index));
  if (!name)
    return name.takeError();
  if (name->empty() || name->size() > kMaxName)
    return in.defect(fmt::format("name of tensor {}", index), where,
                     name->empty() ? "is empty"
                                   : fmt::format("{} bytes; at most {} are read",
                                                 name->size(), kMaxName));
  info.tensor.name = *name;
  auto field = [&](const char *what) {
    return fmt::format("{} of tensor {}", what, inQuotes(*name));
  };

  where = in.offset();
  auto rank = in.number<uint32_t>(field("rank"));
  if (!rank)
    return rank.takeError();
  if (*rank > kMaxRank)
    return in.defect(
        field("rank"), where,
        fmt::format("{} dimensions; GGUF has at most {}", *rank, kMaxRank));
  size_t shapeAt = in.offset();
  for (uint32_t i = 0; i < *rank; ++i) {
    auto dim = in.number<uint64_t>(field("shape"));
    if (!dim)
      return dim.takeError();
    info.tensor.shape.insert(info.tensor.shape.begin(), *dim);
  }

  where = in.offset();
  auto type = in.number<uint32_t>(field("type"));
  if (!type)
    return type.takeError();
  info.type = ggufType(*type);
  info.tensor.type = info.type ? std::string(info.type->name) : ggufUnknownName(*type);

  uint64_t rowLength = *rank ? info.tensor.shape.back() : 1;
  auto count = checkedProduct(info.tensor.shape);
  std::string shape = shapeText(info.tensor.shape);
  if (!count)
    return in.defect(field("shape"), shapeAt,
                     fmt::format("{} has more than 2^64 elements", shape));
  if (info.type && rowLength % info.type->block)
    return in.defect(
        field("shape"), shapeAt,
        fmt::format("rows of {} weights are not a multiple of {}'s blocks of {}",
                    rowLength, info.type->name, info.type->block));
  if (info.type &&
      __builtin_mul_overflow(*count / info.type->block, info.type->bytes, &info.bytes))
    return in.defect(
        field("shape"), shapeAt,
        fmt::format("{} of {} has more than 2^64 bytes", shape, info.type->name));

  info.where = in.offset();
  auto offset = in.number<uint64_t>(field("data offset"));
  if (!offset)
    return offset.takeError();
  info.dataOffset = *offset;
  return info;
}

/// The data of each tensor: inside the file, aligned, and nobody else's.
Result<void> placeTensors(const Reader &in, const MappedFile &file,
                          std::vector<TensorInfo> &infos, uint64_t alignment) {
  size_t size = file.bytes().size();
  uint64_t start = in.offset() + (alignment - in.offset() % alignment) % alignment;
  std::set<uint64_t> offsets;
  for (const TensorInfo &info : infos)
    offsets.insert(info.dataOffset);
  for (TensorInfo &info : infos) {
    if (!info.type && start <= size && info.dataOffset <= size - start) {
      auto next = offsets.upper_bound(info.dataOffset);
      info.bytes = (next == offsets.end() ? size - start : *next) - info.dataOffset;
    }
    std::string field =
        fmt::format("data offset of tensor {}", inQuotes(info.tensor.name));
    if (info.dataOffset % alignment)
      return in.defect(field, info.where,
                       fmt::format("{} is not a multiple of general.alignment = {}",
                                   info.dataOffset, alignment));
    if (start > size || info.dataOffset > size - start ||
        info.bytes > size - start - info.dataOffset)
      return in.defect(field, info.where,
                       fmt::format("{} bytes at {} + {} go past the end of the file, "
                                   "which has {} bytes",
                                   info.bytes, start, info.dataOffset, size));
    info.tensor.offset = start + info.dataOffset;
    info.tensor.bytes = file.bytes().subspan(info.tensor.offset, info.bytes);
  }
  std::sort(infos.begin(), infos.end(), [](const TensorInfo &a, const TensorInfo &b) {
    return std::pair(a.dataOffset, a.bytes) < std::pair(b.dataOffset, b.bytes);
  });
  for (size_t i = 1; i < infos.size(); ++i) {
    const TensorInfo &a = infos[i - 1], &b = infos[i];
    if (a.dataOffset + a.bytes > b.dataOffset)
      return in.defect(
          fmt::format("data offset of tensor {}", inQuotes(b.tensor.name)), b.where,
          fmt::format("{} overlaps tensor {}, whose {} bytes start at {}", b.dataOffset,
                      inQuotes(a.tensor.name), a.bytes, a.dataOffset));
  }
  return {};
}

} // namespace

Result<Checkpoint> qlinear::readGguf(std::shared_ptr<MappedFile> file) {
  Checkpoint out;
  out.gguf = true;
  Reader in(*file);
  auto magic = in.number<uint32_t>("magic");
  if (!magic)
    return magic.takeError();
  if (*magic != kGgufMagic)
    return in.defect("magic", 0, "is not \"GGUF\"");
  auto version = in.number<uint32_t>("version");
  if (!version)
    return version.takeError();
  if (*version && !(*version & 0xFFFF))
    return in.defect("version", 4,
                     "the file is big-endian; convert it with gguf-convert-endian of "
                     "Python's gguf package");
  if (*version != 2 && *version != 3)
    return in.defect(
        "version", 4,
        fmt::format("{}; versions 2 and 3 are read: convert the model again "
                    "with a current llama.cpp",
                    *version));
  out.version = *version;
  auto tensors = in.number<uint64_t>("tensor count");
  if (!tensors)
    return tensors.takeError();
  auto pairs = in.number<uint64_t>("key-value count");
  if (!pairs)
    return pairs.takeError();
  // The least bytes that one can take: an empty key and a u8; an empty name.
  if (*pairs > in.remaining() / 13)
    return in.defect("key-value count", 16,
                     fmt::format("{} do not fit in the {} bytes left in the file",
                                 *pairs, in.remaining()));
  if (*tensors > in.remaining() / 24)
    return in.defect("tensor count", 8,
                     fmt::format("{} do not fit in the {} bytes left in the file",
                                 *tensors, in.remaining()));

  uint64_t alignment = 32;
  std::set<std::string> keys;
  for (uint64_t i = 0; i < *pairs; ++i) {
    size_t where = in.offset();
    auto key = in.anyText(fmt::format("key {}", i));
    if (!key)
      return key.takeError();
    std::string field = fmt::format("value of {}", inQuotes(*key));
    if (!keys.insert(*key).second)
      return in.defect(fmt::format("key {}", i), where,
                       fmt::format("{} comes twice", inQuotes(*key)));
    size_t typeAt = in.offset();
    auto type = in.number<uint32_t>(fmt::format("type of {}", inQuotes(*key)));
    if (!type)
      return type.takeError();
    if (*key == "general.alignment" && *type != kU32)
      return in.defect("type of 'general.alignment'", typeAt,
                       fmt::format("must be u32 ({}), not {}", uint32_t(kU32), *type));
    if (*type == kArray) {
      size_t start = in.offset();
      if (auto r = skipArray(in, field, 1); !r)
        return r.takeError();
      out.valueArrays.push_back(
          arrayOf(*key, file->bytes().subspan(start, in.offset() - start), start));
      continue;
    }
    size_t valueAt = in.offset();
    auto text = valueText(in, *type, field);
    if (!text)
      return text.takeError();
    if (*key == "general.alignment") {
      alignment = std::stoull(*text);
      if (alignment == 0 || (alignment & (alignment - 1)))
        return in.defect("general.alignment", valueAt,
                         fmt::format("{} is not a power of two", alignment));
    }
    out.meta.emplace(*key, *text);
  }

  std::vector<TensorInfo> infos;
  std::set<std::string> names;
  for (uint64_t i = 0; i < *tensors; ++i) {
    size_t where = in.offset();
    auto info = readTensorInfo(in, i);
    if (!info)
      return info.takeError();
    if (!names.insert(info->tensor.name).second)
      return in.defect(fmt::format("name of tensor {}", i), where,
                       fmt::format("{} comes twice", inQuotes(info->tensor.name)));
    infos.push_back(std::move(*info));
  }
  if (auto r = placeTensors(in, *file, infos, alignment); !r)
    return r.takeError();
  for (TensorInfo &info : infos)
    out.list.push_back(std::move(info.tensor));
  out.mapped.push_back(std::move(file));
  if (auto r = out.buildIndex(); !r)
    return r.takeError();
  return out;
}
