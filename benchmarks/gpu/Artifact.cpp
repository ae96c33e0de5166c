//===- Artifact.cpp - Our compiled layers under the clock -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Linears.h"

#include "qlinear-runtime/runtime.h"
#include "qlinear/Encoding/Codec.h"

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>

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

/// Raw bits of a float near `value`, of the given type.
uint32_t bitsOf(FloatType type, float value) {
  switch (type) {
  case FloatType::bf16:
    return floatToBf16(value);
  case FloatType::f16:
    return floatToF16(value);
  case FloatType::f32:
    return std::bit_cast<uint32_t>(value);
  }
  return 0;
}

/// Random fields of one metadata tensor, and plausible steps.
void fillMeta(const MetaStorage &m, bool isScale, size_t fields, size_t rows,
              size_t blocks, std::mt19937 &rng, std::vector<uint32_t> &out,
              std::vector<uint32_t> &steps) {
  std::uniform_real_distribution<float> unit(0.5f, 1.0f);
  if (m.kind == MetaStorage::Kind::none)
    return;
  out.resize(fields);
  for (uint32_t &f : out)
    f = m.kind == MetaStorage::Kind::plain
            ? bitsOf(m.type, unit(rng) * (isScale ? 0.01f : 8.0f))
            : rng() & ((1u << m.bits) - 1);
  size_t entries = m.scope == StepScope::row     ? rows
                   : m.scope == StepScope::block ? blocks
                                                 : 0;
  for (size_t i = 0; i < entries; ++i) {
    float step = unit(rng) * (isScale ? 1e-4f : 0.05f);
    steps.push_back(bitsOf(m.type, m.kind == MetaStorage::Kind::delta ? 0.001f
                                                                      : step));
    if (m.kind == MetaStorage::Kind::log)
      steps.push_back(bitsOf(m.type, 0.01f));
  }
}

/// A packed weight of N rows: random tiles, repeated down the rows.
std::vector<std::byte> randomBlob(const Encoding &encoding, uint64_t N,
                                  uint64_t K) {
  constexpr uint64_t kTiles = 16;
  std::mt19937 rng(uint32_t(N * 31 + K));
  EncodedWeight w;
  w.encoding = encoding;
  w.N = kTiles * layout::kTileRows;
  w.K = K;
  w.fields.resize(w.N * K);
  for (uint8_t &f : w.fields)
    f = uint8_t(rng()) & ((1u << encoding.codes.bits) - 1);
  size_t fields = w.N * encoding.groupsPerRow(K);
  size_t blocks = w.N * ((K + kStepBlock - 1) / kStepBlock);
  fillMeta(encoding.scale, true, fields, w.N, blocks, rng, w.scaleFields,
           w.scaleSteps);
  fillMeta(encoding.offset, false, fields, w.N, blocks, rng, w.offsetFields,
           w.offsetSteps);
  layout::WeightLayout from = layoutOf(encoding, w.N, K),
                       to = layoutOf(encoding, N, K);
  std::vector<std::byte> part(from.bytes()), blob(to.bytes());
  if (Result<void> packed = pack(w, part); !packed) {
    std::fprintf(stderr, "error: %s\n", packed.error().c_str());
    std::exit(1);
  }
  size_t steps = from.stepPlaneBytes() ? from.unitsPerTile() *
                                             from.fullUnit().stepBytes()
                                       : 0;
  size_t scale = layout::kTileRows * from.rowScaleBytes();
  size_t offset = layout::kTileRows * from.rowOffsetBytes();
  for (uint64_t t = 0; t < to.tiles(); ++t) {
    uint64_t s = t % kTiles, row = t * layout::kTileRows,
             sourceRow = s * layout::kTileRows;
    auto move = [&](uint64_t at, uint64_t source, size_t bytes) {
      std::copy_n(part.data() + source, bytes, blob.data() + at);
    };
    move(to.unitOffset(t, 0), from.unitOffset(s, 0), from.tileBytes());
    if (steps)
      move(to.stepsOffset(t, 0), from.stepsOffset(s, 0), steps);
    move(to.rowScaleOffset(row), from.rowScaleOffset(sourceRow), scale);
    move(to.rowOffsetOffset(row), from.rowOffsetOffset(sourceRow), offset);
  }
  return blob;
}

class Artifact : public Linears {
  /// One weight: a module whose parameter of this shape is bound to it.
  struct Copy {
    Buffer blob;
    qlr_module *module;
    qlr_workspace *workspace;
  };
  std::string label;
  bool quantized;
  qlr_device *device = nullptr;
  qlr_artifact *artifact = nullptr;
  Encoding encodings[std::size(kShapes)];
  bool present[std::size(kShapes)] = {};
  std::vector<Copy> copies[std::size(kShapes)];

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
    size_t slash = path.find_last_of('/');
    label = path.substr(slash == std::string::npos ? 0 : slash + 1);
    label = "qlinear " + label.substr(0, label.find('.')) +
            (quantized ? " (int8 in)" : "");
  }
  ~Artifact() override {
    dropWeights();
    qlr_artifact_close(artifact);
    qlr_device_close(device);
  }
  std::string name() const override { return label; }
  size_t weightBytes(int shape) const override {
    return present[shape] ? layoutOf(encodings[shape], kShapes[shape].n,
                                     kShapes[shape].k)
                                .bytes()
                          : 0;
  }
  void dropWeights() override {
    for (std::vector<Copy> &list : copies) {
      for (Copy &copy : list) {
        qlr_workspace_destroy(copy.workspace);
        qlr_module_unload(copy.module);
      }
      list.clear();
    }
  }
  void makeWeights(int shape, int count) override {
    const Shape &s = kShapes[shape];
    std::vector<std::byte> blob = randomBlob(encodings[shape], s.n, s.k);
    std::string function = std::string(s.name) + (quantized ? "_i8" : "");
    for (int i = 0; i < count; ++i) {
      Copy copy{Buffer(blob.size()), nullptr, nullptr};
      if (i == 0)
        CHECK_CUDA(cudaMemcpy(copy.blob.get(), blob.data(), blob.size(),
                              cudaMemcpyHostToDevice));
      else
        CHECK_CUDA(cudaMemcpy(copy.blob.get(), copies[shape][0].blob.get(),
                              blob.size(), cudaMemcpyDeviceToDevice));
      CHECK_QLR(qlr_module_load(device, artifact, nullptr, &copy.module));
      CHECK_QLR(qlr_module_set_weight(copy.module, s.name, copy.blob.get(),
                                      blob.size()));
      int32_t index = qlr_function_index(copy.module, function.c_str());
      CHECK_QLR(qlr_workspace_create(copy.module, index, 8, &copy.workspace));
      copies[shape].push_back(std::move(copy));
    }
  }
  bool enqueue(Link link, int rows, const Activations &x,
               cudaStream_t stream) override {
    const Shape &s = kShapes[link.shape];
    Copy &copy = copies[link.shape][link.copy];
    std::string function = std::string(s.name) + (quantized ? "_i8" : "");
    qlr_tensor input = {x.bf16.get(), QLR_BF16, 2, {rows, s.k}};
    if (quantized) {
      layout::ActivationLayout tokens{uint64_t(s.k)};
      input = {x.int8.get(), QLR_I8, 2, {rows, int64_t(tokens.bytes())}};
    }
    qlr_tensor output = {x.result.get(), QLR_BF16, 2, {rows, s.n}};
    int32_t index = qlr_function_index(copy.module, function.c_str());
    CHECK_QLR(qlr_call(copy.module, index, copy.workspace, &input, 1, &output, 1,
                       stream));
    return true;
  }
};

} // namespace

std::unique_ptr<Linears> bench::openArtifact(const std::string &path,
                                             bool quantizedActivations) {
  return std::make_unique<Artifact>(path, quantizedActivations);
}
