//===- Packed.cpp - The C ABI of parts of packed weights ------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qlinear-runtime/packed.h"

#include "Status.h"
#include "qlinear/Encoding/Codec.h"
#include "qlinear/Encoding/Layout.h"
#include "qlinear/Encoding/Slice.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <tbb/parallel_for.h>
#include <vector>

using namespace qlinear;
using namespace qlinear::runtime;

namespace {

Status invalid(const std::string &message) {
  return fail(QLR_INVALID_ARGUMENT, message);
}

/// Calls `body` with the encoding; its errors are reported as errors of arguments.
template <typename Body> Status withEncoding(const char *spelling, Body body) {
  if (!spelling)
    return invalid("the encoding is null");
  Result<Encoding> encoding = Encoding::parse(spelling);
  if (!encoding)
    return invalid(text("encoding '", spelling, "': ", encoding.error()));
  auto done = body(*encoding);
  return done ? Status{} : invalid(done.error());
}

uint64_t count(int64_t value) { return uint64_t(value); }

Status requireCounts(std::initializer_list<int64_t> values) {
  for (int64_t value : values)
    if (value < 0)
      return invalid(
          text("a number of rows or columns is ", value, "; they count from 0"));
  return {};
}

std::span<const std::byte> bytesOf(const qlr_blob &blob) {
  return {static_cast<const std::byte *>(blob.data), blob.data ? blob.bytes : 0};
}
std::span<std::byte> bytesOf(void *data, size_t bytes) {
  return {static_cast<std::byte *>(data), data ? bytes : 0};
}

} // namespace

qlr_status qlr_packed_bytes(const char *encoding, int64_t n, int64_t k, size_t *bytes) {
  return guarded([&]() -> Status {
    if (!bytes)
      return invalid("qlr_packed_bytes: `bytes` is null");
    QLR_TRY(requireCounts({n, k}));
    return withEncoding(encoding, [&](const Encoding &e) {
      Result<uint64_t> size = packedBytes(e, count(n), count(k));
      if (size)
        *bytes = *size;
      return size;
    });
  });
}

qlr_status qlr_packed_slice(const char *encoding, int64_t n, int64_t k, qlr_blob whole,
                            int64_t row_begin, int64_t row_end, int64_t column_begin,
                            int64_t column_end, void *part, size_t part_bytes) {
  return guarded([&]() -> Status {
    QLR_TRY(requireCounts({n, k, row_begin, row_end, column_begin, column_end}));
    return withEncoding(encoding, [&](const Encoding &e) {
      return slice(e, count(n), count(k), bytesOf(whole),
                   {count(row_begin), count(row_end)},
                   {count(column_begin), count(column_end)}, bytesOf(part, part_bytes));
    });
  });
}

qlr_status qlr_packed_concat(const char *encoding, qlr_axis axis, int64_t other,
                             const int64_t *extents, const qlr_blob *parts,
                             int32_t n_parts, void *whole, size_t whole_bytes) {
  return guarded([&]() -> Status {
    if (n_parts > 0 && (!extents || !parts))
      return invalid("qlr_packed_concat: `extents` or `parts` is null");
    int32_t along = std::bit_cast<int32_t>(axis); // any number may come from C
    if (along != QLR_ROWS && along != QLR_COLUMNS)
      return invalid("qlr_packed_concat: the axis is neither QLR_ROWS nor QLR_COLUMNS");
    QLR_TRY(requireCounts({other}));
    std::vector<Part> all;
    for (int32_t i = 0; i < n_parts; ++i) {
      QLR_TRY(requireCounts({extents[i]}));
      all.push_back({count(extents[i]), bytesOf(parts[i])});
    }
    return withEncoding(encoding, [&](const Encoding &e) {
      return concat(e, along == QLR_ROWS ? Axis::rows : Axis::columns, count(other),
                    all, bytesOf(whole, whole_bytes));
    });
  });
}

/// Decodes the tile that a row lies in, which is the least that can be cut off.
static Result<void> readRow(const Encoding &e, uint64_t n, uint64_t k,
                            std::span<const std::byte> whole, uint64_t row,
                            float *values) {
  uint64_t begin = row / layout::kTileRows * layout::kTileRows;
  uint64_t end = std::min<uint64_t>(begin + layout::kTileRows, n);
  Result<uint64_t> size = packedBytes(e, end - begin, k);
  if (!size)
    return size.takeError();
  std::vector<std::byte> tile(*size);
  if (auto done = slice(e, n, k, whole, {begin, end}, {0, k}, tile); !done)
    return done;
  Result<EncodedWeight> codes = unpack(e, end - begin, k, tile);
  if (!codes)
    return codes.takeError();
  Result<std::vector<float>> floats = dequantize(*codes);
  if (!floats)
    return floats.takeError();
  std::copy_n(floats->data() + (row - begin) * k, k, values);
  return {};
}

qlr_status qlr_packed_rows(const char *encoding, int64_t n, int64_t k, qlr_blob whole,
                           const int64_t *rows, int64_t count, float *values) {
  return guarded([&]() -> Status {
    QLR_TRY(requireCounts({n, k, count}));
    if (count > 0 && (!rows || !values))
      return invalid("qlr_packed_rows: `rows` or `values` is null");
    for (int64_t i = 0; i < count; ++i)
      if (rows[i] < 0 || rows[i] >= n)
        return invalid(text("row ", rows[i], " is asked for, and the weight has ", n,
                            " rows, which count from 0"));
    return withEncoding(encoding, [&](const Encoding &e) -> Result<void> {
      std::atomic<int64_t> failed = count;
      auto read = [&](int64_t i) {
        return readRow(e, uint64_t(n), uint64_t(k), bytesOf(whole), uint64_t(rows[i]),
                       values + i * k);
      };
      tbb::parallel_for(int64_t(0), count, [&](int64_t i) {
        if (!read(i))
          failed = i;
      });
      return failed == count ? Result<void>{} : read(failed);
    });
  });
}
