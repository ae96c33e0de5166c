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
//   table codes     values[f]
//
// Kernels multiply unsigned bytes, value + bias. The bias is 0 of unsigned integers,
// 2^(b-1) of signed ones, 128 of tables: the byte of an integer code is its field.
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
enum CodeKind : int { kInteger, kExample4, kCodeKinds };

/// The values of a kind of codes that index a table.
struct CodeTable {
  const char *name; ///< the spelling of such codes
  int bits;
  signed char values[16]; ///< 2^bits of them, ascending
};

/// Kind k has the table kTables[k - 1].
inline constexpr CodeTable kTables[] = {
    // No format has this table. It is the example of how one is added, uneven so that
    // tests see a value that is in the wrong place.
    {"example4",
     4,
     {-120, -95, -74, -57, -42, -29, -18, -8, 1, 11, 22, 34, 48, 65, 86, 113}},
};
static_assert(sizeof(kTables) / sizeof(kTables[0]) == kCodeKinds - 1);

constexpr bool isTable(int kind) { return kind != kInteger; }

/// Added to the value of a code, it gives the byte that kernels multiply; each such
/// byte is below 2^byteBits.
constexpr int byteBitsOf(int kind, int bits) { return isTable(kind) ? 8 : bits; }
constexpr int biasOf(int kind, int bits, int isSigned) {
  return isSigned ? 1 << (byteBitsOf(kind, bits) - 1) : 0;
}

/// The bytes of a table: 0 to 7, from the lowest bits on, and 8 to 15.
struct TableBytes {
  u64 low, high;
};
constexpr TableBytes toBytes(const CodeTable &table) {
  TableBytes bytes{0, 0};
  for (int f = 0; f < 1 << table.bits; ++f)
    (f < 8 ? bytes.low : bytes.high) |= u64(table.values[f] + 128) << 8 * (f % 8);
  return bytes;
}

/// The bytes of the table of `kind`. There is no array in it, which kernels would keep
/// in memory: it folds where the kind is a constant.
template <int Kind = kInteger + 1> constexpr TableBytes tableBytes(int kind) {
  if constexpr (Kind < kCodeKinds) {
    constexpr TableBytes bytes = toBytes(kTables[Kind - 1]);
    return kind == Kind ? TableBytes{bytes.low, bytes.high}
                        : tableBytes<Kind + 1>(kind);
  } else {
    return {0, 0};
  }
}

/// The codes of one weight.
struct Codes {
  int bits = 4, isSigned = 0, kind = kInteger;

  constexpr int bias() const { return biasOf(kind, bits, isSigned); }
  /// The byte of field f.
  constexpr int byte(int f) const {
    if (!isTable(kind))
      return f;
    TableBytes bytes = tableBytes(kind);
    return int((f < 8 ? bytes.low : bytes.high) >> 8 * (f % 8) & 255);
  }
  /// The value of field f.
  constexpr int value(int f) const { return byte(f) - bias(); }
};

//===----------------------------------------------------------------------===//
// Scales, offsets and their steps
//===----------------------------------------------------------------------===//

/// Metadata kinds; the values are those of qlinear::MetaStorage::Kind.
enum MetaKind : int { kNone, kPlain, kLinear, kLog, kDelta };
inline constexpr int kMetaKinds = kDelta + 1;
/// The values are those of qlinear::FloatType and qlinear::StepScope.
enum Float : int { kBF16, kF16, kF32, kE8M0, kE4M3 };
enum Scope : int { kConstant, kRow, kBlock, kTensor };

/// Of the types that Layout.h stores: e8m0 and e4m3 have a value, but no place yet.
constexpr int floatBytes(int type) { return type == kF32 ? 4 : 2; }

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

} // namespace qlinear::layout
#endif
