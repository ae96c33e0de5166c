//===- RandomWeight.cpp - Packed weights to measure with ------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RandomWeight.h"

#include <algorithm>
#include <bit>
#include <random>

using namespace qlinear;

namespace {

/// Raw bits of a float near `value`, of the given type.
uint32_t bitsOf(FloatType type, float value) {
  switch (type) {
  case FloatType::bf16:
    return floatToBf16(value);
  case FloatType::f16:
    return floatToF16(value);
  case FloatType::f32:
    return std::bit_cast<uint32_t>(value);
  }
  return 0;
}

/// Random fields of one metadata tensor, and plausible steps.
void fillMeta(const MetaStorage &m, bool isScale, size_t fields, size_t rows,
              size_t blocks, std::mt19937 &rng, std::vector<uint32_t> &out,
              std::vector<uint32_t> &steps) {
  std::uniform_real_distribution<float> unit(0.5f, 1.0f);
  if (m.kind == MetaStorage::Kind::none)
    return;
  out.resize(fields);
  for (uint32_t &f : out)
    f = m.kind == MetaStorage::Kind::plain
            ? bitsOf(m.type, unit(rng) * (isScale ? 0.01f : 8.0f))
            : rng() & ((1u << m.bits) - 1);
  size_t entries = m.scope == StepScope::row     ? rows
                   : m.scope == StepScope::block ? blocks
                                                 : 0;
  for (size_t i = 0; i < entries; ++i) {
    float step = unit(rng) * (isScale ? 1e-4f : 0.05f);
    steps.push_back(bitsOf(m.type, m.kind == MetaStorage::Kind::delta ? 0.001f : step));
    if (m.kind == MetaStorage::Kind::log)
      steps.push_back(bitsOf(m.type, 0.01f));
  }
}

} // namespace

Result<std::vector<std::byte>> timing::randomWeight(const Encoding &encoding,
                                                    uint64_t N, uint64_t K) {
  constexpr uint64_t kTiles = 16;
  std::mt19937 rng(uint32_t(N * 31 + K));
  EncodedWeight w;
  w.encoding = encoding;
  w.N = kTiles * layout::kTileRows;
  w.K = K;
  w.fields.resize(w.N * K);
  for (uint8_t &f : w.fields)
    f = uint8_t(rng()) & ((1u << encoding.codes.bits) - 1);
  size_t fields = w.N * encoding.groupsPerRow(K);
  size_t blocks = w.N * ((K + kStepBlock - 1) / kStepBlock);
  fillMeta(encoding.scale, true, fields, w.N, blocks, rng, w.scaleFields, w.scaleSteps);
  fillMeta(encoding.offset, false, fields, w.N, blocks, rng, w.offsetFields,
           w.offsetSteps);
  layout::WeightLayout from = layoutOf(encoding, w.N, K), to = layoutOf(encoding, N, K);
  std::vector<std::byte> part(from.bytes()), blob(to.bytes());
  if (Result<void> packed = pack(w, part); !packed)
    return packed.takeError();
  size_t steps =
      from.stepPlaneBytes() ? from.unitsPerTile() * from.fullUnit().stepBytes() : 0;
  size_t scale = layout::kTileRows * from.rowScaleBytes();
  size_t offset = layout::kTileRows * from.rowOffsetBytes();
  for (uint64_t t = 0; t < to.tiles(); ++t) {
    uint64_t s = t % kTiles, row = t * layout::kTileRows,
             sourceRow = s * layout::kTileRows;
    auto move = [&](uint64_t at, uint64_t source, size_t bytes) {
      std::copy_n(part.data() + source, bytes, blob.data() + at);
    };
    move(to.unitOffset(t, 0), from.unitOffset(s, 0), from.tileBytes());
    if (steps)
      move(to.stepsOffset(t, 0), from.stepsOffset(s, 0), steps);
    move(to.rowScaleOffset(row), from.rowScaleOffset(sourceRow), scale);
    move(to.rowOffsetOffset(row), from.rowOffsetOffset(sourceRow), offset);
  }
  return blob;
}
