//===- ImportMlx.cpp - Checkpoints of MLX ---------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   X.weight U32 [N, K * bits / 32], a stream of bits; X.scales, X.biases [N, G]
//   w = s q + b
//   or in the modes mxfp4 and nvfp4: X.weight U32 [N, K / 8], e2m1, X.scales U8
//   [N, K / 32] of e8m0, or [N, K / 16] of e4m3; w = s q
//
// "quantization" of config.json has bits and group_size for the whole model, and may
// have an object under the name of a layer, which says what is different there. The
// shapes alone do not tell: 4 bits in groups of 64 look like 8 bits in groups of 32 of
// half the columns.
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

using namespace qlinear;

namespace {

/// Whether one of the rules for the layer has this mode.
Result<bool> hasMode(const ImportContext &context, const Parts &parts,
                     std::string_view mode, Assumption &assumed) {
  auto rules = rulesFor(context, parts);
  if (!rules)
    return rules.takeError();
  for (const LayerRule &rule : *rules)
    if (rule.isQuantized && rule.mode == mode) {
      assumed = {"MLX", rule.mode,
                 rule.from.empty() ? context.declared.where() : rule.from, ""};
      return true;
    }
  return false;
}

Result<void> importFloats4(ImportContext &context, const Parts &parts) {
  const Tensor *codes = parts.find(".weight"), *scales = parts.find(".scales");
  if (const Tensor *other = parts.findOther({".weight", ".scales"}))
    return parts.bad(fmt::format("has {}, which is no part of MLX's floats of 4 bits: "
                                 "the layer is more than its codes; dequantize the "
                                 "model with what wrote it and use --quantize",
                                 inQuotes(other->name)));
  for (auto [mode, type, group] : {std::tuple("mxfp4", FloatType::e8m0, 32u),
                                   std::tuple("nvfp4", FloatType::e4m3, 16u)}) {
    Assumption assumed;
    auto isIt = hasMode(context, parts, mode, assumed);
    if (!isIt)
      return isIt.takeError();
    if (!*isIt)
      continue;
    Float4Tensors t{codes, scales, type, group};
    if (auto rows = t.rows(parts); !rows)
      return rows.takeError();
    t.add(context, parts, std::move(assumed), "MLX", {codes, scales});
    return {};
  }
  return parts.bad("its scales are bytes, but config.json says neither \"mode\": "
                   "\"mxfp4\" nor \"nvfp4\" for it; of MLX's floats these are read");
}

Result<void> importWeight(ImportContext &context, const Parts &parts) {
  const Tensor *packed = parts.find(".weight"), *scales = parts.find(".scales"),
               *biases = parts.find(".biases");
  uint64_t N = packed->shape[0], G = scales->shape.size() == 2 ? scales->shape[1] : 0;
  if (!isFloat(scales) || !isFloat(biases) || !isMatrix(scales, N, G) ||
      !isMatrix(biases, N, G) || N == 0 || G == 0)
    return parts.bad(
        fmt::format(".scales and .biases must be float matrices of one shape "
                    "with N = {} rows",
                    N));
  if (const Tensor *other = parts.findOther({".weight", ".scales", ".biases"}))
    return parts.bad(
        fmt::format("has {}, which is no part of MLX's quantized layers: the "
                    "layer is more than its codes; dequantize the model "
                    "with what wrote it and use --quantize",
                    inQuotes(other->name)));
  auto rules = rulesFor(context, parts);
  if (!rules)
    return rules.takeError();
  std::string where =
      context.declared.where().empty() ? "config.json" : context.declared.where();
  const LayerRule *chosen = nullptr;
  std::string why;
  for (const LayerRule &rule : *rules) {
    auto disagree = [&](std::string text) {
      if (why.empty())
        why = std::move(text);
    };
    if (!rule.isQuantized) {
      disagree(fmt::format("{} says that it is not quantized, but it is", rule.from));
      continue;
    }
    if (!rule.bits || !rule.group) {
      disagree("config.json has no 'quantization' with 'bits' and 'group_size', which "
               "MLX writes; keep it beside the weights");
      continue;
    }
    if (!rule.mode.empty() && rule.mode != "affine") {
      disagree(fmt::format("MLX's mode {}; only \"affine\" has integer codes with "
                           "scales and biases",
                           inQuotes(rule.mode)));
      continue;
    }
    uint64_t bits = *rule.bits;
    if (bits > 8 || !layout::hasPlanes(int(bits))) {
      disagree(fmt::format(
          "codes of {} bits ('quantization' of config.json); 2, 3, 4, 5, 6 and 8 are "
          "read: "
          "quantize the model again with one of these",
          bits));
      continue;
    }
    uint64_t K = packed->shape[1] * 32 / bits;
    if (K % G != 0 || K / G != *rule.group || K * bits % 32 != 0) {
      disagree(fmt::format(".weight {} and .scales {} do not go with {}: the weight is "
                           "[N, K * bits / 32], "
                           "the scales [N, K / group_size]",
                           shapeText(packed->shape), shapeText(scales->shape),
                           ruleText(rule, where)));
      continue;
    }
    // Of shapes that go with both, the bits say the group.
    if (chosen && chosen->bits != rule.bits)
      return parts.bad(
          fmt::format("{} may be this layer under another prefix, and its shapes go "
                      "with {} as well "
                      "as with {}; name the layer in config.json as the weights do",
                      rule.from, ruleText(*chosen, where), ruleText(rule, where)));
    if (!chosen)
      chosen = &rule;
  }
  if (!chosen)
    return parts.bad(why);
  uint64_t K = packed->shape[1] * 32 / *chosen->bits;
  auto group = groupOf(K, G);
  if (!group)
    return parts.bad(unknownGroups(G, K));
  CodeType codes{uint8_t(*chosen->bits), false};
  addAffine(context, parts,
            {"MLX", chosen->mode, chosen->from.empty() ? where : chosen->from, ""},
            formatName("MLX", codes, *group), N, K, {packed, scales, biases},
            [=, group = *group]() -> Result<AffineWeight> {
              auto s = toFloats(*scales), b = toFloats(*biases);
              if (!s)
                return s.takeError();
              if (!b)
                return b.takeError();
              for (float &v : *b)
                v = -v;
              return AffineWeight{N,
                                  K,
                                  codes,
                                  group,
                                  Form::min,
                                  unpackRows(*packed, codes.bits, N, K),
                                  std::move(*s),
                                  std::move(*b)};
            });
  return {};
}

} // namespace

Result<void> qlinear::importMlx(ImportContext &context) {
  importEach(
      context, Family::mlx, ".biases", "MLX",
      [&](const Parts &parts) { return importWeight(context, parts); },
      [](const Parts &parts) {
        const Tensor *packed = parts.find(".weight");
        return packed && packed->type == "U32" && packed->shape.size() == 2 &&
               parts.find(".scales");
      });
  importEach(
      context, Family::mlx, ".scales", "MLX",
      [&](const Parts &parts) { return importFloats4(context, parts); },
      [](const Parts &parts) {
        const Tensor *codes = parts.find(".weight"), *scales = parts.find(".scales");
        return codes && codes->type == "U32" && codes->shape.size() == 2 &&
               scales->type == "U8" && !parts.find(".biases");
      });
  if (context.declared.method().empty() || context.declared.method() == "mlx")
    refuseWithoutCodes(context, Family::mlx, ".biases", "MLX", {".weight"});
  return {};
}
