//===- ImportCompressedTensors.cpp - compressed-tensors' checkpoints ------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   pack-quantized
//     X.weight_packed I32 [N, K * bits / 32], codes q + 2^(bits-1) as a stream of bits
//     X.weight_scale [N, G], X.weight_shape I64 [2] = N, K
//     X.weight_zero_point I32 [N * bits / 32, G] packed along N, if asymmetric,
//     biased like the codes; X.weight_g_idx if columns may be reordered (-1: not set)
//     w = s q, or s (q - z)
//   int-quantized, naive-quantized
//     X.weight I8 [N, K], X.weight_scale [N, G] or one number, X.weight_zero_point I8
//     of the same shape, if asymmetric; w = s (q - z)
//   nvfp4-pack-quantized
//     X.weight_packed U8 [N, K / 2], e2m1, the even column low, X.weight_scale F8_E4M3
//     [N, K / 16], X.weight_global_scale F32 [1], which divides; w = q s / g. Readers
//     multiply with the reciprocal, an f32, and so is it here
//   mxfp4-pack-quantized
//     X.weight_packed as that, X.weight_scale U8 [N, K / 32], e8m0; w = q s
//
// The configuration has groups of layers ("config_groups"), each with "targets" (names,
// "re:" and a regular expression, or classes of modules) and the scheme of its weights.
// A layer is of the groups that name it, or else of those that name a class, of which
// one must agree with its tensors. Early versions packed 32 / bits codes into each
// word, which for 5, 6 and 7 bits leaves gaps. Floats of 8 bits, stacks of experts and
// sparse forms are carried over.
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

#include <algorithm>
#include <cmath>

using namespace qlinear;
using nlohmann::json;

namespace {

/// The shapes of the tensors of a layer.
struct Shape {
  uint64_t N, K, G;
  unsigned bits; ///< that codes take in the tensor; 0: bytes, of as many or fewer
  bool hasZeros;
  uint64_t rows;    ///< of a block: 1 unless scales are shared by rows
  bool isReordered; ///< has an index of groups
  bool isFloat = false;
};

/// One scheme of config_groups.
struct Scheme {
  std::string name;
  const json *weights; ///< null: not quantized
  std::string format;  ///< empty: the whole model's
};

const json *member(const json &object, const char *key) {
  auto at = object.is_object() ? object.find(key) : object.end();
  return !object.is_object() || at == object.end() || at->is_null() ? nullptr : &*at;
}

/// Whether a target names the layer: by its name or "re:" and a regular expression.
Result<bool> namesLayer(const std::string &target, const std::string &layer) {
  if (target.starts_with("re:"))
    return matchesStart(target.substr(3), layer);
  return target == layer;
}

/// A class of modules, as "Linear": not the name of a layer of this model.
bool isClass(const ImportContext &context, const std::string &target) {
  return !target.starts_with("re:") && target.find('.') == target.npos &&
         context.checkpoint.startingWith(target + ".").empty();
}

/// The schemes that may be the layer's.
Result<std::vector<Scheme>> schemesOf(const ImportContext &context,
                                      const Parts &parts) {
  const json &config = context.declared.object();
  std::vector<Scheme> named, classes;
  const json *groups = member(config, "config_groups");
  if (!groups)
    return named;
  for (auto &[name, group] : groups->items()) {
    Scheme scheme{name, member(group, "weights"),
                  group.is_object() ? jsonString(group, "format").value_or("") : ""};
    const json *targets = member(group, "targets");
    if (!targets || !targets->is_array())
      return parts.bad(fmt::format("config_groups of {}: {} has no list of targets",
                                   context.declared.where(), inQuotes(name)));
    for (const json &target : *targets) {
      if (!target.is_string())
        continue;
      auto text = target.get<std::string>();
      auto isNamed = namesLayer(text, parts.layer());
      if (!isNamed)
        return parts.bad(fmt::format("config_groups of {}: {}",
                                     context.declared.where(), isNamed.error()));
      if (*isNamed)
        named.push_back(scheme);
      else if (isClass(context, text))
        classes.push_back(scheme);
    }
  }
  return named.empty() ? classes : named;
}

/// Why the scheme is not that of a layer of this shape; empty if it is.
std::string mismatch(const Scheme &scheme, const Shape &s) {
  if (!scheme.weights)
    return "it does not quantize weights";
  const json &w = *scheme.weights;
  if (auto type = jsonString(w, "type"); type && *type != (s.isFloat ? "float" : "int"))
    return "codes of type " + inQuotes(*type);
  auto bits = jsonUnsigned(w, "num_bits");
  if (bits && (s.bits ? *bits != s.bits : *bits > 8))
    return fmt::format("num_bits = {}, but its codes are packed as {} bits are", *bits,
                       s.bits ? std::to_string(s.bits) : "at most 8");
  if (auto at = member(w, "symmetric");
      at && at->is_boolean() && at->get<bool>() == s.hasZeros)
    return fmt::format("symmetric = {}, but it has {}zero points", at->get<bool>(),
                       s.hasZeros ? "" : "no ");
  auto strategy = jsonString(w, "strategy");
  auto size = jsonUnsigned(w, "group_size");
  if (s.isFloat && strategy == "tensor_group")
    strategy = "group"; // and a scale for all
  if (size && *size > 0 && strategy.value_or("group") == "group" &&
      *size * s.G != s.K && !(s.G == 1 && *size >= s.K))
    return fmt::format("group_size = {}, but it has {} groups in K = {}", *size, s.G,
                       s.K);
  if (strategy && (*strategy == "channel" || *strategy == "tensor") && s.G != 1)
    return fmt::format("strategy {}, but it has {} groups in a row",
                       inQuotes(*strategy), s.G);
  if (strategy && *strategy != "channel" && *strategy != "tensor" &&
      *strategy != "group" && *strategy != "block")
    return "strategy " + inQuotes(*strategy);
  if (strategy == "block")
    if (auto block = jsonNumbers(w, "block_structure");
        block &&
        (block->size() != 2 || (*block)[0] != s.rows || (*block)[1] * s.G != s.K))
      return fmt::format("blocks of {}, but its scales have blocks of {}x{}",
                         shapeText(*block), s.rows, s.K / s.G);
  if (auto at = member(w, "actorder");
      at && (at->is_string() ? *at == "group" || *at == "dynamic" : *at == true) &&
      !s.isReordered)
    return "actorder, but it has no weight_g_idx";
  return "";
}

/// Whether a transform is applied to what goes into or comes out of the layer when it
/// runs: its stored weight is then not all that it does.
Result<std::string> onlineTransform(const ImportContext &context, const Parts &parts) {
  const json *config = member(context.declared.object(), "transform_config");
  const json *groups = config ? member(*config, "config_groups") : nullptr;
  if (!config || (config->is_object() && config->empty()))
    return std::string();
  if (!groups || !groups->is_object())
    return std::string("a transform_config that is not understood");
  for (auto &[name, group] : groups->items()) {
    const json *apply = member(group, "apply");
    if (!apply || !apply->is_array())
      return fmt::format("the transform {}, which is not understood", inQuotes(name));
    for (const json &a : *apply) {
      auto location = a.is_object() ? jsonString(a, "location") : std::nullopt;
      if (location == "weight_input" || location == "weight_output")
        continue; // it is in the weight
      const json *targets = member(a, "targets");
      bool applies = !targets || !targets->is_array();
      for (const json &target : applies ? json::array() : *targets) {
        if (!target.is_string())
          continue;
        auto isNamed = namesLayer(target.get<std::string>(), parts.layer());
        if (!isNamed)
          return isNamed.takeError();
        applies |= *isNamed || isClass(context, target.get<std::string>());
      }
      if (applies)
        return fmt::format("the transform {} ({}) at its {}", inQuotes(name),
                           jsonString(group, "type").value_or("of no type"),
                           location.value_or("unknown location"));
    }
  }
  return std::string();
}

/// Fails if the configuration contradicts reading the layer as one of `formats`;
/// `assumed` records what the configuration says for it.
Result<void> agree(const ImportContext &context, const Parts &parts, const Shape &s,
                   std::initializer_list<std::string_view> formats,
                   Assumption &assumed) {
  const json &config = context.declared.object();
  const std::string &where = context.declared.where();
  assumed = {"compressed-tensors", "", where, s.hasZeros ? "as stored" : ""};
  auto transform = onlineTransform(context, parts);
  if (!transform)
    return parts.bad(transform.error());
  if (!transform->empty())
    return parts.bad(fmt::format(
        "{} has {}, which rotates its activations when it runs; quantize the model "
        "again "
        "without transforms, or with those alone that are fused into weights",
        where, *transform));
  if (const json *ignored = member(config, "ignore"); ignored && ignored->is_array())
    for (const json &target : *ignored) {
      if (!target.is_string())
        continue;
      auto isNamed = namesLayer(target.get<std::string>(), parts.layer());
      if (!isNamed)
        return parts.bad(fmt::format("ignore of {}: {}", where, isNamed.error()));
      if (*isNamed)
        return parts.bad(
            fmt::format("ignore of {} has {}, but it is quantized; keep the "
                        "file that belongs to the weights",
                        where, inQuotes(target.get<std::string>())));
    }
  auto schemes = schemesOf(context, parts);
  if (!schemes)
    return schemes.takeError();
  auto whole = jsonString(config, "format").value_or("");
  if (schemes->empty() && member(config, "config_groups"))
    return parts.bad(fmt::format("no group of config_groups of {} has it as a target; "
                                 "keep the file that belongs to the weights",
                                 where));
  std::string why, name;
  if (schemes->empty())
    schemes->push_back({"", nullptr, ""});
  for (const Scheme &scheme : *schemes) {
    const std::string &format = scheme.format.empty() ? whole : scheme.format;
    bool isOurs = format.empty() || format == "mixed-precision" ||
                  std::find(formats.begin(), formats.end(), format) != formats.end();
    why = !isOurs               ? "the format " + inQuotes(format)
          : scheme.name.empty() ? ""
                                : mismatch(scheme, s);
    assumed.version = format;
    name = scheme.name;
    if (why.empty())
      return {};
  }
  return parts.bad(
      fmt::format("{}{} says {}; keep the file that belongs to the weights",
                  name.empty() ? "" : inQuotes(name) + " of ", where, why));
}

std::string textOf(const Tensor *t) {
  return t ? t->type + " of " + shapeText(t->shape) : std::string("absent");
}

/// Whether g_idx leaves the columns as they are: k / group for every k, or -1.
bool leavesOrder(const Tensor &index, uint64_t K, uint64_t group) {
  if (!isInt32(&index) || index.shape != std::vector<uint64_t>{K})
    return false;
  bool isUnset = true, isInOrder = true;
  for (uint64_t k = 0; k < K; ++k) {
    int32_t g;
    __builtin_memcpy(&g, index.bytes.data() + 4 * k, 4);
    isUnset &= g == -1;
    isInOrder &= g >= 0 && uint64_t(g) == k / group;
  }
  return isUnset || isInOrder;
}

/// Experts in one tensor are carried over: whether `codes` are such.
bool carryStack(ImportContext &context, const Parts &parts, const Tensor &codes) {
  if (codes.shape.size() != 3)
    return false;
  context.addForeign(
      parts.name(), "compressed-tensors", parts.all(),
      fmt::format("a stack of {} weights: carried over as it is", codes.shape[0]));
  return true;
}

/// nvfp4-pack-quantized if there is a scale for all, or else mxfp4-pack-quantized.
Result<void> importFloat4(ImportContext &context, const Parts &parts) {
  const Tensor *packed = parts.find(".weight_packed"),
               *scale = parts.find(".weight_scale"),
               *whole = parts.find(".weight_global_scale");
  if (carryStack(context, parts, *packed))
    return {};
  if (const Tensor *other =
          parts.findOther({".weight_packed", ".weight_scale", ".weight_global_scale",
                           ".input_global_scale", ".input_scale", ".output_scale",
                           ".k_scale", ".v_scale", ".q_scale"}))
    return parts.bad(
        fmt::format("has {}, which is no part of floats of 4 bits: the layer is more "
                    "than its codes; quantize the model again without transforms and "
                    "sparsity",
                    inQuotes(other->name)));
  Float4Tensors t{packed, scale, whole ? FloatType::e4m3 : FloatType::e8m0,
                  whole ? 16u : 32u};
  auto N = t.rows(parts);
  if (!N)
    return N.takeError();
  std::vector<const Tensor *> tensors = {packed, scale};
  if (whole) {
    auto divisor = oneFloat(parts, *whole, ".weight_global_scale");
    if (!divisor)
      return divisor.takeError();
    t.step = 1 / *divisor;
    if (*divisor == 0 || !std::isfinite(*divisor) || !std::isfinite(*t.step))
      return parts.bad(fmt::format(".weight_global_scale is {}, which scales cannot be "
                                   "divided by; the file is damaged",
                                   *divisor));
    tensors.push_back(whole);
  }
  uint64_t K = 2 * packed->shape[1];
  Assumption assumed;
  if (auto r = agree(
          context, parts, {*N, K, K / t.group, 4, false, 1, false, /*isFloat=*/true},
          {whole ? "nvfp4-pack-quantized" : "mxfp4-pack-quantized"}, assumed);
      !r)
    return r;
  t.add(context, parts, std::move(assumed), "compressed-tensors", std::move(tensors));
  return {};
}

Result<void> importPackQuantized(ImportContext &context, const Parts &parts) {
  const Tensor *packed = parts.find(".weight_packed"),
               *scale = parts.find(".weight_scale"),
               *shape = parts.find(".weight_shape"),
               *zeros = parts.find(".weight_zero_point"),
               *order = parts.find(".weight_g_idx");
  if (packed->type == "U8" || parts.find(".weight_global_scale"))
    return importFloat4(context, parts);
  if (carryStack(context, parts, *packed))
    return {};
  if (const Tensor *other = parts.findOther(
          {".weight_packed", ".weight_scale", ".weight_shape", ".weight_zero_point",
           ".weight_g_idx", ".input_scale", ".input_zero_point", ".output_scale",
           ".output_zero_point", ".k_scale", ".v_scale", ".q_scale"}))
    return parts.bad(
        fmt::format("has {}, which is no part of pack-quantized: the layer "
                    "is more than its codes; quantize the model again as "
                    "pack-quantized, without transforms and sparsity",
                    inQuotes(other->name)));
  if (!shape || (shape->type != "I64" && shape->type != "I32") ||
      shape->shape != std::vector<uint64_t>{2})
    return parts.bad(fmt::format(".weight_shape must be two I64, N and K, but is {}",
                                 textOf(shape)));
  uint64_t N = integerAt(*shape, 0), K = integerAt(*shape, 1);
  if (!isInt32(packed) || packed->shape.size() != 2 || packed->shape[0] != N ||
      N == 0 || K == 0)
    return parts.bad(
        fmt::format(".weight_packed must be an I32 matrix of N = {} rows, but is {}", N,
                    textOf(packed)));
  auto badWords = [&]() {
    return parts.bad(fmt::format(
        ".weight_packed has {} words for K = {}; codes of 4, 5, 6 and 8 bits without "
        "gaps are read: quantize the model again with one of these",
        packed->shape[1], K));
  };
  // No more columns than bits, so that nothing below overflows.
  if (K > packed->bytes.size() * 8)
    return badWords();
  if (!isFloat(scale) || scale->shape.size() != 2 || scale->shape[0] != N)
    return parts.bad(
        fmt::format(".weight_scale must be a float matrix of N = {} rows, but is {}", N,
                    textOf(scale)));
  uint64_t G = scale->shape[1];
  auto group = groupOf(K, G);
  if (!group)
    return parts.bad(unknownGroups(G, K));
  // The widths that the words may have: of few columns two may need as many words.
  std::vector<unsigned> fitting;
  std::vector<Assumption> assumptions;
  Result<void> disagreed;
  uint64_t wordCount = packed->shape[1];
  for (unsigned bits : {4u, 5u, 6u, 8u}) {
    if (wordCount != PackedWords{{}, bits}.wordsOf(K))
      continue;
    Assumption assumed;
    auto r = agree(context, parts, {N, K, G, bits, zeros != nullptr, 1, !!order},
                   {"pack-quantized"}, assumed);
    if (!r) {
      disagreed = std::move(r);
      continue;
    }
    fitting.push_back(bits);
    assumptions.push_back(std::move(assumed));
  }
  if (fitting.empty() && !disagreed)
    return disagreed;
  if (fitting.empty())
    return badWords();
  unsigned bits = fitting.front();
  if (fitting.size() > 1)
    return parts.bad(
        fmt::format("{} words for K = {} may be codes of {} or {} bits; keep "
                    "the config.json with config_groups beside it",
                    wordCount, K, bits, fitting[1]));
  if (32 % bits && wordCount == (K + 32 / bits - 1) / (32 / bits))
    return parts.bad(fmt::format("{} words for K = {} codes of {} bits may have gaps; "
                                 "quantize the model again with 4 or 8 bits",
                                 wordCount, K, bits));
  // Codes of 7 bits, 4 in a word, take the room of 8.
  PackedWords words{packed->bytes, bits};
  bool mayBe7 = bits == 8 && !member(context.declared.object(), "config_groups");
  for (uint64_t i = 0; mayBe7 && i < packed->bytes.size() / 4; ++i)
    mayBe7 = words.word(i) >> 28 == 0;
  if (mayBe7)
    return parts.bad(
        "the upper 4 bits of all its words are 0, as of codes of 7 bits, 4 "
        "in a word; quantize the model again with 4 or 8 bits");
  if (order && !leavesOrder(*order, K, K / G))
    return parts.bad("its columns are reordered (.weight_g_idx): columns of one group "
                     "do not lie together; quantize the model again without actorder, "
                     "or with actorder = \"weight\"");
  uint64_t zeroRows = PackedWords{{}, bits}.wordsOf(N);
  if (zeros && (!isInt32(zeros) || !isMatrix(zeros, zeroRows, G)))
    return parts.bad(fmt::format(".weight_zero_point must be I32 of {}x{}, but is {}",
                                 zeroRows, G, textOf(zeros)));
  std::vector<const Tensor *> tensors = {packed, scale, shape};
  for (const Tensor *t : {zeros, order})
    if (t)
      tensors.push_back(t);
  CodeType codes{uint8_t(bits), !zeros};
  addAffine(context, parts, std::move(assumptions.front()),
            formatName("compressed-tensors", codes, *group), N, K, tensors,
            [=, group = *group]() -> Result<AffineWeight> {
              auto scales = toFloats(*scale);
              if (!scales)
                return scales.takeError();
              AffineWeight w{N,
                             K,
                             codes,
                             group,
                             zeros ? Form::zero : Form::symmetric,
                             unpackRows(*packed, bits, N, K),
                             std::move(*scales),
                             {}};
              if (zeros) {
                // The bias of codes and zeros cancels.
                w.offsets.resize(N * G);
                PackedWords words{zeros->bytes, bits};
                for (uint64_t n = 0; n < N; ++n)
                  for (uint64_t g = 0; g < G; ++g)
                    w.offsets[n * G + g] = float(words.at(n, g, G));
              }
              return w;
            });
  return {};
}

Result<void> importIntQuantized(ImportContext &context, const Parts &parts) {
  const Tensor *codes = parts.find(".weight"), *scale = parts.find(".weight_scale"),
               *zeros = parts.find(".weight_zero_point");
  if (carryStack(context, parts, *codes))
    return {};
  if (const Tensor *other =
          parts.findOther({".weight", ".weight_scale", ".weight_zero_point",
                           ".input_scale", ".input_zero_point", ".output_scale",
                           ".output_zero_point", ".k_scale", ".v_scale", ".q_scale"}))
    return parts.bad(
        fmt::format("has {}, which is no part of int-quantized: the layer "
                    "is more than its codes; dequantize the model with what "
                    "wrote it and use --quantize",
                    inQuotes(other->name)));
  IntTensors t{codes, scale, zeros};
  auto plan = t.plan(parts);
  if (!plan)
    return plan.takeError();
  Assumption assumed;
  if (auto r =
          agree(context, parts,
                {plan->N, plan->K, plan->G, 0, zeros != nullptr, plan->rows, false},
                {"int-quantized", "naive-quantized"}, assumed);
      !r)
    return r;
  std::vector<const Tensor *> tensors = {codes, scale};
  if (zeros)
    tensors.push_back(zeros);
  addAffine(context, parts, std::move(assumed),
            formatName("compressed-tensors", {8, !zeros}, plan->group), plan->N,
            plan->K, std::move(tensors),
            [t, plan = *plan, name = parts.name()] { return t.load(plan, name); });
  return {};
}

} // namespace

Result<void> qlinear::importCompressedTensors(ImportContext &context) {
  constexpr std::string_view convention = "compressed-tensors";
  importEach(context, Family::compressedTensors, ".weight_packed", convention,
             [&](const Parts &parts) { return importPackQuantized(context, parts); });
  importEach(
      context, Family::compressedTensors, ".weight_scale", convention,
      [&](const Parts &parts) { return importIntQuantized(context, parts); },
      [](const Parts &parts) {
        const Tensor *t = parts.find(".weight");
        return t && t->type == "I8" && t->shape.size() >= 2;
      });
  for (const char *suffix : {".weight_shape", ".weight_scale"})
    refuseWithoutCodes(context, Family::compressedTensors, suffix, convention,
                       {".weight_packed", ".weight"});
  return {};
}
