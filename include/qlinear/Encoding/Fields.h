//===- Fields.h - The numbers that stored fields stand for ------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The one definition of the value of a field; where the field lies, Layout.h says.
// Freestanding and constexpr as that is: the codecs, the reference, the kernels of
// every target and the documentation follow it.
//
// The code field f of a weight has b bits and the value
//
//   integer codes   f, or f - 2^(b-1) if they are signed
//   table codes     values[f] * unit, of the 2^b that the table has, or floats[f]
//
// Kernels multiply unsigned bytes, the integer of a code + bias, and the unit into the
// scale. The bias is 0 of unsigned integers, 2^(b-1) of signed ones, 128 of tables: the
// byte of an integer code is its field. Where a table has floats, its bytes come near
// them: products with int8 have these instead, products of floats the floats.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_FIELDS_H
#define QLINEAR_ENCODING_FIELDS_H

namespace qlinear::layout {

using u8 = unsigned char;
using u32 = unsigned int;
using u64 = unsigned long long;

//===----------------------------------------------------------------------===//
// Codes of weights
//===----------------------------------------------------------------------===//

/// Kinds of codes; the values are those of qlinear::CodeKind.
enum CodeKind : int {
  kInteger,
  kExample4,
  kExample2,
  kExample3,
  kExample8,
  kIQ4NL,
  kE2M1,
  kNF4,
  kCodeKinds
};

/// The quantiles of NF4 (bitsandbytes), which has no others.
inline constexpr float kNF4Values[16] = {-1.0f,
                                         -0.6961928009986877f,
                                         -0.5250730514526367f,
                                         -0.39491748809814453f,
                                         -0.28444138169288635f,
                                         -0.18477343022823334f,
                                         -0.09105003625154495f,
                                         0.0f,
                                         0.07958029955625534f,
                                         0.16093020141124725f,
                                         0.24611230194568634f,
                                         0.33791524171829224f,
                                         0.44070982933044434f,
                                         0.5626170039176941f,
                                         0.7229568362236023f,
                                         1.0f};

/// The values of a kind of codes that index a table, in any order, in units of `unit`.
struct CodeTable {
  const char *name; ///< the spelling of such codes
  int bits;         ///< 2, 3, 4 or 8
  signed char values[256];
  float unit = 1;
  const float *floats = nullptr; ///< the values themselves, if `values` only come near

  constexpr float value(int f) const {
    return floats ? floats[f] : float(values[f]) * unit;
  }
  constexpr int size() const { return 1 << bits; }
  /// What kernels multiply: value f and 128 make a byte.
  constexpr u8 byte(int f) const { return u8(values[f] + 128); }
};

/// Of example8: the sign in the highest bit, and the square of the rest. Values near
/// 0 occur more than once, those below 0 are one further from it.
constexpr CodeTable squares(const char *name) {
  CodeTable table{name, 8, {}, 1};
  for (int f = 0; f < 128; ++f) {
    table.values[f] = (signed char)((f * f + 63) / 127);
    table.values[128 + f] = (signed char)(-1 - table.values[f]);
  }
  return table;
}

/// Kind k has the table kTables[k - 1].
inline constexpr CodeTable kTables[] = {
    // No format has the first tables. They are the examples of how one is added, uneven
    // so that tests see a value that is in the wrong place.
    {"example4",
     4,
     {-120, -95, -74, -57, -42, -29, -18, -8, 1, 11, 22, 34, 48, 65, 86, 113}},
    {"example2", 2, {-77, -20, 31, 109}},
    {"example3", 3, {-111, -63, -28, -9, 6, 24, 55, 101}},
    squares("example8"),
    // GGUF's IQ4_NL and IQ4_XS.
    {"iq4nl",
     4,
     {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}},
    // The float with 2 bits of exponent and 1 of mantissa, of MXFP4 and NVFP4:
    // 0, 0.5, 1, 1.5, 2, 3, 4, 6, and the same below 0.
    {"e2m1", 4, {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}, 0.5f},
    // Of all units the one with the least squared error: 0.0017 in the mean, 0.0039 at
    // most.
    {"nf4",
     4,
     {-112, -78, -59, -44, -32, -21, -10, 0, 9, 18, 28, 38, 49, 63, 81, 112},
     0.008926163f,
     kNF4Values},
};
static_assert(sizeof(kTables) / sizeof(kTables[0]) == kCodeKinds - 1);

constexpr bool isTable(int kind) { return kind != kInteger; }

/// Added to the value of a code, it gives the byte that kernels multiply; each such
/// byte is below 2^byteBits.
constexpr int byteBitsOf(int kind, int bits) { return isTable(kind) ? 8 : bits; }
constexpr int biasOf(int kind, int bits, int isSigned) {
  return isSigned ? 1 << (byteBitsOf(kind, bits) - 1) : 0;
}

/// The bytes of a table of up to 16 values: 0 to 7, from the lowest bits on, and 8 to
/// 15; those past its end are 0.
struct TableBytes {
  u64 low, high;
};
constexpr TableBytes toBytes(const CodeTable &table) {
  TableBytes bytes{0, 0};
  for (int f = 0; f < table.size() && f < 16; ++f)
    (f < 8 ? bytes.low : bytes.high) |= u64(table.byte(f)) << 8 * (f % 8);
  return bytes;
}

/// The bytes of the table of `kind`, of up to 16 values. There is no array in it,
/// which kernels would keep in memory: it folds where the kind is a constant.
template <int Kind = kInteger + 1> constexpr TableBytes tableBytes(int kind) {
  if constexpr (Kind < kCodeKinds) {
    constexpr TableBytes bytes = toBytes(kTables[Kind - 1]);
    return kind == Kind ? TableBytes{bytes.low, bytes.high}
                        : tableBytes<Kind + 1>(kind);
  } else {
    return {0, 0};
  }
}

/// The bytes of a table of 256 values, which kernels do keep in memory: a constant of
/// the module that they are compiled to, if they use it.
struct TableInMemory {
  u8 bytes[256];
};
constexpr TableInMemory toMemory(const CodeTable &table) {
  TableInMemory memory{};
  for (int f = 0; f < table.size(); ++f)
    memory.bytes[f] = table.byte(f);
  return memory;
}
template <int Kind>
static constexpr TableInMemory kTableInMemory = toMemory(kTables[Kind - 1]);

/// The table of `kind`, if it has 256 values; else null.
template <int Kind = kInteger + 1> constexpr const u8 *tableInMemory(int kind) {
  if constexpr (Kind < kCodeKinds) {
    if constexpr (kTables[Kind - 1].bits == 8)
      if (kind == Kind)
        return kTableInMemory<Kind>.bytes;
    return tableInMemory<Kind + 1>(kind);
  } else {
    return nullptr;
  }
}

/// The unit of the values of `kind`: 1 of integers. It folds as tableBytes does.
template <int Kind = kInteger + 1> constexpr float unitOf(int kind) {
  if constexpr (Kind < kCodeKinds) {
    constexpr float unit = kTables[Kind - 1].unit;
    return kind == Kind ? unit : unitOf<Kind + 1>(kind);
  } else {
    return 1;
  }
}

/// Whether the table of `kind` has floats.
template <int Kind = kInteger + 1> constexpr bool hasFloats(int kind) {
  if constexpr (Kind < kCodeKinds)
    return kind == Kind ? kTables[Kind - 1].floats != nullptr
                        : hasFloats<Kind + 1>(kind);
  else
    return false;
}

/// They, in the memory of kernels that use them; null if there are none.
struct FloatsInMemory {
  float values[16];
};
constexpr FloatsInMemory toFloats(const CodeTable &table) {
  FloatsInMemory memory{};
  for (int f = 0; f < table.size() && f < 16; ++f)
    memory.values[f] = table.value(f);
  return memory;
}
template <int Kind>
static constexpr FloatsInMemory kFloatsInMemory = toFloats(kTables[Kind - 1]);
template <int Kind = kInteger + 1> constexpr const float *floatsInMemory(int kind) {
  if constexpr (Kind < kCodeKinds) {
    if constexpr (kTables[Kind - 1].floats != nullptr)
      if (kind == Kind)
        return kFloatsInMemory<Kind>.values;
    return floatsInMemory<Kind + 1>(kind);
  } else {
    return nullptr;
  }
}

/// The f16 that is nearest, of numbers that are normal there, or 0.
constexpr u32 nearestHalf(double v) {
  double magnitude = v < 0 ? -v : v;
  if (magnitude == 0)
    return 0;
  int exponent = 0;
  for (; magnitude >= 2; magnitude /= 2)
    ++exponent;
  for (; magnitude < 1; magnitude *= 2)
    --exponent;
  double scaled = magnitude * 1024;
  u32 mantissa = u32(scaled);
  double rest = scaled - mantissa;
  mantissa += rest > 0.5 || (rest == 0.5 && mantissa & 1);
  return (v < 0 ? 0x8000 : 0) + (u32(exponent + 14) << 10) + mantissa;
}
constexpr double halfValue(u32 half) {
  double magnitude = (half & 0x3FF) + 1024;
  for (int e = int(half >> 10 & 31); e < 25; ++e)
    magnitude /= 2;
  for (int e = int(half >> 10 & 31); e > 25; --e)
    magnitude *= 2;
  return (half & 0x7FFF) == 0 ? 0 : half & 0x8000 ? -magnitude : magnitude;
}
static_assert(nearestHalf(-1.5) == 0xBE00 && halfValue(0xBE00) == -1.5);

/// The values of a table's floats times 2^Exponent as f16 (Part 0), and as much of what
/// that leaves as f16 can hold (Part 1): the lower bytes, or the higher ones.
template <int Exponent, int Part, bool Higher>
constexpr TableBytes toHalves(const CodeTable &table) {
  double power = 1;
  for (int e = 0; e < Exponent; ++e)
    power *= 2;
  for (int e = 0; e > Exponent; --e)
    power /= 2;
  TableBytes bytes{0, 0};
  for (int f = 0; f < 16; ++f) {
    double v = double(table.value(f)) * power;
    u32 half = nearestHalf(v);
    if (Part == 1)
      half = nearestHalf(v - halfValue(half));
    (f < 8 ? bytes.low : bytes.high) |= u64(Higher ? half >> 8 : half & 255)
                                        << 8 * (f % 8);
  }
  return bytes;
}
template <int Exponent, int Part, bool Higher, int Kind = kInteger + 1>
constexpr TableBytes halfBytes(int kind) {
  if constexpr (Kind < kCodeKinds) {
    if constexpr (kTables[Kind - 1].floats != nullptr) {
      constexpr TableBytes bytes = toHalves<Exponent, Part, Higher>(kTables[Kind - 1]);
      if (kind == Kind)
        return TableBytes{bytes.low, bytes.high};
    }
    return halfBytes<Exponent, Part, Higher, Kind + 1>(kind);
  } else {
    return {0, 0};
  }
}

/// The codes of one weight.
struct Codes {
  int bits = 4, isSigned = 0, kind = kInteger;

  /// How many fields there are.
  constexpr int count() const { return 1 << bits; }
  constexpr int bias() const { return biasOf(kind, bits, isSigned); }
  /// The byte of field f.
  constexpr int byte(int f) const {
    return isTable(kind) ? kTables[kind - 1].byte(f) : f;
  }
  /// The value of field f.
  constexpr float value(int f) const {
    return isTable(kind) ? kTables[kind - 1].value(f) : float(byte(f) - bias());
  }
  /// What it has in products of bytes.
  constexpr float byteValue(int f) const {
    return float(byte(f) - bias()) * unitOf(kind);
  }
};

//===----------------------------------------------------------------------===//
// Scales, offsets and their steps
//===----------------------------------------------------------------------===//

/// Metadata kinds; the values are those of qlinear::MetaStorage::Kind.
enum MetaKind : int { kNone, kPlain, kLinear, kLog, kDelta, kScaled };
inline constexpr int kMetaKinds = kScaled + 1;
/// The values are those of qlinear::FloatType and qlinear::StepScope.
enum Float : int { kBF16, kF16, kF32, kE8M0, kE4M3 };
enum Scope : int { kConstant, kRow, kBlock, kTensor };

constexpr int floatBytes(int type) {
  return type == kF32 ? 4 : type == kE8M0 || type == kE4M3 ? 1 : 2;
}

/// The float with these bits.
constexpr float floatValue(int type, u32 bits) {
  switch (type) {
  case kBF16:
    return __builtin_bit_cast(float, bits << 16);
  case kF16: {
    u32 sign = (bits & 0x8000) << 16, magnitude = bits & 0x7FFF;
    float f = magnitude < 0x400 ? float(magnitude) * 0x1p-24f // subnormal
              : magnitude < 0x7C00
                  ? __builtin_bit_cast(float, (magnitude << 13) + (112u << 23))
                  : __builtin_bit_cast(float, 0x7F800000 | (magnitude & 0x3FF) << 13);
    return __builtin_bit_cast(float, __builtin_bit_cast(u32, f) | sign);
  }
  case kE8M0: // a power of two, 2^(bits - 127)
    return __builtin_bit_cast(float, bits == 255 ? 0x7FC00000
                                     : bits      ? bits << 23
                                                 : 1u << 22);
  case kE4M3: {
    u32 sign = (bits & 0x80) << 24, magnitude = bits & 0x7F;
    float f = magnitude < 8 ? float(magnitude) * 0x1p-9f // subnormal
              : magnitude < 0x7F
                  ? __builtin_bit_cast(float, (magnitude << 20) + (120u << 23))
                  : __builtin_bit_cast(float, 0x7FC00000u); // there is no infinity
    return __builtin_bit_cast(float, __builtin_bit_cast(u32, f) | sign);
  }
  default:
    return __builtin_bit_cast(float, bits);
  }
}

/// The integer in the lowest `bits` bits: unsigned or two's complement.
constexpr int integerValue(int bits, bool isSigned, u32 field) {
  return int(field) - (isSigned && field >> (bits - 1) & 1 ? 1 << bits : 0);
}

/// 2^x, off by less than two units in the last place: 2^round(x), times the series of
/// exp(t ln 2) for the rest. Freestanding and constexpr, which the C library's is not.
constexpr double powerOfTwo(double x) {
  if (!(x > -1100)) // as is every x whose power a double has
    return x != x ? x : 0;
  if (x >= 1024)
    return __builtin_huge_val();
  int n = int(x < 0 ? x - 0.5 : x + 0.5);
  double t = (x - n) * 0x1.62e42fefa39efp-1, sum = 1;
  for (int i = 13; i > 0; --i)
    sum = 1 + sum * (t * (1.0 / i));
  auto power = [](int n) { return __builtin_bit_cast(double, u64(1023 + n) << 52); };
  return sum * power(n / 2) * power(n - n / 2);
}

// The values of coded metadata, each relative to what is stored per row or block. They
// are rounded to float once.

/// Linear codes: c * step.
constexpr float linearValue(int bits, bool isSigned, u32 field, float step) {
  return float(integerValue(bits, isSigned, field)) * step;
}
/// Log codes: base * 2^(c * step). `T` is a double; or what computes like one.
template <class T, class Power>
constexpr T logValue(T base, T step, T code, Power powerOfTwo) {
  return base * powerOfTwo(code * step);
}
constexpr float logValue(float base, float step, u32 field) {
  return float(logValue(double(base), double(step), double(field), powerOfTwo));
}
/// Delta codes: the bf16 whose bits are those of the base, plus the field; what is
/// carried out of 16 bits is lost.
constexpr float deltaValue(u32 base, u32 field) {
  return floatValue(kBF16, base + field);
}
/// Scaled floats: the e4m3 with the bits of the field, times step.
constexpr float scaledValue(u32 field, float step) {
  return floatValue(kE4M3, field) * step;
}
static_assert(logValue(3, 0.5f, 6) == 24 && deltaValue(0x3F7F, 1) == 1);

} // namespace qlinear::layout
#endif
