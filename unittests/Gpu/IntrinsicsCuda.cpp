//===- IntrinsicsCuda.cpp - Test kernels on a GPU -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The PTX is in the program, for sm_80 and for sm_90; the driver compiles the one that
// the device takes.
//
//===----------------------------------------------------------------------===//
#include "GpuTest.h"
#include "IntrinsicsTest.h"

#include <map>

using namespace gpu;
using namespace gpu::intrinsics;
using namespace qlinear::runtime;

static const char kPtx80[] = {
#include "intrinsics-sm_80.inc"
    0};
static const char kPtx90[] = {
#include "intrinsics-sm_90.inc"
    0};
static const char kPtx90a[] = {
#include "intrinsics-sm_90a.inc"
    0};

namespace {

/// The device with the kernels, its context current on this thread.
class Gpu {
public:
  static inline std::unique_ptr<Gpu> instance;
  static Gpu &get() {
    if (!instance)
      instance.reset(new Gpu);
    return *instance;
  }
  ~Gpu() {
    if (module)
      (void)driver->cuModuleUnload(module);
  }
  int architecture = 0;
  std::string run(const std::vector<Call> &calls) {
    error.clear();
    bool done = load() && upload(calls) && launch(calls) && download();
    for (auto &[host, array] : arrays)
      (void)driver->cuMemFree_v2(array.device);
    arrays.clear();
    return done ? "" : error;
  }

private:
  Gpu() {
    int major = 0, minor = 0;
    cuda::DeviceId id = 0;
    if (ok(driver->cuDeviceGet(&id, 0), "cuDeviceGet") &&
        ok(driver->cuDeviceGetAttribute(&major, cuda::kAttrComputeMajor, id),
           "cuDeviceGetAttribute") &&
        ok(driver->cuDeviceGetAttribute(&minor, cuda::kAttrComputeMinor, id),
           "cuDeviceGetAttribute"))
      architecture = 10 * major + minor;
  }

  bool ok(int result, const std::string &what) {
    const char *name = nullptr;
    if (result != 0 && error.empty()) {
      (void)driver->cuGetErrorName(result, &name);
      error = what + ": " + (name ? name : std::to_string(result));
    }
    return result == 0;
  }

  bool load() {
    if (module)
      return true;
    char log[4096] = {};
    int options[] = {cuda::kJitErrorLog, cuda::kJitErrorLogBytes};
    void *values[] = {log, reinterpret_cast<void *>(sizeof log)};
    int result = driver->cuModuleLoadDataEx(&module,
                                            architecture == 90  ? kPtx90a
                                            : architecture > 90 ? kPtx90
                                                                : kPtx80,
                                            2, options, values);
    return ok(result, std::string("cuModuleLoadDataEx: ") + log);
  }

  bool upload(const std::vector<Call> &calls) {
    for (const Call &call : calls)
      for (const Argument &a : call.arguments) {
        if (!a.array || arrays.count(a.array))
          continue;
        Array &array = arrays[a.array];
        array.bytes = a.bytes;
        if (!ok(driver->cuMemAlloc_v2(&array.device, a.bytes), "cuMemAlloc") ||
            !ok(driver->cuMemcpyHtoDAsync_v2(array.device, a.array, a.bytes, nullptr),
                "cuMemcpyHtoDAsync"))
          return false;
      }
    // Calls that may start early come after all of this.
    return ok(driver->cuStreamSynchronize(nullptr), "cuStreamSynchronize");
  }

  bool launch(const std::vector<Call> &calls) {
    for (const Call &call : calls) {
      cuda::Function function = nullptr;
      if (!ok(driver->cuModuleGetFunction(&function, module, call.kernel),
              std::string("cuModuleGetFunction ") + call.kernel) ||
          !ok(driver->cuFuncSetAttribute(function, cuda::kFuncMaxDynamicShared,
                                         int(call.smem)),
              std::string("shared memory of ") + call.kernel))
        return false;
      std::vector<void *> parameters;
      for (const Argument &a : call.arguments)
        parameters.push_back(a.array ? static_cast<void *>(&arrays.at(a.array).device)
                                     : const_cast<uint64_t *>(&a.number));
      cuda::LaunchAttribute attributes[2] = {};
      unsigned count = 0;
      if (call.cluster > 1) {
        attributes[count].id = cuda::kLaunchClusterDimension;
        attributes[count++].value.clusterDim = {call.cluster, 1, 1};
      }
      if (call.dependent) {
        attributes[count].id = cuda::kLaunchProgrammaticSerialization;
        attributes[count++].value.programmaticSerializationAllowed = 1;
      }
      cuda::LaunchConfig config{call.grid, 1,         1,       call.block, 1,
                                1,         call.smem, nullptr, attributes, count};
      int result =
          count
              ? driver->cuLaunchKernelEx(&config, function, parameters.data(), nullptr)
              : driver->cuLaunchKernel(function, call.grid, 1, 1, call.block, 1, 1,
                                       call.smem, nullptr, parameters.data(), nullptr);
      if (!ok(result, std::string("launch of ") + call.kernel))
        return false;
    }
    return ok(driver->cuStreamSynchronize(nullptr),
              std::string("after ") + calls.back().kernel);
  }

  bool download() {
    for (auto &[host, array] : arrays)
      if (!ok(driver->cuMemcpyDtoHAsync_v2(host, array.device, array.bytes, nullptr),
              "cuMemcpyDtoHAsync"))
        return false;
    return ok(driver->cuStreamSynchronize(nullptr), "cuStreamSynchronize");
  }

  struct Array {
    cuda::DevicePtr device = 0;
    size_t bytes = 0;
  };
  gpu::Driver driver;
  cuda::ModuleHandle module = nullptr;
  std::map<void *, Array> arrays;
  std::string error;
};

} // namespace

std::string gpu::intrinsics::missing(int sm, bool exactly) {
  if (!isCuda())
    return deviceName() + " is not a CUDA device";
  int has = Gpu::get().architecture;
  return (exactly ? has == sm : has >= sm)
             ? ""
             : "the device is sm_" + std::to_string(has) + ", not sm_" +
                   std::to_string(sm) + (exactly ? "" : " or newer");
}

unsigned gpu::intrinsics::runs() { return 50; }

void gpu::intrinsics::release() { Gpu::instance.reset(); }

std::string gpu::intrinsics::run(const std::vector<Call> &calls, unsigned) {
  return Gpu::get().run(calls);
}
