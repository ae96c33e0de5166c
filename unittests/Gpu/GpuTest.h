//===- GpuTest.h - Compiled layers for tests on a device --------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The tests of this folder run where the GPU suite runs. Environment:
//   QLINEAR_TEST_DEVICE   the device, default "cuda"; what needs CUDA is skipped on
//                         others
//   QLINEAR_TEST_DIR      the folder of the suite's entry `runtime`: runtime.so (a
//                         linear and a chain of two, compiled for the device),
//                         runtime.safetensors, other.*.so (the same for other
//                         architectures), mgpu-*.so
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_GPUTEST_H
#define QLINEAR_UNITTESTS_GPUTEST_H

#include "../../runtime/src/cuda/Driver.h"
#include "../Runtime/Handles.h"
#include "Reference.h"
#include "qlinear/Encoding/Archive.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <map>

namespace gpu {

std::string deviceName();
/// A file of the entry.
std::string file(const std::string &name);
bool isCuda();
#define NEEDS_CUDA()                                                                   \
  if (!gpu::isCuda())                                                                  \
  GTEST_SKIP() << gpu::deviceName() << " is not a CUDA device"

/// The driver with the primary context of one device current on this thread: the
/// application's own use of CUDA beside the runtime.
class Driver {
  std::shared_ptr<const qlinear::runtime::cuda::Driver> api;
  qlinear::runtime::cuda::DeviceId id = 0;

public:
  explicit Driver(int ordinal = 0);
  ~Driver();
  const qlinear::runtime::cuda::Driver *operator->() const { return api.get(); }
  size_t freeMemory() const;
  static int deviceCount();
};
/// The driver's call succeeds, or the test ends.
#define CUDA_OK(call) ASSERT_EQ(call, 0)

/// An artifact whose manifest and images can be changed before it is loaded.
class EditableArtifact {
public:
  explicit EditableArtifact(const std::string &path);
  ~EditableArtifact();
  EditableArtifact(const EditableArtifact &) = delete;
  nlohmann::json manifest;
  std::map<std::string, std::string> images; ///< device code
  const void *descriptor();
  /// The one CUDA target.
  nlohmann::json &target();
  void dropImages(const std::string &kind);

private:
  void *library;
  std::vector<qlinear_image> rest; ///< host code: functions
  std::string text;
  std::vector<qlinear_image> table;
  qlinear_artifact_v1 raw{};
};

/// Device memory of one tensor.
class DeviceArray {
  qlr_device *device;
  void *ptr = nullptr;

public:
  DeviceArray(qlr_device *device, size_t bytes);
  ~DeviceArray() { qlr_free(device, ptr); }
  DeviceArray(const DeviceArray &) = delete;
  void *get() const { return ptr; }
};

/// A function of runtime.so with its tensors for `rows` rows.
class Layer {
public:
  Layer(qlr_device *device, qlr_module *module, const std::string &function,
        int64_t rows);
  /// Uploads random inputs; keeps them for check().
  qlr_status upload(unsigned seed, void *stream);
  qlr_status call(void *stream);
  qlr_status download(void *stream);
  /// Relative error of what was downloaded against float64, in the 2-norm.
  double error() const;
  const std::vector<std::byte> &result() const { return output.bytes; }
  const qlr_tensor &inputTensor() const { return in; }
  const qlr_tensor &outputTensor() const { return out; }
  /// Makes the next result one that error() refuses.
  qlr_status poison(void *stream);

private:
  qlr_device *device;
  qlr_module *module;
  std::string name;
  int32_t index;
  qlinear::run::Array input, output;
  DeviceArray x, y;
  Workspace workspace;
  qlr_tensor in, out;
};
/// What error() has to stay below: int8 activations are part of the reference, so
/// what is left are sums in f32 and one rounding to bf16.
inline constexpr double kBound = 4e-3;

/// runtime.so with its weights on the device under test.
struct Layers : testing::Test {
  Device device{deviceName().c_str()};
  std::string archive = file("runtime.safetensors");
  EditableArtifact artifact{file("runtime.so")};
  void SetUp() override { ASSERT_EQ(device.status, QLR_OK) << qlr_last_error(); }
  /// Loads the artifact as it stands and runs both functions.
  void expectRuns(const std::string &code);
  std::string loadError(qlr_status expected);
};

/// Runs a test of this program, named DISABLED_..., in a process of its own.
struct Child {
  int status = -1; ///< exit code; 128 + signal
  std::string output;
  explicit Child(const std::string &test);
};

bool contains(const std::string &text, const std::string &part);

} // namespace gpu
#endif
