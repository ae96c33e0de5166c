//===- Cache.cpp - Modules that the Python package has compiled -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Beside each artifact of the cache lies a record, NAME.json, and in it, of those that
// an operator needs, "kernel": what qlr_torch_request says, with the target in place of
// the device (python/src/qlinear/_ops.py and _blocks.py write it).
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

using namespace qlinear::torch_ops;
using Json = nlohmann::json;

/// A device that stays open, of each name one.
static qlr_device *openDevice(const std::string &name) {
  static std::mutex mutex;
  static auto *const devices = new std::map<std::string, qlr_device *>;
  std::lock_guard lock(mutex);
  qlr_device *&device = (*devices)[name];
  if (!device)
    check(qlr_device_open(name.c_str(), &device));
  return device;
}

static Json described(const qlr_torch_request &r, const char *target) {
  Json kernel = {{"batch_invariant", r.batch_invariant != 0}, {"target", target}};
  if (r.text) {
    kernel["text"] = r.text;
    return kernel;
  }
  kernel.update({{"encoding", r.encoding},
                 {"n", r.n},
                 {"k", r.k},
                 {"dtype", r.dtype},
                 {"bias", r.bias ? Json(r.bias) : Json()},
                 {"activations", r.activations}});
  return kernel;
}

static std::string missing(const qlr_torch_request &r, const char *target,
                           const std::filesystem::path &folder) {
  std::string what =
      r.text ? "a block of layers"
             : "a " + std::to_string(r.n) + " x " + std::to_string(r.k) + " linear <" +
                   r.encoding + "> with activations in " + r.dtype +
                   (r.bias ? std::string(" and a bias in ") + r.bias : "") +
                   ", multiplied as " + r.activations + ",";
  return "there is no kernel for " + what + " on " + target +
         (r.batch_invariant ? ", batch-invariant" : "") + ": '" + folder.string() +
         "' has none; make it where the compiler is, with qlinear.nn.prepare(model, "
         "targets=['" +
         target + "']), copy qlinear.cache_folder(), and set QLINEAR_CACHE to the copy";
}

qlr_module *qlinear::torch_ops::loadFromCache(const qlr_torch_request &request) {
  qlr_device *device = openDevice(request.device);
  const char *target = qlr_device_target(device);
  Json wanted = described(request, target);
  std::filesystem::path folder = qlr_cache_folder();
  std::error_code none;
  for (const auto &entry : std::filesystem::directory_iterator(folder, none)) {
    std::filesystem::path path = entry.path();
    if (path.extension() != ".json")
      continue;
    std::ifstream file(path);
    Json record = Json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object() || record.value("kernel", Json()) != wanted)
      continue;
    qlr_artifact *artifact = nullptr;
    qlr_module *module = nullptr;
    check(qlr_artifact_open(path.replace_extension(".so").c_str(), &artifact));
    qlr_status status = qlr_module_load(device, artifact, nullptr, &module);
    qlr_artifact_close(artifact); // the module keeps what it needs of it
    check(status);
    return module;
  }
  throw Failure(QLR_NOT_FOUND, missing(request, target, folder));
}
