//===- Modules.h - Modules that calls name by their files -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Graphs of other systems outlive the process that made them: they name an artifact,
// its archive and a function, and whoever runs them loads the module once. Nothing
// tells when the last graph has gone, so modules stay as long as the program.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_INTEGRATIONS_MODULES_H
#define QLINEAR_INTEGRATIONS_MODULES_H

#include "qlinear-runtime/runtime.h"

#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace qlinear::integrations {

struct Error : std::runtime_error {
  qlr_status code;
  Error(qlr_status code, const std::string &message)
      : std::runtime_error("qlinear: " + message), code(code) {}
};

/// Throws the message of a call that failed.
void check(qlr_status status);

/// What a file is until another takes its place: device, inode, size and time (ns) as
/// numbers with spaces between them; empty if there is no such file.
std::string stampOf(const std::string &path);

class Module {
public:
  /// The module of an artifact and an archive ("": none) on a device ("cpu", "cuda:1").
  /// `stamps`: those of the two files when they were named, from which it must not
  /// differ. Thread-safe.
  static Module &of(const std::string &artifact, const std::string &archive,
                    const std::string &device, const std::string &stamps);
  /// stampOf() of both, with a comma between them.
  static std::string stampsOf(const std::string &artifact, const std::string &archive);

  int32_t function(const std::string &name) const;
  /// On the host: calls a function with tensors of up to `rows` rows. Thread-safe.
  void call(int32_t function, int64_t rows, std::span<const qlr_dltensor *const> inputs,
            std::span<const qlr_dltensor *const> outputs);
  qlr_module *handle() const { return module; }
  const std::string path;

  Module(std::string artifact, const std::string &archive, const std::string &device);
  ~Module();
  Module(const Module &) = delete;

private:
  /// Scratch memory, of which there is as much as calls run at once.
  struct Workspace {
    int32_t function = 0;
    int64_t rows = 0;
    qlr_workspace *handle = nullptr;
  };
  Workspace take(int32_t function, int64_t rows);

  qlr_device *device = nullptr;
  qlr_artifact *artifact = nullptr;
  qlr_module *module = nullptr;
  std::mutex mutex;
  std::vector<Workspace> idle;
};

} // namespace qlinear::integrations
#endif
