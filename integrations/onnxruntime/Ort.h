//===- Ort.h - What is needed of onnxruntime's C API ------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// onnxruntime's wheels have no headers, and neither Debian 12 nor PyPI has them, so the
// few entries that a library of custom operators needs are declared here, as of API
// version 16 (onnxruntime 1.16; https://onnxruntime.ai/docs/api/c/struct_ort_api.html).
// Its table of functions only grows at the end, so places stay. AbiCheck.cpp compares
// all of it with onnxruntime_c_api.h where there is one.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_INTEGRATIONS_ONNXRUNTIME_ORT_H
#define QLINEAR_INTEGRATIONS_ONNXRUNTIME_ORT_H

#include <cstddef>
#include <cstdint>

namespace qlinear::ort {

inline constexpr uint32_t kApiVersion = 16;
enum ErrorCode : int { kFail = 1, kInvalidArgument = 2 };
enum ElementType : int { kFloat = 1, kFloat16 = 10, kBFloat16 = 16 };
enum Characteristic : int { kRequired = 0 };
enum MemoryType : int { kDefaultMemory = 0 };

struct Status;
struct SessionOptions;
struct CustomOpDomain;
struct KernelInfo;
struct KernelContext;
struct Value;
struct TensorInfo;
struct CustomOp;

/// OrtApi. Entries between those that are used are only counted.
struct Api {
  Status *(*createStatus)(ErrorCode, const char *message);
  void *from1[25];
  Status *(*createCustomOpDomain)(const char *name, CustomOpDomain **);
  Status *(*customOpDomainAdd)(CustomOpDomain *, const CustomOp *);
  Status *(*addCustomOpDomain)(SessionOptions *, CustomOpDomain *);
  void *from29[22];
  Status *(*getTensorMutableData)(Value *, void **);
  void *from52[9];
  Status *(*getDimensionsCount)(const TensorInfo *, size_t *);
  Status *(*getDimensions)(const TensorInfo *, int64_t *, size_t count);
  void *from63[2];
  Status *(*getTensorTypeAndShape)(const Value *, TensorInfo **);
  void *from66[20];
  Status *(*kernelInfoGetAttributeInt64)(const KernelInfo *, const char *name,
                                         int64_t *);
  Status *(*kernelInfoGetAttributeString)(const KernelInfo *, const char *name, char *,
                                          size_t *bytes);
  void *from88[2];
  Status *(*kernelContextGetInput)(const KernelContext *, size_t, const Value **);
  Status *(*kernelContextGetOutput)(KernelContext *, size_t, const int64_t *dims,
                                    size_t count, Value **);
  void *from92[1];
  void (*releaseStatus)(Status *);
  void *from94[5];
  void (*releaseTensorInfo)(TensorInfo *);
  void *from100[137];
  Status *(*hasSessionConfigEntry)(const SessionOptions *, const char *key, int *);
  Status *(*getSessionConfigEntry)(const SessionOptions *, const char *key, char *,
                                   size_t *bytes);
};

struct ApiBase {
  const Api *(*getApi)(uint32_t version);
  const char *(*getVersionString)();
};

/// OrtCustomOp of version 16, which says how much of it onnxruntime reads.
struct CustomOp {
  uint32_t version;
  void *(*createKernel)(const CustomOp *, const Api *, const KernelInfo *);
  const char *(*getName)(const CustomOp *);
  const char *(*getExecutionProviderType)(const CustomOp *);
  ElementType (*getInputType)(const CustomOp *, size_t);
  size_t (*getInputTypeCount)(const CustomOp *);
  ElementType (*getOutputType)(const CustomOp *, size_t);
  size_t (*getOutputTypeCount)(const CustomOp *);
  void (*kernelCompute)(void *kernel, KernelContext *);
  void (*kernelDestroy)(void *kernel);
  Characteristic (*getInputCharacteristic)(const CustomOp *, size_t);
  Characteristic (*getOutputCharacteristic)(const CustomOp *, size_t);
  MemoryType (*getInputMemoryType)(const CustomOp *, size_t);
  int (*getVariadicInputMinArity)(const CustomOp *);
  int (*getVariadicInputHomogeneity)(const CustomOp *);
  int (*getVariadicOutputMinArity)(const CustomOp *);
  int (*getVariadicOutputHomogeneity)(const CustomOp *);
  Status *(*createKernelV2)(const CustomOp *, const Api *, const KernelInfo *,
                            void **kernel);
  Status *(*kernelComputeV2)(void *kernel, KernelContext *);
};

} // namespace qlinear::ort
#endif
