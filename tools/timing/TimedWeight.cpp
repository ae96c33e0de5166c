//===- TimedWeight.cpp - Packed weights to measure with ------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TimedWeight.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <random>

using namespace qlinear;
using namespace qlinear::timing;

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
  case FloatType::e8m0: // the power of two below
    return std::bit_cast<uint32_t>(value) >> 23 & 255;
  case FloatType::e4m3: // of 0.01 it has no more than three numbers
    return std::min(uint32_t(value * 512.0f), 0x7Eu);
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
        : m.kind == MetaStorage::Kind::scaled ? 0x30 + rng() % 16 // 0.5 to 2
                                              : rng() & ((1u << m.bits) - 1);
  size_t entries = m.scope == StepScope::row     ? rows
                   : m.scope == StepScope::block ? blocks
                                                 : 0;
  for (size_t i = 0; i < entries; ++i) {
    float step = unit(rng) * (isScale ? 1e-4f : 0.05f);
    // The largest code of a delta gives the largest plain value: with random codes
    // above a base of that size, results would be beyond f16.
    steps.push_back(m.kind == MetaStorage::Kind::delta
                        ? bitsOf(m.type, isScale ? 0.01f : 8.0f) - ((1u << m.bits) - 1)
                        : bitsOf(m.type, step));
    if (m.kind == MetaStorage::Kind::log)
      steps.push_back(bitsOf(m.type, 0.01f));
  }
}

} // namespace

/// The planes of a blob with a part per tile: offset of a tile, and its bytes.
struct Plane {
  uint64_t start, bytes;
};
static std::vector<Plane> planesOf(const layout::WeightLayout &w) {
  std::vector<Plane> planes = {{w.unitOffset(0, 0), w.tileBytes()}};
  if (w.stepPlaneBytes())
    planes.push_back(
        {w.stepsOffset(0, 0), w.unitsPerTile() * uint64_t(w.fullUnit().stepBytes())});
  planes.push_back(
      {w.rowScaleOffset(0), uint64_t(layout::kTileRows * w.rowScaleBytes())});
  planes.push_back(
      {w.rowOffsetOffset(0), uint64_t(layout::kTileRows * w.rowOffsetBytes())});
  return planes;
}

Result<TimedWeight> TimedWeight::random(const Encoding &encoding, uint64_t N,
                                        uint64_t K) {
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

  TimedWeight weight;
  weight.layout = layoutOf(encoding, N, K);
  Result<AffineWeight> exact = decode(w);
  if (!exact)
    return exact.takeError();
  weight.exact = std::move(*exact);
  layout::WeightLayout from = layoutOf(encoding, w.N, K);
  std::vector<std::byte> tiles(from.bytes());
  if (Result<void> packed = pack(w, tiles); !packed)
    return packed.takeError();
  for (uint64_t t = 0; t < weight.layout.tiles(); ++t)
    weight.order.push_back(uint32_t(rng() % kTiles));
  weight.bytes.resize(weight.layout.bytes());
  std::vector<Plane> sources = planesOf(from), planes = planesOf(weight.layout);
  for (size_t p = 0; p < planes.size(); ++p)
    for (uint64_t t = 0; t < weight.order.size(); ++t)
      std::copy_n(tiles.data() + sources[p].start + weight.order[t] * planes[p].bytes,
                  planes[p].bytes,
                  weight.bytes.data() + planes[p].start + t * planes[p].bytes);
  return weight;
}

Result<TimedWeight> TimedWeight::of(const EncodedWeight &given) {
  TimedWeight weight;
  weight.layout = layoutOf(given.encoding, given.N, given.K);
  weight.order.resize(weight.layout.tiles());
  std::iota(weight.order.begin(), weight.order.end(), 0);
  Result<AffineWeight> exact = decode(given);
  if (!exact)
    return exact.takeError();
  weight.exact = std::move(*exact);
  weight.bytes.resize(weight.layout.bytes());
  if (Result<void> packed = pack(given, weight.bytes); !packed)
    return packed.takeError();
  return weight;
}

std::vector<TimedWeight::Part> TimedWeight::parts(uint64_t copy) const {
  uint64_t full = fullTiles(), turn = full ? copy % full : 0;
  std::vector<Part> parts;
  for (Plane plane : planesOf(layout)) {
    uint64_t start = plane.start, bytes = plane.bytes;
    for (auto [to, from, tiles] : {std::array{uint64_t(0), turn, full - turn},
                                   {full - turn, uint64_t(0), turn},
                                   {full, full, order.size() - full}})
      if (tiles)
        parts.push_back({start + to * bytes, start + from * bytes, tiles * bytes});
  }
  return parts;
}
