//===- Metadata.h - Scales and offsets of one row ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the codecs share: the meaning of a metadata field, and the one linear
// function of the stored field f that every form comes down to,
//
//   w = s * (f - center) - r.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_METADATA_H
#define QLINEAR_LIB_ENCODING_METADATA_H

#include "qlinear/Encoding/Codec.h"

namespace qlinear::detail {

/// Constants (steps, bases) of one row of K weights.
inline uint64_t constantsPerRow(const MetaStorage &m, uint64_t K) {
  if (m.scope == StepScope::block)
    return (K + kStepBlock - 1) / kStepBlock;
  return m.rowBytes() / byteWidth(m.type);
}

/// Value of a code that has a step or none; the product is rounded to float,
/// which matters for f32 steps only.
inline float linearValue(const MetaStorage &m, uint32_t field, float step) {
  int32_t code = int32_t(field);
  if (m.isSigned && (field >> (m.bits - 1) & 1))
    code -= 1 << m.bits;
  return float(code) * step;
}

/// Value of a log code, rounded to float.
float logValue(float base, float step, uint32_t code);

/// Values of the G fields of one row.
void decodeRow(const MetaStorage &m, unsigned group, const uint32_t *fields,
               const uint32_t *constants, uint64_t G, float *values);

/// The form's own center, and r as an exact product in double.
inline double centerOf(Form form, CodeType codes) {
  return form == Form::centred ? double(1 << (codes.bits - 1))
                               : double(codes.bias());
}
inline double shiftOf(Form form, float scale, float offset) {
  switch (form) {
  case Form::symmetric:
    return 0;
  case Form::min:
    return offset;
  case Form::zero:
  case Form::centred:
    return double(scale) * double(offset);
  }
  return 0;
}

/// Whether the vectors have the sizes that N, K and the encoding ask for, and
/// the code fields fit.
Result<void> check(const AffineWeight &w);
Result<void> check(const EncodedWeight &w);

/// "row 3, group 7 (columns 224 to 255)".
std::string groupName(uint64_t row, uint64_t g, unsigned group, uint64_t K);

} // namespace qlinear::detail
#endif
