//===- CudaDevice.cpp - Memory, streams and launches on a CUDA device -----===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaDevice.h"

using namespace qlinear;
using namespace qlinear::runtime;
using namespace qlinear::runtime::cuda;

/// A call on the device at hand, its failure checked and returned.
#define QLR_DEVICE_CALL(symbol, ...) check(api->symbol(__VA_ARGS__), #symbol)

/// The driver may take all devices of the process with it: 580 does after a fault.
static constexpr const char *kAfterLoss =
    "; CUDA may not work again in this process, but will in a new one";

static DevicePtr address(const void *ptr) { return reinterpret_cast<DevicePtr>(ptr); }

Expected<std::shared_ptr<Device>> qlinear::runtime::openCuda(int ordinal) {
  Expected<std::shared_ptr<CudaDevice>> device = CudaDevice::open(ordinal);
  if (!device)
    return device.status();
  return std::shared_ptr<Device>(std::move(*device));
}

Expected<std::shared_ptr<CudaDevice>> CudaDevice::open(int ordinal) {
  Expected<std::shared_ptr<const Driver>> driver = Driver::open();
  if (!driver)
    return driver.status();
  auto device = std::make_shared<CudaDevice>();
  device->api = std::move(*driver);
  const Driver &api = *device->api;
  int count = 0;
  QLR_TRY(QLR_CUDA(api, cuDeviceGetCount, &count));
  if (ordinal >= count)
    return fail(QLR_NO_DEVICE, "there is no device cuda:", ordinal,
                "; this machine has ", count, " CUDA device", count == 1 ? "" : "s",
                count ? text(", cuda:0 to cuda:", count - 1) : "");
  QLR_TRY(QLR_CUDA(api, cuDeviceGet, &device->id, ordinal));
  char name[256] = "";
  QLR_TRY(QLR_CUDA(api, cuDeviceGetName, name, sizeof name - 1, device->id));
  int major = 0, minor = 0;
  auto attribute = [&](int which, int &value) {
    return QLR_CUDA(api, cuDeviceGetAttribute, &value, which, device->id);
  };
  QLR_TRY(attribute(kAttrComputeMajor, major));
  QLR_TRY(attribute(kAttrComputeMinor, minor));
  QLR_TRY(attribute(kAttrSharedMemoryOptin, device->sharedLimit));
  QLR_TRY(attribute(kAttrMultiprocessors, device->sms));
  device->deviceName = name;
  device->ordinal = ordinal;
  device->sm = major * 10 + minor;
  device->targetName = "cuda:" + bestArchitecture(device->sm);
  Context context = nullptr;
  QLR_TRY(QLR_CUDA(api, cuDevicePrimaryCtxRetain, &context, device->id));
  device->context = context;
  return device;
}

CudaDevice::~CudaDevice() {
  if (context)
    (void)api->cuDevicePrimaryCtxRelease_v2(id);
}

Status CudaDevice::check(Result result, const char *call, const std::string &context) {
  if (result == kSuccess)
    return {};
  Status status = api->check(result, call, context);
  if (status.code == QLR_DEVICE_LOST) {
    Result none = kSuccess;
    lost.compare_exchange_strong(none, result);
    status.message += text("; cuda:", ordinal, " (", deviceName,
                           ") is lost: close it with everything on it", kAfterLoss);
  }
  return status;
}

Status CudaDevice::enter() {
  if (Result sticky = lost.load(std::memory_order_relaxed); sticky != kSuccess)
    return fail(QLR_DEVICE_LOST, "cuda:", ordinal, " (", deviceName,
                ") is lost since an earlier ", api->explain(sticky),
                "; close it with everything on it", kAfterLoss);
  return QLR_DEVICE_CALL(cuCtxPushCurrent_v2, context);
}

Status CudaDevice::leave() {
  Context popped = nullptr;
  return QLR_DEVICE_CALL(cuCtxPopCurrent_v2, &popped);
}

//===----------------------------------------------------------------------===//
// Memory and streams
//===----------------------------------------------------------------------===//

Status CudaDevice::allocated(Result result, const std::string &what) {
  Status status = check(result, "cuMemAlloc", text(what, " on cuda:", ordinal));
  size_t free = 0, total = 0;
  if (status.code == QLR_OUT_OF_MEMORY &&
      api->cuMemGetInfo_v2(&free, &total) == kSuccess)
    status.message += text(" (", free, " of ", total, " bytes are free)");
  return status;
}

Status CudaDevice::alloc(size_t bytes, void **out) {
  DevicePtr ptr = 0;
  Scope scope(*this);
  QLR_TRY(scope.status());
  // The driver refuses 0 bytes.
  QLR_TRY(allocated(api->cuMemAlloc_v2(&ptr, bytes ? bytes : 1),
                    text("for ", bytes, " bytes")));
  *out = reinterpret_cast<void *>(ptr);
  Status closed = scope.close();
  if (!closed)
    free(std::exchange(*out, nullptr));
  return closed;
}

void CudaDevice::free(void *ptr) {
  release([&] { (void)api->cuMemFree_v2(address(ptr)); });
}

Status CudaDevice::zero(void *ptr, size_t bytes, void *stream) {
  return within([&] {
    return QLR_DEVICE_CALL(cuMemsetD8Async, address(ptr), 0, bytes,
                           static_cast<Stream>(stream));
  });
}

Status CudaDevice::upload(void *dst, const void *src, size_t bytes, void *stream) {
  if (!bytes)
    return {};
  return within([&] {
    return QLR_DEVICE_CALL(cuMemcpyHtoDAsync_v2, address(dst), src, bytes,
                           static_cast<Stream>(stream));
  });
}

Status CudaDevice::download(void *dst, const void *src, size_t bytes, void *stream) {
  if (!bytes)
    return {};
  return within([&] {
    return QLR_DEVICE_CALL(cuMemcpyDtoHAsync_v2, dst, address(src), bytes,
                           static_cast<Stream>(stream));
  });
}

Status CudaDevice::createStream(void **stream) {
  Stream created = nullptr;
  Scope scope(*this);
  QLR_TRY(scope.status());
  QLR_TRY(QLR_DEVICE_CALL(cuStreamCreate, &created, kStreamNonBlocking));
  Status closed = scope.close();
  if (!closed)
    release([&] { (void)api->cuStreamDestroy_v2(created); });
  else
    *stream = created;
  return closed;
}

Status CudaDevice::destroyStream(void *stream) {
  return within(
      [&] { return QLR_DEVICE_CALL(cuStreamDestroy_v2, static_cast<Stream>(stream)); });
}

Status CudaDevice::synchronize(void *stream) {
  return within([&] {
    return QLR_DEVICE_CALL(cuStreamSynchronize, static_cast<Stream>(stream));
  });
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

Status CudaDevice::launch(const Launch &l, void *stream) {
  void *params[kMaxKernelArgs + 1];
  for (size_t i = 0; i < l.argCount; ++i)
    params[i] = &l.args[i];
  int32_t rows = l.rows;
  params[l.argCount] = &rows;
  const KernelInfo &k = *l.kernel;
  auto entry = static_cast<Function>(l.entry);
  Result result;
  if (l.pdl && sm >= 90 && api->cuLaunchKernelEx) {
    LaunchAttribute attribute{};
    attribute.id = kLaunchProgrammaticSerialization;
    attribute.value.programmaticSerializationAllowed = 1;
    LaunchConfig config{k.grid,     1, 1,      k.block,
                        1,          1, k.smem, static_cast<Stream>(stream),
                        &attribute, 1};
    result = api->cuLaunchKernelEx(&config, entry, params, nullptr);
  } else {
    result = api->cuLaunchKernel(entry, k.grid, 1, 1, k.block, 1, 1, k.smem,
                                 static_cast<Stream>(stream), params, nullptr);
  }
  if (result == kSuccess)
    return {};
  return check(result, "launch",
               text("of kernel '", k.name, "' (grid ", k.grid, ", block ", k.block,
                    ", ", k.smem, " bytes of shared memory)"));
}
