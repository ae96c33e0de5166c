//===- Slice.cpp - Parts of packed weights --------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A rectangle of tiles x units lies in three planes of the blob (Layout.h): in each
// tile's units, in its block steps, and in the constants of its rows. In each plane
// its bytes per tile (and all its rows' constants) are contiguous, in both weights.
// Columns that begin or end inside a unit go through the fields instead.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Slice.h"
#include "qlinear/Encoding/Codec.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::layout;

namespace {

/// A blob and how it is laid out.
template <typename Byte> struct Packed {
  WeightLayout layout;
  Byte *bytes;
};
using Source = Packed<const std::byte>;
using Target = Packed<std::byte>;

/// The corner of a rectangle: the first row and column, multiples of kTileRows, kUnitK.
struct Corner {
  u64 row = 0, column = 0;
  u64 tile() const { return row / kTileRows; }
  u64 unit() const { return column / kUnitK; }
};

Error cutError(const char *what, Range range, uint64_t size, uint64_t step) {
  return error(fmt::format(
      "{} {} .. {} of {} cannot be cut out: a range begins at a multiple of {} and "
      "ends at one or at {}; {}",
      what, range.begin, range.end, size, step, size,
      range.begin >= range.end || range.end > size
          ? fmt::format("it lies in 0 .. {} and is not empty", size)
          : "move the cut, or dequantize and pack the part"));
}

/// Whether a weight can be cut at both ends of `range`.
Result<void> checkCut(const char *what, Range range, uint64_t size, uint64_t step) {
  bool ends = range.end == size || range.end % step == 0;
  if (range.begin < range.end && range.end <= size && range.begin % step == 0 && ends)
    return {};
  return cutError(what, range, size, step);
}

Result<void> checkBytes(const std::string &what, const WeightLayout &layout,
                        size_t size) {
  if (size == layout.bytes())
    return {};
  return error(
      fmt::format("{} has {} bytes; a packed {} x {} weight of this encoding has {}",
                  what, size, layout.N, layout.K, layout.bytes()));
}

void copy(const Source &from, u64 fromAt, const Target &to, u64 toAt, u64 bytes) {
  std::memcpy(to.bytes + toAt, from.bytes + fromAt, bytes);
}

/// Codes, group records and block steps of `units` units of `tiles` tiles.
void copyUnits(const Source &from, Corner at, const Target &to, Corner toAt, u64 tiles,
               u64 units) {
  // Only the last unit of a row may be a tail, in both weights.
  u64 end = at.unit() + units;
  bool hasTail = end > from.layout.fullUnits();
  u64 unitBytes = (units - hasTail) * u64(from.layout.fullUnit().bytes()) +
                  (hasTail ? u64(from.layout.tailUnit().bytes()) : 0);
  bool stepsOutside = !from.layout.fullUnit().stepsInside();
  u64 stepBytes = stepsOutside ? units * u64(from.layout.fullUnit().stepBytes()) : 0;
  tbb::parallel_for(u64(0), tiles, [&](u64 t) {
    u64 tile = at.tile() + t, toTile = toAt.tile() + t;
    copy(from, from.layout.unitOffset(tile, at.unit()), to,
         to.layout.unitOffset(toTile, toAt.unit()), unitBytes);
    copy(from, from.layout.stepsOffset(tile, at.unit()), to,
         to.layout.stepsOffset(toTile, toAt.unit()), stepBytes);
  });
}

/// The constants of `rows` rows.
void copyRows(const Source &from, u64 row, const Target &to, u64 toRow, u64 rows) {
  copy(from, from.layout.rowScaleOffset(row), to, to.layout.rowScaleOffset(toRow),
       rows * u64(from.layout.rowScaleBytes()));
  copy(from, from.layout.rowOffsetOffset(row), to, to.layout.rowOffsetOffset(toRow),
       rows * u64(from.layout.rowOffsetBytes()));
}

/// The first row whose constants differ, or N.
u64 firstUnlikeRow(const Source &a, const Source &b) {
  auto same = [&](u64 atA, u64 atB, int bytes) {
    return std::memcmp(a.bytes + atA, b.bytes + atB, size_t(bytes)) == 0;
  };
  for (u64 n = 0; n < a.layout.N; ++n)
    if (!same(a.layout.rowScaleOffset(n), b.layout.rowScaleOffset(n),
              a.layout.rowScaleBytes()) ||
        !same(a.layout.rowOffsetOffset(n), b.layout.rowOffsetOffset(n),
              a.layout.rowOffsetBytes()))
      return n;
  return a.layout.N;
}

/// Entries begin .. end - 1 of each of `rows` rows of `all`.
template <typename T>
std::vector<T> cutEntries(const std::vector<T> &all, uint64_t rows, Range entries) {
  std::vector<T> result;
  uint64_t perRow = all.size() / rows;
  for (uint64_t n = 0; n < rows && perRow; ++n)
    result.insert(result.end(), all.begin() + n * perRow + entries.begin,
                  all.begin() + n * perRow + entries.end);
  return result;
}

/// Columns that begin or end inside a unit, of an encoding without steps of blocks:
/// codes and fields stay what they are, and are laid out anew. `band` has N rows.
Result<void> repackColumns(const Encoding &encoding, uint64_t N, uint64_t K,
                           std::span<const std::byte> band, Range columns,
                           std::span<std::byte> part) {
  Result<EncodedWeight> whole = unpack(encoding, N, K, band);
  if (!whole)
    return whole.takeError();
  uint64_t group = encoding.group;
  Range groups = group == kWholeRow ? Range{0, 1}
                                    : Range{columns.begin / group, columns.end / group};
  EncodedWeight cut{encoding, N, columns.size(), {}, {}, {}, {}, {}};
  cut.fields = cutEntries(whole->fields, N, columns);
  cut.scaleFields = cutEntries(whole->scaleFields, N, groups);
  cut.offsetFields = cutEntries(whole->offsetFields, N, groups);
  cut.scaleSteps = std::move(whole->scaleSteps);
  cut.offsetSteps = std::move(whole->offsetSteps);
  return pack(cut, part);
}

} // namespace

uint64_t qlinear::cutStep(const Encoding &encoding, Axis axis) {
  if (axis == Axis::rows)
    return kTileRows;
  // A unit, which is copied, or a group, for which the part is laid out anew; steps of
  // blocks are per unit.
  bool hasBlocks = encoding.scale.scope == StepScope::block ||
                   encoding.offset.scope == StepScope::block;
  return hasBlocks ? kUnitK : std::max(encoding.group, 1u);
}

std::string NamedPart::name() const {
  return fmt::format("{}[{} {}:{} of {}]", weight,
                     axis == Axis::rows ? "rows" : "columns", range.begin, range.end,
                     size);
}

std::optional<NamedPart> NamedPart::parse(std::string_view name) {
  size_t open = name.rfind('[');
  if (open == name.npos || name.back() != ']')
    return std::nullopt;
  NamedPart part;
  part.weight = name.substr(0, open);
  std::string_view rest = name.substr(open + 1);
  auto skip = [&](std::string_view text) {
    bool has = rest.starts_with(text);
    rest.remove_prefix(has ? text.size() : 0);
    return has;
  };
  auto number = [&](uint64_t &value) {
    auto [end, problem] =
        std::from_chars(rest.data(), rest.data() + rest.size(), value);
    rest.remove_prefix(size_t(end - rest.data()));
    return problem == std::errc();
  };
  part.axis = skip("columns ") ? Axis::columns : Axis::rows;
  bool isPart = (part.axis == Axis::columns || skip("rows ")) &&
                number(part.range.begin) && skip(":") && number(part.range.end) &&
                skip(" of ") && number(part.size) && rest == "]";
  return isPart ? std::optional(part) : std::nullopt;
}

Result<uint64_t> qlinear::packedBytes(const Encoding &encoding, uint64_t N,
                                      uint64_t K) {
  if (auto r = encoding.verifyShape(N, K); !r)
    return r.takeError();
  return layoutOf(encoding, N, K).bytes();
}

Result<void> qlinear::slice(const Encoding &encoding, uint64_t N, uint64_t K,
                            std::span<const std::byte> blob, Range rows, Range columns,
                            std::span<std::byte> part) {
  if (auto r = encoding.verifyShape(N, K); !r)
    return r;
  if (auto r = checkCut("rows", rows, N, cutStep(encoding, Axis::rows)); !r)
    return r;
  if (auto r = checkCut("columns", columns, K, cutStep(encoding, Axis::columns)); !r)
    return r;
  Source from{layoutOf(encoding, N, K), blob.data()};
  Target to{layoutOf(encoding, rows.size(), columns.size()), part.data()};
  if (auto r = checkBytes("the weight", from.layout, blob.size()); !r)
    return r;
  if (auto r = checkBytes("the place of the part", to.layout, part.size()); !r)
    return r;
  bool isUnits =
      columns.begin % kUnitK == 0 && (columns.end % kUnitK == 0 || columns.end == K);
  if (!isUnits) {
    // The units that the columns lie in.
    Range units{columns.begin / kUnitK * kUnitK,
                std::min(K, (columns.end + kUnitK - 1) / kUnitK * kUnitK)};
    Result<uint64_t> bytes = packedBytes(encoding, rows.size(), units.size());
    if (!bytes)
      return bytes.takeError();
    std::vector<std::byte> band(*bytes);
    if (auto r = slice(encoding, N, K, blob, rows, units, band); !r)
      return r;
    return repackColumns(encoding, rows.size(), units.size(), band,
                         {columns.begin - units.begin, columns.end - units.begin},
                         part);
  }
  std::memset(part.data(), 0, part.size()); // padding
  copyUnits(from, {rows.begin, columns.begin}, to, {}, to.layout.tiles(),
            to.layout.unitsPerTile());
  copyRows(from, rows.begin, to, 0, rows.size());
  return {};
}

Result<void> qlinear::concat(const Encoding &encoding, Axis axis, uint64_t other,
                             std::span<const Part> parts, std::span<std::byte> blob) {
  bool isRows = axis == Axis::rows;
  auto layoutFor = [&](uint64_t extent) {
    return isRows ? layoutOf(encoding, extent, other)
                  : layoutOf(encoding, other, extent);
  };
  uint64_t total = 0, step = isRows ? kTileRows : kUnitK;
  const char *what = isRows ? "rows" : "columns";
  std::vector<Source> sources;
  for (size_t i = 0; i < parts.size(); ++i) {
    std::string name = fmt::format("part {} of {}", i, parts.size());
    WeightLayout layout = layoutFor(parts[i].extent);
    if (auto r = encoding.verifyShape(layout.N, layout.K); !r)
      return error(name + ": " + r.error());
    if (i + 1 < parts.size() && parts[i].extent % step)
      return error(fmt::format(
          "{} has {} {}; all parts but the last have a multiple of {}, at which the "
          "layout can be cut: change their order, or dequantize and pack the whole",
          name, parts[i].extent, what, step));
    if (auto r = checkBytes(name, layout, parts[i].blob.size()); !r)
      return r;
    sources.push_back({layout, parts[i].blob.data()});
    total += parts[i].extent;
    if (isRows)
      continue;
    if (u64 row = firstUnlikeRow(sources[0], sources[i]); row < other)
      return error(fmt::format(
          "row {} has other constants in {} than in part 0; parts along K share the "
          "constants of their rows: dequantize and pack the whole, or use an encoding "
          "with steps per block",
          row, name));
  }
  if (parts.empty())
    return error("there are no parts to put together");
  WeightLayout layout = layoutFor(total);
  if (auto r = encoding.verifyShape(layout.N, layout.K); !r)
    return r;
  Target to{layout, blob.data()};
  if (auto r = checkBytes("the place of the whole", layout, blob.size()); !r)
    return r;
  std::memset(blob.data(), 0, blob.size()); // padding
  Corner at;
  for (const Source &from : sources) {
    copyUnits(from, {}, to, at, from.layout.tiles(), from.layout.unitsPerTile());
    copyRows(from, 0, to, at.row, from.layout.N);
    (isRows ? at.row : at.column) += isRows ? from.layout.N : from.layout.K;
  }
  return {};
}
