//===- ImportPlain.cpp - The exchange form for other tools ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The files of quant-import-onnx, which a quantizer of one's own can write as well: for
// a weight X of N rows and K columns in G groups (docs/quant-pack.md):
//   X.codes   U8 or I8 [N, K], or for codes of 4 bits U8 [N, K / 2], even column low
//   X.scales  floats [N, G]
//   X.zeros   floats, I8 or U8 [N, G]; only signed codes may lack them
//   __metadata__["X"] = {"codes": "u4", "k": K, "source": "what reports say"}
//   w = scale (q - zero)
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

#include <cstring>

using namespace qlinear;
using nlohmann::json;

namespace {

struct Source {
  const Tensor *codes, *scales, *zeros;
  uint64_t N, K, G;
  CodeType type;
  unsigned group;
  bool isNibbles;

  Result<AffineWeight> load(const std::string &name) const;
};

Result<AffineWeight> Source::load(const std::string &name) const {
  AffineWeight w{N, K, type, group, zeros ? Form::zero : Form::symmetric, {}, {}, {}};
  auto scale = toFloats(*scales);
  if (!scale)
    return scale.takeError();
  w.scales = std::move(*scale);
  if (zeros && isFloat(zeros)) {
    auto zero = toFloats(*zeros);
    if (!zero)
      return zero.takeError();
    w.offsets = std::move(*zero);
  } else if (zeros) {
    for (std::byte z : zeros->bytes)
      w.offsets.push_back(zeros->type == "I8" ? float(int8_t(z)) : float(uint8_t(z)));
  }
  w.fields.resize(N * K);
  const auto *bytes = reinterpret_cast<const uint8_t *>(codes->bytes.data());
  auto flip = uint8_t(type.bias());
  if (isNibbles) {
    for (uint64_t i = 0; i < N * K / 2; ++i) {
      w.fields[2 * i] = (bytes[i] & 15) ^ flip;
      w.fields[2 * i + 1] = uint8_t(bytes[i] >> 4) ^ flip;
    }
    return w;
  }
  int low = -type.bias(), high = low + (1 << type.bits) - 1;
  for (uint64_t i = 0; i < N * K; ++i) {
    int q = codes->type == "I8" ? int8_t(bytes[i]) : bytes[i];
    if (q < low || q > high)
      return error(
          fmt::format("tensor {}: the code {} at row {}, column {} is not one of "
                      "{}{} ({} to {})",
                      inQuotes(name), q, i / K, i % K, type.isSigned ? 'i' : 'u',
                      type.bits, low, high));
    w.fields[i] = uint8_t(q - low);
  }
  return w;
}

std::optional<CodeType> codeTypeOf(std::string_view text) {
  for (unsigned bits : {4u, 5u, 6u, 8u})
    for (bool isSigned : {false, true})
      if (text == (isSigned ? "i" : "u") + std::to_string(bits))
        return CodeType{uint8_t(bits), isSigned};
  return std::nullopt;
}

Result<void> importWeight(ImportContext &context, const std::string &name,
                          const json &description) {
  Parts parts(context.checkpoint, name);
  auto text = [](const Tensor *t) {
    return t ? t->type + " of " + shapeText(t->shape) : std::string("absent");
  };
  Source s{};
  s.codes = parts.find(".codes");
  s.scales = parts.find(".scales");
  s.zeros = parts.find(".zeros");
  auto type = codeTypeOf(jsonString(description, "codes").value_or(""));
  auto columns = jsonUnsigned(description, "k");
  if (!type || !columns)
    return parts.bad(
        "its metadata needs 'codes', of u4, u5, u6, u8, i4, i5, i6 and i8, "
        "and 'k', the number of columns");
  s.type = *type;
  s.K = *columns;
  s.N = s.codes->shape.empty() ? 0 : s.codes->shape[0];
  s.isNibbles = s.type.bits == 4 && s.codes->type == "U8" && s.K % 2 == 0 &&
                isMatrix(s.codes, s.N, s.K / 2);
  bool isBytes =
      s.codes->type == (s.type.isSigned ? "I8" : "U8") && isMatrix(s.codes, s.N, s.K);
  if (!s.N || !s.K || (!s.isNibbles && !isBytes))
    return parts.bad(fmt::format(
        ".codes are {}; {}{} codes are {} [N, k = {}]{}", text(s.codes),
        s.type.isSigned ? 'i' : 'u', s.type.bits, s.type.isSigned ? "I8" : "U8", s.K,
        s.type.bits == 4 ? fmt::format(" or U8 [N, {}]", s.K / 2) : ""));
  if (!isFloat(s.scales) || s.scales->shape.size() != 2 || s.scales->shape[0] != s.N)
    return parts.bad(fmt::format(".scales must be floats of N = {} rows, but are {}",
                                 s.N, text(s.scales)));
  s.G = s.scales->shape[1];
  if (s.zeros &&
      ((!isFloat(s.zeros) && s.zeros->type != "I8" && s.zeros->type != "U8") ||
       s.zeros->shape != s.scales->shape))
    return parts.bad(fmt::format(".zeros must be floats, I8 or U8 of {}, but are {}",
                                 shapeText(s.scales->shape), text(s.zeros)));
  if (!s.zeros && !s.type.isSigned)
    return parts.bad("unsigned codes need .zeros; only signed ones are symmetric");
  auto group = groupOf(s.K, s.G);
  if (!group)
    return parts.bad(unknownGroups(s.G, s.K));
  s.group = *group;
  std::vector<const Tensor *> tensors = {s.codes, s.scales};
  if (s.zeros)
    tensors.push_back(s.zeros);
  auto source = jsonString(description, "source");
  addAffine(context, parts,
            {source.value_or("plain"), "", "its metadata", s.zeros ? "as stored" : ""},
            formatName(source.value_or("plain"), s.type, s.group), s.N, s.K,
            std::move(tensors), [s, name] { return s.load(name); });
  context.weights.back().name = name;
  context.weights.back().metadataKey = name;
  return {};
}

} // namespace

Result<void> qlinear::importPlain(ImportContext &context) {
  const auto &metadata = context.checkpoint.metadata();
  if (context.checkpoint.isGguf() || metadata.contains("qlinear"))
    return {};
  for (const auto &[name, text] : metadata) {
    if (!text.starts_with('{') || !context.checkpoint.find(name + ".codes"))
      continue;
    auto description = parseJson(text, /*maxDepth=*/4);
    if (!description || !description->value.is_object())
      continue;
    if (auto r = importWeight(context, name, description->value); !r)
      context.addUnreadable(name, "plain", context.checkpoint.startingWith(name + "."),
                            r.error());
  }
  return {};
}
