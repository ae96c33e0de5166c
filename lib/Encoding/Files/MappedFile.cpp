//===- MappedFile.cpp - A read-only mapping of a file ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Archive.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace qlinear;

Result<std::shared_ptr<MappedFile>> MappedFile::open(const std::string &path) {
  auto failure = [&](const char *what) {
    return error(fmt::format("cannot {} '{}': {}", what, path, strerror(errno)));
  };
  // O_NONBLOCK: a pipe without a writer must not block.
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return failure("open");
  struct stat info;
  if (fstat(fd, &info) != 0) {
    Error e = failure("read");
    close(fd);
    return e;
  }
  if (!S_ISREG(info.st_mode)) {
    close(fd);
    return error(fmt::format("'{}' is not a regular file", path));
  }
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->name = path;
  if (info.st_size > 0) {
    void *p = mmap(nullptr, size_t(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
      Error e = failure("map");
      close(fd);
      return e;
    }
    file->data = static_cast<const std::byte *>(p);
    file->size = size_t(info.st_size);
  }
  close(fd);
  return file;
}

MappedFile::~MappedFile() {
  if (data)
    munmap(const_cast<std::byte *>(data), size);
}

void MappedFile::release(std::span<const std::byte> part) const {
  // Whole pages inside `part`; those that it shares with others stay.
  uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE));
  uintptr_t begin = (uintptr_t(part.data()) + page - 1) / page * page;
  uintptr_t end = (uintptr_t(part.data()) + part.size()) / page * page;
  if (part.data() >= data && part.data() + part.size() <= data + size && begin < end)
    madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
}
