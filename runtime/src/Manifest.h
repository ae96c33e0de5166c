//===- Manifest.h - What an artifact says about itself ----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The manifest of docs/artifact.md as checked data: every index is in range,
// every count is bounded, every kernel has what its target needs.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_MANIFEST_H
#define QLINEAR_RUNTIME_MANIFEST_H

#include "Status.h"
#include "qlinear/Support/Chips.h"

#include <optional>
#include <string_view>
#include <vector>

namespace qlinear::runtime {

/// A dimension of size M, the rows of a call.
inline constexpr int64_t kDynamic = -1;
/// The first dimension of a cache, an input that is written: as many rows as it has.
inline constexpr int64_t kPlaces = -2;

struct WeightInfo {
  std::string name, encoding;
  uint64_t n = 0, k = 0, bytes = 0;
  std::string image;    ///< the blob, if it lies in the artifact; else ""
  std::string checksum; ///< of the weight that it was compiled for; may be empty
};

/// A tensor that lies in the artifact.
struct ConstantInfo {
  std::string image;
  uint64_t bytes = 0;
};

struct TensorInfo {
  qlr_dtype dtype = QLR_F32;
  std::vector<int64_t> shape;
  uint64_t align = 16;
  bool isDynamic() const { return !shape.empty() && shape[0] == kDynamic; }
  bool isCache() const { return !shape.empty() && shape[0] == kPlaces; }
};

struct TempInfo {
  uint64_t bytes = 0, bytesPerRow = 0;
  bool zero = false;
};

/// A kernel variant for up to `rows` rows. Host code cuts `items` among threads;
/// the other targets launch `grid` blocks.
struct KernelInfo {
  int64_t rows = 0;
  std::string name;
  uint32_t grid = 0, block = 0, smem = 0;
  int64_t items = 0;
  /// A kernel, or none, that is launched before it with the same arguments.
  std::vector<KernelInfo> before;
};

struct ArgInfo {
  /// places: the number of rows of an input that is a cache, in a pointer's place.
  enum class Kind { weight, constant, input, output, temp, places };
  Kind kind = Kind::weight;
  uint32_t index = 0;
  uint64_t rowStride = 0; ///< bytes; 0: the pointer is the same for every chunk
};

struct StepInfo {
  std::vector<KernelInfo> kernels; ///< by ascending rows
  /// Calls f for every kernel, also those before others.
  template <typename F> Status forEachKernel(F f) const {
    for (const KernelInfo &kernel : kernels) {
      for (const KernelInfo &before : kernel.before)
        QLR_TRY(f(before));
      QLR_TRY(f(kernel));
    }
    return {};
  }
  std::vector<ArgInfo> args;
  bool pdl = false;
};

struct FunctionInfo {
  std::string name;
  std::vector<TensorInfo> inputs, outputs;
  std::vector<TempInfo> temps;
  std::vector<StepInfo> steps;
  int64_t rows = kDynamic; ///< fixed number of rows, or kDynamic
};

/// Device code of a CUDA target.
struct ImageInfo {
  enum class Kind { cubin, ptx };
  Kind kind = Kind::cubin;
  std::string name, version; ///< version: of the PTX language, "8.0"
};

struct TargetInfo {
  std::string target;
  std::vector<ImageInfo> images;
  std::vector<FunctionInfo> functions;

  bool isCpu() const { return target.starts_with("cpu:"); }
  bool isEmulated() const { return target == "cuda:emulated"; }
  bool isCuda() const { return !isCpu() && !isEmulated(); }
  /// The chip of a CUDA target.
  std::optional<ChipName> chip() const;
};

struct Manifest {
  std::string producer;
  std::vector<WeightInfo> weights;
  std::vector<ConstantInfo> constants;
  std::vector<TargetInfo> targets;

  /// Fails with QLR_BAD_ARTIFACT, naming the field:
  /// "manifest: targets[0].functions[1].steps[0].args[2].weight is 7, but ...".
  static Expected<Manifest> parse(std::string_view json);
};

const char *name(int32_t dtype);
size_t byteWidth(int32_t dtype);

} // namespace qlinear::runtime
#endif
