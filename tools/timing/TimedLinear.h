//===- TimedLinear.h - Linears whose results are checked -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A compiled function with random or given weights, random activations, and its
// expected results: float64 products of the exact weights with the activations as the
// kernels quantize them. Every result of a call is checked: all rows of a random
// weight, of any N, are among 256 (TimedWeight).
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_TIMING_TIMEDLINEAR_H
#define QLINEAR_TOOLS_TIMING_TIMEDLINEAR_H

#include "Device.h"
#include "Reference.h"
#include "TimedWeight.h"

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

/// The weights of an artifact that are not in it, given or else random, with as many
/// copies of each as are asked for.
class TimedWeights {
public:
  /// `manifest` is the artifact's; both arguments have to outlive this.
  TimedWeights(Device &device, const nlohmann::json &manifest);

  const nlohmann::json &manifest() const { return document; }
  size_t count() const { return slots.size(); }
  /// Gives weight `index` its values, before anything else is done with it.
  void set(size_t index, TimedWeight weight) {
    slots[index].weight = std::move(weight);
  }
  /// Makes weight `index` unless it was made.
  Result<const TimedWeight *> get(size_t index);
  /// Makes copies of it, so that there are at least `count`.
  Result<void> makeCopies(size_t index, size_t count);
  void dropCopies(size_t index) { slots[index].blobs.clear(); }
  qlr_blob blob(size_t index, size_t copy) const {
    return {slots[index].blobs[copy].get(), size_t(slots[index].weight->blobBytes())};
  }

private:
  struct Slot {
    std::optional<TimedWeight> weight;
    std::vector<DeviceMemory> blobs; ///< the copies
  };
  Device &device;
  const nlohmann::json &document;
  std::vector<Slot> slots;
};

/// One linear of an artifact: a function of one input whose reference is a single
/// linear without a body, of weights that are not in the artifact.
class TimedLinear {
public:
  /// `function` is the name of one of the module's functions, which takes up to
  /// `mostRows` rows. Fails where that is no such linear. `weights` has to outlive
  /// this.
  static Result<std::unique_ptr<TimedLinear>> create(Device &device, qlr_module *module,
                                                     TimedWeights &weights,
                                                     const std::string &function,
                                                     int64_t mostRows);
  ~TimedLinear();
  TimedLinear(const TimedLinear &) = delete;
  TimedLinear &operator=(const TimedLinear &) = delete;

  /// Makes copies of the weights, so that there are at least `count`.
  Result<void> makeCopies(size_t count);
  /// x, of as many rows as a call may have.
  const run::Array &activations() const { return x; }
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
    size_t index;              ///< of the weight, in the manifest
    const TimedWeight *weight; ///< of `weights`
    run::Matrix want;          ///< mostRows x rows of the weight
    run::Matrix wantOfFloats;  ///< the same where x is not quantized
  };
  TimedLinear(Device &device, qlr_module *module, TimedWeights &weights)
      : device(device), module(module), weights(weights) {}
  Result<void> describe(const std::string &function);
  Result<void> makeActivations();
  Result<void> multiply();
  size_t outputBytes(const Output &output, int64_t rows) const;
  Judgement judge(const Output &output, size_t position, size_t copy, int64_t rows,
                  std::span<const std::byte> results) const;

  Device &device;
  qlr_module *module;
  TimedWeights &weights;
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
