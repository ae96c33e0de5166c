//===- Device.cpp - Memory and a stream to measure on ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"

#include <bit>
#include <cstring>

using namespace qlinear;
using namespace qlinear::timing;
namespace cuda = qlinear::runtime::cuda;

Result<void> timing::checked(qlr_status status) {
  if (status != QLR_OK)
    return error(qlr_last_error());
  return {};
}

static Result<void> checked(runtime::Status status) {
  if (!status)
    return error(std::move(status.message));
  return {};
}

Result<DeviceMemory> DeviceMemory::create(qlr_device *device, size_t bytes) {
  DeviceMemory memory;
  memory.device = device;
  if (qlr_alloc(device, bytes, &memory.ptr) != QLR_OK)
    return error(qlr_last_error());
  return memory;
}

Result<std::unique_ptr<Device>> Device::open(const std::string &name) {
  std::unique_ptr<Device> d(new Device);
  if (qlr_device_open(name.c_str(), &d->device) != QLR_OK)
    return error(qlr_last_error());
  if (name.starts_with("cuda")) {
    Result<std::unique_ptr<GraphTimer>> timer = GraphTimer::open(name);
    if (!timer)
      return timer.takeError();
    d->graphs = std::move(*timer);
  }
  return d;
}

Device::~Device() {
  graphs.reset();
  qlr_device_close(device);
}

Result<void> Device::upload(void *to, std::span<const std::byte> from) const {
  return timing::checked(qlr_upload(device, to, from.data(), from.size(), stream()));
}

Result<void> Device::download(std::span<std::byte> to, const void *from) const {
  if (Result<void> enqueued =
          timing::checked(qlr_download(device, to.data(), from, to.size(), stream()));
      !enqueued)
    return enqueued;
  return wait();
}

Result<void> Device::wait() const {
  return timing::checked(qlr_synchronize(device, stream()));
}

static cuda::DevicePtr address(const void *ptr) {
  return std::bit_cast<cuda::DevicePtr>(ptr);
}

Result<void> Device::copy(void *to, const void *from, size_t bytes) const {
  return copy(to, from, bytes, stream());
}

Result<void> Device::copy(void *to, const void *from, size_t bytes,
                          void *stream) const {
  if (graphs)
    return ::checked(QLR_CUDA(graphs->driver(), cuMemcpyAsync, address(to),
                              address(from), bytes, static_cast<cuda::Stream>(stream)));
  std::memcpy(to, from, bytes);
  return {};
}

Result<void> Device::fill(void *to, unsigned char value, size_t bytes) const {
  if (graphs)
    return ::checked(QLR_CUDA(graphs->driver(), cuMemsetD8Async, address(to), value,
                              bytes, graphs->stream()));
  std::memset(to, value, bytes);
  return {};
}
