//===- DriverAbiTest.cpp - Our declarations against cuda.h ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compiled where CUDA's headers are: the runtime declares the driver's ABI itself, and
// here the compiler compares both.
//
//===----------------------------------------------------------------------===//

#include "../../runtime/src/cuda/Driver.h"

#include <gtest/gtest.h>

#if __has_include(<cuda.h>)
#include <cuda.h>

namespace ours = qlinear::runtime::cuda;

static_assert(sizeof(ours::LaunchConfig) == sizeof(CUlaunchConfig));
static_assert(offsetof(ours::LaunchConfig, sharedBytes) ==
              offsetof(CUlaunchConfig, sharedMemBytes));
static_assert(offsetof(ours::LaunchConfig, stream) ==
              offsetof(CUlaunchConfig, hStream));
static_assert(offsetof(ours::LaunchConfig, attributes) ==
              offsetof(CUlaunchConfig, attrs));
static_assert(offsetof(ours::LaunchConfig, attributeCount) ==
              offsetof(CUlaunchConfig, numAttrs));
static_assert(sizeof(ours::LaunchAttribute) == sizeof(CUlaunchAttribute));
static_assert(offsetof(ours::LaunchAttribute, value) ==
              offsetof(CUlaunchAttribute, value));
static_assert(sizeof(ours::DevicePtr) == sizeof(CUdeviceptr));
static_assert(sizeof(ours::DeviceId) == sizeof(CUdevice));

TEST(DriverAbi, EnumerationsAreCudas) {
  EXPECT_EQ(ours::kLaunchClusterDimension,
            unsigned(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION));
  EXPECT_EQ(ours::kLaunchProgrammaticSerialization,
            unsigned(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION));
  EXPECT_EQ(ours::kAttrComputeMajor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  EXPECT_EQ(ours::kAttrComputeMinor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  EXPECT_EQ(ours::kAttrSharedMemoryOptin,
            CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  EXPECT_EQ(ours::kAttrMultiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  EXPECT_EQ(ours::kFuncMaxDynamicShared,
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
  EXPECT_EQ(ours::kFuncCarveout, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT);
  EXPECT_EQ(ours::kJitErrorLog, CU_JIT_ERROR_LOG_BUFFER);
  EXPECT_EQ(ours::kJitErrorLogBytes, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
  EXPECT_EQ(ours::kStreamNonBlocking, unsigned(CU_STREAM_NON_BLOCKING));
  EXPECT_EQ(ours::kEventDisableTiming, unsigned(CU_EVENT_DISABLE_TIMING));
  EXPECT_EQ(ours::kCaptureThreadLocal, int(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  EXPECT_EQ(ours::statusOf(CUDA_ERROR_OUT_OF_MEMORY), QLR_OUT_OF_MEMORY);
  EXPECT_EQ(ours::statusOf(CUDA_ERROR_ILLEGAL_ADDRESS), QLR_DEVICE_LOST);
  EXPECT_EQ(ours::statusOf(CUDA_ERROR_ECC_UNCORRECTABLE), QLR_DEVICE_LOST);
  EXPECT_EQ(ours::statusOf(CUDA_ERROR_NO_DEVICE), QLR_NO_DEVICE);
  EXPECT_EQ(int(ours::kUnsupportedPtxVersion), int(CUDA_ERROR_UNSUPPORTED_PTX_VERSION));
  EXPECT_EQ(int(ours::kNoBinaryForGpu), int(CUDA_ERROR_NO_BINARY_FOR_GPU));
}
#else
TEST(DriverAbi, EnumerationsAreCudas) { GTEST_SKIP() << "cuda.h is not there"; }
#endif
