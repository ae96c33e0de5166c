//===- Encoding.cpp - What a quantized weight is --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Codec.h"

#include <array>
#include <optional>
#include <span>

using namespace qlinear;

/// Kernels can look such a table up, and the quantizer finds a scale for it.
static constexpr bool areUsable() {
  for (const layout::CodeTable &t : layout::kTables) {
    if (t.bits != 2 && t.bits != 3 && t.bits != 4 && t.bits != 8)
      return false;
    bool below = false, above = false;
    for (int f = 0; f < t.size(); ++f) {
      below |= t.values[f] < 0;
      above |= t.values[f] > 0;
    }
    if (!below || !above)
      return false;
  }
  return true;
}
static_assert(areUsable(), "a table has 4, 8, 16 or 256 values, of both signs");

static layout::Meta toLayout(const MetaStorage &m) {
  return {int(m.kind), int(m.type), m.bits, m.isSigned, int(m.scope)};
}

static layout::Spec toSpec(const Encoding &e) {
  return {e.codes.bits, e.codes.isSigned,  int(e.codes.kind), int(e.group),
          int(e.form),  toLayout(e.scale), toLayout(e.offset)};
}

uint64_t Encoding::spec() const { return toSpec(*this).pack(); }

layout::WeightLayout qlinear::layoutOf(const Encoding &encoding, uint64_t N,
                                       uint64_t K) {
  return {toSpec(encoding), N, K};
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

static constexpr std::array<const char *, 4> formNames{"symmetric", "zero", "min",
                                                       "centred"};
static constexpr std::array<const char *, 5> floatNames{"bf16", "f16", "f32", "e8m0",
                                                        "e4m3"};

static std::string number(uint64_t v) { return std::to_string(v); }

/// `error` with the number of a constraint of #qlinear.encoding or !qlinear.weight.
static Result<void> broken(unsigned constraint, std::string message) {
  return error(std::move(message), constraint);
}

/// What stands before the bits in the spelling of a code: "u" in u8, "log" in log8.
static std::string codeName(const MetaStorage &m) {
  switch (m.kind) {
  case MetaStorage::Kind::none:
  case MetaStorage::Kind::plain:
    break;
  case MetaStorage::Kind::linear:
    return m.isSigned ? "i" : "u";
  case MetaStorage::Kind::log:
    return "log";
  case MetaStorage::Kind::delta:
    return "delta";
  case MetaStorage::Kind::scaled:
    return "e4m3";
  }
  return "";
}

static Result<void> verifyStorage(const MetaStorage &m, const char *name,
                                  unsigned group) {
  using Kind = MetaStorage::Kind;
  std::string what = name;
  if (m.type > FloatType::e4m3 || m.scope > StepScope::tensor ||
      int(m.kind) >= layout::kMetaKinds)
    return broken(9, what + " storage has an unknown kind, float type or scope");
  if (m.type > FloatType::f32 && m.kind != Kind::plain)
    return broken(11, what + " step of " + floatNames[size_t(m.type)] +
                          " is too coarse; use bf16, f16 or f32");
  if (m.scope == StepScope::tensor)
    return broken(11, what + " step per tensor is not supported yet; use row<...>, "
                             "with the same step in each row");
  switch (m.kind) {
  case Kind::none:
    return {};
  case Kind::plain:
    if (m.bits || m.isSigned || m.scope != StepScope::constant)
      return broken(9, "plain " + what + " has neither code bits nor a step");
    return {};
  case Kind::linear:
    if (m.bits != 4 && m.bits != 6 && m.bits != 8)
      return broken(6, what + " code of " + number(m.bits) +
                           " bits; a linear code has 4, 6 or 8 bits");
    if (m.scope == StepScope::constant && m.type != FloatType::bf16)
      return broken(9, what + " code on the integer grid has no step, so its step "
                              "type must be left at bf16");
    break;
  case Kind::log:
    if (m.bits != 4 && m.bits != 6 && m.bits != 8)
      return broken(6, what + " code of " + number(m.bits) +
                           " bits; a log code has 4, 6 or 8 bits");
    break;
  case Kind::delta:
    if (m.bits != 8 && m.bits != 10 && m.bits != 12)
      return broken(6, what + " code of " + number(m.bits) +
                           " bits; a delta code has 8, 10 or 12 bits");
    if (m.type != FloatType::bf16)
      return broken(7, "delta " + what + " has a bf16 base: use row<bf16>");
    break;
  case Kind::scaled:
    if (m.bits != 8)
      return broken(6, what + " code of " + number(m.bits) + " bits; an e4m3 has 8");
    break;
  }
  if (m.kind != Kind::linear) {
    bool scaled = m.kind == Kind::scaled;
    if (m.isSigned)
      return broken(7,
                    codeName(m) + " codes of the " + what + " are unsigned; their " +
                        (scaled ? "float carries the sign" : "base carries the sign"));
    if (m.scope != StepScope::row)
      return broken(7, codeName(m) + " codes of the " + what + " have their " +
                           (scaled ? "step" : "base") + " per row: use row<...>");
  }
  if (m.scope == StepScope::block && group == kWholeRow)
    return broken(8, what + " step per 256 weights, but one group spans the whole "
                            "row; use a row step or plain storage");
  return {};
}

static bool isGroupSize(unsigned g) {
  return g == 16 || g == 32 || g == 64 || g == 128 || g == 256 || g == kWholeRow;
}

Result<void> Encoding::verify() const {
  if (int(codes.kind) >= layout::kCodeKinds)
    return broken(10, "codes of an unknown kind");
  if (codes.isTable() && codes != CodeType::table(codes.kind))
    return broken(10, "codes of " + codes.str() + " are signed and have " +
                          number(CodeType::table(codes.kind).bits) + " bits");
  if (!layout::hasPlanes(codes.bits))
    return broken(1, "codes of " + number(codes.bits) +
                         " bits; a weight code has 2, 3, 4, 5, 6 or 8 bits");
  if (!isGroupSize(group))
    return broken(2, "group = " + number(group) +
                         "; a group has 16, 32, 64, 128 or 256 weights, or spans the "
                         "row (group = row)");
  if (form > Form::centred)
    return broken(3, "unknown form");
  if (form == Form::symmetric && !codes.isSigned)
    return broken(3, "the symmetric form needs signed codes; use i" +
                         number(codes.bits) + ", or the zero form");
  if (form == Form::centred && codes.isSigned)
    return broken(3, "the centred form needs unsigned codes; use u" +
                         number(codes.bits) + ", or the zero form");
  if (scale.kind == MetaStorage::Kind::none)
    return broken(4, "an encoding needs a scale, as in scale = bf16");
  if (scale.kind == MetaStorage::Kind::linear && scale.scope == StepScope::constant)
    return broken(4, "a scale code needs a step: use row<...> or block<256, ...>");
  bool hasOffset = offset.kind != MetaStorage::Kind::none;
  if (form == Form::symmetric && hasOffset)
    return broken(5, "the symmetric form has no offset; remove it, or use the "
                     "zero, min or centred form");
  if (form != Form::symmetric && !hasOffset)
    return broken(5, "the zero, min and centred forms need an offset, as in "
                     "offset = bf16");
  if (auto r = verifyStorage(scale, "scale", group); !r)
    return r;
  return verifyStorage(offset, "offset", group);
}

Result<void> Encoding::verifyShape(uint64_t N, uint64_t K) const {
  if (auto r = verify(); !r)
    return r;
  std::string shape = number(N) + " x " + number(K);
  if (N == 0 || K == 0)
    return broken(1, "shape " + shape + " has no weights; N and K must be positive");
  // Keeps every byte offset of Layout.h far from overflow.
  constexpr uint64_t maxSide = uint64_t(1) << 32, maxWeights = uint64_t(1) << 44;
  if (N > maxSide || K > maxSide || N > maxWeights / K)
    return broken(1, "shape " + shape +
                         " is too large; N and K may be up to 2^32 "
                         "and N * K up to 2^44");
  if (group != kWholeRow && K % group != 0) {
    std::string message = "K = " + number(K) + " is not a multiple of the group size " +
                          number(group) + "; pad K or use group = ";
    for (unsigned g : {128u, 64u, 32u, 16u})
      if (K % g == 0)
        return broken(2, message + number(g));
    return broken(2, message + "row");
  }
  return {};
}

//===----------------------------------------------------------------------===//
// Printing
//===----------------------------------------------------------------------===//

static std::string str(const MetaStorage &m) {
  using Kind = MetaStorage::Kind;
  std::string type = floatNames[size_t(m.type)];
  if (m.kind == Kind::plain)
    return type;
  std::string s = codeName(m);
  if (m.kind != Kind::scaled)
    s += number(m.bits);
  if (m.scope == StepScope::row)
    s += " * row<" + type + ">";
  else if (m.scope == StepScope::tensor)
    s += " * tensor<" + type + ">";
  else if (m.scope == StepScope::block)
    s += " * block<" + number(kStepBlock) + ", " + type + ">";
  return s;
}

std::string CodeType::str() const {
  if (isTable())
    return layout::kTables[int(kind) - 1].name;
  return (isSigned ? "i" : "u") + number(bits);
}

std::string Encoding::str() const {
  std::string s = codes.str() +
                  ", group = " + (group == kWholeRow ? "row" : number(group)) + ", " +
                  formNames[size_t(form)] + ", scale = " + ::str(scale);
  if (offset.kind != MetaStorage::Kind::none)
    s += ", offset = " + ::str(offset);
  return s;
}

//===----------------------------------------------------------------------===//
// Parsing
//===----------------------------------------------------------------------===//

namespace {
/// Reads words, numbers and punctuation; the first failed expectation is kept.
class Parser {
  std::string_view text;
  size_t at = 0;
  std::optional<Error> failure;

  void skipSpace() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\t' ||
                                text[at] == '\n' || text[at] == '\r'))
      ++at;
  }
  static bool isWordChar(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_';
  }

public:
  explicit Parser(std::string_view text) : text(text) {}

  bool failed() const { return failure.has_value(); }
  Error takeFailure() { return std::move(*failure); }

  /// Records that `wanted` was expected at the start of the last word read.
  void expected(const std::string &wanted, std::string_view found) {
    if (failed())
      return;
    std::string what = found.empty() ? at < text.size() ? std::string(1, text[at])
                                                        : std::string("the end")
                                     : std::string(found.substr(0, 40));
    failure = error("expected " + wanted + ", found '" + what + "' at character " +
                    number(at - found.size() + 1) + " of the encoding");
  }
  std::string_view word() {
    skipSpace();
    size_t begin = at;
    while (at < text.size() && isWordChar(text[at]))
      ++at;
    return text.substr(begin, at - begin);
  }
  bool consume(char c) {
    skipSpace();
    if (at >= text.size() || text[at] != c)
      return false;
    ++at;
    return true;
  }
  void expect(char c) {
    if (!failed() && !consume(c))
      expected(std::string("'") + c + "'", {});
  }
  void expectWord(std::string_view w) {
    if (failed())
      return;
    if (std::string_view found = word(); found != w)
      expected("'" + std::string(w) + "'", found);
  }
  bool atEnd() {
    skipSpace();
    return at == text.size();
  }
};
} // namespace

/// Reads at most three digits.
static std::optional<unsigned> parseNumber(std::string_view digits) {
  if (digits.empty() || digits.size() > 3)
    return std::nullopt;
  unsigned v = 0;
  for (char c : digits) {
    if (c < '0' || c > '9')
      return std::nullopt;
    v = v * 10 + unsigned(c - '0');
  }
  return v;
}

/// The number after `prefix`, as in "delta10".
static std::optional<unsigned> parseAfter(std::string_view word,
                                          std::string_view prefix) {
  if (!word.starts_with(prefix))
    return std::nullopt;
  return parseNumber(word.substr(prefix.size()));
}

static std::optional<FloatType> parseFloatType(std::string_view word) {
  for (size_t i = 0; i < floatNames.size(); ++i)
    if (word == floatNames[i])
      return FloatType(i);
  return std::nullopt;
}

std::optional<CodeType> CodeType::parse(std::string_view text) {
  for (int kind = layout::kInteger + 1; kind < layout::kCodeKinds; ++kind)
    if (text == layout::kTables[kind - 1].name)
      return table(CodeKind(kind));
  for (bool isSigned : {false, true})
    if (auto bits = parseAfter(text, isSigned ? "i" : "u"); bits && *bits <= 32)
      return CodeType{uint8_t(*bits), isSigned};
  return std::nullopt;
}

std::string CodeType::tables() {
  std::string names;
  for (const layout::CodeTable &table : layout::kTables)
    names += std::string(", ") + table.name;
  return names;
}

std::optional<MetaStorage> MetaStorage::parseCode(std::string_view text) {
  if (text == "e4m3")
    return scaled();
  for (const MetaStorage &code :
       {linear(0, false, StepScope::constant), linear(0, true, StepScope::constant),
        log(0), delta(0)})
    if (auto bits = parseAfter(text, codeName(code)); bits && *bits <= 32) {
      MetaStorage storage = code;
      storage.bits = uint8_t(*bits);
      return storage;
    }
  return std::nullopt;
}

static CodeType parseCodes(Parser &p) {
  std::string_view w = p.word();
  auto codes = CodeType::parse(w);
  if (!codes || !layout::hasPlanes(codes->bits)) {
    p.expected("a code type (u2, u3, u4, u5, u6, u8, i2, i3, i4, i5, i6, i8" +
                   CodeType::tables() + ")",
               w);
    return {};
  }
  return *codes;
}

/// The scope and the type of a step, or a base, after the '*'.
static MetaStorage parseStep(Parser &p, MetaStorage m) {
  std::string_view w = p.word();
  if (w == "block" && m.kind == MetaStorage::Kind::linear)
    m.scope = StepScope::block;
  else if (w == "tensor" && m.kind == MetaStorage::Kind::linear)
    m.scope = StepScope::tensor;
  else if (w == "row")
    m.scope = StepScope::row;
  else
    p.expected(m.kind == MetaStorage::Kind::linear ? "'row' or 'block'" : "'row'", w);
  p.expect('<');
  if (m.scope == StepScope::block) {
    p.expectWord("256");
    p.expect(',');
  }
  if (p.failed())
    return m;
  w = p.word();
  if (auto type = parseFloatType(w))
    m.type = *type;
  else
    p.expected("a float type (bf16, f16, f32)", w);
  p.expect('>');
  return m;
}

static MetaStorage parseStorage(Parser &p) {
  if (p.failed())
    return {};
  std::string_view w = p.word();
  if (auto type = parseFloatType(w)) {
    if (*type != FloatType::e4m3 || !p.consume('*'))
      return MetaStorage::plain(*type);
    return parseStep(p, MetaStorage::scaled());
  }
  MetaStorage m = MetaStorage::parseCode(w).value_or(MetaStorage{});
  if (m.kind == MetaStorage::Kind::none || m.bits < 4 || m.bits > 12) {
    p.expected("a metadata storage (bf16, f16, f32, e8m0, e4m3, u8, i8, u4, log8, "
               "delta10, ...)",
               w);
    return {};
  }
  if (!p.consume('*'))
    return m.kind == MetaStorage::Kind::linear ? m
                                               : (p.expected("'* row<...>'", {}), m);
  return parseStep(p, m);
}

Result<Encoding> Encoding::parse(std::string_view text) {
  Parser p(text);
  Encoding e;
  e.codes = parseCodes(p);
  p.expect(',');
  p.expectWord("group");
  p.expect('=');
  if (!p.failed()) {
    std::string_view w = p.word();
    auto size = parseNumber(w);
    if (w == "row")
      e.group = kWholeRow;
    else if (size && *size && isGroupSize(*size))
      e.group = *size;
    else
      p.expected("a group size (16, 32, 64, 128, 256, row)", w);
  }
  p.expect(',');
  if (!p.failed()) {
    std::string_view w = p.word();
    size_t i = 0;
    while (i < formNames.size() && w != formNames[i])
      ++i;
    if (i == formNames.size())
      p.expected("a form (symmetric, zero, min, centred)", w);
    else
      e.form = Form(i);
  }
  p.expect(',');
  p.expectWord("scale");
  p.expect('=');
  e.scale = parseStorage(p);
  if (!p.failed() && p.consume(',')) {
    p.expectWord("offset");
    p.expect('=');
    e.offset = parseStorage(p);
  }
  if (!p.failed() && !p.atEnd())
    p.expected("the end of the encoding", {});
  if (p.failed())
    return p.takeFailure();
  if (auto r = e.verify(); !r)
    return r.takeError();
  return e;
}

//===----------------------------------------------------------------------===//
// Encodings by name
//===----------------------------------------------------------------------===//

namespace {
struct GgufFormat {
  std::string_view type;
  Encoding encoding;
};
} // namespace

static std::span<const GgufFormat> ggufFormats() {
  static const MetaStorage f16 = MetaStorage::plain(FloatType::f16);
  auto block = [](uint8_t bits, bool isSigned) {
    return MetaStorage::linear(bits, isSigned, StepScope::block, FloatType::f16);
  };
  static const CodeType iq4nl = CodeType::table(CodeKind::iq4nl);
  static const CodeType e2m1 = CodeType::table(CodeKind::e2m1);
  static const GgufFormat formats[] = {
      {"Q4_0", {{4, true}, 32, Form::symmetric, f16, {}}},
      {"Q4_1", {{4, false}, 32, Form::min, f16, f16}},
      {"Q5_0", {{5, true}, 32, Form::symmetric, f16, {}}},
      {"Q5_1", {{5, false}, 32, Form::min, f16, f16}},
      {"Q8_0", {{8, true}, 32, Form::symmetric, f16, {}}},
      {"Q2_K", {{2, false}, 16, Form::min, block(4, false), block(4, false)}},
      {"Q3_K", {{3, true}, 16, Form::symmetric, block(6, true), {}}},
      {"Q4_K", {{4, false}, 32, Form::min, block(6, false), block(6, false)}},
      {"Q5_K", {{5, false}, 32, Form::min, block(6, false), block(6, false)}},
      {"Q6_K", {{6, true}, 16, Form::symmetric, block(8, true), {}}},
      {"IQ4_NL", {iq4nl, 32, Form::symmetric, f16, {}}},
      {"IQ4_XS", {iq4nl, 32, Form::symmetric, block(6, true), {}}},
      {"MXFP4", {e2m1, 32, Form::symmetric, MetaStorage::plain(FloatType::e8m0), {}}},
      {"NVFP4", {e2m1, 16, Form::symmetric, MetaStorage::plain(FloatType::e4m3), {}}},
  };
  return formats;
}

std::string qlinear::ggufTypes() {
  std::string types;
  for (const GgufFormat &format : ggufFormats())
    types += (types.empty() ? "" : ", ") + std::string(format.type);
  return types;
}

Result<Encoding> qlinear::ggufEncoding(std::string_view type) {
  for (const GgufFormat &format : ggufFormats())
    if (format.type == type)
      return format.encoding;
  return error("no encoding for the GGUF type '" + std::string(type) + "'; known are " +
               ggufTypes());
}

std::string_view qlinear::ggufTypeOf(const Encoding &encoding) {
  for (const GgufFormat &format : ggufFormats())
    if (format.encoding == encoding)
      return format.type;
  return "";
}

Result<Encoding> qlinear::namedEncoding(std::string_view name, CodeType codes,
                                        unsigned group, Form form) {
  Encoding e{codes, group, form, {}, {}};
  bool affine = form != Form::symmetric;
  // Where the values can be negative the code is signed: the scale of the
  // symmetric form, and zeros around 0.
  bool signedOffset = form == Form::centred || codes.isSigned;
  auto coded = [&](StepScope scope, FloatType step) {
    e.scale = MetaStorage::linear(8, !affine, scope, step);
    if (affine)
      e.offset = MetaStorage::linear(8, signedOffset, scope, step);
  };
  auto plain = [&](FloatType type) {
    e.scale = MetaStorage::plain(type);
    if (affine)
      e.offset = e.scale;
  };
  if (name == "row-u8")
    coded(StepScope::row, FloatType::bf16);
  else if (name == "block-u8")
    coded(StepScope::block, FloatType::f16);
  else if (auto type = parseFloatType(name))
    plain(*type);
  else
    return error("unknown encoding name '" + std::string(name) +
                 "'; known are row-u8, block-u8, bf16, f16, f32");
  if (auto r = e.verify(); !r)
    return r.takeError();
  return e;
}
