//===- Mgpu.cpp - Upstream's mgpu* entry points ---------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What modules lowered with upstream MLIR's gpu-to-llvm call, on the same driver
// layer as everything else. Those functions return no status, so a failure is
// printed to stderr (and kept for qlr_last_error()), and the caller gets null; a
// call on a null handle does nothing. The device is the one that
// mgpuSetDefaultDevice chose on this thread, device 0 at first.
//
// For decode, use qlr_call: upstream's lowering loads, looks up and synchronizes at
// every launch.
//
//===----------------------------------------------------------------------===//

#include "Driver.h"

#include "qlinear-runtime/runtime.h"

#include <cstdio>
#include <mutex>
#include <vector>

using namespace qlinear::runtime;
using namespace qlinear::runtime::cuda;

namespace {

/// The driver and the primary contexts retained so far: this interface has no
/// handle to keep them in. Never destroyed: at exit the driver may be gone first.
class Session {
  std::mutex mutex;
  std::shared_ptr<const Driver> api;
  std::vector<Context> contexts; ///< by device; null: not retained yet

public:
  Status context(int ordinal, const Driver *&driver, Context &context) {
    std::lock_guard lock(mutex);
    if (!api) {
      Expected<std::shared_ptr<const Driver>> opened = Driver::open();
      if (!opened)
        return opened.status();
      api = std::move(*opened);
    }
    if (contexts.empty()) {
      int count = 0;
      QLR_TRY(QLR_CUDA(*api, cuDeviceGetCount, &count));
      contexts.resize(size_t(count));
    }
    if (ordinal < 0 || size_t(ordinal) >= contexts.size())
      return fail(QLR_NO_DEVICE, "there is no CUDA device ", ordinal,
                  "; this machine has ", contexts.size());
    Context &kept = contexts[size_t(ordinal)];
    if (!kept) {
      DeviceId id = 0;
      QLR_TRY(QLR_CUDA(*api, cuDeviceGet, &id, ordinal));
      QLR_TRY(QLR_CUDA(*api, cuDevicePrimaryCtxRetain, &kept, id));
    }
    driver = api.get();
    context = kept;
    return {};
  }
};

thread_local int defaultDevice = 0;

Session &session() {
  static Session &instance = *new Session;
  return instance;
}

/// Runs `body(driver)` with the context of this thread's device current.
template <typename Body> void run(const char *what, Body &&body) {
  qlr_status code = guarded([&]() -> Status {
    const Driver *api = nullptr;
    Context context = nullptr;
    QLR_TRY(session().context(defaultDevice, api, context));
    Result pushed = api->cuCtxPushCurrent_v2(context);
    // Lowered modules are unloaded by destructors of the program, which may run after
    // the driver's: then nothing is left to release.
    if (pushed == kDeinitialized)
      return {};
    QLR_TRY(api->check(pushed, "cuCtxPushCurrent"));
    Status status = body(*api);
    Context popped = nullptr;
    Status left = QLR_CUDA(*api, cuCtxPopCurrent_v2, &popped);
    return status ? left : status;
  });
  if (code != QLR_OK)
    std::fprintf(stderr, "%s: %s\n", what, qlr_last_error());
}

DevicePtr address(const void *ptr) { return reinterpret_cast<DevicePtr>(ptr); }

/// Upstream's descriptor of a ranked memref of bytes.
struct ByteMemRef {
  char *basePtr, *data;
  int64_t offset;
  int64_t sizesAndStrides[1]; ///< rank sizes, then rank strides
};

/// First byte and size of a dense memref; false if it is not dense.
bool denseRange(int64_t rank, const ByteMemRef *m, int64_t elementBytes, char *&first,
                uint64_t &bytes) {
  int64_t elements = 1;
  for (int64_t d = rank; d-- > 0;) {
    if (m->sizesAndStrides[rank + d] != elements)
      return false;
    elements *= m->sizesAndStrides[d];
  }
  first = m->data + m->offset * elementBytes;
  bytes = uint64_t(elements) * uint64_t(elementBytes);
  return true;
}

} // namespace

extern "C" {

QLR_API void mgpuSetDefaultDevice(int32_t device) { defaultDevice = device; }

QLR_API ModuleHandle mgpuModuleLoad(void *data, size_t) {
  ModuleHandle module = nullptr;
  run("mgpuModuleLoad", [&](const Driver &api) {
    return QLR_CUDA(api, cuModuleLoadData, &module, data);
  });
  return module;
}

QLR_API ModuleHandle mgpuModuleLoadJIT(void *data, int optLevel) {
  ModuleHandle module = nullptr;
  run("mgpuModuleLoadJIT", [&](const Driver &api) {
    constexpr int kJitOptimizationLevel = 7;
    char log[8192] = "";
    int options[] = {kJitErrorLog, kJitErrorLogBytes, kJitOptimizationLevel};
    void *values[] = {log, reinterpret_cast<void *>(sizeof log - 1),
                      reinterpret_cast<void *>(intptr_t(optLevel))};
    Status status =
        QLR_CUDA(api, cuModuleLoadDataEx, &module, data, 3, options, values);
    if (!status && *log)
      status.message += text("\n", log);
    return status;
  });
  return module;
}

QLR_API void mgpuModuleUnload(ModuleHandle module) {
  if (module)
    run("mgpuModuleUnload",
        [&](const Driver &api) { return QLR_CUDA(api, cuModuleUnload, module); });
}

QLR_API Function mgpuModuleGetFunction(ModuleHandle module, const char *name) {
  Function function = nullptr;
  if (module)
    run("mgpuModuleGetFunction", [&](const Driver &api) {
      return api.check(api.cuModuleGetFunction(&function, module, name),
                       "cuModuleGetFunction", text("for '", name, "'"));
    });
  return function;
}

/// Lets a kernel have more than the 48 KB of shared memory that need no consent.
static Status allowSharedMemory(const Driver &api, Function function, int32_t smem) {
  return smem > 48 * 1024
             ? QLR_CUDA(api, cuFuncSetAttribute, function, kFuncMaxDynamicShared, smem)
             : Status{};
}

QLR_API void mgpuLaunchKernel(Function function, intptr_t gridX, intptr_t gridY,
                              intptr_t gridZ, intptr_t blockX, intptr_t blockY,
                              intptr_t blockZ, int32_t smem, Stream stream,
                              void **params, void **extra, size_t) {
  if (!function)
    return;
  run("mgpuLaunchKernel", [&](const Driver &api) -> Status {
    QLR_TRY(allowSharedMemory(api, function, smem));
    return QLR_CUDA(api, cuLaunchKernel, function, unsigned(gridX), unsigned(gridY),
                    unsigned(gridZ), unsigned(blockX), unsigned(blockY),
                    unsigned(blockZ), unsigned(smem), stream, params, extra);
  });
}

QLR_API void mgpuLaunchClusterKernel(Function function, intptr_t clusterX,
                                     intptr_t clusterY, intptr_t clusterZ,
                                     intptr_t gridX, intptr_t gridY, intptr_t gridZ,
                                     intptr_t blockX, intptr_t blockY, intptr_t blockZ,
                                     int32_t smem, Stream stream, void **params,
                                     void **extra, size_t) {
  if (!function)
    return;
  run("mgpuLaunchClusterKernel", [&](const Driver &api) -> Status {
    if (!api.cuLaunchKernelEx)
      return fail(QLR_NO_DEVICE,
                  "thread block clusters need a driver for CUDA 11.8 "
                  "or later; this one supports ",
                  versionText(api.version()));
    QLR_TRY(allowSharedMemory(api, function, smem));
    LaunchAttribute attribute{};
    attribute.id = kLaunchClusterDimension;
    attribute.value.clusterDim = {unsigned(clusterX), unsigned(clusterY),
                                  unsigned(clusterZ)};
    LaunchConfig config{unsigned(gridX),  unsigned(gridY),
                        unsigned(gridZ),  unsigned(blockX),
                        unsigned(blockY), unsigned(blockZ),
                        unsigned(smem),   stream,
                        &attribute,       1};
    return QLR_CUDA(api, cuLaunchKernelEx, &config, function, params, extra);
  });
}

QLR_API Stream mgpuStreamCreate() {
  Stream stream = nullptr;
  run("mgpuStreamCreate", [&](const Driver &api) {
    return QLR_CUDA(api, cuStreamCreate, &stream, kStreamNonBlocking);
  });
  return stream;
}
QLR_API void mgpuStreamDestroy(Stream stream) {
  run("mgpuStreamDestroy",
      [&](const Driver &api) { return QLR_CUDA(api, cuStreamDestroy_v2, stream); });
}
QLR_API void mgpuStreamSynchronize(Stream stream) {
  run("mgpuStreamSynchronize",
      [&](const Driver &api) { return QLR_CUDA(api, cuStreamSynchronize, stream); });
}
QLR_API void mgpuStreamWaitEvent(Stream stream, Event event) {
  run("mgpuStreamWaitEvent", [&](const Driver &api) {
    return QLR_CUDA(api, cuStreamWaitEvent, stream, event, 0);
  });
}

QLR_API Event mgpuEventCreate() {
  Event event = nullptr;
  run("mgpuEventCreate", [&](const Driver &api) {
    return QLR_CUDA(api, cuEventCreate, &event, kEventDisableTiming);
  });
  return event;
}
QLR_API void mgpuEventDestroy(Event event) {
  run("mgpuEventDestroy",
      [&](const Driver &api) { return QLR_CUDA(api, cuEventDestroy_v2, event); });
}
QLR_API void mgpuEventSynchronize(Event event) {
  run("mgpuEventSynchronize",
      [&](const Driver &api) { return QLR_CUDA(api, cuEventSynchronize, event); });
}
QLR_API void mgpuEventRecord(Event event, Stream stream) {
  run("mgpuEventRecord",
      [&](const Driver &api) { return QLR_CUDA(api, cuEventRecord, event, stream); });
}

QLR_API void *mgpuMemAlloc(uint64_t bytes, Stream, bool isHostShared) {
  DevicePtr ptr = 0;
  if (bytes == 0)
    return nullptr;
  run("mgpuMemAlloc", [&](const Driver &api) {
    constexpr unsigned kAttachGlobal = 1;
    return isHostShared ? QLR_CUDA(api, cuMemAllocManaged, &ptr, bytes, kAttachGlobal)
                        : api.check(api.cuMemAlloc_v2(&ptr, bytes), "cuMemAlloc",
                                    text("for ", bytes, " bytes"));
  });
  return reinterpret_cast<void *>(ptr);
}
QLR_API void mgpuMemFree(void *ptr, Stream) {
  if (ptr)
    run("mgpuMemFree",
        [&](const Driver &api) { return QLR_CUDA(api, cuMemFree_v2, address(ptr)); });
}
QLR_API void mgpuMemcpy(void *dst, void *src, size_t bytes, Stream stream) {
  if (bytes)
    run("mgpuMemcpy", [&](const Driver &api) {
      return QLR_CUDA(api, cuMemcpyAsync, address(dst), address(src), bytes, stream);
    });
}
QLR_API void mgpuMemset32(void *dst, unsigned value, size_t count, Stream stream) {
  if (count)
    run("mgpuMemset32", [&](const Driver &api) {
      return QLR_CUDA(api, cuMemsetD32Async, address(dst), value, count, stream);
    });
}
QLR_API void mgpuMemset16(void *dst, unsigned short value, size_t count,
                          Stream stream) {
  if (count)
    run("mgpuMemset16", [&](const Driver &api) {
      return QLR_CUDA(api, cuMemsetD16Async, address(dst), value, count, stream);
    });
}

QLR_API void mgpuMemHostRegister(void *ptr, uint64_t bytes) {
  run("mgpuMemHostRegister", [&](const Driver &api) {
    return QLR_CUDA(api, cuMemHostRegister_v2, ptr, bytes, 0);
  });
}
QLR_API void mgpuMemHostUnregister(void *ptr) {
  run("mgpuMemHostUnregister",
      [&](const Driver &api) { return QLR_CUDA(api, cuMemHostUnregister, ptr); });
}
QLR_API void mgpuMemHostRegisterMemRef(int64_t rank, ByteMemRef *memref,
                                       int64_t elementBytes) {
  char *first = nullptr;
  uint64_t bytes = 0;
  if (denseRange(rank, memref, elementBytes, first, bytes))
    mgpuMemHostRegister(first, bytes);
  else
    std::fprintf(stderr, "mgpuMemHostRegisterMemRef: the memref is not dense; copy it "
                         "to a dense one\n");
}
QLR_API void mgpuMemHostUnregisterMemRef(int64_t rank, ByteMemRef *memref,
                                         int64_t elementBytes) {
  char *first = nullptr;
  uint64_t bytes = 0;
  if (denseRange(rank, memref, elementBytes, first, bytes))
    mgpuMemHostUnregister(first);
}

} // extern "C"
