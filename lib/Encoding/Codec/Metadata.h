//===- Metadata.h - Scales and offsets of one row ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Shared by the codecs: the meaning of a metadata field, and the one linear
// function that every form comes down to,
//
//   w = s * (f - center) - r
//
// of what a code field stands for: the field itself, or a table's value.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_CODEC_METADATA_H
#define QLINEAR_LIB_ENCODING_CODEC_METADATA_H

#include "qlinear/Encoding/Codec.h"

namespace qlinear::detail {

/// Constants (steps, bases) of one row of K weights.
inline uint64_t constantsPerRow(const MetaStorage &m, uint64_t K) {
  if (m.scope == StepScope::block)
    return (K + kStepBlock - 1) / kStepBlock;
  return m.rowBytes() / byteWidth(m.type);
}

/// Element `index` of a vector, or null if the weight has no such metadata.
template <typename Vector> auto *elementOrNull(Vector &v, uint64_t index) {
  return v.empty() ? nullptr : v.data() + index;
}

/// Value of a code that has a step or none; the product is rounded to float,
/// which matters for f32 steps only.
inline float linearValue(const MetaStorage &m, uint32_t field, float step) {
  return layout::linearValue(m.bits, m.isSigned, field, step);
}

/// Values of the G fields of one row.
void decodeRow(const MetaStorage &m, unsigned group, const uint32_t *fields,
               const uint32_t *constants, uint64_t G, float *values);

/// What each code field stands for.
struct Points {
  double of[256];
  explicit Points(CodeType codes);
  double operator[](uint8_t field) const { return of[field]; }
};

/// The form's own center, and r as an exact product in double.
inline double centerOf(Form form, CodeType codes) {
  return form == Form::centred ? double(1 << (codes.bits - 1))
                               : double(codes.fieldBias());
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

//===----------------------------------------------------------------------===//
// Coding the metadata of a row
//===----------------------------------------------------------------------===//

/// Determines the squared error of new metadata: per group the mean of the
/// codes' points and their summed squared deviation from it. With them the
/// weights need not be touched again:
///   sum (w - w')^2 = (s - s')^2 * spread + n * (mean(w) - mean(w'))^2.
struct Moments {
  std::vector<double> mean, spread; ///< N x G
};
Moments momentsOf(const AffineWeight &w);

/// Exact metadata of one row; `offsets` is null in the symmetric form.
struct RowSource {
  const float *scales, *offsets;
  const double *mean, *spread;
};
RowSource rowOf(const AffineWeight &w, const Moments &m, uint64_t n);

/// Coded metadata of one row and the values they decode to.
struct RowCoded {
  uint32_t *scaleFields, *offsetFields, *scaleSteps, *offsetSteps;
  float *scales, *offsets;
};

/// Buffers for the coded metadata of one row.
struct RowBuffer {
  std::vector<uint32_t> words;
  std::vector<float> values;
  RowCoded coded;
  RowBuffer(const Encoding &e, uint64_t K);
};

/// Codes rows of weights like `w` as `encoding` says.
class RowCoder {
public:
  RowCoder(const AffineWeight &w, const Encoding &encoding,
           const EncodeOptions &options);
  void code(const RowSource &row, const RowCoded &out);

private:
  void codeScales(const RowSource &row, const RowCoded &out);
  void codeOffsets(const RowSource &row, const RowCoded &out);

  Form form;
  const Encoding e;
  bool search;
  uint64_t K, G;
  double n, center, newCenter; ///< weights per group; centers of w and w'
  std::vector<double> targets, weights;
};

/// Codes G values that matter as much as their weights say: values of weight 0
/// may become anything.
void codeRow(const MetaStorage &m, unsigned group, uint64_t K, const double *values,
             const double *weights, uint64_t G, bool search, uint32_t *fields,
             uint32_t *constants);

/// Whether the metadata of `w` is finite and `e` fits its codes and form.
Result<void> checkEncodable(const AffineWeight &w, const Encoding &e);

//===----------------------------------------------------------------------===//
// Measuring
//===----------------------------------------------------------------------===//

/// Sums over one row, and the relative error of each of its groups.
struct RowQuality {
  double signal = 0, noise = 0;       ///< sum w^2, sum (w - w')^2
  double rowSum = 0, rowSumError = 0; ///< sum w, sum (w - w')
  double groupError = 0;              ///< RMS over groups of |w - w'| / |w|
  double coarseGroups = 0;            ///< share of groups beyond the rule
  uint64_t differing = 0;
};
/// Unless `countAll`, `differing` is only known to be positive or not.
RowQuality measureRow(const AffineWeight &w, uint64_t n, const RowSource &exact,
                      const Encoding &e, const float *scales, const float *offsets,
                      bool countAll, float *groupErrors);

/// All figures of `coded`, which has the codes of `w`.
Quality measureAll(const AffineWeight &w, const Moments &moments,
                   const EncodedWeight &coded);

/// The figures of a tensor from those of its rows. `rowNumbers` names the rows,
/// `groupErrors` is reordered.
Quality summarize(const std::vector<RowQuality> &rows,
                  const std::vector<uint64_t> &rowNumbers,
                  std::vector<float> &groupErrors);

} // namespace qlinear::detail
#endif
