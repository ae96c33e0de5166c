//===- ModelKind.h - Which model a checkpoint is of -------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Names of tensors say which weights share their input only where the model is known:
// general.architecture of GGUF, or model_type and hidden_act of transformers'
// config.json. An archive keeps the second under "model", since it may be moved away
// from its checkpoint's config.json.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_IMPORT_MODELKIND_H
#define QLINEAR_LIB_ENCODING_IMPORT_MODELKIND_H

#include "qlinear/Encoding/Layers.h"

#include <nlohmann/json.hpp>

namespace qlinear {

/// A model that is known here.
struct ModelKind {
  std::string architecture;
  std::optional<GateActivation> gate; ///< nothing: another than those

  /// Nothing if it is not known.
  static std::optional<ModelKind> of(const Checkpoint &checkpoint);

  /// The description that an archive of transformers' names has under "model".
  nlohmann::json about() const;
};

} // namespace qlinear
#endif
