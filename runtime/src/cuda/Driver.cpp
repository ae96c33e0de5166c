//===- Driver.cpp - Open and check the CUDA driver ------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Driver.h"

#include <cstdlib>
#include <dlfcn.h>

using namespace qlinear::runtime;
using namespace qlinear::runtime::cuda;

/// The oldest driver that runs the compiler's PTX.
static constexpr int kOldestCuda = 11000;

Expected<std::shared_ptr<const Driver>> Driver::open() {
  const char *named = std::getenv("QLINEAR_CUDA_DRIVER");
  const char *path = named && *named ? named : "libcuda.so.1";
  auto driver = std::make_shared<Driver>();
  driver->library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!driver->library)
    return fail(QLR_NO_DEVICE, "no CUDA driver: ", dlerror(),
                "; install NVIDIA's driver, or use the device \"cpu\" or \"emulated\"");

  std::string missing;
#define QLR_BIND(symbol, params)                                                       \
  driver->symbol = reinterpret_cast<Result(*) params>(dlsym(driver->library, #symbol));
#define QLR_BIND_REQUIRED(symbol, params)                                              \
  QLR_BIND(symbol, params)                                                             \
  if (!driver->symbol && missing.empty())                                              \
    missing = #symbol;
  QLR_CUDA_REQUIRED(QLR_BIND_REQUIRED)
  QLR_CUDA_OPTIONAL(QLR_BIND)
#undef QLR_BIND_REQUIRED
#undef QLR_BIND
  if (!missing.empty())
    return fail(QLR_NO_DEVICE, "the CUDA driver '", path, "' is too old: it has no ",
                missing, "; a driver for CUDA ", versionText(kOldestCuda),
                " or later is needed");

  QLR_TRY(QLR_CUDA(*driver, cuInit, 0));
  QLR_TRY(QLR_CUDA(*driver, cuDriverGetVersion, &driver->cudaVersion));
  if (driver->cudaVersion < kOldestCuda)
    return fail(QLR_NO_DEVICE, "the CUDA driver is too old: it supports CUDA ",
                versionText(driver->cudaVersion), ", and ", versionText(kOldestCuda),
                " or later is needed");
  return std::shared_ptr<const Driver>(std::move(driver));
}

Driver::~Driver() {
  if (library)
    dlclose(library);
}

std::string Driver::explain(Result result) const {
  const char *name = nullptr, *description = nullptr;
  if (cuGetErrorName(result, &name) != kSuccess || !name)
    name = "unknown CUDA error";
  if (cuGetErrorString(result, &description) != kSuccess)
    description = nullptr;
  return text(name, " (", result, ")", description ? ": " : "",
              description ? description : "");
}

Status Driver::check(Result result, const char *call,
                     const std::string &context) const {
  if (result == kSuccess)
    return {};
  return fail(statusOf(result), call, " failed", context.empty() ? "" : " ", context,
              ": ", explain(result));
}

qlr_status qlinear::runtime::cuda::statusOf(Result result) {
  switch (result) {
  case kSuccess:
    return QLR_OK;
  case kOutOfMemory:
    return QLR_OUT_OF_MEMORY;
  case 34: // a stub library instead of a driver
  case 36: // the call requires a newer driver
  case 46: // device unavailable
  case kNoDevice:
  case kInvalidDevice:
  case 802: // system not ready
  case 803: // driver and library do not match
  case 804: // forward compatibility not supported on this device
    return QLR_NO_DEVICE;
  case 214: // uncorrectable ECC error
  case 220: // uncorrectable NVLink error
  case 226: // contained error
  case 700: // illegal address
  case 702: // launch timeout
  case 709: // context is destroyed
  case 710: // assert
  case 714: // hardware stack error
  case 715: // illegal instruction
  case 716: // misaligned address
  case 717: // invalid address space
  case 718: // invalid program counter
  case 719: // launch failed
  case 721: // tensor memory leak
    return QLR_DEVICE_LOST;
  default:
    return QLR_DEVICE_ERROR;
  }
}

std::string qlinear::runtime::cuda::versionText(int cudaVersion) {
  return text(cudaVersion / 1000, ".", cudaVersion % 1000 / 10);
}
