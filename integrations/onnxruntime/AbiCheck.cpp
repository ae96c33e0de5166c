//===- AbiCheck.cpp - Ort.h against onnxruntime's header ------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compiled where onnxruntime_c_api.h is found; compiling is the check.
//
//===----------------------------------------------------------------------===//

#include "Ort.h"
#include <onnxruntime_c_api.h>

namespace ours = qlinear::ort;

#define SAME(mine, theirs)                                                             \
  static_assert(offsetof(ours::Api, mine) == offsetof(OrtApi, theirs))
SAME(createStatus, CreateStatus);
SAME(createCustomOpDomain, CreateCustomOpDomain);
SAME(customOpDomainAdd, CustomOpDomain_Add);
SAME(addCustomOpDomain, AddCustomOpDomain);
SAME(getTensorMutableData, GetTensorMutableData);
SAME(getDimensionsCount, GetDimensionsCount);
SAME(getDimensions, GetDimensions);
SAME(getTensorTypeAndShape, GetTensorTypeAndShape);
SAME(kernelInfoGetAttributeInt64, KernelInfoGetAttribute_int64);
SAME(kernelInfoGetAttributeString, KernelInfoGetAttribute_string);
SAME(kernelContextGetInput, KernelContext_GetInput);
SAME(kernelContextGetOutput, KernelContext_GetOutput);
SAME(releaseStatus, ReleaseStatus);
SAME(releaseTensorInfo, ReleaseTensorTypeAndShapeInfo);
SAME(hasSessionConfigEntry, HasSessionConfigEntry);
SAME(getSessionConfigEntry, GetSessionConfigEntry);
#undef SAME
#define SAME(mine, theirs)                                                             \
  static_assert(offsetof(ours::CustomOp, mine) == offsetof(OrtCustomOp, theirs))
SAME(version, version);
SAME(createKernel, CreateKernel);
SAME(getName, GetName);
SAME(getExecutionProviderType, GetExecutionProviderType);
SAME(getInputType, GetInputType);
SAME(getOutputTypeCount, GetOutputTypeCount);
SAME(kernelCompute, KernelCompute);
SAME(kernelDestroy, KernelDestroy);
SAME(getInputCharacteristic, GetInputCharacteristic);
SAME(getInputMemoryType, GetInputMemoryType);
SAME(getVariadicOutputHomogeneity, GetVariadicOutputHomogeneity);
SAME(createKernelV2, CreateKernelV2);
SAME(kernelComputeV2, KernelComputeV2);
#undef SAME
static_assert(offsetof(ours::ApiBase, getApi) == offsetof(OrtApiBase, GetApi));
static_assert(int(ours::kFail) == ORT_FAIL);
static_assert(int(ours::kInvalidArgument) == ORT_INVALID_ARGUMENT);
static_assert(int(ours::kFloat) == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
static_assert(int(ours::kFloat16) == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16);
static_assert(int(ours::kBFloat16) == ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16);
static_assert(int(ours::kRequired) == INPUT_OUTPUT_REQUIRED);
static_assert(int(ours::kDefaultMemory) == OrtMemTypeDefault);
