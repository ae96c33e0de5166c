//===- FakeState.h - What the fake CUDA driver knows ------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Shared by FakeCuda.cpp (devices, contexts, modules, memory) and FakeStreams.cpp
// (copies, streams, graphs, events, launches).
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_FAKESTATE_H
#define QLINEAR_UNITTESTS_FAKESTATE_H

#include "../../runtime/src/cuda/Driver.h"
#include "FakeCuda.h"

#include <memory>
#include <mutex>
#include <set>

namespace fakecuda {

using namespace qlinear::runtime::cuda;

enum : Result { kInvalidContext = 201, kInvalidHandle = 400, kIllegalAddress = 700 };

struct KernelEntry {
  int pointers;
  FakeCuda::Kernel run;
};
struct FakeModule {
  std::set<std::string> kernels;
};
struct FakeFunction {
  std::string name;
  int maxShared = 48 * 1024;
};
using Work = std::function<Result()>;
struct FakeStream {
  bool capturing = false;
  std::vector<Work> recorded;
};
struct FakeGraph {
  std::vector<Work> work;
};

/// A device with its primary context.
struct FakeDevice {
  int retained = 0;
  uint64_t used = 0;        ///< bytes of its memory
  Result sticky = kSuccess; ///< what its context answers to every call
};

class Fake : public FakeCuda {
public:
  mutable std::recursive_mutex mutex;
  FakeSettings settings;
  std::vector<std::string> log;
  std::map<int, FakeDevice> devices;
  std::vector<FakeLaunch> launched;
  std::map<std::pair<std::string, int>, int> attrs;
  std::map<std::string, KernelEntry> kernels;
  std::map<std::string, std::map<void *, int>> objects; ///< live, by kind; their device
  std::map<void *, size_t> sizes;                       ///< of memory and pinned
  std::map<std::pair<void *, std::string>, FakeFunction *> functions;
  std::string failedCall;
  int matching = 0, orphaned = 0;
  uint64_t pinned = 0, pinnedPeak = 0;

  void reset(const FakeSettings &s) override;
  void failNext(const std::string &function, int nth, int code) override;
  void registerKernel(const std::string &name, int pointers, Kernel run) override;
  std::vector<std::string> calls() const override;
  std::vector<FakeLaunch> launches() const override;
  std::map<std::pair<std::string, int>, int> attributes() const override;
  std::map<std::string, int> live() const override;
  int orphans() const override;
  std::string failed() const override;
  uint64_t peakPinned() const override;

  /// The device whose context is current on this thread, or -1.
  static int current();
  /// Logs the call; its injected failure, or what a lost context answers.
  Result enter(const char *name);
  /// What the current context answers.
  Result sticky();

  template <typename T> T *add(const char *kind, T *object) {
    objects[kind][object] = current();
    return object;
  }
  bool isLive(const char *kind, void *object) {
    return objects[kind].count(object) != 0;
  }
  void destroy(const std::string &kind, void *object);
  /// A release: an injected failure is returned, but the object is gone; in a lost
  /// context it stays until the context ends.
  Result remove(Result entered, const char *kind, void *object);
  /// The end of a device's context; of all for -1.
  void destroyAll(int device);
  bool anyCapture();
  /// Whether [ptr, ptr + bytes) lies in one live allocation.
  bool inMemory(const void *ptr, size_t bytes);
  Result submit(Stream stream, Work work);
};

Fake &fake();
/// The contexts of this thread.
std::vector<void *> &contextStack();

} // namespace fakecuda

// Enters a call: takes the lock and returns the call's failure, if any.
#define ENTER(name)                                                                    \
  Fake &f = fake();                                                                    \
  std::lock_guard lock(f.mutex);                                                       \
  Result entered = f.enter(#name)
#define ENTER_OR_RETURN(name)                                                          \
  ENTER(name);                                                                         \
  if (entered != kSuccess)                                                             \
  return entered
#define IN_CONTEXT(name)                                                               \
  ENTER_OR_RETURN(name);                                                               \
  if (contextStack().empty())                                                          \
  return kInvalidContext
#define API extern "C" __attribute__((visibility("default"))) Result

// A call that has nothing to do here.
#define SUCCEEDS(name, params)                                                         \
  API name params {                                                                    \
    IN_CONTEXT(name);                                                                  \
    return kSuccess;                                                                   \
  }

#endif
