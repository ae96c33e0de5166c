//===- Convention.h - What is said beside a checkpoint ----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Tensors of one name mean different weights in different conventions: a zero may be
// stored as it is or less one, a code may be one of 7 bits in 8. The files beside a
// checkpoint say which it is. A convention is taken only if all that they say agrees
// with the tensors: the method, the version of its format, bits, group, and the rules
// for single layers. What contradicts, or is not known, is a reason to refuse.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_IMPORT_CONVENTION_H
#define QLINEAR_LIB_ENCODING_IMPORT_CONVENTION_H

#include "qlinear/Encoding/Archive.h"

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

namespace qlinear {

/// Which importer reads a method's weights.
enum class Family {
  words,
  compressedTensors,
  torchao,
  hqq,
  mlx,
  modelopt,
  bitsandbytes
};

/// How one layer was quantized, as far as it is said.
struct LayerRule {
  std::optional<uint64_t> bits;
  std::optional<uint64_t> group; ///< columns; 0: the whole row
  std::optional<bool> symmetric;
  std::optional<bool> isReordered; ///< desc_act
  bool isQuantized = true;
  std::string mode; ///< MLX's, the data type of others; empty: not said
  std::string from; ///< the entry for this layer, if there is one
};

/// What config.json and its like say of the quantization.
class Declaration {
public:
  /// Fails on a file that is not JSON.
  static Result<Declaration> read(const Checkpoint &checkpoint);

  /// config.json's object; null if there is none.
  const nlohmann::json &config() const { return model; }
  /// The description of the quantization; an empty object if there is none.
  const nlohmann::json &object() const { return description; }
  /// quant_method in lower case; empty if nothing names one.
  const std::string &method() const { return name; }
  /// "quantization_config of config.json"; empty if there is no description.
  const std::string &where() const { return place; }
  /// The string under the first of these keys that has one.
  std::optional<std::string> text(std::initializer_list<const char *> keys) const;

  /// Why weights of this family must not be taken; empty if nothing speaks against it.
  std::string objection(Family family) const;
  /// Whether the method is known here, or none is named.
  bool isKnownMethod() const;
  /// The rules for the layer: one, or several if an entry may mean it under another
  /// prefix (`isLayer` tells whether the checkpoint has a name); the shapes then decide
  /// among them. Fails if an entry cannot be understood.
  Result<std::vector<LayerRule>>
  rulesFor(const std::string &layer,
           const std::function<bool(const std::string &)> &isLayer) const;

  /// Entries for single layers, in the order of the file.
  struct Override {
    std::string key;
    nlohmann::json value;
  };
  const std::vector<Override> &overrides() const { return layers; }
  /// Keys whose meaning is not known here.
  std::vector<std::string> unknownKeys() const;

private:
  nlohmann::json model;
  nlohmann::json description = nlohmann::json::object();
  std::string name, place, defect;
  std::vector<Override> layers;

  bool isOverride(const std::string &key) const;
  void merge(const nlohmann::json &object, const std::string &from);
  void checkNames();
  void readOverrides(const Checkpoint &checkpoint);
};

/// The methods that are read, for messages: "gptq, awq, ...".
std::string knownMethods();

/// Whether a Python regular expression matches a name from its start.
Result<bool> matchesStart(const std::string &pattern, const std::string &name);

/// Whether the two are the same layer but for the prefixes that wrappers add:
/// model.language_model.layers.0.x and language_model.model.layers.0.x.
bool isSameLayer(const std::string &a, const std::string &b);

} // namespace qlinear
#endif
