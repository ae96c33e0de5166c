//===- OutputFile.cpp - Files that appear whole or not at all -------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/OutputFile.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/core.h>
#include <iostream>
#include <sys/stat.h>
#include <unistd.h>

using namespace qlinear;
namespace fs = std::filesystem;

namespace {

/// N if the path is /proc/self/fd/N by whatever name its folder has (/dev/fd/N).
std::optional<int> ownDescriptor(const fs::path &path) {
  std::string name = path.filename().string();
  int number = -1;
  auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (bad != std::errc() || end != name.data() + name.size() || number < 0)
    return std::nullopt;
  std::error_code ec, ignored;
  fs::path folder = fs::canonical(path.parent_path(), ec);
  if (ec || folder != fs::canonical("/proc/self/fd", ignored))
    return std::nullopt;
  return number;
}

/// Keeps closed standard descriptors free: a file must not become standard output.
int aboveStandard(int fd) {
  if (fd < 0 || fd > STDERR_FILENO)
    return fd;
  int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  close(fd);
  return higher;
}

std::string temporaryName(const std::string &folder, std::string_view stem) {
  static std::atomic<unsigned> count = 0;
  return fmt::format("{}/.{}.{}.{}.tmp", folder, stem.substr(0, 200), getpid(),
                     count++);
}

} // namespace

Error OutputFile::failure(int number) const {
  return error(
      given == "-"
          ? fmt::format("cannot write to standard output: {}", strerror(number))
          : fmt::format("cannot write '{}': {}", given, strerror(number)));
}

//===----------------------------------------------------------------------===//
// Where the file goes
//===----------------------------------------------------------------------===//

Result<void> OutputFile::resolve() {
  target = given;
  if (given == "-")
    through = STDOUT_FILENO;
  std::error_code ec;
  for (int links = 0; !through; ++links) {
    if ((through = ownDescriptor(target)) || !fs::is_symlink(target, ec))
      break;
    if (links == 40)
      return failure(ELOOP);
    fs::path to = fs::read_symlink(target, ec);
    target = (fs::path(target).parent_path() / to).string();
  }
  if (through) {
    int flags = fcntl(*through, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
      return failure(EBADF);
    isStream = true;
    return {};
  }
  struct stat info;
  if (stat(target.c_str(), &info) != 0)
    return errno == ENOENT ? Result<void>() : failure(errno);
  if (S_ISDIR(info.st_mode))
    return failure(EISDIR);
  if (S_ISBLK(info.st_mode))
    return error(fmt::format("cannot write '{}': it is a block device", given));
  if (faccessat(AT_FDCWD, target.c_str(), W_OK, AT_EACCESS) != 0)
    return failure(errno);
  isStream = !S_ISREG(info.st_mode);
  if (!isStream)
    previous = {info.st_mode & 0777, info.st_uid, info.st_gid};
  return {};
}

Result<void> OutputFile::open(const Options &options) {
  isNamed = options.isNamed;
  mode = options.mode;
  std::error_code ec;
  fs::path path(target);
  if (!isStream && path.filename().empty())
    return failure(EISDIR);
  std::string folder = isStream                 ? fs::temp_directory_path(ec).string()
                       : path.has_parent_path() ? path.parent_path().string()
                                                : ".";
  if (folder.empty())
    folder = "/tmp";
  std::string stem = isStream ? "qlinear" : path.filename().string();
#ifdef O_TMPFILE
  // One that is to have a name later gets it by way of /proc.
  if (!isNamed && (isStream || access("/proc/self/fd", X_OK) == 0))
    fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
#endif
  if (fd < 0) { // a file system without nameless files, or a machine without /proc
    temporary = temporaryName(folder, stem);
    fd = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  }
  if (fd < 0) {
    int number = errno;
    temporary.clear();
    return failure(number);
  }
  fd = aboveStandard(fd);
  return fd < 0 ? failure(errno) : Result<void>();
}

Result<OutputFile> OutputFile::create(const std::string &path) {
  return create(path, Options());
}

Result<OutputFile> OutputFile::create(const std::string &path, Options options) {
  OutputFile file;
  file.given = path;
  if (auto r = file.resolve(); !r)
    return r.takeError();
  if (auto r = file.open(options); !r)
    return r.takeError();
  return file;
}

OutputFile::OutputFile(OutputFile &&other) noexcept { *this = std::move(other); }

OutputFile &OutputFile::operator=(OutputFile &&other) noexcept {
  if (this == &other)
    return *this;
  reset();
  given = std::move(other.given);
  target = std::move(other.target);
  temporary = std::exchange(other.temporary, {});
  through = other.through;
  isStream = other.isStream;
  isNamed = other.isNamed;
  previous = other.previous;
  mode = other.mode;
  fd = std::exchange(other.fd, -1);
  end = other.end;
  return *this;
}

void OutputFile::reset() {
  if (fd >= 0)
    close(fd);
  if (!temporary.empty())
    unlink(temporary.c_str());
  fd = -1;
  temporary.clear();
}

OutputFile::~OutputFile() { reset(); }

//===----------------------------------------------------------------------===//
// Contents
//===----------------------------------------------------------------------===//

Result<void> OutputFile::write(std::span<const std::byte> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    size_t part = std::min<size_t>(bytes.size(), size_t(1) << 30);
    ssize_t done = pwrite(fd, bytes.data(), part, off_t(offset));
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return failure(errno);
    bytes = bytes.subspan(size_t(done));
    offset += uint64_t(done);
  }
  end = std::max(end, offset);
  return {};
}

Result<void> OutputFile::append(std::span<const std::byte> bytes) {
  return write(bytes, end);
}

/// All of the file, to a descriptor that cannot seek.
Result<void> OutputFile::copyTo(int to) {
  std::vector<char> part(size_t(1) << 20);
  for (off_t at = 0;;) {
    ssize_t got = pread(fd, part.data(), part.size(), at);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return failure(errno);
    if (got == 0)
      return {};
    at += got;
    for (const char *from = part.data(); got > 0;) {
      ssize_t put = ::write(to, from, size_t(got));
      if (put < 0 && errno == EINTR)
        continue;
      if (put < 0)
        return failure(errno);
      from += put;
      got -= put;
    }
  }
}

//===----------------------------------------------------------------------===//
// Publishing
//===----------------------------------------------------------------------===//

/// All that can fail but the last step.
Result<void> OutputFile::prepare() {
  if (isNamed) { // the other program may have put another file in its place
    close(fd);
    fd = aboveStandard(::open(temporary.c_str(), O_RDWR | O_CLOEXEC));
    if (fd < 0)
      return failure(errno);
  }
  if (isStream)
    return {};
  if (previous) {
    mode_t kept = previous->mode;
    struct stat info;
    if (fstat(fd, &info) != 0)
      return failure(errno);
    // Without the right to give the file away, nobody may read it who could not.
    if ((info.st_uid != previous->user || info.st_gid != previous->group) &&
        fchown(fd, previous->user, previous->group) != 0 &&
        fchown(fd, uid_t(-1), previous->group) != 0)
      kept &= ~mode_t(0070);
    if (fchmod(fd, kept) != 0)
      return failure(errno);
  } else if (isNamed) {
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd, mode & ~mask) != 0)
      return failure(errno);
  }
  if (temporary.empty()) {
    fs::path path(target);
    std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
    std::string name = temporaryName(folder, path.filename().string());
    std::string link = fmt::format("/proc/self/fd/{}", fd);
    if (linkat(AT_FDCWD, link.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0)
      return failure(errno);
    temporary = name;
  }
  // Some file systems report failed writes only now.
  return close(std::exchange(fd, -1)) == 0 ? Result<void>() : failure(errno);
}

Result<void> OutputFile::commit() {
  if (!isStream) {
    if (rename(temporary.c_str(), target.c_str()) != 0)
      return failure(errno);
    temporary.clear();
    return {};
  }
  if (through) {
    if (*through == STDOUT_FILENO)
      if (auto r = flushStandardOutput(); !r)
        return r;
    return copyTo(*through);
  }
  int to = ::open(target.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (to < 0)
    return failure(errno);
  Result<void> copied = copyTo(to);
  if (close(to) != 0 && copied)
    return failure(errno);
  return copied;
}

Result<void> OutputFile::publish() { return publish(std::span(this, 1)); }

Result<void> OutputFile::publish(std::span<OutputFile> files) {
  for (OutputFile &file : files)
    if (auto r = file.prepare(); !r)
      return r;
  for (OutputFile &file : files)
    if (auto r = file.commit(); !r)
      return r;
  return {};
}

Result<void> qlinear::writeOutput(const std::string &path, std::string_view contents) {
  auto file = OutputFile::create(path);
  if (!file)
    return file.takeError();
  if (auto r = file->append(contents); !r)
    return r;
  return file->publish();
}

//===----------------------------------------------------------------------===//
// Several outputs, standard output
//===----------------------------------------------------------------------===//

/// Whether both paths lead to one file, which need not exist yet. Not if it is a
/// device or a fifo, which takes several outputs.
static bool isSameFile(const std::string &a, const std::string &b) {
  if (a == "-" || b == "-")
    return a == b;
  struct stat first, second;
  int foundFirst = stat(a.c_str(), &first), foundSecond = stat(b.c_str(), &second);
  if (foundFirst == 0 && foundSecond == 0)
    return S_ISREG(first.st_mode) && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
  std::error_code ec;
  return foundFirst != 0 && foundSecond != 0 &&
         fs::weakly_canonical(fs::absolute(a), ec) ==
             fs::weakly_canonical(fs::absolute(b), ec);
}

Result<void> qlinear::checkOutputs(const std::vector<std::string> &outputs,
                                   const std::vector<std::string> &inputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].empty())
      continue;
    for (const std::string &input : inputs)
      if (input != "-" && !input.empty() && isSameFile(outputs[i], input))
        return error(fmt::format("the output '{}' is the input{}; write to another "
                                 "file",
                                 outputs[i],
                                 input == outputs[i] ? "" : " '" + input + "'"));
    for (size_t j = 0; j < i; ++j)
      if (!outputs[j].empty() && isSameFile(outputs[i], outputs[j]))
        return error(fmt::format("'{}' is given for two outputs; write them to "
                                 "different files",
                                 outputs[i]));
  }
  return {};
}

Result<void> qlinear::flushStandardOutput() {
  errno = 0;
  std::cout.flush(); // is all of it, where C++ and C share a buffer
  bool isFlushed = fflush(stdout) == 0 && !ferror(stdout) && std::cout.good();
  if (isFlushed)
    return {};
  int number = errno;
  return error(fmt::format("cannot write to standard output{}",
                           number ? fmt::format(": {}", strerror(number)) : ""));
}
