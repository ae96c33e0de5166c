//===- Tensor.h - Values of libtorch's stable ABI ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the operators take and give, over libtorch's C functions: torch::stable::Tensor
// counts its references in a block of its own, which costs an allocation per tensor and
// call.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_TORCH_TENSOR_H
#define QLINEAR_RUNTIME_TORCH_TENSOR_H

#include "Kernels.h"

#include <memory>
#include <span>
#include <string_view>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <utility>
#include <vector>

/// Of builds of libtorch with CUDA alone.
extern "C" __attribute__((weak)) AOTITorchError
aoti_torch_get_current_cuda_stream(int32_t device, void **stream);

namespace qlinear::torch_ops {

inline void checkTorch(AOTITorchError error) {
  if (error != TORCH_SUCCESS)
    throw Failure(QLR_DEVICE_ERROR,
                  "a function of libtorch failed; its message is above");
}

struct DeleteTensor {
  void operator()(AtenTensorOpaque *tensor) const {
    aoti_torch_delete_tensor_object(tensor);
  }
};

/// Where a tensor lies: its kind of device as libtorch numbers it, and which one.
struct Place {
  int32_t kind = 0, index = 0;
  bool operator==(const Place &) const = default;
  bool isCpu() const { return kind == aoti_torch_device_type_cpu(); }
};

class Tensor {
  std::unique_ptr<AtenTensorOpaque, DeleteTensor> handle;

  template <typename T> T get(AOTITorchError (*function)(AtenTensorHandle, T *)) const {
    T value{};
    checkTorch(function(handle.get(), &value));
    return value;
  }

public:
  Tensor() = default;
  explicit Tensor(AtenTensorHandle owned) : handle(owned) {}
  static Tensor empty(std::span<const int64_t> sizes, int32_t dtype, Place place) {
    int64_t strides[kMaxRank], stride = 1;
    for (size_t d = sizes.size(); d-- > 0; stride *= sizes[d])
      strides[d] = stride;
    AtenTensorHandle made = nullptr;
    checkTorch(aoti_torch_empty_strided(int64_t(sizes.size()), sizes.data(), strides,
                                        dtype, place.kind, place.index, &made));
    return Tensor(made);
  }
  /// As libtorch itself limits it for most operators.
  static constexpr int64_t kMaxRank = 64;

  explicit operator bool() const { return handle != nullptr; }
  AtenTensorHandle release() { return handle.release(); }
  int64_t rank() const { return get<int64_t>(aoti_torch_get_dim); }
  int64_t numel() const { return get<int64_t>(aoti_torch_get_numel); }
  const int64_t *sizes() const { return get<int64_t *>(aoti_torch_get_sizes); }
  int32_t dtype() const { return get<int32_t>(aoti_torch_get_dtype); }
  void *data() const { return get<void *>(aoti_torch_get_data_ptr); }
  Place place() const {
    return {get<int32_t>(aoti_torch_get_device_type),
            get<int32_t>(aoti_torch_get_device_index)};
  }

  /// As kernels read rows and vectors.
  void makeReadable() {
    makeDense();
    align(16);
  }
  bool isDense() const { return get<bool>(aoti_torch_is_contiguous); }
  void makeDense() {
    if (isDense())
      return;
    auto dense = torch::stable::contiguous(torch::stable::Tensor(handle.release()));
    AtenTensorHandle mine = nullptr;
    checkTorch(aoti_torch_new_tensor_handle(dense.get(), &mine));
    handle.reset(mine);
  }
  /// Of one that is dense: whether it took a copy.
  bool align(size_t alignment) {
    if (reinterpret_cast<uintptr_t>(data()) % alignment == 0)
      return false;
    AtenTensorHandle clone = nullptr;
    checkTorch(aoti_torch_clone(handle.get(), &clone));
    handle.reset(clone);
    return true;
  }
};

/// A string argument.
class Text {
  StringHandle handle;

public:
  explicit Text(StableIValue value)
      : handle(torch::stable::detail::to<StringHandle>(value)) {}
  Text(const Text &) = delete;
  ~Text() { torch_delete_string(handle); }
  std::string_view view() const {
    size_t size = 0;
    const char *data = nullptr;
    checkTorch(torch_string_length(handle, &size));
    checkTorch(torch_string_c_str(handle, &data));
    return {data, size};
  }
};

inline Tensor takeTensor(StableIValue value) {
  return Tensor(torch::stable::detail::to<AtenTensorHandle>(value));
}

inline Tensor takeOptional(StableIValue value) {
  auto found = torch::stable::detail::to<std::optional<AtenTensorHandle>>(value);
  return Tensor(found.value_or(nullptr));
}

inline std::vector<Tensor> takeTensors(StableIValue value) {
  std::vector<Tensor> tensors;
  for (auto handle : torch::stable::detail::to<std::vector<AtenTensorHandle>>(value))
    tensors.emplace_back(handle);
  return tensors;
}

inline StableIValue give(Tensor tensor) {
  return torch::stable::detail::from(tensor.release());
}

inline StableIValue give(std::vector<Tensor> tensors) {
  StableListHandle list = nullptr;
  checkTorch(torch_new_list_reserve_size(tensors.size(), &list));
  for (Tensor &tensor : tensors)
    checkTorch(torch_list_push_back(list, give(std::move(tensor))));
  return torch::stable::detail::from(list);
}

} // namespace qlinear::torch_ops
#endif
