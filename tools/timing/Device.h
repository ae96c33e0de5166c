//===- Device.h - Memory and a stream to measure on -------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_TIMING_DEVICE_H
#define QLINEAR_TOOLS_TIMING_DEVICE_H

#include "GraphTimer.h"
#include "qlinear-runtime/runtime.h"

#include <span>

namespace qlinear::timing {

/// Memory of a device, freed with the object.
class DeviceMemory {
public:
  DeviceMemory() = default;
  static Result<DeviceMemory> create(qlr_device *device, size_t bytes);
  DeviceMemory(DeviceMemory &&other) noexcept { *this = std::move(other); }
  DeviceMemory &operator=(DeviceMemory &&other) noexcept {
    std::swap(device, other.device);
    std::swap(ptr, other.ptr);
    return *this;
  }
  ~DeviceMemory() { qlr_free(device, ptr); }
  void *get() const { return ptr; }
  std::byte *at(size_t offset) const { return static_cast<std::byte *>(ptr) + offset; }

private:
  qlr_device *device = nullptr;
  void *ptr = nullptr;
};

/// A device of the runtime with a stream, and graphs where it is a GPU. Everything is
/// enqueued on that stream; on emulated and cpu it is done at once.
class Device {
public:
  /// `name` as for qlr_device_open.
  static Result<std::unique_ptr<Device>> open(const std::string &name);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  qlr_device *handle() const { return device; }
  /// Null where the device is no GPU.
  GraphTimer *timer() const { return graphs.get(); }
  void *stream() const { return graphs ? graphs->stream() : nullptr; }

  Result<DeviceMemory> allocate(size_t bytes) const {
    return DeviceMemory::create(device, bytes);
  }
  Result<void> upload(void *to, std::span<const std::byte> from) const;
  /// Waits for the stream.
  Result<void> download(std::span<std::byte> to, const void *from) const;
  /// Within the device, on `stream`, or on stream().
  Result<void> copy(void *to, const void *from, size_t bytes) const;
  Result<void> copy(void *to, const void *from, size_t bytes, void *stream) const;
  Result<void> fill(void *to, unsigned char value, size_t bytes) const;
  Result<void> wait() const;

private:
  Device() = default;
  qlr_device *device = nullptr;
  std::unique_ptr<GraphTimer> graphs;
};

/// The outcome of a call of the runtime.
Result<void> checked(qlr_status status);

} // namespace qlinear::timing
#endif
