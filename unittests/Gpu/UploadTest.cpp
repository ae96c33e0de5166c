//===- UploadTest.cpp - Weights of a large archive on a device ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GpuTest.h"
#include "HandMade.h"
#include "qlinear/Encoding/Codec.h"

#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>
#include <unistd.h>

using namespace gpu;
using namespace qlinear;

namespace {

/// Kilobytes of a line of /proc/self/status: memory that is not the archive's pages.
size_t statusKb(const std::string &key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key))
      return std::stoul(line.substr(key.size() + 1));
  return 0;
}

/// What lies at byte i of weight w: no two pieces of an upload look alike.
void fill(std::vector<std::byte> &bytes, uint64_t w) {
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    uint64_t v = (i + (w << 40)) * 0x9E3779B97F4A7C15u;
    v ^= v >> 29;
    std::memcpy(bytes.data() + i, &v, 8);
  }
}

// Half a gigabyte through the staging buffers, and weights smaller than one: every byte
// arrives, and host memory stays bounded.
TEST(Upload, EveryByteInBoundedMemory) {
  NEEDS_CUDA();
  std::vector<HandMade::Weight> weights = {{"tiny", 16, 32},
                                           {"large", 65536, 14336},
                                           {"small", 48, 384},
                                           {"odd", 8191, 7392}};
  std::string path = testing::TempDir() + "/qlinear-upload-" +
                     std::to_string(getpid()) + ".safetensors";
  {
    nlohmann::json meta = {{"version", layout::kVersion}, {"weights", nlohmann::json::object()}};
    std::vector<std::vector<std::byte>> blobs;
    std::vector<Tensor> tensors;
    for (const HandMade::Weight &w : weights) {
      blobs.emplace_back(w.bytes());
      fill(blobs.back(), blobs.size());
      meta["weights"][w.name] = {{"encoding", HandMade::encoding()},
                                 {"n", w.n},
                                 {"k", w.k},
                                 {"source", "test"}};
      Tensor tensor;
      tensor.name = w.name;
      tensor.type = "U8";
      tensor.shape = {blobs.back().size()};
      tensor.bytes = blobs.back();
      tensors.push_back(tensor);
    }
    Result<void> written = writeSafetensors(path, tensors, {{"qlinear", meta.dump()}});
    ASSERT_TRUE(bool(written)) << written.error();
  }
  HandMade hand(weights);
  Device device(deviceName().c_str());
  ASSERT_EQ(device.status, QLR_OK) << qlr_last_error();
  size_t before = statusKb("RssAnon:"), most = 0;
  std::atomic<bool> done = false;
  std::thread watch([&] {
    while (!done) {
      most = std::max(most, statusKb("RssAnon:"));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  Module module(device, hand.descriptor(), path);
  done = true;
  watch.join();
  std::filesystem::remove(path);
  ASSERT_EQ(module.status, QLR_OK) << qlr_last_error();
  EXPECT_LE(most, before + 256 * 1024) << "kilobytes, from " << before;
  for (size_t i = 0; i < weights.size(); ++i) {
    size_t bytes = weights[i].bytes();
    std::vector<std::byte> want(bytes), got(bytes);
    fill(want, i + 1);
    DeviceArray y(device, bytes);
    qlr_tensor out{y.get(), QLR_I8, 1, {int64_t(bytes)}};
    std::string name = "copy" + std::to_string(i);
    ASSERT_EQ(qlr_call(module, qlr_function_index(module, name.c_str()), nullptr,
                       nullptr, 0, &out, 1, nullptr),
              QLR_OK)
        << qlr_last_error();
    ASSERT_EQ(qlr_download(device, got.data(), y.get(), bytes, nullptr), QLR_OK);
    ASSERT_EQ(qlr_synchronize(device, nullptr), QLR_OK) << qlr_last_error();
    EXPECT_TRUE(got == want) << weights[i].name;
  }
}

} // namespace
