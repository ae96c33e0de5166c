//===- Layers.h - The linear layers of an archive ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Which functions the weights of an archive are compiled to: one for each weight, or,
// of models whose names are known, one for those that share their input: queries, keys
// and values; gate and up of an MLP with the activation between them. A bias of a
// weight is another input of its function. docs/quant-pack.md says it for users.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_LAYERS_H
#define QLINEAR_ENCODING_LAYERS_H

#include "qlinear/Encoding/Archive.h"

#include <optional>
#include <string>
#include <vector>

namespace qlinear {

/// What an MLP does to its gate before it multiplies it with the up projection.
enum class GateActivation { silu, geluTanh };

struct LayerWeight {
  std::string name; ///< in the archive
  uint64_t N = 0, K = 0;
  Encoding encoding;
  std::string bias, biasType; ///< the tensor beside it and its type, "BF16"; or empty
};

/// One function: x W0^T, x W1^T, ...; with `gate` it is gate(x W0^T) * (x W1^T).
struct Layer {
  std::string name; ///< a C identifier
  std::vector<LayerWeight> weights;
  std::optional<GateActivation> gate;
};

/// The functions, in the order of their names (numbers by their value).
std::vector<Layer> layersOf(const Archive &archive);

/// A module of these functions, whose x and results have this element type ("f32",
/// "f16" or "bf16"), and which refers to the weights by their names. `source` names the
/// archive in its first line.
std::string layersAsMlir(const std::vector<Layer> &layers, const std::string &dtype,
                         const std::string &source);

/// MLIR's name of a float type of safetensors: "bf16" of "BF16".
std::string mlirFloatType(const std::string &type);

} // namespace qlinear
#endif
