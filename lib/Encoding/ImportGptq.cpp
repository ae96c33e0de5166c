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
// "gptq_v2" in the configuration) z itself. X.g_idx says the group of each input
// column: act-order checkpoints, where it is not k / group, are declined.
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
  const Tensor *qweight, *qzeros, *scales;
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
  PackedWords codes{qweight->bytes, bits}, zeros{qzeros->bytes, bits};
  unsigned perWord = codes.perWord();
  uint32_t mask = (1u << bits) - 1;
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
        uint32_t z = zeros.at(g * N + place(n));
        w.offsets[n * G + g] = float(zerosMinusOne ? (z + 1) & mask : z);
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

Result<void> importWeight(ImportContext &context, const Parts &parts,
                          const json &quantization) {
  const Tensor *qweight = parts.find(".qweight"), *qzeros = parts.find(".qzeros"),
               *scales = parts.find(".scales"), *order = parts.find(".g_idx");
  if (!qzeros || !scales)
    return parts.bad("has .qweight, but not .qzeros and .scales as GPTQ and AWQ have");
  if (!isInt32(qweight) || !isInt32(qzeros) || !isFloat(scales) ||
      qweight->shape.size() != 2 || qzeros->shape.size() != 2 ||
      scales->shape.size() != 2)
    return parts.bad(
        ".qweight and .qzeros must be I32 matrices, .scales a float matrix");
  Source s{qweight, qzeros, scales, scales->shape[1], 0, scales->shape[0], 0,
           0,       false,  false};
  uint64_t zeroWords = qzeros->shape[1];
  s.bits = s.N && zeroWords * 32 % s.N == 0 ? unsigned(zeroWords * 32 / s.N) : 0;
  if (s.bits != 4 && s.bits != 8)
    return parts.bad(
        fmt::format("codes of {} bits (.qzeros {}, .scales {}); 4 and 8 are "
                    "read",
                    s.bits, shapeText(qzeros->shape), shapeText(scales->shape)));
  s.isAwq = qweight->shape[1] == zeroWords;
  s.K = s.isAwq ? qweight->shape[0] : qweight->shape[0] * (32 / s.bits);
  if (!isMatrix(qweight, s.isAwq ? s.K : s.K * s.bits / 32,
                s.isAwq ? zeroWords : s.N) ||
      !isMatrix(qzeros, s.G, zeroWords) || s.K == 0 || (s.isAwq && s.bits != 4))
    return parts.bad(fmt::format(
        "the shapes of .qweight ({}), .qzeros ({}) and .scales "
        "({}) do not go together",
        shapeText(qweight->shape), shapeText(qzeros->shape), shapeText(scales->shape)));
  auto group = groupOf(s.K, s.G);
  if (!group)
    return parts.bad(
        fmt::format("{} groups of K = {} columns; groups of 16, 32, 64, 128, "
                    "256 or the whole row are read",
                    s.G, s.K));
  s.group = *group;
  std::vector<const Tensor *> tensors = {qweight, qzeros, scales};
  if (order) {
    if (!isInt32(order) || order->shape != std::vector<uint64_t>{s.K})
      return parts.bad(fmt::format(".g_idx must be I32 of K = {} elements", s.K));
    if (!isInOrder(*order, s.K, s.K / s.G))
      return parts.bad(
          "its columns are reordered (desc_act); quantize the model again with "
          "desc_act = false");
    tensors.push_back(order);
  }
  auto format = jsonString(quantization, "checkpoint_format");
  s.zerosMinusOne = !s.isAwq && format.value_or("gptq") != "gptq_v2";
  std::string convention = s.isAwq ? "AWQ" : s.zerosMinusOne ? "GPTQ" : "GPTQ v2";
  addAffine(context, parts, formatName(convention, {uint8_t(s.bits), false}, s.group),
            s.N, s.K, std::move(tensors), [s] { return s.load(); });
  return {};
}

} // namespace

Result<void> qlinear::importGptq(ImportContext &context) {
  if (context.checkpoint.isGguf())
    return {};
  json quantization = json::object();
  if (context.config.is_object()) {
    auto at = context.config.find("quantization_config");
    quantization = at == context.config.end() ? context.config : *at;
  }
  for (const std::string &prefix : prefixesOf(context, ".qweight"))
    if (auto r = importWeight(context, Parts(context.checkpoint, prefix), quantization);
        !r)
      return r;
  return {};
}
