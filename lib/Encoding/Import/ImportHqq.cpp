//===- ImportHqq.cpp - Checkpoints of HQQ ---------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The state of a layer X as safetensors, from hqq itself or from transformers. With R
// groups in all,
//   X.W_q      bytes, R x group codes row after row: one to a byte (8, 6 and 5 bits),
//   or
//              (4 bits) the first half of them in the high nibbles, the second half in
//              the low ones; of any dtype ("view_as_float")
//   X.scale, X.zero   [R, 1], or one number if not channel-wise
//   X.nbits, X.group_size, X.axis   integers; X.shape = N, K; X.packing text as bytes
//   w = (q - zero) scale
// With axis = 1 groups run along the rows of the weight; with axis = 0 column j of
// [group, R] is a group, which lies across rows.
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

#include <algorithm>
#include <cstring>

using namespace qlinear;

namespace {

struct Source {
  const Tensor *codes, *scales, *zeros;
  uint64_t N, K, G;
  unsigned bits, group;

  Result<AffineWeight> load() const;
};

Result<AffineWeight> Source::load() const {
  AffineWeight w{N, K, {uint8_t(bits), false}, group, Form::zero, {}, {}, {}};
  auto scale = toFloats(*scales), zero = toFloats(*zeros);
  if (!scale)
    return scale.takeError();
  if (!zero)
    return zero.takeError();
  scale->resize(N * G, scale->front());
  zero->resize(N * G, zero->front());
  w.scales = std::move(*scale);
  w.offsets = std::move(*zero);
  w.fields.resize(N * K);
  const auto *bytes = reinterpret_cast<const uint8_t *>(codes->bytes.data());
  if (bits == 4) {
    uint64_t half = N * K / 2;
    for (uint64_t i = 0; i < half; ++i) {
      w.fields[i] = bytes[i] >> 4;
      w.fields[half + i] = bytes[i] & 15;
    }
    return w;
  }
  memcpy(w.fields.data(), bytes, N * K);
  auto large = std::find_if(w.fields.begin(), w.fields.end(),
                            [&](unsigned q) { return q >> bits != 0; });
  if (large != w.fields.end())
    return error(fmt::format(
        "tensor {}: the code {} at row {}, column {} has more than "
        "{} bits; the file is damaged",
        inQuotes(codes->name), *large, uint64_t(large - w.fields.begin()) / K,
        uint64_t(large - w.fields.begin()) % K, bits));
  return w;
}

bool isInteger(const Tensor *t) {
  return t && (t->type == "I32" || t->type == "I64" || t->type == "U8");
}

/// The text that HQQ stores as one byte per character; empty if there is none.
std::string textOf(const Tensor *t) {
  if (!t || t->type != "U8")
    return "";
  return std::string(reinterpret_cast<const char *>(t->bytes.data()), t->bytes.size());
}

Result<void> importWeight(ImportContext &context, const Parts &parts) {
  uint64_t numbers[3];
  const char *names[] = {".nbits", ".group_size", ".axis"};
  for (int i = 0; i < 3; ++i) {
    const Tensor *t = parts.find(names[i]);
    if (i == 0 && isFloat(t))
      return parts.bad("codes of a fraction of bits; 4, 5, 6 and 8 bits are read: "
                       "quantize the model again with nbits = 4");
    if (!isInteger(t) || checkedProduct(t->shape) != 1)
      return parts.bad(
          fmt::format("has .W_q, but {} is {}, not one integer; "
                      "HQQ's own safetensors state has it",
                      names[i], t ? t->type + " of " + shapeText(t->shape) : "absent"));
    numbers[i] = integerAt(*t, 0);
  }
  auto [bits, size, axis] = numbers;
  const Tensor *shape = parts.find(".shape");
  if (!isInteger(shape) || shape->shape != std::vector<uint64_t>{2})
    return parts.bad("has .W_q, but .shape is not two integers, N and K");
  Source s{parts.find(".W_q"),   parts.find(".scale"),
           parts.find(".zero"),  integerAt(*shape, 0),
           integerAt(*shape, 1), 0,
           unsigned(bits),       0};
  if (bits != 4 && bits != 5 && bits != 6 && bits != 8)
    return parts.bad(
        fmt::format("codes of {} bits; 4, 5, 6 and 8 are read: quantize the "
                    "model again with nbits = 4",
                    bits));
  if (!isFloat(s.scales) || !isFloat(s.zeros))
    return parts.bad(fmt::format(
        ".scale and .zero must be floats, but are {} and {}; quantize the model again "
        "without quant_scale, quant_zero and offload_meta",
        s.scales ? s.scales->type : "absent", s.zeros ? s.zeros->type : "absent"));
  auto weights = checkedProduct({s.N, s.K});
  if (!weights || !*weights || !size || *weights % size || (bits == 4 && *weights % 2))
    return parts.bad(fmt::format("a weight of {}x{} does not divide into groups of {}",
                                 s.N, s.K, size));
  auto scales = checkedProduct(s.scales->shape), zeros = checkedProduct(s.zeros->shape);
  bool isOneScale = scales == 1 && zeros == 1;
  if (axis != 1 && !isOneScale)
    return parts.bad(fmt::format(
        "groups of {} along axis {}, across the rows of the weight, while kernels need "
        "them along its {} columns; quantize the model again with axis = 1",
        size, axis, s.K));
  if (!isOneScale && s.K % size)
    return parts.bad(fmt::format(
        "K = {} is not a multiple of the group size {}, so groups cross rows; quantize "
        "the model again with a group size that divides K",
        s.K, size));
  s.G = isOneScale ? 1 : s.K / size;
  auto group = groupOf(s.K, s.G);
  if (!group)
    return parts.bad(unknownGroups(s.G, s.K));
  s.group = *group;
  if (!isOneScale && (scales != s.N * s.G || zeros != s.N * s.G))
    return parts.bad(fmt::format(".scale {} and .zero {} must have one number for each "
                                 "of the {} groups of {} in "
                                 "{}x{} weights",
                                 shapeText(s.scales->shape), shapeText(s.zeros->shape),
                                 s.N * s.G, size, s.N, s.K));
  std::string packing = textOf(parts.find(".packing"));
  std::string expected = bits == 4 ? "4bit_u8" : "8bit_u8";
  if (!packing.empty() && packing != expected)
    return parts.bad(fmt::format("packing {}; {}-bit codes are read as {}",
                                 inQuotes(packing), bits, expected));
  uint64_t bytes = bits == 4 ? *weights / 2 : *weights;
  if (s.codes->bytes.size() != bytes)
    return parts.bad(
        fmt::format(".W_q has {} bytes, but {}x{} codes of {} bits take {}",
                    s.codes->bytes.size(), s.N, s.K, bits, bytes));
  std::vector<const Tensor *> tensors = {s.codes, s.scales, s.zeros};
  for (const Tensor *t : parts.all())
    if (std::find(tensors.begin(), tensors.end(), t) == tensors.end())
      tensors.push_back(t);
  addAffine(context, parts, {"HQQ", "", "the layer's own tensors", "as stored"},
            formatName("HQQ", {uint8_t(bits), false}, s.group), s.N, s.K,
            std::move(tensors), [s] { return s.load(); });
  return {};
}

} // namespace

Result<void> qlinear::importHqq(ImportContext &context) {
  importEach(context, Family::hqq, ".W_q", "HQQ",
             [&](const Parts &parts) { return importWeight(context, parts); });
  return {};
}
