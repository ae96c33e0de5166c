//===- Work.cpp - Compiling in threads, and once only ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Work.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/CachePruning.h"
#include "llvm/Support/Caching.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ThreadPool.h"
#include "llvm/Support/raw_ostream.h"

#include <atomic>
#include <link.h>
#include <mutex>
#include <numeric>
#include <tuple>

using namespace llvm;

namespace qlinear {

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

/// With its length, so that no two lists of parts are the same bytes.
static void addPart(BLAKE3 &hash, StringRef part) {
  char length[8];
  support::endian::write64le(length, part.size());
  hash.update(StringRef(length, sizeof(length)));
  hash.update(part);
}

namespace {
/// A program or library in memory, found by an address of its code.
struct Image {
  uintptr_t address;
  bool withCode; ///< else what identifies it: its build's number, and sizes
  BLAKE3 *hash;
  bool found = false;
};
} // namespace

/// Its segments that nothing writes, as they are mapped: code, constants, embedded
/// micro-kernels and notes, which do not depend on where the file lies or on its time.
static int addImage(dl_phdr_info *info, size_t, void *data) {
  auto &image = *static_cast<Image *>(data);
  ArrayRef<ElfW(Phdr)> segments(info->dlpi_phdr, info->dlpi_phnum);
  auto holds = [&](const ElfW(Phdr) & s) {
    uintptr_t begin = info->dlpi_addr + s.p_vaddr;
    return s.p_type == PT_LOAD && image.address >= begin &&
           image.address < begin + s.p_memsz;
  };
  if (none_of(segments, holds))
    return 0;
  for (const ElfW(Phdr) &s : segments) {
    addPart(*image.hash, utostr(s.p_type) + " " + utostr(s.p_memsz));
    bool isRead = (s.p_flags & (PF_R | PF_W)) == PF_R;
    if (isRead && s.p_type == (image.withCode ? PT_LOAD : PT_NOTE))
      addPart(*image.hash,
              StringRef(reinterpret_cast<const char *>(info->dlpi_addr + s.p_vaddr),
                        s.p_filesz));
  }
  image.found = true;
  return 1;
}

/// What identifies the code that makes results; empty where that cannot be told.
static const std::string &compilerIdentity() {
  static const std::string identity = [] {
    BLAKE3 hash;
    addPart(hash, LLVM_VERSION_STRING);
    Image own{reinterpret_cast<uintptr_t>(&runWork), true, &hash};
    Image llvm{reinterpret_cast<uintptr_t>(&pruneCache), false, &hash};
    dl_iterate_phdr(addImage, &own);
    dl_iterate_phdr(addImage, &llvm);
    if (!own.found || !llvm.found)
      return std::string();
    return toHex(hash.final());
  }();
  return identity;
}

std::string workKey(ArrayRef<StringRef> parts) {
  BLAKE3 hash;
  addPart(hash, compilerIdentity());
  for (StringRef part : parts)
    addPart(hash, part);
  return toHex(hash.final(), /*LowerCase=*/true);
}

//===----------------------------------------------------------------------===//
// The cache
//===----------------------------------------------------------------------===//

static constexpr StringLiteral kMagic = "QLinear object 1\n";

static BLAKE3Result<> digest(StringRef key, StringRef result) {
  BLAKE3 hash;
  addPart(hash, key);
  addPart(hash, result);
  return hash.final();
}

/// What an entry holds: the result behind its digest.
static std::string wrap(StringRef key, StringRef result) {
  return (kMagic + toStringRef(digest(key, result)) + result).str();
}

/// The result, if the entry is whole, and the one of that key.
static std::optional<std::string> unwrap(StringRef key, StringRef entry) {
  if (!entry.consume_front(kMagic) || entry.size() < LLVM_BLAKE3_OUT_LEN)
    return std::nullopt;
  // Copied first: another process may write to a file that is only mapped.
  std::string digestText = entry.take_front(LLVM_BLAKE3_OUT_LEN).str();
  std::string result = entry.drop_front(LLVM_BLAKE3_OUT_LEN).str();
  if (digestText != toStringRef(digest(key, result)))
    return std::nullopt;
  return result;
}

namespace {
/// A folder of results, one file each, named after its key.
class Cache {
public:
  explicit Cache(size_t works) : buffers(works) {}

  Error open(const std::string &folder) {
    // "Thin" is what pruneCache() takes for left over if a process was ended.
    auto opened = localCache(
        "QLinear", "Thin", folder,
        [this](unsigned work, const Twine &, std::unique_ptr<MemoryBuffer> b) {
          buffers[work] = std::move(b);
        });
    if (!opened)
      return opened.takeError();
    files = std::move(*opened);
    return Error::success();
  }

  /// The result; or nothing, and where to store it.
  std::optional<std::string> find(unsigned work, const std::string &key,
                                  AddStreamFn &store) {
    for (bool again : {false, true}) {
      auto stream = files(work, key, key);
      if (!stream) {
        problem(toString(stream.takeError()));
        return std::nullopt;
      }
      store = std::move(*stream);
      std::unique_ptr<MemoryBuffer> entry = std::move(buffers[work]);
      if (store || !entry)
        return std::nullopt;
      if (auto result = unwrap(key, entry->getBuffer()))
        return result;
      // Damaged: another one takes its place.
      if (std::error_code ec = sys::fs::remove(entry->getBufferIdentifier());
          ec || again)
        return std::nullopt;
    }
    return std::nullopt;
  }

  void add(unsigned work, StringRef key, StringRef result, const AddStreamFn &store) {
    auto stream = store(work, "");
    if (!stream)
      return problem(toString(stream.takeError()));
    // localCache() writes to a file; an error of that which nobody has seen would end
    // the process.
    auto &file = static_cast<raw_fd_ostream &>(*(*stream)->OS);
    file << wrap(key, result);
    file.flush();
    bool isCut = file.has_error(); // what is there of it is no whole entry
    if (isCut) {
      problem(file.error().message());
      file.clear_error();
    }
    if (Error error = (*stream)->commit())
      return problem(toString(std::move(error)));
    if (std::unique_ptr<MemoryBuffer> entry = std::move(buffers[work]); isCut && entry)
      sys::fs::remove(entry->getBufferIdentifier());
    anyAdded = true;
  }

  /// Removes what was not used for long, and the oldest of too much.
  void prune() {
    if (!anyAdded)
      return;
    CachePruningPolicy policy;
    policy.Expiration = std::chrono::hours(30 * 24);
    policy.MaxSizeBytes = uint64_t(1) << 30;
    pruneCache(files.getCacheDirectoryPath(), policy);
  }

  std::string firstProblem;

private:
  void problem(StringRef what) {
    std::lock_guard lock(mutex);
    if (firstProblem.empty())
      firstProblem = what.rtrim().str();
  }

  FileCache files;
  std::vector<std::unique_ptr<MemoryBuffer>> buffers; ///< by works
  std::mutex mutex;
  std::atomic<bool> anyAdded = false;
};
} // namespace

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

Expected<std::vector<std::string>>
runWork(ArrayRef<Work> works, const WorkSettings &settings, WorkReport &report) {
  Cache cache(works.size());
  bool hasCache = !settings.cache.empty() && !compilerIdentity().empty();
  if (hasCache)
    if (Error error = cache.open(settings.cache)) {
      cache.firstProblem = toString(std::move(error));
      hasCache = false;
    }

  std::vector<std::string> results(works.size()), errors(works.size());
  std::atomic<size_t> cached = 0;
  std::mutex mutex; // of progress
  size_t done = 0;
  auto run = [&](unsigned i) {
    AddStreamFn store;
    std::optional<std::string> result;
    if (hasCache)
      result = cache.find(i, works[i].key, store);
    if (result) {
      results[i] = std::move(*result);
      ++cached;
    } else if (Expected<std::string> made = works[i].run()) {
      results[i] = std::move(*made);
      if (store)
        cache.add(i, works[i].key, results[i], store);
    } else {
      errors[i] = toString(made.takeError());
    }
    std::lock_guard lock(mutex);
    ++done;
    if (settings.progress)
      settings.progress(done, works.size());
  };

  std::vector<unsigned> order(works.size());
  std::iota(order.begin(), order.end(), 0u);
  sort(order, [&](unsigned a, unsigned b) {
    return std::tie(works[b].weight, a) < std::tie(works[a].weight, b);
  });
  ThreadPoolStrategy strategy = hardware_concurrency(settings.threads);
  strategy.ThreadsRequested = std::min<unsigned>(strategy.compute_thread_count(),
                                                 std::max<size_t>(1, works.size()));
  {
    DefaultThreadPool pool(strategy);
    for (unsigned i : order)
      pool.async(run, i);
    pool.wait();
  }
  cache.prune();
  report.done += done;
  report.cached += cached;
  if (report.cacheProblem.empty())
    report.cacheProblem = cache.firstProblem;
  for (const std::string &error : errors)
    if (!error.empty())
      return createStringError(error);
  return results;
}

} // namespace qlinear
