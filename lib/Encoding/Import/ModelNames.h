//===- ModelNames.h - GGUF's names and transformers' ------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// llama.cpp names the tensors of all models alike, and for some architectures it stores
// the rows of the query and key projections in another order than transformers. With D
// rows of a head, row h D + 2 j + i of its tensor is row h D + i D / 2 + j of
// transformers' (i = 0, 1): its rotary embeddings turn neighbours, transformers' the
// two halves of a head. This is the one place that knows.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_IMPORT_MODELNAMES_H
#define QLINEAR_LIB_ENCODING_IMPORT_MODELNAMES_H

#include "ModelKind.h"
#include "qlinear/Encoding/Packer.h"

#include <nlohmann/json.hpp>

namespace qlinear {

/// The counterpart of a GGUF tensor in transformers.
struct Counterpart {
  std::string name;       ///< empty: it has none, or its values are others
  uint64_t heads = 0;     ///< whose rows are in llama.cpp's order; 0: as transformers'
  std::string difference; ///< why it cannot be brought there, if so
};

/// The names of a checkpoint that llama.cpp's converter made, or of an archive of one.
class ModelNames {
public:
  /// Nothing if it is neither.
  static std::optional<ModelNames> of(const Checkpoint &checkpoint);

  bool isHuggingFace() const { return areRenamed; }
  Counterpart of(const Tensor &tensor, uint64_t rows) const;
  /// Nothing if the architecture is not known.
  std::optional<ModelKind> kind() const;
  /// The description of the model that an archive has under "model".
  nlohmann::json about(bool renamed) const;
  /// Why there is no map of these names; empty if there is one.
  std::string defect() const;

private:
  std::string architecture;
  std::optional<uint64_t> heads, kvHeads, headRows;
  bool areRenamed = false;
};

/// Rows of transformers' order, by their number in llama.cpp's.
std::vector<uint64_t> rotaryOrder(uint64_t rows, uint64_t heads);
/// `values`, some for each row, with the rows in this order.
template <typename T>
void permuteRows(std::vector<T> &values, const std::vector<uint64_t> &order) {
  size_t each = values.size() / order.size();
  std::vector<T> out(values.size());
  for (size_t n = 0; n < order.size(); ++n)
    std::copy_n(values.begin() + ptrdiff_t(order[n] * each), each,
                out.begin() + ptrdiff_t(n * each));
  values = std::move(out);
}
void permuteRows(LoadedWeight &weight, const std::vector<uint64_t> &order);

} // namespace qlinear
#endif
