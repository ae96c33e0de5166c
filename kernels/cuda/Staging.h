//===- Staging.h - Activations and constants into shared memory -*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Quantization: per 32 columns d = max|x| / 127 and q = rint(x * (127 / max|x|)),
// in f32 with IEEE rounding. A thread takes half a chunk.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_STAGING_H
#define QLINEAR_KERNELS_CUDA_STAGING_H

#include "../common/Metadata.h"
#include "Intrinsics.h"

namespace qlinear::kernels {

using layout::ActivationLayout;
inline constexpr int kItem = layout::kChunk / 2; ///< columns of a thread: a half
inline constexpr int kItemsPerChunk = 2;

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

QL_INLINE void itemValues(int type, const RawItem &item, float *values) {
  u32 words[16];
  QL_UNROLL
  for (int i = 0; i < 16; ++i)
    words[i] = item.words[i / 4][i % 4];
  QL_UNROLL
  for (int i = 0; i < kItem; ++i)
    values[i] = floatField(words, i * 8 * layout::floatBytes(type), type);
}

/// A quantized item: 16 codes, and the scale and half sums of its chunk.
struct QuantizedItem {
  u32x4 codes;
  float d;
  i32 lowSum, highSum;
};

/// Both threads of a chunk call it together; `part` is the thread's half. A chunk
/// below 2^-119 is zero (its reciprocal would overflow). A chunk with a NaN or an
/// infinity has d = NaN and codes 0, so that its results are NaN.
QL_INLINE QuantizedItem quantizeItem(const float *x, int part) {
  constexpr u32 kInfinity = 0x7F800000, kTiny = 0x04000000;
  auto larger = [](u32 a, u32 b) { return a > b ? a : b; };
  u32 most = 0; // magnitudes order as integers, NaN above infinity
  QL_UNROLL
  for (int i = 0; i < kItem; ++i)
    most = larger(most, bitCast<u32>(x[i]) & 0x7FFFFFFF);
  most = larger(most, ql_ptx_shuffle_xor(most, 1));
  bool finite = most < kInfinity, used = finite && most >= kTiny;
  float largest = bitCast<float>(used ? most : 0x3F800000u);
  float inverse = 127.0f / largest;
  u32 codes[kItem];
  QL_UNROLL
  for (int i = 0; i < kItem; ++i) // the low byte of the magic sum is the code
    codes[i] = bitCast<u32>(x[i] * inverse + kMagic);
  QuantizedItem q;
  i32 sum = 0;
  QL_UNROLL
  for (int i = 0; i < kItem / 4; ++i) {
    u32 packed =
        ql_ptx_byte_permute(
            ql_ptx_byte_permute(codes[4 * i], codes[4 * i + 1], 0x0040),
            ql_ptx_byte_permute(codes[4 * i + 2], codes[4 * i + 3], 0x0040), 0x5410) &
        (used ? ~0u : 0u);
    q.codes[i] = packed;
    sum = ql_ptx_dp4a(0x01010101u, packed, sum);
  }
  q.d = used ? divideBy127(largest) : finite ? 0.0f : __builtin_nanf("");
  i32 other = i32(ql_ptx_shuffle_xor(u32(sum), 1));
  q.lowSum = part ? other : sum;
  q.highSum = part ? sum : other;
  return q;
}

/// Writes the record of a chunk as the kernel wants it.
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

/// Planes of records, one after the other, `kinds` packed 16 bits each.
QL_INLINE void writeRecords(u64 kinds, QL_SHARED u8 *records, int chunks, int chunk,
                            float d, i32 low, i32 high) {
  QL_UNROLL
  for (int i = 0; i < kMaxRecordKinds; ++i) {
    u32 packed = u32(kinds >> 16 * i) & 0xFFFF;
    if (!packed)
      continue;
    RecordKind kind = RecordKind::unpack(packed);
    writeRecord(kind, records + chunk * kind.bytes(), d, low, high);
    records += chunks * kind.bytes();
  }
}

} // namespace qlinear::kernels
#endif
