//===- FakeCuda.cpp - A CUDA driver on host memory ------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"
#include "../../runtime/src/cuda/Driver.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>

using namespace qlinear::runtime::cuda;

namespace {

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

bool isSticky(Result r) { return statusOf(r) == QLR_DEVICE_LOST; }

class Fake : public FakeCuda {
public:
  mutable std::recursive_mutex mutex;
  FakeSettings settings;
  std::vector<std::string> log;
  std::vector<FakeLaunch> launched;
  std::map<std::pair<std::string, int>, int> attrs;
  std::map<std::string, KernelEntry> kernels;
  std::map<std::string, std::set<void *>> objects; ///< live, by kind
  std::map<void *, size_t> sizes;                  ///< of memory and pinned
  std::map<std::pair<void *, std::string>, FakeFunction *> functions;
  std::string failedCall;
  int matching = 0, orphaned = 0, retained = 0;
  uint64_t used = 0, pinned = 0, pinnedPeak = 0;
  Result sticky = kSuccess;

  void reset(const FakeSettings &s) override {
    std::lock_guard lock(mutex);
    destroyAll();
    settings = s;
    log.clear();
    launched.clear();
    attrs.clear();
    failedCall.clear();
    matching = orphaned = retained = 0;
    used = pinned = pinnedPeak = 0;
    sticky = kSuccess;
  }
  void failNext(const std::string &function, int nth, int code) override {
    std::lock_guard lock(mutex);
    settings.failFunction = function;
    settings.failNth = nth;
    settings.failCode = code;
    matching = 0;
    failedCall.clear();
  }
  void registerKernel(const std::string &name, int pointers, Kernel run) override {
    std::lock_guard lock(mutex);
    kernels[name] = {pointers, std::move(run)};
  }
  std::vector<std::string> calls() const override {
    std::lock_guard lock(mutex);
    return log;
  }
  std::vector<FakeLaunch> launches() const override {
    std::lock_guard lock(mutex);
    return launched;
  }
  std::map<std::pair<std::string, int>, int> attributes() const override {
    std::lock_guard lock(mutex);
    return attrs;
  }
  std::map<std::string, int> live() const override {
    std::lock_guard lock(mutex);
    std::map<std::string, int> counts;
    for (auto &[kind, set] : objects)
      if (!set.empty())
        counts[kind] = int(set.size());
    if (retained)
      counts["context"] = retained;
    return counts;
  }
  int orphans() const override {
    std::lock_guard lock(mutex);
    return orphaned;
  }
  std::string failed() const override {
    std::lock_guard lock(mutex);
    return failedCall;
  }
  uint64_t peakPinned() const override {
    std::lock_guard lock(mutex);
    return pinnedPeak;
  }

  /// Logs the call; its injected failure, or what a lost context answers.
  Result enter(const char *name) {
    log.push_back(name);
    if (settings.failNth &&
        (settings.failFunction.empty() || settings.failFunction == name) &&
        ++matching == settings.failNth) {
      failedCall = name;
      if (isSticky(settings.failCode))
        sticky = settings.failCode;
      return settings.failCode;
    }
    return sticky;
  }

  template <typename T> T *add(const char *kind, T *object) {
    objects[kind].insert(object);
    return object;
  }
  bool isLive(const char *kind, void *object) {
    return objects[kind].count(object) != 0;
  }
  void destroy(const std::string &kind, void *object) {
    if (kind == "memory" || kind == "pinned") {
      (kind == "memory" ? used : pinned) -= sizes[object];
      sizes.erase(object);
      std::free(object);
    } else if (kind == "module") {
      for (auto it = functions.begin(); it != functions.end();)
        if (it->first.first == object) {
          delete it->second;
          it = functions.erase(it);
        } else {
          ++it;
        }
      delete static_cast<FakeModule *>(object);
    } else if (kind == "stream") {
      delete static_cast<FakeStream *>(object);
    } else if (kind == "graph" || kind == "graphExec") {
      delete static_cast<FakeGraph *>(object);
    } else if (kind == "event") {
      delete static_cast<char *>(object);
    }
    objects[kind].erase(object);
  }
  /// A release: an injected failure is returned, but the object is gone; in a lost
  /// context it stays until the context ends.
  Result remove(Result entered, const char *kind, void *object) {
    if (sticky != kSuccess)
      return sticky;
    if (!isLive(kind, object))
      return kInvalidHandle;
    destroy(kind, object);
    return entered;
  }
  void destroyAll() {
    for (auto &[kind, set] : objects)
      while (!set.empty()) {
        ++orphaned;
        destroy(kind, *set.begin());
      }
  }
  bool anyCapture() {
    for (void *s : objects["stream"])
      if (static_cast<FakeStream *>(s)->capturing)
        return true;
    return false;
  }
  /// Whether [ptr, ptr + bytes) lies in one live allocation.
  bool inMemory(const void *ptr, size_t bytes) {
    for (auto &[base, size] : sizes) {
      auto *first = static_cast<const char *>(base),
           *p = static_cast<const char *>(ptr);
      if (p >= first && p + bytes <= first + size)
        return true;
    }
    return false;
  }
  Result submit(Stream stream, Work work) {
    if (!stream)
      return work();
    if (!isLive("stream", stream))
      return kInvalidHandle;
    auto *s = reinterpret_cast<FakeStream *>(stream);
    if (!s->capturing)
      return work();
    s->recorded.push_back(std::move(work));
    return kSuccess;
  }
};

Fake &fake() {
  static Fake instance;
  return instance;
}

thread_local std::vector<void *> contextStack;

} // namespace

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
  if (contextStack.empty())                                                            \
  return kInvalidContext
#define API extern "C" __attribute__((visibility("default"))) Result

// A call that has nothing to do here.
#define SUCCEEDS(name, params)                                                         \
  API name params {                                                                    \
    IN_CONTEXT(name);                                                                  \
    return kSuccess;                                                                   \
  }

extern "C" __attribute__((visibility("default"))) FakeCuda *fakeCuda() {
  return &fake();
}

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
  ++f.retained;
  *context = reinterpret_cast<Context>(uintptr_t(device) + 1);
  return kSuccess;
}
API cuDevicePrimaryCtxRelease_v2(DeviceId) {
  ENTER(cuDevicePrimaryCtxRelease_v2);
  if (--f.retained == 0) {
    f.destroyAll();
    f.sticky = kSuccess;
  }
  return entered;
}
API cuCtxPushCurrent_v2(Context context) {
  ENTER_OR_RETURN(cuCtxPushCurrent_v2);
  contextStack.push_back(context);
  return kSuccess;
}
API cuCtxPopCurrent_v2(Context *context) {
  ENTER(cuCtxPopCurrent_v2);
  if (contextStack.empty())
    return kInvalidContext;
  *context = static_cast<Context>(contextStack.back());
  contextStack.pop_back();
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
  } else if (text.starts_with(".version")) {
    double version = 0;
    in >> word >> version;
    // PTX 8.n comes with CUDA 12.n, 9.n with 13.n.
    if ((version + 4) * 1000 > f.settings.driverVersion + 0.5)
      return kUnsupportedPtxVersion;
    while (in >> word) {
      if (word == "error") {
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
  return contextStack.empty() ? kInvalidContext : f.remove(entered, "module", module);
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

static Result allocate(Fake &f, const char *kind, void **out, size_t bytes) {
  bool device = !std::strcmp(kind, "memory");
  if (bytes == 0)
    return kInvalidValue;
  if (f.anyCapture())
    return kCaptureUnsupported;
  if (device && f.used + bytes > f.settings.memory)
    return kOutOfMemory;
  if (posix_memalign(out, 256, bytes) != 0)
    return kOutOfMemory;
  std::memset(*out, 0xCD, bytes); // never zero by chance
  (device ? f.used : f.pinned) += bytes;
  f.pinnedPeak = std::max(f.pinnedPeak, f.pinned);
  f.sizes[*out] = bytes;
  f.add(kind, *out);
  return kSuccess;
}
API cuMemAlloc_v2(DevicePtr *out, size_t bytes) {
  IN_CONTEXT(cuMemAlloc_v2);
  return allocate(f, "memory", reinterpret_cast<void **>(out), bytes);
}
API cuMemAllocManaged(DevicePtr *out, size_t bytes, unsigned) {
  IN_CONTEXT(cuMemAllocManaged);
  return allocate(f, "memory", reinterpret_cast<void **>(out), bytes);
}
API cuMemFree_v2(DevicePtr ptr) {
  ENTER(cuMemFree_v2);
  return contextStack.empty()
             ? kInvalidContext
             : f.remove(entered, "memory", reinterpret_cast<void *>(ptr));
}
API cuMemHostAlloc(void **out, size_t bytes, unsigned) {
  IN_CONTEXT(cuMemHostAlloc);
  return allocate(f, "pinned", out, bytes);
}
API cuMemFreeHost(void *ptr) {
  ENTER(cuMemFreeHost);
  return contextStack.empty() ? kInvalidContext : f.remove(entered, "pinned", ptr);
}
API cuMemHostRegister_v2(void *ptr, size_t, unsigned) {
  IN_CONTEXT(cuMemHostRegister_v2);
  f.objects["registered"].insert(ptr);
  return kSuccess;
}
API cuMemHostUnregister(void *ptr) {
  ENTER(cuMemHostUnregister);
  return f.remove(entered, "registered", ptr);
}

static Result copy(Fake &f, void *dst, const void *src, size_t bytes,
                   const void *device, Stream stream) {
  if (!f.inMemory(device, bytes))
    return kInvalidValue;
  return f.submit(stream, [=] {
    std::memcpy(dst, src, bytes);
    return kSuccess;
  });
}
API cuMemcpyHtoDAsync_v2(DevicePtr dst, const void *src, size_t bytes, Stream stream) {
  IN_CONTEXT(cuMemcpyHtoDAsync_v2);
  auto *to = reinterpret_cast<void *>(dst);
  return copy(f, to, src, bytes, to, stream);
}
API cuMemcpyDtoHAsync_v2(void *dst, DevicePtr src, size_t bytes, Stream stream) {
  IN_CONTEXT(cuMemcpyDtoHAsync_v2);
  auto *from = reinterpret_cast<void *>(src);
  return copy(f, dst, from, bytes, from, stream);
}
API cuMemcpyAsync(DevicePtr dst, DevicePtr src, size_t bytes, Stream stream) {
  IN_CONTEXT(cuMemcpyAsync);
  return f.submit(stream, [=] {
    std::memcpy(reinterpret_cast<void *>(dst), reinterpret_cast<void *>(src), bytes);
    return kSuccess;
  });
}
template <typename T>
static Result fill(Fake &f, DevicePtr dst, T value, size_t count, Stream stream) {
  auto *to = reinterpret_cast<T *>(dst);
  if (!f.inMemory(to, count * sizeof(T)))
    return kInvalidValue;
  return f.submit(stream, [=] {
    std::fill_n(to, count, value);
    return kSuccess;
  });
}
API cuMemsetD8Async(DevicePtr dst, unsigned char v, size_t n, Stream s) {
  IN_CONTEXT(cuMemsetD8Async);
  return fill(f, dst, v, n, s);
}
API cuMemsetD16Async(DevicePtr dst, unsigned short v, size_t n, Stream s) {
  IN_CONTEXT(cuMemsetD16Async);
  return fill(f, dst, v, n, s);
}
API cuMemsetD32Async(DevicePtr dst, unsigned v, size_t n, Stream s) {
  IN_CONTEXT(cuMemsetD32Async);
  return fill(f, dst, v, n, s);
}

API cuStreamCreate(Stream *stream, unsigned) {
  IN_CONTEXT(cuStreamCreate);
  *stream = reinterpret_cast<Stream>(f.add("stream", new FakeStream));
  return kSuccess;
}
API cuStreamDestroy_v2(Stream stream) {
  ENTER(cuStreamDestroy_v2);
  return contextStack.empty() ? kInvalidContext : f.remove(entered, "stream", stream);
}
API cuStreamSynchronize(Stream) {
  IN_CONTEXT(cuStreamSynchronize);
  return f.anyCapture() ? kCaptureUnsupported : kSuccess;
}
SUCCEEDS(cuStreamWaitEvent, (Stream, Event, unsigned))
API cuStreamBeginCapture_v2(Stream stream, int) {
  IN_CONTEXT(cuStreamBeginCapture_v2);
  reinterpret_cast<FakeStream *>(stream)->capturing = true;
  return kSuccess;
}
API cuStreamEndCapture(Stream stream, Graph *graph) {
  IN_CONTEXT(cuStreamEndCapture);
  auto *s = reinterpret_cast<FakeStream *>(stream);
  s->capturing = false;
  *graph =
      reinterpret_cast<Graph>(f.add("graph", new FakeGraph{std::move(s->recorded)}));
  s->recorded.clear();
  return kSuccess;
}
API cuGraphInstantiate_v2(GraphExec *exec, Graph graph, void **, char *, size_t) {
  IN_CONTEXT(cuGraphInstantiate_v2);
  *exec = reinterpret_cast<GraphExec>(
      f.add("graphExec", new FakeGraph(*reinterpret_cast<FakeGraph *>(graph))));
  return kSuccess;
}
API cuGraphLaunch(GraphExec exec, Stream) {
  IN_CONTEXT(cuGraphLaunch);
  for (Work &work : reinterpret_cast<FakeGraph *>(exec)->work)
    if (Result r = work(); r != kSuccess)
      return r;
  return kSuccess;
}
API cuGraphExecDestroy(GraphExec exec) {
  ENTER(cuGraphExecDestroy);
  return f.remove(entered, "graphExec", exec);
}
API cuGraphDestroy(Graph graph) {
  ENTER(cuGraphDestroy);
  return f.remove(entered, "graph", graph);
}

API cuEventCreate(Event *event, unsigned) {
  IN_CONTEXT(cuEventCreate);
  *event = reinterpret_cast<Event>(f.add("event", new char));
  return kSuccess;
}
API cuEventDestroy_v2(Event event) {
  ENTER(cuEventDestroy_v2);
  return contextStack.empty() ? kInvalidContext : f.remove(entered, "event", event);
}
SUCCEEDS(cuEventRecord, (Event, Stream))
SUCCEEDS(cuEventSynchronize, (Event))
API cuEventElapsedTime(float *ms, Event, Event) {
  IN_CONTEXT(cuEventElapsedTime);
  *ms = 1;
  return kSuccess;
}

static Result launch(Fake &f, FakeLaunch l, Function function, void **params) {
  auto *fn = reinterpret_cast<FakeFunction *>(function);
  l.kernel = fn->name;
  auto it = f.kernels.find(fn->name);
  if (it == f.kernels.end() || l.grid == 0 || l.block == 0 || l.block > 1024 ||
      int(l.smem) > fn->maxShared)
    return kInvalidValue;
  for (int i = 0; i < it->second.pointers; ++i) {
    l.pointers.push_back(*static_cast<void **>(params[i]));
    if (!f.inMemory(l.pointers.back(), 1)) {
      f.sticky = kIllegalAddress;
      return kIllegalAddress;
    }
  }
  l.rows = *static_cast<int32_t *>(params[it->second.pointers]);
  FakeCuda::Kernel run = it->second.run;
  return f.submit(static_cast<Stream>(l.stream), [&f, l, run] {
    f.launched.push_back(l);
    run(l);
    return kSuccess;
  });
}
API cuLaunchKernel(Function function, unsigned gx, unsigned, unsigned, unsigned bx,
                   unsigned, unsigned, unsigned smem, Stream stream, void **params,
                   void **) {
  IN_CONTEXT(cuLaunchKernel);
  FakeLaunch l;
  l.grid = gx;
  l.block = bx;
  l.smem = smem;
  l.stream = stream;
  return launch(f, l, function, params);
}
API cuLaunchKernelEx(const LaunchConfig *config, Function function, void **params,
                     void **) {
  IN_CONTEXT(cuLaunchKernelEx);
  FakeLaunch l;
  l.grid = config->gridX;
  l.block = config->blockX;
  l.smem = config->sharedBytes;
  l.stream = config->stream;
  for (unsigned i = 0; i < config->attributeCount; ++i) {
    const LaunchAttribute &a = config->attributes[i];
    if (a.id == kLaunchProgrammaticSerialization)
      l.pdl = a.value.programmaticSerializationAllowed;
    if (a.id == kLaunchClusterDimension)
      l.clusterX = a.value.clusterDim.x;
  }
  return launch(f, l, function, params);
}
