//===- Vector.h - 16-lane vectors of the CPU micro-kernels ------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// All the CPU kernels are written on vectors of 64 bytes with the compiler's
// vector extension; narrower machines get them split. What differs between the
// instruction sets is here: products of codes and activations, half precision, and
// fma. They are told apart by the compiler's feature macros, so that one source
// gives one bitcode file per instruction set.
//
// Indices of a permutation may depend on the encoding: they are constants only
// after inlining, so permutations are loops over lanes, which LLVM folds into
// shuffles.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_VECTOR_H
#define QLINEAR_KERNELS_CPU_VECTOR_H

// The layout's arithmetic has to fold into constants: inline it first of all.
#pragma clang attribute push(__attribute__((always_inline)), apply_to = function)
#include "../common/Portable.h"
#pragma clang attribute pop

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__FMA__) || defined(__aarch64__)
#define QL_FMA
#endif

#define QL_LAMBDA __attribute__((always_inline))

namespace qlinear::cpu {

using layout::u32;
using layout::u64;
using layout::u8;

typedef float Floats __attribute__((vector_size(64)));
typedef int Ints __attribute__((vector_size(64)));
typedef u32 Words __attribute__((vector_size(64)));
typedef u8 Bytes __attribute__((vector_size(64)));
typedef signed char SBytes __attribute__((vector_size(64)));

/// v in every lane. (0 + v would be an addition: it makes 0 of -0.)
QL_INLINE Floats splat(float v) {
  Floats f{v};
  return __builtin_shufflevector(f, f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
}
QL_INLINE Words splatWord(u32 v) { return Words{} + v; }
QL_INLINE Floats toFloats(Ints v) { return __builtin_convertvector(v, Floats); }

/// Loads of any alignment.
template <typename T> QL_INLINE T load(const void *p) {
  T v;
  __builtin_memcpy(&v, p, sizeof(T));
  return v;
}
template <typename T> QL_INLINE void store(void *p, T v) {
  __builtin_memcpy(p, &v, sizeof(T));
}

/// The first `count` (0..4) 16-byte quarters at p, then zeros.
QL_INLINE Words loadQuarters(const void *p, int count) {
  typedef u32 Quarter __attribute__((vector_size(16)));
  typedef u32 Half __attribute__((vector_size(32)));
  const u8 *b = static_cast<const u8 *>(p);
  if (count >= 4)
    return load<Words>(p);
  Quarter z{}, q0 = z, q1 = z, q2 = z;
  if (count >= 1)
    q0 = load<Quarter>(b);
  if (count >= 2)
    q1 = load<Quarter>(b + 16);
  if (count >= 3)
    q2 = load<Quarter>(b + 32);
  Half lo = __builtin_shufflevector(q0, q1, 0, 1, 2, 3, 4, 5, 6, 7);
  Half hi = __builtin_shufflevector(q2, z, 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_shufflevector(lo, hi, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
                                 14, 15);
}

/// The first `count` (1..4) quarters at p, quarter i from place i ^ swizzle (0..3, and
/// 0 where count < 4).
QL_INLINE Words loadQuarters(const u8 *p, int count, int swizzle) {
  if (count < 4)
    return loadQuarters(p, count);
#if defined(__AVX512F__)
  Words lane{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return (Words)_mm512_permutexvar_epi32((__m512i)(lane ^ u32(4 * swizzle)),
                                         load<__m512i>(p));
#else
  typedef u32 Quarter __attribute__((vector_size(16)));
  auto quarter = [&](int i) QL_LAMBDA { return load<Quarter>(p + 16 * (i ^ swizzle)); };
  auto lo = __builtin_shufflevector(quarter(0), quarter(1), 0, 1, 2, 3, 4, 5, 6, 7);
  auto hi = __builtin_shufflevector(quarter(2), quarter(3), 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_shufflevector(lo, hi, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
                                 14, 15);
#endif
}

/// A vector whose lane l is value(l). (No loop: of hundreds that are unrolled, most of
/// the time that a kernel takes to compile would be spent on these.)
template <typename V, typename F> QL_INLINE V lanes(F value) {
  return V{value(0),  value(1),  value(2),  value(3), value(4),  value(5),
           value(6),  value(7),  value(8),  value(9), value(10), value(11),
           value(12), value(13), value(14), value(15)};
}
/// Lane l of the result is lane index(l) of v.
template <typename V, typename F> QL_INLINE V permute(V v, F index) {
  return lanes<V>([&](int l) QL_LAMBDA { return v[index(l)]; });
}
/// Lane J of each 128-bit quarter, in all four lanes of the quarter.
template <int J, typename V> QL_INLINE V broadcastInQuarter(V v) {
  return __builtin_shufflevector(v, v, J, J, J, J, 4 + J, 4 + J, 4 + J, 4 + J, 8 + J,
                                 8 + J, 8 + J, 8 + J, 12 + J, 12 + J, 12 + J, 12 + J);
}
/// Quarter Q in all four quarters.
template <int Q, typename V> QL_INLINE V broadcastQuarter(V v) {
  return __builtin_shufflevector(v, v, 4 * Q, 4 * Q + 1, 4 * Q + 2, 4 * Q + 3, 4 * Q,
                                 4 * Q + 1, 4 * Q + 2, 4 * Q + 3, 4 * Q, 4 * Q + 1,
                                 4 * Q + 2, 4 * Q + 3, 4 * Q, 4 * Q + 1, 4 * Q + 2,
                                 4 * Q + 3);
}

/// a * b + c, in one rounding where the machine can.
QL_INLINE Floats fma(Floats a, Floats b, Floats c) {
#if defined(QL_FMA)
  return __builtin_elementwise_fma(a, b, c);
#else
  return a * b + c;
#endif
}

#if defined(__AVX2__)
/// The two registers of AVX2 that are a vector.
struct Halves {
  __m256i lo, hi;
  template <typename V> QL_INLINE explicit Halves(V v) {
    typedef long long Longs __attribute__((vector_size(64)));
    Longs w = (Longs)v;
    lo = (__m256i)__builtin_shufflevector(w, w, 0, 1, 2, 3);
    hi = (__m256i)__builtin_shufflevector(w, w, 4, 5, 6, 7);
  }
};
QL_INLINE Ints join(__m256i lo, __m256i hi) {
  return (Ints)__builtin_shufflevector((__v4di)lo, (__v4di)hi, 0, 1, 2, 3, 4, 5, 6, 7);
}
#elif defined(__SSE2__) || defined(__aarch64__)
/// The registers of SSE2 and of NEON are quarters of a vector.
#if defined(__SSE2__)
template <typename V> struct QuarterOf {
  using Type = __m128i;
};
#else
template <typename V> struct QuarterOf;
template <> struct QuarterOf<Floats> {
  using Type = float32x4_t;
};
template <> struct QuarterOf<Ints> {
  using Type = int32x4_t;
};
template <> struct QuarterOf<Words> {
  using Type = uint32x4_t;
};
template <> struct QuarterOf<Bytes> {
  using Type = uint8x16_t;
};
template <> struct QuarterOf<SBytes> {
  using Type = int8x16_t;
};
#endif

template <int I, typename V> QL_INLINE typename QuarterOf<V>::Type quarterOf(V v) {
  typedef long long Longs __attribute__((vector_size(64)));
  Longs w = (Longs)v;
  return (typename QuarterOf<V>::Type)__builtin_shufflevector(w, w, 2 * I, 2 * I + 1);
}
/// The vector that f makes of each quarter of v.
template <typename Out, typename F, typename... V>
QL_INLINE Out byQuarters(F f, V... v) {
  typedef long long Quarter __attribute__((vector_size(16)));
  auto q0 = (Quarter)f(quarterOf<0>(v)...), q1 = (Quarter)f(quarterOf<1>(v)...);
  auto q2 = (Quarter)f(quarterOf<2>(v)...), q3 = (Quarter)f(quarterOf<3>(v)...);
  auto lo = __builtin_shufflevector(q0, q1, 0, 1, 2, 3);
  auto hi = __builtin_shufflevector(q2, q3, 0, 1, 2, 3);
  return (Out)__builtin_shufflevector(lo, hi, 0, 1, 2, 3, 4, 5, 6, 7);
}
#endif

/// Half precision bits (low 16 bits of each lane) to float, all values.
QL_INLINE Floats halfToFloats(Words h) {
#if defined(__AVX512F__)
  return (Floats)_mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i)h));
#elif defined(__F16C__)
  Halves v(h);
  __m256i halves = _mm256_permute4x64_epi64(_mm256_packus_epi32(v.lo, v.hi), 0xD8);
  return (Floats)join((__m256i)_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                      (__m256i)_mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)));
#elif defined(__aarch64__)
  auto convert = [](uint32x4_t q) QL_LAMBDA {
    return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(q)));
  };
  return byQuarters<Floats>(convert, h);
#else
  // 2^112 moves the exponent bias from 15 to 127, subnormals included.
  Words magnitude = (h & 0x7FFF) << 13;
  Floats f = (Floats)magnitude * splat(0x1p112f);
  Words special = Words(magnitude >= (0x1Fu << 23)); // infinity, NaN
  Words bits = ((Words)f & ~special) | ((magnitude | 0x7F800000u) & special);
  return (Floats)(bits | (h & 0x8000) << 16);
#endif
}
/// Float to half precision bits, to nearest even, all values.
QL_INLINE Words floatsToHalf(Floats f) {
#if defined(__AVX512F__)
  return (Words)_mm512_cvtepu16_epi32(
      _mm512_cvtps_ph((__m512)f, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__aarch64__)
  auto convert = [](float32x4_t q) QL_LAMBDA {
    return vmovl_u16(vreinterpret_u16_f16(vcvt_f16_f32(q)));
  };
  return byQuarters<Words>(convert, f);
#else
  Words bits = (Words)f, sign = bits >> 16 & 0x8000, m = bits & 0x7FFFFFFF;
  // Normal: add half an ulp (less one, plus the lowest kept bit), rebias.
  Words normal = (m + 0xFFF + (m >> 13 & 1) - (112u << 23)) >> 13;
  // Subnormal: adding 0.5 leaves the rounded result in the low bits.
  Words subnormal = (Words)((Floats)m + 0.5f) - 0x3F000000u;
  Words small = Words(m < (113u << 23));
  Words big = Words(m >= (143u << 23));
  Words nan = Words(m > 0x7F800000u);
  Words r = (subnormal & small) | (normal & ~small);
  r = (r & ~big) | (big & 0x7C00u) | (nan & 0x0200u);
  return Words((r & 0xFFFF) | sign);
#endif
}
QL_INLINE Floats bfloatToFloats(Words b) { return (Floats)(b << 16); }
/// Float to bfloat bits, to nearest even; NaN stays NaN.
QL_INLINE Words floatsToBfloat(Floats f) {
  Words b = (Words)f;
  Words nan = Words((b & 0x7FFFFFFF) > 0x7F800000u);
  Words r = (b + 0x7FFF + (b >> 16 & 1)) >> 16;
  return (r & ~nan) | (nan & ((b >> 16) | 0x40));
}

/// 2^x for |x| < 126 to about 1 ulp: 2^round(x) times a polynomial on the rest.
QL_INLINE Floats exp2(Floats x) {
  Words low = Words(x < splat(-126.f)), high = Words(x > splat(126.f));
  x = (Floats)(((Words)x & ~(low | high)) | ((Words)splat(-126.f) & low) |
               ((Words)splat(126.f) & high));
  Floats magic = splat(0x1.8p23f), biased = x + magic, n = biased - magic;
  Floats f = x - n;
  Floats p = splat(0x1.430912p-13f); // the series of 2^f = exp(f ln 2)
  p = fma(p, f, splat(0x1.5d87fep-10f));
  p = fma(p, f, splat(0x1.3b2ab6p-7f));
  p = fma(p, f, splat(0x1.c6b08ep-5f));
  p = fma(p, f, splat(0x1.ebfbe0p-3f));
  p = fma(p, f, splat(0x1.62e430p-1f));
  p = fma(p, f, splat(1.f));
  return (Floats)((Words)p + ((Words)biased << 23));
}

/// In each byte of `places` (0..15), the byte at that place of a table of 16, whose
/// bytes 0 to 7 are `low`, from the lowest bits on.
QL_INLINE Bytes lookUp(u64 low, u64 high, Bytes places) {
#if defined(__AVX2__)
  auto table = _mm_set_epi64x((long long)high, (long long)low);
#endif
#if defined(__AVX512BW__)
  return (Bytes)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), (__m512i)places);
#elif defined(__AVX2__)
  __m256i both = _mm256_broadcastsi128_si256(table);
  Halves p(places);
  return (Bytes)join(_mm256_shuffle_epi8(both, p.lo), _mm256_shuffle_epi8(both, p.hi));
#elif defined(__aarch64__)
  uint8x16_t table = vcombine_u8(vcreate_u8(low), vcreate_u8(high));
  auto find = [&](uint8x16_t p) QL_LAMBDA { return vqtbl1q_u8(table, p); };
  return byQuarters<Bytes>(find, places);
#else
  Bytes found{};
  QL_UNROLL
  for (int i = 0; i < 16; ++i)
    found |= (Bytes)(places == u8(i)) & u8((i < 8 ? low : high) >> 8 * (i % 8));
  return found;
#endif
}

/// The floats of a table of 16 at these places.
QL_INLINE Floats lookUp(const float *table, Words places) {
#if defined(__AVX512F__)
  return (Floats)_mm512_permutexvar_ps((__m512i)places, _mm512_loadu_ps(table));
#elif defined(__AVX2__)
  __m256 low = _mm256_loadu_ps(table), high = _mm256_loadu_ps(table + 8);
  auto find = [&](__m256i p) QL_LAMBDA {
    // Bit 3 of a place chooses the half.
    return _mm256_castps_si256(_mm256_blendv_ps(
        _mm256_permutevar8x32_ps(low, p), _mm256_permutevar8x32_ps(high, p),
        _mm256_castsi256_ps(_mm256_slli_epi32(p, 28))));
  };
  Halves p(places);
  return (Floats)join(find(p.lo), find(p.hi));
#else
  return lanes<Floats>([&](int l) QL_LAMBDA { return table[places[l] & 15]; });
#endif
}

/// The same of a table of 256 bytes in memory, one by one.
QL_INLINE Bytes lookUp(const u8 *table, Bytes places) {
  Bytes found{};
  QL_UNROLL
  for (int i = 0; i < 64; ++i)
    found[i] = table[places[i]];
  return found;
}

//===----------------------------------------------------------------------===//
// Products of codes and activations, |a| <= 127, always exact. Lane l of a sum adds the
// products of bytes 4 l .. 4 l + 3.
//
// The bytes that are multiplied are those of the codes (Fields.h), q < 2^bits, less
// loweredBy(bits): offsets have to know it.
//===----------------------------------------------------------------------===//

/// Bits of the widest codes whose bytes are multiplied as they are.
#if defined(__aarch64__) && !defined(__ARM_FEATURE_MATMUL_INT8)
inline constexpr int kUnloweredBits = 7; // s8 x s8
#elif defined(__AVX2__) && !defined(__AVX512VNNI__) && !defined(__AVXVNNI__)
// u8 x s8, of which pairs are added in 16 bits, with saturation: 2 * 255 * 127 does not
// fit, 2 * 128 * 127 does. So bytes of 8 bits become signed, of which magnitudes are
// multiplied, by activations with the signs.
inline constexpr int kUnloweredBits = 6;
#define QL_SUMS_OF_PAIRS
#else
inline constexpr int kUnloweredBits = 8; // u8 x s8 to 32 bits
#endif

QL_INLINE constexpr int loweredBy([[maybe_unused]] int bits) {
  return kUnloweredBits < 8 && bits > kUnloweredBits ? 128 : 0;
}
QL_INLINE Bytes productBytes(int bits, Bytes q) {
  return loweredBy(bits) ? q ^ u8(128) : q;
}

#if !defined(QL_SUMS_OF_PAIRS)

/// sum + q * a.
QL_INLINE Ints addDot(Ints sum, Bytes q, SBytes a) {
#if defined(__AVX512VNNI__)
  return (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)q, (__m512i)a);
#elif defined(__AVXVNNI__)
  Halves s(sum), x(q), y(a);
  return join(_mm256_dpbusd_avx_epi32(s.lo, x.lo, y.lo),
              _mm256_dpbusd_avx_epi32(s.hi, x.hi, y.hi));
#elif defined(__aarch64__)
  auto add = [](int32x4_t sum, uint8x16_t q, int8x16_t a) QL_LAMBDA {
#if defined(__ARM_FEATURE_MATMUL_INT8)
    return vusdotq_s32(sum, q, a);
#elif defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(sum, (int8x16_t)q, a);
#else
    // Pairs fit 16 bits: 2 * 128 * 127 = 32512.
    int8x16_t s = (int8x16_t)q;
    int16x8_t low = vmull_s8(vget_low_s8(s), vget_low_s8(a));
    return vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(s, a)));
#endif
  };
  return byQuarters<Ints>(add, sum, q, a);
#elif defined(__SSE2__)
  auto add = [](__m128i sum, __m128i q, __m128i a) QL_LAMBDA {
    // To 16 bits, by way of the upper half of words for signs; then sums of two, of
    // which those of the same four bytes are beside each other.
    __m128i zero = _mm_setzero_si128();
    auto wide = [](__m128i twice) QL_LAMBDA { return _mm_srai_epi16(twice, 8); };
    __m128 low = (__m128)_mm_madd_epi16(_mm_unpacklo_epi8(q, zero),
                                        wide(_mm_unpacklo_epi8(a, a)));
    __m128 high = (__m128)_mm_madd_epi16(_mm_unpackhi_epi8(q, zero),
                                         wide(_mm_unpackhi_epi8(a, a)));
    __m128i even = (__m128i)_mm_shuffle_ps(low, high, 0x88);
    __m128i odd = (__m128i)_mm_shuffle_ps(low, high, 0xDD);
    return _mm_add_epi32(sum, _mm_add_epi32(even, odd));
  };
  return byQuarters<Ints>(add, sum, q, a);
#else
  // A product fits 16 bits: 255 * 127 = 32385.
  typedef short Shorts __attribute__((vector_size(128)));
  typedef int Pairs __attribute__((vector_size(128)));
  Pairs p =
      (Pairs)(__builtin_convertvector(q, Shorts) * __builtin_convertvector(a, Shorts));
  Pairs s = ((p << 16) >> 16) + (p >> 16);
  return sum +
         __builtin_shufflevector(s, s, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24,
                                 26, 28, 30) +
         __builtin_shufflevector(s, s, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25,
                                 27, 29, 31);
#endif
}

/// Sums that many products are added to, and their value.
struct LaneSums {
  Ints sum{};
  QL_INLINE Ints value([[maybe_unused]] int bits) const { return sum; }
};
/// The products of the codes of step g, the first step being 0. `bits` and g have to be
/// constants.
QL_INLINE void addProducts([[maybe_unused]] int bits, [[maybe_unused]] int g,
                           LaneSums &s, Bytes q, SBytes a) {
  s.sum = addDot(s.sum, q, a);
}

#else

/// Sums of pairs of products in 16 bits.
QL_INLINE __m256i pairs(int bits, __m256i q, __m256i a) {
  return loweredBy(bits)
             ? _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(a, q))
             : _mm256_maddubs_epi16(q, a);
}
QL_INLINE __m256i widen(__m256i pairs) {
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/// Sums of pairs that can be added in 16 bits: 2^(bits + 1) * 127 each.
QL_INLINE constexpr int pairsThatFit(int bits) { return bits > 6 ? 1 : 128 >> bits; }
static_assert(8 * 2 * 15 * 127 < 32768 && 4 * 2 * 31 * 127 < 32768 &&
              2 * 2 * 63 * 127 < 32768);

struct LaneSums {
  Ints sum{};
  __m256i lo = {}, hi = {}; ///< pairs that are not yet in the sum
  QL_INLINE Ints value(int bits) const {
    return pairsThatFit(bits) == 1 ? sum : sum + join(widen(lo), widen(hi));
  }
};
QL_INLINE void addProducts(int bits, int g, LaneSums &s, Bytes q, SBytes a) {
  Halves x(q), y(a);
  __m256i lo = pairs(bits, x.lo, y.lo), hi = pairs(bits, x.hi, y.hi);
  int fit = pairsThatFit(bits);
  if (fit == 1) {
    s.sum += join(widen(lo), widen(hi));
  } else if (g % fit == 0) {
    if (g)
      s.sum += join(widen(s.lo), widen(s.hi));
    s.lo = lo;
    s.hi = hi;
  } else {
    s.lo = _mm256_add_epi16(s.lo, lo);
    s.hi = _mm256_add_epi16(s.hi, hi);
  }
}

#endif

/// The products of one vector, or of two.
QL_INLINE Ints dot(int bits, Bytes q, SBytes a) {
  LaneSums s;
  addProducts(bits, 0, s, q, a);
  return s.value(bits);
}
QL_INLINE Ints dot(int bits, Bytes q0, SBytes a0, Bytes q1, SBytes a1) {
  LaneSums s;
  addProducts(bits, 0, s, q0, a0);
  addProducts(bits, 1, s, q1, a1);
  return s.value(bits);
}

} // namespace qlinear::cpu
#endif
