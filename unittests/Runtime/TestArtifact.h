//===- TestArtifact.h - A hand-made artifact --------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One artifact with host, emulated and CUDA code for two functions, whose kernels
// are plain C++ here. `linear` stages its input in a temp and multiplies:
//   linear: x[M, 64] f32 -> y[M, 48] f32;  matvec: x[64] f32 -> y[48] f32
// The kernels compare the weight with what was packed, so that a wrong or partial
// upload shows in the result.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_TESTARTIFACT_H
#define QLINEAR_UNITTESTS_TESTARTIFACT_H

#include "qlinear-runtime/artifact.h"
#include "qlinear-runtime/runtime.h"

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

inline constexpr int64_t kN = 48, kK = 64;
inline constexpr const char *kEncoding =
    "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>";

/// A descriptor and what it points to.
class TestArtifact {
public:
  TestArtifact(); ///< all targets of testManifest(), with their kernels
  nlohmann::json manifest;
  /// Adds or replaces an image; PTX and cubins as text.
  void setImage(const std::string &name, const std::string &text);
  void setKernel(const std::string &name, void *function);
  void removeImage(const std::string &name);
  /// The descriptor, valid until the next change.
  qlinear_artifact_v1 *descriptor();

private:
  struct Image {
    std::string name, text;
    void *function;
  };
  std::vector<Image> images;
  std::vector<qlinear_image> table;
  std::string json;
  qlinear_artifact_v1 raw{};
};

nlohmann::json testManifest();

/// The blob of the test's weight, and the weights it stands for (N x K).
struct TestWeight {
  std::vector<char> bytes; ///< storage of the aligned blob
  char *blob = nullptr;
  size_t size = 0;
  std::vector<double> values;
  TestWeight();
};
const TestWeight &testWeight();

/// Writes a packed archive with the weight "w", and returns its path. A weight of
/// another shape or encoding has the bytes placeByte(i).
std::string writeTestArchive(const std::string &name, const std::string &weight = "w",
                             const std::string &encoding = kEncoding, int64_t n = kN,
                             int64_t k = kK, const std::string &checksum = "");
std::byte placeByte(size_t i);
/// A path for a file of this test program.
std::string temporary(const std::string &name);
/// The library of the fake driver, which lies beside this program; and the runtime's.
std::string fakeDriverPath();
std::string runtimePath();

/// x with M rows, and x · Wᵀ in float64.
std::vector<float> randomInput(int64_t rows, unsigned seed = 1);
std::vector<double> expected(const std::vector<float> &x);
/// Largest |y - expected| / |expected|, in the 2-norm over all.
double relativeError(const std::vector<float> &y, const std::vector<double> &want);

qlr_tensor matrix(void *data, int64_t rows, int64_t columns);

/// What the kernels saw: rows of each launch of the linear kernels, in order.
std::vector<int> takeChunks();

/// Registers the kernels with the fake driver.
class FakeCuda;
void registerTestKernels(FakeCuda &fake);

#endif
