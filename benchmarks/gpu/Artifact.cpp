//===- Artifact.cpp - Our compiled layers under the clock -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Linears.h"
#include "RandomWeight.h"

#include "qlinear-runtime/runtime.h"

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

using namespace bench;
using namespace qlinear;

namespace {

void checkRuntime(qlr_status status, const char *what) {
  if (status == QLR_OK)
    return;
  std::fprintf(stderr, "error: %s: %s\n", what, qlr_last_error());
  std::exit(1);
}
#define CHECK_QLR(expr) checkRuntime((expr), #expr)

std::vector<std::byte> randomBlob(const Encoding &encoding, uint64_t N, uint64_t K) {
  Result<std::vector<std::byte>> blob = timing::randomWeight(encoding, N, K);
  if (!blob) {
    std::fprintf(stderr, "error: %s\n", blob.error().c_str());
    std::exit(1);
  }
  return std::move(*blob);
}

/// All copies of a shape's weight are called through one module, as the layers of a
/// model are, whose linears of one shape share a kernel: its code is in the device's
/// caches, as that of the peers is.
class Artifact : public Linears {
  std::string label;
  bool quantized;
  qlr_device *device = nullptr;
  qlr_artifact *artifact = nullptr;
  qlr_module *module = nullptr;
  qlr_workspace *workspaces[std::size(kShapes)] = {};
  Encoding encodings[std::size(kShapes)];
  bool present[std::size(kShapes)] = {};
  std::vector<Buffer> copies[std::size(kShapes)];

public:
  Artifact(const std::string &path, bool quantizedActivations)
      : quantized(quantizedActivations) {
    CHECK_QLR(qlr_device_open("cuda", &device));
    CHECK_QLR(qlr_artifact_open(path.c_str(), &artifact));
    auto manifest = nlohmann::json::parse(qlr_artifact_manifest(artifact));
    for (auto &w : manifest["weights"])
      for (size_t s = 0; s < std::size(kShapes); ++s)
        if (w["name"] == kShapes[s].name) {
          Result<Encoding> e = Encoding::parse(w["encoding"].get<std::string>());
          if (!e) {
            std::fprintf(stderr, "error: %s\n", e.error().c_str());
            std::exit(1);
          }
          encodings[s] = *e;
          present[s] = true;
        }
    CHECK_QLR(qlr_module_load(device, artifact, nullptr, &module));
    for (size_t s = 0; s < std::size(kShapes); ++s)
      if (present[s])
        CHECK_QLR(qlr_workspace_create(module, function(int(s)), 8, &workspaces[s]));
    size_t slash = path.find_last_of('/');
    label = path.substr(slash == std::string::npos ? 0 : slash + 1);
    label =
        "qlinear " + label.substr(0, label.find('.')) + (quantized ? " (int8 in)" : "");
  }
  ~Artifact() override {
    for (qlr_workspace *workspace : workspaces)
      qlr_workspace_destroy(workspace);
    qlr_module_unload(module);
    qlr_artifact_close(artifact);
    qlr_device_close(device);
  }
  int32_t function(int shape) const {
    std::string name = std::string(kShapes[shape].name) + (quantized ? "_i8" : "");
    return qlr_function_index(module, name.c_str());
  }
  std::string name() const override { return label; }
  size_t weightBytes(int shape) const override {
    return present[shape]
               ? layoutOf(encodings[shape], kShapes[shape].n, kShapes[shape].k).bytes()
               : 0;
  }
  void dropWeights() override {
    for (std::vector<Buffer> &list : copies)
      list.clear();
  }
  void makeWeights(int shape, int count) override {
    const Shape &s = kShapes[shape];
    std::vector<std::byte> blob = randomBlob(encodings[shape], s.n, s.k);
    for (int i = 0; i < count; ++i) {
      Buffer &copy = copies[shape].emplace_back(blob.size());
      CHECK_CUDA(cudaMemcpy(copy.get(), i ? copies[shape][0].get() : blob.data(),
                            blob.size(), cudaMemcpyDefault));
    }
  }
  bool enqueue(Link link, int rows, const Activations &x,
               cudaStream_t stream) override {
    const Shape &s = kShapes[link.shape];
    qlr_tensor input = {x.bf16.get(), QLR_BF16, 2, {rows, s.k}};
    if (quantized) {
      layout::ActivationLayout tokens{uint64_t(s.k)};
      input = {x.int8.get(), QLR_I8, 2, {rows, int64_t(tokens.bytes())}};
    }
    qlr_tensor output = {x.result.get(), QLR_BF16, 2, {rows, s.n}};
    CHECK_QLR(qlr_module_set_weight(module, s.name, copies[link.shape][link.copy].get(),
                                    weightBytes(link.shape)));
    CHECK_QLR(qlr_call(module, function(link.shape), workspaces[link.shape], &input, 1,
                       &output, 1, stream));
    return true;
  }
};

} // namespace

std::unique_ptr<Linears> bench::openArtifact(const std::string &path,
                                             bool quantizedActivations) {
  return std::make_unique<Artifact>(path, quantizedActivations);
}
