//===- LayerGroups.h - Weights that share their input -----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_PACKER_LAYERGROUPS_H
#define QLINEAR_LIB_ENCODING_PACKER_LAYERGROUPS_H

#include "../Import/ModelKind.h"
#include "qlinear/Encoding/Layers.h"

namespace qlinear {

/// A tensor that is no packed weight.
struct LayerTensor {
  std::string type;
  std::vector<uint64_t> shape;
};

/// The functions that these weights make, of all tensors of an archive.
std::vector<Layer> groupLayers(std::vector<LayerWeight> weights,
                               const std::map<std::string, LayerTensor> &others,
                               const std::optional<ModelKind> &kind);

} // namespace qlinear
#endif
