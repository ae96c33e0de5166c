//===- Codec.h - Encode, decode, pack and measure weights -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The path of a weight:
//
//   float weights --quantize--> AffineWeight --encode--> EncodedWeight --pack--> blob
//   GGUF block formats ------------------------------------^   (K-quants enter here,
//                                                              bit-exact)
//   AffineWeight <--decode-- EncodedWeight <--unpack-- blob
//
// AffineWeight has the exact metadata values, EncodedWeight their fields.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_CODEC_H
#define QLINEAR_ENCODING_CODEC_H

#include "qlinear/Encoding/Encoding.h"
#include "qlinear/Encoding/Layout.h"

#include <cstddef>
#include <span>
#include <vector>

namespace qlinear {

/// A group-quantized weight with exact metadata, row-major.
struct AffineWeight {
  uint64_t N = 0, K = 0;
  CodeType codes;
  unsigned group = 32;
  Form form = Form::zero;
  std::vector<uint8_t> fields; ///< N x K stored (biased) code fields
  std::vector<float> scales;   ///< N x G
  std::vector<float> offsets;  ///< N x G: z, m or z'; empty if symmetric

  uint64_t groups() const { return group == kWholeRow ? 1 : K / group; }
  /// Weight (n, k) in float64: exactly, or as products with int8 have it, which differs
  /// where a table has floats.
  double weight(uint64_t n, uint64_t k, bool asBytes = false) const;
};

/// A weight whose metadata has been coded as `encoding` says.
struct EncodedWeight {
  Encoding encoding;
  uint64_t N = 0, K = 0;
  std::vector<uint8_t> fields;        ///< N x K stored (biased) code fields
  std::vector<uint32_t> scaleFields;  ///< N x G raw fields (low fieldBits bits)
  std::vector<uint32_t> offsetFields; ///< N x G, or empty
  /// Raw bits of the constants: scale N x (rowBytes / byteWidth), or
  /// N x ceil(K / 256) for block steps; the same for the offset.
  std::vector<uint32_t> scaleSteps, offsetSteps;
};

/// The error of a re-encoding, against the exact weights w: SNR is
/// 10 log10(sum w^2 / sum (w - w')^2), in dB; infinity if nothing differs. Two
/// weights differ if their values rounded to f32 do.
struct Quality {
  double tensorSnr = 0, worstRowSnr = 0;
  uint64_t worstRow = 0;
  double groupErrorP999 = 0; ///< 99.9th percentile over groups of |w-w'|/|w| (2-norms)
  /// Largest over rows of the RMS over the row's groups of min(1, |w-w'|/|w|).
  /// A row whose step is set by one huge group shows here, not in its SNR.
  double worstRowGroupError = 0;
  uint64_t differingWeights = 0;
  /// SNR of the response to activations that are all 1, that is, of the row
  /// sums: errors of offsets add coherently when activations have a mean.
  double coherentSnr = 0;
  double bitsPerWeight = 0; ///< all codes, steps and padding
};

struct EncodeOptions {
  /// Search steps that minimise the squared weight error, rather than
  /// step = max / largest code.
  bool searchSteps = true;
};

/// Codes the metadata of `w`. Fails on non-finite metadata (naming row and
/// group) and where the encoding cannot express the form of `w` at all.
/// Errors of precision are not failures: measure() tells them.
Result<EncodedWeight> encode(const AffineWeight &w, const Encoding &encoding,
                             const EncodeOptions &options = {});
/// Exact values of the coded metadata.
Result<AffineWeight> decode(const EncodedWeight &w);

/// N x K weights in f32, each the correctly rounded value of the exact weight.
Result<std::vector<float>> dequantize(const EncodedWeight &w);
Result<std::vector<float>> dequantize(const AffineWeight &w);
/// Row n of a weight that fits its shape: K of the same floats.
void dequantizeRow(const EncodedWeight &w, uint64_t n, float *to);

/// Lays the weight out as Layout.h says; `blob` has layoutOf(w).bytes() bytes.
Result<void> pack(const EncodedWeight &w, std::span<std::byte> blob);
Result<EncodedWeight> unpack(const Encoding &encoding, uint64_t N, uint64_t K,
                             std::span<const std::byte> blob);
layout::WeightLayout layoutOf(const Encoding &encoding, uint64_t N, uint64_t K);

/// `coded` has the codes of `exact`; an error says where the two do not match.
Result<Quality> measure(const AffineWeight &exact, const EncodedWeight &coded);

/// How `--encoding` / `encoding=` chooses.
struct SelectionRule {
  /// "auto", "lossless", a name of namedEncoding ("row-u8", "block-u8", "bf16",
  /// "f16", "f32"), or an explicit spelling as Encoding::parse reads it, whose
  /// code bits and group must be the source's.
  std::string name = "auto";
  double minSnr = 45;            ///< dB, of the tensor
  double worstRowMargin = 6;     ///< dB below minSnr that the worst row may be
  double maxGroupError = 0.03;   ///< of the 99.9th percentile group
  double maxRowGroupError = 0.1; ///< of Quality::worstRowGroupError
};

/// One encoding that was considered, and why it was declined.
struct Candidate {
  Encoding encoding;
  Quality quality;
  /// Rows that `quality` is of: N, or a sample that settled it.
  uint64_t rowsMeasured = 0;
  std::string reason;
};
struct Selection {
  EncodedWeight weight;
  Quality quality;
  std::string name;   ///< "row-u8", "Q4_K", ...: for tables
  std::string reason; ///< why this one
  std::vector<Candidate> declined;
};

/// Applies the rule to a weight with exact metadata.
Result<Selection> select(const AffineWeight &w, const SelectionRule &rule);
/// The same for a natively coded source (K-quants): "auto" and "lossless" keep
/// it as it is.
Result<Selection> select(const EncodedWeight &native, const SelectionRule &rule);

/// Encodings by name for a source of this code type, group and form:
/// "row-u8" (the seed's), "block-u8" (ExecuTorch's), "bf16", "f16", "f32".
Result<Encoding> namedEncoding(std::string_view name, CodeType codes, unsigned group,
                               Form form);

/// Quantizes N x K float weights.
struct QuantizeOptions {
  CodeType codes;
  unsigned group = 32;
  Form form = Form::zero;
  bool search = true; ///< minimise the squared error; false: plain min-max
  /// What scales are rounded to before codes are chosen: bf16, or of codes of a table
  /// e8m0, or e4m3 times a step per row.
  MetaStorage scale = MetaStorage::plain(FloatType::bf16);
};
Result<AffineWeight> quantize(std::span<const float> weights, uint64_t N, uint64_t K,
                              const QuantizeOptions &options);

/// Float conversions, round to nearest even.
float bf16ToFloat(uint16_t bits);
float f16ToFloat(uint16_t bits);
uint16_t floatToBf16(float value);
uint16_t floatToF16(float value);

} // namespace qlinear
#endif
