//===- Reference.h - What a compiled function means, in float64 -*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Evaluates the `reference` of a manifest (docs/artifact.md): linears on the
// dequantized weights, int8 quantization of activations as the kernels define it,
// and elementwise epilogues, all else in float64. Independent of the compiler and of
// the kernels; only the decoder of packed weights is shared.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANTRUN_REFERENCE_H
#define QLINEAR_TOOLS_QUANTRUN_REFERENCE_H

#include "Array.h"
#include "qlinear/Encoding/Codec.h"

#include <functional>
#include <map>
#include <nlohmann/json.hpp>

namespace qlinear::run {

/// The weights of an artifact, unpacked when they are first read, and its constants.
class Weights {
public:
  /// `blob` gives the packed bytes of a weight of the manifest, `constant` a constant
  /// of the artifact, each by its index.
  Weights(const nlohmann::json &manifest,
          std::function<Result<std::span<const std::byte>>(size_t)> blob,
          std::function<Result<Array>(size_t)> constant)
      : constant(std::move(constant)), manifest(manifest), blob(std::move(blob)) {}
  Result<const AffineWeight *> get(size_t index);
  const std::function<Result<Array>(size_t)> constant;

private:
  const nlohmann::json &manifest;
  std::function<Result<std::span<const std::byte>>(size_t)> blob;
  std::map<size_t, AffineWeight> unpacked;
};

struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;
};

/// Where activations are quantized to int8: everywhere where kernels for few rows do;
/// only where the function itself says so, as kernels for many rows do; nowhere, which
/// shows what is lost by it.
enum class Quantized { asForFewRows, asForManyRows, nowhere };

/// The outputs of `function` (an entry of the manifest's functions). `asBytes`: with
/// the weights that products with int8 have (AffineWeight).
Result<std::vector<Matrix>> evaluate(const nlohmann::json &function,
                                     std::span<const Array> inputs, Weights &weights,
                                     Quantized quantized, bool asBytes = false);

/// How the kernels that a call of `rows` rows runs multiply.
struct Products {
  bool half = false;   ///< f16 numbers, to which weights and activations are rounded
  bool floats = false; ///< of activations as they come
};
/// `function` is one of a target's functions.
Products productsOf(const nlohmann::json &function, int64_t rows);

/// What an output is made of, the most on any way from the inputs to it.
struct Behind {
  size_t products = 0; ///< one after the other or in one epilogue: their errors add up
  size_t linears = 0;  ///< one after the other: each quantizes what the one before made
};
Behind behindOutput(const nlohmann::json &function, size_t output);

/// Of how many rows of a weight an input has indices; 0 if it has none.
int64_t rowsToIndex(const nlohmann::json &function, const nlohmann::json &manifest,
                    size_t input);
/// How many rows a cache has for a call of `rows` rows: some more than places are for.
/// `input` is the cache, or with `asPlaces` the places in it; 0 if it is none.
int64_t placesOf(const nlohmann::json &function, size_t input, int64_t rows,
                 bool asPlaces);

/// Whether a part of a function multiplies with quantized activations.
bool quantizes(const nlohmann::json &function, Quantized quantized);

/// Columns that the codes of an i8 input or output (quantized activations) stand
/// for, or 0 where `function` does not say.
int64_t activationColumns(const nlohmann::json &function,
                          const nlohmann::json &manifest, const char *kind,
                          size_t index);

/// Rows of floats as quantized activations and back (ActivationLayout).
Array quantizeActivations(std::span<const float> x, int64_t rows, int64_t columns);
Matrix dequantizeActivations(const Array &codes, int64_t columns);
/// Values as the kernels multiply them: each chunk quantized and back.
Matrix quantizedValues(const Matrix &x);

/// x W^T; x has K columns. Each sum is in the order of k. `asBytes`: as products with
/// int8 have the weight (AffineWeight).
Matrix product(const Matrix &x, const AffineWeight &w, bool asBytes = false);
/// The same of any N x K weights: `rowOf(n, row)` gives those of row n.
using RowReader = std::function<void(uint64_t n, std::span<double> row)>;
Matrix product(const Matrix &x, uint64_t N, const RowReader &rowOf);

/// The experts that each row has chosen: `ids` has `perRow` of each, of which those
/// that are not in 0 .. experts - 1 are of none.
struct Choices {
  int64_t experts, perRow;
  std::vector<double> ids;
};
/// The products of rows, or of their pieces, with the rows of the experts in `w`.
Matrix groupedProduct(const Matrix &x, const Choices &choices, const AffineWeight &w,
                      bool asBytes);
/// An extra of a `kind` (docs/artifact.md) as one of an element for each of `n` columns
/// of each choice, or of one element.
Matrix elementsOfChoices(const Matrix &extra, const std::string &kind,
                         const Choices &choices, int64_t n);
/// 0 and NaN for choices of no expert.
void fillUnknown(Matrix &y, const Choices &choices);
/// The sums of the pieces of rows, times their scales.
Matrix combined(const Matrix &x, const Matrix &scales);
/// How many experts there are, if `input` has ids of experts; else 0.
int64_t expertsOf(const nlohmann::json &function, size_t input);

} // namespace qlinear::run
#endif
