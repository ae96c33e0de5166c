//===- Npy.cpp - numpy's .npy files ---------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A .npy file is the magic, a version, the header's length, the header (a Python
// dictionary in ASCII or UTF-8), and the elements:
//
//   \x93NUMPY 1 0 uint16  {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n
//
// Versions 2 and 3 have a uint32 length. The header is read as what it is, the
// literal of a dictionary with exactly these keys; anything else is refused.
//
//===----------------------------------------------------------------------===//

#include "Array.h"

#include <cstring>
#include <fmt/format.h>
#include <optional>
#include <string_view>

using namespace qlinear;
using namespace qlinear::run;

namespace {

/// Reads the literal piece by piece; each function says whether it was there.
class Literal {
  std::string_view rest;

  void skipSpace() {
    while (!rest.empty() && (rest[0] == ' ' || rest[0] == '\n' || rest[0] == '\t'))
      rest.remove_prefix(1);
  }

public:
  explicit Literal(std::string_view text) : rest(text) {}
  bool word(std::string_view expected) {
    skipSpace();
    if (!rest.starts_with(expected))
      return false;
    rest.remove_prefix(expected.size());
    return true;
  }
  bool atEnd() {
    skipSpace();
    return rest.empty();
  }
  std::optional<std::string> string() {
    skipSpace();
    if (rest.empty() || (rest[0] != '\'' && rest[0] != '"'))
      return std::nullopt;
    size_t end = rest.find(rest[0], 1);
    if (end == std::string_view::npos || rest.substr(0, end).find('\\') != rest.npos)
      return std::nullopt;
    std::string value(rest.substr(1, end - 1));
    rest.remove_prefix(end + 1);
    return value;
  }
  std::optional<int64_t> number() {
    skipSpace();
    int64_t value = 0;
    size_t digits = 0;
    for (; digits < rest.size() && rest[digits] >= '0' && rest[digits] <= '9'; ++digits)
      if (__builtin_mul_overflow(value, int64_t(10), &value) ||
          __builtin_add_overflow(value, int64_t(rest[digits] - '0'), &value))
        return std::nullopt;
    if (digits == 0)
      return std::nullopt;
    rest.remove_prefix(digits);
    return value;
  }
};

struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortranOrder;
  std::optional<std::vector<int64_t>> shape;
};

std::optional<Header> parseHeader(std::string_view text) {
  Header h;
  Literal in(text);
  if (!in.word("{"))
    return std::nullopt;
  while (!in.word("}")) {
    std::optional<std::string> key = in.string();
    if (!key || !in.word(":"))
      return std::nullopt;
    if (*key == "descr" && !h.descr) {
      if (h.descr = in.string(); !h.descr)
        return std::nullopt;
    } else if (*key == "fortran_order" && !h.fortranOrder) {
      bool yes = in.word("True");
      if (!yes && !in.word("False"))
        return std::nullopt;
      h.fortranOrder = yes;
    } else if (*key == "shape" && !h.shape) {
      h.shape.emplace();
      if (!in.word("("))
        return std::nullopt;
      while (!in.word(")")) {
        std::optional<int64_t> d = in.number();
        if (!d || h.shape->size() == 32)
          return std::nullopt;
        h.shape->push_back(*d);
        if (!in.word(",")) {
          // One element needs its comma: (3) is a number.
          if (h.shape->size() == 1 || !in.word(")"))
            return std::nullopt;
          break;
        }
      }
    } else {
      return std::nullopt;
    }
    if (!in.word(",")) {
      if (!in.word("}"))
        return std::nullopt;
      break;
    }
  }
  if (!in.atEnd() || !h.descr || !h.fortranOrder || !h.shape)
    return std::nullopt;
  return h;
}

} // namespace

Result<Array> qlinear::run::parseNpy(std::span<const std::byte> file, qlr_dtype raw16) {
  auto byte = [&](size_t i) { return size_t(std::to_integer<uint8_t>(file[i])); };
  if (file.size() < 10 || std::memcmp(file.data(), "\x93NUMPY", 6) != 0)
    return error("not a .npy file: it does not start with \\x93NUMPY");
  size_t version = byte(6), start = version == 1 ? 10 : 12;
  if (version < 1 || version > 3)
    return error(fmt::format(".npy version {}.{} is unknown; 1 to 3 can be read",
                             version, byte(7)));
  if (file.size() < start)
    return error(
        fmt::format("the file ends at byte {}, inside its header", file.size()));
  size_t length = byte(8) | byte(9) << 8;
  if (version > 1)
    length |= byte(10) << 16 | byte(11) << 24;
  if (length > file.size() - start)
    return error(fmt::format("the header's length (at byte 8) is {}, but only {} bytes "
                             "follow",
                             length, file.size() - start));
  std::optional<Header> header =
      parseHeader({reinterpret_cast<const char *>(file.data()) + start, length});
  if (!header)
    return error(fmt::format("the header (at byte {}) is not a dictionary of descr, "
                             "fortran_order and shape",
                             start));

  const std::string &descr = *header->descr;
  Array array;
  size_t width = 0;
  bool isDouble = descr == "<f8";
  for (auto [name, dtype] : {std::pair<const char *, qlr_dtype>{"<f4", QLR_F32},
                             {"<f8", QLR_F32},
                             {"<f2", QLR_F16},
                             {"<V2", raw16},
                             {"|V2", raw16},
                             {"<u2", raw16},
                             {"|i1", QLR_I8},
                             {"<i1", QLR_I8},
                             {"|u1", QLR_I8},
                             {"<i4", QLR_I32}})
    if (descr == name) {
      array.dtype = dtype;
      width = isDouble ? 8 : dtypeBytes(dtype);
    }
  bool raw = descr == "<V2" || descr == "|V2" || descr == "<u2";
  if (!width || (raw && width != 2))
    return error(
        fmt::format("the element type '{}' cannot be read {}; save it as "
                    "float32, float16, int8 or int32 of little-endian order, or "
                    "bfloat16",
                    descr, raw ? fmt::format("as {}", dtypeName(raw16)) : "here"));
  size_t count = 1;
  for (int64_t d : *header->shape)
    if (__builtin_mul_overflow(count, size_t(d), &count))
      return error(
          fmt::format("the shape {} is absurdly large", shapeText(*header->shape)));
  size_t bytes = file.size() - start - length;
  if (count > bytes / width || count * width != bytes)
    return error(
        fmt::format("the shape {} of '{}' needs {} x {} bytes, but {} follow the "
                    "header",
                    shapeText(*header->shape), descr, count, width, bytes));
  if (*header->fortranOrder && header->shape->size() > 1)
    return error("the array is in Fortran order; save it with np.ascontiguousarray");

  array.shape = *header->shape;
  const std::byte *data = file.data() + start + length;
  if (!isDouble) {
    array.bytes.assign(data, data + bytes);
    return array;
  }
  array.bytes.resize(count * sizeof(float));
  for (size_t i = 0; i < count; ++i) {
    double value;
    std::memcpy(&value, data + i * sizeof value, sizeof value);
    float narrow = float(value);
    std::memcpy(array.bytes.data() + i * sizeof narrow, &narrow, sizeof narrow);
  }
  return array;
}

Result<OutputFile> qlinear::run::makeNpy(const std::string &path, const Array &array) {
  constexpr const char *descr[] = {"<f4", "<f2", "<V2", "|i1", "<i4"};
  std::string shape;
  for (int64_t d : array.shape)
    shape += fmt::format("{}, ", d);
  if (array.shape.size() > 1)
    shape.resize(shape.size() - 2);
  else if (!shape.empty())
    shape.pop_back();
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                  descr[array.dtype], shape);
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  header += '\n';

  const char prefix[10] = {'\x93',
                           'N',
                           'U',
                           'M',
                           'P',
                           'Y',
                           1,
                           0,
                           char(header.size()),
                           char(header.size() >> 8)};
  Result<OutputFile> file = OutputFile::create(path);
  if (!file)
    return file;
  using Bytes = std::span<const std::byte>;
  for (Bytes part : {Bytes(std::as_bytes(std::span(prefix))),
                     Bytes(std::as_bytes(std::span(header))), Bytes(array.bytes)})
    if (Result<void> written = file->append(part); !written)
      return written.takeError();
  return file;
}
