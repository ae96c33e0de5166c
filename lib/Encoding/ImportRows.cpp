//===- ImportRows.cpp - Checkpoints with row-major packed codes -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Conventions that pack the codes of a row along K into 32-bit words:
//   compressed-tensors (pack-quantized)
//     X.weight_packed I32 [N, K * bits / 32], codes q + 2^(bits-1)
//     X.weight_scale [N, G], X.weight_shape I64 [2] = N, K
//     X.weight_zero_point I32 [N * bits / 32, G] packed along N, if asymmetric,
//     biased like the codes; X.weight_g_idx only with reordered columns
//     w = s q, or s (q - z)
//   MLX
//     X.weight U32 [N, K * bits / 32], X.scales and X.biases [N, G]
//     w = s q + b
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

#include <tbb/parallel_for.h>

using namespace qlinear;

namespace {

/// The codes of N rows of K.
std::vector<uint8_t> unpackRows(const Tensor &packed, unsigned bits, uint64_t N,
                                uint64_t K) {
  std::vector<uint8_t> out(N * K);
  PackedWords words{packed.bytes, bits};
  uint32_t mask = (1u << bits) - 1;
  tbb::parallel_for(uint64_t(0), N, [&](uint64_t n) {
    for (uint64_t i = n * K; i < (n + 1) * K; i += words.perWord()) {
      uint32_t word = words.word(i / words.perWord());
      for (unsigned j = 0; j < words.perWord(); ++j)
        out[i + j] = uint8_t(word >> (j * bits) & mask);
    }
  });
  return out;
}

Error unknownGroups(const Parts &parts, uint64_t G, uint64_t K) {
  return parts.bad(
      fmt::format("{} groups of K = {} columns; groups of 16, 32, 64, 128, 256 "
                  "or the whole row are read",
                  G, K));
}

/// Bits per code, if words of `columns` hold K codes of 4 or 8 bits.
unsigned bitsOf(uint64_t columns, uint64_t K) {
  for (unsigned bits : {4u, 8u})
    if (K % (32 / bits) == 0 && columns == K / (32 / bits))
      return bits;
  return 0;
}

Result<void> importCompressed(ImportContext &context, const Parts &parts) {
  const Tensor *packed = parts.find(".weight_packed"),
               *scale = parts.find(".weight_scale"),
               *shape = parts.find(".weight_shape"),
               *zeros = parts.find(".weight_zero_point"),
               *order = parts.find(".weight_g_idx");
  if (!shape || shape->type != "I64" || shape->bytes.size() != 16)
    return parts.bad(".weight_shape must be two I64");
  uint64_t size[2];
  __builtin_memcpy(size, shape->bytes.data(), 16);
  uint64_t N = size[0], K = size[1];
  if (!isInt32(packed) || packed->shape.size() != 2 || packed->shape[0] != N ||
      N == 0 || K == 0)
    return parts.bad(
        fmt::format(".weight_packed must be an I32 matrix of N = {} rows", N));
  unsigned bits = bitsOf(packed->shape[1], K);
  if (!bits)
    return parts.bad(
        fmt::format(".weight_packed has {} words for K = {}; codes of 4 and 8 "
                    "bits are read",
                    packed->shape[1], K));
  if (!isFloat(scale) || scale->shape.size() != 2 || scale->shape[0] != N)
    return parts.bad(
        fmt::format(".weight_scale must be a float matrix of N = {} rows", N));
  if (order)
    return parts.bad(
        "its columns are reordered (.weight_g_idx); quantize the model again "
        "without actorder");
  uint64_t G = scale->shape[1];
  auto group = groupOf(K, G);
  if (!group)
    return unknownGroups(parts, G, K);
  uint64_t perWord = 32 / bits;
  if (zeros && (!isInt32(zeros) || !isMatrix(zeros, (N + perWord - 1) / perWord, G)))
    return parts.bad(fmt::format(".weight_zero_point must be I32 of {}x{}",
                                 (N + perWord - 1) / perWord, G));
  std::vector<const Tensor *> tensors = {packed, scale, shape};
  if (zeros)
    tensors.push_back(zeros);
  CodeType codes{uint8_t(bits), !zeros};
  addAffine(context, parts, formatName("compressed-tensors", codes, *group), N, K,
            tensors, [=, group = *group]() -> Result<AffineWeight> {
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
                    w.offsets[n * G + g] =
                        float(words.word(n / perWord * G + g) >> (n % perWord * bits) &
                              ((1u << bits) - 1));
              }
              return w;
            });
  return {};
}

Result<void> importMlxWeight(ImportContext &context, const Parts &parts) {
  const Tensor *packed = parts.find(".weight"), *scales = parts.find(".scales"),
               *biases = parts.find(".biases");
  uint64_t N = packed->shape[0], G = scales->shape.size() == 2 ? scales->shape[1] : 0;
  if (!isFloat(scales) || !isFloat(biases) || !isMatrix(scales, N, G) ||
      !isMatrix(biases, N, G) || N == 0 || G == 0)
    return parts.bad(
        fmt::format(".scales and .biases must be float matrices of one shape "
                    "with N = {} rows",
                    N));
  auto at = context.config.is_object() ? context.config.find("quantization")
                                       : context.config.end();
  std::optional<uint64_t> bits, size;
  if (context.config.is_object() && at != context.config.end() && at->is_object()) {
    bits = jsonUnsigned(*at, "bits");
    size = jsonUnsigned(*at, "group_size");
  }
  if (!bits && !size)
    return parts.bad(
        "config.json has no 'quantization' with 'bits' and 'group_size', which "
        "MLX writes");
  if (!bits || !size || (*bits != 4 && *bits != 8))
    return parts.bad(
        "'quantization' of config.json needs 'group_size', and 'bits' of 4 or 8");
  uint64_t K = packed->shape[1] * (32 / *bits);
  auto group = groupOf(K, G);
  if (!group || (G > 1 && K / G != *size))
    return unknownGroups(parts, G, K);
  CodeType codes{uint8_t(*bits), false};
  addAffine(context, parts, formatName("MLX", codes, *group), N, K,
            {packed, scales, biases}, [=, group = *group]() -> Result<AffineWeight> {
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

Result<void> qlinear::importCompressedTensors(ImportContext &context) {
  for (const std::string &prefix : prefixesOf(context, ".weight_packed"))
    if (auto r = importCompressed(context, Parts(context.checkpoint, prefix)); !r)
      return r;
  return {};
}

Result<void> qlinear::importMlx(ImportContext &context) {
  for (const std::string &prefix : prefixesOf(context, ".biases")) {
    Parts parts(context.checkpoint, prefix);
    const Tensor *packed = parts.find(".weight");
    if (!packed || packed->type != "U32" || packed->shape.size() != 2 ||
        !parts.find(".scales"))
      continue;
    if (auto r = importMlxWeight(context, parts); !r)
      return r;
  }
  return {};
}
