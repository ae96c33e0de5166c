//===- FakeState.cpp - What the fake CUDA driver knows --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeState.h"

#include <cstdlib>

using namespace fakecuda;

Fake &fakecuda::fake() {
  static Fake instance;
  return instance;
}

std::vector<void *> &fakecuda::contextStack() {
  thread_local std::vector<void *> stack;
  return stack;
}

extern "C" __attribute__((visibility("default"))) FakeCuda *fakeCuda() {
  return &fake();
}

static bool isSticky(Result r) { return statusOf(r) == QLR_DEVICE_LOST; }

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

void Fake::reset(const FakeSettings &s) {
  std::lock_guard lock(mutex);
  destroyAll(-1);
  settings = s;
  log.clear();
  devices.clear();
  launched.clear();
  attrs.clear();
  failedCall.clear();
  matching = orphaned = 0;
  pinned = pinnedPeak = 0;
}

void Fake::failNext(const std::string &function, int nth, int code) {
  std::lock_guard lock(mutex);
  settings.failFunction = function;
  settings.failNth = nth;
  settings.failCode = code;
  matching = 0;
  failedCall.clear();
}

void Fake::registerKernel(const std::string &name, int pointers, Kernel run) {
  std::lock_guard lock(mutex);
  kernels[name] = {pointers, std::move(run)};
}

std::vector<std::string> Fake::calls() const {
  std::lock_guard lock(mutex);
  return log;
}

std::vector<FakeLaunch> Fake::launches() const {
  std::lock_guard lock(mutex);
  return launched;
}

std::map<std::pair<std::string, int>, int> Fake::attributes() const {
  std::lock_guard lock(mutex);
  return attrs;
}

std::map<std::string, int> Fake::live() const {
  std::lock_guard lock(mutex);
  std::map<std::string, int> counts;
  for (auto &[kind, list] : objects)
    if (!list.empty())
      counts[kind] = int(list.size());
  for (auto &[id, device] : devices)
    if (device.retained)
      counts["context"] += device.retained;
  return counts;
}

int Fake::orphans() const {
  std::lock_guard lock(mutex);
  return orphaned;
}

std::string Fake::failed() const {
  std::lock_guard lock(mutex);
  return failedCall;
}

uint64_t Fake::peakPinned() const {
  std::lock_guard lock(mutex);
  return pinnedPeak;
}

//===----------------------------------------------------------------------===//
// Calls and objects
//===----------------------------------------------------------------------===//

int Fake::current() {
  return contextStack().empty()
             ? -1
             : int(reinterpret_cast<intptr_t>(contextStack().back())) - 1;
}

Result Fake::sticky() {
  auto it = devices.find(current());
  return it == devices.end() ? Result(kSuccess) : it->second.sticky;
}

Result Fake::enter(const char *name) {
  log.push_back(name);
  if (settings.failNth &&
      (settings.failFunction.empty() || settings.failFunction == name) &&
      ++matching == settings.failNth) {
    failedCall = name;
    if (isSticky(settings.failCode) && current() >= 0)
      devices[current()].sticky = settings.failCode;
    return settings.failCode;
  }
  return sticky();
}

void Fake::destroy(const std::string &kind, void *object) {
  if (kind == "memory") {
    devices[objects[kind][object]].used -= sizes[object];
    sizes.erase(object);
    std::free(object);
  } else if (kind == "registered") {
    pinned -= sizes[object];
    sizes.erase(object);
  } else if (kind == "module") {
    for (auto it = functions.begin(); it != functions.end();)
      if (it->first.first == object) {
        delete it->second;
        it = functions.erase(it);
      } else {
        ++it;
      }
    delete static_cast<FakeModule *>(object);
  } else if (kind == "stream") {
    delete static_cast<FakeStream *>(object);
  } else if (kind == "graph" || kind == "graphExec") {
    delete static_cast<FakeGraph *>(object);
  } else if (kind == "event") {
    delete static_cast<char *>(object);
  }
  objects[kind].erase(object);
}

Result Fake::remove(Result entered, const char *kind, void *object) {
  if (Result lost = sticky(); lost != kSuccess)
    return lost;
  if (!isLive(kind, object))
    return kInvalidHandle;
  destroy(kind, object);
  return entered;
}

void Fake::destroyAll(int device) {
  for (auto &[kind, list] : objects) {
    std::vector<void *> gone;
    for (auto &[object, owner] : list)
      if (device < 0 || owner == device)
        gone.push_back(object);
    for (void *object : gone)
      destroy(kind, object);
    orphaned += int(gone.size());
  }
}

bool Fake::anyCapture() {
  for (auto &[s, device] : objects["stream"])
    if (device == current() && static_cast<FakeStream *>(s)->capturing)
      return true;
  return false;
}

bool Fake::inMemory(const void *ptr, size_t bytes) {
  for (auto &[base, size] : sizes) {
    auto *first = static_cast<const char *>(base), *p = static_cast<const char *>(ptr);
    if (p >= first && p + bytes <= first + size)
      return true;
  }
  return false;
}

Result Fake::submit(Stream stream, Work work) {
  if (!stream)
    return work();
  if (!isLive("stream", stream))
    return kInvalidHandle;
  auto *s = reinterpret_cast<FakeStream *>(stream);
  if (!s->capturing)
    return work();
  s->recorded.push_back(std::move(work));
  return kSuccess;
}
