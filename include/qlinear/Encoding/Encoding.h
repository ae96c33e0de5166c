//===- Encoding.h - What a quantized weight is ------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An `Encoding` says how the weights of one linear layer are stored: codes of 2, 3, 4,
// 5, 6 or 8 bits, and per group of `group` consecutive weights along K a scale `s`
// and, in the affine forms, an offset. It is pure data: the codecs are in Codec.h,
// the byte layout in Layout.h, the values of fields in Fields.h, and the MLIR
// attribute `#qlinear.encoding` wraps exactly this struct.
//
//   form        weight                      native to
//   symmetric   w = s * q                   Q8_0, Q3_K, Q6_K, int8; q signed
//   zero        w = s * (q - z)             torchao, AWQ, GPTQ, HQQ, ONNX
//   min         w = s * q - m               GGUF Q2_K, Q4_K, Q5_K, Q4_1, Q5_1
//   centred     w = s * (q - 2^(b-1) - z)   z signed, near 0
//
// q is the value of a code: an integer, or what the code finds in a table. Signed
// integers are stored biased, as the field q + 2^(b-1), and a table is stored as
// unsigned bytes: so every kernel multiplies unsigned bytes and folds the bias into
// the offset.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_ENCODING_H
#define QLINEAR_ENCODING_ENCODING_H

#include "qlinear/Encoding/Fields.h"
#include "qlinear/Encoding/Result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace qlinear {

/// How a code becomes a number.
enum class CodeKind : uint8_t {
  integer,  ///< it is one
  example4, ///< by the table of this name in Fields.h, as are those that follow
  example2,
  example3,
  example8,
  iq4nl,
  e2m1,
  nf4,
};

/// Code of one weight: an integer of 2, 3, 4, 5, 6 or 8 bits, spelled `u4`, `i6`, ...,
/// or the place of a value in a table of 2^bits, spelled with the table's name.
struct CodeType {
  uint8_t bits = 4;
  bool isSigned = false; ///< of tables, too: their values have both signs
  CodeKind kind = CodeKind::integer;

  static constexpr CodeType table(CodeKind kind) {
    return {uint8_t(layout::kTables[int(kind) - 1].bits), true, kind};
  }
  /// Any spelling of a code, of any number of bits.
  static std::optional<CodeType> parse(std::string_view text);
  /// The spellings of all tables, each after a comma: for messages.
  static std::string tables();
  std::string str() const;

  constexpr bool isTable() const { return kind != CodeKind::integer; }
  constexpr layout::Codes layout() const { return {bits, isSigned, int(kind)}; }
  /// Added to the value of a code, it gives the byte that kernels multiply.
  constexpr int bias() const { return layout().bias(); }
  /// Added to a code, it gives the stored field: the codes of a table are fields.
  constexpr int fieldBias() const { return isTable() ? 0 : bias(); }
  bool operator==(const CodeType &) const = default;
};

enum class Form : uint8_t { symmetric, zero, min, centred };

/// e8m0 and e4m3 are scales themselves, not steps or bases of others.
enum class FloatType : uint8_t { bf16, f16, f32, e8m0, e4m3 };
constexpr unsigned byteWidth(FloatType t) {
  return t == FloatType::f32 ? 4 : t == FloatType::e8m0 || t == FloatType::e4m3 ? 1 : 2;
}

/// How often a step (or base) is stored for the codes of a metadata tensor.
enum class StepScope : uint8_t {
  constant, ///< none stored: the step is 1 (an integer grid)
  row,      ///< one per row of the weight
  block,    ///< one per 256 consecutive weights of a row
  tensor,   ///< one for all: Encoding::verify refuses it
};
/// Weights covered by one `block` step; the last block of a row may be partial.
inline constexpr unsigned kStepBlock = 256;

/// Storage of one metadata tensor (the scales, or the offsets).
///
///   kind     spelling                 value of code c
///   none     (absent)                 0
///   plain    bf16 | f16 | f32         the float itself; of scales also e8m0 | e4m3
///   linear   u8 * row<bf16>           c * step
///            i8 * block<256, f16>
///            u4                       c            (integer grid, step 1)
///   log      log8 * row<f32>          base * 2^(c * step); base and step per row
///   delta    delta10 * row<bf16>      bf16 with the bits base + c
///   scaled   e4m3 * row<f32>          e4m3 with the bits c, times step; of scales
struct MetaStorage {
  enum class Kind : uint8_t { none, plain, linear, log, delta, scaled };
  Kind kind = Kind::none;
  FloatType type = FloatType::bf16; ///< of the value (plain), or of the step
  uint8_t bits = 0;                 ///< of a code: 4, 6, 8, 10 or 12; 0 if plain
  bool isSigned = false;            ///< codes are two's complement (linear only)
  StepScope scope = StepScope::constant;

  bool operator==(const MetaStorage &) const = default;

  static constexpr MetaStorage plain(FloatType t) {
    return {Kind::plain, t, 0, false, StepScope::constant};
  }
  static constexpr MetaStorage linear(uint8_t bits, bool isSigned, StepScope scope,
                                      FloatType step = FloatType::bf16) {
    return {Kind::linear, step, bits, isSigned, scope};
  }
  static constexpr MetaStorage log(uint8_t bits, FloatType t = FloatType::f32) {
    return {Kind::log, t, bits, false, StepScope::row};
  }
  static constexpr MetaStorage delta(uint8_t bits) {
    return {Kind::delta, FloatType::bf16, bits, false, StepScope::row};
  }
  static constexpr MetaStorage scaled(FloatType step = FloatType::f32) {
    return {Kind::scaled, step, 8, false, StepScope::row};
  }
  /// Any spelling of a code, without its step and of any number of bits: "u8", "log8".
  static std::optional<MetaStorage> parseCode(std::string_view text);
  /// Bits of the field stored per group; 0 for none.
  constexpr unsigned fieldBits() const {
    return kind == Kind::none ? 0 : kind == Kind::plain ? 8 * byteWidth(type) : bits;
  }
  /// Bytes stored per row (step, base) and per 256-weight block (step).
  constexpr unsigned rowBytes() const {
    return scope != StepScope::row ? 0
           : kind == Kind::log     ? 2 * byteWidth(type)
                                   : byteWidth(type);
  }
  constexpr unsigned blockBytes() const {
    return scope == StepScope::block ? byteWidth(type) : 0;
  }
};

/// Group size meaning "one group per row".
inline constexpr unsigned kWholeRow = 0;

struct Encoding {
  CodeType codes;
  unsigned group = 32; ///< 16, 32, 64, 128, 256 or kWholeRow
  Form form = Form::zero;
  MetaStorage scale;
  MetaStorage offset; ///< Kind::none if and only if form is symmetric

  bool operator==(const Encoding &) const = default;

  /// Groups in a row of K weights.
  constexpr uint64_t groupsPerRow(uint64_t K) const {
    return group == kWholeRow ? 1 : (K + group - 1) / group;
  }
  /// The integer that kernels take as a constant (see Layout.h, `Spec`).
  uint64_t spec() const;

  /// Checks the encoding alone; the error names the rule and the way out.
  Result<void> verify() const;
  /// Checks that an N x K weight can have this encoding.
  Result<void> verifyShape(uint64_t N, uint64_t K) const;

  /// Spelling as inside `#qlinear.encoding<...>`:
  /// "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>".
  std::string str() const;
  static Result<Encoding> parse(std::string_view text);
};

/// The native encoding of a GGUF block format, as of "Q4_K". Lossless: the re-encoding
/// stores the same values.
Result<Encoding> ggufEncoding(std::string_view ggufType);
/// The GGUF block format that `encoding` is native to, or "".
std::string_view ggufTypeOf(const Encoding &encoding);
/// All that have one, with commas: for messages.
std::string ggufTypes();

} // namespace qlinear
#endif
