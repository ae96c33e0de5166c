//===- Artifact.cpp - Our compiled layers under the clock -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Linears.h"

using namespace bench;
using namespace qlinear;

namespace {

/// All copies of a shape's weight are called through one module, as the layers of a
/// model are, whose linears of one shape share a kernel: its code is in the device's
/// caches, as that of the peers is.
class Artifact {
  qlr_artifact *artifact = nullptr;

public:
  timing::Device &device;
  std::string label;
  nlohmann::json manifest;
  qlr_module *module = nullptr;
  std::optional<timing::TimedWeights> weights;

  Artifact(timing::Device &device, const std::string &path) : device(device) {
    check(timing::checked(qlr_artifact_open(path.c_str(), &artifact)));
    check(
        timing::checked(qlr_module_load(device.handle(), artifact, nullptr, &module)));
    manifest = nlohmann::json::parse(qlr_artifact_manifest(artifact));
    weights.emplace(device, manifest);
    size_t slash = path.find_last_of('/');
    label = path.substr(slash == std::string::npos ? 0 : slash + 1);
    label = "qlinear " + label.substr(0, label.find('.'));
  }
  Artifact(const Artifact &) = delete;
  ~Artifact() {
    weights.reset();
    qlr_module_unload(module);
    qlr_artifact_close(artifact);
  }
};

class Layers : public Linears {
  std::shared_ptr<Artifact> artifact;
  bool quantized;
  int mostRows;
  std::unique_ptr<timing::TimedLinear> linears[std::size(kShapes)];

  std::string function(int shape) const {
    return std::string(kShapes[shape].name) + (quantized ? "_i8" : "");
  }

public:
  Layers(std::shared_ptr<Artifact> a, bool quantizedActivations, int mostRows)
      : artifact(std::move(a)), quantized(quantizedActivations), mostRows(mostRows) {}

  std::string name() const override {
    return artifact->label + (quantized ? " (int8 in)" : "");
  }
  size_t weightBytes(int shape) const override {
    for (const auto &w : artifact->manifest.at("weights"))
      if (w.at("name") == kShapes[shape].name)
        return w.at("bytes");
    return 0;
  }
  void makeWeights(int shape, int count) override {
    if (!linears[shape])
      linears[shape] = checked(
          timing::TimedLinear::create(artifact->device, artifact->module,
                                       *artifact->weights, function(shape), mostRows));
    check(linears[shape]->makeCopies(size_t(count)));
  }
  void dropWeights() override {
    for (size_t i = 0; i < artifact->weights->count(); ++i)
      artifact->weights->dropCopies(i);
  }
  std::optional<Measured> time(const std::vector<Link> &links, int rows,
                               int replays) override {
    std::vector<timing::Series::Call> calls;
    for (Link link : links)
      calls.push_back({linears[link.shape].get(), size_t(link.copy)});
    auto series = checked(timing::Series::create(artifact->device, calls, rows));
    check(series->verify());
    Measured measured;
    if (!series->verdict().wrong)
      measured.us =
          checked(series->time({size_t(replays), size_t(replays), 0})).median * 1e6;
    measured.verdict = series->verdict();
    if (measured.verdict.wrong)
      measured.us = 0;
    return measured;
  }
};

} // namespace

LinearsList bench::openArtifact(timing::Device &device, const std::string &path,
                                int mostRows) {
  auto artifact = std::make_shared<Artifact>(device, path);
  LinearsList list;
  bool takesQuantized = false; // layers.py --no-int8 leaves those functions out
  for (const auto &target : artifact->manifest.at("targets"))
    for (const auto &f : target.at("functions"))
      takesQuantized |= f.at("name").get<std::string>().ends_with("_i8");
  for (bool quantized : takesQuantized ? std::vector{false, true} : std::vector{false})
    list.push_back(std::make_unique<Layers>(artifact, quantized, mostRows));
  return list;
}
