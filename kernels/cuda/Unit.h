//===- Unit.h - One lane's share of a unit, times activations ---*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Lane 8 r0 + c of a warp owns the rows 4 j + r0 (j = 0..3) of a tile in chunk c,
// the 32 columns from 32 c. loadUnit fetches its codes and metadata with 16-byte
// accesses; dotUnit multiplies them with the same chunk of up to 8 tokens:
//
//   acc[m][j] += S d dot - O d sum        dot = sum q x, sum = sum x
//
// with int8 activations x (dot and sum are integers) or floats (d is 1), and
// S and O the scale and effective offset of the row's group. Factors that
// are constant along a row are left to the end (scalesRow in Gpu.h).
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_UNIT_H
#define QLINEAR_KERNELS_CUDA_UNIT_H

#include "Metadata.h"

namespace qlinear::kernels {

/// Raw words of one lane's share; those an encoding lacks vanish.
struct Unit {
  u32 low[4][8];   ///< per row j: 16 bytes of nibbles, or 32 bytes
  u32 pairs[4][2]; ///< per row j: the plane of pairs of bits
  u32 bits[4];     ///< per row j: the plane of single bits
  u32 record[18];  ///< metadata fields of the chunk's group(s)
  u32 steps[10];   ///< block steps of the 4 rows
};

/// Row constants of the lane's 4 rows, while it works on one tile.
struct Rows {
  float scale[4][2], offset[4][2];
};

/// The chunk that lane `lane` owns. Lanes past a tail unit's last chunk read the
/// last one; their activations are zero.
QL_INLINE int chunkOf(const UnitLayout &l, int lane) {
  return l.chunks == layout::kUnitChunks ? lane & 7 : min(lane & 7, l.chunks - 1);
}

template <class Source> QL_INLINE void load16(const Source &from, int offset, u32 *to) {
  u32x4 v = from.load16(offset);
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}
template <class Source> QL_INLINE void load8(const Source &from, int offset, u32 *to) {
  u32x2 v = from.load8(offset);
  to[0] = v.x, to[1] = v.y;
}

/// Loads the metadata of lane `lane`'s share from a unit. `Source` reads 1..16 bytes
/// at an offset: `unit` from the unit's start, `steps` from its 16 block step entries
/// (the same source if they lie inside).
template <class Source>
QL_INLINE void loadMetadata(const UnitLayout &l, int lane, const Source &unit,
                            const Source &steps, Unit &u) {
  int r0 = lane >> 3, c = chunkOf(l, lane);
  if (l.perGroup()) {
    QL_UNROLL
    for (int i = 0; i < 18; ++i)
      u.record[i] = 0;
    int p = l.column(c), count = l.pieces().count();
    QL_UNROLL
    for (int i = 0; i < count; ++i) {
      int offset = l.record(i, r0, p), start = l.pieces().start(i);
      u32 *to = u.record + start / 4;
      switch (l.pieces().size(i)) {
      case 16:
        load16(unit, offset, to);
        break;
      case 8:
        load8(unit, offset, to);
        break;
      case 4:
        *to = unit.load4(offset);
        break;
      case 2:
        *to |= unit.load2(offset) << 8 * (start % 4);
        break;
      default:
        *to |= unit.load1(offset) << 8 * (start % 4);
      }
    }
  }
  if (int bytes = 4 * l.stepEntryBytes()) {
    const Source &from = l.stepsInside() ? unit : steps;
    int offset = l.step(0, r0);
    u.steps[bytes / 4] = 0;
    QL_UNROLL
    for (int i = 0; i < bytes; i += bytes % 16 ? 8 : 16) {
      if (bytes % 16)
        load8(from, offset + i, u.steps + i / 4);
      else
        load16(from, offset + i, u.steps + i / 4);
    }
  }
}

/// Loads all of lane `lane`'s share.
template <class Source>
QL_INLINE_LATE inline void loadUnit(const UnitLayout &l, int lane, const Source &unit,
                                    const Source &steps, Unit &u) {
  int r0 = lane >> 3, c = chunkOf(l, lane);
  QL_UNROLL
  for (int j = 0; j < 4; ++j) {
    if (l.hasNibbles() || l.hasBytes())
      load16(unit, l.low(j, r0, c), u.low[j]);
    if (l.hasBytes())
      load16(unit, l.low(j, r0, c, 1), u.low[j] + 4);
    if (l.hasPairs() && j % 2 == 0) // of rows j and j + 1
      load16(unit, l.pairs(j, r0, c), u.pairs[j]);
    if (l.hasBits())
      u.bits[j] = unit.load4(l.bits(j, r0, c));
  }
  loadMetadata(l, lane, unit, steps, u);
}

/// Whether unpackCodes leaves the high nibbles of codes in place.
QL_INLINE bool keepsHighNibbles(const Spec &s) {
  return s.codeBits == 4 && !layout::isTable(s.codeKind);
}

/// The bytes that the 8 nibbles of a word find in a table of 16, those of the low
/// nibbles and of the high ones apart. A permutation finds 4 among 8 bytes, by 3 bits:
/// so each half of the table gives 4, and the fourth bit chooses between them.
QL_INLINE void lookUp(layout::TableBytes table, u32 nibbles, u32 *low, u32 *high) {
  u32 places = nibbles & 0x77777777u;
  u32 choice = 0x32103210u | (nibbles & 0x88888888u) >> 1;
  u32 found[2]; // by nibbles 0..3, and by 4..7
  QL_UNROLL
  for (int i = 0; i < 2; ++i) {
    u32 first = bytePermute(u32(table.low), u32(table.low >> 32), places >> 16 * i);
    u32 second = bytePermute(u32(table.high), u32(table.high >> 32), places >> 16 * i);
    found[i] = bytePermute(first, second, choice >> 16 * i);
  }
  *low = bytePermute(found[0], found[1], 0x6420u);
  *high = bytePermute(found[0], found[1], 0x7531u);
}

QL_INLINE void lookUp(const Spec &s, u32 nibbles, u32 *low, u32 *high) {
  lookUp(layout::tableBytes(s.codeKind), nibbles, low, high);
}

/// The same of the floats of a table, as f16 (halfBytes in Fields.h): by the low
/// nibbles the even two and the odd two, then by the high ones.
template <int Exponent, int Part>
QL_INLINE void lookUpHalves(const Spec &s, u32 nibbles, u32 *halves) {
  u32 low[2], high[2]; // the lower byte of each f16, and the higher
  lookUp(layout::halfBytes<Exponent, Part, false>(s.codeKind), nibbles, &low[0],
         &high[0]);
  lookUp(layout::halfBytes<Exponent, Part, true>(s.codeKind), nibbles, &low[1],
         &high[1]);
  halves[0] = bytePermute(low[0], low[1], 0x6240u);
  halves[1] = bytePermute(low[0], low[1], 0x7351u);
  halves[2] = bytePermute(high[0], high[1], 0x6240u);
  halves[3] = bytePermute(high[0], high[1], 0x7351u);
}

/// The bytes that the 4 bytes of a word find in a table of 256, one by one.
QL_INLINE u32 lookUp(const Spec &s, u32 places) {
  const u8 *table = layout::tableInMemory(s.codeKind);
  u32 found = 0;
  QL_UNROLL
  for (int i = 0; i < 4; ++i)
    found |= u32(table[places >> 8 * i & 255]) << 8 * i;
  return found;
}

/// A word's bits moved up, or down where `by` is negative.
QL_INLINE u32 moved(u32 word, int by) { return by < 0 ? word >> -by : word << by; }

/// Bits in a byte, in all four of a word.
QL_INLINE u32 inBytes(int bits) { return u32(bits) * 0x01010101u; }

/// The fields of row j, of codes below 8 bits, as 8 words: columns 0..15, then 16..31.
QL_INLINE void unpackFields(const UnitLayout &l, const Unit &u, int j, u32 *fields) {
  QL_UNROLL
  for (int i = 0; i < 4; ++i) {
    u32 first = 0, second = 0;
    if (l.hasNibbles()) {
      first = u.low[j][i] & inBytes(15);
      second = u.low[j][i] >> 4 & inBytes(15);
    }
    if (l.hasPairs()) {
      u32 mask = inBytes(3 << l.pairShift());
      first |= moved(u.pairs[j][0], l.pairShift() - 2 * i) & mask;
      second |= moved(u.pairs[j][1], l.pairShift() - 2 * i) & mask;
    }
    if (l.hasBits()) {
      u32 mask = inBytes(1 << l.bitShift());
      first |= moved(u.bits[j], l.bitShift() - i) & mask;
      second |= moved(u.bits[j], l.bitShift() - 4 - i) & mask;
    }
    fields[i] = first;
    fields[4 + i] = second;
  }
}

/// The bytes of row j (Fields.h) as 8 words, like fields. The high nibbles of 4-bit
/// integers stay in place, i.e. are 16 times the code.
QL_INLINE void unpackCodes(const UnitLayout &l, const Unit &u, int j, u32 *codes) {
  const Spec &s = l.spec;
  bool isTable = layout::isTable(s.codeKind);
  if (s.codeBits < 8 && s.codeBits != 4)
    unpackFields(l, u, j, codes);
  QL_UNROLL
  for (int i = 0; i < 4; ++i) {
    u32 w = u.low[j][i];
    if (s.codeBits == 8) {
      u32 second = u.low[j][4 + i];
      codes[i] = isTable ? lookUp(s, w) : w;
      codes[4 + i] = isTable ? lookUp(s, second) : second;
    } else if (isTable) {
      u32 nibbles = s.codeBits == 4 ? w : codes[i] | codes[4 + i] << 4;
      lookUp(s, nibbles, &codes[i], &codes[4 + i]);
    } else if (s.codeBits == 4) {
      codes[i] = w & 0x0F0F0F0Fu;
      codes[4 + i] = w & 0xF0F0F0F0u;
    }
  }
}

/// Scale and effective offset of row j's group (per half for group 16), for products of
/// such operands.
QL_INLINE void decodeGroups(const UnitLayout &l, const Unit &u, const Rows &rows, int j,
                            layout::Operand operand, float *scale, float *offset) {
  const Spec &s = l.spec;
  int entryBits = 8 * l.stepEntryBytes(), stepBit = j * entryBits;
  float scaleStep = s.scale.scope == layout::kBlock
                        ? floatField(u.steps, stepBit, s.scale.type)
                        : 1.0f;
  float offsetStep =
      s.offset.scope == layout::kBlock
          ? floatField(u.steps, stepBit + 8 * s.scale.blockBytes(), s.offset.type)
          : 1.0f;
  QL_UNROLL
  for (int h = 0; h < l.halves(); ++h) {
    int entry = l.halves() * j + h;
    float S = 1.0f, O = 0.0f;
    if (s.group)
      S = metaValue(s.scale, u.record, l.scaleBit(entry), scaleStep, rows.scale[j],
                    scalesRow(s));
    else if (!scalesRow(s))
      S = rows.scale[j][0];
    if (s.form != layout::kSymmetric) {
      O = s.group ? metaValue(s.offset, u.record, l.offsetBit(entry), offsetStep,
                              rows.offset[j], false)
                  : rows.offset[j][0];
      float bias = operand.bias * operand.unit;
      if (s.form == layout::kCentred)
        bias += float(1 << (s.codeBits - 1));
      if (s.form == layout::kMin)
        O = bias != 0 ? fma(S, bias, O) : O;
      else
        O = S * (bias != 0 ? O + bias : O);
    }
    scale[h] = S * operand.unit;
    offset[h] = O;
  }
}

/// One token's chunk: the codes, d, and what RecordKind says.
struct Chunk {
  u32 codes[8];
  float d;
  u32 extra[2];
};

/// Adds row j's share of one token to `acc`.
QL_INLINE float addRow(const Spec &s, const u32 *codes, const Chunk &x,
                       const float *scale, const float *offset, float acc) {
  RecordKind kind = RecordKind::of(s);
  i32 start0 = kMagicBits, start1 = kMagicBits;
  if (kind.bias) {
    start0 = bitCast<i32>(x.extra[0]);
    start1 = bitCast<i32>(x.extra[1]);
  }
  i32 high = keepsHighNibbles(s) ? 0 : kind.halves == 2 ? start1 : start0;
  QL_UNROLL
  for (int i = 4; i < 8; ++i)
    high = dp4a(codes[i], x.codes[i], high);
  i32 low;
  if (kind.halves == 2) {
    low = start0;
    if (keepsHighNibbles(s))
      high = (high >> 4) + start1;
  } else {
    low = keepsHighNibbles(s) ? (high >> 4) + start0 : high;
  }
  QL_UNROLL
  for (int i = 0; i < 4; ++i)
    low = dp4a(codes[i], x.codes[i], low);
  if (kind.halves == 2) {
    float sum = fma(scale[0], magicToFloat(low), scale[1] * magicToFloat(high));
    acc = fma(x.d, sum, acc);
    if (kind.hasOffset) {
      acc = fma(-offset[0], bitCast<float>(x.extra[0]), acc);
      acc = fma(-offset[1], bitCast<float>(x.extra[1]), acc);
    }
    return acc;
  }
  acc = fma(scale[0] * x.d, magicToFloat(low), acc);
  if (kind.hasOffset)
    acc = fma(-offset[0], bitCast<float>(x.extra[0]), acc);
  return acc;
}

/// Activations of all tokens at the lane's chunk: 16 bytes of codes of the low
/// half at `codes`, of the high half 128 bytes on, one record at `records`.
struct Activations {
  QL_SHARED const u8 *codes;
  QL_SHARED const u8 *records;
  int codeStride, recordStride; ///< bytes from token to token
};

QL_INLINE void loadChunk(RecordKind kind, const Activations &a, int token, Chunk &x) {
  QL_SHARED const u8 *codes = a.codes + token * a.codeStride;
  QL_SHARED const u8 *record = a.records + token * a.recordStride;
  u32x4 lo = *(QL_SHARED const u32x4 *)codes;
  u32x4 hi = *(QL_SHARED const u32x4 *)(codes + 128);
  x = {{lo.x, lo.y, lo.z, lo.w, hi.x, hi.y, hi.z, hi.w}, 0, {0, 0}};
  if (kind.halves == 2) {
    u32x4 r = *(QL_SHARED const u32x4 *)record;
    x.d = bitCast<float>(u32(r.x)), x.extra[0] = r.y, x.extra[1] = r.z;
  } else {
    u32x2 r = *(QL_SHARED const u32x2 *)record;
    x.d = bitCast<float>(u32(r.x)), x.extra[0] = r.y;
  }
}

/// One token's chunk of floats, and its record.
struct FloatChunk {
  float x[layout::kChunk];
  float d;
  u32 extra[2];
};

QL_INLINE void loadChunk(RecordKind kind, const Activations &a, int token,
                         FloatChunk &chunk) {
  QL_UNROLL
  for (int i = 0; i < 8; ++i) {
    u32x4 v = *(QL_SHARED const u32x4 *)(a.codes + token * a.codeStride + i * 128);
    QL_UNROLL
    for (int e = 0; e < 4; ++e)
      chunk.x[4 * i + e] = bitCast<float>(u32(v[e]));
  }
  QL_SHARED const u8 *record = a.records + token * a.recordStride;
  QL_UNROLL
  for (int h = 0; h < kind.halves; ++h)
    chunk.extra[h] = *(QL_SHARED const u32 *)(record + 4 + 4 * h);
  chunk.d = *(QL_SHARED const float *)record;
}

/// Codes may be 16 times themselves, as unpackCodes leaves them; or places among
/// floats.
QL_INLINE float addRow(const Spec &s, const u32 *codes, const FloatChunk &x,
                       const float *scale, const float *offset, float acc) {
  RecordKind kind = RecordKind::of(s);
  int perHalf = layout::kChunk / kind.halves;
  QL_UNROLL
  for (int h = 0; h < kind.halves; ++h) {
    float dot = kind.bias && !s.hasFloats() ? bitCast<float>(x.extra[h]) : 0.0f;
    QL_UNROLL
    for (int i = h * perHalf; i < (h + 1) * perHalf; ++i) {
      int shift = i >= 16 && keepsHighNibbles(s) ? 4 : 0;
      u32 code = (codes[i / 4] >> shift) >> 8 * (i % 4) & (255 >> shift);
      float value =
          s.hasFloats() ? layout::floatsInMemory(s.codeKind)[code] : float(code);
      dot = fma(value, x.x[i], dot);
    }
    acc = fma(scale[h] * x.d, dot, acc);
    if (kind.hasOffset)
      acc = fma(-offset[h], bitCast<float>(x.extra[h]), acc);
  }
  return acc;
}

/// acc[4 m + j] += row 4 j + r0 of the unit times token m, whose chunks are `X`.
template <class X>
QL_INLINE_LATE void dotUnit(const UnitLayout &l, int tokens, const Unit &u,
                            const Rows &rows, const Activations &a, float *acc) {
  RecordKind kind = RecordKind::of(l.spec);
  constexpr bool isFloat = __is_same(X, FloatChunk);
  layout::Operand operand = isFloat ? l.spec.operand(1) : l.spec.operand();
  u32 codes[4][8];
  float scale[4][2], offset[4][2];
  QL_UNROLL
  for (int j = 0; j < 4; ++j) {
    if (isFloat && l.spec.hasFloats())
      unpackFields(l, u, j, codes[j]);
    else
      unpackCodes(l, u, j, codes[j]);
    decodeGroups(l, u, rows, j, operand, scale[j], offset[j]);
  }
  QL_UNROLL
  for (int m = 0; m < tokens; ++m) {
    X x;
    loadChunk(kind, a, m, x);
    QL_UNROLL
    for (int j = 0; j < 4; ++j)
      acc[4 * m + j] = addRow(l.spec, codes[j], x, scale[j], offset[j], acc[4 * m + j]);
  }
}

QL_INLINE_LATE inline void dotRowByRow(const UnitLayout &l, int tokens, int product,
                                       const Unit &u, const Rows &rows,
                                       const Activations &a, float *acc) {
  if (product == kDp4a)
    dotUnit<Chunk>(l, tokens, u, rows, a, acc);
  else
    dotUnit<FloatChunk>(l, tokens, u, rows, a, acc);
}

} // namespace qlinear::kernels
#endif
