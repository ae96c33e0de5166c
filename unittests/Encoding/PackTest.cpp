//===- PackTest.cpp - The bytes of packed weights -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Blobs are read back bit by bit following the prose of Layout.h, with the
// arithmetic of this file, not that of the layout classes.
//
//===----------------------------------------------------------------------===//
#include "Reference.h"

#include <gtest/gtest.h>

using namespace qlinear;
using reference::Shape;

namespace {

/// Reads one blob by the text of Layout.h.
class BlobReader {
  const EncodedWeight &w;
  const std::vector<std::byte> &blob;
  std::vector<bool> used; ///< bits that were read
  const Encoding &e;
  uint64_t tiles, units, tileBytes, stepsAt, rowsAt;
  bool stepsInside;
  int stepEntry;

  static uint64_t up(uint64_t v, uint64_t a) { return (v + a - 1) / a * a; }

  uint64_t chunksOf(uint64_t u) const {
    return u < w.K / 256 ? 8 : (w.K % 256 + 31) / 32;
  }
  uint64_t codeBytes(uint64_t chunks) const {
    return 16 * chunks * 32 * e.codes.bits / 8;
  }
  int entries() const { return e.group == 16 ? 8 : 4; }
  uint64_t columnsOf(uint64_t chunks) const {
    return e.group == 0    ? 0
           : e.group <= 32 ? chunks
                           : (chunks * 32 + e.group - 1) / e.group;
  }
  uint64_t recordBytes() const {
    return e.group == 0
               ? 0
               : (uint64_t(entries()) * (e.scale.fieldBits() + e.offset.fieldBits()) +
                  7) /
                     8;
  }
  uint64_t sizeOfUnit(uint64_t chunks) const {
    uint64_t b = up(codeBytes(chunks) + 4 * columnsOf(chunks) * recordBytes(), 16);
    return up(b + (stepsInside ? 16 * uint64_t(stepEntry) : 0), 32);
  }
  uint64_t unitAt(uint64_t t, uint64_t u) const {
    return t * tileBytes + u * sizeOfUnit(8);
  }

public:
  BlobReader(const EncodedWeight &w, const std::vector<std::byte> &blob)
      : w(w), blob(blob), used(blob.size() * 8), e(w.encoding) {
    stepEntry = int(e.scale.blockBytes() + e.offset.blockBytes());
    tiles = (w.N + 15) / 16;
    units = (w.K + 255) / 256;
    stepsInside =
        stepEntry != 0 && (codeBytes(8) + 4 * columnsOf(8) * recordBytes()) % 128 != 0;
    tileBytes = w.K / 256 * sizeOfUnit(8);
    if (w.K % 256)
      tileBytes += sizeOfUnit(chunksOf(units - 1));
    tileBytes = up(tileBytes, 128);
    stepsAt = tiles * tileBytes;
    rowsAt =
        stepsAt + (stepsInside ? 0 : up(tiles * units * 16 * uint64_t(stepEntry), 128));
  }

  /// Bytes of the whole blob.
  uint64_t size() const {
    uint64_t row = rowBytes(e.scale), offsetRow = rowBytes(e.offset);
    return up(rowsAt + up(tiles * 16 * row, 128) + tiles * 16 * offsetRow, 128);
  }
  uint64_t rowBytes(const MetaStorage &m) const {
    uint64_t b = e.group == 0 ? (m.fieldBits() + 7) / 8 : 0;
    if (m.scope == StepScope::row)
      b += (m.kind == MetaStorage::Kind::log ? 2 : 1) * byteWidth(m.type);
    return b;
  }

  uint32_t bit(uint64_t byte, unsigned index) {
    used[byte * 8 + index] = true;
    return uint32_t(blob[byte]) >> index & 1;
  }
  uint32_t bits(uint64_t byte, unsigned first, unsigned count) {
    uint32_t v = 0;
    for (unsigned i = 0; i < count; ++i)
      v |= bit(byte + (first + i) / 8, (first + i) % 8) << i;
    return v;
  }

  uint32_t code(uint64_t n, uint64_t k) {
    uint64_t t = n / 16, r = n % 16, u = k / 256, chunks = chunksOf(u);
    uint64_t j = r / 4, r0 = r % 4, c = k % 256 / 32;
    unsigned i = unsigned(k % 32), b = e.codes.bits;
    // Only full units swizzle the chunks of a row.
    auto swizzled = [&](uint64_t row) { return chunks == 8 ? c ^ row % 8 : c; };
    uint64_t at = unitAt(t, u), place = (4 * j + r0) * chunks + swizzled(r);
    uint64_t plane = 16 * chunks * 16;
    if (b == 8)
      return bits(at + (i / 16) * plane + place * 16 + i % 16, 0, 8);
    uint32_t v = 0;
    unsigned have = 0; // bits of the code that came from planes before
    if (b == 4 || b == 5 || b == 6) {
      v = bits(at + place * 16 + i % 16, i < 16 ? 0 : 4, 4);
      at += plane;
      have = 4;
    }
    if (b == 2 || b == 3 || b == 6) {
      uint64_t two = (j / 2) * 4 + r0;
      uint64_t word =
          at + (two * chunks + swizzled(two)) * 16 + (j % 2) * 8 + (i / 16) * 4;
      v |= bits(word + i % 4, 2 * (i % 16 / 4), 2) << have;
      at += plane / 2;
      have += 2;
    }
    if (b == 3 || b == 5) // byte b, bit i is column 4 i + b
      v |= bit(at + (r * chunks + c) * 4 + i % 4, i / 4) << have;
    return v;
  }

  uint32_t field(bool offset, uint64_t n, uint64_t g) {
    const MetaStorage &m = offset ? e.offset : e.scale;
    if (e.group == 0)
      return bits(rowAt(offset, n), 0, m.fieldBits());
    uint64_t t = n / 16, r = n % 16, u = g * e.group / 256;
    uint64_t chunks = chunksOf(u), columns = columnsOf(chunks);
    uint64_t j = r / 4, r0 = r % 4;
    uint64_t inUnit = g - u * (256 / e.group);
    uint64_t p = e.group == 16 ? inUnit / 2 : inUnit;
    uint64_t entry = e.group == 16 ? 2 * j + inUnit % 2 : j;
    uint64_t first = offset ? uint64_t(entries()) * e.scale.fieldBits() +
                                  entry * e.offset.fieldBits()
                            : entry * e.scale.fieldBits();
    uint64_t planes = unitAt(t, u) + codeBytes(chunks);
    uint32_t v = 0;
    for (unsigned i = 0; i < m.fieldBits(); ++i) {
      // The piece that has this bit: 16-byte pieces first, then 8, 4, 2, 1.
      uint64_t byte = (first + i) / 8, start = 0, left = recordBytes(), size = 16;
      while (true) {
        while (size > left)
          size /= 2;
        if (byte < start + size)
          break;
        start += size;
        left -= size;
      }
      uint64_t at =
          planes + 4 * columns * start + (r0 * columns + p) * size + (byte - start);
      v |= bit(at, unsigned(first + i) % 8) << i;
    }
    return v;
  }

  uint64_t rowAt(bool offset, uint64_t n) const {
    uint64_t scaleRows = up(tiles * 16 * rowBytes(e.scale), 128);
    return offset ? rowsAt + scaleRows + n * rowBytes(e.offset)
                  : rowsAt + n * rowBytes(e.scale);
  }

  /// Constant i of row n: a block step, a row step, or base and step.
  uint32_t constant(bool offset, uint64_t n, uint64_t i) {
    const MetaStorage &m = offset ? e.offset : e.scale;
    unsigned width = byteWidth(m.type);
    if (m.scope == StepScope::block) {
      uint64_t t = n / 16, j = n % 16 / 4, r0 = n % 4;
      uint64_t at = stepsInside ? unitAt(t, i) +
                                      up(codeBytes(chunksOf(i)) +
                                             4 * columnsOf(chunksOf(i)) * recordBytes(),
                                         16)
                                : stepsAt + (t * units + i) * 16 * uint64_t(stepEntry);
      at += (r0 * 4 + j) * uint64_t(stepEntry);
      return bits(at + (offset ? e.scale.blockBytes() : 0), 0, 8 * width);
    }
    uint64_t field = e.group == 0 ? (m.fieldBits() + 7) / 8 : 0;
    return bits(rowAt(offset, n) + field + i * width, 0, 8 * width);
  }

  /// Whether every bit that was never read is zero.
  bool restIsZero() const {
    for (size_t i = 0; i < used.size(); ++i)
      if (!used[i] && (uint32_t(blob[i / 8]) >> (i % 8) & 1))
        return false;
    return true;
  }
};

void expectSame(const EncodedWeight &a, const EncodedWeight &b) {
  EXPECT_EQ(a.encoding, b.encoding);
  EXPECT_EQ(a.fields, b.fields);
  EXPECT_EQ(a.scaleFields, b.scaleFields);
  EXPECT_EQ(a.offsetFields, b.offsetFields);
  EXPECT_EQ(a.scaleSteps, b.scaleSteps);
  EXPECT_EQ(a.offsetSteps, b.offsetSteps);
}

void checkBlob(const Encoding &e, Shape s, std::mt19937_64 &rng) {
  SCOPED_TRACE(e.str() + " " + std::to_string(s.N) + "x" + std::to_string(s.K));
  EncodedWeight w = reference::randomEncoded(e, s.N, s.K, rng);
  // Dirty memory: pack must write every byte.
  std::vector<std::byte> blob(layoutOf(e, s.N, s.K).bytes(), std::byte(0xA5));
  auto ok = pack(w, blob);
  ASSERT_TRUE(ok) << ok.error();

  BlobReader reader(w, blob);
  ASSERT_EQ(reader.size(), blob.size());
  ASSERT_EQ(blob.size() % 128, 0u);
  uint64_t G = e.group ? s.K / e.group : 1;
  for (uint64_t n = 0; n < s.N; ++n) {
    for (uint64_t k = 0; k < s.K; ++k)
      ASSERT_EQ(reader.code(n, k), w.fields[n * s.K + k]) << n << " " << k;
    for (bool offset : {false, true}) {
      const auto &fields = offset ? w.offsetFields : w.scaleFields;
      const auto &steps = offset ? w.offsetSteps : w.scaleSteps;
      if (!fields.empty())
        for (uint64_t g = 0; g < G; ++g)
          ASSERT_EQ(reader.field(offset, n, g), fields[n * G + g]) << n << g;
      uint64_t perRow = steps.size() / s.N;
      for (uint64_t i = 0; i < perRow; ++i)
        ASSERT_EQ(reader.constant(offset, n, i), steps[n * perRow + i]) << n;
    }
  }
  ASSERT_TRUE(reader.restIsZero());

  auto back = unpack(e, s.N, s.K, blob);
  ASSERT_TRUE(back) << back.error();
  expectSame(*back, w);
}

} // namespace

TEST(Pack, EveryCodeAndGroupAtOddShapes) {
  std::mt19937_64 rng(11);
  for (uint8_t bits : {2, 3, 4, 5, 6, 8})
    for (bool isSigned : {false, true})
      for (unsigned group : {16u, 32u, 64u, 128u, 256u, 0u})
        for (const char *name : {"row-u8", "block-u8", "f32"}) {
          auto e = namedEncoding(name, {bits, isSigned}, group, Form::zero);
          if (!e)
            continue; // block steps with one group per row
          for (Shape s : reference::oddShapes(group))
            checkBlob(*e, s, rng);
        }
}

TEST(Pack, CodesOfATable) {
  std::mt19937_64 rng(16);
  for (Form form : {Form::symmetric, Form::zero, Form::min})
    for (unsigned group : {16u, 32u, 256u, 0u})
      for (CodeKind kind : reference::kTables) {
        Encoding e = *namedEncoding("row-u8", CodeType::table(kind), group, form);
        for (Shape s : reference::oddShapes(group)) {
          checkBlob(e, s, rng);
          EncodedWeight w = reference::randomEncoded(e, s.N, s.K, rng);
          auto values = dequantize(w);
          auto exact = decode(w);
          ASSERT_TRUE(values && exact);
          for (uint64_t i = 0; i < s.N * s.K; ++i) {
            double want = reference::weight(w, i / s.K, i % s.K);
            ASSERT_EQ((*values)[i], float(want));
            ASSERT_EQ(exact->weight(i / s.K, i % s.K), want);
          }
        }
      }
}

TEST(Pack, EveryStorage) {
  std::mt19937_64 rng(12);
  for (unsigned group : {16u, 32u, 256u, 0u}) {
    auto scales = reference::allStorages(true, group);
    auto offsets = reference::allStorages(false, group);
    // Each at least once, beside random partners.
    for (size_t i = 0; i < 3 * std::max(scales.size(), offsets.size()); ++i) {
      bool first = i % 2;
      const MetaStorage &scale =
          scales[first ? i / 2 % scales.size() : rng() % scales.size()];
      const MetaStorage &offset =
          offsets[first ? rng() % offsets.size() : i / 2 % offsets.size()];
      checkBlob({{5, false}, group, Form::min, scale, offset},
                {19, group == 0 ? 289u : 512 + group}, rng);
    }
  }
}

TEST(Pack, NativeGguf) {
  std::mt19937_64 rng(13);
  for (const char *type :
       {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
        "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4"})
    for (Shape s : {Shape{1, 256}, {17, 512}, {40, 1280}})
      checkBlob(*ggufEncoding(type), s, rng);
}

TEST(Pack, Random) {
  std::mt19937_64 rng(14);
  for (int i = 0; i < 300; ++i) {
    Encoding e = reference::randomEncoding(rng);
    auto shapes = reference::oddShapes(e.group);
    checkBlob(e, shapes[rng() % shapes.size()], rng);
  }
}

TEST(Pack, RejectsWhatDoesNotFit) {
  std::mt19937_64 rng(15);
  Encoding e = *namedEncoding("row-u8", {4, false}, 32, Form::zero);
  EncodedWeight w = reference::randomEncoded(e, 4, 64, rng);
  std::vector<std::byte> blob(layoutOf(e, 4, 64).bytes());
  ASSERT_TRUE(pack(w, blob));
  EXPECT_EQ(pack(w, std::span(blob).first(100)).error(),
            "the blob has 100 bytes, a 4 x 64 weight of this encoding has " +
                std::to_string(blob.size()));
  EXPECT_FALSE(unpack(e, 4, 64, std::span(blob).first(100)));
  EXPECT_FALSE(unpack(e, 4, 65, blob));
  w.fields[70] = 16;
  EXPECT_EQ(pack(w, blob).error(),
            "code field 16 at row 1, column 6 does not fit 4 bits");
  w.fields[70] = 1;
  w.scaleFields[3] = 256;
  EXPECT_EQ(pack(w, blob).error(), "a scale field does not fit 8 bits");
  w.scaleFields.pop_back();
  EXPECT_EQ(pack(w, blob).error(), "the weight has 7 scale fields, its shape "
                                   "and encoding need 8");
}
