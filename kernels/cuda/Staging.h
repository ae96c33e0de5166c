//===- Staging.h - Activations and constants into shared memory -*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Quantization: per 32 columns d = max|x| / 127 and q = rint(x * (127 / max|x|)), with
// d and the quotient rounded to f32 and the exact product to an integer. Floats that
// stay floats are scaled by a power of two per 32 columns for tensor cores
// (HalfFragment.h). A thread takes half a chunk.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_STAGING_H
#define QLINEAR_KERNELS_CUDA_STAGING_H

#include "HalfFragment.h"
#include "Metadata.h"

namespace qlinear::kernels {

using layout::ActivationLayout;
inline constexpr int kItemsPerChunk = layout::kChunk / kItem;

/// 16 columns of x as they were loaded.
struct RawItem {
  u32x4 words[4];
};

/// Loads columns k .. k+15 of the row at `row`; columns past K are zero.
QL_INLINE RawItem loadItem(int type, const u8 *row, int k, int K) {
  RawItem item = {};
  int width = layout::floatBytes(type);
  if (K % kItem == 0) {
    if (k < K) {
      QL_UNROLL
      for (int i = 0; i < width; ++i)
        item.words[i] = ql_ptx_load16_l2(row + k * width + i * 16);
    }
    return item;
  }
  // Rows of such a matrix are not 16-byte aligned.
  QL_UNROLL
  for (int i = 0; i < kItem; ++i)
    if (k + i < K) {
      int bit = i * 8 * width;
      u32 value = width == 4 ? *(const volatile u32 *)(row + (k + i) * 4)
                             : *(const volatile u16 *)(row + (k + i) * 2);
      item.words[bit / 128][bit / 32 % 4] |= value << bit % 32;
    }
  return item;
}

/// The bits of max|x| as a float: magnitudes order as integers, NaN above infinity.
QL_INLINE u32 itemMagnitude(int type, const RawItem &item) {
  auto larger = [](auto a, auto b) { return __builtin_elementwise_max(a, b); };
  if (type == layout::kF32) {
    u32 most = 0;
    QL_UNROLL
    for (int i = 0; i < kItem; ++i)
      most = larger(most, item.words[i / 4][i % 4] & 0x7FFFFFFF);
    return most;
  }
  using u16x2 = u16 __attribute__((ext_vector_type(2)));
  u16x2 most = {0, 0};
  QL_UNROLL
  for (int i = 0; i < kItem / 2; ++i)
    most = larger(most, bitCast<u16x2>(item.words[i / 4][i % 4] & 0x7FFF7FFF));
  u32 bits = larger(most.x, most.y);
  return bitCast<u32>(floatField(&bits, 0, type));
}

QL_INLINE void itemValues(int type, const RawItem &item, float *values) {
  u32 words[16];
  QL_UNROLL
  for (int i = 0; i < 16; ++i)
    words[i] = item.words[i / 4][i % 4];
  QL_UNROLL
  for (int i = 0; i < kItem; ++i)
    values[i] = floatField(words, i * 8 * layout::floatBytes(type), type);
}

/// The correctly rounded 127 / x of a normal x >= 2^-119, without a branch: that of x's
/// mantissa, a reciprocal corrected by its remainder and a quotient corrected by its
/// own, with x's exponent taken off.
QL_INLINE float quotient127(float x) {
  u32 bits = bitCast<u32>(x);
  float m = bitCast<float>((bits & 0x007FFFFF) | 0x3F800000), r = ql_ptx_reciprocal(m);
  r = fma(r, fma(-m, r, 1.0f), r);
  float q = 127.0f * r;
  q = fma(r, fma(-m, q, 127.0f), q);
  return bitCast<float>(bitCast<u32>(q) - (bits & 0x7F800000) + 0x3F800000);
}

/// A quantized item: 16 codes, and the scale and half sums of its chunk.
struct QuantizedItem {
  u32x4 codes;
  float d;
  i32 lowSum, highSum;

  QL_INLINE static QuantizedItem of(int product, int type, const RawItem &item,
                                    int part);
  /// `to` is piece 0 of the chunk (StagedActivations).
  QL_INLINE void store(const StagedActivations &, QL_SHARED u8 *to, int part) const {
    *(QL_SHARED u32x4 *)(to + part * 128) = codes;
  }
  QL_INLINE void writeRecord(int product, RecordKind kind, QL_SHARED u8 *record) const;
};

/// What a chunk is quantized with. One below 2^-119 is zero (its reciprocal would
/// overflow). One with a NaN or an infinity has d = NaN and any codes, so that its
/// results are NaN.
struct ChunkScale {
  float largest, inverse;
  bool finite, used;

  /// `most`: the bits of the largest magnitude.
  QL_INLINE static ChunkScale of(u32 most) {
    constexpr u32 kInfinity = 0x7F800000, kTiny = 0x04000000;
    ChunkScale s;
    s.finite = most < kInfinity;
    s.used = s.finite && most >= kTiny;
    s.largest = bitCast<float>(s.used ? most : 0x3F800000u);
    s.inverse = s.used ? quotient127(s.largest) : 0.0f;
    return s;
  }
  QL_INLINE float d() const {
    return used ? divideBy127(largest) : finite ? 0.0f : __builtin_nanf("");
  }
};

/// The codes of `words` times four columns; `sum` grows by them.
template <int words>
QL_INLINE void quantizeColumns(const float *x, float inverse, u32 *packed, i32 &sum) {
  u32 codes[4 * words];
  QL_UNROLL
  for (int i = 0; i < 4 * words; ++i) // the low byte of the magic sum is the code
    codes[i] = bitCast<u32>(fma(x[i], inverse, kMagic));
  QL_UNROLL
  for (int i = 0; i < words; ++i) {
    packed[i] = ql_ptx_byte_permute(
        ql_ptx_byte_permute(codes[4 * i], codes[4 * i + 1], 0x0040),
        ql_ptx_byte_permute(codes[4 * i + 2], codes[4 * i + 3], 0x0040), 0x5410);
    sum = ql_ptx_dp4a(0x01010101u, packed[i], sum);
  }
}

/// Both threads of a chunk call it together; `part` is the thread's half.
QL_INLINE QuantizedItem quantizeItem(int type, const RawItem &item, int part) {
  u32 most = itemMagnitude(type, item);
  most = __builtin_elementwise_max(most, ql_ptx_shuffle_xor(most, 1));
  ChunkScale scale = ChunkScale::of(most);
  float x[kItem];
  itemValues(type, item, x);
  u32 packed[kItem / 4];
  i32 sum = 0;
  quantizeColumns<kItem / 4>(x, scale.inverse, packed, sum);
  QuantizedItem q;
  QL_UNROLL
  for (int i = 0; i < kItem / 4; ++i)
    q.codes[i] = packed[i];
  q.d = scale.d();
  i32 other = i32(ql_ptx_shuffle_xor(u32(sum), 1));
  q.lowSum = part ? other : sum;
  q.highSum = part ? sum : other;
  return q;
}

/// Half a chunk of floats: its pieces (StagedActivations), and what they are times, and
/// the half sums, of the chunk.
struct FloatItem {
  u32x4 pieces[4];
  float d, lowSum, highSum;

  QL_INLINE static FloatItem of(int product, int type, const RawItem &item, int part);
  QL_INLINE void store(const StagedActivations &staged, QL_SHARED u8 *to,
                       int part) const {
    QL_UNROLL
    for (int p = 0; p < staged.pieces() / 2; ++p) {
      // Of f16, the leading parts of both halves come first.
      int piece = staged.piecesAdjoin() ? p / 2 * 4 + part * 2 + p % 2 : part * 4 + p;
      *(QL_SHARED u32x4 *)(to + piece * staged.pieceStride()) = pieces[p];
    }
  }
  QL_INLINE void writeRecord(int product, RecordKind kind, QL_SHARED u8 *record) const;
};

QL_INLINE u32 halfBits(float x) { return bitCast<u16>(_Float16(x)); }
QL_INLINE float halfValue(u32 bits) { return float(bitCast<_Float16>(u16(bits))); }

/// Sums in pairs of neighbours, then of pairs, ...: the least error.
QL_INLINE float sumOfItem(float *x) {
  QL_UNROLL
  for (int n = kItem / 2; n; n /= 2)
    QL_UNROLL
  for (int i = 0; i < n; ++i)
    x[i] = x[2 * i] + x[2 * i + 1];
  return x[0];
}

/// Both threads of a chunk call it together; `part` is the thread's half. A chunk with
/// a NaN or an infinity has d = NaN. Chunks below 2^-112 share a power of two, with
/// which all bits of an f32 that is not normal are bits of an f16.
FloatItem FloatItem::of(int product, int type, const RawItem &item, int part) {
  constexpr u32 kInfinity = 0x7F800000, kLeast = 15;
  u32 most = itemMagnitude(type, item);
  most = __builtin_elementwise_max(most, ql_ptx_shuffle_xor(most, 1));
  float x[kItem];
  itemValues(type, item, x);
  FloatItem result;
  result.d = 1.0f;
  if (product == kFma) {
    QL_UNROLL
    for (int i = 0; i < kItem; ++i)
      result.pieces[i / 4][i % 4] = bitCast<u32>(x[i]);
  } else {
    u32 exponent = __builtin_elementwise_max(most >> 23, kLeast);
    float scale = bitCast<float>((127 + 141 - exponent) << 23); // most: 2^14 .. 2^15
    result.d = bitCast<float>((exponent - 14) << 23);
    u32 halves[2][kItem]; // leading bits, the others
    QL_UNROLL
    for (int i = 0; i < kItem; ++i) {
      float value = x[i] * scale;
      halves[0][i] = halfBits(value);
      x[i] = halfValue(halves[0][i]);
      if (product == kMmaSplit) {
        halves[1][i] = halfBits(value - x[i]);
        x[i] += halfValue(halves[1][i]);
      }
    }
    QL_UNROLL
    for (int p = 0; p < (product == kMmaSplit ? 4 : 2); ++p)
      QL_UNROLL
    for (int w = 0; w < 4; ++w) {
      int i = 4 * w + p % 2;
      result.pieces[p][w] = halves[p / 2][i] | halves[p / 2][i + 2] << 16;
    }
  }
  float sum = sumOfItem(x);
  float other = bitCast<float>(ql_ptx_shuffle_xor(bitCast<u32>(sum), 1));
  result.lowSum = part ? other : sum;
  result.highSum = part ? sum : other;
  if (most >= kInfinity)
    result.d = __builtin_nanf("");
  return result;
}

/// Writes the record of a chunk as the kernel wants it: codes that stand for `d` times
/// their value have the half sums `low` and `high`.
QL_INLINE void writeRecord(RecordKind kind, QL_SHARED u8 *record, float d, i32 low,
                           i32 high) {
  auto extra = [&](i32 sum) {
    return kind.hasOffset ? bitCast<u32>(d * float(sum))
                          : u32(kMagicBits - kind.bias * sum);
  };
  if (kind.halves == 2)
    *(QL_SHARED u32x4 *)record = u32x4{bitCast<u32>(d), extra(low), extra(high), 0};
  else
    *(QL_SHARED u32x2 *)record = u32x2{bitCast<u32>(d), extra(low + high)};
}
QuantizedItem QuantizedItem::of(int, int type, const RawItem &item, int part) {
  return quantizeItem(type, item, part);
}
void QuantizedItem::writeRecord(int, RecordKind kind, QL_SHARED u8 *record) const {
  kernels::writeRecord(kind, record, d, lowSum, highSum);
}
void FloatItem::writeRecord(int product, RecordKind kind, QL_SHARED u8 *record) const {
  float unit = product == kFma ? 1.0f : kHalfUnit; // of the products with codes
  auto extra = [&](float sum) {
    return bitCast<u32>(kind.hasOffset ? d * sum : -float(kind.bias) * unit * sum);
  };
  u32 factor = bitCast<u32>(d / unit);
  if (kind.halves == 2)
    *(QL_SHARED u32x4 *)record = u32x4{factor, extra(lowSum), extra(highSum), 0};
  else
    *(QL_SHARED u32x2 *)record = u32x2{factor, extra(lowSum + highSum)};
}

/// Calls write(kind, record) for record `index` of planes of `count` records, one after
/// the other, `kinds` packed 16 bits each.
template <class Write>
QL_INLINE void forEachRecord(u64 kinds, QL_SHARED u8 *records, int count, int index,
                             Write write) {
  QL_UNROLL
  for (int i = 0; i < kMaxRecordKinds; ++i) {
    u32 packed = u32(kinds >> 16 * i) & 0xFFFF;
    if (!packed)
      continue;
    RecordKind kind = RecordKind::unpack(packed);
    write(kind, records + index * kind.bytes());
    records += count * kind.bytes();
  }
}
QL_INLINE void writeRecords(u64 kinds, QL_SHARED u8 *records, int count, int index,
                            float d, i32 low, i32 high) {
  forEachRecord(kinds, records, count, index,
                [&](RecordKind kind, QL_SHARED u8 *record) {
                  writeRecord(kind, record, d, low, high);
                });
}

/// Brings a kernel's activations into shared memory, quantized or as floats. The kernel
/// has waited for them and does nothing else meanwhile, so latency counts: a thread
/// loads all its items at once if they are no more than eight (four of f32, for the
/// registers), else two while it works on the two before. It works on up to four side
/// by side.
struct Staging {
  static constexpr int kMaxDepth = 8, kMaxBatch = 4;
  int type; ///< of x
  i64 K;
  int unit0;
  StagedActivations staged;
  int rows, threads;
  const u8 *x;

  QL_INLINE int perToken() const { return staged.units * layout::kUnitK / kItem; }
  QL_INLINE int items() const { return staged.tokens * perToken(); }
  QL_INLINE int rounds() const { return (items() + threads - 1) / threads; }
  /// Items whose loads are under way at a time.
  QL_INLINE int depth() const {
    int most = type == layout::kF32 ? kMaxDepth / 2 : kMaxDepth;
    return rounds() <= most ? rounds() : 2;
  }
  QL_INLINE int batch() const { return rounds() <= kMaxBatch ? rounds() : 2; }
  QL_INLINE int tokenOf(int item) const {
    return staged.tokens == 1 ? 0 : item / perToken();
  }

  QL_INLINE RawItem fetch(int i) const {
    int token = tokenOf(i);
    RawItem raw = {};
    if (i < items() && token < rows)
      raw = loadItem(type, x + i64(token) * K * layout::floatBytes(type),
                     unit0 * layout::kUnitK + (i - token * perToken()) * kItem, int(K));
    return raw;
  }
  /// The first loads under way, for store().
  QL_INLINE void load(RawItem *next) const {
    QL_UNROLL
    for (int i = 0; i < depth(); ++i)
      next[i] = fetch(ql_ptx_thread() + i * threads);
  }
  /// As QuantizedItem or FloatItem.
  template <class Item>
  QL_INLINE void store(RawItem *next, u64 kinds, QL_SHARED u8 *codes,
                       QL_SHARED u8 *records) const {
    QL_NO_UNROLL
    for (int round = 0; round < rounds(); round += depth()) {
      QL_UNROLL
      for (int first = 0; first < depth(); first += batch())
        storeBatch<Item>(next, round, first, kinds, codes, records);
    }
  }
  /// Stores a batch from item `first` of `next` on, and loads those that follow.
  template <class Item>
  QL_INLINE void storeBatch(RawItem *next, int round, int first, u64 kinds,
                            QL_SHARED u8 *codes, QL_SHARED u8 *records) const {
    int thread = ql_ptx_thread(), part = thread % kItemsPerChunk;
    int count = min(batch(), depth() - first);
    auto itemAt = [&](int b) { return thread + (round + first + b) * threads; };
    RawItem raw[kMaxBatch];
    QL_UNROLL
    for (int b = 0; b < count; ++b) {
      raw[b] = next[first + b];
      if (depth() < rounds())
        next[first + b] = fetch(itemAt(b + depth()));
    }
    Item q[kMaxBatch];
    QL_UNROLL
    for (int b = 0; b < count; ++b)
      q[b] = Item::of(staged.product, type, raw[b], part); // by whole warps
    QL_UNROLL
    for (int b = 0; b < count; ++b) {
      int i = itemAt(b), token = tokenOf(i);
      int chunk = (i - token * perToken()) / kItemsPerChunk;
      if (i >= items())
        continue;
      q[b].store(staged, codes + staged.code(token, chunk), part);
      if (part == 0)
        forEachRecord(kinds, records, staged.records(), staged.record(token, chunk),
                      [&](RecordKind kind, QL_SHARED u8 *record) {
                        q[b].writeRecord(staged.product, kind, record);
                      });
    }
  }
};

} // namespace qlinear::kernels
#endif
