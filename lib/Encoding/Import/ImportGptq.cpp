//===- ImportGptq.cpp - Checkpoints of GPTQ and AWQ -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Both store a linear layer X as K-major words of packed codes:
//   GPTQ  X.qweight I32 [K * bits / 32, N], codes packed along K, of 3 bits across
//         words: each column of words is a run of them (PackedWords)
//   AWQ   X.qweight I32 [K, N * bits / 32], codes packed along N, and the eight
//         columns of a word in the order 0 2 4 6 1 3 5 7 from the lowest bits
//   both  X.qzeros I32 [G, N * bits / 32] (packed along N; AWQ in its order),
//         X.scales [G, N]; w = s (q - z)
// X.g_idx says the group of each input column: act-order checkpoints, where it is not
// k / group, are declined. A symmetric checkpoint ("sym": true) may lack qzeros: z =
// 2^(bits-1).
//
// The files beside the checkpoint decide how the zeros are stored (formatOf):
//   gptq        "checkpoint_format" (or "format") "gptq" or none: less one; "gptq_v2":
//   as
//               they are
//   auto-round  "packing_format" "auto_round", with ":gptqmodel" or the name of a
//   kernel:
//               as they are; with ":auto_gptq" or ":gptq": less one; with ":auto_awq"
//               or
//               ":awq": AWQ
//   awq         "version" (or "checkpoint_format") "gemm" or none: AWQ
//   nothing     GPTQ less one, or AWQ, as the shapes say
// Any other format is refused, and so are zeros that contradict it: the zeros of a
// symmetric checkpoint are all in the middle, those of others are not.
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

#include <algorithm>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

using namespace qlinear;

namespace {

enum class Zeros {
  stored,   ///< z
  minusOne, ///< z - 1
  middle,   ///< 2^(bits-1), whatever is stored
  unknown,
};

struct Source {
  const Tensor *qweight, *qzeros, *scales; ///< qzeros: null if symmetric
  uint64_t N, K, G;
  unsigned bits, group;
  bool isAwq;
  Zeros rule;

  Result<AffineWeight> load() const;
};

/// Where in its word AWQ puts column c of eight.
constexpr unsigned kAwqPlace[8] = {0, 4, 1, 5, 2, 6, 3, 7};

Result<AffineWeight> Source::load() const {
  AffineWeight w{N, K, {uint8_t(bits), false}, group, Form::zero, {}, {}, {}};
  auto scale = toFloats(*scales);
  if (!scale)
    return scale.takeError();
  PackedWords codes{qweight->bytes, bits};
  PackedWords zeros{qzeros ? qzeros->bytes : std::span<const std::byte>(), bits};
  unsigned perWord = codes.perWord();
  uint32_t mask = codes.mask();
  auto place = [&](uint64_t n) {
    return uint64_t(n / perWord * perWord + (isAwq ? kAwqPlace[n % 8] : n % perWord));
  };
  w.fields.resize(N * K);
  w.scales.resize(N * G);
  w.offsets.resize(N * G);
  // Rows in blocks, so that each word read is used while it is in the cache.
  tbb::parallel_for(tbb::blocked_range<uint64_t>(0, N, 32), [&](const auto &rows) {
    for (uint64_t g = 0; g < G; ++g)
      for (uint64_t n = rows.begin(); n < rows.end(); ++n) {
        w.scales[n * G + g] = (*scale)[g * N + n];
        uint32_t z =
            rule == Zeros::middle ? 1u << (bits - 1) : zeros.at(g * N + place(n));
        w.offsets[n * G + g] = float(rule == Zeros::minusOne ? (z + 1) & mask : z);
      }
    if (isAwq) {
      for (uint64_t k = 0; k < K; ++k)
        for (uint64_t n = rows.begin(); n < rows.end(); ++n)
          w.fields[n * K + k] = uint8_t(codes.at(k * N + place(n)));
      return;
    }
    if (32 % bits != 0) { // codes across words
      for (uint64_t k = 0; k < K; ++k)
        for (uint64_t n = rows.begin(); n < rows.end(); ++n)
          w.fields[n * K + k] = uint8_t(codes.at(k, n, N));
      return;
    }
    for (uint64_t i = 0; i < K / perWord; ++i)
      for (uint64_t n = rows.begin(); n < rows.end(); ++n) {
        uint32_t word = codes.word(i * N + n);
        for (unsigned j = 0; j < perWord; ++j)
          w.fields[n * K + i * perWord + j] = uint8_t(word >> (j * bits) & mask);
      }
  });
  return w;
}

/// Whether g_idx is k / group for every k.
bool isInOrder(const Tensor &index, uint64_t K, uint64_t group) {
  for (uint64_t k = 0; k < K; ++k) {
    int32_t g;
    __builtin_memcpy(&g, index.bytes.data() + 4 * k, 4);
    if (g < 0 || uint64_t(g) != k / group)
      return false;
  }
  return true;
}

/// The shapes of the three tensors, for messages.
std::string shapesOf(const Source &s) {
  return fmt::format(".qweight {}, .qzeros {}, .scales {}", shapeText(s.qweight->shape),
                     s.qzeros ? shapeText(s.qzeros->shape) : "absent",
                     shapeText(s.scales->shape));
}

/// The format, as the description says it.
struct Format {
  std::string name; ///< as it spells it; empty if it does not
  std::string_view convention;
  bool isAwq = false, isGptq = false; ///< neither: as the shapes say
  Zeros zeros = Zeros::unknown;
};

std::vector<std::string> splitAtColons(const std::string &text) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find(':', begin), text.size());
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

/// auto-round's formats are "auto_round", then what wrote the words, then kernels.
std::optional<Format> autoRoundFormat(const std::string &name) {
  Format f{name, "auto-round", false, true, Zeros::stored};
  auto parts = splitAtColons(name);
  if (parts.front() != "auto_round")
    return std::nullopt;
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::string &p = parts[i];
    if (p == "auto_awq" || p == "awq")
      f = {name, "AWQ", true, false, Zeros::stored};
    else if (p == "auto_gptq" || p == "gptq")
      f.zeros = Zeros::minusOne;
    else if (p != "gptqmodel" && p != "exllama" && p != "exllamav2" &&
             p != "tritonv2" && p != "triton" && p != "torch")
      return std::nullopt;
  }
  return f;
}

/// The table of accepted formats.
Result<Format> formatOf(const Declaration &declared, const Parts &parts) {
  const std::string &method = declared.method();
  auto name = method == "auto-round" ? declared.text({"packing_format", "backend"})
              : method == "awq"
                  ? declared.text({"checkpoint_format", "version", "format"})
                  : declared.text({"checkpoint_format", "format"});
  auto unknown = [&]() {
    return parts.bad(fmt::format(
        "the layout {} of {}; save the model again as \"gptq\" or \"gptq_v2\" (GPTQ), "
        "\"gemm\" (AWQ) or \"auto_round\" (auto-round)",
        inQuotes(*name), declared.where()));
  };
  if (method == "auto-round") {
    if (!name) // the shapes, and zeros in the middle, may still tell
      return Format{"", "auto-round", false, true, Zeros::unknown};
    auto format = autoRoundFormat(*name);
    if (!format)
      return unknown();
    // Older versions say the layout by "backend", newer ones which kernel to use.
    std::string backend = declared.text({"backend"}).value_or("");
    auto other = autoRoundFormat(backend);
    if (other && (other->isAwq != format->isAwq || other->zeros != format->zeros))
      return parts.bad(fmt::format(
          "packing_format ({}) and backend ({}) of {} contradict each other; keep the "
          "one that the weights were saved with",
          inQuotes(*name), inQuotes(backend), declared.where()));
    return *format;
  }
  std::string format = name.value_or("");
  for (char &c : format)
    c = char(tolower(c));
  if (format.empty() && declared.object().contains("is_marlin_format") &&
      declared.object()["is_marlin_format"] == true)
    name = format = "marlin";
  if (method == "awq") {
    if (auto backend = declared.text({"backend"}); backend && *backend != "autoawq")
      return parts.bad(fmt::format("the backend {} of {}, whose layout is another than "
                                   "AutoAWQ's; save the model again with AutoAWQ",
                                   inQuotes(*backend), declared.where()));
    if (format.empty() || format == "gemm")
      return Format{format, "AWQ", true, false, Zeros::stored};
    return unknown();
  }
  if (format == "gptq_v2")
    return Format{format, "GPTQ v2", false, true, Zeros::stored};
  if (format == "gemm" && method.empty())
    return Format{format, "AWQ", true, false, Zeros::stored};
  if (format == "gptq")
    return Format{format, "GPTQ", false, true, Zeros::minusOne};
  if (!format.empty())
    return unknown();
  return Format{"", "GPTQ", false, method == "gptq", Zeros::minusOne};
}

bool isRead(uint64_t bits) { return bits == 2 || bits == 3 || bits == 4 || bits == 8; }

/// Finds N, K, G, bits and isAwq from the shapes, which say it all unless there are no
/// zeros: then the rule for the layer says how many bits.
Result<void> readShapes(Source &s, const Parts &parts,
                        const std::vector<LayerRule> &rules, const std::string &where) {
  s.G = s.scales->shape[0];
  s.N = s.scales->shape[1];
  if (!s.qzeros) {
    uint64_t bits = rules.front().bits.value_or(0);
    s.bits = isRead(bits) ? unsigned(bits) : 0;
    if (rules.size() > 1)
      return parts.bad(fmt::format(
          "without .qzeros its bits are not known: {} may mean it, too; name the layer "
          "as the weights do",
          rules.back().from));
    if (!s.bits)
      return parts.bad(fmt::format("codes of {} bits by {}; 2, 3, 4 and 8 are read",
                                   bits ? std::to_string(bits) : "unknown",
                                   ruleText(rules.front(), where)));
    s.K = s.qweight->shape[0] * 32 / s.bits;
    if (s.qweight->shape[0] * 32 % s.bits || s.qweight->shape[1] != s.N || s.N == 0 ||
        s.K == 0)
      return parts.bad(fmt::format("the shapes ({}) do not go together: GPTQ has "
                                   ".qweight [K * bits / 32, N] and .scales [G, N]",
                                   shapesOf(s)));
    return {};
  }
  uint64_t zeroWords = s.qzeros->shape[1];
  s.bits = s.N && zeroWords * 32 % s.N == 0 ? unsigned(zeroWords * 32 / s.N) : 0;
  if (!isRead(s.bits))
    return parts.bad(
        fmt::format("codes of {} bits ({}); 2, 3, 4 and 8 are read: quantize the "
                    "model again with one of them",
                    s.bits ? std::to_string(s.bits) : "unknown", shapesOf(s)));
  s.isAwq = s.qweight->shape[1] == zeroWords;
  s.K = s.isAwq ? s.qweight->shape[0] : s.qweight->shape[0] * 32 / s.bits;
  if (!isMatrix(s.qweight, s.isAwq ? s.K : s.qweight->shape[0],
                s.isAwq ? zeroWords : s.N) ||
      !isMatrix(s.qzeros, s.G, zeroWords) || s.K == 0 ||
      (!s.isAwq && s.qweight->shape[0] * 32 % s.bits) || (s.isAwq && s.bits != 4))
    return parts.bad(fmt::format(
        "the shapes ({}) do not go together: with .scales [G, N] and .qzeros "
        "[G, N * bits / 32], .qweight is [K * bits / 32, N] in GPTQ and "
        "[K, N * bits / 32] in AWQ",
        shapesOf(s)));
  return {};
}

/// The rule that agrees with the shapes: bits, group, and that there are codes.
Result<LayerRule> chooseRule(const Source &s, const Parts &parts,
                             const std::vector<LayerRule> &rules,
                             const std::string &where) {
  for (const LayerRule &rule : rules) {
    bool isInt = rule.mode.empty() || rule.mode == "int" || rule.mode == "int_sym" ||
                 rule.mode == "int_asym";
    if (rule.isQuantized && isInt && (!rule.bits || *rule.bits == s.bits) &&
        hasGroup(rule, s.K, s.G))
      return rule;
  }
  const LayerRule &rule = rules.back();
  if (!rule.isQuantized)
    return parts.bad(
        fmt::format("{} says that it is not quantized, but it is; keep the "
                    "file that belongs to the weights",
                    rule.from));
  return parts.bad(fmt::format("its shapes ({}) have {} bits and {} groups in K = {}, "
                               "but {} are said{}; keep the "
                               "file that belongs to the weights",
                               shapesOf(s), s.bits, s.G, s.K, ruleText(rule, where),
                               rule.mode.empty() ? "" : ", of " + rule.mode));
}

/// Whether all zeros are stored as `value`.
bool areAll(const Source &s, uint32_t value) {
  PackedWords zeros{s.qzeros->bytes, s.bits};
  for (uint64_t i = 0; i < s.G * s.N; ++i)
    if (zeros.at(i) != value)
      return false;
  return true;
}

/// How the zeros are stored, if format, "sym" and the zeros themselves agree; `said` is
/// told where they do not quite.
Result<Zeros> zerosOf(const Source &s, const Parts &parts, const Format &format,
                      const LayerRule &rule, const std::string &where,
                      std::string &said) {
  if (!s.qzeros)
    return Zeros::middle;
  uint32_t middle = 1u << (s.bits - 1);
  bool isMiddle = areAll(s, middle), isLess = areAll(s, middle - 1);
  std::string version = format.name.empty() ? "" : " (" + inQuotes(format.name) + ")";
  if (s.isAwq) {
    if (rule.symmetric.value_or(false) && !isMiddle)
      return parts.bad(
          fmt::format("{} says that it is symmetric, but its zeros are not "
                      "all {}; keep the file that belongs to the weights",
                      where, middle));
    return Zeros::stored;
  }
  if (rule.symmetric.value_or(false)) {
    if (isMiddle && format.zeros == Zeros::minusOne)
      said =
          fmt::format("stored as {}, as \"sym\": true says, though {} stores them less "
                      "one{}",
                      middle, format.convention, version);
    if (isMiddle || (isLess && format.zeros != Zeros::stored))
      return Zeros::middle;
    return parts.bad(fmt::format(
        "\"sym\" is true in {}{}, but its zeros are stored as {}, not all as {}; keep "
        "the "
        "file that belongs to the weights, or correct \"sym\" or the format",
        where, version, isLess ? std::to_string(middle - 1) : "different numbers",
        format.zeros == Zeros::minusOne ? middle - 1 : middle));
  }
  if (format.zeros == Zeros::unknown)
    return parts.bad(fmt::format(
        "{} has no packing_format, which says whether zeros are stored as they are or "
        "less one; add the one that it was saved with",
        where));
  if (format.zeros == Zeros::minusOne ? isMiddle : isLess)
    return parts.bad(
        fmt::format("all its zeros are stored as {}, as in a symmetric model whose "
                    "zeros are stored "
                    "{}; add the \"checkpoint_format\" (\"gptq\" or \"gptq_v2\") and "
                    "\"sym\" that it "
                    "was saved with to quantize_config.json",
                    isMiddle ? middle : middle - 1,
                    isMiddle ? "as they are (gptq_v2)" : "less one (gptq)"));
  return format.zeros;
}

std::string zerosText(Zeros rule, const std::string &said) {
  switch (rule) {
  case Zeros::stored:
    return "as stored";
  case Zeros::minusOne:
    return "stored less one";
  default:
    return said.empty() ? "in the middle" : said;
  }
}

Result<void> importWeight(ImportContext &context, const Parts &parts) {
  const Declaration &declared = context.declared;
  auto format = formatOf(declared, parts);
  if (!format)
    return format.takeError();
  auto rules = rulesFor(context, parts);
  if (!rules)
    return rules.takeError();
  std::string where = declared.where().empty() ? "config.json" : declared.where();
  Source s{parts.find(".qweight"),
           parts.find(".qzeros"),
           parts.find(".scales"),
           0,
           0,
           0,
           0,
           0,
           false,
           Zeros::unknown};
  const Tensor *order = parts.find(".g_idx");
  if (!s.scales ||
      (!s.qzeros && (format->isAwq || !rules->front().symmetric.value_or(false))))
    return parts.bad(fmt::format(
        "has .qweight, but {} (GPTQ and AWQ have .qzeros and .scales; only symmetric "
        "GPTQ, with \"sym\": true in config.json, has no .qzeros); check that all "
        "shards are there",
        s.scales   ? "no .qzeros"
        : s.qzeros ? "no .scales"
                   : "neither .qzeros nor .scales"));
  if (const Tensor *other =
          parts.findOther({".qweight", ".qzeros", ".scales", ".g_idx"}))
    return parts.bad(
        fmt::format("has {}, which is no part of GPTQ or AWQ: the layer is "
                    "more than its codes; dequantize the model with what "
                    "wrote it and use --quantize",
                    inQuotes(other->name)));
  if (auto bits = jsonUnsigned(declared.object(), "act_bits"); bits && *bits <= 8)
    return parts.bad(fmt::format("act_bits = {} in {}: another layout, for quantized "
                                 "activations; save the model again without",
                                 *bits, where));
  if (jsonUnsigned(declared.object(), "super_bits"))
    return parts.bad(fmt::format("super_bits in {}: its scales are quantized; save the "
                                 "model as GGUF, which is read",
                                 where));
  if (auto type = declared.text({"pack_dtype"}); type && *type != "int32")
    return parts.bad(fmt::format("pack_dtype {} in {}; words of int32 are read",
                                 inQuotes(*type), where));
  auto isWords = [](const Tensor *t) { return isInt32(t) && t->shape.size() == 2; };
  if (!isWords(s.qweight) || (s.qzeros && !isWords(s.qzeros)) || !isFloat(s.scales) ||
      s.scales->shape.size() != 2)
    return parts.bad(fmt::format(
        ".qweight and .qzeros must be I32 matrices and .scales a float matrix, not {}, "
        "{} and {} ({})",
        s.qweight->type, s.qzeros ? s.qzeros->type : "absent", s.scales->type,
        shapesOf(s)));
  if (auto r = readShapes(s, parts, *rules, where); !r)
    return r;
  if (s.isAwq ? format->isGptq : format->isAwq)
    return parts.bad(
        fmt::format("its shapes ({}) are those of {}, but {} says {}; keep "
                    "the file that belongs to the weights",
                    shapesOf(s), s.isAwq ? "AWQ" : "GPTQ", where, format->convention));
  auto group = groupOf(s.K, s.G);
  if (!group)
    return parts.bad(unknownGroups(s.G, s.K));
  s.group = *group;
  auto rule = chooseRule(s, parts, *rules, where);
  if (!rule)
    return rule.takeError();
  std::vector<const Tensor *> tensors = {s.qweight, s.scales};
  if (s.qzeros)
    tensors.push_back(s.qzeros);
  if (order) {
    if (!isInt32(order) || order->shape != std::vector<uint64_t>{s.K})
      return parts.bad(
          fmt::format(".g_idx must be I32 of K = {} elements, not {} of {}", s.K,
                      order->type, shapeText(order->shape)));
    if (!isInOrder(*order, s.K, s.K / s.G))
      return parts.bad(
          "its columns are reordered (desc_act): columns of one group do not lie "
          "together; quantize the model again with desc_act = false");
    tensors.push_back(order);
  } else if (rule->isReordered.value_or(false) && s.G > 1 && !s.isAwq) {
    return parts.bad(fmt::format("desc_act is true in {}, but it has no .g_idx, which "
                                 "says the group of each column; check that all shards "
                                 "are there",
                                 where));
  }
  std::string said;
  auto zeros = zerosOf(s, parts, *format, *rule, where, said);
  if (!zeros)
    return zeros.takeError();
  s.rule = *zeros;
  std::string_view convention = s.isAwq ? "AWQ" : format->convention;
  if (!said.empty())
    context.note(
        fmt::format("zeros are {} (weight {})", said, inQuotes(parts.layer())));
  if (declared.method().empty() && format->name.empty() && s.rule == Zeros::minusOne)
    context.note("no file beside the weights says how they were quantized; zeros are "
                 "taken as those of GPTQ's first version, stored less one");
  addAffine(context, parts,
            {std::string(convention), format->name, declared.where(),
             zerosText(s.rule, said)},
            formatName(convention, {uint8_t(s.bits), !s.qzeros}, s.group), s.N, s.K,
            std::move(tensors), [s] { return s.load(); });
  return {};
}

} // namespace

Result<void> qlinear::importGptq(ImportContext &context) {
  if (context.checkpoint.isGguf())
    return {};
  importEach(context, Family::words, ".qweight", "GPTQ or AWQ",
             [&](const Parts &parts) { return importWeight(context, parts); });
  for (const char *suffix : {".qzeros", ".g_idx"})
    refuseWithoutCodes(context, Family::words, suffix, "GPTQ or AWQ", {".qweight"});
  return {};
}
