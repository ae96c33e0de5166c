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
#include <fmt/core.h>

using namespace qlinear;
using nlohmann::json;

static json headerEntry(const std::string &type, const std::vector<uint64_t> &shape,
                        uint64_t begin, uint64_t end) {
  return {{"dtype", type}, {"shape", shape}, {"data_offsets", {begin, end}}};
}

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
  if (auto r = file.write(bytes, end); !r)
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
      return error(
          fmt::format("'{}': two tensors are named {}", file.path(), inQuotes(t.name)));
  }
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > start - 8)
    return error(fmt::format("'{}': the header takes {} bytes, but {} were reserved",
                             file.path(), text.size(), start - 8));
  text.append(start - 8 - text.size(), ' ');
  uint64_t length = text.size();
  if (auto r = file.write(std::as_bytes(std::span(&length, 1)), 0); !r)
    return r;
  if (auto r = file.write(std::as_bytes(std::span(text)), 8); !r)
    return r;
  return {};
}

Result<OutputFile>
qlinear::makeSafetensors(const std::string &path, const std::vector<Tensor> &tensors,
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
      return r.takeError();
  if (auto r = writer->finish(metadata); !r)
    return r.takeError();
  return std::move(writer->output());
}

Result<void>
qlinear::writeSafetensors(const std::string &path, const std::vector<Tensor> &tensors,
                          const std::map<std::string, std::string> &metadata) {
  auto file = makeSafetensors(path, tensors, metadata);
  return file ? file->publish() : Result<void>(file.takeError());
}
