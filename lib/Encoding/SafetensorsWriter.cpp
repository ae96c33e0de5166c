//===- SafetensorsWriter.cpp - Writes safetensors files -------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Json.h"
#include "qlinear/Encoding/Archive.h"
#include "qlinear/Encoding/Layout.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace qlinear;
using nlohmann::json;

//===----------------------------------------------------------------------===//
// OutputFile
//===----------------------------------------------------------------------===//

/// A file without a name (or with a temporary one, where the file system has no
/// nameless files) in the target's directory, until publish() names it.
class SafetensorsWriter::OutputFile {
public:
  static Result<std::unique_ptr<OutputFile>> create(const std::string &path);
  ~OutputFile();
  Result<void> write(std::span<const std::byte> bytes, uint64_t offset);
  Result<void> publish();
  const std::string &path() const { return target; }

private:
  std::string target;    ///< not a symbolic link
  std::string temporary; ///< name to remove if it is not published
  int fd = -1;

  Error failure(std::string_view what) const {
    return error(fmt::format("cannot {} '{}': {}", what, target, strerror(errno)));
  }
};

Result<std::unique_ptr<SafetensorsWriter::OutputFile>>
SafetensorsWriter::OutputFile::create(const std::string &path) {
  namespace fs = std::filesystem;
  std::error_code ec;
  auto file = std::make_unique<OutputFile>();
  file->target = path;
  // A symbolic link stays, and what it leads to is written.
  for (int links = 0; fs::is_symlink(file->target, ec) && links < 40; ++links)
    file->target =
        fs::path(file->target).parent_path() / fs::read_symlink(file->target, ec);
  fs::file_status status = fs::status(file->target, ec);
  if (fs::exists(status) && !fs::is_regular_file(status))
    return error(
        fmt::format("cannot write '{}': it exists and is not a regular file", path));
  fs::path target(file->target);
  if (target.filename().empty())
    return error(fmt::format("cannot write '{}': not a file name", path));
  std::string directory =
      target.has_parent_path() ? target.parent_path().string() : ".";

#ifdef O_TMPFILE
  file->fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (file->fd >= 0)
    return file;
#endif
  file->temporary =
      fmt::format("{}/.{}.{}.tmp", directory, target.filename().string(), getpid());
  file->fd =
      ::open(file->temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file->fd < 0) {
    Error e = file->failure("write");
    file->temporary.clear();
    return e;
  }
  return file;
}

SafetensorsWriter::OutputFile::~OutputFile() {
  if (fd >= 0)
    close(fd);
  if (!temporary.empty())
    unlink(temporary.c_str());
}

Result<void> SafetensorsWriter::OutputFile::write(std::span<const std::byte> bytes,
                                                  uint64_t offset) {
  while (!bytes.empty()) {
    size_t part = std::min<size_t>(bytes.size(), size_t(1) << 30);
    ssize_t done = pwrite(fd, bytes.data(), part, off_t(offset));
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return failure("write");
    bytes = bytes.subspan(size_t(done));
    offset += uint64_t(done);
  }
  return {};
}

Result<void> SafetensorsWriter::OutputFile::publish() {
  if (temporary.empty()) {
    std::string link = fmt::format("/proc/self/fd/{}", fd);
    std::filesystem::path path(target);
    std::string name = path.parent_path() /
                       fmt::format(".{}.{}.tmp", path.filename().string(), getpid());
    if (linkat(AT_FDCWD, link.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0)
      return failure("write");
    temporary = name;
  }
  if (rename(temporary.c_str(), target.c_str()) != 0)
    return failure("write");
  temporary.clear();
  return {};
}

//===----------------------------------------------------------------------===//
// SafetensorsWriter
//===----------------------------------------------------------------------===//

static json headerEntry(const std::string &type, const std::vector<uint64_t> &shape,
                        uint64_t begin, uint64_t end) {
  return {{"dtype", type}, {"shape", shape}, {"data_offsets", {begin, end}}};
}

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<OutputFile> file)
    : file(std::move(file)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter &&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

uint64_t
SafetensorsWriter::headerBytes(const std::vector<std::string> &names, size_t rank,
                               const std::map<std::string, std::string> &metadata) {
  json widest = headerEntry("F8_E4M3FNUZ", std::vector<uint64_t>(rank, UINT64_MAX),
                            UINT64_MAX, UINT64_MAX);
  uint64_t entry = widest.dump().size() + 2; // ':' and ','
  uint64_t bytes = 2 + json{{"__metadata__", metadata}}.dump().size();
  for (const std::string &name : names)
    bytes += json(name).dump().size() + entry;
  return bytes;
}

Result<SafetensorsWriter> SafetensorsWriter::create(const std::string &path,
                                                    uint64_t headerRoom) {
  auto file = OutputFile::create(path);
  if (!file)
    return file.takeError();
  SafetensorsWriter writer(std::move(*file));
  writer.start = writer.end = layout::alignTo(8 + headerRoom, layout::kLine);
  return writer;
}

Result<void> SafetensorsWriter::append(const std::string &name, const std::string &type,
                                       const std::vector<uint64_t> &shape,
                                       std::span<const std::byte> bytes) {
  if (auto r = file->write(bytes, end); !r)
    return r;
  written.push_back({name, type, shape, {}, end - start});
  end += bytes.size();
  return {};
}

Result<void>
SafetensorsWriter::finish(const std::map<std::string, std::string> &metadata) {
  json header = json::object();
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  for (size_t i = 0; i < written.size(); ++i) {
    const Tensor &t = written[i];
    uint64_t stop = i + 1 < written.size() ? written[i + 1].offset : end - start;
    if (!header.emplace(t.name, headerEntry(t.type, t.shape, t.offset, stop)).second)
      return error(fmt::format("'{}': two tensors are named {}", file->path(),
                               inQuotes(t.name)));
  }
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > start - 8)
    return error(fmt::format("'{}': the header takes {} bytes, but {} were reserved",
                             file->path(), text.size(), start - 8));
  text.append(start - 8 - text.size(), ' ');
  uint64_t length = text.size();
  if (auto r = file->write(std::as_bytes(std::span(&length, 1)), 0); !r)
    return r;
  if (auto r = file->write(std::as_bytes(std::span(text)), 8); !r)
    return r;
  return file->publish();
}

Result<void>
qlinear::writeSafetensors(const std::string &path, const std::vector<Tensor> &tensors,
                          const std::map<std::string, std::string> &metadata) {
  std::vector<std::string> names;
  size_t rank = 1;
  std::vector<const Tensor *> order;
  for (const Tensor &t : tensors) {
    names.push_back(t.name);
    rank = std::max(rank, t.shape.size());
    order.push_back(&t);
  }
  auto alignment = [](const Tensor *t) {
    return std::min<uint64_t>(t->bytes.size() & (~t->bytes.size() + 1), layout::kLine);
  };
  std::sort(order.begin(), order.end(), [&](const Tensor *a, const Tensor *b) {
    // Empty ones (alignment 0) first; else as they come.
    return std::pair(alignment(b) - 1, a) < std::pair(alignment(a) - 1, b);
  });
  auto writer = SafetensorsWriter::create(
      path, SafetensorsWriter::headerBytes(names, rank, metadata));
  if (!writer)
    return writer.takeError();
  for (const Tensor *t : order)
    if (auto r = writer->append(t->name, t->type, t->shape, t->bytes); !r)
      return r;
  return writer->finish(metadata);
}
