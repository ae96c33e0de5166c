//===- ImportCommon.cpp - What importers share ----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

#include <algorithm>
#include <bit>
#include <tbb/parallel_for.h>

using namespace qlinear;

std::vector<const Tensor *> Parts::all() const {
  std::vector<const Tensor *> out;
  for (const Tensor *t : checkpoint.startingWith(prefix + "."))
    if (t->name != prefix + ".bias")
      out.push_back(t);
  return out;
}

const Tensor *Parts::findOther(std::initializer_list<std::string_view> known) const {
  for (const Tensor *t : all()) {
    std::string_view part = std::string_view(t->name).substr(prefix.size());
    if (part.find('.', 1) == part.npos &&
        std::find(known.begin(), known.end(), part) == known.end())
      return t;
  }
  return nullptr;
}

unsigned qlinear::codeBitsFor(uint64_t bits) {
  return bits <= 2 ? 2 : bits <= 6 ? unsigned(bits) : bits <= 8 ? 8 : 0;
}

std::vector<uint8_t> qlinear::unpackRows(const Tensor &packed, unsigned bits,
                                         uint64_t N, uint64_t K) {
  std::vector<uint8_t> out(N * K);
  PackedWords words{packed.bytes, bits};
  uint32_t mask = words.mask();
  tbb::parallel_for(uint64_t(0), N, [&](uint64_t n) {
    if (32 % bits != 0 || K % words.perWord() != 0) { // codes across words
      uint64_t first = n * words.wordsOf(K);
      for (uint64_t k = 0; k < K; ++k)
        out[n * K + k] = uint8_t(words.at(k, first));
      return;
    }
    for (uint64_t i = n * K; i < (n + 1) * K; i += words.perWord()) {
      uint32_t word = words.word(i / words.perWord());
      for (unsigned j = 0; j < words.perWord(); ++j)
        out[i + j] = uint8_t(word >> (j * bits) & mask);
    }
  });
  return out;
}

void qlinear::importEach(ImportContext &context, Family family, std::string_view suffix,
                         std::string_view convention,
                         const std::function<Result<void>(const Parts &)> &importOne,
                         const std::function<bool(const Parts &)> &isOne) {
  for (const Tensor &t : context.checkpoint.tensors()) {
    if (t.name.size() <= suffix.size() || !t.name.ends_with(suffix) ||
        context.claimed.contains(&t))
      continue;
    Parts parts(context.checkpoint, t.name.substr(0, t.name.size() - suffix.size()));
    if (isOne && !isOne(parts))
      continue;
    std::string objection = context.declared.objection(family);
    auto r = objection.empty() ? importOne(parts) : Result<void>(parts.bad(objection));
    if (!r)
      context.addUnreadable(parts.name(), std::string(convention), parts.all(),
                            r.error());
  }
}

void qlinear::refuseWithoutCodes(ImportContext &context, Family family,
                                 std::string_view suffix, std::string_view convention,
                                 std::initializer_list<std::string_view> codes) {
  importEach(
      context, family, suffix, convention,
      [&](const Parts &parts) -> Result<void> {
        return parts.bad(fmt::format("has {}, but no {}, its codes; check that all "
                                     "shards are there",
                                     suffix, *codes.begin()));
      },
      [&](const Parts &parts) {
        return std::none_of(codes.begin(), codes.end(),
                            [&](std::string_view part) { return parts.find(part); });
      });
}

bool qlinear::isMatrix(const Tensor *t, uint64_t rows, uint64_t columns) {
  return t && t->shape.size() == 2 && t->shape[0] == rows && t->shape[1] == columns;
}

bool qlinear::isInt32(const Tensor *t) {
  return t && (t->type == "I32" || t->type == "U32");
}

bool qlinear::isFloat(const Tensor *t) {
  return t && (t->type == "F32" || t->type == "F16" || t->type == "BF16");
}

uint64_t qlinear::integerAt(const Tensor &t, uint64_t index) {
  int64_t wide;
  int32_t narrow;
  if (t.type == "I64" || t.type == "U64") {
    __builtin_memcpy(&wide, t.bytes.data() + 8 * index, 8);
    return uint64_t(wide);
  }
  if (t.type == "I32" || t.type == "U32") {
    __builtin_memcpy(&narrow, t.bytes.data() + 4 * index, 4);
    return uint64_t(int64_t(narrow));
  }
  return t.type == "I8" ? uint64_t(int64_t(int8_t(t.bytes[index])))
                        : uint64_t(uint8_t(t.bytes[index]));
}

std::optional<unsigned> qlinear::groupOf(uint64_t K, uint64_t G) {
  if (G == 1)
    return kWholeRow;
  for (unsigned group : {16u, 32u, 64u, 128u, 256u})
    if (G && K == G * group)
      return group;
  return std::nullopt;
}

std::string qlinear::unknownGroups(uint64_t G, uint64_t K) {
  return fmt::format(
      "{} groups of K = {} columns; groups of 16, 32, 64, 128, 256 or the "
      "whole row are read; quantize the model again with one of these",
      G, K);
}

Result<std::vector<LayerRule>> qlinear::rulesFor(const ImportContext &context,
                                                 const Parts &parts) {
  auto rules = context.declared.rulesFor(parts.layer(), [&](const std::string &name) {
    return !context.checkpoint.startingWith(name + ".").empty();
  });
  if (!rules)
    return parts.bad(rules.error());
  return rules;
}

bool qlinear::hasGroup(const LayerRule &rule, uint64_t K, uint64_t G) {
  if (!rule.group)
    return true;
  // A group longer than the row is the row.
  return *rule.group == 0 || *rule.group >= K ? G == 1 : *rule.group * G == K;
}

std::string qlinear::ruleText(const LayerRule &rule, const std::string &where) {
  std::string out;
  auto say = [&](const char *key, const std::string &value) {
    out += fmt::format("{}{} = {}", out.empty() ? "" : ", ", key, value);
  };
  if (rule.bits)
    say("bits", std::to_string(*rule.bits));
  if (rule.group)
    say("group_size", *rule.group ? std::to_string(*rule.group) : "-1");
  return fmt::format("{} ({})", out.empty() ? "nothing" : out,
                     rule.from.empty() ? where : rule.from);
}

std::string qlinear::formatName(std::string_view convention, CodeType codes,
                                unsigned group) {
  return fmt::format("{} {}:{}", convention, codes.str(),
                     group == kWholeRow ? "row" : std::to_string(group));
}

void qlinear::addAffine(ImportContext &context, const Parts &parts, Assumption assumed,
                        std::string format, uint64_t N, uint64_t K,
                        std::vector<const Tensor *> tensors,
                        std::function<Result<AffineWeight>()> load) {
  SourceWeight w;
  w.name = parts.name();
  w.format = std::move(format);
  w.assumed = std::move(assumed);
  w.N = N;
  w.K = K;
  w.parts = std::move(tensors);
  w.load = [load = std::move(load)]() -> Result<LoadedWeight> {
    auto weight = load();
    if (!weight)
      return weight.takeError();
    float middle = float(1u << (weight->codes.bits - 1));
    if (weight->form == Form::zero && !weight->codes.isSigned &&
        std::all_of(weight->offsets.begin(), weight->offsets.end(),
                    [&](float z) { return z == middle; })) {
      // The stored fields are those of signed codes.
      weight->codes.isSigned = true;
      weight->form = Form::symmetric;
      weight->offsets.clear();
    }
    return LoadedWeight(std::move(*weight));
  };
  context.add(std::move(w));
}

//===----------------------------------------------------------------------===//
// Floats of 4 bits
//===----------------------------------------------------------------------===//

Result<float> qlinear::oneFloat(const Parts &parts, const Tensor &t,
                                std::string_view suffix) {
  float value;
  if (t.type != "F32" || t.bytes.size() != sizeof(value))
    return parts.bad(fmt::format("{} must be one F32, but is {} of {}", suffix, t.type,
                                 shapeText(t.shape)));
  __builtin_memcpy(&value, t.bytes.data(), sizeof(value));
  return value;
}

Result<uint64_t> Float4Tensors::rows(const Parts &parts) const {
  auto text = [](const Tensor *t) {
    return t ? t->type + " of " + shapeText(t->shape) : std::string("absent");
  };
  bool words = codes && codes->type == "U32";
  if (!codes || (codes->type != "U8" && !words) || codes->shape.size() != 2 ||
      codes->bytes.empty())
    return parts.bad(fmt::format("its codes must be a matrix of U8, two in each, but "
                                 "are {}: only matrices are linear weights",
                                 text(codes)));
  uint64_t N = codes->shape[0], K = codes->shape[1] * (words ? 8 : 2);
  std::string_view own = type == FloatType::e8m0 ? "F8_E8M0" : "F8_E4M3";
  if (!scales || (scales->type != own && scales->type != "U8") || K % group != 0 ||
      !isMatrix(scales, N, K / group))
    return parts.bad(fmt::format("its scales must be {} of {}x{}, one for {} of the {} "
                                 "columns, but are {}",
                                 own, N, K / group, group, K, text(scales)));
  return N;
}

void Float4Tensors::add(ImportContext &context, const Parts &parts, Assumption assumed,
                        std::string_view convention,
                        std::vector<const Tensor *> tensors) const {
  uint64_t N = codes->shape[0], K = 2 * codes->bytes.size() / N;
  Encoding encoding{CodeType::table(CodeKind::e2m1),
                    group,
                    Form::symmetric,
                    step ? MetaStorage::scaled() : MetaStorage::plain(type),
                    {}};
  SourceWeight w;
  w.name = parts.name();
  w.format = formatName(convention, encoding.codes, group);
  w.assumed = std::move(assumed);
  w.N = N;
  w.K = K;
  w.parts = std::move(tensors);
  w.load = [=, of = *this]() -> Result<LoadedWeight> {
    EncodedWeight weight{encoding, N, K, {}, {}, {}, {}, {}};
    weight.fields.resize(N * K);
    for (uint64_t i = 0; i < N * K / 2; ++i) {
      auto pair = uint8_t(of.codes->bytes[i]);
      weight.fields[2 * i] = pair & 15;
      weight.fields[2 * i + 1] = pair >> 4;
    }
    for (std::byte scale : of.scales->bytes)
      weight.scaleFields.push_back(uint32_t(scale));
    if (of.step)
      weight.scaleSteps.assign(N, std::bit_cast<uint32_t>(*of.step));
    return LoadedWeight(std::move(weight));
  };
  context.add(std::move(w));
}

//===----------------------------------------------------------------------===//
// Integers one to a byte
//===----------------------------------------------------------------------===//

Result<IntTensors::Plan> IntTensors::plan(const Parts &parts) const {
  auto text = [](const Tensor *t) {
    return t ? t->type + " of " + shapeText(t->shape) : std::string("absent");
  };
  if (!codes || codes->type != "I8" || codes->shape.size() != 2 || !codes->shape[0] ||
      !codes->shape[1])
    return parts.bad(fmt::format(
        "its codes must be an I8 matrix, but are {}: only matrices are linear weights",
        text(codes)));
  Plan p{codes->shape[0], codes->shape[1], 1, 1, kWholeRow};
  if (!isFloat(scales))
    return parts.bad(
        fmt::format("its scales must be floats, but are {}", text(scales)));
  if (zeros && zeros->type != "I8" && !isFloat(zeros))
    return parts.bad(
        fmt::format("its zeros must be I8 or floats, but are {}", text(zeros)));
  auto count = checkedProduct(scales->shape);
  if (zeros && zeros->shape != scales->shape && checkedProduct(zeros->shape) != count)
    return parts.bad(
        fmt::format("its zeros ({}) must have the shape of its scales ({})",
                    shapeText(zeros->shape), shapeText(scales->shape)));
  uint64_t down = scales->shape.empty() ? 1 : scales->shape[0];
  p.G = scales->shape.size() == 2 ? scales->shape[1] : 1;
  if (scales->shape.size() > 2 || !down || !p.G || p.N % down != 0 || p.K % p.G != 0 ||
      (columns && p.K / p.G != columns))
    return parts.bad(fmt::format(
        "scales of {} do not divide codes of {} into blocks{}",
        shapeText(scales->shape), shapeText(codes->shape),
        columns ? fmt::format(" of {} columns, as its metadata says", columns) : ""));
  p.rows = p.N / down;
  auto group = groupOf(p.K, p.G);
  if (!group)
    return parts.bad(unknownGroups(p.G, p.K));
  p.group = *group;
  return p;
}

Result<AffineWeight> IntTensors::load(const Plan &p, const std::string &name) const {
  auto scale = toFloats(*scales);
  if (!scale)
    return scale.takeError();
  bool hasIntegerZeros = zeros && zeros->type == "I8";
  AffineWeight w{
      p.N, p.K, {uint8_t(bits), !hasIntegerZeros}, p.group, Form::symmetric, {},
      {},  {}};
  std::vector<float> zero;
  if (zeros) {
    w.form = Form::zero;
    w.offsets.resize(p.N * p.G);
    if (!hasIntegerZeros) {
      auto floats = toFloats(*zeros);
      if (!floats)
        return floats.takeError();
      zero = std::move(*floats);
    } else { // unsigned codes, which have 2^(bits-1) added, as the zeros then do
      for (std::byte z : zeros->bytes)
        zero.push_back(float(int8_t(z)) + float(1 << (bits - 1)));
    }
  }
  w.scales.resize(p.N * p.G);
  for (uint64_t n = 0; n < p.N; ++n)
    for (uint64_t g = 0; g < p.G; ++g) {
      w.scales[n * p.G + g] = (*scale)[n / p.rows * p.G + g];
      if (zeros)
        w.offsets[n * p.G + g] = zero[n / p.rows * p.G + g];
    }
  w.fields.resize(p.N * p.K);
  int half = 1 << (bits - 1);
  for (uint64_t i = 0; i < w.fields.size(); ++i) {
    int code = int8_t(codes->bytes[i]);
    if (code < -half || code >= half)
      return error(
          fmt::format("tensor {}: the code {} at row {}, column {} is not one of "
                      "{} bits ({} to {}); the file is damaged",
                      inQuotes(name), code, i / p.K, i % p.K, bits, -half, half - 1));
    w.fields[i] = uint8_t(code + half);
  }
  return w;
}
