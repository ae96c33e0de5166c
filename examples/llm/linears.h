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

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

/// A function that takes and gives rows of floats.
class Linear {
public:
  Linear(qlr_module *module, const std::string &name, int64_t width,
         std::vector<int64_t> widths, int64_t maxRows);
  /// x has rows of `width` floats, and result i rows of `widths[i]`.
  void operator()(int64_t rows, float *x, std::initializer_list<float *> results) const;

private:
  struct Release {
    void operator()(qlr_workspace *w) const { qlr_workspace_destroy(w); }
  };
  qlr_module *module;
  int32_t index;
  int64_t width;
  std::vector<int64_t> widths;
  std::unique_ptr<qlr_workspace, Release> workspace;
};

/// An artifact of quant-compile on this CPU, with its archive.
class Linears {
public:
  /// `artifact` is model.so, beside which are model.functions.json and the archive.
  Linears(const std::string &artifact, int threads);
  Linears(const Linears &) = delete;
  ~Linears();

  Linear function(const std::string &name, int64_t width, std::vector<int64_t> widths,
                  int64_t maxRows) const;
  /// A tensor that is not packed.
  std::vector<float> floats(const std::string &name, size_t size) const;
  /// Rows of a packed weight, one after the other.
  void rows(const std::string &name, std::span<const int64_t> rows, float *values) const;
  /// What the archive says of a packed weight: its encoding, n and k.
  const nlohmann::json &weight(const std::string &name) const;
  /// "cpu:avx512vnni": which code of the artifact runs.
  std::string target() const { return qlr_module_target(module); }

private:
  std::span<const std::byte> bytes(const std::string &name) const;

  qlr_device *device = nullptr;
  qlr_artifact *artifact = nullptr;
  qlr_module *module = nullptr;
  std::string path; ///< of the archive
  nlohmann::json tensors, about;
  std::span<const std::byte> mapped;
  size_t start = 0; ///< of the tensors
};

#endif
