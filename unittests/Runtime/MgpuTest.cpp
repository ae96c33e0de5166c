//===- MgpuTest.cpp - Upstream's mgpu* entry points, on a fake driver -----===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"
#include "TestArtifact.h"

#include <cstdlib>
#include <dlfcn.h>
#include <gtest/gtest.h>

// As upstream MLIR's gpu-to-llvm declares them.
extern "C" {
void *mgpuModuleLoad(void *data, size_t size);
void *mgpuModuleLoadJIT(void *data, int optLevel);
void mgpuModuleUnload(void *module);
void *mgpuModuleGetFunction(void *module, const char *name);
void mgpuLaunchKernel(void *function, intptr_t gridX, intptr_t gridY, intptr_t gridZ,
                      intptr_t blockX, intptr_t blockY, intptr_t blockZ, int32_t smem,
                      void *stream, void **params, void **extra, size_t count);
void mgpuLaunchClusterKernel(void *function, intptr_t clusterX, intptr_t clusterY,
                             intptr_t clusterZ, intptr_t gridX, intptr_t gridY,
                             intptr_t gridZ, intptr_t blockX, intptr_t blockY,
                             intptr_t blockZ, int32_t smem, void *stream, void **params,
                             void **extra, size_t count);
void *mgpuStreamCreate();
void mgpuStreamDestroy(void *stream);
void mgpuStreamSynchronize(void *stream);
void mgpuStreamWaitEvent(void *stream, void *event);
void *mgpuEventCreate();
void mgpuEventDestroy(void *event);
void mgpuEventSynchronize(void *event);
void mgpuEventRecord(void *event, void *stream);
void *mgpuMemAlloc(uint64_t bytes, void *stream, bool isHostShared);
void mgpuMemFree(void *ptr, void *stream);
void mgpuMemcpy(void *dst, void *src, size_t bytes, void *stream);
void mgpuMemset32(void *dst, unsigned value, size_t count, void *stream);
void mgpuMemset16(void *dst, unsigned short value, size_t count, void *stream);
void mgpuMemHostRegister(void *ptr, uint64_t bytes);
void mgpuMemHostUnregister(void *ptr);
void mgpuMemHostRegisterMemRef(int64_t rank, void *memref, int64_t elementBytes);
void mgpuMemHostUnregisterMemRef(int64_t rank, void *memref, int64_t elementBytes);
void mgpuSetDefaultDevice(int32_t device);
}

namespace {

struct Mgpu : testing::Test {
  FakeCuda &fake = [&]() -> FakeCuda & {
    setenv("QLINEAR_CUDA_DRIVER", fakeDriverPath().c_str(), 1);
    auto *get = reinterpret_cast<FakeCuda *(*)()>(
        dlsym(dlopen(fakeDriverPath().c_str(), RTLD_NOW), "fakeCuda"));
    return *get();
  }();
  Mgpu() {
    // The interface keeps its context for good; only what comes after counts.
    fake.reset({});
    fake.registerKernel("add", 1, [](const FakeLaunch &l) {
      for (int i = 0; i < 8; ++i)
        static_cast<int32_t *>(l.pointers[0])[i] += l.rows;
    });
  }
  void expectClean() {
    auto live = fake.live();
    live.erase("context");
    EXPECT_EQ(live, (std::map<std::string, int>{}));
  }
};

TEST_F(Mgpu, RunsAsLoweredModulesDo) {
  char image[] = "FAKECUBIN sm_90 add";
  void *module = mgpuModuleLoad(image, sizeof image);
  void *function = mgpuModuleGetFunction(module, "add");
  ASSERT_NE(function, nullptr);
  void *stream = mgpuStreamCreate(), *event = mgpuEventCreate();
  auto *memory = static_cast<int32_t *>(mgpuMemAlloc(32, stream, false));
  mgpuMemset32(memory, 5, 8, stream);
  int32_t seven = 7;
  void *params[] = {&memory, &seven};
  mgpuLaunchKernel(function, 2, 1, 1, 32, 1, 1, 100000, stream, params, nullptr, 2);
  mgpuLaunchClusterKernel(function, 2, 1, 1, 4, 1, 1, 32, 1, 1, 0, stream, params,
                          nullptr, 2);
  mgpuEventRecord(event, stream);
  mgpuStreamWaitEvent(stream, event);
  mgpuEventSynchronize(event);
  int32_t back[8] = {};
  mgpuMemcpy(back, memory, sizeof back, stream);
  mgpuStreamSynchronize(stream);
  for (int32_t v : back)
    EXPECT_EQ(v, 19);
  mgpuMemset16(memory, 3, 16, stream);
  EXPECT_EQ(memory[7], 0x30003);
  auto launches = fake.launches();
  ASSERT_EQ(launches.size(), 2u);
  EXPECT_EQ(launches[0].smem, 100000u);
  EXPECT_EQ(launches[1].clusterX, 2u);
  mgpuMemFree(memory, stream);
  mgpuEventDestroy(event);
  mgpuStreamDestroy(stream);
  mgpuModuleUnload(module);
  expectClean();
}

TEST_F(Mgpu, JitAndManagedMemory) {
  char good[] = ".version 8.0\n.target sm_90\n.visible .entry add(";
  void *module = mgpuModuleLoadJIT(good, 2);
  EXPECT_NE(module, nullptr);
  mgpuModuleUnload(module);
  char bad[] = ".version 8.0\ngarbage";
  testing::internal::CaptureStderr();
  EXPECT_EQ(mgpuModuleLoadJIT(bad, 2), nullptr);
  std::string printed = testing::internal::GetCapturedStderr();
  EXPECT_NE(printed.find("mgpuModuleLoadJIT: cuModuleLoadDataEx failed: "
                         "CUDA_ERROR_INVALID_PTX"),
            std::string::npos)
      << printed;
  EXPECT_NE(printed.find("ptxas fatal"), std::string::npos) << printed;
  void *shared = mgpuMemAlloc(16, nullptr, true);
  EXPECT_NE(shared, nullptr);
  mgpuMemFree(shared, nullptr);
  EXPECT_EQ(mgpuMemAlloc(0, nullptr, false), nullptr);
  expectClean();
}

TEST_F(Mgpu, HostMemRefs) {
  char data[96];
  // 2 x 3 elements of 4 bytes from element 2 on; then the same with a hole.
  struct {
    char *base, *data;
    int64_t offset, sizes[2], strides[2];
  } dense{data, data, 2, {2, 3}, {3, 1}}, strided{data, data, 0, {2, 3}, {4, 1}};
  mgpuMemHostRegisterMemRef(2, &dense, 4);
  EXPECT_EQ(fake.live()["registered"], 1);
  mgpuMemHostUnregisterMemRef(2, &dense, 4);
  testing::internal::CaptureStderr();
  mgpuMemHostRegisterMemRef(2, &strided, 4);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("is not dense"),
            std::string::npos);
  mgpuMemHostRegister(data, sizeof data);
  mgpuMemHostUnregister(data);
  expectClean();
}

/// Upstream's descriptor of a vector.
template <typename T> struct MemRef {
  T *base, *data;
  int64_t offset = 0, size, stride = 1;
  explicit MemRef(std::vector<T> &v)
      : base(v.data()), data(v.data()), size(int64_t(v.size())) {}
};

/// A function of a library that upstream's tools built (test/Runtime/mgpu.test).
template <typename T> struct Lowered {
  void *library;
  Lowered(const char *name)
      : library(
            dlopen((std::getenv("QLINEAR_MGPU_DIR") + std::string("/") + name).c_str(),
                   RTLD_NOW | RTLD_LOCAL)) {}
  ~Lowered() { dlclose(library); }
  void operator()(const char *function, std::vector<T> &a, std::vector<T> &b,
                  std::vector<T> &c) {
    ASSERT_NE(library, nullptr) << dlerror();
    auto *f = reinterpret_cast<void (*)(MemRef<T> *, MemRef<T> *, MemRef<T> *)>(
        dlsym(library, function));
    ASSERT_NE(f, nullptr) << dlerror();
    MemRef<T> da(a), db(b), dc(c);
    f(&da, &db, &dc);
  }
};

struct MgpuLowered : Mgpu {
  void SetUp() override {
    if (!std::getenv("QLINEAR_MGPU_DIR"))
      GTEST_SKIP() << "test/Runtime/mgpu.test builds the modules for this test";
  }
};

TEST_F(MgpuLowered, VectorAdd) {
  // Its parameters: 128, n, then the three descriptors.
  fake.registerKernel("vector_add_kernel", 0, [](const FakeLaunch &l) {
    auto vector = [&](int i) { return *static_cast<float **>(l.params[i]); };
    int64_t n = *static_cast<int64_t *>(l.params[1]);
    EXPECT_EQ(l.grid, unsigned(n + 127) / 128);
    EXPECT_EQ(l.block, 128u);
    for (int64_t i = 0; i < n; ++i)
      vector(13)[i] = vector(3)[i] + vector(8)[i];
  });
  {
    std::vector<float> a(300), b(300), c(300, -1);
    for (size_t i = 0; i < a.size(); ++i)
      a[i] = float(i), b[i] = 1000;
    Lowered<float> lowered("mgpu-add.so");
    lowered("_mlir_ciface_vector_add", a, b, c);
    for (size_t i = 0; i < c.size(); ++i)
      EXPECT_EQ(c[i], float(i) + 1000);
  }
  expectClean();
}

TEST_F(MgpuLowered, Linear) {
  // Whether the kernel gets the right pointers and its launch parameters: it adds the
  // first bytes of weight and input. The fourth is a temporary that it does not use.
  fake.registerKernel("linear0_m1", 4, [](const FakeLaunch &l) {
    auto bytes = [&](int i) { return static_cast<int8_t *>(l.pointers[size_t(i)]); };
    bytes(2)[0] = int8_t(bytes(0)[0] + bytes(1)[0] + l.rows);
    EXPECT_GT(l.smem, 48u * 1024);
    EXPECT_EQ(l.block % 32, 0u);
  });
  {
    std::vector<int8_t> w(4096, 5), x(64, 7), y(16, 0);
    Lowered<int8_t> lowered("mgpu-linear.so");
    lowered("_mlir_ciface_linear", w, x, y);
    EXPECT_EQ(y[0], 13);
  }
  ASSERT_EQ(fake.launches().size(), 1u);
  expectClean();
}

TEST_F(Mgpu, FailuresArePrintedAndSurvived) {
  for (const char *call : {"cuCtxPushCurrent_v2", "cuMemAlloc_v2"}) {
    fake.failNext(call, 1, 2);
    testing::internal::CaptureStderr();
    EXPECT_EQ(mgpuMemAlloc(64, nullptr, false), nullptr);
    std::string printed = testing::internal::GetCapturedStderr();
    EXPECT_NE(printed.find("mgpuMemAlloc: cu"), std::string::npos) << printed;
    EXPECT_NE(printed.find("CUDA_ERROR_OUT_OF_MEMORY (2)"), std::string::npos)
        << printed;
  }
  mgpuSetDefaultDevice(5);
  testing::internal::CaptureStderr();
  EXPECT_EQ(mgpuStreamCreate(), nullptr);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("there is no CUDA device 5"),
            std::string::npos);
  mgpuSetDefaultDevice(0);
  // After the driver's end, when destructors unload modules, nothing is printed.
  fake.failNext("cuCtxPushCurrent_v2", 1, 4);
  testing::internal::CaptureStderr();
  mgpuModuleUnload(&fake);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  // Null handles, as failed calls return them, do nothing.
  EXPECT_EQ(mgpuModuleGetFunction(nullptr, "add"), nullptr);
  mgpuLaunchKernel(nullptr, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr, 0);
  mgpuModuleUnload(nullptr);
  expectClean();
}

} // namespace
