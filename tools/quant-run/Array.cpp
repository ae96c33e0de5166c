//===- Array.cpp - Arrays in memory and in safetensors files --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Array.h"
#include "qlinear/Encoding/Archive.h"

#include <cstring>
#include <fmt/format.h>
#include <fmt/ranges.h>

using namespace qlinear;
using namespace qlinear::run;

namespace {
struct DtypeInfo {
  const char *name, *safetensors;
  size_t bytes;
};
constexpr DtypeInfo kDtypes[] = {{"f32", "F32", 4},
                                 {"f16", "F16", 2},
                                 {"bf16", "BF16", 2},
                                 {"i8", "I8", 1},
                                 {"i32", "I32", 4}};

bool isFloat(qlr_dtype t) { return t == QLR_F32 || t == QLR_F16 || t == QLR_BF16; }

template <typename T> T load(const std::byte *from, size_t i) {
  T value;
  std::memcpy(&value, from + i * sizeof(T), sizeof(T));
  return value;
}
template <typename T> void store(std::byte *to, size_t i, T value) {
  std::memcpy(to + i * sizeof(T), &value, sizeof(T));
}
} // namespace

const char *qlinear::run::dtypeName(qlr_dtype dtype) { return kDtypes[dtype].name; }
qlr_dtype qlinear::run::dtypeNamed(std::string_view name) {
  int i = QLR_F32;
  while (i < QLR_I32 && name != kDtypes[i].name)
    ++i;
  return qlr_dtype(i);
}
size_t qlinear::run::dtypeBytes(qlr_dtype dtype) { return kDtypes[dtype].bytes; }

std::string qlinear::run::shapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Array::Array(qlr_dtype dtype, std::vector<int64_t> dims)
    : dtype(dtype), shape(std::move(dims)),
      bytes(size_t(elements()) * dtypeBytes(dtype)) {}

int64_t Array::elements() const {
  int64_t n = 1;
  for (int64_t d : shape)
    n *= d;
  return n;
}

std::string Array::shapeText() const { return run::shapeText(shape); }

std::vector<float> Array::floats() const {
  std::vector<float> values(static_cast<size_t>(elements()));
  const std::byte *from = bytes.data();
  for (size_t i = 0; i < values.size(); ++i)
    switch (dtype) {
    case QLR_F32:
      values[i] = load<float>(from, i);
      break;
    case QLR_F16:
      values[i] = f16ToFloat(load<uint16_t>(from, i));
      break;
    case QLR_BF16:
      values[i] = bf16ToFloat(load<uint16_t>(from, i));
      break;
    case QLR_I8:
      values[i] = load<int8_t>(from, i);
      break;
    case QLR_I32:
      values[i] = float(load<int32_t>(from, i));
      break;
    }
  return values;
}

void Array::setFloats(std::span<const float> values) {
  std::byte *to = bytes.data();
  for (size_t i = 0; i < values.size(); ++i)
    switch (dtype) {
    case QLR_F32:
      store(to, i, values[i]);
      break;
    case QLR_F16:
      store(to, i, floatToF16(values[i]));
      break;
    case QLR_BF16:
      store(to, i, floatToBf16(values[i]));
      break;
    case QLR_I8:
      store(to, i, int8_t(values[i]));
      break;
    case QLR_I32:
      store(to, i, int32_t(values[i]));
      break;
    }
}

Result<Array> qlinear::run::convert(Array array, qlr_dtype dtype) {
  if (array.dtype == dtype)
    return array;
  if (!isFloat(array.dtype) || !isFloat(dtype))
    return error(fmt::format("has {} elements, but {} are expected; only float types "
                             "convert into each other",
                             dtypeName(array.dtype), dtypeName(dtype)));
  Array result(dtype, array.shape);
  result.setFloats(array.floats());
  return result;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

static Result<Array> fromTensor(const Tensor &t) {
  for (int i = QLR_F32; i <= QLR_I32; ++i) {
    // The bytes of quantized activations may also be called U8.
    if (t.type != kDtypes[i].safetensors && !(i == QLR_I8 && t.type == "U8"))
      continue;
    Array array;
    array.dtype = qlr_dtype(i);
    for (uint64_t d : t.shape)
      array.shape.push_back(int64_t(d));
    array.bytes.assign(t.bytes.begin(), t.bytes.end());
    return array;
  }
  return error(
      fmt::format("tensor '{}' has the type {}; F32, F16, BF16, I8 and I32 can "
                  "be read",
                  t.name, t.type));
}

Result<Array> qlinear::run::readArray(const std::string &spec, qlr_dtype raw16) {
  // A file's name may hold a colon itself: try the whole first.
  Result<std::shared_ptr<MappedFile>> file = MappedFile::open(spec);
  std::string path = spec, name;
  if (!file) {
    size_t colon = spec.rfind(':');
    if (colon == std::string::npos)
      return file.takeError();
    path = spec.substr(0, colon);
    name = spec.substr(colon + 1);
    Result<std::shared_ptr<MappedFile>> part = MappedFile::open(path);
    if (!part)
      return file.takeError();
    file = std::move(part);
  }
  std::span<const std::byte> bytes = (*file)->bytes();
  if (bytes.size() >= 6 && std::memcmp(bytes.data(), "\x93NUMPY", 6) == 0) {
    Result<Array> array = parseNpy(bytes, raw16);
    return array ? std::move(array)
                 : error(fmt::format("'{}': {}", path, array.error()));
  }
  Result<Checkpoint> checkpoint = Checkpoint::open(path);
  if (!checkpoint)
    return error(fmt::format("'{}' is neither .npy nor safetensors: {}", path,
                             checkpoint.error()));
  const Tensor *tensor = nullptr;
  if (!name.empty())
    tensor = checkpoint->find(name);
  else if (checkpoint->tensors().size() == 1)
    tensor = &checkpoint->tensors()[0];
  if (!tensor)
    return error(name.empty()
                     ? fmt::format("'{}' has {} tensors; name one as {}:TENSOR", path,
                                   checkpoint->tensors().size(), path)
                     : fmt::format("'{}' has no tensor '{}'", path, name));
  return fromTensor(*tensor);
}

Result<std::vector<Array>> qlinear::run::readArrays(const std::string &path,
                                                    const std::string &prefix,
                                                    size_t count) {
  Result<Checkpoint> checkpoint = Checkpoint::open(path);
  if (!checkpoint)
    return checkpoint.takeError();
  std::vector<Array> arrays;
  for (size_t i = 0; i < count; ++i) {
    std::string name = fmt::format("{}{}", prefix, i);
    const Tensor *tensor = checkpoint->find(name);
    if (!tensor)
      return error(
          fmt::format("'{}' has no tensor '{}'; the function has {} {}s, named "
                      "{}0 to {}{}",
                      path, name, count, prefix, prefix, prefix, count - 1));
    Result<Array> array = fromTensor(*tensor);
    if (!array)
      return array.takeError();
    arrays.push_back(std::move(*array));
  }
  return arrays;
}

Result<OutputFile> qlinear::run::makeTensors(const std::string &path,
                                             const std::string &prefix,
                                             std::span<const Array> arrays) {
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < arrays.size(); ++i) {
    Tensor t;
    t.name = fmt::format("{}{}", prefix, i);
    t.type = kDtypes[arrays[i].dtype].safetensors;
    t.shape.assign(arrays[i].shape.begin(), arrays[i].shape.end());
    t.bytes = arrays[i].bytes;
    tensors.push_back(std::move(t));
  }
  return makeSafetensors(path, tensors, {});
}
