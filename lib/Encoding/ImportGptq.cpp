//===- ImportGptq.cpp - Checkpoints of GPTQ and AWQ -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Both store a linear layer X as K-major words of packed codes:
//   GPTQ  X.qweight I32 [K * bits / 32, N], codes packed along K
//   AWQ   X.qweight I32 [K, N * bits / 32], codes packed along N, and the eight
//         columns of a word in the order 0 2 4 6 1 3 5 7 from the lowest bits
//   both  X.qzeros I32 [G, N * bits / 32] (packed along N; AWQ in its order),
//         X.scales [G, N]; w = s (q - z)
// GPTQ's first version of the format stores z - 1; the second ("checkpoint_format":
// "gptq_v2" in the configuration) z itself. A symmetric checkpoint ("sym": true) may
// lack qzeros: z = 2^(bits-1). X.g_idx says the group of each input column: act-order
// checkpoints, where it is not k / group, are declined.
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

#include <algorithm>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

using namespace qlinear;
using nlohmann::json;

namespace {

struct Source {
  const Tensor *qweight, *qzeros, *scales; ///< qzeros: null if symmetric
  uint64_t N, K, G;
  unsigned bits, group;
  bool isAwq, zerosMinusOne;

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
        uint32_t z = qzeros ? zeros.at(g * N + place(n)) : 1u << (bits - 1);
        w.offsets[n * G + g] = float(qzeros && zerosMinusOne ? (z + 1) & mask : z);
      }
    if (isAwq) {
      for (uint64_t k = 0; k < K; ++k)
        for (uint64_t n = rows.begin(); n < rows.end(); ++n)
          w.fields[n * K + k] = uint8_t(codes.at(k * N + place(n)));
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

/// Finds N, K, G, bits and isAwq from the shapes, which say it all unless there are
/// no zeros.
Result<void> readShapes(Source &s, const Parts &parts, const json &quantization) {
  s.G = s.scales->shape[0];
  s.N = s.scales->shape[1];
  if (!s.qzeros) {
    uint64_t bits = jsonUnsigned(quantization, "bits").value_or(4);
    s.bits = bits == 8 ? 8 : 4;
    if (bits != s.bits)
      return parts.bad(fmt::format("codes of {} bits; 4 and 8 are read", bits));
    s.K = s.qweight->shape[0] * (32 / s.bits);
    if (s.qweight->shape[1] != s.N || s.N == 0 || s.K == 0)
      return parts.bad(fmt::format("the shapes ({}) do not go together: GPTQ has "
                                   ".qweight [K * bits / 32, N] and .scales [G, N]",
                                   shapesOf(s)));
    return {};
  }
  uint64_t zeroWords = s.qzeros->shape[1];
  s.bits = s.N && zeroWords * 32 % s.N == 0 ? unsigned(zeroWords * 32 / s.N) : 0;
  if (s.bits != 4 && s.bits != 8)
    return parts.bad(
        fmt::format("codes of {} bits ({}); 4 and 8 are read: quantize the "
                    "model again with one of them",
                    s.bits ? std::to_string(s.bits) : "unknown", shapesOf(s)));
  s.isAwq = s.qweight->shape[1] == zeroWords;
  s.K = s.isAwq ? s.qweight->shape[0] : s.qweight->shape[0] * (32 / s.bits);
  if (!isMatrix(s.qweight, s.isAwq ? s.K : s.K * s.bits / 32,
                s.isAwq ? zeroWords : s.N) ||
      !isMatrix(s.qzeros, s.G, zeroWords) || s.K == 0 || (s.isAwq && s.bits != 4))
    return parts.bad(fmt::format(
        "the shapes ({}) do not go together: with .scales [G, N] and .qzeros "
        "[G, N * bits / 32], .qweight is [K * bits / 32, N] in GPTQ and "
        "[K, N * bits / 32] in AWQ",
        shapesOf(s)));
  return {};
}

Result<void> importWeight(ImportContext &context, const Parts &parts,
                          const json &quantization) {
  Source s{parts.find(".qweight"),
           parts.find(".qzeros"),
           parts.find(".scales"),
           0,
           0,
           0,
           0,
           0,
           false,
           false};
  const Tensor *order = parts.find(".g_idx");
  auto symmetric = quantization.find("sym");
  bool isSymmetric = symmetric != quantization.end() && symmetric->is_boolean() &&
                     symmetric->get<bool>();
  if (!s.scales || (!s.qzeros && !isSymmetric))
    return parts.bad(fmt::format(
        "has .qweight, but {} (GPTQ and AWQ have .qzeros and .scales; only symmetric "
        "GPTQ, with \"sym\": true in config.json, has no .qzeros); check that all "
        "shards are there",
        s.scales   ? "no .qzeros"
        : s.qzeros ? "no .scales"
                   : "neither .qzeros nor .scales"));
  // Other layouts of these projects have tensors of the same names.
  auto layout = jsonString(quantization, "checkpoint_format");
  if (jsonString(quantization, "quant_method") == "awq" && !layout)
    layout = jsonString(quantization, "version");
  constexpr std::string_view known[] = {"gptq", "gptq_v2", "gemm", "GEMM"};
  if (layout && std::find(std::begin(known), std::end(known), *layout) == std::end(known))
    return parts.bad(
        fmt::format("the layout {} of config.json; save the model again as \"gptq\" or "
                    "\"gptq_v2\" (GPTQ) or \"gemm\" (AWQ)",
                    inQuotes(*layout)));
  auto isWords = [](const Tensor *t) { return isInt32(t) && t->shape.size() == 2; };
  if (!isWords(s.qweight) || (s.qzeros && !isWords(s.qzeros)) || !isFloat(s.scales) ||
      s.scales->shape.size() != 2)
    return parts.bad(fmt::format(
        ".qweight and .qzeros must be I32 matrices and .scales a float matrix, not {}, "
        "{} and {} ({})",
        s.qweight->type, s.qzeros ? s.qzeros->type : "absent", s.scales->type,
        shapesOf(s)));
  if (auto r = readShapes(s, parts, quantization); !r)
    return r;
  auto group = groupOf(s.K, s.G);
  if (!group)
    return parts.bad(unknownGroups(s.G, s.K));
  s.group = *group;
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
  }
  s.zerosMinusOne = !s.isAwq && layout != "gptq_v2";
  std::string convention = s.isAwq                        ? "AWQ"
                           : !s.qzeros || s.zerosMinusOne ? "GPTQ"
                                                          : "GPTQ v2";
  addAffine(context, parts,
            formatName(convention, {uint8_t(s.bits), !s.qzeros}, s.group), s.N, s.K,
            std::move(tensors), [s] { return s.load(); });
  return {};
}

} // namespace

Result<void> qlinear::importGptq(ImportContext &context) {
  if (context.checkpoint.isGguf())
    return {};
  // quantize_config.json has at the top what config.json has one level down.
  json quantization = configOf(context, "quantization_config");
  if (quantization.empty() && context.config.is_object())
    quantization = context.config;
  importEach(context, ".qweight", "GPTQ or AWQ", [&](const Parts &parts) {
    return importWeight(context, parts, quantization);
  });
  return {};
}
