//===- TestArtifact.cpp - A hand-made artifact ----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"
#include "FakeCuda.h"
#include "qlinear/Encoding/Archive.h"

#include <cmath>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <mutex>
#include <random>
#include <unistd.h>

using nlohmann::json;
using namespace qlinear;

//===----------------------------------------------------------------------===//
// Weight and input
//===----------------------------------------------------------------------===//

static Encoding testEncoding() { return *Encoding::parse(kEncoding); }

TestWeight::TestWeight() {
  EncodedWeight coded{testEncoding(), uint64_t(kN), uint64_t(kK), {}, {}, {}, {}, {}};
  std::mt19937 random(7);
  for (int64_t i = 0; i < kN * kK; ++i)
    coded.fields.push_back(random() & 15);
  for (int64_t i = 0; i < kN * kK / 32; ++i) {
    coded.scaleFields.push_back(random() & 255);
    coded.offsetFields.push_back(random() & 255);
  }
  for (int64_t n = 0; n < kN; ++n) {
    coded.scaleSteps.push_back(floatToBf16(0.0001f * float(1 + random() % 9)));
    coded.offsetSteps.push_back(floatToBf16(0.06f));
  }
  AffineWeight exact = *decode(coded);
  for (uint64_t n = 0; n < exact.N; ++n)
    for (uint64_t k = 0; k < exact.K; ++k)
      values.push_back(exact.weight(n, k));
  size = layoutOf(testEncoding(), coded.N, coded.K).bytes();
  bytes.resize(size + 128);
  blob = bytes.data() + (128 - reinterpret_cast<uintptr_t>(bytes.data()) % 128) % 128;
  if (!pack(coded, {reinterpret_cast<std::byte *>(blob), size}))
    std::abort();
}

const TestWeight &testWeight() {
  static const TestWeight weight;
  return weight;
}

std::string temporary(const std::string &name) {
  static const std::string folder = [] {
    std::string pattern = std::filesystem::temp_directory_path() / "qlinear-XXXXXX";
    return std::string(mkdtemp(pattern.data()));
  }();
  static const auto cleanup = [] {
    return std::shared_ptr<void>(nullptr,
                                 [](void *) { std::filesystem::remove_all(folder); });
  }();
  return folder + "/" + name;
}

std::string fakeDriverPath() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() /
         "libfakecuda.so";
}

std::string runtimePath() {
  Dl_info info{};
  dladdr(reinterpret_cast<void *>(&qlr_device_open), &info);
  return std::filesystem::canonical(info.dli_fname);
}

std::byte placeByte(size_t i) { return std::byte(i ^ (i >> 8) ^ (i >> 16)); }

std::string writeTestArchive(const std::string &name, const std::string &weight,
                             const std::string &encoding, int64_t n, int64_t k,
                             const std::string &checksum) {
  std::string path = temporary(name);
  uint64_t bytes =
      layoutOf(*Encoding::parse(encoding), uint64_t(n), uint64_t(k)).bytes();
  json meta = {
      {"version", layout::kVersion},
      {"weights",
       {{weight, {{"encoding", encoding}, {"n", n}, {"k", k}, {"source", "test"}}}}}};
  if (!checksum.empty())
    meta["weights"][weight]["xxh3"] = checksum;
  // The test's weight, or bytes that tell their place.
  std::vector<std::byte> blob(bytes);
  if (n == kN && k == kK && encoding == kEncoding)
    std::memcpy(blob.data(), testWeight().blob, blob.size());
  else
    for (size_t i = 0; i < blob.size(); ++i)
      blob[i] = placeByte(i);
  Tensor tensor;
  tensor.name = weight;
  tensor.type = "U8";
  tensor.shape = {bytes};
  tensor.bytes = blob;
  Result<void> written = writeSafetensors(path, {tensor}, {{"qlinear", meta.dump()}});
  if (!written)
    throw std::runtime_error(written.error());
  return path;
}

std::vector<float> randomInput(int64_t rows, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(size_t(rows * kK));
  for (float &v : x)
    v = normal(random);
  return x;
}

std::vector<double> expected(const std::vector<float> &x) {
  size_t rows = x.size() / size_t(kK);
  std::vector<double> y(rows * size_t(kN));
  for (size_t m = 0; m < rows; ++m)
    for (size_t n = 0; n < size_t(kN); ++n)
      for (size_t k = 0; k < size_t(kK); ++k)
        y[m * size_t(kN) + n] +=
            double(x[m * size_t(kK) + k]) * testWeight().values[n * size_t(kK) + k];
  return y;
}

double relativeError(const std::vector<float> &y, const std::vector<double> &want) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (y[i] - want[i]) * (y[i] - want[i]);
    norm += want[i] * want[i];
  }
  return y.size() == want.size() ? std::sqrt(error / norm) : INFINITY;
}

qlr_tensor matrix(void *data, int64_t rows, int64_t columns) {
  return {data, QLR_F32, 2, {rows, columns, 0, 0}};
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

static std::mutex chunkMutex;
static std::vector<int> chunks;

std::vector<int> takeChunks() {
  std::lock_guard lock(chunkMutex);
  return std::exchange(chunks, {});
}

static void stage(const float *x, float *temp, int32_t rows) {
  std::memcpy(temp, x, sizeof(float) * size_t(rows) * size_t(kK));
}

/// Rows [begin, end) of the weight.
static void multiply(const void *blob, const float *x, uint32_t *counter, float *y,
                     int32_t rows, int64_t begin, int64_t end) {
  if (begin == 0) {
    std::lock_guard lock(chunkMutex);
    // A temp that must be zero and is not shows as a chunk of -1 rows.
    chunks.push_back(counter && *counter ? -1 : rows);
  }
  // The blob arrived whole, or the result is not a number.
  const TestWeight &weight = testWeight();
  bool whole = std::memcmp(blob, weight.blob, weight.size) == 0;
  for (int32_t m = 0; m < rows; ++m)
    for (int64_t n = begin; n < end; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < kK; ++k)
        sum += double(x[m * kK + k]) * weight.values[size_t(n * kK + k)];
      y[m * kN + n] = whole ? float(sum) : NAN;
    }
}

static void cpuStage(void *const *args, int32_t rows, int64_t, int64_t) {
  stage(static_cast<const float *>(args[0]), static_cast<float *>(args[1]), rows);
}
static void cpuLinear(void *const *args, int32_t rows, int64_t begin, int64_t end) {
  multiply(args[0], static_cast<const float *>(args[1]),
           static_cast<uint32_t *>(args[2]), static_cast<float *>(args[3]), rows, begin,
           end);
}
static void cpuMatvec(void *const *args, int32_t rows, int64_t begin, int64_t end) {
  multiply(args[0], static_cast<const float *>(args[1]), nullptr,
           static_cast<float *>(args[2]), rows, begin, end);
}

// What retargeted device code calls; exported by the runtime.
extern "C" unsigned qlr_emu_tid(void), qlr_emu_ntid(void), qlr_emu_ctaid(void),
    qlr_emu_nctaid(void), qlr_emu_dynamic_smem_size(void);

/// The last thread of the grid does all the work, if the launch is the manifest's.
template <int Pointers, qlinear_cpu_kernel Kernel>
static void emulated(void *const *params) {
  if (qlr_emu_tid() != 63 || qlr_emu_ntid() != 64 || qlr_emu_ctaid() != 2 ||
      qlr_emu_nctaid() != 3 || qlr_emu_dynamic_smem_size() != 1024)
    return;
  void *args[Pointers];
  for (int i = 0; i < Pointers; ++i)
    args[i] = *static_cast<void **>(params[i]);
  Kernel(args, *static_cast<int32_t *>(params[Pointers]), 0, kN);
}

template <qlinear_cpu_kernel Kernel> static void onFake(const FakeLaunch &l) {
  Kernel(l.pointers.data(), l.rows, 0, kN);
}

void registerTestKernels(FakeCuda &fake) {
  fake.registerKernel("stage", 2, onFake<cpuStage>);
  fake.registerKernel("linear_1", 4, onFake<cpuLinear>);
  fake.registerKernel("linear_2", 4, onFake<cpuLinear>);
  fake.registerKernel("matvec", 3, onFake<cpuMatvec>);
}

//===----------------------------------------------------------------------===//
// Artifact
//===----------------------------------------------------------------------===//

static json kernel(const std::string &target, const char *name, int rows, int smem) {
  json k = {{"rows", rows}, {"name", name}};
  if (target.starts_with("cpu:"))
    k["items"] = std::string(name) == "stage" ? 1 : kN;
  else
    k.update({{"grid", 3}, {"block", 64}, {"smem", smem}});
  return k;
}

template <typename... Dims> static json tensor(Dims... shape) {
  return {{"dtype", "f32"}, {"shape", json::array({shape...})}};
}

static json testTarget(const std::string &target, int smem) {
  json weight = {{"weight", 0}};
  json x = {{"input", 0}, {"row_stride", 4 * kK}};
  json temp = {{"temp", 0}, {"row_stride", 4 * kK}};
  json y = {{"output", 0}, {"row_stride", 4 * kN}};
  json linear = {
      {"name", "linear"},
      {"inputs", json::array({tensor(-1, kK)})},
      {"outputs", json::array({tensor(-1, kN)})},
      {"temps",
       json::array({{{"bytes_per_row", 4 * kK}}, {{"bytes", 64}, {"zero", true}}})},
      {"steps",
       json::array({{{"kernels", json::array({kernel(target, "stage", 1, smem)})},
                     {"args", json::array({x, temp})}},
                    {{"kernels", json::array({kernel(target, "linear_1", 1, smem),
                                              kernel(target, "linear_2", 2, smem)})},
                     {"args", json::array({weight, temp, {{"temp", 1}}, y})},
                     // The functions of host code below wait for no launch before.
                     {"pdl", target.starts_with("cuda:sm_")}}})}};
  json step = {{"kernels", json::array({kernel(target, "matvec", 1, smem)})},
               {"args", json::array({weight, {{"input", 0}}, {{"output", 0}}})}};
  json matvec = {{"name", "matvec"},
                 {"rows", 1},
                 {"inputs", json::array({tensor(kK)})},
                 {"outputs", json::array({tensor(kN)})},
                 {"steps", json::array({step})}};
  json result = {{"target", target}, {"functions", json::array({linear, matvec})}};
  if (target.starts_with("cuda:sm_"))
    result["images"] =
        json::array({{{"kind", "cubin"}, {"name", target + "/cubin"}},
                     {{"kind", "ptx"}, {"name", target + "/ptx"}, {"version", "8.0"}}});
  return result;
}

json testManifest() {
  json weight = {{"name", "w"},
                 {"encoding", kEncoding},
                 {"n", kN},
                 {"k", kK},
                 {"bytes", testWeight().size}};
  return {{"version", 1},
          {"producer", "by hand"},
          {"weights", json::array({weight})},
          {"targets", json::array({testTarget("cpu:portable", 0),
                                   testTarget("cuda:emulated", 1024),
                                   testTarget("cuda:sm_90", 65536)})}};
}

TestArtifact::TestArtifact() : manifest(testManifest()) {
  setKernel("cpu:portable/stage", reinterpret_cast<void *>(cpuStage));
  setKernel("cpu:portable/linear_1", reinterpret_cast<void *>(cpuLinear));
  setKernel("cpu:portable/linear_2", reinterpret_cast<void *>(cpuLinear));
  setKernel("cpu:portable/matvec", reinterpret_cast<void *>(cpuMatvec));
  setKernel("cuda:emulated/stage", reinterpret_cast<void *>(emulated<2, cpuStage>));
  setKernel("cuda:emulated/linear_1", reinterpret_cast<void *>(emulated<4, cpuLinear>));
  setKernel("cuda:emulated/linear_2", reinterpret_cast<void *>(emulated<4, cpuLinear>));
  setKernel("cuda:emulated/matvec", reinterpret_cast<void *>(emulated<3, cpuMatvec>));
  setImage("cuda:sm_90/cubin", "FAKECUBIN sm_90 stage linear_1 linear_2 matvec");
  setImage("cuda:sm_90/ptx", ".version 8.0\n.target sm_90\n"
                             ".visible .entry stage(\n.visible .entry linear_1(\n"
                             ".visible .entry linear_2(\n.visible .entry matvec(\n");
}

void TestArtifact::removeImage(const std::string &name) {
  std::erase_if(images, [&](const Image &i) { return i.name == name; });
}
void TestArtifact::setImage(const std::string &name, const std::string &text) {
  removeImage(name);
  images.push_back({name, text, nullptr});
}
void TestArtifact::setKernel(const std::string &name, void *function) {
  removeImage(name);
  images.push_back({name, "", function});
}

qlinear_artifact_v1 *TestArtifact::descriptor() {
  json = manifest.dump();
  table.clear();
  for (const Image &i : images)
    table.push_back(
        i.function ? qlinear_image{i.name.c_str(), i.function, 0}
                   : qlinear_image{i.name.c_str(), i.text.c_str(), i.text.size() + 1});
  raw = {QLINEAR_ARTIFACT_MAGIC, json.data(), json.size(), table.data(), table.size()};
  return &raw;
}
