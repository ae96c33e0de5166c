//===- FakeCuda.h - Control of the fake CUDA driver -------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// libfakecuda.so is a CUDA driver on host memory, for tests: it logs every call,
// knows every live object, and makes any call fail on demand. Work on a stream
// is done at once, or recorded while the stream captures.
//
// Images are texts. A cubin: "FAKECUBIN sm_90 kernel kernel ...". PTX: lines
// ".version 8.0", ".target sm_90", ".visible .entry kernel(", as a compiler's. What a
// kernel does is registered here, by name.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_FAKECUDA_H
#define QLINEAR_UNITTESTS_FAKECUDA_H

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

struct FakeLaunch {
  std::string kernel;
  unsigned grid = 0, block = 0, smem = 0;
  bool pdl = false;
  unsigned clusterX = 0;
  void *stream = nullptr;
  std::vector<void *> pointers;
  int32_t rows = 0;
  void **params = nullptr; ///< all of them; only while a launch runs at once
};

struct FakeSettings {
  int devices = 1, sm = 90, driverVersion = 13000, sharedOptin = 232448;
  uint64_t memory = uint64_t(1) << 32; ///< bytes of device memory
  // The call to fail: the nth (from 1; 0: none) of those to `failFunction`, or of
  // all calls if that is empty.
  std::string failFunction;
  int failNth = 0, failCode = 999;
};

class FakeCuda {
public:
  using Kernel = std::function<void(const FakeLaunch &)>;
  virtual ~FakeCuda() = default;
  /// Forgets everything; the next calls see a fresh machine.
  virtual void reset(const FakeSettings &settings) = 0;
  /// Fails the next `failNth`th call, as in FakeSettings; counting starts anew.
  virtual void failNext(const std::string &function, int nth, int code) = 0;
  /// A kernel of `pointers` pointer arguments and an int32_t.
  virtual void registerKernel(const std::string &name, int pointers, Kernel run) = 0;
  /// Names of the calls so far.
  virtual std::vector<std::string> calls() const = 0;
  virtual std::vector<FakeLaunch> launches() const = 0;
  /// Function attributes by kernel: {kernel, attribute} -> value.
  virtual std::map<std::pair<std::string, int>, int> attributes() const = 0;
  /// Live objects by kind ("memory", "stream", ...), without zeros.
  virtual std::map<std::string, int> live() const = 0;
  /// Objects that only the end of their context released.
  virtual int orphans() const = 0;
  /// The call that was made to fail, or "".
  virtual std::string failed() const = 0;
  /// The most bytes of pinned host memory at one time.
  virtual uint64_t peakPinned() const = 0;
};

/// What libfakecuda.so exports beside the driver's entry points.
extern "C" FakeCuda *fakeCuda();

#endif
