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

#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

inline void check(qlr_status status) {
  if (status != QLR_OK)
    throw std::runtime_error(qlr_last_error());
}

/// What `open` makes of the arguments, and `release` is called for at the end.
template <typename T, auto open, auto release> class Handle {
public:
  template <typename... Args> explicit Handle(Args... args) {
    T *made;
    check(open(args..., &made));
    handle.reset(made);
  }
  T *get() const { return handle.get(); }

private:
  struct Release {
    void operator()(T *handle) const { release(handle); }
  };
  std::unique_ptr<T, Release> handle;
};

/// A function that takes rows of floats, and gives one or several results of such.
class Linear {
public:
  Linear(qlr_module *module, const std::string &name, int64_t width,
         std::vector<int64_t> widths, int64_t maxRows)
      : module(module), index(indexOf(module, name)), width(width),
        widths(std::move(widths)), workspace(module, index, maxRows) {}
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
  static int32_t indexOf(qlr_module *module, const std::string &name) {
    int32_t index = qlr_function_index(module, name.c_str());
    if (index < 0)
      throw std::runtime_error("the artifact has no function '" + name +
                               "': quant-compile lists what it has in FILE"
                               ".functions.json, and quant-pack --list says why not");
    return index;
  }

  qlr_module *module;
  int32_t index;
  int64_t width;               ///< of the input's rows
  std::vector<int64_t> widths; ///< of each result's rows
  Handle<qlr_workspace, qlr_workspace_create, qlr_workspace_destroy> workspace;
};

/// An artifact of quant-compile on this CPU, with its archive.
class Linears {
public:
  /// `file` is model.so, and beside it is model.packed.safetensors.
  Linears(const std::filesystem::path &file, int threads)
      : path(std::filesystem::path(file).replace_extension(".packed.safetensors")),
        archive(path, std::ios::binary),
        device(("cpu" + (threads ? ":" + std::to_string(threads) : "")).c_str()),
        artifact(std::filesystem::absolute(file).c_str()),
        loaded(device.get(), artifact.get(), path.c_str()) {
    std::error_code error;
    uint64_t size = std::filesystem::file_size(path, error);
    archive.read(reinterpret_cast<char *>(&start), sizeof start); // the header's bytes
    std::string header(archive && start < size ? start : 0, ' ');
    if (!archive.read(header.data(), std::streamsize(header.size())) || header.empty())
      throw std::runtime_error("cannot read the archive '" + path + "'");
    tensors = nlohmann::json::parse(header);
    start += sizeof start;
  }

  /// What the functions are of.
  qlr_module *module() const { return loaded.get(); }

  /// A tensor of floats, which is not packed.
  std::vector<float> floats(const std::string &name, size_t count) {
    std::vector<float> values(count);
    std::array<uint64_t, 2> range = tensors.at(name).at("data_offsets");
    size_t bytes = count * sizeof(float);
    if (tensors[name].at("dtype") != "F32" || range[1] - range[0] != bytes ||
        !archive.seekg(std::streamoff(start + range[0])) ||
        !archive.read(reinterpret_cast<char *>(values.data()), std::streamsize(bytes)))
      throw std::runtime_error("the tensor '" + name + "' in '" + path + "' is not " +
                               std::to_string(count) + " floats");
    return values;
  }

  /// A packed weight, as a function of the artifact uses it.
  qlr_weight weight(const char *name) const {
    qlr_weight w;
    int32_t index = qlr_module_weight_index(module(), name);
    check(qlr_module_weight(module(), index, &w));
    return w;
  }

  /// Some rows of a packed weight, one after the other.
  static void rows(const qlr_weight &w, std::span<const int64_t> which, float *values) {
    check(qlr_packed_rows(w.encoding, w.n, w.k, {w.data, w.bytes}, which.data(),
                          int64_t(which.size()), values));
  }

  /// "cpu:avx512vnni": which code of the artifact runs.
  std::string target() const { return qlr_module_target(module()); }

private:
  std::string path;
  std::ifstream archive;
  uint64_t start = 0; ///< of the tensors, which come after a header
  nlohmann::json tensors;
  Handle<qlr_device, qlr_device_open, qlr_device_close> device;
  Handle<qlr_artifact, qlr_artifact_open, qlr_artifact_close> artifact;
  Handle<qlr_module, qlr_module_load, qlr_module_unload> loaded;
};

#endif
