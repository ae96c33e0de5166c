//===- RandomLinear.h - Linears whose results are checked -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A compiled function with random weights and activations, and its expected results:
// float64 products of the exact weights with the activations as the kernels quantize
// them. All rows of a weight are among 256 (RandomWeight), so every result of a call is
// checked, at any N.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_TIMING_RANDOMLINEAR_H
#define QLINEAR_TOOLS_TIMING_RANDOMLINEAR_H

#include "Device.h"
#include "RandomWeight.h"
#include "Reference.h"

#include <nlohmann/json.hpp>
#include <optional>

namespace qlinear::timing {

/// How far results are from the expected ones.
struct Judgement {
  size_t results = 0, wrong = 0; ///< numbers that were compared; beyond the bound
  /// Largest |y - want| / rms of want, without the rounding to the result's type; a NaN
  /// counts as infinity.
  double error = 0;
  std::string first; ///< "y0[3, 17] is 1.5 instead of 0.25": of the wrong ones

  void add(const Judgement &other);
};
/// The bound on Judgement::error, and that where weights and activations are rounded to
/// f16 (kernels for many rows).
inline constexpr double kBound = 1e-4, kHalfBound = 5e-3;

/// The weights of an artifact that are not in it, random, with as many copies of each
/// as are asked for.
class RandomWeights {
public:
  /// `manifest` is the artifact's; both arguments have to outlive this.
  RandomWeights(Device &device, const nlohmann::json &manifest);

  const nlohmann::json &manifest() const { return document; }
  size_t count() const { return slots.size(); }
  /// Makes weight `index` unless it was made.
  Result<const RandomWeight *> get(size_t index);
  /// Makes copies of it, so that there are at least `count`.
  Result<void> makeCopies(size_t index, size_t count);
  void dropCopies(size_t index) { slots[index].blobs.clear(); }
  qlr_blob blob(size_t index, size_t copy) const {
    return {slots[index].blobs[copy].get(), size_t(slots[index].weight->blobBytes())};
  }

private:
  struct Slot {
    std::optional<RandomWeight> weight;
    std::vector<DeviceMemory> blobs; ///< the copies
  };
  Device &device;
  const nlohmann::json &document;
  std::vector<Slot> slots;
};

/// One linear of an artifact: a function of one input whose reference is a single
/// linear without a body, of weights that are not in the artifact.
class RandomLinear {
public:
  /// `function` is the name of one of the module's functions, which takes up to
  /// `mostRows` rows. Fails where that is no such linear. `weights` has to outlive
  /// this.
  static Result<std::unique_ptr<RandomLinear>>
  create(Device &device, qlr_module *module, RandomWeights &weights,
         const std::string &function, int64_t mostRows);
  ~RandomLinear();
  RandomLinear(const RandomLinear &) = delete;
  RandomLinear &operator=(const RandomLinear &) = delete;

  /// Makes copies of the weights, so that there are at least `count`.
  Result<void> makeCopies(size_t count);
  /// Bytes of one copy of the weights.
  uint64_t weightBytes() const;
  /// Bytes of the results of a call.
  size_t resultBytes(int64_t rows) const;

  /// Enqueues y = x W^T with copy `copy` of the weights. Results lie one after the
  /// other at `results`, each at a multiple of 256 bytes. Calls that are under way at
  /// the same time have different `lane`s, below kLanes.
  Result<void> enqueue(size_t copy, int64_t rows, void *results, void *stream,
                       size_t lane = 0) const;
  static constexpr size_t kLanes = 2;

  /// Compares the results of such a call with float64.
  Judgement judge(size_t copy, int64_t rows, std::span<const std::byte> results) const;

private:
  struct Output {
    qlr_dtype dtype;
    int64_t n;
    size_t index;               ///< of the weight, in the manifest
    const RandomWeight *weight; ///< of `weights`
    run::Matrix want;           ///< mostRows x 256
    run::Matrix wantOfFloats;   ///< the same where x is not quantized
  };
  RandomLinear(Device &device, qlr_module *module, RandomWeights &weights)
      : device(device), module(module), weights(weights) {}
  Result<void> describe(const std::string &function);
  Result<void> makeActivations();
  Result<void> multiply();
  size_t outputBytes(const Output &output, int64_t rows) const;
  Judgement judge(const Output &output, size_t position, size_t copy, int64_t rows,
                  std::span<const std::byte> results) const;

  Device &device;
  qlr_module *module;
  RandomWeights &weights;
  int32_t index = -1;
  int64_t mostRows = 0, K = 0;
  bool quantizes = true;  ///< float activations, as kernels for few rows multiply them
  nlohmann::json kernels; ///< the function of the module's target
  run::Array x;
  DeviceMemory xMemory;
  std::vector<Output> outputs;
  qlr_workspace *workspaces[kLanes] = {};
};

} // namespace qlinear::timing
#endif
