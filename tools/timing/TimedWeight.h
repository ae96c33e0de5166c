//===- TimedWeight.h - Packed weights to measure with ----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_TIMING_TIMEDWEIGHT_H
#define QLINEAR_TOOLS_TIMING_TIMEDWEIGHT_H

#include "qlinear/Encoding/Codec.h"

namespace qlinear::timing {

/// A packed N x K weight, and its exact values. Its copies differ, so that a kernel
/// that reads another one shows: in copy i the full tiles (of 16 rows) are rotated,
/// tile t is tile t + i of the first.
class TimedWeight {
public:
  /// With random codes and plausible scales. It is made of 16 random tiles in a random
  /// order, so that it is made in a moment, and all of its products are those of 256
  /// rows. The same for the same shape and encoding.
  static Result<TimedWeight> random(const Encoding &encoding, uint64_t N, uint64_t K);
  /// With given values.
  static Result<TimedWeight> of(const EncodedWeight &given);

  /// The first copy.
  std::span<const std::byte> blob() const { return bytes; }
  /// Frees it.
  void dropBlob() { bytes = {}; }
  uint64_t blobBytes() const { return layout.bytes(); }

  /// Copy `copy` as parts of the first.
  struct Part {
    uint64_t to, from, bytes;
  };
  std::vector<Part> parts(uint64_t copy) const;

  /// The rows that there are, exactly, and which of them row n of a copy is.
  const AffineWeight &rows() const { return exact; }
  uint64_t rowOf(uint64_t copy, uint64_t n) const {
    uint64_t tile = n / layout::kTileRows, full = fullTiles();
    if (tile < full)
      tile = (tile + copy) % full;
    return order[tile] * layout::kTileRows + n % layout::kTileRows;
  }

private:
  uint64_t fullTiles() const { return layout.N / layout::kTileRows; }

  layout::WeightLayout layout;
  std::vector<uint32_t> order; ///< which tile of `exact` each tile is
  std::vector<std::byte> bytes;
  AffineWeight exact;
};

} // namespace qlinear::timing
#endif
