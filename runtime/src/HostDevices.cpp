//===- HostDevices.cpp - The CPU and the emulated GPU ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../emulated/Emulated.h"
#include "Device.h"
#include "Emulated.h"
#include "Teams.h"
#include "qlinear/Support/InstructionSets.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <sys/mman.h>
#include <tbb/global_control.h>
#include <tbb/info.h>

using namespace qlinear;
using namespace qlinear::runtime;
namespace emulated = qlinear::emulated;

namespace {

constexpr size_t kAlignment = 128; ///< of a packed weight
constexpr size_t kHugePage = 2 << 20;
constexpr size_t kAddressSpace = size_t(1) << 47;

/// Memory on huge pages of its own. The heap would give out small pages again that
/// somebody has freed, and a weight is read at two thirds of the speed from those.
class HugePages {
public:
  /// Null if there is no memory.
  void *alloc(size_t bytes) {
    // The kernel chooses an address that is a multiple of a small page.
    size_t size = bytes + kHugePage;
    void *mapped =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
      return nullptr;
    auto start = reinterpret_cast<uintptr_t>(mapped);
    void *aligned = reinterpret_cast<void *>((start + kHugePage - 1) & -kHugePage);
    (void)madvise(aligned, bytes, MADV_HUGEPAGE);
    std::lock_guard lock(mutex);
    mappings[aligned] = {mapped, size};
    return aligned;
  }
  /// Whether the memory is from here.
  bool free(void *ptr) {
    std::unique_lock lock(mutex);
    auto found = mappings.find(ptr);
    if (found == mappings.end())
      return false;
    auto [mapped, size] = found->second;
    mappings.erase(found);
    lock.unlock();
    munmap(mapped, size);
    return true;
  }
  ~HugePages() {
    for (auto &[ptr, mapping] : mappings)
      munmap(mapping.first, mapping.second);
  }

private:
  std::mutex mutex;
  std::map<void *, std::pair<void *, size_t>> mappings;
};

/// Host memory is device memory, and everything runs before it returns.
class HostDevice : public Device {
public:
  Status alloc(size_t bytes, void **out) override {
    if (bytes > kAddressSpace ||
        posix_memalign(out, kAlignment, std::max<size_t>(bytes, 1)) != 0) {
      *out = nullptr;
      return fail(QLR_OUT_OF_MEMORY, "cannot allocate ", bytes,
                  " bytes of host memory");
    }
    return {};
  }
  void free(void *ptr) override { std::free(ptr); }
  Status zero(void *ptr, size_t bytes, void *) override {
    std::memset(ptr, 0, bytes);
    return {};
  }
  /// The CPU's kernels read weights at any address: files that others wrote and mapped
  /// have them anywhere. A multiple of a cache line is read fastest.
  size_t weightAlignment() const override { return 1; }
  Status upload(void *dst, const void *src, size_t bytes, void *) override {
    if (bytes)
      std::memcpy(dst, src, bytes);
    return {};
  }
  Status download(void *dst, const void *src, size_t bytes, void *stream) override {
    return upload(dst, src, bytes, stream);
  }
  Status createStream(void **stream) override {
    *stream = nullptr;
    return {};
  }
  Status destroyStream(void *) override { return {}; }
  Status synchronize(void *) override { return {}; }

  /// A mapped archive is used where it lies; a blob that is not aligned (another
  /// writer's archive) is copied.
  Status place(std::span<const std::span<const std::byte>> blobs,
               std::vector<void *> &placed, std::vector<bool> &owned) override {
    placed.assign(blobs.size(), nullptr);
    owned.assign(blobs.size(), false);
    for (size_t i = 0; i < blobs.size(); ++i) {
      if (reinterpret_cast<uintptr_t>(blobs[i].data()) % kAlignment == 0) {
        placed[i] = const_cast<std::byte *>(blobs[i].data());
        continue;
      }
      if (Status status = alloc(blobs[i].size(), &placed[i]); !status) {
        for (size_t j = 0; j < i; ++j)
          if (owned[j])
            free(placed[j]);
        return status;
      }
      owned[i] = true;
      std::memcpy(placed[i], blobs[i].data(), blobs[i].size());
    }
    return {};
  }

protected:
  /// Entry points of `target`: one image per kernel.
  static Expected<std::unique_ptr<Code>> bind(const Artifact &artifact,
                                              const TargetInfo &target) {
    auto code = std::make_unique<Code>();
    code->target = &target;
    for (const FunctionInfo &function : target.functions)
      for (const StepInfo &step : function.steps)
        QLR_TRY(step.forEachKernel([&](const KernelInfo &kernel) -> Status {
          std::string name = target.target + "/" + kernel.name;
          const qlinear_image *image = artifact.image(name);
          if (!image)
            return fail(QLR_BAD_ARTIFACT, "the artifact has no image \"", name,
                        "\", a kernel of function \"", function.name, "\"");
          code->kernels[kernel.name] = const_cast<void *>(image->data);
          return {};
        }));
    return code;
  }
};

class CpuDevice : public HostDevice {
  /// Where more threads are asked for than there are cores.
  std::optional<tbb::global_control> moreThreads;
  Teams teams;
  size_t best; ///< index into kInstructionSets
  HugePages hugePages;

public:
  CpuDevice(int threads, size_t best) : teams(Teams::ofMachine(threads)), best(best) {
    targetName = text("cpu:", kInstructionSets[best].name);
    if (threads > tbb::info::default_concurrency())
      moreThreads.emplace(tbb::global_control::max_allowed_parallelism,
                          size_t(threads));
  }

  Status alloc(size_t bytes, void **out) override {
    if (bytes < kHugePage || bytes > kAddressSpace)
      return HostDevice::alloc(bytes, out);
    *out = hugePages.alloc(bytes);
    return *out ? Status()
                : fail(QLR_OUT_OF_MEMORY, "cannot allocate ", bytes,
                       " bytes of host memory");
  }
  void free(void *ptr) override {
    if (!hugePages.free(ptr))
      HostDevice::free(ptr);
  }

  Expected<std::unique_ptr<Code>> load(const Artifact &artifact) override {
    // One that comes later may have what the best has not.
    for (size_t i = best; i < std::size(kInstructionSets); ++i)
      for (const TargetInfo &t : artifact.manifest().targets)
        if (t.target == text("cpu:", kInstructionSets[i].name) &&
            machineRuns(kInstructionSets[i]))
          return bind(artifact, t);
    return fail(QLR_NO_DEVICE, "the artifact has code for ", artifact.targetNames(),
                ", none of which runs on ", targetName,
                "; compile it with --target=cpu");
  }

  Status launch(const Launch &l, void *) override {
    auto kernel = reinterpret_cast<qlinear_cpu_kernel>(l.entry);
    int64_t items = l.kernel->items, parts = std::min<int64_t>(items, teams.threads());
    if (parts == 1) {
      kernel(l.args, l.rows, 0, items);
      return {};
    }
    teams.run(parts, [&](int64_t p) {
      kernel(l.args, l.rows, items * p / parts, items * (p + 1) / parts);
    });
    return {};
  }
};

class EmulatedDevice : public HostDevice {
  uint64_t seed;
  /// Kernels that ran lately, newest first, and the memory they had.
  struct Ran {
    std::string kernel;
    std::vector<const void *> args;
  };
  static constexpr size_t kRemembered = 8;
  std::deque<Ran> ran;
  std::mutex mutex;

public:
  explicit EmulatedDevice(uint64_t seed) : seed(seed) { targetName = "cuda:emulated"; }

  /// What host allocators of tensor libraries give: the GPU's own need is 128.
  size_t weightAlignment() const override { return 64; }

  Expected<std::unique_ptr<Code>> load(const Artifact &artifact) override {
    for (const TargetInfo &t : artifact.manifest().targets)
      if (t.isEmulated())
        return bind(artifact, t);
    return fail(QLR_NO_DEVICE, "the artifact has code for ", artifact.targetNames(),
                ", not for the emulated device; compile it with "
                "--target=cuda:emulated");
  }

  Status launch(const Launch &l, void *) override {
    void *params[kMaxKernelArgs + 1];
    for (size_t i = 0; i < l.argCount; ++i)
      params[i] = &l.args[i];
    int32_t rows = l.rows;
    params[l.argCount] = &rows;
    std::vector<emulated::Buffer> buffers;
    std::deque<Ran> before;
    {
      std::lock_guard lock(mutex);
      before = ran;
      ran.push_front({l.kernel->name, {l.args, l.args + l.argCount}});
      ran.resize(std::min(ran.size(), kRemembered));
    }
    for (size_t i = 0; l.pdl && i < l.argCount; ++i) {
      ArgInfo::Kind kind = l.argInfos[i].kind;
      if (kind == ArgInfo::Kind::places)
        continue; // a number
      auto earlier = std::ranges::find_if(before, [&](const Ran &r) {
        return std::ranges::find(r.args, l.args[i]) != r.args.end();
      });
      buffers.push_back(
          {.at = l.args[i],
           .constant = kind == ArgInfo::Kind::weight || kind == ArgInfo::Kind::constant,
           .earlier = earlier == before.end() ? nullptr : earlier->kernel.c_str()});
    }
    emulated::Launch launch{.kernel = l.kernel->name.c_str(),
                            .grid = uint32_t(l.kernel->grid),
                            .block = uint32_t(l.kernel->block),
                            .smem = uint64_t(l.kernel->smem),
                            .seed = seed,
                            .dependent = l.pdl,
                            .buffers = buffers};
    auto result = emulated::run(
        launch, reinterpret_cast<qlinear_emulated_kernel>(l.entry), params);
    if (!result)
      return fail(QLR_DEVICE_ERROR, result.error());
    return {};
  }
};

} // namespace

/// `options`: "", "4", "avx2" or "avx2:4".
Expected<std::shared_ptr<Device>>
qlinear::runtime::openCpu(const std::string &options) {
  size_t best = bestInstructionSet();
  std::string_view rest = options;
  for (size_t i = 0; i < std::size(kInstructionSets); ++i) {
    const InstructionSet &set = kInstructionSets[i];
    std::string_view isa = set.name;
    if (rest != isa && !rest.starts_with(std::string(isa) + ":"))
      continue;
    if (set.architecture != kHostArchitecture)
      return fail(QLR_NO_DEVICE, isa, " is an instruction set of ",
                  spell(set.architecture), ", and this machine is ",
                  spell(kHostArchitecture), "; the best it has is ",
                  kInstructionSets[best].name);
    if (!machineRuns(set))
      return fail(QLR_NO_DEVICE, "this CPU has no ", isa, "; the best it has is ",
                  kInstructionSets[best].name);
    best = i;
    rest.remove_prefix(std::min(rest.size(), isa.size() + 1));
    break;
  }
  int threads = tbb::info::default_concurrency();
  if (!rest.empty() || options.ends_with(':')) {
    auto [end, error] =
        std::from_chars(rest.data(), rest.data() + rest.size(), threads);
    if (error != std::errc() || end != rest.data() + rest.size() || threads < 1 ||
        threads > 4096)
      return fail(QLR_INVALID_ARGUMENT, "device 'cpu:", options, "': '", rest,
                  "' is not a number of threads from 1 to 4096; use "
                  "for example cpu:4");
  }
  return std::shared_ptr<Device>(std::make_shared<CpuDevice>(threads, best));
}

/// `options`: "" or a seed.
Expected<std::shared_ptr<Device>>
qlinear::runtime::openEmulated(const std::string &options) {
  uint64_t seed = 0;
  if (!options.empty()) {
    const char *end = options.data() + options.size();
    auto [stop, error] = std::from_chars(options.data(), end, seed);
    if (error != std::errc() || stop != end)
      return fail(QLR_INVALID_ARGUMENT, "device 'emulated:", options, "': '", options,
                  "' is not a seed, a number; use for example emulated:1");
  }
  return std::shared_ptr<Device>(std::make_shared<EmulatedDevice>(seed));
}
