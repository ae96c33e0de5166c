//===- linears.cpp - The compiled linear layers of a model ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "linears.h"

#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <sys/mman.h>
#include <unistd.h>

using nlohmann::json;

namespace {

void check(qlr_status status) {
  if (status != QLR_OK)
    throw std::runtime_error(qlr_last_error());
}

std::span<const std::byte> map(const std::string &path) {
  std::error_code error;
  size_t size = std::filesystem::file_size(path, error);
  int file = open(path.c_str(), O_RDONLY);
  void *data = file < 0 || error
                   ? MAP_FAILED
                   : mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  if (file >= 0)
    close(file);
  if (data == MAP_FAILED)
    throw std::runtime_error("cannot read '" + path + "'");
  return {static_cast<const std::byte *>(data), size};
}

} // namespace

Linear::Linear(qlr_module *module, const std::string &name, int64_t width,
               std::vector<int64_t> widths, int64_t maxRows)
    : module(module), index(qlr_function_index(module, name.c_str())), width(width),
      widths(std::move(widths)) {
  if (index < 0)
    throw std::runtime_error(
        "the artifact has no function '" + name +
        "'; were all linear layers of this model packed? quant-pack --list says");
  qlr_workspace *made;
  check(qlr_workspace_create(module, index, maxRows, &made));
  workspace.reset(made);
}

void Linear::operator()(int64_t rows, float *x,
                        std::initializer_list<float *> results) const {
  qlr_tensor in{x, QLR_F32, 2, {rows, width}}, out[3];
  int32_t count = 0;
  for (float *y : results) {
    out[count] = {y, QLR_F32, 2, {rows, widths[count]}};
    ++count;
  }
  check(qlr_call(module, index, workspace.get(), &in, 1, out, count, nullptr));
}

Linears::Linears(const std::string &file, int threads) {
  std::filesystem::path list = std::filesystem::path(file).replace_extension();
  list += ".functions.json";
  std::ifstream stream(list);
  if (!stream)
    throw std::runtime_error("cannot read '" + list.string() +
                             "', which quant-compile writes beside the artifact");
  path = json::parse(stream).at("weights").get<std::string>();
  if (auto beside = list.parent_path() / path; std::filesystem::exists(beside))
    path = beside;

  mapped = map(path);
  uint64_t size = 0;
  if (mapped.size() >= sizeof size)
    std::memcpy(&size, mapped.data(), sizeof size);
  if (size > mapped.size() - std::min(mapped.size(), sizeof size))
    throw std::runtime_error("'" + path + "' is not an archive of quant-pack");
  start = sizeof size + size;
  auto *text = reinterpret_cast<const char *>(mapped.data()) + sizeof size;
  tensors = json::parse(text, text + size);
  about = json::parse(
      tensors.at("__metadata__").at("qlinear").get_ref<const std::string &>());

  std::string name = threads ? "cpu:" + std::to_string(threads) : "cpu";
  check(qlr_device_open(name.c_str(), &device));
  check(qlr_artifact_open(std::filesystem::absolute(file).c_str(), &artifact));
  check(qlr_module_load(device, artifact, path.c_str(), &module));
}

Linears::~Linears() {
  qlr_module_unload(module);
  qlr_artifact_close(artifact);
  qlr_device_close(device);
  munmap(const_cast<std::byte *>(mapped.data()), mapped.size());
}

Linear Linears::function(const std::string &name, int64_t width,
                         std::vector<int64_t> widths, int64_t maxRows) const {
  return Linear(module, name, width, std::move(widths), maxRows);
}

std::span<const std::byte> Linears::bytes(const std::string &name) const {
  if (!tensors.contains(name))
    throw std::runtime_error("'" + path + "' has no tensor '" + name + "'");
  std::array<uint64_t, 2> range = tensors[name].at("data_offsets");
  auto [begin, end] = range;
  if (begin > end || end > mapped.size() - start)
    throw std::runtime_error("'" + path + "' ends within the tensor '" + name + "'");
  return mapped.subspan(start + begin, end - begin);
}

std::vector<float> Linears::floats(const std::string &name, size_t size) const {
  auto data = bytes(name);
  if (tensors[name].at("dtype") != "F32" || data.size() != size * sizeof(float))
    throw std::runtime_error("the tensor '" + name + "' in '" + path + "' is not " +
                             std::to_string(size) + " floats");
  std::vector<float> values(size);
  std::memcpy(values.data(), data.data(), data.size());
  return values;
}

const json &Linears::weight(const std::string &name) const {
  return about.at("weights").at(name);
}

void Linears::rows(const std::string &name, std::span<const int64_t> rows,
                   float *values) const {
  const json &w = weight(name);
  auto data = bytes(name);
  check(qlr_packed_rows(w.at("encoding").get_ref<const std::string &>().c_str(),
                        w.at("n"), w.at("k"), {data.data(), data.size()}, rows.data(),
                        int64_t(rows.size()), values));
}
