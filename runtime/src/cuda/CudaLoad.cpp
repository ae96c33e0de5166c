//===- CudaLoad.cpp - Load code and weights onto a CUDA device ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaDevice.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <sys/mman.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

using namespace qlinear;
using namespace qlinear::runtime;
using namespace qlinear::runtime::cuda;

#define QLR_DEVICE_CALL(symbol, ...) check(api->symbol(__VA_ARGS__), #symbol)

//===----------------------------------------------------------------------===//
// Code
//===----------------------------------------------------------------------===//

namespace {

class CudaCode : public Code {
public:
  std::shared_ptr<CudaDevice> device;
  ModuleHandle module = nullptr;
  ~CudaCode() override {
    device->release([&] { (void)device->driver().cuModuleUnload(module); });
  }
};

/// An image that may run on a device, and how good it is.
struct Choice {
  const TargetInfo *target;
  const ImageInfo *image;
  int rank; ///< higher is better
};

/// The images that run on a device, the best first: of the newest chip, made for it
/// alone, machine code.
std::vector<Choice> choicesFor(int sm, const Manifest &manifest) {
  std::vector<Choice> choices;
  for (const TargetInfo &t : manifest.targets) {
    std::optional<ChipName> chip = t.chip();
    if (!chip)
      continue;
    for (const ImageInfo &image : t.images) {
      bool cubin = image.kind == ImageInfo::Kind::cubin;
      if (chip->runsOn(sm, cubin))
        choices.push_back(
            {&t, &image, chip->number * 4 + (chip->suffix != 0) * 2 + cubin});
    }
  }
  std::sort(choices.begin(), choices.end(),
            [](const Choice &a, const Choice &b) { return a.rank > b.rank; });
  return choices;
}

/// The first CUDA version that reads a PTX version: "8.7" is CUDA 12.8.
int cudaOfPtx(std::string_view version) {
  int major = 0, minor = 0;
  auto [dot, error] =
      std::from_chars(version.data(), version.data() + version.size(), major);
  if (error != std::errc() || dot == version.data() + version.size())
    return 0;
  std::from_chars(dot + 1, version.data() + version.size(), minor);
  return major == 7   ? 11000 + 10 * minor
         : major == 8 ? 12000 + 10 * std::min(minor, 6) + (minor > 6 ? 20 : 0)
         : major == 9 ? 13000 + 10 * minor
                      : 0;
}

} // namespace

/// Loads one image. `unfit` tells an image that this driver or device cannot take,
/// so that another may be tried, from a failure of the device.
Expected<ModuleHandle> CudaDevice::loadImage(const Artifact &artifact,
                                             const ImageInfo &info,
                                             const std::string &target, bool &unfit) {
  unfit = false;
  const qlinear_image *image = artifact.image(info.name);
  if (!image || image->size == 0)
    return fail(QLR_BAD_ARTIFACT, "the artifact has no image \"", info.name,
                "\", the code of target ", target);
  const auto *bytes = static_cast<const char *>(image->data);
  bool ptx = info.kind == ImageInfo::Kind::ptx;
  if (ptx && bytes[image->size - 1] != 0)
    return fail(QLR_BAD_ARTIFACT, "the PTX image \"", info.name,
                "\" does not end with a zero byte");
  char log[8192] = "";
  int options[] = {kJitErrorLog, kJitErrorLogBytes};
  void *values[] = {log, reinterpret_cast<void *>(sizeof log - 1)};
  ModuleHandle module = nullptr;
  Result result = api->cuModuleLoadDataEx(&module, bytes, 2, options, values);
  if (result == kSuccess)
    return module;
  unfit = result == kInvalidImage || result == kNoBinaryForGpu ||
          result == kInvalidPtx || result == kJitCompilerNotFound ||
          result == kUnsupportedPtxVersion || result == kJitDisabled;
  Status status =
      check(result, "cuModuleLoadDataEx", text("for the image \"", info.name, "\""));
  if (result == kUnsupportedPtxVersion) {
    int needs = cudaOfPtx(info.version);
    status.message +=
        text(" (its PTX version ", info.version,
             needs ? " needs a driver for CUDA " : "", needs ? versionText(needs) : "",
             "; this driver supports ", versionText(api->version()), ")");
  }
  log[sizeof log - 1] = 0;
  if (*log)
    status.message += text("\n", log);
  return status;
}

Status CudaDevice::bindKernels(const Artifact &artifact, Code &code,
                               ModuleHandle module) {
  for (const FunctionInfo &function : code.target->functions)
    for (const StepInfo &step : function.steps)
      QLR_TRY(step.forEachKernel([&](const KernelInfo &k) -> Status {
        if (int64_t(k.smem) > sharedLimit)
          return fail(QLR_NO_DEVICE, "kernel '", k.name, "' needs ", k.smem,
                      " bytes of shared memory, but a block of ", deviceName, " has ",
                      sharedLimit, "; compile the artifact with --target=", targetName);
        void *&entry = code.kernels[k.name];
        Function handle = static_cast<Function>(entry);
        if (!handle) {
          Result found = api->cuModuleGetFunction(&handle, module, k.name.c_str());
          if (found == kNotFound)
            return fail(QLR_BAD_ARTIFACT, "the code of target ", code.target->target,
                        " has no kernel '", k.name, "' of function \"", function.name,
                        "\"");
          QLR_TRY(check(found, "cuModuleGetFunction", text("for '", k.name, "'")));
          entry = handle;
          // All of it for shared memory: a kernel and its successor, launched
          // early, then fit on one multiprocessor.
          QLR_TRY(QLR_DEVICE_CALL(cuFuncSetAttribute, handle, kFuncCarveout, 100));
          // The first launch must not load code: it may be inside a capture.
          if (api->cuFuncLoad)
            QLR_TRY(QLR_DEVICE_CALL(cuFuncLoad, handle));
        }
        if (k.smem > 48 * 1024)
          QLR_TRY(
              check(api->cuFuncSetAttribute(handle, kFuncMaxDynamicShared, int(k.smem)),
                    "cuFuncSetAttribute",
                    text("for ", k.smem, " bytes of shared memory of '", k.name, "'")));
        return {};
      }));
  return {};
}

Expected<std::unique_ptr<Code>> CudaDevice::load(const Artifact &artifact) {
  std::vector<Choice> choices = choicesFor(sm, artifact.manifest());
  if (choices.empty())
    return fail(QLR_NO_DEVICE, "the artifact has code for ", artifact.targetNames(),
                ", none of which runs on cuda:", ordinal, " (", deviceName, ", sm_", sm,
                "); compile it with --target=", targetName);
  Scope scope(*this);
  QLR_TRY(scope.status());
  std::string reasons;
  for (const Choice &choice : choices) {
    bool unfit = false;
    Expected<ModuleHandle> module =
        loadImage(artifact, *choice.image, choice.target->target, unfit);
    if (!module) {
      if (!unfit)
        return module.status();
      reasons += "\n  " + module.status().message;
      continue;
    }
    auto code = std::make_unique<CudaCode>();
    code->device = std::static_pointer_cast<CudaDevice>(shared_from_this());
    code->module = *module;
    code->target = choice.target;
    code->image = choice.image;
    QLR_TRY(bindKernels(artifact, *code, *module));
    QLR_TRY(scope.close());
    return std::unique_ptr<Code>(std::move(code));
  }
  return fail(QLR_NO_DEVICE, "no code of the artifact can be loaded on cuda:", ordinal,
              " (", deviceName, ", sm_", sm, ", driver for CUDA ",
              versionText(api->version()), "); compile it with --target=", targetName,
              " or update the driver:", reasons);
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

namespace {

// Copies below 8 MB leave gaps on the bus (at 1 MB an eighth of its rate). Memory of
// the driver takes 0.4 ms per megabyte to pin and to free; huge pages, which several
// threads bring in, take a fifth of it.
constexpr size_t kStagingBytes = 8 << 20;
constexpr size_t kStagingBuffers = 4;
constexpr size_t kHugePage = 2 << 20;
/// Enough to fill the bus; many more take its memory bandwidth away.
constexpr int kStagingThreads = 16;

/// Copies from mapped files to the device through a ring of pinned buffers: host
/// memory is bounded, and filling a buffer overlaps with the copies of the others.
class StagingRing {
  CudaDevice &device;
  const Driver &api;
  Stream stream = nullptr;
  struct Buffer {
    Event copied = nullptr;
    bool busy = false;
  } buffers[kStagingBuffers];
  size_t next = 0, bufferBytes, count; ///< of buffers
  void *mapped = MAP_FAILED;
  std::byte *memory = nullptr; ///< of all buffers, in it
  bool pinned = false;
  tbb::task_arena threads{std::min(kStagingThreads, tbb::info::default_concurrency())};
  bool pending = false; ///< copies that nobody has waited for

public:
  StagingRing(CudaDevice &device, uint64_t total)
      : device(device), api(device.driver()),
        bufferBytes(size_t(std::min<uint64_t>(total, kStagingBytes))),
        count(size_t(std::min<uint64_t>((total + kStagingBytes - 1) / kStagingBytes,
                                        kStagingBuffers))) {}
  StagingRing(const StagingRing &) = delete;

  ~StagingRing() {
    if (pending) // a failure: the buffers may be in use
      (void)api.cuStreamSynchronize(stream);
    for (Buffer &b : buffers)
      if (b.copied)
        (void)api.cuEventDestroy_v2(b.copied);
    if (pinned)
      (void)api.cuMemHostUnregister(memory);
    if (mapped != MAP_FAILED)
      (void)munmap(mapped, mappedBytes());
    if (stream)
      (void)api.cuStreamDestroy_v2(stream);
  }

  Status copy(DevicePtr dst, std::span<const std::byte> src) {
    if (!stream)
      QLR_TRY(device.check(api.cuStreamCreate(&stream, kStreamNonBlocking),
                           "cuStreamCreate"));
    if (!pinned && !src.empty())
      QLR_TRY(pin());
    while (!src.empty()) {
      size_t piece = std::min(src.size(), bufferBytes);
      Buffer &b = buffers[next];
      std::byte *staged = memory + next * bufferBytes;
      QLR_TRY(acquire(b));
      fill(staged, src.first(piece));
      QLR_TRY(device.check(api.cuMemcpyHtoDAsync_v2(dst, staged, piece, stream),
                           "cuMemcpyHtoDAsync"));
      b.busy = pending = true;
      QLR_TRY(device.check(api.cuEventRecord(b.copied, stream), "cuEventRecord"));
      dst += piece;
      src = src.subspan(piece);
      next = (next + 1) % count;
    }
    return {};
  }

  Status finish() {
    return std::exchange(pending, false)
               ? device.check(api.cuStreamSynchronize(stream), "cuStreamSynchronize")
               : Status{};
  }

private:
  size_t pages() const { return (count * bufferBytes + kHugePage - 1) / kHugePage; }
  size_t mappedBytes() const { return (pages() + 1) * kHugePage; } // to align within

  Status pin() {
    std::string size = text("for ", count * bufferBytes, " bytes of staging memory");
    mapped = mmap(nullptr, mappedBytes(), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
      return fail(QLR_OUT_OF_MEMORY, "mmap failed ", size, ": ", std::strerror(errno));
    uintptr_t start = reinterpret_cast<uintptr_t>(mapped);
    memory =
        reinterpret_cast<std::byte *>((start + kHugePage - 1) / kHugePage * kHugePage);
    (void)madvise(memory, pages() * kHugePage, MADV_HUGEPAGE);
    threads.execute([&] {
      tbb::parallel_for(size_t(0), pages(),
                        [&](size_t p) { memory[p * kHugePage] = std::byte(0); });
    });
    QLR_TRY(device.check(api.cuMemHostRegister_v2(memory, count * bufferBytes, 0),
                         "cuMemHostRegister", size));
    pinned = true;
    return {};
  }

  Status acquire(Buffer &b) {
    if (!b.copied)
      QLR_TRY(device.check(api.cuEventCreate(&b.copied, kEventDisableTiming),
                           "cuEventCreate"));
    if (b.busy)
      QLR_TRY(device.check(api.cuEventSynchronize(b.copied), "cuEventSynchronize"));
    b.busy = false;
    return {};
  }

  /// One core reads a mapped file more slowly than the bus takes it.
  void fill(std::byte *to, std::span<const std::byte> from) {
    constexpr size_t kPart = 256 << 10;
    if (from.size() <= kPart) {
      std::memcpy(to, from.data(), from.size());
      return;
    }
    size_t parts = (from.size() + kPart - 1) / kPart;
    auto fillPart = [&](size_t p) {
      std::span<const std::byte> part =
          from.subspan(p * kPart, std::min(kPart, from.size() - p * kPart));
#ifdef MADV_POPULATE_READ
      // All pages of the part with one system call rather than a fault each;
      // where the kernel does not know it, the copy faults them in.
      uintptr_t page = 4096, first = reinterpret_cast<uintptr_t>(part.data());
      uintptr_t begin = first / page * page;
      (void)madvise(reinterpret_cast<void *>(begin), first + part.size() - begin,
                    MADV_POPULATE_READ);
#endif
      std::memcpy(to + p * kPart, part.data(), part.size());
    };
    threads.execute([&] { tbb::parallel_for(size_t(0), parts, fillPart); });
  }
};

} // namespace

Status CudaDevice::place(std::span<const std::span<const std::byte>> blobs,
                         std::vector<void *> &placed, std::vector<bool> &owned) {
  placed.assign(blobs.size(), nullptr);
  owned.assign(blobs.size(), true);
  uint64_t total = 0;
  for (auto blob : blobs)
    total += blob.size();
  Status status = within([&]() -> Status {
    // All of it first: the driver allocates slowly while copies are under way.
    for (size_t i = 0; i < blobs.size(); ++i) {
      DevicePtr ptr = 0;
      QLR_TRY(allocated(api->cuMemAlloc_v2(&ptr, std::max<size_t>(blobs[i].size(), 1)),
                        text("for weight ", i + 1, " of ", blobs.size(), ", ",
                             blobs[i].size(), " of ", total, " bytes")));
      placed[i] = reinterpret_cast<void *>(ptr);
    }
    StagingRing ring(*this, total);
    for (size_t i = 0; i < blobs.size(); ++i)
      QLR_TRY(ring.copy(reinterpret_cast<DevicePtr>(placed[i]), blobs[i]));
    return ring.finish();
  });
  if (!status)
    for (void *ptr : placed)
      if (ptr)
        free(ptr);
  return status;
}
