//===- SliceTest.cpp - Parts of packed weights ----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A part is compared, byte for byte, with what pack() makes of that part of the fields
// and constants, which is cut out here element by element.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Slice.h"

#include "Reference.h"

#include <gtest/gtest.h>

using namespace qlinear;

namespace {

using Bytes = std::vector<std::byte>;

Bytes packed(const EncodedWeight &w) {
  Bytes blob(layoutOf(w.encoding, w.N, w.K).bytes());
  auto ok = pack(w, blob);
  EXPECT_TRUE(ok) << ok.error();
  return blob;
}

/// Entries begin .. end - 1 of the `perRow` entries of each row of the range.
template <typename T>
std::vector<T> cut(const std::vector<T> &all, uint64_t perRow, Range rows,
                   Range entries) {
  std::vector<T> out;
  for (uint64_t n = rows.begin; n < rows.end && !all.empty(); ++n)
    for (uint64_t i = entries.begin; i < entries.end; ++i)
      out.push_back(all[n * perRow + i]);
  return out;
}

EncodedWeight cut(const EncodedWeight &w, Range rows, Range columns) {
  const Encoding &e = w.encoding;
  EncodedWeight part{e, rows.size(), columns.size(), {}, {}, {}, {}, {}};
  part.fields = cut(w.fields, w.K, rows, columns);
  uint64_t group = e.group;
  Range groups =
      group ? Range{columns.begin / group, columns.end / group} : Range{0, 1};
  uint64_t G = group ? w.K / group : 1;
  part.scaleFields = cut(w.scaleFields, G, rows, groups);
  part.offsetFields = cut(w.offsetFields, G, rows, groups);
  auto steps = [&](const MetaStorage &m, const std::vector<uint32_t> &all) {
    uint64_t perRow = all.size() / w.N;
    Range range{0, perRow};
    if (m.scope == StepScope::block)
      range = {columns.begin / 256, (columns.end + 255) / 256};
    return cut(all, perRow, rows, range);
  };
  part.scaleSteps = steps(e.scale, w.scaleSteps);
  part.offsetSteps = steps(e.offset, w.offsetSteps);
  return part;
}

/// Random cuts of 0 .. size at multiples of `step`: at least the two ends.
std::vector<uint64_t> randomCuts(uint64_t size, uint64_t step, std::mt19937_64 &rng) {
  std::vector<uint64_t> cuts{0};
  for (uint64_t at = step; at < size; at += step)
    if (rng() % 2)
      cuts.push_back(at);
  cuts.push_back(size);
  return cuts;
}

Bytes sliced(const EncodedWeight &w, const Bytes &blob, Range rows, Range columns) {
  auto size = packedBytes(w.encoding, rows.size(), columns.size());
  EXPECT_TRUE(size) << size.error();
  Bytes part(*size, std::byte(0xA5)); // every byte is written
  auto ok = slice(w.encoding, w.N, w.K, blob, rows, columns, part);
  EXPECT_TRUE(ok) << ok.error();
  return part;
}

void checkParts(const Encoding &e, uint64_t N, uint64_t K, std::mt19937_64 &rng) {
  SCOPED_TRACE(e.str() + " " + std::to_string(N) + " x " + std::to_string(K));
  EncodedWeight w = reference::randomEncoded(e, N, K, rng);
  Bytes blob = packed(w);
  std::vector<uint64_t> rows = randomCuts(N, 16, rng),
                        columns = randomCuts(K, 256, rng);
  std::vector<Bytes> bands; // all columns, some rows
  std::vector<Part> bandParts;
  for (size_t i = 0; i + 1 < rows.size(); ++i) {
    Range r{rows[i], rows[i + 1]};
    std::vector<Bytes> pieces;
    std::vector<Part> parts;
    for (size_t j = 0; j + 1 < columns.size(); ++j) {
      Range c{columns[j], columns[j + 1]};
      pieces.push_back(sliced(w, blob, r, c));
      ASSERT_EQ(pieces.back(), packed(cut(w, r, c)))
          << "rows " << r.begin << " columns " << c.begin;
    }
    for (size_t j = 0; j < pieces.size(); ++j)
      parts.push_back({columns[j + 1] - columns[j], pieces[j]});
    bands.push_back(sliced(w, blob, r, {0, K}));
    Bytes joined(bands.back().size(), std::byte(0x5A));
    auto ok = concat(e, Axis::columns, r.size(), parts, joined);
    ASSERT_TRUE(ok) << ok.error();
    ASSERT_EQ(joined, bands.back());
  }
  for (size_t i = 0; i < bands.size(); ++i)
    bandParts.push_back({rows[i + 1] - rows[i], bands[i]});
  Bytes joined(blob.size(), std::byte(0x5A));
  auto ok = concat(e, Axis::rows, K, bandParts, joined);
  ASSERT_TRUE(ok) << ok.error();
  ASSERT_EQ(joined, blob);
}

} // namespace

TEST(Slice, PartsAreThoseOfPackingParts) {
  std::mt19937_64 rng(31);
  static constexpr uint64_t rows[] = {1, 15, 16, 17, 32, 33, 50, 64};
  for (int i = 0; i < 400; ++i) {
    Encoding e = reference::randomEncoding(rng);
    uint64_t g = e.group ? e.group : 1 + rng() % 64;
    uint64_t K = (1 + rng() % (1400 / g)) * g;
    checkParts(e, rows[rng() % 8], K, rng);
  }
}

TEST(Slice, ColumnsOfGroupsAreThoseOfPackingParts) {
  // Cuts inside units: exact where no step is of a unit, refused by name elsewhere.
  std::mt19937_64 rng(35);
  int exact = 0, refused = 0;
  for (int i = 0; i < 400; ++i) {
    Encoding e = reference::randomEncoding(rng);
    uint64_t g = e.group ? e.group : 1 + rng() % 64, G = 2 + rng() % (1400 / g);
    uint64_t N = 17 + rng() % 30, K = G * g;
    EncodedWeight w = reference::randomEncoded(e, N, K, rng);
    Bytes blob = packed(w);
    uint64_t a = rng() % G, b = a + 1 + rng() % (G - a);
    Range rows{rng() % 2 * 16, N}, columns{a * g, b * g};
    SCOPED_TRACE(e.str() + " " + std::to_string(N) + " x " + std::to_string(K));
    bool hasBlocks =
        e.scale.scope == StepScope::block || e.offset.scope == StepScope::block;
    bool atUnits =
        columns.begin % 256 == 0 && (columns.end % 256 == 0 || columns.end == K);
    if (!hasBlocks || atUnits) {
      ASSERT_EQ(sliced(w, blob, rows, columns), packed(cut(w, rows, columns)))
          << "columns " << columns.begin << " .. " << columns.end;
      ++exact;
      continue;
    }
    Bytes part(*packedBytes(e, rows.size(), columns.size()));
    auto r = slice(e, N, K, blob, rows, columns, part);
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().find("begins at a multiple of 256"), std::string::npos)
        << r.error();
    ++refused;
  }
  EXPECT_GT(exact, 100);
  EXPECT_GT(refused, 20);
}

TEST(Slice, PartsHaveNames) {
  NamedPart part{"blk.0.up[1]", Axis::columns, {256, 512}, 1024};
  EXPECT_EQ(part.name(), "blk.0.up[1][columns 256:512 of 1024]");
  auto again = NamedPart::parse(part.name());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->weight, part.weight);
  EXPECT_EQ(again->name(), part.name());
  EXPECT_EQ(NamedPart::parse("w[rows 0:16 of 48]")->axis, Axis::rows);
  for (const char *other :
       {"", "w", "w]", "w[", "w[]", "w[rows 0:16]", "w[rows 0:16 of]",
        "w[rows :16 of 48]", "w[rows 0:16 of 48", "w[row 0:16 of 48]",
        "w[rows -1:16 of 48]", "w[rows 0:16 of 48] ",
        "w[rows 0:16 of 480000000000000000000]"})
    EXPECT_FALSE(NamedPart::parse(other)) << other;
}

TEST(Slice, RowsOfFloatsAreEncodedAlone) {
  // Rows do not know each other: cutting floats first gives the same bytes.
  std::mt19937_64 rng(32);
  uint64_t N = 50, K = 608;
  std::vector<float> w(N * K);
  for (float &v : w)
    v = float(reference::normal(rng));
  for (const char *name : {"row-u8", "block-u8", "bf16"}) {
    auto e = namedEncoding(name, {4, false}, 32, Form::zero);
    ASSERT_TRUE(e);
    auto packFloats = [&](std::span<const float> part) {
      auto exact = quantize(part, part.size() / K, K, {{4, false}, 32, Form::zero});
      auto coded = encode(*exact, *e);
      EXPECT_TRUE(coded) << coded.error();
      return packed(*coded);
    };
    Bytes blob = packFloats(w), part(*packedBytes(*e, 32, K));
    ASSERT_TRUE(slice(*e, N, K, blob, {16, 48}, {0, K}, part));
    EXPECT_EQ(part, packFloats(std::span(w).subspan(16 * K, 32 * K)));
  }
}

TEST(Slice, RefusesCutsInsideTilesAndUnits) {
  std::mt19937_64 rng(33);
  Encoding e = *namedEncoding("row-u8", {4, false}, 32, Form::zero);
  EncodedWeight w = reference::randomEncoded(e, 40, 608, rng);
  Bytes blob = packed(w), part(*packedBytes(e, 16, 256));
  auto why = [&](Range rows, Range columns) {
    auto r = slice(e, 40, 608, blob, rows, columns, part);
    return r ? std::string() : r.error();
  };
  EXPECT_EQ(why({16, 32}, {256, 512}), "");
  EXPECT_EQ(why({8, 24}, {0, 256}),
            "rows 8 .. 24 of 40 cannot be cut out: a range begins at a multiple of 16 "
            "and ends at one or at 40; move the cut, or dequantize and pack the part");
  EXPECT_NE(why({0, 17}, {0, 256}), "");
  EXPECT_NE(why({0, 16}, {16, 272}), "");
  EXPECT_EQ(why({0, 16}, {32, 288}), "");
  EXPECT_NE(why({0, 16}, {256, 607}), "");
  EXPECT_EQ(why({16, 16}, {0, 256}),
            "rows 16 .. 16 of 40 cannot be cut out: a range begins at a multiple of 16 "
            "and ends at one or at 40; it lies in 0 .. 40 and is not empty");
  EXPECT_NE(why({32, 48}, {0, 256}), "");
  EXPECT_NE(why({48, 32}, {0, 256}), "");
  EXPECT_NE(why({~uint64_t(15), 32}, {0, 256}), "");
  EXPECT_EQ(why({0, 32}, {0, 256}).substr(0, 39),
            "the place of the part has 2560 bytes; a");
  EXPECT_FALSE(slice(e, 49, 608, blob, {0, 16}, {0, 256}, part)) << "other weight";
  EXPECT_FALSE(packedBytes(e, 16, 33));
  EXPECT_FALSE(packedBytes(e, 0, 32));
}

TEST(Slice, RefusesPartsThatDoNotFit) {
  std::mt19937_64 rng(34);
  Encoding e = *namedEncoding("row-u8", {4, false}, 32, Form::zero);
  EncodedWeight w = reference::randomEncoded(e, 18, 256, rng);
  EncodedWeight other = reference::randomEncoded(e, 18, 256, rng);
  Bytes a = packed(w), b = packed(other), whole(*packedBytes(e, 36, 256));
  auto why = [&](Axis axis, uint64_t across, std::vector<Part> parts) {
    auto r = concat(e, axis, across, parts, whole);
    return r ? std::string() : r.error();
  };
  EXPECT_EQ(why(Axis::rows, 256, {{18, a}, {18, b}}),
            "part 0 of 2 has 18 rows; all parts but the last have a multiple of 16, at "
            "which the layout can be cut: change their order, or dequantize and pack "
            "the whole");
  EXPECT_EQ(why(Axis::rows, 256, {}), "there are no parts to put together");
  EXPECT_NE(why(Axis::rows, 288, {{18, a}}), "");
  // The constants of one row alone.
  other = w;
  other.offsetSteps[17] ^= 1;
  b = packed(other);
  whole.resize(*packedBytes(e, 18, 512));
  EXPECT_EQ(why(Axis::columns, 18, {{256, a}, {256, b}}),
            "row 17 has other constants in part 1 of 2 than in part 0; parts along K "
            "share the constants of their rows: dequantize and pack the whole, or use "
            "an encoding with steps per block");
  EXPECT_EQ(why(Axis::columns, 18, {{256, a}, {256, a}}), "");
  other = w;
  other.scaleSteps[0] ^= 1;
  b = packed(other);
  EXPECT_NE(why(Axis::columns, 18, {{256, a}, {256, b}}), "");
}
