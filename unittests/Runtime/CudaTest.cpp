//===- CudaTest.cpp - The CUDA device, on a fake driver -------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every driver call is made to fail in turn: each failure comes back as an error
// that names the call, and nothing stays behind.
//
//===----------------------------------------------------------------------===//

#include "CudaTest.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <thread>

namespace {

/// Everything the runtime does on a device, from opening to closing.
struct Scenario {
  std::vector<float> x = randomInput(3), y = std::vector<float>(3 * kN, NAN);
  std::string message;
  size_t callsBeforeTeardown = 0;

  qlr_status run(FakeCuda &fake, TestArtifact &test, const std::string &archive) {
    Device device("cuda:0");
    qlr_status status = device.status;
    if (status != QLR_OK) {
      message = qlr_last_error();
      callsBeforeTeardown = fake.calls().size();
      return status;
    }
    void *in = nullptr, *out = nullptr, *stream = nullptr;
    {
      Module module(device, test.descriptor(), archive);
      auto then = [&](auto &&step) {
        if (status == QLR_OK)
          status = step();
        if (status != QLR_OK && message.empty())
          message = qlr_last_error();
      };
      then([&] { return module.status; });
      qlr_workspace *workspace = nullptr;
      size_t xBytes = x.size() * 4, yBytes = y.size() * 4;
      then([&] { return qlr_workspace_create(module, 0, 3, &workspace); });
      then([&] { return qlr_stream_create(device, &stream); });
      then([&] { return qlr_alloc(device, xBytes, &in); });
      then([&] { return qlr_alloc(device, yBytes, &out); });
      then([&] { return qlr_upload(device, in, x.data(), xBytes, stream); });
      qlr_tensor tin = matrix(in, 3, kK), tout = matrix(out, 3, kN);
      then([&] { return qlr_call(module, 0, workspace, &tin, 1, &tout, 1, stream); });
      then([&] { return qlr_download(device, y.data(), out, yBytes, stream); });
      then([&] { return qlr_synchronize(device, stream); });
      callsBeforeTeardown = fake.calls().size();
      qlr_workspace_destroy(workspace);
    }
    qlr_free(device, in);
    qlr_free(device, out);
    if (stream) {
      qlr_status destroyed = qlr_stream_destroy(device, stream);
      if (status == QLR_OK && destroyed != QLR_OK)
        message = qlr_last_error();
      status = status ? status : destroyed;
    }
    return status;
  }
};

TEST_F(Cuda, RunsAndMatches) {
  Scenario s;
  ASSERT_EQ(s.run(fake, test, writeTestArchive("w.safetensors")), QLR_OK) << s.message;
  EXPECT_LE(relativeError(s.y, expected(s.x)), 1e-6);
}

//===----------------------------------------------------------------------===//
// Failures
//===----------------------------------------------------------------------===//

/// Calls that release something: their failure leaves nothing to report to.
bool releases(const std::string &call) {
  static const std::set<std::string> names = {
      "cuMemFree_v2",      "cuMemHostUnregister", "cuModuleUnload",
      "cuEventDestroy_v2", "cuStreamDestroy_v2",  "cuDevicePrimaryCtxRelease_v2"};
  return names.count(call) != 0;
}

TEST_F(Cuda, EveryCallMayFail) {
  std::string archive = writeTestArchive("w.safetensors");
  Scenario good;
  ASSERT_EQ(good.run(fake, test, archive), QLR_OK) << good.message;
  size_t total = fake.calls().size();
  ASSERT_GT(total, 60u);
  for (int code : {2, 999, 700})
    for (size_t nth = 1; nth <= total; ++nth) {
      fake.reset({});
      fake.failNext("", int(nth), code);
      Scenario s;
      qlr_status status = s.run(fake, test, archive);
      std::string call = fake.failed();
      std::string where = call + ", call " + std::to_string(nth) + ", code " +
                          std::to_string(code) + ": " + s.message;
      ASSERT_FALSE(call.empty());
      bool tearingDown = nth > s.callsBeforeTeardown;
      if (status == QLR_OK) {
        EXPECT_TRUE(releases(call) || tearingDown) << where;
        EXPECT_LE(relativeError(s.y, expected(s.x)), 1e-6) << where;
      } else {
        EXPECT_EQ(status, code == 2     ? QLR_OUT_OF_MEMORY
                          : code == 700 ? QLR_DEVICE_LOST
                                        : QLR_DEVICE_ERROR)
            << where;
        // The message has the call's name (launches have the kernel's); a sticky
        // error of a release is told by the next call.
        std::string plain = call.substr(0, call.find("_v2"));
        EXPECT_TRUE(
            contains(s.message, plain) ||
            (plain.starts_with("cuLaunch") && contains(s.message, "kernel '")) ||
            (code == 700 && (releases(call) || tearingDown)))
            << where;
        EXPECT_TRUE(contains(s.message, "(" + std::to_string(code) + ")")) << where;
      }
      EXPECT_EQ(fake.live(), (std::map<std::string, int>{})) << where;
      // What the context's end had to release: only in a lost context, or where a
      // release itself could not make the context current.
      if (code != 700 && !(tearingDown && contains(call, "cuCtx")))
        EXPECT_EQ(fake.orphans(), 0) << where;
      fake.reset({});
    }
}

TEST_F(Cuda, OutOfMemoryIsSurvived) {
  FakeSettings small;
  small.memory = 4096;
  fake.reset(small);
  Device device("cuda");
  Module module(device, test.descriptor(), writeTestArchive("w.safetensors"));
  EXPECT_EQ(module.status, QLR_OK) << qlr_last_error();
  void *memory = nullptr;
  EXPECT_EQ(qlr_alloc(device, 1 << 20, &memory), QLR_OUT_OF_MEMORY);
  EXPECT_EQ(qlr_last_error(), "cuMemAlloc failed for 1048576 bytes on cuda:0: "
                              "CUDA_ERROR_OUT_OF_MEMORY (2): as the test wants it (" +
                                  std::to_string(4096 - testWeight().size) +
                                  " of 4096 bytes are free)");
  Workspace large(module, 0, 1000), fits(module, 0, 1);
  EXPECT_EQ(large.status, QLR_OUT_OF_MEMORY);
  EXPECT_EQ(fits.status, QLR_OK) << qlr_last_error();
}

TEST_F(Cuda, OutOfMemoryForWeights) {
  FakeSettings small;
  small.memory = 1024;
  fake.reset(small);
  Device device("cuda");
  Module module(device, test.descriptor(), writeTestArchive("w.safetensors"));
  EXPECT_EQ(module.status, QLR_OUT_OF_MEMORY);
  EXPECT_TRUE(contains(qlr_last_error(), "for weight 1 of 1")) << qlr_last_error();
}

TEST_F(Cuda, LostDevice) {
  {
    Device device("cuda");
    Module module(device, test.descriptor(), writeTestArchive("w.safetensors"));
    void *memory = nullptr;
    ASSERT_EQ(qlr_alloc(device, 64, &memory), QLR_OK);
    fake.failNext("cuStreamSynchronize", 1, 700);
    EXPECT_EQ(qlr_synchronize(device, nullptr), QLR_DEVICE_LOST);
    EXPECT_TRUE(contains(qlr_last_error(), "is lost")) << qlr_last_error();
    size_t calls = fake.calls().size();
    void *more = nullptr;
    EXPECT_EQ(qlr_alloc(device, 64, &more), QLR_DEVICE_LOST);
    EXPECT_TRUE(contains(qlr_last_error(), "is lost since an earlier "
                                           "CUDA_ERROR_ILLEGAL_ADDRESS (700)"))
        << qlr_last_error();
    EXPECT_EQ(fake.calls().size(), calls); // the driver is not asked any more
    qlr_free(device, memory);
  }
  Scenario s; // opened again, it works
  EXPECT_EQ(s.run(fake, test, writeTestArchive("w.safetensors")), QLR_OK) << s.message;
  EXPECT_LE(relativeError(s.y, expected(s.x)), 1e-6);
  fake.reset({}); // what the lost context released by its end
}

// As far as the driver lets them: after a fault it may itself refuse all work of the
// process, which then is each device's own error.
TEST_F(Cuda, OtherDevicesSurviveALostOne) {
  FakeSettings two;
  two.devices = 2;
  fake.reset(two);
  std::string archive = writeTestArchive("w.safetensors");
  {
    Device lost("cuda:0"), other("cuda:1");
    Module first(lost, test.descriptor(), archive),
        second(other, test.descriptor(), archive);
    ASSERT_EQ(second.status, QLR_OK) << qlr_last_error();
    float *x = nullptr, *y = nullptr;
    ASSERT_EQ(qlr_alloc(other, kK * 4, reinterpret_cast<void **>(&x)), QLR_OK);
    ASSERT_EQ(qlr_alloc(other, kN * 4, reinterpret_cast<void **>(&y)), QLR_OK);
    std::vector<float> input = randomInput(1), output(kN, NAN);
    ASSERT_EQ(qlr_upload(other, x, input.data(), kK * 4, nullptr), QLR_OK);
    // An input that is nowhere: the kernel faults.
    qlr_tensor wild{reinterpret_cast<void *>(4096), QLR_F32, 1, {kK}},
        in{x, QLR_F32, 1, {kK}}, out{y, QLR_F32, 1, {kN}};
    EXPECT_EQ(qlr_call(first, 1, nullptr, &wild, 1, &out, 1, nullptr), QLR_DEVICE_LOST);
    EXPECT_TRUE(contains(qlr_last_error(), "kernel 'matvec'")) << qlr_last_error();
    EXPECT_TRUE(contains(qlr_last_error(), "cuda:0 (Fake GPU) is lost"))
        << qlr_last_error();
    EXPECT_EQ(qlr_call(second, 1, nullptr, &in, 1, &out, 1, nullptr), QLR_OK)
        << qlr_last_error();
    ASSERT_EQ(qlr_download(other, output.data(), y, kN * 4, nullptr), QLR_OK);
    EXPECT_LE(relativeError(output, expected(input)), 1e-6);
    qlr_free(other, x);
    qlr_free(other, y);
  }
  EXPECT_EQ(fake.live(), (std::map<std::string, int>{}));
  fake.reset({}); // what the lost context released by its end
}

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

TEST_F(Cuda, OpenErrors) {
  FakeSettings s;
  EXPECT_TRUE(contains(openError("cuda:1", QLR_NO_DEVICE),
                       "there is no device cuda:1; this machine has 1 CUDA device"));
  s.devices = 0;
  fake.reset(s);
  EXPECT_TRUE(contains(openError("cuda", QLR_NO_DEVICE), "this machine has 0"));
  s.driverVersion = 10020;
  fake.reset(s);
  EXPECT_EQ(openError("cuda", QLR_NO_DEVICE),
            "the CUDA driver is too old: it supports CUDA 10.2, and 11.0 or later is "
            "needed");
  fake.failNext("cuInit", 1, 803);
  EXPECT_TRUE(contains(openError("cuda", QLR_NO_DEVICE), "cuInit failed"));
}

TEST_F(Cuda, NoDriver) {
  setenv("QLINEAR_CUDA_DRIVER", "/nonexistent/libcuda.so.1", 1);
  EXPECT_TRUE(contains(openError("cuda", QLR_NO_DEVICE), "no CUDA driver: "));
  // A library that is no driver.
  setenv("QLINEAR_CUDA_DRIVER", runtimePath().c_str(), 1);
  EXPECT_TRUE(contains(openError("cuda", QLR_NO_DEVICE), "too old: it has no cuInit"));
  setenv("QLINEAR_CUDA_DRIVER", fakeDriverPath().c_str(), 1);
}

//===----------------------------------------------------------------------===//
// Code
//===----------------------------------------------------------------------===//

TEST_F(Cuda, CubinIsPreferred) {
  Device device("cuda");
  EXPECT_STREQ(qlr_device_target(device), "cuda:sm_90a");
  test.setImage("cuda:sm_90/ptx", "garbage that nobody reads");
  Module module(device, test.descriptor(), "");
  EXPECT_EQ(module.status, QLR_OK) << qlr_last_error();
  EXPECT_STREQ(qlr_module_code(module), "cuda:sm_90/cubin");
}

TEST_F(Cuda, PtxForNewerDevices) {
  FakeSettings s;
  s.sm = 120;
  fake.reset(s);
  Device device("cuda");
  Module module(device, test.descriptor(), "");
  EXPECT_EQ(module.status, QLR_OK) << qlr_last_error();
  EXPECT_STREQ(qlr_module_code(module), "cuda:sm_90/ptx");
}

TEST_F(Cuda, PtxWhereTheDriverRefusesTheCubin) {
  test.setImage("cuda:sm_90/cubin", "a cubin of some newer kind");
  Device device("cuda");
  Module module(device, test.descriptor(), "");
  EXPECT_EQ(module.status, QLR_OK) << qlr_last_error();
  EXPECT_STREQ(qlr_module_code(module), "cuda:sm_90/ptx");
}

TEST_F(Cuda, NothingFits) {
  FakeSettings s;
  s.sm = 80;
  fake.reset(s);
  EXPECT_EQ(
      loadError(QLR_NO_DEVICE),
      "the artifact has code for cpu:portable, cuda:emulated, cuda:sm_90, none of "
      "which runs on cuda:0 (Fake GPU, sm_80); compile it with "
      "--target=cuda:sm_80");
  s.sm = 120;
  s.driverVersion = 11080;
  fake.reset(s);
  std::string message = loadError(QLR_NO_DEVICE);
  EXPECT_TRUE(contains(message, "its PTX version 8.0 needs a driver for CUDA 12.0; "
                                "this driver supports 11.8"))
      << message;
  // Code for exactly one architecture.
  test.manifest["targets"][2]["target"] = "cuda:sm_90a";
  fake.reset(s);
  EXPECT_TRUE(contains(loadError(QLR_NO_DEVICE), "none of which runs on"));
}

TEST_F(Cuda, CompileLog) {
  test.setImage("cuda:sm_90/cubin", "unknown");
  test.setImage("cuda:sm_90/ptx", ".version 8.0 garbage");
  std::string message = loadError(QLR_NO_DEVICE);
  EXPECT_TRUE(contains(message, "ptxas fatal: as the test wants it")) << message;
  EXPECT_TRUE(contains(message, "CUDA_ERROR_INVALID_PTX")) << message;
}

TEST_F(Cuda, BadImages) {
  test.removeImage("cuda:sm_90/cubin");
  EXPECT_EQ(loadError(QLR_BAD_ARTIFACT), "the artifact has no image "
                                         "\"cuda:sm_90/cubin\", the code of target "
                                         "cuda:sm_90");
  test.setImage("cuda:sm_90/cubin", "FAKECUBIN sm_90 stage linear_1 matvec");
  EXPECT_EQ(loadError(QLR_BAD_ARTIFACT),
            "the code of target cuda:sm_90 has no kernel 'linear_2' of function "
            "\"linear\"");
}

TEST_F(Cuda, TooMuchSharedMemory) {
  test.manifest["targets"][2]["functions"][0]["steps"][1]["kernels"][1]["smem"] =
      240000;
  std::string message = loadError(QLR_NO_DEVICE);
  EXPECT_TRUE(contains(message,
                       "kernel 'linear_2' needs 240000 bytes of shared memory, "
                       "but a block of Fake GPU has 232448"))
      << message;
}

} // namespace
