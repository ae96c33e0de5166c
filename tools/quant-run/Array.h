//===- Array.h - Arrays in files and in memory ------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANTRUN_ARRAY_H
#define QLINEAR_TOOLS_QUANTRUN_ARRAY_H

#include "qlinear-runtime/runtime.h"
#include "qlinear/Encoding/OutputFile.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace qlinear::run {

const char *dtypeName(qlr_dtype dtype);
/// The type of that name, as manifests have it.
qlr_dtype dtypeNamed(std::string_view name);
size_t dtypeBytes(qlr_dtype dtype);

/// A dense row-major array in host memory.
struct Array {
  qlr_dtype dtype = QLR_F32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  Array() = default;
  /// Zeros. The shape's product must fit (signatures and files are checked).
  Array(qlr_dtype dtype, std::vector<int64_t> shape);
  int64_t elements() const;
  std::string shapeText() const;
  /// Elements as floats; exact for every type but i32.
  std::vector<float> floats() const;
  void setFloats(std::span<const float> values);
};

/// "[3, 5376]".
std::string shapeText(std::span<const int64_t> shape);

/// `array` as `dtype`: float types convert into each other, other types only into
/// themselves; two-byte raw elements (uint16, V2) are taken as bf16 or f16.
Result<Array> convert(Array array, qlr_dtype dtype);

/// Reads a .npy file (versions 1 to 3, C order), or a tensor of a safetensors file:
/// "FILE", or "FILE:TENSOR" where it has several. A type numpy has no name for
/// (bf16) is read from V2 or uint16 elements, `raw16` says as which.
Result<Array> readArray(const std::string &path, qlr_dtype raw16);
/// Tensors `PREFIX0`, `PREFIX1`, ... of a safetensors file.
Result<std::vector<Array>> readArrays(const std::string &path,
                                      const std::string &prefix, size_t count);

/// Parses the bytes of a .npy file.
Result<Array> parseNpy(std::span<const std::byte> file, qlr_dtype raw16);
/// A .npy file of version 1.0, to be published; bf16 elements are V2.
Result<OutputFile> makeNpy(const std::string &path, const Array &array);
/// A safetensors file of tensors `PREFIX0`, ..., to be published.
Result<OutputFile> makeTensors(const std::string &path, const std::string &prefix,
                               std::span<const Array> arrays);

} // namespace qlinear::run
#endif
