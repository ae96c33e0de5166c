//===- UploadBench.cpp - How fast an archive gets onto a GPU --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Loads an archive of weights with qlr_module_load and compares with what the bus does:
//   pinned    one cudaMemcpy-like copy from pinned memory to the device, repeated for
//             as many bytes; the memory is pinned before the clock starts
//   pageable  the same from the mapped file, as a program without staging would
//   load      qlr_module_load, all of it: open and check the archive, allocate device
//             memory, pin the staging buffers, copy; the file in the page cache
//   cold      the same with the file on disk only
// Each is the median of some runs.
//
//===----------------------------------------------------------------------===//
#include "../../runtime/src/cuda/Driver.h"
#include "../../unittests/Gpu/HandMade.h"
#include "qlinear-runtime/runtime.h"
#include "qlinear/Encoding/Archive.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <unistd.h>

using namespace qlinear;
namespace cuda = qlinear::runtime::cuda;
using nlohmann::json;

namespace {

[[noreturn]] void die(const std::string &message) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  std::exit(1);
}

void check(const runtime::Status &status) {
  if (!status)
    die(status.message);
}
void check(qlr_status status) {
  if (status != QLR_OK)
    die(qlr_last_error());
}

/// Seconds of `body`, the median of `runs`.
double medianTime(int runs, const std::function<void()> &prepare,
                  const std::function<void()> &body) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) {
    prepare();
    Clock::time_point start = Clock::now();
    body();
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + runs / 2, times.end());
  return times[size_t(runs / 2)];
}

/// As many weights of the shape of a decoder's as make up `bytes`.
std::vector<gpu::HandMade::Weight> weightsOf(uint64_t bytes) {
  std::vector<gpu::HandMade::Weight> weights;
  for (uint64_t total = 0; total < bytes; total += weights.back().bytes())
    weights.push_back({"w" + std::to_string(weights.size()), 21504, 5376});
  return weights;
}

void writeArchive(const std::string &path,
                  const std::vector<gpu::HandMade::Weight> &weights) {
  std::vector<std::byte> blob(weights[0].bytes());
  uint64_t state = 1;
  for (size_t i = 0; i < blob.size(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    blob[i] = std::byte(state >> 56);
  }
  json meta = {{"version", layout::kVersion}, {"weights", json::object()}};
  std::vector<Tensor> tensors;
  for (const gpu::HandMade::Weight &w : weights) {
    meta["weights"][w.name] = {{"encoding", gpu::HandMade::encoding()},
                               {"n", w.n},
                               {"k", w.k},
                               {"source", "bench"}};
    Tensor tensor;
    tensor.name = w.name;
    tensor.type = "U8";
    tensor.shape = {blob.size()};
    tensor.bytes = blob;
    tensors.push_back(tensor);
  }
  Result<void> written = writeSafetensors(path, tensors, {{"qlinear", meta.dump()}});
  if (!written)
    die(written.error());
}

/// Drops the file from the page cache.
void evict(const std::string &path) {
  int fd = open(path.c_str(), O_RDONLY);
  fsync(fd);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
}

} // namespace

int main(int argc, char **argv) {
  double gigabytes = 8;
  std::string folder = std::filesystem::temp_directory_path(), out;
  int runs = 5;
  bool cold = false;
  CLI::App app{"Times loading an archive of weights onto a CUDA device, against plain "
               "copies of as many bytes"};
  app.add_option("--gb", gigabytes, "Size of the archive in 10^9 bytes")
      ->check(CLI::PositiveNumber);
  app.add_option("--dir", folder, "Where the archive is written");
  app.add_option("--runs", runs, "Runs per figure")->check(CLI::PositiveNumber);
  app.add_flag("--cold", cold, "Also with the file on disk only");
  app.add_option("--json", out, "Report to write");
  CLI11_PARSE(app, argc, argv);

  std::vector<gpu::HandMade::Weight> weights = weightsOf(uint64_t(gigabytes * 1e9));
  std::string path = folder + "/qlinear-upload-bench.safetensors";
  writeArchive(path, weights);
  size_t each = weights[0].bytes(), bytes = each * weights.size();

  qlr_device *device = nullptr;
  check(qlr_device_open("cuda", &device));
  auto opened = cuda::Driver::open();
  if (!opened)
    die(opened.status().message);
  const cuda::Driver &api = **opened;
  cuda::Context context = nullptr;
  check(QLR_CUDA(api, cuDevicePrimaryCtxRetain, &context, 0));
  check(QLR_CUDA(api, cuCtxPushCurrent_v2, context));
  char name[256] = "";
  check(QLR_CUDA(api, cuDeviceGetName, name, 255, 0));
  cuda::Stream stream = nullptr;
  check(QLR_CUDA(api, cuStreamCreate, &stream, cuda::kStreamNonBlocking));

  json report = {{"device", name}, {"bytes", bytes}, {"weights", weights.size()}};
  auto print = [&](const char *what, double seconds) {
    report[what] = seconds;
    std::printf("%-9s %7.3f s  %6.2f GB/s\n", what, seconds,
                double(bytes) / seconds / 1e9);
    std::fflush(stdout);
  };
  auto copies = [&](const std::function<const void *(size_t)> &source) {
    cuda::DevicePtr target = 0;
    check(QLR_CUDA(api, cuMemAlloc_v2, &target, each));
    double seconds = medianTime(
        runs, [] {},
        [&] {
          for (size_t i = 0; i < weights.size(); ++i)
            check(QLR_CUDA(api, cuMemcpyHtoDAsync_v2, target, source(i), each, stream));
          check(QLR_CUDA(api, cuStreamSynchronize, stream));
        });
    check(QLR_CUDA(api, cuMemFree_v2, target));
    return seconds;
  };
  std::vector<std::byte> pinned(each);
  check(QLR_CUDA(api, cuMemHostRegister_v2, pinned.data(), each, 0));
  double bus = copies([&](size_t) { return pinned.data(); });
  print("pinned", bus);
  check(QLR_CUDA(api, cuMemHostUnregister, pinned.data()));
  {
    Result<Archive> archive = Archive::open(path);
    if (!archive)
      die(archive.error());
    print("pageable", copies([&](size_t i) {
            return archive->find(weights[i].name)->blob.data();
          }));
  }

  gpu::HandMade hand(weights, /*copies=*/1);
  qlr_artifact *artifact = nullptr;
  check(qlr_artifact_from_descriptor(hand.descriptor(), &artifact));
  qlr_module *module = nullptr;
  auto load = [&] { check(qlr_module_load(device, artifact, path.c_str(), &module)); };
  auto unload = [&] { qlr_module_unload(std::exchange(module, nullptr)); };
  load(); // compiles the PTX, which the driver keeps
  double seconds = medianTime(runs, unload, load);
  print("load", seconds);
  std::printf("          %.0f%% of pinned\n", 100 * bus / seconds);
  unload();
  if (cold) {
    print("cold", medianTime(1, [&] { evict(path); }, load));
    unload();
  }
  qlr_artifact_close(artifact);
  std::filesystem::remove(path);
  if (!out.empty())
    std::ofstream(out) << report.dump(1) << "\n";
  return 0;
}
