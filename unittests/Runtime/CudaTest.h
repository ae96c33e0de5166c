//===- CudaTest.h - Tests on the fake CUDA driver ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_CUDATEST_H
#define QLINEAR_UNITTESTS_CUDATEST_H

#include "../../runtime/src/cuda/Driver.h"
#include "FakeCuda.h"
#include "Handles.h"
#include "TestArtifact.h"

#include <cstdlib>
#include <dlfcn.h>
#include <gtest/gtest.h>

using namespace qlinear::runtime;

inline FakeCuda &driver() {
  static FakeCuda *fake = [] {
    setenv("QLINEAR_CUDA_DRIVER", fakeDriverPath().c_str(), 1);
    void *library = dlopen(fakeDriverPath().c_str(), RTLD_NOW);
    auto *get = reinterpret_cast<FakeCuda *(*)()>(dlsym(library, "fakeCuda"));
    FakeCuda *f = get();
    registerTestKernels(*f);
    return f;
  }();
  return *fake;
}

struct Cuda : testing::Test {
  FakeCuda &fake = driver();
  TestArtifact test;
  Cuda() { fake.reset({}); }
  ~Cuda() override {
    EXPECT_EQ(fake.live(), (std::map<std::string, int>{}));
    EXPECT_EQ(fake.orphans(), 0);
  }

  std::string loadError(qlr_status expected) {
    Device device("cuda");
    EXPECT_EQ(device.status, QLR_OK) << qlr_last_error();
    Module module(device, test.descriptor(), "");
    EXPECT_EQ(module.status, expected);
    return qlr_last_error();
  }
  static std::string openError(const char *name, qlr_status expected) {
    Device device(name);
    EXPECT_EQ(device.status, expected);
    return qlr_last_error();
  }
};

inline bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

#endif
