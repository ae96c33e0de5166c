//===- GpuTest.cpp - Compiled layers for tests on a device ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GpuTest.h"

#include <cmath>
#include <cstring>
#include <dlfcn.h>
#include <random>
#include <sys/wait.h>
#include <unistd.h>

using namespace gpu;
using namespace qlinear;
using nlohmann::json;
using qlinear::run::Array;

std::string gpu::deviceName() {
  const char *name = std::getenv("QLINEAR_TEST_DEVICE");
  return name && *name ? name : "cuda";
}

std::string gpu::file(const std::string &name) {
  const char *folder = std::getenv("QLINEAR_TEST_DIR");
  return std::string(folder && *folder ? folder : ".") + "/" + name;
}

bool gpu::isCuda() { return deviceName().starts_with("cuda"); }

bool gpu::contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

//===----------------------------------------------------------------------===//
// Driver
//===----------------------------------------------------------------------===//

static void require(bool holds, const std::string &what) {
  if (!holds)
    throw std::runtime_error(what);
}

gpu::Driver::Driver(int ordinal) {
  auto opened = runtime::cuda::Driver::open();
  require(bool(opened), opened ? "" : opened.status().message);
  api = *opened;
  runtime::cuda::Context context = nullptr;
  require(api->cuDeviceGet(&id, ordinal) == 0, "cuDeviceGet");
  require(api->cuDevicePrimaryCtxRetain(&context, id) == 0, "cuDevicePrimaryCtxRetain");
  require(api->cuCtxPushCurrent_v2(context) == 0, "cuCtxPushCurrent");
}

gpu::Driver::~Driver() {
  runtime::cuda::Context popped = nullptr;
  (void)api->cuCtxPopCurrent_v2(&popped);
  (void)api->cuDevicePrimaryCtxRelease_v2(id);
}

size_t gpu::Driver::freeMemory() const {
  size_t free = 0, total = 0;
  require(api->cuMemGetInfo_v2(&free, &total) == 0, "cuMemGetInfo");
  return free;
}

int gpu::Driver::deviceCount() {
  auto opened = runtime::cuda::Driver::open();
  int count = 0;
  require(opened && (*opened)->cuDeviceGetCount(&count) == 0, "cuDeviceGetCount");
  return count;
}

//===----------------------------------------------------------------------===//
// Artifacts
//===----------------------------------------------------------------------===//

EditableArtifact::EditableArtifact(const std::string &path)
    : library(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  require(library, library ? "" : dlerror());
  auto *found =
      static_cast<const qlinear_artifact_v1 *>(dlsym(library, "qlinear_artifact"));
  require(found, path + " has no artifact");
  manifest = json::parse(found->manifest, found->manifest + found->manifest_size);
  for (uint64_t i = 0; i < found->n_images; ++i) {
    const qlinear_image &image = found->images[i];
    if (image.size)
      images[image.name] = {static_cast<const char *>(image.data), image.size};
    else
      rest.push_back(image);
  }
}

EditableArtifact::~EditableArtifact() { dlclose(library); }

const void *EditableArtifact::descriptor() {
  text = manifest.dump();
  table = rest;
  for (auto &[name, bytes] : images)
    table.push_back({name.c_str(), bytes.data(), bytes.size()});
  raw = {QLINEAR_ARTIFACT_MAGIC, text.data(), text.size(), table.data(), table.size()};
  return &raw;
}

json &EditableArtifact::target() {
  for (json &t : manifest.at("targets"))
    if (t.contains("images"))
      return t;
  throw std::runtime_error("the artifact has no code for CUDA");
}

void EditableArtifact::dropImages(const std::string &kind) {
  json kept = json::array();
  for (json &image : target()["images"])
    if (image["kind"] != kind)
      kept.push_back(image);
  target()["images"] = kept;
}

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

DeviceArray::DeviceArray(qlr_device *device, size_t bytes) : device(device) {
  require(qlr_alloc(device, bytes, &ptr) == QLR_OK, qlr_last_error());
}

namespace {

/// The manifest and the archive as the artifact file has them, for the reference.
struct Source {
  json manifest;
  Archive archive;
  static Source &get() {
    static Source source{EditableArtifact(file("runtime.so")).manifest,
                         *Archive::open(file("runtime.safetensors"))};
    return source;
  }
  const json &function(const std::string &name) const {
    for (const json &f : manifest.at("targets")[0].at("functions"))
      if (f.at("name") == name)
        return f;
    throw std::runtime_error("no function " + name);
  }
};

Array arrayOf(const json &tensor, int64_t rows) {
  static const std::map<std::string, qlr_dtype> types = {
      {"f32", QLR_F32}, {"f16", QLR_F16}, {"bf16", QLR_BF16}};
  return Array(types.at(tensor.at("dtype")), {rows, tensor.at("shape")[1]});
}

qlr_tensor tensorOf(const Array &array, void *data) {
  return {data, array.dtype, 2, {array.shape[0], array.shape[1], 0, 0}};
}

} // namespace

Layer::Layer(qlr_device *device, qlr_module *module, const std::string &function,
             int64_t rows)
    : device(device), module(module), name(function),
      index(qlr_function_index(module, function.c_str())),
      input(arrayOf(Source::get().function(function).at("inputs")[0], rows)),
      output(arrayOf(Source::get().function(function).at("outputs")[0], rows)),
      x(device, input.bytes.size()), y(device, output.bytes.size()),
      workspace(module, index, rows), in(tensorOf(input, x.get())),
      out(tensorOf(output, y.get())) {
  require(workspace.status == QLR_OK, qlr_last_error());
}

qlr_status Layer::upload(unsigned seed, void *stream) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size_t(input.elements()));
  for (float &v : values)
    v = normal(random);
  input.setFloats(values);
  return qlr_upload(device, x.get(), input.bytes.data(), input.bytes.size(), stream);
}

qlr_status Layer::call(void *stream) {
  return qlr_call(module, index, workspace, &in, 1, &out, 1, stream);
}

qlr_status Layer::download(void *stream) {
  qlr_status status =
      qlr_download(device, output.bytes.data(), y.get(), output.bytes.size(), stream);
  return status == QLR_OK ? qlr_synchronize(device, stream) : status;
}

qlr_status Layer::poison(void *stream) {
  std::memset(output.bytes.data(), 0xFF, output.bytes.size()); // NaNs
  return qlr_upload(device, y.get(), output.bytes.data(), output.bytes.size(), stream);
}

double Layer::error() const {
  Source &source = Source::get();
  run::Weights weights(
      source.manifest,
      [&](size_t i) -> Result<std::span<const std::byte>> {
        std::string weight = source.manifest.at("weights")[i].at("name");
        return source.archive.find(weight)->blob;
      },
      [](size_t) -> Result<Array> { return qlinear::error("there are no constants"); });
  auto want =
      run::evaluate(source.function(name), std::span(&input, 1), weights,
                    run::productsOf(source.function(name), input.shape[0]).floats
                        ? run::Quantized::asForManyRows
                        : run::Quantized::asForFewRows);
  require(bool(want), want ? "" : want.error());
  std::vector<float> got = output.floats();
  double wrong = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    double w = (*want)[0].values[i];
    wrong += (got[i] - w) * (got[i] - w);
    norm += w * w;
  }
  return std::sqrt(wrong / norm);
}

void Layers::expectRuns(const std::string &code) {
  Module module(device, artifact.descriptor(), archive);
  ASSERT_EQ(module.status, QLR_OK) << qlr_last_error();
  if (!code.empty())
    EXPECT_EQ(qlr_module_code(module), code);
  for (const char *function : {"linear", "chain"}) {
    Layer layer(device, module, function, 3);
    ASSERT_EQ(layer.poison(nullptr), QLR_OK);
    ASSERT_EQ(layer.upload(1, nullptr), QLR_OK) << qlr_last_error();
    ASSERT_EQ(layer.call(nullptr), QLR_OK) << qlr_last_error();
    ASSERT_EQ(layer.download(nullptr), QLR_OK) << qlr_last_error();
    EXPECT_LE(layer.error(), kBound) << function;
  }
}

std::string Layers::loadError(qlr_status expected) {
  Module module(device, artifact.descriptor(), archive);
  EXPECT_EQ(module.status, expected);
  return module.status == QLR_OK ? "" : qlr_last_error();
}

//===----------------------------------------------------------------------===//
// Processes
//===----------------------------------------------------------------------===//

Child::Child(const std::string &test) {
  std::string command = std::filesystem::read_symlink("/proc/self/exe").string() +
                        " --gtest_also_run_disabled_tests --gtest_filter=" + test +
                        " 2>&1";
  FILE *pipe = popen(command.c_str(), "r");
  require(pipe, "popen");
  char part[4096];
  for (size_t n; (n = fread(part, 1, sizeof part, pipe)) > 0;)
    output.append(part, n);
  int ended = pclose(pipe);
  status = WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
}
