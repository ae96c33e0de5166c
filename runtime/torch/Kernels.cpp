//===- Kernels.cpp - Compiled modules for calls of operators --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

using namespace qlinear::torch_ops;

namespace {

/// Of a key, which may be a text of thousands of characters: its size and its ends,
/// where what tells most keys from each other is. All of it is compared.
struct Hash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const {
    constexpr size_t kEnd = 128;
    std::hash<std::string_view> hash;
    if (s.size() <= 2 * kEnd)
      return hash(s);
    return hash(s.substr(0, kEnd)) ^ (hash(s.substr(s.size() - kEnd)) << 1) ^ s.size();
  }
};
using Table =
    std::unordered_map<std::string, std::unique_ptr<Kernel>, Hash, std::equal_to<>>;

/// Kernels are found by what a call says under the settings that it meets. Nothing here
/// is freed: calls may come until the last thread ends.
struct State {
  std::atomic<const Settings *> settings;
  std::atomic<qlr_torch_finder> finder = nullptr;
  std::shared_mutex mutex;
  std::map<const Settings *, Table> kernels;
  /// By host and whether batch-invariant.
  std::map<std::pair<std::string, bool>, std::unique_ptr<Settings>> known;

  State() { choose({}); }
  void choose(const Settings &wanted) {
    std::lock_guard lock(mutex);
    auto &place = known[{wanted.host, wanted.batchInvariant}];
    if (!place)
      place = std::make_unique<Settings>(wanted);
    settings = place.get();
  }
};

State &state() {
  static State *const only = new State;
  return *only;
}

struct LastError {
  std::string text;
  qlr_status status = QLR_OK;
  bool isNew = false;
};
thread_local LastError lastError;

} // namespace

Failure::Failure(qlr_status status, const std::string &text)
    : std::runtime_error(text) {
  lastError = {text, status, true};
}

const char *qlr_torch_last_error(qlr_status *status) {
  if (!lastError.isNew)
    return nullptr;
  lastError.isNew = false;
  if (status)
    *status = lastError.status;
  return lastError.text.c_str();
}

void qlr_torch_set_finder(qlr_torch_finder finder) { state().finder = finder; }

void qlr_torch_set_host(const char *device) {
  Settings wanted = currentSettings();
  wanted.host = device;
  state().choose(wanted);
}

void qlr_torch_set_batch_invariant(int32_t enabled) {
  Settings wanted = currentSettings();
  wanted.batchInvariant = enabled != 0;
  state().choose(wanted);
}

const Settings &qlinear::torch_ops::currentSettings() { return *state().settings; }

const Kernel *qlinear::torch_ops::findKernel(std::string_view key,
                                             const Settings &settings) {
  State &all = state();
  std::shared_lock lock(all.mutex);
  auto table = all.kernels.find(&settings);
  if (table == all.kernels.end())
    return nullptr;
  auto found = table->second.find(key);
  return found == table->second.end() ? nullptr : found->second.get();
}

const Kernel *qlinear::torch_ops::makeKernel(std::string_view key,
                                             const Settings &settings,
                                             qlr_torch_request request) {
  State &all = state();
  std::string name(key); // the caller's may change while the finder runs
  request.batch_invariant = settings.batchInvariant;
  Kernel kernel{};
  // Not under the lock: it may compile, and waits for Python. Who comes second finds
  // what the first has made.
  if (qlr_torch_finder finder = all.finder) {
    const char *message = "";
    kernel.module = finder(&request, &message);
    if (!kernel.module)
      throw Failure(QLR_NOT_FOUND, message);
  } else {
    kernel.module = loadFromCache(request);
  }
  size_t bytes = 0;
  check(qlr_workspace_bytes(kernel.module, 0, 1, &bytes));
  kernel.hasTemps = bytes != 0;
  std::lock_guard lock(all.mutex);
  auto &place = all.kernels[&settings][name];
  if (!place)
    place = std::make_unique<Kernel>(kernel);
  return place.get();
}
