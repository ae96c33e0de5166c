//===- Modules.cpp - Modules that calls name by their files ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Modules.h"

#include <algorithm>
#include <map>
#include <sys/stat.h>

using namespace qlinear::integrations;

void qlinear::integrations::check(qlr_status status) {
  if (status != QLR_OK)
    throw Error(status, qlr_last_error());
}

std::string qlinear::integrations::stampOf(const std::string &path) {
  struct stat s{};
  if (stat(path.c_str(), &s) != 0)
    return {};
  int64_t time = int64_t(s.st_mtim.tv_sec) * 1'000'000'000 + s.st_mtim.tv_nsec;
  return std::to_string(s.st_dev) + ' ' + std::to_string(s.st_ino) + ' ' +
         std::to_string(s.st_size) + ' ' + std::to_string(time);
}

std::string Module::stampsOf(const std::string &artifact, const std::string &archive) {
  return stampOf(artifact) + ',' + (archive.empty() ? "" : stampOf(archive));
}

Module &Module::of(const std::string &artifact, const std::string &archive,
                   const std::string &device, const std::string &stamps) {
  static std::mutex mutex;
  // Never destroyed: other threads may run when the program ends.
  static auto &all = *new std::map<std::vector<std::string>, std::unique_ptr<Module>>;
  std::lock_guard lock(mutex);
  std::unique_ptr<Module> &found = all[{artifact, archive, device, stamps}];
  if (!found) {
    auto made = std::make_unique<Module>(artifact, archive, device);
    if (std::string now = stampsOf(artifact, archive); now != stamps)
      throw Error(QLR_BAD_ARTIFACT,
                  "'" + artifact + "' or '" + archive +
                      "' is another file than when the graph was made; "
                      "make it again");
    found = std::move(made);
  }
  return *found;
}

Module::Module(std::string artifactPath, const std::string &archive,
               const std::string &deviceName)
    : path(std::move(artifactPath)) {
  try {
    check(qlr_device_open(deviceName.c_str(), &device));
    check(qlr_artifact_open(path.c_str(), &artifact));
    check(qlr_module_load(device, artifact, archive.empty() ? nullptr : archive.c_str(),
                          &module));
  } catch (...) {
    qlr_artifact_close(artifact);
    qlr_device_close(device);
    throw;
  }
}

Module::~Module() {
  for (const Workspace &w : idle)
    qlr_workspace_destroy(w.handle);
  qlr_module_unload(module);
  qlr_artifact_close(artifact);
  qlr_device_close(device);
}

int32_t Module::function(const std::string &name) const {
  int32_t index = qlr_function_index(module, name.c_str());
  if (index < 0)
    throw Error(QLR_NOT_FOUND, "'" + path + "' has no function '" + name +
                                   "'; it is another artifact than that of the graph");
  return index;
}

Module::Workspace Module::take(int32_t function, int64_t rows) {
  {
    std::lock_guard lock(mutex);
    auto found = std::find_if(idle.begin(), idle.end(), [&](const Workspace &w) {
      return w.function == function && w.rows >= rows;
    });
    if (found != idle.end()) {
      Workspace taken = *found;
      idle.erase(found);
      return taken;
    }
    // A smaller one is replaced.
    found = std::find_if(idle.begin(), idle.end(),
                         [&](const Workspace &w) { return w.function == function; });
    if (found != idle.end()) {
      qlr_workspace_destroy(found->handle);
      idle.erase(found);
    }
  }
  Workspace made{function, rows};
  check(qlr_workspace_create(module, function, rows, &made.handle));
  return made;
}

void Module::call(int32_t function, int64_t rows,
                  std::span<const qlr_dltensor *const> inputs,
                  std::span<const qlr_dltensor *const> outputs) {
  Workspace workspace = take(function, rows);
  qlr_status status = qlr_call_dlpack(module, function, workspace.handle, inputs.data(),
                                      int32_t(inputs.size()), outputs.data(),
                                      int32_t(outputs.size()), nullptr, 0, nullptr);
  {
    std::lock_guard lock(mutex);
    idle.push_back(workspace);
  }
  check(status);
}
