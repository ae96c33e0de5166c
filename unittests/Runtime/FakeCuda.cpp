//===- FakeCuda.cpp - A CUDA driver on host memory ------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeState.h"

#include <cstdlib>
#include <cstring>
#include <sstream>

using namespace fakecuda;

API cuInit(unsigned) {
  ENTER(cuInit);
  return entered;
}
API cuDriverGetVersion(int *version) {
  ENTER_OR_RETURN(cuDriverGetVersion);
  *version = f.settings.driverVersion;
  return kSuccess;
}
API cuGetErrorName(Result result, const char **name) {
  static const std::map<Result, const char *> names = {
      {1, "CUDA_ERROR_INVALID_VALUE"},
      {2, "CUDA_ERROR_OUT_OF_MEMORY"},
      {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
      {218, "CUDA_ERROR_INVALID_PTX"},
      {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
      {700, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {999, "CUDA_ERROR_UNKNOWN"}};
  auto it = names.find(result);
  *name = it == names.end() ? nullptr : it->second;
  return it == names.end() ? kInvalidValue : kSuccess;
}
API cuGetErrorString(Result result, const char **text) {
  *text = "as the test wants it";
  return kSuccess;
}
API cuDeviceGetCount(int *count) {
  ENTER_OR_RETURN(cuDeviceGetCount);
  *count = f.settings.devices;
  return kSuccess;
}
API cuDeviceGet(DeviceId *device, int ordinal) {
  ENTER_OR_RETURN(cuDeviceGet);
  *device = ordinal;
  return ordinal < f.settings.devices ? kSuccess : kInvalidDevice;
}
API cuDeviceGetName(char *name, int size, DeviceId) {
  ENTER_OR_RETURN(cuDeviceGetName);
  std::strncpy(name, "Fake GPU", size_t(size));
  return kSuccess;
}
API cuDeviceGetAttribute(int *value, int which, DeviceId) {
  ENTER_OR_RETURN(cuDeviceGetAttribute);
  *value = which == kAttrComputeMajor        ? f.settings.sm / 10
           : which == kAttrComputeMinor      ? f.settings.sm % 10
           : which == kAttrSharedMemoryOptin ? f.settings.sharedOptin
                                             : 132;
  return kSuccess;
}
API cuDevicePrimaryCtxRetain(Context *context, DeviceId device) {
  ENTER_OR_RETURN(cuDevicePrimaryCtxRetain);
  ++f.devices[device].retained;
  *context = reinterpret_cast<Context>(uintptr_t(device) + 1);
  return kSuccess;
}
API cuDevicePrimaryCtxRelease_v2(DeviceId device) {
  ENTER(cuDevicePrimaryCtxRelease_v2);
  if (--f.devices[device].retained == 0) {
    f.destroyAll(device);
    f.devices.erase(device);
  }
  return entered;
}
API cuCtxPushCurrent_v2(Context context) {
  ENTER_OR_RETURN(cuCtxPushCurrent_v2);
  contextStack().push_back(context);
  return kSuccess;
}
API cuCtxPopCurrent_v2(Context *context) {
  ENTER(cuCtxPopCurrent_v2);
  if (contextStack().empty())
    return kInvalidContext;
  *context = static_cast<Context>(contextStack().back());
  contextStack().pop_back();
  return entered;
}

static Result loadImage(Fake &f, ModuleHandle *module, const void *image,
                        std::string &log) {
  std::string text(static_cast<const char *>(image));
  std::istringstream in(text);
  std::string word;
  auto loaded = std::make_unique<FakeModule>();
  if (text.starts_with("FAKECUBIN")) {
    in >> word >> word;
    int sm = std::atoi(word.c_str() + 3);
    if (sm / 10 != f.settings.sm / 10 || sm > f.settings.sm)
      return kNoBinaryForGpu;
    while (in >> word)
      loaded->kernels.insert(word);
  } else if (size_t start = text.find(".version"); start != std::string::npos) {
    double version = 0;
    in.seekg(std::streamoff(start));
    in >> word >> version;
    // PTX 8.n comes with CUDA 12.n, 9.n with 13.n.
    if ((version + 4) * 1000 > f.settings.driverVersion + 0.5)
      return kUnsupportedPtxVersion;
    while (in >> word) {
      if (word == "garbage") {
        log = "ptxas fatal: as the test wants it";
        return kInvalidPtx;
      }
      if (word == ".entry" && in >> word)
        loaded->kernels.insert(word.substr(0, word.find('(')));
    }
  } else {
    return kInvalidImage;
  }
  *module = reinterpret_cast<ModuleHandle>(f.add("module", loaded.release()));
  return kSuccess;
}
API cuModuleLoadData(ModuleHandle *module, const void *image) {
  IN_CONTEXT(cuModuleLoadData);
  std::string log;
  return loadImage(f, module, image, log);
}
API cuModuleLoadDataEx(ModuleHandle *module, const void *image, unsigned count,
                       int *options, void **values) {
  IN_CONTEXT(cuModuleLoadDataEx);
  std::string log;
  Result result = loadImage(f, module, image, log);
  for (unsigned i = 0; i < count; ++i)
    if (options[i] == kJitErrorLog)
      std::strcpy(static_cast<char *>(values[i]), log.c_str());
  return result;
}
API cuModuleUnload(ModuleHandle module) {
  ENTER(cuModuleUnload);
  return contextStack().empty() ? kInvalidContext : f.remove(entered, "module", module);
}
API cuModuleGetFunction(Function *function, ModuleHandle module, const char *name) {
  IN_CONTEXT(cuModuleGetFunction);
  if (!f.isLive("module", module) ||
      !reinterpret_cast<FakeModule *>(module)->kernels.count(name))
    return kNotFound;
  FakeFunction *&entry = f.functions[{module, name}];
  if (!entry)
    entry = new FakeFunction{name};
  *function = reinterpret_cast<Function>(entry);
  return kSuccess;
}
API cuFuncSetAttribute(Function function, int attribute, int value) {
  IN_CONTEXT(cuFuncSetAttribute);
  auto *fn = reinterpret_cast<FakeFunction *>(function);
  if (attribute == kFuncMaxDynamicShared) {
    if (value > f.settings.sharedOptin)
      return kInvalidValue;
    fn->maxShared = value;
  }
  f.attrs[{fn->name, attribute}] = value;
  return kSuccess;
}
SUCCEEDS(cuFuncLoad, (Function))

static Result allocate(Fake &f, void **out, size_t bytes) {
  if (bytes == 0)
    return kInvalidValue;
  if (f.anyCapture())
    return kCaptureUnsupported;
  uint64_t &used = f.devices[f.current()].used;
  if (used + bytes > f.settings.memory)
    return kOutOfMemory;
  if (posix_memalign(out, 256, bytes) != 0)
    return kOutOfMemory;
  std::memset(*out, 0xCD, bytes); // never zero by chance
  used += bytes;
  f.sizes[*out] = bytes;
  f.add("memory", *out);
  return kSuccess;
}
API cuMemAlloc_v2(DevicePtr *out, size_t bytes) {
  IN_CONTEXT(cuMemAlloc_v2);
  return allocate(f, reinterpret_cast<void **>(out), bytes);
}
API cuMemGetInfo_v2(size_t *free, size_t *total) {
  IN_CONTEXT(cuMemGetInfo_v2);
  *total = f.settings.memory;
  *free = f.settings.memory - f.devices[f.current()].used;
  return kSuccess;
}
API cuMemAllocManaged(DevicePtr *out, size_t bytes, unsigned) {
  IN_CONTEXT(cuMemAllocManaged);
  return allocate(f, reinterpret_cast<void **>(out), bytes);
}
API cuMemFree_v2(DevicePtr ptr) {
  ENTER(cuMemFree_v2);
  return contextStack().empty()
             ? kInvalidContext
             : f.remove(entered, "memory", reinterpret_cast<void *>(ptr));
}
API cuMemHostRegister_v2(void *ptr, size_t bytes, unsigned) {
  IN_CONTEXT(cuMemHostRegister_v2);
  if (bytes == 0)
    return kInvalidValue;
  f.pinned += bytes;
  f.pinnedPeak = std::max(f.pinnedPeak, f.pinned);
  f.sizes[ptr] = bytes;
  f.add("registered", ptr);
  return kSuccess;
}
API cuMemHostUnregister(void *ptr) {
  ENTER(cuMemHostUnregister);
  return contextStack().empty() ? kInvalidContext
                                : f.remove(entered, "registered", ptr);
}
