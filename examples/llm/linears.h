//===- linears.h - The compiled linear layers of a model --------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// All that this program has from QLinear: functions of an artifact, called by their
// names, and the tensors of the archive beside it.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_EXAMPLES_LLM_LINEARS_H
#define QLINEAR_EXAMPLES_LLM_LINEARS_H

#include "qlinear-runtime/packed.h"

#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

inline void check(qlr_status status) {
  if (status != QLR_OK)
    throw std::runtime_error(qlr_last_error());
}

/// What qlr_..._close and the like are called for at the end.
template <auto release> struct Release {
  void operator()(auto *handle) const { release(handle); }
};
template <typename T, auto release> using Handle = std::unique_ptr<T, Release<release>>;

/// A function that takes rows of floats, and gives one or several results of such.
class Linear {
public:
  Linear(qlr_module *module, const std::string &name, int64_t width,
         std::vector<int64_t> widths, int64_t maxRows)
      : module(module), index(qlr_function_index(module, name.c_str())), width(width),
        widths(std::move(widths)) {
    if (index < 0)
      throw std::runtime_error("the artifact has no function '" + name +
                               "': quant-compile lists what it has in FILE"
                               ".functions.json, and quant-pack --list says why not");
    qlr_workspace *made;
    check(qlr_workspace_create(module, index, maxRows, &made));
    workspace.reset(made);
  }
  void operator()(int64_t rows, float *x,
                  std::initializer_list<float *> results) const {
    qlr_tensor in{x, QLR_F32, 2, {rows, width}}, out[3];
    int32_t count = 0;
    for (float *y : results) {
      out[count] = {y, QLR_F32, 2, {rows, widths[count]}};
      ++count;
    }
    check(qlr_call(module, index, workspace.get(), &in, 1, out, count, nullptr));
  }

private:
  qlr_module *module;
  int32_t index;
  int64_t width;               ///< of the input's rows
  std::vector<int64_t> widths; ///< of each result's rows
  Handle<qlr_workspace, qlr_workspace_destroy> workspace;
};

/// An artifact of quant-compile on this CPU, with its archive.
class Linears {
public:
  /// `file` is model.so, and beside it is model.packed.safetensors.
  Linears(const std::filesystem::path &file, int threads)
      : path(std::filesystem::path(file).replace_extension(".packed.safetensors")) {
    std::error_code error;
    size = std::filesystem::file_size(path, error);
    int descriptor = open(path.c_str(), O_RDONLY);
    void *all = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (descriptor >= 0)
      close(descriptor);
    if (all == MAP_FAILED || size < sizeof start)
      throw std::runtime_error("cannot read the archive '" + path + "'");
    data = static_cast<const char *>(all);
    std::memcpy(&start, data, sizeof start); // how long the header is
    if (start > size - sizeof start)
      throw std::runtime_error("'" + path + "' is not an archive of quant-pack");
    tensors = nlohmann::json::parse(data + sizeof start, data + sizeof start + start);
    start += sizeof start;
    std::string text = tensors.at("__metadata__").at("qlinear");
    packed = nlohmann::json::parse(text).at("weights");

    qlr_device *onDevice;
    qlr_artifact *opened;
    qlr_module *loaded;
    std::string name = threads ? "cpu:" + std::to_string(threads) : "cpu";
    check(qlr_device_open(name.c_str(), &onDevice));
    device.reset(onDevice);
    check(qlr_artifact_open(std::filesystem::absolute(file).c_str(), &opened));
    artifact.reset(opened);
    check(qlr_module_load(onDevice, opened, path.c_str(), &loaded));
    module.reset(loaded);
  }
  Linears(const Linears &) = delete;
  ~Linears() { munmap(const_cast<char *>(data), size); }

  Linear function(const std::string &name, int64_t width, std::vector<int64_t> widths,
                  int64_t maxRows) const {
    return Linear(module.get(), name, width, std::move(widths), maxRows);
  }

  /// A tensor of floats, which is not packed.
  std::vector<float> floats(const std::string &name, size_t count) const {
    qlr_blob blob = bytes(name);
    if (tensors.at(name).at("dtype") != "F32" || blob.bytes != count * sizeof(float))
      throw std::runtime_error("the tensor '" + name + "' in '" + path + "' is not " +
                               std::to_string(count) + " floats");
    std::vector<float> values(count);
    std::memcpy(values.data(), blob.data, blob.bytes);
    return values;
  }

  /// How many rows a packed weight has.
  int64_t rows(const std::string &name) const { return packed.at(name).at("n"); }

  /// Some rows of a packed weight, one after the other.
  void rows(const std::string &name, std::span<const int64_t> which,
            float *values) const {
    const nlohmann::json &w = packed.at(name);
    check(qlr_packed_rows(w.at("encoding").get<std::string>().c_str(), w.at("n"),
                          w.at("k"), bytes(name), which.data(), int64_t(which.size()),
                          values));
  }

  /// "cpu:avx512vnni": which code of the artifact runs.
  std::string target() const { return qlr_module_target(module.get()); }

private:
  qlr_blob bytes(const std::string &name) const {
    std::array<uint64_t, 2> range = tensors.at(name).at("data_offsets");
    if (range[0] > range[1] || range[1] > size - start)
      throw std::runtime_error("'" + path + "' ends within the tensor '" + name + "'");
    return {data + start + range[0], range[1] - range[0]};
  }

  std::string path; ///< of the archive, which is mapped at `data`
  size_t size;
  const char *data;
  uint64_t start; ///< of the tensors, which come after a header
  nlohmann::json tensors, packed;
  Handle<qlr_device, qlr_device_close> device;
  Handle<qlr_artifact, qlr_artifact_close> artifact;
  Handle<qlr_module, qlr_module_unload> module;
};

#endif
