//===- Slice.h - Parts of packed weights ------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A packed weight can be cut along N and K, and put together again, without decoding
// it: shards of a linear over several devices, experts of a stack, q, k and v of one
// tensor. A part has the bytes of packing that part of the EncodedWeight.
//
// Cuts may be along N at multiples of kTileRows (Layout.h), along K at multiples of the
// group (kUnitK, if there are steps per block); each range may also end where the
// weight ends. Multiples of kUnitK are copied, others are laid out anew. Constants of
// rows (the steps of row-u8, the fields of whole-row groups) go with their rows, so all
// parts along K have the same ones, and only such parts can be put together along K.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_SLICE_H
#define QLINEAR_ENCODING_SLICE_H

#include "qlinear/Encoding/Encoding.h"

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace qlinear {

/// Rows or columns begin .. end - 1.
struct Range {
  uint64_t begin = 0, end = 0;
  uint64_t size() const { return end - begin; }
};

/// Bytes of a packed N x K weight; fails on a shape that the encoding cannot have.
Result<uint64_t> packedBytes(const Encoding &encoding, uint64_t N, uint64_t K);

/// Along which parts follow one another: rows (N) or columns (K).
enum class Axis : uint8_t { rows, columns };

/// Of what a part is a multiple, if it does not end with the weight.
uint64_t cutStep(const Encoding &encoding, Axis axis);

/// Copies `rows` x `columns` of the packed N x K weight `blob` to `part`, a packed
/// weight of rows.size() x columns.size(); the two must not overlap.
Result<void> slice(const Encoding &encoding, uint64_t N, uint64_t K,
                   std::span<const std::byte> blob, Range rows, Range columns,
                   std::span<std::byte> part);

/// A packed weight of `extent` rows or columns.
struct Part {
  uint64_t extent = 0;
  std::span<const std::byte> blob;
};

/// Puts packed weights together, in their order, that have `other` columns (rows, if
/// along columns) each. The inverse of slice. `blob` overlaps none of them.
Result<void> concat(const Encoding &encoding, Axis axis, uint64_t other,
                    std::span<const Part> parts, std::span<std::byte> blob);

/// A part of a weight by its name, which programs ask archives for (Archive::find):
/// "up[rows 256:512 of 1024]" is the rows 256 .. 511 of `up`, which has 1024.
struct NamedPart {
  std::string weight;
  Axis axis = Axis::rows;
  Range range;
  uint64_t size = 0; ///< rows or columns of the whole

  std::string name() const;
  /// Nothing if `name` is not of a part.
  static std::optional<NamedPart> parse(std::string_view name);
};

} // namespace qlinear
#endif
