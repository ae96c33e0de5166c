//===- Driver.h - The CUDA driver, opened at run time -----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The part of the driver API that the runtime uses, declared here and bound with
// dlopen: neither CUDA's headers nor its libraries are needed to build or start.
// The types have the ABI of cuda.h; entry points are named with the version whose
// signature is declared. A driver without a required one is too old.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_CUDA_DRIVER_H
#define QLINEAR_RUNTIME_CUDA_DRIVER_H

#include "../Status.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace qlinear::runtime::cuda {

using Result = int; ///< CUresult
using DeviceId = int;
using DevicePtr = unsigned long long;
using Context = struct ContextHandle *;
using ModuleHandle = struct ModuleObject *;
using Function = struct FunctionHandle *;
using Stream = struct StreamHandle *;
using Event = struct EventHandle *;
using Graph = struct GraphHandle *;
using GraphExec = struct GraphExecHandle *;

enum : Result {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kDeinitialized = 4,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kNoBinaryForGpu = 209,
  kInvalidPtx = 218,
  kJitCompilerNotFound = 221,
  kUnsupportedPtxVersion = 222,
  kJitDisabled = 223,
  kNotFound = 500,
  kCaptureUnsupported = 900,
};

// Values of cuda.h's enumerations.
inline constexpr int kAttrComputeMajor = 75, kAttrComputeMinor = 76,
                     kAttrSharedMemoryOptin = 97, kAttrMultiprocessors = 16;
inline constexpr int kFuncMaxDynamicShared = 8, kFuncCarveout = 9;
inline constexpr int kJitErrorLog = 5, kJitErrorLogBytes = 6;
inline constexpr unsigned kStreamNonBlocking = 1, kEventDisableTiming = 2;
inline constexpr unsigned kLaunchClusterDimension = 4,
                          kLaunchProgrammaticSerialization = 6;
inline constexpr int kCaptureThreadLocal = 1;

struct LaunchAttribute {
  unsigned id;
  char pad[4];
  union {
    char bytes[64];
    int programmaticSerializationAllowed;
    struct {
      unsigned x, y, z;
    } clusterDim;
  } value;
};
struct LaunchConfig {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  Stream stream;
  LaunchAttribute *attributes;
  unsigned attributeCount;
};

// X(symbol, parameter types): what every supported driver (CUDA 11.0 on) has.
#define QLR_CUDA_REQUIRED(X)                                                           \
  X(cuInit, (unsigned))                                                                \
  X(cuDriverGetVersion, (int *))                                                       \
  X(cuGetErrorName, (Result, const char **))                                           \
  X(cuGetErrorString, (Result, const char **))                                         \
  X(cuDeviceGetCount, (int *))                                                         \
  X(cuDeviceGet, (DeviceId *, int))                                                    \
  X(cuDeviceGetName, (char *, int, DeviceId))                                          \
  X(cuDeviceGetAttribute, (int *, int, DeviceId))                                      \
  X(cuDevicePrimaryCtxRetain, (Context *, DeviceId))                                   \
  X(cuDevicePrimaryCtxRelease_v2, (DeviceId))                                          \
  X(cuCtxPushCurrent_v2, (Context))                                                    \
  X(cuCtxPopCurrent_v2, (Context *))                                                   \
  X(cuModuleLoadData, (ModuleHandle *, const void *))                                  \
  X(cuModuleLoadDataEx, (ModuleHandle *, const void *, unsigned, int *, void **))      \
  X(cuModuleUnload, (ModuleHandle))                                                    \
  X(cuModuleGetFunction, (Function *, ModuleHandle, const char *))                     \
  X(cuFuncSetAttribute, (Function, int, int))                                          \
  X(cuMemAlloc_v2, (DevicePtr *, size_t))                                              \
  X(cuMemGetInfo_v2, (size_t *, size_t *))                                             \
  X(cuMemFree_v2, (DevicePtr))                                                         \
  X(cuMemAllocManaged, (DevicePtr *, size_t, unsigned))                                \
  X(cuMemHostRegister_v2, (void *, size_t, unsigned))                                  \
  X(cuMemHostUnregister, (void *))                                                     \
  X(cuMemcpyAsync, (DevicePtr, DevicePtr, size_t, Stream))                             \
  X(cuMemcpyHtoDAsync_v2, (DevicePtr, const void *, size_t, Stream))                   \
  X(cuMemcpyDtoHAsync_v2, (void *, DevicePtr, size_t, Stream))                         \
  X(cuMemsetD8Async, (DevicePtr, unsigned char, size_t, Stream))                       \
  X(cuMemsetD16Async, (DevicePtr, unsigned short, size_t, Stream))                     \
  X(cuMemsetD32Async, (DevicePtr, unsigned, size_t, Stream))                           \
  X(cuStreamCreate, (Stream *, unsigned))                                              \
  X(cuStreamDestroy_v2, (Stream))                                                      \
  X(cuStreamSynchronize, (Stream))                                                     \
  X(cuStreamWaitEvent, (Stream, Event, unsigned))                                      \
  X(cuStreamBeginCapture_v2, (Stream, int))                                            \
  X(cuStreamEndCapture, (Stream, Graph *))                                             \
  X(cuGraphInstantiate_v2, (GraphExec *, Graph, void **, char *, size_t))              \
  X(cuGraphLaunch, (GraphExec, Stream))                                                \
  X(cuGraphExecDestroy, (GraphExec))                                                   \
  X(cuGraphDestroy, (Graph))                                                           \
  X(cuEventCreate, (Event *, unsigned))                                                \
  X(cuEventDestroy_v2, (Event))                                                        \
  X(cuEventRecord, (Event, Stream))                                                    \
  X(cuEventSynchronize, (Event))                                                       \
  X(cuEventElapsedTime, (float *, Event, Event))                                       \
  X(cuLaunchKernel, (Function, unsigned, unsigned, unsigned, unsigned, unsigned,       \
                     unsigned, unsigned, Stream, void **, void **))

// Newer ones; null where the driver has none.
#define QLR_CUDA_OPTIONAL(X)                                                           \
  X(cuLaunchKernelEx, (const LaunchConfig *, Function, void **, void **))              \
  X(cuFuncLoad, (Function))

/// The driver's entry points.
class Driver {
public:
#define QLR_DECLARE(symbol, params) Result(*symbol) params = nullptr;
  QLR_CUDA_REQUIRED(QLR_DECLARE)
  QLR_CUDA_OPTIONAL(QLR_DECLARE)
#undef QLR_DECLARE

  /// Opens libcuda.so.1, or the library that the environment variable
  /// QLINEAR_CUDA_DRIVER names, and initializes it.
  static Expected<std::shared_ptr<const Driver>> open();
  ~Driver();

  /// Success, or a Status whose message says which call failed, on what, and how
  /// the driver explains it. `context` may be empty.
  Status check(Result result, const char *call, const std::string &context = {}) const;
  /// "CUDA_ERROR_OUT_OF_MEMORY (2): out of memory".
  std::string explain(Result result) const;
  /// CUDA version that the driver supports: 12040 is 12.4.
  int version() const { return cudaVersion; }

private:
  void *library = nullptr;
  int cudaVersion = 0;
};

/// The status code for a driver's result. Some errors destroy the context: all
/// later calls in it fail the same way.
qlr_status statusOf(Result result);

/// "12.4" for 12040.
std::string versionText(int cudaVersion);

/// Calls driver.SYMBOL(ARGS...) and checks it; the name is in the message.
#define QLR_CUDA(driver, symbol, ...)                                                  \
  (driver).check((driver).symbol(__VA_ARGS__), #symbol)

} // namespace qlinear::runtime::cuda
#endif
