//===- Device.h - Where compiled code runs ----------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A device owns memory, streams and code. Three kinds: CudaDevice (cuda/),
// CpuDevice and EmulatedDevice (HostDevices.cpp). Everything above it (Module)
// is the same for all of them.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_DEVICE_H
#define QLINEAR_RUNTIME_DEVICE_H

#include "Artifact.h"

namespace qlinear::runtime {

/// Code of one artifact loaded on a device: the target chosen for it and the
/// entry point of each kernel.
class Code {
public:
  virtual ~Code() = default;
  const TargetInfo *target = nullptr;
  const ImageInfo *image = nullptr; ///< of it; null on host devices
  /// By kernel name: a host function or a CUfunction.
  std::unordered_map<std::string, void *> kernels;
};

/// One launch of `kernel` for `rows` rows.
struct Launch {
  const KernelInfo *kernel;
  void *entry;
  void **args; ///< `argCount` pointers
  size_t argCount;
  int32_t rows;
  bool pdl;
  const ArgInfo *argInfos; ///< `argCount` of them
};

class Device : public std::enable_shared_from_this<Device> {
public:
  virtual ~Device() = default;
  /// The target that it runs: "cpu:avx2", "cuda:emulated", "cuda:sm_90a".
  const std::string &target() const { return targetName; }
  /// Which CUDA device it is; -1 where memory is the host's.
  virtual int cudaOrdinal() const { return -1; }

  virtual Status alloc(size_t bytes, void **out) = 0;
  virtual void free(void *ptr) = 0;
  virtual Status zero(void *ptr, size_t bytes, void *stream) = 0;
  /// The alignment of a packed weight, in bytes.
  virtual size_t weightAlignment() const = 0;
  virtual Status upload(void *dst, const void *src, size_t bytes, void *stream) = 0;
  virtual Status download(void *dst, const void *src, size_t bytes, void *stream) = 0;
  virtual Status createStream(void **stream) = 0;
  virtual Status destroyStream(void *stream) = 0;
  virtual Status synchronize(void *stream) = 0;

  /// Chooses the artifact's best code for this device and loads it.
  virtual Expected<std::unique_ptr<Code>> load(const Artifact &artifact) = 0;

  /// Makes blobs in host memory usable by kernels. `placed[i]` is where blob i
  /// lies then: the blob itself (it must outlive its use), or memory that the
  /// caller frees, when `owned[i]` says so. On failure nothing is left.
  virtual Status place(std::span<const std::span<const std::byte>> blobs,
                       std::vector<void *> &placed, std::vector<bool> &owned) = 0;

  /// Around the launches of a call, on the calling thread.
  virtual Status enter() { return {}; }
  virtual Status leave() { return {}; }
  virtual Status launch(const Launch &launch, void *stream) = 0;

protected:
  std::string targetName;
};

/// `name` as for qlr_device_open.
Expected<std::shared_ptr<Device>> openDevice(const std::string &name);
Expected<std::shared_ptr<Device>> openCpu(const std::string &options);
Expected<std::shared_ptr<Device>> openEmulated(const std::string &options);
Expected<std::shared_ptr<Device>> openCuda(int ordinal);

} // namespace qlinear::runtime
#endif
