//===- ErrorsTest.cpp - Memory that runs out, devices that are lost -------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GpuTest.h"
#include "HandMade.h"

#include <cmath>

using namespace gpu;

namespace {

struct OutOfMemory : Layers {};

TEST_F(OutOfMemory, IsReportedAndSurvived) {
  NEEDS_CUDA();
  void *memory = nullptr;
  EXPECT_EQ(qlr_alloc(device, size_t(1) << 50, &memory), QLR_OUT_OF_MEMORY);
  EXPECT_EQ(memory, nullptr);
  EXPECT_TRUE(contains(qlr_last_error(), "CUDA_ERROR_OUT_OF_MEMORY"))
      << qlr_last_error();
  EXPECT_TRUE(contains(qlr_last_error(), " bytes are free)")) << qlr_last_error();
  expectRuns("");
}

TEST_F(OutOfMemory, WorkspacesAndModules) {
  NEEDS_CUDA();
  Module module(device, artifact.descriptor(), archive);
  ASSERT_EQ(module.status, QLR_OK) << qlr_last_error();
  int32_t chain = qlr_function_index(module, "chain");
  Workspace large(module, chain, int64_t(1) << 30);
  EXPECT_EQ(large.status, QLR_OUT_OF_MEMORY);
  // Nothing is left for a second module: blocks of falling size take it all.
  std::vector<void *> taken;
  for (size_t bytes = size_t(64) << 30; bytes >= 4096; bytes /= 2)
    for (void *ptr = nullptr; qlr_alloc(device, bytes, &ptr) == QLR_OK;)
      taken.push_back(ptr);
  {
    Module second(device, artifact.descriptor(), archive);
    EXPECT_EQ(second.status, QLR_OUT_OF_MEMORY);
    EXPECT_NE(std::string(qlr_last_error()), "");
  }
  // What was there goes on.
  for (void *ptr : taken)
    qlr_free(device, ptr);
  Layer layer(device, module, "chain", 4);
  ASSERT_EQ(layer.upload(1, nullptr), QLR_OK);
  ASSERT_EQ(layer.call(nullptr), QLR_OK) << qlr_last_error();
  ASSERT_EQ(layer.download(nullptr), QLR_OK);
  EXPECT_LE(layer.error(), kBound);
  expectRuns("");
}

//===----------------------------------------------------------------------===//
// Lost devices
//===----------------------------------------------------------------------===//

/// What the driver still does in a process that has lost a device is up to it; but each
/// call works or is an error of a lost device.
void expectRunsOrSaysWhy(const std::string &name, qlr_device *device, Module &module) {
  qlr_status status = module.status;
  void *x = nullptr;
  if (status == QLR_OK)
    status = qlr_alloc(device, 64, &x);
  qlr_free(device, x);
  if (status != QLR_OK) {
    EXPECT_EQ(status, QLR_DEVICE_LOST);
    std::cout << name << ": " << qlr_last_error() << "\n";
    return;
  }
  Layer layer(device, module, "chain", 3);
  EXPECT_EQ(layer.upload(1, nullptr), QLR_OK) << qlr_last_error();
  EXPECT_EQ(layer.call(nullptr), QLR_OK) << qlr_last_error();
  EXPECT_EQ(layer.download(nullptr), QLR_OK) << qlr_last_error();
  EXPECT_LE(layer.error(), kBound);
  std::cout << name << ": works\n";
}

/// Loses cuda:0 in this process by a kernel of the hand-made artifact.
void loseDevice(const std::string &kernel, const std::string &error) {
  bool two = Driver::deviceCount() > 1;
  EditableArtifact code(file("runtime.so"));
  Device other(two ? "cuda:1" : "cpu");
  std::unique_ptr<Module> survivor;
  if (two)
    survivor =
        std::make_unique<Module>(other, code.descriptor(), file("runtime.safetensors"));
  {
    HandMade hand;
    Device device("cuda:0");
    ASSERT_EQ(device.status, QLR_OK) << qlr_last_error();
    Module module(device, hand.descriptor(), ""),
        layers(device, code.descriptor(), file("runtime.safetensors"));
    ASSERT_EQ(module.status, QLR_OK) << qlr_last_error();
    ASSERT_EQ(layers.status, QLR_OK) << qlr_last_error();
    Workspace workspace(layers, qlr_function_index(layers, "chain"), 4);
    DeviceArray y(device, 16);
    void *stream = nullptr;
    ASSERT_EQ(qlr_stream_create(device, &stream), QLR_OK);
    qlr_tensor out{y.get(), QLR_I8, 1, {16}};
    int32_t index = qlr_function_index(module, kernel.c_str());
    ASSERT_EQ(qlr_call(module, index, nullptr, nullptr, 0, &out, 1, stream), QLR_OK)
        << qlr_last_error();
    EXPECT_EQ(qlr_synchronize(device, stream), QLR_DEVICE_LOST);
    std::cout << qlr_last_error() << "\n";
    EXPECT_TRUE(contains(qlr_last_error(), error)) << qlr_last_error();
    EXPECT_TRUE(contains(qlr_last_error(), "cuda:0 (")) << qlr_last_error();
    EXPECT_TRUE(contains(qlr_last_error(), "is lost")) << qlr_last_error();
    // Everything after it says so, and nothing crashes.
    void *memory = nullptr;
    EXPECT_EQ(qlr_alloc(device, 64, &memory), QLR_DEVICE_LOST);
    EXPECT_TRUE(contains(qlr_last_error(), "is lost since an earlier " + error))
        << qlr_last_error();
    EXPECT_EQ(qlr_call(module, index, nullptr, nullptr, 0, &out, 1, stream),
              QLR_DEVICE_LOST);
    Module late(device, code.descriptor(), file("runtime.safetensors"));
    EXPECT_EQ(late.status, QLR_DEVICE_LOST);
    if (two)
      expectRunsOrSaysWhy("cuda:1", other, *survivor);
    EXPECT_EQ(qlr_stream_destroy(device, stream), QLR_DEVICE_LOST);
  }
  Device again("cuda:0");
  if (again.status != QLR_OK) {
    EXPECT_NE(std::string(qlr_last_error()), "");
    std::cout << "cuda:0 opened again: " << qlr_last_error() << "\n";
    return;
  }
  Module module(again, code.descriptor(), file("runtime.safetensors"));
  expectRunsOrSaysWhy("cuda:0 opened again", again, module);
}

// Each in a process of its own, as a lost device may take its process with it.
TEST(ChildProcess, DISABLED_Trap) { loseDevice("trap", "CUDA_ERROR_"); }
TEST(ChildProcess, DISABLED_StrayAddress) {
  loseDevice("stray", "CUDA_ERROR_ILLEGAL_ADDRESS");
}

struct Lost : Layers {
  void expectSurvives(const std::string &test) {
    NEEDS_CUDA();
    Module module(device, artifact.descriptor(), archive);
    ASSERT_EQ(module.status, QLR_OK) << qlr_last_error();
    Layer layer(device, module, "chain", 3);
    for (bool after : {false, true}) {
      // This process has a context of its own on the device: it goes on.
      ASSERT_EQ(layer.upload(after, nullptr), QLR_OK) << qlr_last_error();
      ASSERT_EQ(layer.call(nullptr), QLR_OK) << qlr_last_error();
      ASSERT_EQ(layer.download(nullptr), QLR_OK) << qlr_last_error();
      EXPECT_LE(layer.error(), kBound);
      if (!after) {
        Child child(test);
        EXPECT_EQ(child.status, 0) << child.output;
        std::cout << child.output;
      }
    }
  }
};

TEST_F(Lost, Trap) { expectSurvives("ChildProcess.DISABLED_Trap"); }
TEST_F(Lost, StrayAddress) { expectSurvives("ChildProcess.DISABLED_StrayAddress"); }

} // namespace
