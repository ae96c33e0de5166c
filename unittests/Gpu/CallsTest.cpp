//===- CallsTest.cpp - Streams, graphs, threads, several devices ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GpuTest.h"

#include <atomic>
#include <thread>

using namespace gpu;
namespace cuda = qlinear::runtime::cuda;

namespace {

struct Stream {
  qlr_device *device;
  void *handle = nullptr;
  explicit Stream(qlr_device *device) : device(device) {
    EXPECT_EQ(qlr_stream_create(device, &handle), QLR_OK) << qlr_last_error();
  }
  ~Stream() { EXPECT_EQ(qlr_stream_destroy(device, handle), QLR_OK); }
  operator void *() const { return handle; }
  cuda::Stream native() const { return static_cast<cuda::Stream>(handle); }
};

struct Calls : Layers {
  std::unique_ptr<Module> module;
  void SetUp() override {
    Layers::SetUp();
    module = std::make_unique<Module>(device, artifact.descriptor(), archive);
    ASSERT_EQ(module->status, QLR_OK) << qlr_last_error();
  }
};

/// Uploads, calls and downloads on one stream; the results match.
void expectCall(Layer &layer, unsigned seed, void *stream) {
  EXPECT_EQ(layer.poison(stream), QLR_OK) << qlr_last_error();
  EXPECT_EQ(layer.upload(seed, stream), QLR_OK) << qlr_last_error();
  EXPECT_EQ(layer.call(stream), QLR_OK) << qlr_last_error();
  EXPECT_EQ(layer.download(stream), QLR_OK) << qlr_last_error();
  EXPECT_LE(layer.error(), kBound);
}

TEST_F(Calls, EveryNumberOfRows) {
  Stream stream(device);
  for (const char *function : {"linear", "chain"})
    for (int64_t rows : {1, 2, 3, 5, 8, 9, 17}) {
      Layer layer(device, *module, function, rows);
      expectCall(layer, unsigned(rows), stream);
      expectCall(layer, unsigned(rows) + 100, nullptr); // the default stream
    }
}

TEST_F(Calls, OfAnotherThreadsContext) {
  NEEDS_CUDA();
  // The caller has no context current, or (below) another device's.
  Layer layer(device, *module, "chain", 2);
  std::thread([&] { expectCall(layer, 5, nullptr); }).join();
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

struct Graphs : Calls {
  void SetUp() override {
    NEEDS_CUDA();
    Calls::SetUp();
  }
};

/// A captured call.
struct Captured {
  Driver &driver;
  cuda::Graph graph = nullptr;
  cuda::GraphExec exec = nullptr;
  /// Any allocation or wait of this process breaks a capture in mode 0 (global), of
  /// this thread one in mode 1.
  Captured(Driver &driver, Layer &layer, Stream &stream, int mode) : driver(driver) {
    EXPECT_EQ(driver->cuStreamBeginCapture_v2(stream.native(), mode), 0);
    EXPECT_EQ(layer.call(stream), QLR_OK) << qlr_last_error();
    EXPECT_EQ(driver->cuStreamEndCapture(stream.native(), &graph), 0);
    EXPECT_EQ(driver->cuGraphInstantiate_v2(&exec, graph, nullptr, nullptr, 0), 0);
  }
  ~Captured() {
    EXPECT_EQ(driver->cuGraphExecDestroy(exec), 0);
    EXPECT_EQ(driver->cuGraphDestroy(graph), 0);
  }
  int launch(const Stream &stream) {
    return driver->cuGraphLaunch(exec, stream.native());
  }
};

TEST_F(Graphs, CaptureAndReplay) {
  Driver driver;
  Stream stream(device), other(device);
  for (const char *function : {"linear", "chain"})
    for (int64_t rows : {1, 4, 9}) {
      Layer layer(device, *module, function, rows);
      Captured captured(driver, layer, stream, /*mode=*/0);
      // With other inputs each time, on another stream too.
      for (unsigned replay = 0; replay < 6; ++replay) {
        Stream &on = replay % 2 ? other : stream;
        ASSERT_EQ(layer.poison(on), QLR_OK);
        ASSERT_EQ(layer.upload(replay, on), QLR_OK);
        ASSERT_EQ(captured.launch(on), 0);
        ASSERT_EQ(layer.download(on), QLR_OK) << qlr_last_error();
        EXPECT_LE(layer.error(), kBound) << function << ", M = " << rows;
      }
    }
}

// The first call of all, before anything has run, can be captured: no kernel is
// loaded then.
TEST_F(Graphs, FirstCall) {
  Driver driver;
  Stream stream(device);
  Module fresh(device, artifact.descriptor(), archive);
  Layer layer(device, fresh, "chain", 2);
  ASSERT_EQ(layer.upload(3, stream), QLR_OK);
  ASSERT_EQ(qlr_synchronize(device, stream), QLR_OK);
  Captured captured(driver, layer, stream, /*mode=*/0);
  ASSERT_EQ(captured.launch(stream), 0);
  ASSERT_EQ(layer.download(stream), QLR_OK) << qlr_last_error();
  EXPECT_LE(layer.error(), kBound);
}

TEST_F(Graphs, FromSeveralThreads) {
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Driver driver;
      Stream stream(device);
      Layer layer(device, *module, t % 2 ? "linear" : "chain", t + 1);
      for (unsigned i = 0; i < 5; ++i) {
        EXPECT_EQ(layer.upload(10 * t + i, stream), QLR_OK) << qlr_last_error();
        EXPECT_EQ(qlr_synchronize(device, stream), QLR_OK);
        Captured captured(driver, layer, stream, cuda::kCaptureThreadLocal);
        EXPECT_EQ(captured.launch(stream), 0);
        EXPECT_EQ(layer.download(stream), QLR_OK) << qlr_last_error();
        EXPECT_LE(layer.error(), kBound);
      }
    });
  for (std::thread &t : threads)
    t.join();
}

// A thousand calls take no memory; and none waits: a global capture of this process
// would fail them.
TEST_F(Graphs, NothingIsAllocatedInSteadyState) {
  Driver driver;
  Stream stream(device), capturing(device);
  Layer layer(device, *module, "chain", 9);
  expectCall(layer, 1, stream);
  size_t before = driver.freeMemory();
  CUDA_OK(driver->cuStreamBeginCapture_v2(capturing.native(), /*global*/ 0));
  for (int i = 0; i < 1000; ++i)
    ASSERT_EQ(layer.call(stream), QLR_OK) << qlr_last_error();
  cuda::Graph graph = nullptr;
  CUDA_OK(driver->cuStreamEndCapture(capturing.native(), &graph));
  CUDA_OK(driver->cuGraphDestroy(graph));
  EXPECT_EQ(driver.freeMemory(), before);
  ASSERT_EQ(layer.download(stream), QLR_OK);
  EXPECT_LE(layer.error(), kBound);
}

//===----------------------------------------------------------------------===//
// At once
//===----------------------------------------------------------------------===//

// Eight threads with a stream and a workspace each call one module.
TEST_F(Calls, StreamsAndThreads) {
  std::vector<std::thread> threads;
  int64_t calls = isCuda() ? 50 : 2;
  for (unsigned t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      Stream stream(device);
      Layer layer(device, *module, t % 2 ? "linear" : "chain", 1 + t % 5);
      for (unsigned i = 0; i < calls; ++i)
        expectCall(layer, 1000 * t + i, stream);
    });
  for (std::thread &t : threads)
    t.join();
}

// Calls of one function on many streams are under way together; each gives the bits
// that it gives alone.
TEST_F(Calls, StreamsOfOneThread) {
  constexpr int kStreams = 8;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<std::unique_ptr<Layer>> layers;
  std::vector<std::vector<std::byte>> alone;
  for (unsigned i = 0; i < kStreams; ++i) {
    streams.push_back(std::make_unique<Stream>(device));
    layers.push_back(std::make_unique<Layer>(device, *module, "chain", 3));
    expectCall(*layers[i], i, *streams[i]);
    alone.push_back(layers[i]->result());
  }
  for (int round = 0; round < (isCuda() ? 20 : 1); ++round) {
    for (unsigned i = 0; i < kStreams; ++i) {
      ASSERT_EQ(layers[i]->poison(*streams[i]), QLR_OK);
      ASSERT_EQ(layers[i]->call(*streams[i]), QLR_OK);
    }
    for (unsigned i = 0; i < kStreams; ++i) {
      ASSERT_EQ(layers[i]->download(*streams[i]), QLR_OK);
      EXPECT_EQ(layers[i]->result(), alone[i]);
    }
  }
}

// A module per device, called at the same time, from threads whose current context is
// the other device's; the caller's context stays.
TEST_F(Calls, SeveralDevices) {
  NEEDS_CUDA();
  int count = Driver::deviceCount();
  if (count < 2)
    GTEST_SKIP() << "there is one device";
  std::vector<std::thread> threads;
  for (int ordinal = 0; ordinal < count; ++ordinal)
    threads.emplace_back([&, ordinal] {
      Driver foreign((ordinal + 1) % count);
      Device mine(("cuda:" + std::to_string(ordinal)).c_str());
      ASSERT_EQ(mine.status, QLR_OK) << qlr_last_error();
      EditableArtifact code(file("runtime.so"));
      Module its(mine, code.descriptor(), archive);
      ASSERT_EQ(its.status, QLR_OK) << qlr_last_error();
      Stream stream(mine);
      for (unsigned i = 0; i < 50; ++i) {
        Layer layer(mine, its, i % 2 ? "linear" : "chain", 1 + i % 9);
        expectCall(layer, 100 * unsigned(ordinal) + i, stream);
      }
      cuda::Context current = nullptr, wanted = nullptr;
      cuda::DeviceId id = 0;
      CUDA_OK(foreign->cuDeviceGet(&id, (ordinal + 1) % count));
      CUDA_OK(foreign->cuDevicePrimaryCtxRetain(&wanted, id));
      CUDA_OK(foreign->cuDevicePrimaryCtxRelease_v2(id));
      CUDA_OK(foreign->cuCtxPopCurrent_v2(&current));
      EXPECT_EQ(current, wanted);
      CUDA_OK(foreign->cuCtxPushCurrent_v2(current));
    });
  for (std::thread &t : threads)
    t.join();
}

} // namespace
