//===- Session.h - An artifact on a device, with host arrays ----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANTRUN_SESSION_H
#define QLINEAR_TOOLS_QUANTRUN_SESSION_H

#include "Array.h"
#include "Device.h"
#include "qlinear/Encoding/Archive.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

namespace qlinear::run {

using timing::DeviceMemory;

/// Which checksums of an archive are compared with its weights when it is loaded: none,
/// those of an archive that has them, or all (one without is an error).
enum class WeightChecks { none, ifThere, all };

/// The module of one artifact on one device.
class Session {
public:
  static Result<std::unique_ptr<Session>> open(const std::string &artifact,
                                               const std::string &device,
                                               const std::string &weights,
                                               WeightChecks checks);
  ~Session();
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  qlr_device *device() const { return dev; }
  qlr_module *module() const { return mod; }
  const std::string &deviceName() const { return name; }
  /// The target of the artifact whose code runs.
  std::string target() const { return qlr_module_target(mod); }
  /// The code itself: the same, or on CUDA the image, "cuda:sm_90/cubin".
  std::string code() const { return qlr_module_code(mod); }
  bool isCuda() const { return name.starts_with("cuda"); }
  const nlohmann::json &manifest() const { return document; }
  /// Null without --weights.
  const Archive *archive() const { return weights ? &*weights : nullptr; }
  /// The packed blob of a weight of the manifest, which lies in the artifact or in the
  /// archive.
  Result<std::span<const std::byte>> blob(size_t weight) const;
  /// The weights that the steps of a function read, as indices into the manifest's.
  std::set<size_t> weightsOf(const std::string &function) const;
  /// A constant of the artifact.
  Result<Array> constant(size_t index) const;

  /// Keeps memory that the module is bound to as long as the module.
  void keep(std::vector<DeviceMemory> memory);

  std::vector<std::string> functionNames() const;
  /// The manifest's entry of a function, as the device's target has it.
  const nlohmann::json &function(const std::string &name) const;

private:
  Session() = default;
  std::string name;
  qlr_device *dev = nullptr;
  qlr_artifact *art = nullptr;
  qlr_module *mod = nullptr;
  nlohmann::json document;
  std::optional<Archive> weights;
  std::vector<DeviceMemory> kept;
};

/// A call of one function with its tensors on the device.
class Call {
public:
  static Result<Call> create(Session &session, const std::string &function,
                             const std::vector<Array> &inputs, int64_t rows);
  Call(Call &&other) noexcept;
  ~Call();
  /// Enqueues the function on `stream`.
  Result<void> enqueue(void *stream) const;
  /// Waits for the default stream and fetches the outputs, and what caches became.
  Result<std::vector<Array>> outputs() const;

private:
  Call() = default;
  Session *session = nullptr;
  int32_t index = 0;
  qlr_workspace *workspace = nullptr;
  std::vector<DeviceMemory> memory;
  std::vector<qlr_tensor> inputTensors, outputTensors;
  std::vector<Array> outputArrays;
  std::vector<qlr_tensor> cacheTensors; ///< those of the inputs
  std::vector<Array> cacheArrays;
};

/// dtype and shape of a tensor of the manifest, with M = rows.
qlr_dtype dtypeOf(const nlohmann::json &tensor);
std::vector<int64_t> shapeOf(const nlohmann::json &tensor, int64_t rows);

/// The runtime's last error.
inline Error runtimeError() { return error(qlr_last_error()); }

} // namespace qlinear::run
#endif
