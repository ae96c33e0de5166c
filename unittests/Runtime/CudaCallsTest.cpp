//===- CudaCallsTest.cpp - Calls and uploads, on a fake driver ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaTest.h"
#include "qlinear-runtime/program.h"

#include <atomic>
#include <cmath>
#include <thread>

namespace {

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

struct CudaCalls : Cuda {
  void run(int sm, bool withStream) {
    FakeSettings s;
    s.sm = sm;
    fake.reset(s);
    if (sm != 90) {
      std::string target = "cuda:sm_" + std::to_string(sm);
      test.manifest["targets"][2]["target"] = target;
      test.setImage("cuda:sm_90/cubin", "FAKECUBIN sm_" + std::to_string(sm) +
                                            " stage linear_1 linear_2 matvec");
    }
    Device device("cuda");
    Module module(device, test.descriptor(), writeTestArchive("w.safetensors"));
    ASSERT_EQ(module.status, QLR_OK) << qlr_last_error();
    Workspace workspace(module, 0, 5);
    void *in = nullptr, *out = nullptr, *stream = nullptr;
    ASSERT_EQ(qlr_alloc(device, 5 * kK * 4, &in), QLR_OK);
    ASSERT_EQ(qlr_alloc(device, 5 * kN * 4, &out), QLR_OK);
    if (withStream)
      ASSERT_EQ(qlr_stream_create(device, &stream), QLR_OK);
    qlr_tensor tin = matrix(in, 5, kK), tout = matrix(out, 5, kN);
    size_t before = fake.calls().size();
    ASSERT_EQ(qlr_call(module, 0, workspace, &tin, 1, &tout, 1, stream), QLR_OK)
        << qlr_last_error();
    std::vector<std::string> calls = fake.calls();
    calls.erase(calls.begin(), calls.begin() + long(before));
    // Nothing is allocated and nothing waits: launches in the device's context.
    std::vector<std::string> want = {"cuCtxPushCurrent_v2"};
    want.insert(want.end(), 5, "cuLaunchKernel");
    want.insert(want.end(), 3, sm >= 90 ? "cuLaunchKernelEx" : "cuLaunchKernel");
    want.push_back("cuCtxPopCurrent_v2");
    EXPECT_EQ(calls, want);
    std::vector<FakeLaunch> launches = fake.launches();
    ASSERT_EQ(launches.size(), 8u);
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(launches[i].kernel, i < 5 ? "stage" : i < 7 ? "linear_2" : "linear_1");
      EXPECT_EQ(launches[i].rows, i < 5 || i == 7 ? 1 : 2);
      EXPECT_EQ(launches[i].grid, 3u);
      EXPECT_EQ(launches[i].block, 64u);
      EXPECT_EQ(launches[i].smem, 65536u);
      EXPECT_EQ(launches[i].pdl, i >= 5 && sm >= 90);
      EXPECT_EQ(launches[i].stream, stream);
    }
    // Chunks move through input, temp and output; weight and counter stay.
    EXPECT_EQ(launches[4].pointers[0], static_cast<char *>(in) + 4 * kK * 4);
    EXPECT_EQ(launches[7].pointers[0], launches[5].pointers[0]);
    EXPECT_EQ(launches[7].pointers[2], launches[5].pointers[2]);
    EXPECT_EQ(launches[7].pointers[3], static_cast<char *>(out) + 4 * kN * 4);
    auto attributes = fake.attributes();
    for (const char *kernel : {"stage", "linear_1", "linear_2", "matvec"}) {
      EXPECT_EQ((attributes[{kernel, cuda::kFuncMaxDynamicShared}]), 65536);
      EXPECT_EQ((attributes[{kernel, cuda::kFuncCarveout}]), 100);
    }
    qlr_free(device, in);
    qlr_free(device, out);
    if (stream)
      EXPECT_EQ(qlr_stream_destroy(device, stream), QLR_OK);
  }
};

TEST_F(CudaCalls, DependentLaunch) { run(90, true); }
TEST_F(CudaCalls, DefaultStream) { run(90, false); }
TEST_F(CudaCalls, NoDependentLaunchBefore90) { run(80, true); }

/// With a workspace of the runtime's memory, or one made during the capture in memory
/// that the caller has, and with weights of the call.
struct CudaCapture : CudaCalls, testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Memory, CudaCapture, testing::Bool());

TEST_P(CudaCapture, ThenReplay) {
  Device device("cuda");
  Module module(device, test.descriptor(),
                GetParam() ? "" : writeTestArchive("w.safetensors"));
  const TestWeight &weight = testWeight();
  qlr_blob blob{nullptr, weight.size};
  qlr_workspace *workspace = nullptr;
  void *memory = nullptr, *packed = nullptr;
  size_t bytes = 0;
  if (GetParam()) {
    ASSERT_EQ(qlr_workspace_bytes(module, 0, 3, &bytes), QLR_OK);
    ASSERT_EQ(qlr_alloc(device, bytes, &memory), QLR_OK);
    ASSERT_EQ(qlr_alloc(device, weight.size, &packed), QLR_OK);
    ASSERT_EQ(qlr_upload(device, packed, weight.blob, weight.size, nullptr), QLR_OK);
    blob.data = packed;
  } else {
    ASSERT_EQ(qlr_workspace_create(module, 0, 3, &workspace), QLR_OK);
  }
  void *in = nullptr, *out = nullptr, *stream = nullptr;
  ASSERT_EQ(qlr_alloc(device, 3 * kK * 4, &in), QLR_OK);
  ASSERT_EQ(qlr_alloc(device, 3 * kN * 4, &out), QLR_OK);
  ASSERT_EQ(qlr_stream_create(device, &stream), QLR_OK);

  // The caller's own use of the driver, in the same primary context.
  Expected<std::shared_ptr<const cuda::Driver>> opened = cuda::Driver::open();
  ASSERT_TRUE(bool(opened));
  const cuda::Driver &api = **opened;
  cuda::Context context = nullptr, popped = nullptr;
  auto s = static_cast<cuda::Stream>(stream);
  cuda::Graph graph = nullptr;
  cuda::GraphExec exec = nullptr;
  ASSERT_EQ(api.cuDevicePrimaryCtxRetain(&context, 0), 0);
  ASSERT_EQ(api.cuCtxPushCurrent_v2(context), 0);
  ASSERT_EQ(api.cuStreamBeginCapture_v2(s, cuda::kCaptureThreadLocal), 0);
  qlr_tensor tin = matrix(in, 3, kK), tout = matrix(out, 3, kN);
  if (GetParam())
    EXPECT_EQ(qlr_workspace_create_in(module, 0, 3, memory, bytes, stream, &workspace),
              QLR_OK)
        << qlr_last_error();
  EXPECT_EQ(
      qlr_call_with_weights(module, 0, workspace, &tin, 1, &tout, 1, &blob, 1, stream),
      QLR_OK)
      << qlr_last_error();
  if (GetParam()) // only the memory has to stay
    qlr_workspace_destroy(std::exchange(workspace, nullptr));
  EXPECT_TRUE(fake.launches().empty());
  ASSERT_EQ(api.cuStreamEndCapture(s, &graph), 0);
  ASSERT_EQ(api.cuGraphInstantiate_v2(&exec, graph, nullptr, nullptr, 0), 0);
  for (unsigned replay = 1; replay <= 3; ++replay) {
    std::vector<float> x = randomInput(3, replay), y(3 * kN, NAN);
    ASSERT_EQ(qlr_upload(device, in, x.data(), x.size() * 4, stream), QLR_OK);
    ASSERT_EQ(api.cuGraphLaunch(exec, s), 0);
    ASSERT_EQ(qlr_download(device, y.data(), out, y.size() * 4, stream), QLR_OK);
    ASSERT_EQ(qlr_synchronize(device, stream), QLR_OK);
    EXPECT_LE(relativeError(y, expected(x)), 1e-6);
  }
  EXPECT_EQ(api.cuGraphExecDestroy(exec), 0);
  EXPECT_EQ(api.cuGraphDestroy(graph), 0);
  EXPECT_EQ(api.cuCtxPopCurrent_v2(&popped), 0);
  qlr_workspace_destroy(workspace);
  for (void *p : {in, out, memory, packed})
    qlr_free(device, p);
  EXPECT_EQ(qlr_stream_destroy(device, stream), QLR_OK);
  EXPECT_EQ(api.cuDevicePrimaryCtxRelease_v2(0), 0);
}

TEST_F(CudaCalls, ThreadsStreamsAndDevices) {
  FakeSettings s;
  s.devices = 2;
  fake.reset(s);
  std::string archive = writeTestArchive("w.safetensors");
  {
    Device devices[2] = {Device("cuda:0"), Device("cuda:1")};
    Module modules[2] = {Module(devices[0], test.descriptor(), archive),
                         Module(devices[1], test.descriptor(), archive)};
    ASSERT_EQ(modules[1].status, QLR_OK) << qlr_last_error();
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        qlr_device *device = devices[t % 2];
        Workspace workspace(modules[t % 2], 0, 2);
        void *in = nullptr, *out = nullptr, *stream = nullptr;
        wrong += qlr_stream_create(device, &stream) != QLR_OK;
        wrong += qlr_alloc(device, 2 * kK * 4, &in) != QLR_OK;
        wrong += qlr_alloc(device, 2 * kN * 4, &out) != QLR_OK;
        for (unsigned i = 0; i < 20; ++i) {
          std::vector<float> x = randomInput(2, 100 * t + i), y(2 * kN, NAN);
          qlr_tensor tin = matrix(in, 2, kK), tout = matrix(out, 2, kN);
          wrong += qlr_upload(device, in, x.data(), x.size() * 4, stream) != QLR_OK;
          wrong += qlr_call(modules[t % 2], 0, workspace, &tin, 1, &tout, 1, stream) !=
                   QLR_OK;
          wrong += qlr_download(device, y.data(), out, y.size() * 4, stream) != QLR_OK;
          wrong += qlr_synchronize(device, stream) != QLR_OK;
          wrong += !(relativeError(y, expected(x)) <= 1e-6);
          // Errors are each thread's own.
          qlr_tensor bad = matrix(in, 1 + t, kN);
          qlr_call(modules[t % 2], 0, workspace, &bad, 1, &tout, 1, stream);
          wrong += !contains(qlr_last_error(), "[" + std::to_string(1 + t) + ", 48]");
        }
        qlr_free(device, in);
        qlr_free(device, out);
        wrong += qlr_stream_destroy(device, stream) != QLR_OK;
      });
    for (std::thread &t : threads)
      t.join();
    EXPECT_EQ(wrong, 0);
  }
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

TEST_F(Cuda, ProgramsFreeWorkspacesThatAreTooSmall) {
  std::string archive = writeTestArchive("program.safetensors");
  qlinear_artifact_v1 *descriptor = test.descriptor();
  qlr_program *program = nullptr;
  ASSERT_EQ(qlr_program_open(&program, descriptor, "cuda", archive.c_str()), QLR_OK)
      << qlr_last_error();
  {
    Device device("cuda");
    constexpr int64_t kMost = 12;
    std::vector<float> x = randomInput(kMost);
    void *in = nullptr, *out = nullptr, *stream = nullptr;
    ASSERT_EQ(qlr_alloc(device, x.size() * 4, &in), QLR_OK);
    ASSERT_EQ(qlr_alloc(device, size_t(kMost * kN) * 4, &out), QLR_OK);
    ASSERT_EQ(qlr_upload(device, in, x.data(), x.size() * 4, nullptr), QLR_OK);
    ASSERT_EQ(qlr_stream_create(device, &stream), QLR_OK);
    auto launch = [&](int64_t rows) {
      qlr_tensor a = matrix(in, rows, kK), b = matrix(out, rows, kN);
      EXPECT_EQ(qlr_program_launch(&program, descriptor, 0, &a, 1, &b, 1), QLR_OK)
          << qlr_last_error();
      return fake.live()["memory"];
    };
    int one = launch(1);
    for (int64_t rows = 2; rows <= kMost; ++rows)
      EXPECT_EQ(launch(rows), one) << rows;
    EXPECT_EQ(launch(3), one); // the largest serves all
    // What another stream may still use stays.
    ASSERT_EQ(qlr_program_set_stream(&program, stream), QLR_OK);
    EXPECT_EQ(launch(2), one + 1);
    EXPECT_EQ(launch(4), one + 1);
    qlr_free(device, in);
    qlr_free(device, out);
    EXPECT_EQ(qlr_stream_destroy(device, stream), QLR_OK);
  }
  qlr_program_close(&program);
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

TEST_F(Cuda, LargeWeightsGoThroughBoundedMemory) {
  // 80 MB: more pieces than staging buffers.
  int64_t n = 8192, k = 17408;
  std::string archive = writeTestArchive("large.safetensors", "w", kEncoding, n, k);
  size_t bytes = size_t(n) * size_t(k) / 2 * 9 / 8 + size_t(n) * 4;
  nlohmann::json &w = test.manifest["weights"][0];
  w["n"] = n;
  w["k"] = k;
  w["bytes"] = bytes;
  size_t differing = bytes;
  const void *expectedAt = nullptr;
  fake.registerKernel("matvec", 3, [&](const FakeLaunch &l) {
    expectedAt = l.pointers[0];
    auto *blob = static_cast<const std::byte *>(l.pointers[0]);
    differing = 0;
    for (size_t i = 0; i < bytes; ++i)
      differing += blob[i] != placeByte(i);
  });
  {
    Device device("cuda");
    Module module(device, test.descriptor(), archive);
    ASSERT_EQ(module.status, QLR_OK) << qlr_last_error();
    EXPECT_EQ(fake.live().count("registered"), 0u);
    void *memory = nullptr;
    ASSERT_EQ(qlr_alloc(device, 4096, &memory), QLR_OK);
    qlr_tensor in{memory, QLR_F32, 1, {kK}}, out{memory, QLR_F32, 1, {kN}};
    ASSERT_EQ(qlr_call(module, 1, nullptr, &in, 1, &out, 1, nullptr), QLR_OK)
        << qlr_last_error();
    EXPECT_NE(expectedAt, nullptr);
    EXPECT_EQ(differing, 0u);
    qlr_free(device, memory);
  }
  EXPECT_LE(fake.peakPinned(), uint64_t(64) << 20);
  registerTestKernels(fake);
}

} // namespace
