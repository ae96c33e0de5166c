//===- ImportCommon.cpp - What importers share ----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

using namespace qlinear;

std::vector<std::string> qlinear::prefixesOf(const ImportContext &context,
                                             std::string_view suffix) {
  std::vector<std::string> out;
  for (const Tensor &t : context.checkpoint.tensors())
    if (t.name.size() > suffix.size() && t.name.ends_with(suffix) &&
        !context.claimed.contains(&t))
      out.push_back(t.name.substr(0, t.name.size() - suffix.size()));
  return out;
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

std::optional<unsigned> qlinear::groupOf(uint64_t K, uint64_t G) {
  if (G == 1)
    return kWholeRow;
  for (unsigned group : {16u, 32u, 64u, 128u, 256u})
    if (G && K == G * group)
      return group;
  return std::nullopt;
}

std::string qlinear::formatName(std::string_view convention, CodeType codes,
                                unsigned group) {
  return fmt::format("{} {}{}:{}", convention, codes.isSigned ? 'i' : 'u', codes.bits,
                     group == kWholeRow ? "row" : std::to_string(group));
}

void qlinear::addAffine(ImportContext &context, const Parts &parts, std::string format,
                        uint64_t N, uint64_t K, std::vector<const Tensor *> tensors,
                        std::function<Result<AffineWeight>()> load) {
  SourceWeight w;
  w.name = parts.name();
  w.format = std::move(format);
  w.N = N;
  w.K = K;
  w.parts = std::move(tensors);
  w.load = [load = std::move(load)]() -> Result<LoadedWeight> {
    auto weight = load();
    if (!weight)
      return weight.takeError();
    return LoadedWeight(std::move(*weight));
  };
  context.add(std::move(w));
}
