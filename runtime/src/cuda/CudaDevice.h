//===- CudaDevice.h - A CUDA device -----------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_CUDA_DEVICE_H
#define QLINEAR_RUNTIME_CUDA_DEVICE_H

#include "../Device.h"
#include "Driver.h"

#include <atomic>

namespace qlinear::runtime::cuda {

/// A device by its ordinal, with its primary context retained: what other users
/// of that context (PyTorch, the CUDA runtime) allocate works here, and back.
class CudaDevice : public Device {
public:
  static Expected<std::shared_ptr<CudaDevice>> open(int ordinal);
  ~CudaDevice() override;

  int cudaOrdinal() const override { return ordinal; }
  Status alloc(size_t bytes, void **out) override;
  void free(void *ptr) override;
  Status zero(void *ptr, size_t bytes, void *stream) override;
  /// Bulk copies read whole lines.
  size_t weightAlignment() const override { return 128; }
  Status upload(void *dst, const void *src, size_t bytes, void *stream) override;
  Status download(void *dst, const void *src, size_t bytes, void *stream) override;
  Status createStream(void **stream) override;
  Status destroyStream(void *stream) override;
  Status synchronize(void *stream) override;
  Expected<std::unique_ptr<Code>> load(const Artifact &artifact) override;
  Status place(std::span<const std::span<const std::byte>> blobs,
               std::vector<void *> &placed, std::vector<bool> &owned) override;
  Status enter() override;
  Status leave() override;
  Status launch(const Launch &launch, void *stream) override;

  const Driver &driver() const { return *api; }
  int multiprocessors() const { return sms; }
  /// Checks a result on this device; a sticky error marks the device as lost.
  Status check(Result result, const char *call, const std::string &context = {});

  /// Makes the context current on this thread for its lifetime. What is left of
  /// an error when it ends is lost: use close() where the caller can report it.
  class Scope {
    CudaDevice &device;
    Status state;
    bool open;

  public:
    explicit Scope(CudaDevice &d) : device(d), state(d.enter()), open(bool(state)) {}
    ~Scope() { (void)close(); }
    const Status &status() const { return state; }
    Status close() { return std::exchange(open, false) ? device.leave() : Status{}; }
  };

  /// Runs `body`, which releases something, with the context current: also in a
  /// lost context, where it fails and the context's end releases everything.
  template <typename Body> void release(Body &&body) {
    bool entered = api->cuCtxPushCurrent_v2(context) == kSuccess;
    body();
    Context popped = nullptr;
    if (entered)
      (void)api->cuCtxPopCurrent_v2(&popped);
  }

private:
  /// Checks an allocation; where memory lacks, the message says how much there is.
  Status allocated(Result result, const std::string &what);
  /// Runs `body` with the context current.
  template <typename Body> Status within(Body &&body) {
    Scope scope(*this);
    QLR_TRY(scope.status());
    Status status = body();
    Status closed = scope.close();
    return status ? closed : status;
  }
  Expected<ModuleHandle> loadImage(const Artifact &artifact, const ImageInfo &image,
                                   const std::string &target, bool &unfit);
  Status bindKernels(const Artifact &artifact, Code &code, ModuleHandle module);

  std::shared_ptr<const Driver> api;
  Context context = nullptr;
  DeviceId id = 0;
  int ordinal = 0, sm = 0, sharedLimit = 0, sms = 0;
  std::string deviceName;
  /// The first sticky error: nothing works in this context after it.
  std::atomic<Result> lost{kSuccess};
};

} // namespace qlinear::runtime::cuda
#endif
