//===- Metadata.h - Decoding scales and offsets -----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Bit fields to floats in as few instructions as there are. A field at bits
// [p, p + n) of a word with p + n <= 23 needs no shift: mask it and set an
// exponent whose ulp is 2^p; the result is 2^(23-p) + field, exactly.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_METADATA_H
#define QLINEAR_KERNELS_CUDA_METADATA_H

#include "Arithmetic.h"
#include "qlinear/Kernels/Gpu.h"

namespace qlinear::kernels {

/// The 32 bits from `bit`, a multiple of 16.
QL_INLINE u32 window(const u32 *words, int bit) {
  return bit % 32 == 0 ? words[bit / 32]
                       : words[bit / 32] >> 16 | words[bit / 32 + 1] << 16;
}

/// The unsigned field of `bits` (<= 16) bits from `bit`.
QL_INLINE u32 field(const u32 *words, int bit, int bits) {
  return window(words, bit / 16 * 16) >> bit % 16 & ((1u << bits) - 1);
}

/// The same as a float; signed fields are two's complement.
QL_INLINE float fieldToFloat(const u32 *words, int bit, int bits, bool isSigned) {
  if (bits == 8 && bit % 8 == 0) {
    u32 word = words[bit / 32] ^ (isSigned ? 0x80808080u : 0);
    u32 selector = 0x7540u | u32(bit % 32 / 8);
    return bitCast<float>(bytePermute(word, 0x4B000000u, selector)) -
           (isSigned ? 8388608.0f + 128.0f : 8388608.0f);
  }
  int p = bit % 16;
  u32 word = window(words, bit - p);
  if (p + bits > 23) {
    word >>= p;
    p = 0;
  }
  u32 mask = ((1u << bits) - 1) << p;
  u32 exponent = 0x4B000000u - (u32(p) << 23);
  u32 flip = isSigned ? 1u << (p + bits - 1) : 0;
  float bias = float(1 << (23 - p)) + (isSigned ? float(1 << (bits - 1)) : 0.0f);
  return bitCast<float>((word & mask) ^ (exponent | flip)) - bias;
}

/// The float of a type of 8 bits.
QL_INLINE float byteFloat(u32 bits, int type) {
  constexpr u32 kNaN = 0x7FC00000u;
  if (type == layout::kE8M0) {
    u32 power = __builtin_elementwise_max(bits << 23, 1u << 22); // 2^-127 is subnormal
    return bitCast<float>(bits == 255 ? kNaN : power);
  }
  // Exponent and mantissa in their places, with a bias that is 120 less.
  u32 magnitude = bits & 0x7F, sign = (bits & 0x80) << 24;
  return bitCast<float>(sign | (magnitude == 0x7F ? kNaN : magnitude << 20)) * 0x1p120f;
}

/// The float of type `type` at `bit`.
QL_INLINE float floatField(const u32 *words, int bit, int type) {
  int at = bit / 32, shift = bit % 32;
  u32 word = words[at];
  if (layout::floatBytes(type) == 1)
    return byteFloat(field(words, bit, 8), type);
  if (type == layout::kF32)
    return bitCast<float>(shift ? word >> shift | words[at + 1] << (32 - shift) : word);
  if (type == layout::kBF16 && shift % 16 == 0)
    return bitCast<float>(shift ? word & 0xFFFF0000u : word << 16);
  u32 half = shift % 16 == 0 ? word >> shift : field(words, bit, 16);
  return type == layout::kBF16 ? bitCast<float>(half << 16)
                               : float(bitCast<_Float16>(u16(half)));
}

/// The value of the metadata field at `bit`; `step` is the block's step, `row`
/// the row's floats. With `factored` the row's factor (step of linear codes,
/// base of log codes) is left out.
QL_INLINE float metaValue(const Meta &m, const u32 *words, int bit, float step,
                          const float *row, bool factored) {
  switch (layout::MetaKind(m.kind)) {
  case layout::kPlain:
    return floatField(words, bit, m.type);
  case layout::kLinear: {
    float code = fieldToFloat(words, bit, m.bits, m.isSigned);
    if (m.scope == layout::kConstant || (m.scope == layout::kRow && factored))
      return code;
    return code * (m.scope == layout::kRow ? row[0] : step);
  }
  case layout::kLog: {
    float power = exp2(fieldToFloat(words, bit, m.bits, false) * row[1]);
    return factored ? power : row[0] * power;
  }
  case layout::kDelta:
    return bitCast<float>(bitCast<u32>(row[0]) + (field(words, bit, m.bits) << 16));
  case layout::kScaled: {
    float code = floatField(words, bit, layout::kE4M3);
    return factored ? code : code * row[0];
  }
  case layout::kNone:
    break;
  }
  return 0.0f;
}

/// Reads row constants from a blob (see "row constants" in Layout.h) into the
/// rowFloats(spec, m) floats that kernels keep; `p` points to those of one row.
QL_INLINE void rowConstants(const Spec &s, const Meta &m, const u8 *p, float *out) {
  auto word16 = [](const u8 *q) { return u32(q[0]) | u32(q[1]) << 8; };
  auto read = [&](const u8 *q, int type) {
    u32 word = word16(q);
    if (type == layout::kF32)
      word |= word16(q + 2) << 16;
    return floatField(&word, 0, type);
  };
  int fieldBytes = s.group ? 0 : (m.fieldBits() + 7) / 8;
  const u8 *constants = p + fieldBytes;
  float row[2] = {1.0f, 0.0f};
  if (m.scope == layout::kRow) {
    row[0] = read(constants, m.type);
    if (m.kind == layout::kLog)
      row[1] = read(constants + layout::floatBytes(m.type), m.type);
  }
  if (s.group) {
    out[0] = row[0];
    if (m.kind == layout::kLog)
      out[1] = row[1];
    return;
  }
  u32 words[2] = {0, 0};
  QL_UNROLL
  for (int i = 0; i < fieldBytes; ++i)
    words[0] |= u32(p[i]) << 8 * i;
  out[0] = metaValue(m, words, 0, 0.0f, row, false);
}

} // namespace qlinear::kernels
#endif
