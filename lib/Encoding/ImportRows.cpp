//===- ImportRows.cpp - Checkpoints with row-major packed codes -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Conventions whose codes run along K, in 32-bit words or bytes:
//   compressed-tensors, pack-quantized
//     X.weight_packed I32 [N, K * bits / 32], codes q + 2^(bits-1) as a stream of bits
//     X.weight_scale [N, G], X.weight_shape I64 [2] = N, K
//     X.weight_zero_point I32 [N * bits / 32, G] packed along N, if asymmetric,
//     biased like the codes; X.weight_g_idx if columns may be reordered (-1: not set)
//     w = s q, or s (q - z)
//   compressed-tensors, int-quantized
//     X.weight I8 [N, K], X.weight_scale [N, G] or one number, X.weight_zero_point I8
//     of the same shape, if asymmetric; w = s (q - z)
//   MLX
//     X.weight U32 [N, K * bits / 32], a stream of bits; X.scales, X.biases [N, G]
//     w = s q + b
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

#include <tbb/parallel_for.h>

using namespace qlinear;
using nlohmann::json;

namespace {

/// The codes of N rows of K.
std::vector<uint8_t> unpackRows(const Tensor &packed, unsigned bits, uint64_t N,
                                uint64_t K) {
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

/// Bits per code, if rows of `columns` words hold K codes of 4, 5, 6 or 8 bits.
unsigned bitsOf(uint64_t columns, uint64_t K) {
  for (unsigned bits : {4u, 5u, 6u, 8u})
    if (columns == PackedWords{{}, bits}.wordsOf(K))
      return bits;
  return 0;
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

Result<void> importPackQuantized(ImportContext &context, const Parts &parts) {
  const Tensor *packed = parts.find(".weight_packed"),
               *scale = parts.find(".weight_scale"),
               *shape = parts.find(".weight_shape"),
               *zeros = parts.find(".weight_zero_point"),
               *order = parts.find(".weight_g_idx");
  if (!shape || (shape->type != "I64" && shape->type != "I32") ||
      shape->shape != std::vector<uint64_t>{2})
    return parts.bad(fmt::format(".weight_shape must be two I64, N and K, but is {}",
                                 shape ? shape->type + " of " + shapeText(shape->shape)
                                       : std::string("absent")));
  uint64_t N = integerAt(*shape, 0), K = integerAt(*shape, 1);
  if (!isInt32(packed) || packed->shape.size() != 2 || packed->shape[0] != N ||
      N == 0 || K == 0)
    return parts.bad(fmt::format(
        ".weight_packed must be an I32 matrix of N = {} rows, but is {} of {}", N,
        packed->type, shapeText(packed->shape)));
  // No more columns than bits, so that nothing below overflows.
  unsigned bits = K <= packed->bytes.size() * 8 ? bitsOf(packed->shape[1], K) : 0;
  if (!bits)
    return parts.bad(fmt::format(
        ".weight_packed has {} words for K = {}; codes of 4, 5, 6 and 8 bits without "
        "gaps are read: quantize the model again with one of these",
        packed->shape[1], K));
  if (!isFloat(scale) || scale->shape.size() != 2 || scale->shape[0] != N)
    return parts.bad(
        fmt::format(".weight_scale must be a float matrix of N = {} rows, but is {}", N,
                    scale ? scale->type + " of " + shapeText(scale->shape) : "absent"));
  uint64_t G = scale->shape[1];
  auto group = groupOf(K, G);
  if (!group)
    return parts.bad(unknownGroups(G, K));
  if (order && !leavesOrder(*order, K, K / G))
    return parts.bad("its columns are reordered (.weight_g_idx): columns of one group "
                     "do not lie together; quantize the model again without actorder, "
                     "or with actorder = \"weight\"");
  uint64_t zeroRows = PackedWords{{}, bits}.wordsOf(N);
  if (zeros && (!isInt32(zeros) || !isMatrix(zeros, zeroRows, G)))
    return parts.bad(
        fmt::format(".weight_zero_point must be I32 of {}x{}, but is {} of {}",
                    zeroRows, G, zeros->type, shapeText(zeros->shape)));
  std::vector<const Tensor *> tensors = {packed, scale, shape};
  for (const Tensor *t : {zeros, order})
    if (t)
      tensors.push_back(t);
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
                    w.offsets[n * G + g] = float(words.at(n, g, G));
              }
              return w;
            });
  return {};
}

Result<void> importIntQuantized(ImportContext &context, const Parts &parts) {
  const Tensor *codes = parts.find(".weight"), *scale = parts.find(".weight_scale"),
               *zeros = parts.find(".weight_zero_point");
  IntTensors t{codes, scale, zeros};
  auto plan = t.plan(parts);
  if (!plan)
    return plan.takeError();
  std::vector<const Tensor *> tensors = {codes, scale};
  if (zeros)
    tensors.push_back(zeros);
  addAffine(context, parts, formatName("compressed-tensors", {8, !zeros}, plan->group),
            plan->N, plan->K, std::move(tensors),
            [t, plan = *plan, name = parts.name()] { return t.load(plan, name); });
  return {};
}

Result<void> importMlxWeight(ImportContext &context, const Parts &parts) {
  const Tensor *packed = parts.find(".weight"), *scales = parts.find(".scales"),
               *biases = parts.find(".biases");
  uint64_t N = packed->shape[0], G = scales->shape.size() == 2 ? scales->shape[1] : 0;
  // Parts of a model may have a configuration of their own under their name.
  json quantization = configOf(context, "quantization");
  if (auto own = quantization.find(parts.layer());
      own != quantization.end() && own->is_object())
    quantization = json(*own);
  if (!isFloat(scales) || !isFloat(biases) || !isMatrix(scales, N, G) ||
      !isMatrix(biases, N, G) || N == 0 || G == 0)
    return parts.bad(
        fmt::format(".scales and .biases must be float matrices of one shape "
                    "with N = {} rows",
                    N));
  auto bits = jsonUnsigned(quantization, "bits"),
       size = jsonUnsigned(quantization, "group_size");
  if (!bits || !size)
    return parts.bad(
        "config.json has no 'quantization' with 'bits' and 'group_size', which MLX "
        "writes; keep it beside the weights");
  if (auto mode = jsonString(quantization, "mode"); mode && *mode != "affine")
    return parts.bad(
        fmt::format("MLX's mode {}; only \"affine\" has integer codes with "
                    "scales and biases",
                    inQuotes(*mode)));
  if (*bits != 4 && *bits != 5 && *bits != 6 && *bits != 8)
    return parts.bad(fmt::format(
        "codes of {} bits ('quantization' of config.json); 4, 5, 6 and 8 are read: "
        "quantize the model again with one of these",
        *bits));
  uint64_t K = packed->shape[1] * 32 / *bits;
  auto group = groupOf(K, G);
  if (!group)
    return parts.bad(unknownGroups(G, K));
  if (K % G != 0 || K / G != *size || K * *bits % 32 != 0)
    return parts.bad(fmt::format(
        ".weight {} and .scales {} do not go with bits = {} and group_size = {} of "
        "config.json: the weight is [N, K * bits / 32], the scales [N, K / group_size]",
        shapeText(packed->shape), shapeText(scales->shape), *bits, *size));
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
  constexpr std::string_view convention = "compressed-tensors";
  importEach(context, ".weight_packed", convention,
             [&](const Parts &parts) { return importPackQuantized(context, parts); });
  importEach(
      context, ".weight_scale", convention,
      [&](const Parts &parts) { return importIntQuantized(context, parts); },
      [](const Parts &parts) {
        const Tensor *t = parts.find(".weight");
        return t && t->type == "I8" && t->shape.size() == 2;
      });
  return {};
}

Result<void> qlinear::importMlx(ImportContext &context) {
  importEach(
      context, ".biases", "MLX",
      [&](const Parts &parts) { return importMlxWeight(context, parts); },
      [](const Parts &parts) {
        const Tensor *packed = parts.find(".weight");
        return packed && packed->type == "U32" && packed->shape.size() == 2 &&
               parts.find(".scales");
      });
  return {};
}
