//===- ImportBitsandbytes.cpp - Checkpoints of bitsandbytes ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// NF4 as transformers saves it. The weights are cut into blocks in the order of memory:
//
//   X.weight U8 [N * K / 2, 1], two codes in each, the first one high
//   X.weight.quant_map F32 [16]; X.weight.absmax F32, one for each block
//   X.weight.quant_state.bitsandbytes__nf4 U8, JSON with the shape and the block's size
//   w = map[q] absmax
//
// With double quantization absmax are U8 themselves, in blocks of their own:
//
//   X.weight.nested_quant_map F32 [256], X.weight.nested_absmax F32
//   absmax = nested map[q] nested absmax + "nested_offset" of the JSON, in f32
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

using namespace qlinear;
using nlohmann::json;

namespace {

constexpr std::string_view kState = ".weight.quant_state.bitsandbytes__nf4";

/// What is said of one weight, checked.
struct Nf4 {
  const Tensor *codes, *absmax, *nestedMap = nullptr, *nestedAbsmax = nullptr;
  uint64_t N = 0, K = 0, block = 0, nestedBlock = 0;
  float offset = 0;

  Result<AffineWeight> load() const;
};

bool isFloats(const Tensor *t, uint64_t count) {
  return t && t->type == "F32" && t->bytes.size() == 4 * count;
}
float floatAt(const Tensor &t, uint64_t index) {
  float v;
  __builtin_memcpy(&v, t.bytes.data() + 4 * index, 4);
  return v;
}

Result<Nf4> check(const Parts &parts) {
  Nf4 w{parts.find(".weight"), parts.find(".weight.absmax")};
  const Tensor *state = parts.find(kState), *map = parts.find(".weight.quant_map");
  std::string_view text(reinterpret_cast<const char *>(state->bytes.data()),
                        state->bytes.size());
  auto parsed = parseJson(text, /*maxDepth=*/8);
  if (!parsed)
    return parts.bad(fmt::format("{} is no JSON: {}", kState, parsed.error()));
  const json &said = parsed->value;
  auto shape = jsonNumbers(said, "shape");
  auto block = jsonUnsigned(said, "blocksize");
  if (!shape || shape->size() != 2 || !(*shape)[0] || !(*shape)[1] || !block ||
      jsonString(said, "quant_type") != "nf4")
    return parts.bad(fmt::format("{} has to say quant_type nf4, a shape of two and a "
                                 "blocksize",
                                 kState));
  w.N = (*shape)[0];
  w.K = (*shape)[1];
  w.block = *block;
  auto count = checkedProduct(*shape);
  if (!w.codes || w.codes->type != "U8" || !count || *count % 2 ||
      w.codes->bytes.size() != *count / 2)
    return parts.bad(fmt::format(
        "its codes must be {} / 2 U8, but are {}", shapeText(*shape),
        w.codes ? w.codes->type + " of " + shapeText(w.codes->shape) : "absent"));
  if (w.block == 0 || w.K % w.block != 0 || !groupOf(w.K, w.K / w.block))
    return parts.bad(fmt::format(
        "blocks of {} weights do not divide rows of {} into groups of 16, 32, 64, 128 "
        "or 256 columns; quantize the model again with a blocksize of 64",
        w.block, w.K));
  bool isNf4 = isFloats(map, 16);
  for (int f = 0; isNf4 && f < 16; ++f)
    isNf4 = floatAt(*map, uint64_t(f)) == layout::kNF4Values[f];
  if (!isNf4)
    return parts.bad(".weight.quant_map does not have the 16 values of NF4");
  uint64_t blocks = *count / w.block;
  if (isFloats(w.absmax, blocks))
    return w;
  w.nestedMap = parts.find(".weight.nested_quant_map");
  w.nestedAbsmax = parts.find(".weight.nested_absmax");
  w.nestedBlock = jsonUnsigned(said, "nested_blocksize").value_or(0);
  auto at = said.find("nested_offset");
  if (!w.absmax || w.absmax->type != "U8" || w.absmax->bytes.size() != blocks ||
      !w.nestedBlock || !isFloats(w.nestedMap, 256) || at == said.end() ||
      !at->is_number() ||
      !isFloats(w.nestedAbsmax, (blocks + w.nestedBlock - 1) / w.nestedBlock))
    return parts.bad(fmt::format(
        ".weight.absmax must be {0} F32; or {0} U8, with nested_quant_map, "
        "nested_absmax, nested_blocksize and nested_offset that go with them",
        blocks));
  w.offset = at->get<float>();
  return w;
}

Result<AffineWeight> Nf4::load() const {
  AffineWeight w{
      N,  K, CodeType::table(CodeKind::nf4), unsigned(block), Form::symmetric, {},
      {}, {}};
  w.group = *groupOf(K, K / block);
  w.fields.resize(N * K);
  for (uint64_t i = 0; i < N * K / 2; ++i) {
    auto pair = uint8_t(codes->bytes[i]);
    w.fields[2 * i] = pair >> 4;
    w.fields[2 * i + 1] = pair & 15;
  }
  w.scales.resize(N * K / block);
  for (uint64_t b = 0; b < w.scales.size(); ++b) {
    if (!nestedMap) {
      w.scales[b] = floatAt(*absmax, b);
      continue;
    }
    float value = floatAt(*nestedMap, uint8_t(absmax->bytes[b]));
    value *= floatAt(*nestedAbsmax, b / nestedBlock);
    w.scales[b] = value + offset;
  }
  return w;
}

Result<void> importNf4(ImportContext &context, const Parts &parts) {
  if (const Tensor *other = parts.findOther({".weight"}))
    return parts.bad(fmt::format("has {}, which is no part of NF4: the layer is more "
                                 "than its codes; quantize the model again without it",
                                 inQuotes(other->name)));
  auto w = check(parts);
  if (!w)
    return w.takeError();
  std::vector<const Tensor *> tensors;
  for (std::string_view part :
       {std::string_view(".weight"), std::string_view(".weight.absmax"),
        std::string_view(".weight.quant_map"), kState,
        std::string_view(".weight.nested_absmax"),
        std::string_view(".weight.nested_quant_map")})
    if (const Tensor *t = parts.find(part))
      tensors.push_back(t);
  addAffine(context, parts, {"bitsandbytes", "nf4", context.declared.where(), ""},
            formatName("bitsandbytes", CodeType::table(CodeKind::nf4),
                       *groupOf(w->K, w->K / w->block)),
            w->N, w->K, std::move(tensors), [w = *w] { return w.load(); });
  return {};
}

} // namespace

Result<void> qlinear::importBitsandbytes(ImportContext &context) {
  importEach(context, Family::bitsandbytes, kState, "bitsandbytes",
             [&](const Parts &parts) { return importNf4(context, parts); });
  return {};
}
