//===- Activations.h - Quantizing x, elements in and out --------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_ACTIVATIONS_H
#define QLINEAR_KERNELS_CPU_ACTIVATIONS_H

#include "Vector.h"
#include "qlinear/Kernels/Cpu.h"

namespace qlinear::cpu {

typedef unsigned short Shorts16 __attribute__((vector_size(32)));

/// 16 elements at p as floats.
QL_INLINE Floats load16(int dtype, const void *p) {
  if (dtype == kFloat32)
    return load<Floats>(p);
  Words bits = __builtin_convertvector(load<Shorts16>(p), Words);
  return dtype == kFloat16 ? halfToFloats(bits) : bfloatToFloats(bits);
}
QL_INLINE void store16(int dtype, void *p, Floats v) {
  if (dtype == kFloat32)
    return store(p, v);
  Words bits = dtype == kFloat16 ? floatsToHalf(v) : floatsToBfloat(v);
  store(p, __builtin_convertvector(bits, Shorts16));
}
/// The first `count` <= 16 elements; the others are 0, and not touched.
QL_INLINE Floats loadSome(int dtype, const void *p, u64 count) {
  if (count >= 16)
    return load16(dtype, p);
  alignas(64) u8 buffer[64] = {};
  int size = dtype == kFloat32 ? 4 : 2;
#pragma clang loop unroll(disable) vectorize(disable)
  for (u64 i = 0; i < count; ++i)
    __builtin_memcpy(buffer + i * size, static_cast<const u8 *>(p) + i * size, size);
  return load16(dtype, buffer);
}
QL_INLINE void storeSome(int dtype, void *p, u64 count, Floats v) {
  if (count >= 16)
    return store16(dtype, p, v);
  alignas(64) u8 buffer[64];
  store16(dtype, buffer, v);
  int size = dtype == kFloat32 ? 4 : 2;
#pragma clang loop unroll(disable) vectorize(disable)
  for (u64 i = 0; i < count; ++i)
    __builtin_memcpy(static_cast<u8 *>(p) + i * size, buffer + i * size, size);
}

QL_INLINE int sumOf(Ints v) { return __builtin_reduce_add(v); }

/// The exact products x * r, rounded to integers (to even); |x * r| < 2^22.
QL_INLINE Ints roundProduct(Floats x, float r) {
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
#if defined(QL_FMA)
  Floats magic = splat(0x1.8p23f);
  return (Ints)fma(x, splat(r), magic) - (Ints)magic;
#else
  // The same in double precision, where products of floats are exact.
  typedef double Doubles __attribute__((vector_size(128)));
  typedef long long Longs __attribute__((vector_size(128)));
  Doubles sum = __builtin_convertvector(x, Doubles) * double(r) + 0x1.8p52;
  return __builtin_convertvector((Longs)sum, Ints);
#endif
}

/// Quantizes a chunk: 16 codes at low, 16 at high, the record after them.
///
/// d = max|x| / 127 and q = rint(x * (127 / max|x|)), d and the quotient rounded to f32
/// and the exact product to an integer: the same bits on every target. A chunk below
/// kTiny is zero (its reciprocal would overflow). A chunk with a NaN or an infinity has
/// d = NaN and codes 0, so that every result it takes part in is NaN.
QL_INLINE void quantizeChunk(Floats x0, Floats x1, u8 *low, u8 *high, u8 *record) {
  constexpr u32 kInfinity = 0x7F800000;
  constexpr u32 kTiny = 0x04000000; // 2^-119
  // Magnitudes order as integers, NaN above infinity.
  Words m0 = (Words)x0 & 0x7FFFFFFF, m1 = (Words)x1 & 0x7FFFFFFF;
  u32 bits = __builtin_reduce_max(__builtin_elementwise_max(m0, m1));
  float max = __builtin_bit_cast(float, bits);
  bool finite = bits < kInfinity, used = finite && bits >= kTiny;
  float d = used ? max / 127.0f : finite ? 0.0f : __builtin_nanf("");
  float r = used ? 127.0f / max : 0.0f;
  Words keep = splatWord(used ? ~0u : 0u);
  Ints q0 = (Ints)((Words)roundProduct(x0, r) & keep);
  Ints q1 = (Ints)((Words)roundProduct(x1, r) & keep);
  typedef signed char SBytes16 __attribute__((vector_size(16)));
  store(low, __builtin_convertvector(q0, SBytes16));
  store(high, __builtin_convertvector(q1, SBytes16));
  short sums[2] = {short(sumOf(q0)), short(sumOf(q1))};
  __builtin_memcpy(record, &d, 4);
  __builtin_memcpy(record + 4, sums, 4);
}

/// One token of K elements; layout::ActivationLayout says where what lies.
QL_INLINE void quantizeToken(int dtype, u64 K, const u8 *x, u8 *out) {
  using namespace layout;
  ActivationLayout a{K};
  int size = dtype == kFloat32 ? 4 : 2;
  u64 whole = K / kChunk;
#pragma clang loop unroll(disable)
  for (u64 c = 0; c < whole; ++c) {
    const u8 *p = x + c * kChunk * size;
    quantizeChunk(load16(dtype, p), load16(dtype, p + 16 * size),
                  out + a.code(c * kChunk), out + a.code(c * kChunk + 16),
                  out + a.record(c));
  }
#pragma clang loop unroll(disable)
  for (u64 c = whole; c < a.chunks(); ++c) {
    u64 k = c * kChunk;
    Floats x0{}, x1{};
    if (k < K)
      x0 = loadSome(dtype, x + k * size, K - k);
    if (k + 16 < K)
      x1 = loadSome(dtype, x + (k + 16) * size, K - k - 16);
    quantizeChunk(x0, x1, out + a.code(k), out + a.code(k + 16), out + a.record(c));
  }
}

} // namespace qlinear::cpu
#endif
