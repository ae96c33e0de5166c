//===- LoadTest.cpp - Artifacts on a device: cubin, PTX, neither ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GpuTest.h"

#include <regex>

using namespace gpu;

namespace {

struct Load : Layers {
  /// The target that runtime.so was compiled for, "cuda:sm_90".
  std::string compiled() { return artifact.target()["target"]; }
  std::string imageName(const char *kind) {
    for (auto &image : artifact.target()["images"])
      if (image["kind"] == kind)
        return image["name"];
    return "";
  }
};

TEST_F(Load, AsCompiled) { expectRuns(isCuda() ? imageName("cubin") : std::string()); }

TEST_F(Load, PtxAlone) {
  NEEDS_CUDA();
  std::string ptx = imageName("ptx");
  artifact.dropImages("cubin");
  expectRuns(ptx);
}

TEST_F(Load, CubinAlone) {
  NEEDS_CUDA();
  artifact.dropImages("ptx");
  expectRuns(imageName("cubin"));
}

TEST_F(Load, PtxWhereTheCubinIsDamaged) {
  NEEDS_CUDA();
  std::string &cubin = artifact.images[imageName("cubin")];
  cubin.replace(0, 64, std::string(64, 'x'));
  expectRuns(imageName("ptx"));
}

TEST_F(Load, NeitherIsUsable) {
  NEEDS_CUDA();
  artifact.images[imageName("cubin")].replace(0, 64, std::string(64, 'x'));
  std::string &ptx = artifact.images[imageName("ptx")];
  ptx.replace(ptx.find(".visible .entry"), 8, ".unknown");
  std::string message = loadError(QLR_NO_DEVICE);
  EXPECT_TRUE(contains(message, "no code of the artifact can be loaded on cuda:0 ("))
      << message;
  EXPECT_TRUE(contains(message, "CUDA_ERROR_INVALID_PTX")) << message;
  EXPECT_TRUE(contains(message, "ptxas application")) << message; // its log
  EXPECT_TRUE(contains(message, "compile it with --target=" + compiled())) << message;
}

TEST_F(Load, PtxNewerThanTheDriver) {
  NEEDS_CUDA();
  artifact.dropImages("cubin");
  std::string &ptx = artifact.images[imageName("ptx")];
  std::regex version("\\.version [0-9]+\\.[0-9]+");
  ptx = std::regex_replace(ptx, version, ".version 9.9");
  artifact.target()["images"][0]["version"] = "9.9";
  std::string message = loadError(QLR_NO_DEVICE);
  EXPECT_TRUE(contains(message, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION")) << message;
  EXPECT_TRUE(contains(message, "needs a driver for CUDA 13.9; this driver supports "))
      << message;
}

// PTX of an older architecture is compiled by the driver.
TEST_F(Load, OlderArchitecture) {
  NEEDS_CUDA();
  if (!std::filesystem::exists(file("other.older.so")))
    GTEST_SKIP() << compiled() << " is the oldest";
  EditableArtifact older(file("other.older.so"));
  artifact.manifest = older.manifest;
  artifact.images = older.images;
  expectRuns(imageName("ptx"));
}

TEST_F(Load, NewerArchitecture) {
  NEEDS_CUDA();
  EditableArtifact newer(file("other.newer.so"));
  artifact.manifest = newer.manifest;
  artifact.images = newer.images;
  std::string name = compiled(), message = loadError(QLR_NO_DEVICE);
  EXPECT_TRUE(contains(message, "the artifact has code for " + name +
                                    ", none of which runs on cuda:0 ("))
      << message;
  EXPECT_TRUE(contains(message, "compile it with --target=" +
                                    std::string(qlr_device_target(device))))
      << message;
}

} // namespace
