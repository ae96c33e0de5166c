//===- Pack.cpp - Weights to blobs and back -------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Follows Layout.h, which says where every bit lies. Codes move in words of
// four columns; a group record is a short bit string built in registers.
//
//===----------------------------------------------------------------------===//
#include "Metadata.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::detail;
using namespace qlinear::layout;

static_assert(std::endian::native == std::endian::little,
              "blobs are little-endian and written as words");

namespace {

u32 load32(const u8 *p) {
  u32 v;
  std::memcpy(&v, p, 4);
  return v;
}
void store32(u8 *p, u32 v) { std::memcpy(p, &v, 4); }

//===----------------------------------------------------------------------===//
// Codes of one row of a unit: `chunks` x 32 columns
//===----------------------------------------------------------------------===//

/// Where the codes of row r = 4 j + r0 lie: chunk c at place c ^ swizzle of 16 bytes
/// (single bits: at place c of 4).
struct RowPlaces {
  u8 *low, *lowHalf1, *pairs, *bits;
  int swizzle, pairSwizzle;
};

RowPlaces placesOf(const UnitLayout &L, u8 *unit, int r) {
  int j = r / 4, r0 = r % 4;
  int swizzle = L.swizzle(r), pairSwizzle = L.swizzle(j / 2 * 4 + r0);
  return {unit + L.low(j, r0, swizzle),
          unit + L.low(j, r0, swizzle, L.hasBytes()),
          unit + L.pairs(j, r0, pairSwizzle),
          unit + L.bits(j, r0, 0),
          swizzle,
          pairSwizzle};
}

/// A unit of codes of so many bits, for its planes.
constexpr UnitLayout unitOf(int bits) {
  Spec spec;
  spec.codeBits = bits;
  return {spec, kUnitChunks};
}

template <int Bits> void packRow(const u8 *from, int chunks, RowPlaces to) {
  for (int c = 0; c < chunks; ++c, from += kChunk) {
    constexpr UnitLayout L = unitOf(Bits);
    if constexpr (L.hasBytes()) {
      std::memcpy(to.low + (c ^ to.swizzle) * 16, from, 16);
      std::memcpy(to.lowHalf1 + (c ^ to.swizzle) * 16, from + 16, 16);
    }
    if constexpr (L.hasNibbles()) {
      const u8 *__restrict in = from;
      u8 *__restrict low = to.low + (c ^ to.swizzle) * 16;
      for (int i = 0; i < 16; ++i)
        low[i] = u8((in[i] & 15) | in[16 + i] << 4);
    }
    if constexpr (L.hasPairs()) {
      u8 *pairs = to.pairs + (c ^ to.pairSwizzle) * 16;
      u32 word[2] = {0, 0};
      for (int i = 0; i < 8; ++i)
        word[i / 4] |= (load32(from + 4 * i) >> L.pairShift() & 0x03030303)
                       << (2 * (i % 4));
      store32(pairs, word[0]);
      store32(pairs + 4, word[1]);
    }
    if constexpr (L.hasBits()) {
      u32 word = 0;
      for (int i = 0; i < 8; ++i)
        word |= (load32(from + 4 * i) >> L.bitShift() & 0x01010101) << i;
      store32(to.bits + c * 4, word);
    }
  }
}

template <int Bits> void unpackRow(RowPlaces from, int chunks, u8 *to) {
  for (int c = 0; c < chunks; ++c, to += kChunk) {
    constexpr UnitLayout L = unitOf(Bits);
    if constexpr (L.hasBytes()) {
      std::memcpy(to, from.low + (c ^ from.swizzle) * 16, 16);
      std::memcpy(to + 16, from.lowHalf1 + (c ^ from.swizzle) * 16, 16);
    } else if constexpr (!L.hasNibbles()) {
      std::memset(to, 0, kChunk);
    } else {
      const u8 *__restrict low = from.low + (c ^ from.swizzle) * 16;
      u8 *__restrict out = to;
      for (int i = 0; i < 16; ++i) {
        out[i] = low[i] & 15;
        out[16 + i] = low[i] >> 4;
      }
    }
    if constexpr (L.hasPairs()) {
      const u8 *pairs = from.pairs + (c ^ from.pairSwizzle) * 16;
      u32 word[2] = {load32(pairs), load32(pairs + 4)};
      for (int i = 0; i < 8; ++i)
        store32(to + 4 * i,
                load32(to + 4 * i) | (word[i / 4] >> (2 * (i % 4)) & 0x03030303)
                                         << L.pairShift());
    }
    if constexpr (L.hasBits()) {
      u32 word = load32(from.bits + c * 4);
      for (int i = 0; i < 8; ++i)
        store32(to + 4 * i, load32(to + 4 * i) | (word >> i & 0x01010101)
                                                     << L.bitShift());
    }
  }
}

using PackRow = void (*)(const u8 *, int, RowPlaces);
using UnpackRow = void (*)(RowPlaces, int, u8 *);

PackRow packRowOf(int bits) {
  return bits == 2   ? packRow<2>
         : bits == 3 ? packRow<3>
         : bits == 4 ? packRow<4>
         : bits == 5 ? packRow<5>
         : bits == 6 ? packRow<6>
                     : packRow<8>;
}
UnpackRow unpackRowOf(int bits) {
  return bits == 2   ? unpackRow<2>
         : bits == 3 ? unpackRow<3>
         : bits == 4 ? unpackRow<4>
         : bits == 5 ? unpackRow<5>
         : bits == 6 ? unpackRow<6>
                     : unpackRow<8>;
}

//===----------------------------------------------------------------------===//
// Group records
//===----------------------------------------------------------------------===//

/// A record as 64-bit words; the longest has 8 entries of two 32-bit fields.
struct Record {
  u64 words[9] = {};

  void put(int at, u64 field) {
    words[at / 64] |= field << (at % 64);
    if (at % 64 > 32)
      words[at / 64 + 1] |= field >> (64 - at % 64);
  }
  u32 get(int at, int bits) const {
    u64 v = words[at / 64] >> (at % 64);
    if (at % 64 > 32)
      v |= words[at / 64 + 1] << (64 - at % 64);
    return u32(v & ((u64(1) << bits) - 1));
  }
};

/// The pieces of the records of one unit, worked out once.
struct RecordPlan {
  struct Piece {
    int at, start, size;
  };
  Piece pieces[8];
  int count, columns, halves;

  explicit RecordPlan(const UnitLayout &L)
      : count(L.pieces().count()), columns(L.columns()), halves(L.halves()) {
    for (int i = 0; i < count; ++i)
      pieces[i] = {L.record(i, 0, 0), L.pieces().start(i), L.pieces().size(i)};
  }
  void store(const Record &r, u8 *unit, int index) const {
    const u8 *from = reinterpret_cast<const u8 *>(r.words);
    for (int i = 0; i < count; ++i)
      std::memcpy(unit + pieces[i].at + index * pieces[i].size, from + pieces[i].start,
                  size_t(pieces[i].size));
  }
  void load(Record &r, const u8 *unit, int index) const {
    u8 *to = reinterpret_cast<u8 *>(r.words);
    for (int i = 0; i < count; ++i)
      std::memcpy(to + pieces[i].start, unit + pieces[i].at + index * pieces[i].size,
                  size_t(pieces[i].size));
  }
};

/// Fields and constants of both metadata tensors, with the shape they live in.
template <typename Word> struct Meta2 {
  Word *scaleFields, *offsetFields, *scaleSteps, *offsetSteps;
  uint64_t N, G, blocks;
};

/// Calls `visit(entry, index of the group in the fields)` for the entries of
/// record (r0, p) of unit u of tile t that exist.
template <typename Visit>
void forEachEntry(const WeightLayout &W, uint64_t t, uint64_t u, int r0, int p,
                  uint64_t G, Visit visit) {
  int group = W.spec.group, halves = group == 16 ? 2 : 1;
  uint64_t first = group == 16 ? u * 16 + uint64_t(2 * p)
                               : u * uint64_t(kUnitK / group) + uint64_t(p);
  for (int j = 0; j < 4; ++j) {
    uint64_t row = t * kTileRows + uint64_t(4 * j + r0);
    for (int half = 0; half < halves; ++half)
      if (row < W.N && first + uint64_t(half) < G)
        visit(j * halves + half, row * G + first + uint64_t(half));
  }
}

/// The 16 step entries of a unit, wherever they lie.
u8 *stepsOf(const WeightLayout &W, u8 *blob, uint64_t t, uint64_t u) {
  return W.fullUnit().stepsInside() ? blob + W.unitOffset(t, u)
                                    : blob + W.stepsOffset(t, u);
}

void packMeta(const WeightLayout &W, const UnitLayout &L, const RecordPlan &plan,
              uint64_t t, uint64_t u, const Meta2<const u32> &m, u8 *blob) {
  u8 *unit = blob + W.unitOffset(t, u);
  bool hasOffset = L.spec.offset.kind != kNone;
  for (int r0 = 0; r0 < 4; ++r0)
    for (int p = 0; p < plan.columns; ++p) {
      Record r;
      forEachEntry(W, t, u, r0, p, m.G, [&](int entry, uint64_t g) {
        r.put(L.scaleBit(entry), m.scaleFields[g]);
        if (hasOffset)
          r.put(L.offsetBit(entry), m.offsetFields[g]);
      });
      plan.store(r, unit, r0 * plan.columns + p);
    }
  if (!L.stepEntryBytes())
    return;
  u8 *steps = stepsOf(W, blob, t, u);
  for (int i = 0; i < kTileRows; ++i) {
    uint64_t row = t * kTileRows + uint64_t(i);
    if (row >= m.N)
      break;
    u8 *to = steps + L.step(i / 4, i % 4);
    int size = L.spec.scale.blockBytes();
    if (size)
      std::memcpy(to, &m.scaleSteps[row * m.blocks + u], size_t(size));
    to += size;
    size = L.spec.offset.blockBytes();
    if (size)
      std::memcpy(to, &m.offsetSteps[row * m.blocks + u], size_t(size));
  }
}

void unpackMeta(const WeightLayout &W, const UnitLayout &L, const RecordPlan &plan,
                uint64_t t, uint64_t u, const Meta2<u32> &m, u8 *blob) {
  u8 *unit = blob + W.unitOffset(t, u);
  int scaleBits = L.spec.scale.fieldBits();
  int offsetBits = L.spec.offset.fieldBits();
  for (int r0 = 0; r0 < 4; ++r0)
    for (int p = 0; p < plan.columns; ++p) {
      Record r;
      plan.load(r, unit, r0 * plan.columns + p);
      forEachEntry(W, t, u, r0, p, m.G, [&](int entry, uint64_t g) {
        m.scaleFields[g] = r.get(L.scaleBit(entry), scaleBits);
        if (offsetBits)
          m.offsetFields[g] = r.get(L.offsetBit(entry), offsetBits);
      });
    }
  if (!L.stepEntryBytes())
    return;
  const u8 *steps = stepsOf(W, blob, t, u);
  for (int i = 0; i < kTileRows; ++i) {
    uint64_t row = t * kTileRows + uint64_t(i);
    if (row >= m.N)
      break;
    const u8 *from = steps + L.step(i / 4, i % 4);
    int size = L.spec.scale.blockBytes();
    if (size)
      std::memcpy(&m.scaleSteps[row * m.blocks + u], from, size_t(size));
    from += size;
    size = L.spec.offset.blockBytes();
    if (size)
      std::memcpy(&m.offsetSteps[row * m.blocks + u], from, size_t(size));
  }
}

/// Calls `move(bytes of the blob, word of the weight, size)` for the field (with
/// one group per row) and the constants of one row of one metadata tensor.
template <typename Word, typename Byte, typename Move>
void moveRow(const layout::Meta &m, bool wholeRow, Byte *at, Word *field,
             Word *constants, Move move) {
  if (wholeRow && m.kind != kNone) {
    int size = (m.fieldBits() + 7) / 8;
    move(at, field, size);
    at += size;
  }
  for (int i = 0, n = m.rowBytes() / floatBytes(m.type); i < n; ++i)
    move(at + i * floatBytes(m.type), constants + i, floatBytes(m.type));
}

template <typename Word, typename Byte, typename Move>
void moveRows(const WeightLayout &W, Byte *blob, const Meta2<Word> &m, Move move) {
  bool wholeRow = W.spec.group == 0;
  auto constants = [](const layout::Meta &meta) {
    return uint64_t(meta.rowBytes() / floatBytes(meta.type));
  };
  // What does not exist is null, and stays so.
  auto at = [](Word *p, uint64_t index) { return p ? p + index : p; };
  for (uint64_t n = 0; n < m.N; ++n) {
    moveRow(W.spec.scale, wholeRow, blob + W.rowScaleOffset(n), at(m.scaleFields, n),
            at(m.scaleSteps, n * constants(W.spec.scale)), move);
    moveRow(W.spec.offset, wholeRow, blob + W.rowOffsetOffset(n), at(m.offsetFields, n),
            at(m.offsetSteps, n * constants(W.spec.offset)), move);
  }
}

Result<void> checkBlob(const WeightLayout &W, size_t size) {
  if (size == W.bytes())
    return {};
  return error("the blob has " + std::to_string(size) + " bytes, a " +
               std::to_string(W.N) + " x " + std::to_string(W.K) +
               " weight of this encoding has " + std::to_string(W.bytes()));
}

} // namespace

Result<void> qlinear::pack(const EncodedWeight &w, std::span<std::byte> bytes) {
  if (auto r = check(w); !r)
    return r;
  WeightLayout W = layoutOf(w.encoding, w.N, w.K);
  if (auto r = checkBlob(W, bytes.size()); !r)
    return r;
  u8 *blob = reinterpret_cast<u8 *>(bytes.data());
  Meta2<const u32> m{w.scaleFields.data(),
                     w.offsetFields.data(),
                     w.scaleSteps.data(),
                     w.offsetSteps.data(),
                     w.N,
                     w.encoding.groupsPerRow(w.K),
                     (w.K + kStepBlock - 1) / kStepBlock};
  PackRow packRow = packRowOf(W.spec.codeBits);
  RecordPlan full(W.fullUnit()), tail(W.tailUnit());
  std::memset(blob + W.unitPlaneBytes(), 0, W.bytes() - W.unitPlaneBytes());
  tbb::parallel_for(u64(0), W.tiles(), [&](u64 t) {
    std::memset(blob + t * W.tileBytes(), 0, W.tileBytes());
    for (uint64_t u = 0; u < W.unitsPerTile(); ++u) {
      UnitLayout L = W.unit(u);
      u8 *unit = blob + W.unitOffset(t, u);
      uint64_t columns = std::min<uint64_t>(kUnitK, w.K - u * kUnitK);
      for (int r = 0; r < kTileRows && t * kTileRows + uint64_t(r) < w.N; ++r) {
        const u8 *from =
            w.fields.data() + (t * kTileRows + uint64_t(r)) * w.K + u * kUnitK;
        u8 padded[kUnitK] = {};
        if (columns % kChunk != 0)
          from = static_cast<u8 *>(std::memcpy(padded, from, columns));
        packRow(from, L.chunks, placesOf(L, unit, r));
      }
      packMeta(W, L, u < W.fullUnits() ? full : tail, t, u, m, blob);
    }
  });
  moveRows(W, blob, m, [](u8 *to, const u32 *from, int size) {
    std::memcpy(to, from, size_t(size));
  });
  return {};
}

Result<EncodedWeight> qlinear::unpack(const Encoding &encoding, uint64_t N, uint64_t K,
                                      std::span<const std::byte> bytes) {
  if (auto r = encoding.verifyShape(N, K); !r)
    return r.takeError();
  WeightLayout W = layoutOf(encoding, N, K);
  if (auto r = checkBlob(W, bytes.size()); !r)
    return r.takeError();
  uint64_t G = encoding.groupsPerRow(K);
  EncodedWeight w{encoding, N, K, {}, {}, {}, {}, {}};
  w.fields.resize(N * K);
  w.scaleFields.resize(N * G);
  w.offsetFields.resize(encoding.offset.kind == MetaStorage::Kind::none ? 0 : N * G);
  w.scaleSteps.resize(N * constantsPerRow(encoding.scale, K));
  w.offsetSteps.resize(N * constantsPerRow(encoding.offset, K));

  // Only read: the helpers that find a place serve packing as well.
  u8 *blob = const_cast<u8 *>(reinterpret_cast<const u8 *>(bytes.data()));
  Meta2<u32> m{w.scaleFields.data(),
               w.offsetFields.data(),
               w.scaleSteps.data(),
               w.offsetSteps.data(),
               N,
               G,
               (K + kStepBlock - 1) / kStepBlock};
  UnpackRow unpackRow = unpackRowOf(W.spec.codeBits);
  RecordPlan full(W.fullUnit()), tail(W.tailUnit());
  tbb::parallel_for(u64(0), W.tiles(), [&](u64 t) {
    for (uint64_t u = 0; u < W.unitsPerTile(); ++u) {
      UnitLayout L = W.unit(u);
      u8 *unit = blob + W.unitOffset(t, u);
      uint64_t columns = std::min<uint64_t>(kUnitK, K - u * kUnitK);
      for (int r = 0; r < kTileRows && t * kTileRows + uint64_t(r) < N; ++r) {
        u8 *to = w.fields.data() + (t * kTileRows + uint64_t(r)) * K + u * kUnitK;
        RowPlaces from = placesOf(L, unit, r);
        if (columns % kChunk == 0) {
          unpackRow(from, L.chunks, to);
        } else {
          u8 padded[kUnitK];
          unpackRow(from, L.chunks, padded);
          std::memcpy(to, padded, columns);
        }
      }
      unpackMeta(W, L, u < W.fullUnits() ? full : tail, t, u, m, blob);
    }
  });
  moveRows(W, blob, m,
           [](u8 *from, u32 *to, int size) { std::memcpy(to, from, size_t(size)); });
  return w;
}
