//===- Kernels.h - Compiled modules for calls of operators ------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_TORCH_KERNELS_H
#define QLINEAR_RUNTIME_TORCH_KERNELS_H

#include "qlinear-runtime/torch.h"

#include <stdexcept>
#include <string>
#include <string_view>

namespace qlinear::torch_ops {

/// What an operator ends with. Torch shows the text to its caller.
class Failure : public std::runtime_error {
public:
  Failure(qlr_status status, const std::string &text);
};

/// Ends with what the runtime left for this thread.
inline void check(qlr_status status) {
  if (status != QLR_OK)
    throw Failure(status, qlr_last_error());
}

/// A module of one function, loaded on a device.
struct Kernel {
  qlr_module *module;
  bool hasTemps;
};

/// How calls on tensors of the CPU run, and with which kernels all do. Never freed.
struct Settings {
  std::string host = "cpu";
  bool batchInvariant = false;
  /// Of a packed weight in host memory, in bytes: a CPU reads it anywhere.
  size_t hostAlignment() const { return host.starts_with("cpu") ? 1 : 64; }
};
const Settings &currentSettings();

/// The kernel that was made under a key, which is equal for equal requests; or null.
const Kernel *findKernel(std::string_view key, const Settings &settings);
/// Makes that of a request. What the settings say of it is filled in.
const Kernel *makeKernel(std::string_view key, const Settings &settings,
                         qlr_torch_request request);

/// The module of a request, from the cache of the Python package.
qlr_module *loadFromCache(const qlr_torch_request &request);

} // namespace qlinear::torch_ops
#endif
