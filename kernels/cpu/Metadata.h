//===- Metadata.h - Scales and offsets, sixteen at a time -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The scales of a unit are decoded for one r0 and one half unit h at a time:
// lane 4 i + j of a vector belongs to row 4 j + r0 of the tile and to chunk
// 4 h + i of the unit. So quarter i of the vector is chunk 4 h + i, as in a
// vector of codes, and the scale of one row for four chunks is a broadcast
// inside quarters.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_METADATA_H
#define QLINEAR_KERNELS_CPU_METADATA_H

#include "Vector.h"

namespace qlinear::cpu {

using layout::Meta;
using layout::Spec;
using layout::UnitLayout;
using layout::WeightLayout;

/// n <= 64 bytes at p, then zeros; never reads past p + n.
QL_INLINE Words loadBytes(const u8 *p, int n) {
  if (n % 16 == 0)
    return loadQuarters(p, n / 16);
  if (n % 4 == 0)
    return lanes<Words>(
        [&](int l) QL_LAMBDA { return 4 * l < n ? load<u32>(p + 4 * l) : 0u; });
  u64 x = 0;
  __builtin_memcpy(&x, p, n);
  Words r{};
  r[0] = u32(x);
  r[1] = u32(x >> 32);
  return r;
}

/// `yes` where `where` is all ones, else `no`.
QL_INLINE Words select(Ints where, Words yes, Words no) {
  return ((Words)where & yes) | (~(Words)where & no);
}
/// e8m0, whose bits 255 are NaN; 2^-127 is subnormal.
QL_INLINE Floats powersOfTwo(Words bits) {
  Words power = select((Ints)(bits == 0), splatWord(1u << 22), bits << 23);
  return (Floats)select((Ints)(bits == 255), splatWord(0x7FC00000u), power);
}
QL_INLINE Floats e4m3ToFloats(Words bits) {
  // Exponent and mantissa in their places, with a bias that is 120 less.
  Words magnitude = bits & 0x7F;
  Words value = (Words)((Floats)(magnitude << 20) * splat(0x1p120f));
  value = select((Ints)(magnitude == 0x7F), splatWord(0x7FC00000u), value);
  return (Floats)(value | (bits & 0x80) << 24);
}

QL_INLINE Floats floatOfBits(int type, Words bits) {
  return type == layout::kBF16   ? bfloatToFloats(bits)
         : type == layout::kF16  ? halfToFloats(bits)
         : type == layout::kE8M0 ? powersOfTwo(bits)
         : type == layout::kE4M3 ? e4m3ToFloats(bits)
                                 : (Floats)bits;
}

/// Values of raw fields. `first` holds the row's or block's step (linear, scaled), base
/// (log) or the bits of the base (delta), `second` the step of a log code.
QL_INLINE Floats decode(const Meta &m, Words field, Floats first, Floats second) {
  switch (layout::MetaKind(m.kind)) {
  case layout::kPlain:
    return floatOfBits(m.type, field);
  case layout::kLinear: {
    int unused = 32 - m.bits;
    Ints code = m.isSigned ? (Ints)(field << unused) >> unused : (Ints)field;
    Floats value = toFloats(code);
    return m.scope == layout::kConstant ? value : value * first;
  }
  case layout::kLog:
    return first * exp2(toFloats((Ints)field) * second);
  case layout::kDelta:
    return bfloatToFloats((Words)first + field);
  case layout::kScaled:
    return e4m3ToFloats(field) * first;
  case layout::kNone:
    break;
  }
  return Floats{};
}

/// Offset that belongs to the operands that are multiplied: the weight is s * unit *
/// operand - effective offset.
QL_INLINE Floats effectiveOffset(const Spec &spec, layout::Operand operand, Floats s,
                                 Floats o) {
  float bias = operand.bias * operand.unit;
  Floats b = splat(bias);
  switch (spec.form) {
  case layout::kZero:
    return s * (bias != 0 ? o + b : o);
  case layout::kMin:
    return bias != 0 ? fma(s, b, o) : o;
  case layout::kCentred:
    return s * (o + b + splat(float(1 << (spec.codeBits - 1))));
  default:
    return s * b;
  }
}

/// Dword `word` of the records of (r0, chunk 4 h + i), in quarter i.
QL_INLINE Words recordWord(const UnitLayout &unit, const u8 *base, int r0, int h,
                           int word) {
  int last = unit.chunks - 1 < 4 * h + 3 ? unit.chunks - 1 : 4 * h + 3;
  int column = unit.column(4 * h), columns = unit.column(last) - column + 1;
  auto ofPiece = [&](layout::RecordPieces::Piece piece) QL_LAMBDA {
    Words raw = loadBytes(base + unit.record(piece, r0, column), columns * piece.size);
    // Byte of `raw` where the wanted part of chunk 4 h + i starts. Chunks past
    // the end take the last one's: their codes and activations are zero.
    int skip = 4 * word > piece.start ? 4 * word - piece.start : 0;
    auto at = [&](int l) QL_LAMBDA {
      int c = 4 * h + l / 4;
      return (unit.column(c < last ? c : last) - column) * piece.size + skip;
    };
    Words part = permute(raw, [&](int l) QL_LAMBDA { return at(l) / 4; });
    if (piece.size < 4) {
      part >>= lanes<Words>([&](int l) QL_LAMBDA { return u32(at(l) % 4 * 8); });
      part &= splatWord((1u << 8 * piece.size) - 1);
      part <<= (piece.start - 4 * word) * 8;
    }
    return part;
  };
  layout::RecordPieces pieces = unit.pieces();
  layout::RecordPieces::Piece first = pieces.holding(4 * word);
  Words result = ofPiece(first);
  int next = first.start + first.size;
  if (next < pieces.bytes && next < 4 * word + 4) // 2 bytes, then 1
    result |= ofPiece(pieces.holding(next));
  return result;
}

/// Raw fields that start at bit firstBit of the records, entry 0, 1, ...;
/// `half` selects the group of 16 inside the chunk.
QL_INLINE Words recordFields(const UnitLayout &unit, const u8 *base, int r0, int h,
                             int half, int firstBit, int bits) {
  auto bit = [&](int l)
                 QL_LAMBDA { return firstBit + (l % 4 * unit.halves() + half) * bits; };
  bool straddles = false;
  QL_UNROLL
  for (int j = 0; j < 4; ++j)
    straddles |= bit(j) % 32 + bits > 32;
  Words low{}, high{};
  QL_UNROLL
  for (int w = bit(0) / 32; w <= (bit(3) + bits - 1) / 32; ++w) {
    Words here = recordWord(unit, base, r0, h, w);
    Words isLow =
        lanes<Words>([&](int l) QL_LAMBDA { return bit(l) / 32 == w ? ~0u : 0; });
    Words isHigh =
        lanes<Words>([&](int l) QL_LAMBDA { return bit(l) / 32 + 1 == w ? ~0u : 0; });
    low = (here & isLow) | (low & ~isLow);
    high = (here & isHigh) | (high & ~isHigh);
  }
  Words shift = lanes<Words>([&](int l) QL_LAMBDA { return u32(bit(l) % 32); });
  Words field = low >> shift;
  if (straddles)
    field |= (high << 1) << (31 - shift);
  return bits < 32 ? field & splatWord((1u << bits) - 1) : field;
}

/// The float constants of the 16 rows of a tile for one metadata tensor, as
/// lanes of each r0: what decode() takes as first and second.
struct RowConstants {
  Floats first, second;
};

/// 16 words of `size` (1, 2 or 4) bytes: at p + skip, p + stride + skip, ...
QL_INLINE Words strided(const u8 *p, int stride, int skip, int size) {
  typedef unsigned short Shorts __attribute__((vector_size(32)));
  if (stride == 4)
    return size == 4 ? load<Words>(p) : load<Words>(p) >> 8 * skip & 0xFFFF;
  if (stride == 2 && size == 2)
    return __builtin_convertvector(load<Shorts>(p), Words);
  return lanes<Words>([&](int l) QL_LAMBDA {
    u32 x = 0;
    __builtin_memcpy(&x, p + l * stride + skip, size);
    return x;
  });
}

/// Row constants of rows 0..15 at p. With one group per row `first` is already
/// the decoded value.
QL_INLINE RowConstants rowConstants(const Spec &spec, const Meta &m, const u8 *p) {
  int fieldBytes = spec.group ? 0 : (m.fieldBits() + 7) / 8;
  int stride = fieldBytes + m.rowBytes();
  RowConstants c{};
  if (m.scope == layout::kRow) {
    int size = layout::floatBytes(m.type);
    Words bits = strided(p, stride, fieldBytes, size);
    c.first = m.kind == layout::kDelta ? (Floats)bits : floatOfBits(m.type, bits);
    if (m.kind == layout::kLog)
      c.second = floatOfBits(m.type, strided(p, stride, fieldBytes + size, size));
  }
  if (!spec.group) {
    Words field = strided(p, stride, 0, fieldBytes);
    if (m.fieldBits() < 32)
      field &= splatWord((1u << m.fieldBits()) - 1);
    c.first = decode(m, field, c.first, c.second);
  }
  return c;
}

/// The values of rows r0, 4 + r0, 8 + r0, 12 + r0 among 16 in row order, in every
/// quarter.
QL_INLINE Floats rowsOf(int r0, Floats rows) {
  return permute(rows, [&](int l) QL_LAMBDA { return 4 * (l % 4) + r0; });
}

/// The block steps of one unit for one tensor, as floats, entry r0 * 4 + j;
/// `skip` is the tensor's place inside an entry.
QL_INLINE Floats blockSteps(const UnitLayout &unit, const Meta &m, const u8 *entries,
                            int skip) {
  return floatOfBits(m.type, strided(entries, unit.stepEntryBytes(), skip,
                                     layout::floatBytes(m.type)));
}

} // namespace qlinear::cpu
#endif
