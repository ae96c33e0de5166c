//===- ImportTorchao.cpp - Checkpoints of torchao -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// torchao flattens a tensor subclass M.weight into tensors M._weight_PART (version
// 0.14: M.weight:PART), and describes it in __metadata__ under "M.weight" as JSON:
//   {"_type": CLASS, "_data": {"block_size": [1, g], ...}, "_tensor_data_names": [...]}
// Classes with plain codes, of an N x K weight in G groups of g columns:
//   Int4Tensor            qdata I8 [N, K/2], signed nibbles, the even column low;
//                         scale, zero_point floats [G, N]; w = scale q + zero_point
//   Int4PlainInt32Tensor  qdata I32 [N, K/8], unsigned nibbles, lowest first;
//                         scale floats, zero_point I8 [G, N]; w = scale (q -
//                         zero_point)
//   IntxUnpackedToInt8Tensor, Int8Tensor
//                         qdata I8 [N, K], scale, zero_point (I8, floats or none) one
//                         per block; w = scale (q - zero_point)
// The others hold codes in the order of one kernel of torchao's, or floats.
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

#include <algorithm>

using namespace qlinear;
using nlohmann::json;

namespace {

/// A flattened subclass: its description and its tensors.
class Subclass {
public:
  Subclass(ImportContext &context, const std::string &name, const json &description)
      : context(context), name(name), parts(context.checkpoint, name),
        type(*jsonString(description, "_type")) {
    if (auto data = description.find("_data");
        data != description.end() && data->is_object())
      attributes = *data;
    size_t dot = name.rfind('.');
    std::string module = dot == name.npos ? "" : name.substr(0, dot + 1);
    std::string leaf = dot == name.npos ? name : name.substr(dot + 1);
    for (const std::string &prefix : {module + "_" + leaf + "_", name + ":"})
      for (const Tensor *t : context.checkpoint.startingWith(prefix)) {
        tensors.push_back(t);
        byPart.emplace(t->name.substr(prefix.size()), t);
      }
  }

  Result<void> import();
  const std::vector<const Tensor *> &all() const { return tensors; }
  Error bad(const std::string &what) const {
    return parts.bad(fmt::format("{}: {}", type, what));
  }

private:
  Result<void> importInt4();
  Result<void> importInts();
  Result<void> checkGroups(uint64_t G, uint64_t K, unsigned &group) const;
  void add(CodeType codes, unsigned group, uint64_t N, uint64_t K,
           std::function<Result<AffineWeight>()> load);

  const Tensor *find(const char *part) const {
    auto at = byPart.find(part);
    return at == byPart.end() ? nullptr : at->second;
  }
  std::string textOf(const char *part) const {
    const Tensor *t = find(part);
    return t ? t->type + " of " + shapeText(t->shape) : "absent";
  }
  /// Columns of a block as the metadata says; 0 if it does not.
  uint64_t blockColumns() const {
    auto size = jsonNumbers(attributes, "block_size");
    return size && size->size() == 2 ? (*size)[1] : 0;
  }

  ImportContext &context;
  std::string name;
  Parts parts;
  std::string type;
  json attributes = json::object();
  std::vector<const Tensor *> tensors;
  std::map<std::string, const Tensor *, std::less<>> byPart;
};

void Subclass::add(CodeType codes, unsigned group, uint64_t N, uint64_t K,
                   std::function<Result<AffineWeight>()> load) {
  addAffine(context, parts,
            {"torchao", type, "its metadata", find("zero_point") ? "as stored" : ""},
            formatName("torchao", codes, group), N, K, tensors, std::move(load));
  context.weights.back().name = name;
  context.weights.back().metadataKey = name;
}

Result<void> Subclass::checkGroups(uint64_t G, uint64_t K, unsigned &group) const {
  auto found = groupOf(K, G);
  if (!found)
    return bad(unknownGroups(G, K));
  if (uint64_t columns = blockColumns(); columns && columns * G != K)
    return bad(fmt::format("{} groups of K = {} columns, but block_size = [1, {}]", G,
                           K, columns));
  group = *found;
  return {};
}

/// Int4Tensor and Int4PlainInt32Tensor.
Result<void> Subclass::importInt4() {
  bool isSigned = type == "Int4Tensor";
  const Tensor *q = find("qdata"), *scale = find("scale"), *zero = find("zero_point");
  bool isCodes = q && (isSigned ? q->type == "I8" || q->type == "U8" : isInt32(q));
  if (!isCodes || q->shape.size() != 2 || !q->shape[0] || !q->shape[1])
    return bad(fmt::format("qdata must be an {} matrix, but is {}; only matrices are "
                           "linear weights",
                           isSigned ? "I8" : "I32", textOf("qdata")));
  uint64_t N = q->shape[0], K = q->shape[1] * (isSigned ? 2 : 8);
  if (!isFloat(scale) || scale->shape.size() != 2 || scale->shape[1] != N)
    return bad(fmt::format("scale must be floats [groups, N = {}], but is {}", N,
                           textOf("scale")));
  uint64_t G = scale->shape[0];
  bool isZero = zero && zero->shape == scale->shape &&
                (isSigned ? isFloat(zero) : zero->type == "I8");
  if (!isZero)
    return bad(fmt::format(
        "zero_point must be {} of {}, but is {}{}", isSigned ? "floats" : "I8",
        shapeText(scale->shape), textOf("zero_point"),
        isSigned
            ? ""
            : "; the form for NPUs, with float zeros, has codes in another order"));
  unsigned group = 0;
  if (auto r = checkGroups(G, K, group); !r)
    return r;
  add({4, isSigned}, group, N, K, [=]() -> Result<AffineWeight> {
    AffineWeight w{N,  K, {4, isSigned}, group, isSigned ? Form::min : Form::zero, {},
                   {}, {}};
    auto scales = toFloats(*scale);
    if (!scales)
      return scales.takeError();
    std::vector<float> zeros;
    if (isSigned) {
      auto floats = toFloats(*zero);
      if (!floats)
        return floats.takeError();
      zeros = std::move(*floats);
      for (float &z : zeros)
        z = -z;
    } else {
      for (std::byte z : zero->bytes)
        zeros.push_back(float(int8_t(z)));
    }
    w.scales.resize(N * G);
    w.offsets.resize(N * G);
    for (uint64_t n = 0; n < N; ++n)
      for (uint64_t g = 0; g < G; ++g) {
        w.scales[n * G + g] = (*scales)[g * N + n];
        w.offsets[n * G + g] = zeros[g * N + n];
      }
    w.fields.resize(N * K);
    // A word of lowest-first nibbles has the bytes of pairs with the even one low.
    uint8_t flip = isSigned ? 8 : 0;
    for (uint64_t i = 0; i < N * K / 2; ++i) {
      auto byte = uint8_t(q->bytes[i]);
      w.fields[2 * i] = (byte & 15) ^ flip;
      w.fields[2 * i + 1] = uint8_t(byte >> 4) ^ flip;
    }
    return w;
  });
  return {};
}

/// IntxUnpackedToInt8Tensor and Int8Tensor.
Result<void> Subclass::importInts() {
  uint64_t bits = 8;
  if (type != "Int8Tensor") {
    auto target = attributes.find("target_dtype");
    std::string text = target != attributes.end() && target->is_object()
                           ? jsonString(*target, "_data").value_or("")
                           : "";
    bits = text.size() == 4 && text.starts_with("int") ? uint64_t(text[3] - '0') : 0;
    if (bits < 1 || bits > 8)
      return bad(fmt::format("target_dtype {} of its metadata is none of int1 to int8",
                             inQuotes(text)));
  }
  IntTensors t{find("qdata"), find("scale"), find("zero_point"), codeBitsFor(bits),
               blockColumns()};
  auto plan = t.plan(parts);
  if (!plan)
    return plan.takeError();
  bool isSigned = !t.zeros || t.zeros->type != "I8";
  add({uint8_t(t.bits), isSigned}, plan->group, plan->N, plan->K,
      [t, plan = *plan, name = name] { return t.load(plan, name); });
  return {};
}

Result<void> Subclass::import() {
  if (find("act_pre_scale"))
    return bad("has act_pre_scale, which multiplies the activations before the layer; "
               "fold it into the layer before, or quantize the model again without it");
  if (type == "Int4Tensor" || type == "Int4PlainInt32Tensor")
    return importInt4();
  if (type == "Int8Tensor" || type == "IntxUnpackedToInt8Tensor")
    return importInts();
  return bad("its codes are floats or in the order of one kernel; read are Int4Tensor, "
             "Int4PlainInt32Tensor, Int8Tensor and IntxUnpackedToInt8Tensor: quantize "
             "the model "
             "again with Int4WeightOnlyConfig(int4_packing_format=\"plain\"), "
             "Int8WeightOnlyConfig or IntxWeightOnlyConfig");
}

} // namespace

Result<void> qlinear::importTorchao(ImportContext &context) {
  const auto &metadata = context.checkpoint.metadata();
  if (context.checkpoint.isGguf() || metadata.contains("qlinear"))
    return {};
  for (const auto &[name, text] : metadata) {
    if (!text.starts_with('{'))
      continue;
    auto description = parseJson(text, /*maxDepth=*/16);
    if (!description || !description->value.is_object())
      continue;
    auto type = jsonString(description->value, "_type");
    if (!type || *type == "Tensor")
      continue;
    Subclass subclass(context, name, description->value);
    if (subclass.all().empty()) // in another shard
      continue;
    std::string objection = context.declared.objection(Family::torchao);
    auto r =
        objection.empty() ? subclass.import() : Result<void>(subclass.bad(objection));
    if (!r)
      context.addUnreadable(name, "torchao " + *type, subclass.all(), r.error());
  }
  return {};
}
