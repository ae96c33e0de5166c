//===- Handles.h - Handles that close themselves ----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_HANDLES_H
#define QLINEAR_UNITTESTS_HANDLES_H

#include "TestArtifact.h"

/// A device; `status` tells whether it opened.
struct Device {
  qlr_device *handle = nullptr;
  qlr_status status;
  explicit Device(const char *name) : status(qlr_device_open(name, &handle)) {}
  ~Device() { qlr_device_close(handle); }
  Device(const Device &) = delete;
  operator qlr_device *() const { return handle; }
};

/// A module of an artifact given as descriptor; no weights if `archive` is empty.
struct Module {
  qlr_artifact *artifact = nullptr;
  qlr_module *handle = nullptr;
  qlr_status status;
  Module(qlr_device *device, const void *descriptor, const std::string &archive) {
    status = qlr_artifact_from_descriptor(descriptor, &artifact);
    if (status == QLR_OK)
      status = qlr_module_load(device, artifact,
                               archive.empty() ? nullptr : archive.c_str(), &handle);
  }
  ~Module() {
    qlr_module_unload(handle);
    qlr_artifact_close(artifact);
  }
  Module(const Module &) = delete;
  operator qlr_module *() const { return handle; }
};

struct Workspace {
  qlr_workspace *handle = nullptr;
  qlr_status status;
  Workspace(qlr_module *module, int32_t function, int64_t rows)
      : status(qlr_workspace_create(module, function, rows, &handle)) {}
  ~Workspace() { qlr_workspace_destroy(handle); }
  Workspace(const Workspace &) = delete;
  operator qlr_workspace *() const { return handle; }
};

#endif
