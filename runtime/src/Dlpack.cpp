//===- Dlpack.cpp - Calls with tensors of DLPack --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Numbers of devices and types: https://dmlc.github.io/dlpack/latest/c_api.html
//
//===----------------------------------------------------------------------===//

#include "Module.h"

#include <algorithm>
#include <optional>

using namespace qlinear::runtime;

namespace {

enum : int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };
enum : uint8_t {
  kInt = 0,
  kUInt = 1,
  kFloat = 2,
  kBfloat = 4,
  kComplex = 5,
  kBool = 6
};

std::string deviceText(int32_t type, int32_t id) {
  switch (type) {
  case kCpu:
    return "the CPU";
  case kCuda:
    return text("cuda:", id);
  case kCudaHost:
    return "pinned host memory";
  case kCudaManaged:
    return "CUDA's managed memory";
  }
  return text("a device of DLPack's type ", type);
}

std::string typeText(const qlr_dltensor &t) {
  std::string name;
  switch (t.type_code) {
  case kInt:
    name = text("int", int(t.type_bits));
    break;
  case kUInt:
    name = text("uint", int(t.type_bits));
    break;
  case kFloat:
    name = text("float", int(t.type_bits));
    break;
  case kBfloat:
    name = text("bfloat", int(t.type_bits));
    break;
  case kComplex:
    name = text("complex", int(t.type_bits));
    break;
  case kBool:
    name = "bool";
    break;
  default:
    name = text("of DLPack's type ", int(t.type_code), " with ", int(t.type_bits),
                " bits");
  }
  return t.type_lanes == 1 ? name : text(name, " in vectors of ", t.type_lanes);
}

std::optional<qlr_dtype> dtypeOf(const qlr_dltensor &t) {
  if (t.type_lanes != 1)
    return std::nullopt;
  switch (t.type_code << 8 | t.type_bits) {
  case kFloat << 8 | 32:
    return QLR_F32;
  case kFloat << 8 | 16:
    return QLR_F16;
  case kBfloat << 8 | 16:
    return QLR_BF16;
  case kInt << 8 | 8:
    return QLR_I8;
  case kInt << 8 | 32:
    return QLR_I32;
  }
  return std::nullopt;
}

/// Whether elements follow each other, the last dimension first. The stride of a
/// dimension of one element says nothing, and neither do those of an empty tensor.
bool isRowMajor(const qlr_dltensor &t) {
  if (!t.strides)
    return true;
  int64_t step = 1;
  bool holds = true;
  for (int32_t d = t.ndim; d-- > 0;) {
    if (t.shape[d] == 0)
      return true;
    if (t.shape[d] != 1 && t.strides[d] != step)
      holds = false;
    if (__builtin_mul_overflow(step, t.shape[d], &step))
      return false;
  }
  return holds;
}

/// Tensors of one kind as those of the C ABI. As many as functions usually have lie
/// here, so that a call allocates nothing.
class Tensors {
  qlr_tensor few[8];
  std::vector<qlr_tensor> many;
  qlr_tensor *list = few;
  size_t count;

public:
  explicit Tensors(size_t count) : count(count) {
    if (count > std::size(few)) {
      many.resize(count);
      list = many.data();
    }
  }
  Tensors(const Tensors &) = delete;
  const qlr_tensor *data() const { return list; }
  int32_t size() const { return int32_t(count); }

  /// `ordinal`: of the module's CUDA device, or -1 where it runs on the host.
  Status fill(std::span<const qlr_dltensor *const> from, const std::string &function,
              const char *kind, int ordinal) {
    for (size_t i = 0; i < count; ++i) {
      auto wrong = [&](const auto &...what) {
        return fail(QLR_INVALID_ARGUMENT, kind, " ", i, " of '", function, "' ",
                    what...);
      };
      if (!from[i])
        return wrong("is NULL");
      const qlr_dltensor &t = *from[i];
      int32_t type = t.device_type;
      bool here = ordinal < 0 ? type == kCpu || type == kCudaHost
                              : (type == kCuda && t.device_id == ordinal) ||
                                    type == kCudaManaged;
      if (!here)
        return wrong("is on ", deviceText(type, t.device_id), ", but the module is on ",
                     deviceText(ordinal < 0 ? kCpu : kCuda, ordinal),
                     "; move the tensor, or load the artifact on its device");
      if (t.ndim < 0 || t.ndim > 4 || (t.ndim && !t.shape))
        return wrong("has ", t.ndim, " dimensions",
                     t.ndim > 4 ? "; at most 4 are taken, reshape it"
                                : " and no shape");
      std::optional<qlr_dtype> dtype = dtypeOf(t);
      if (!dtype)
        return wrong("is ", typeText(t),
                     ", but functions take float32, float16, bfloat16, int8 and int32; "
                     "convert it");
      if (!isRowMajor(t))
        return wrong("is not row-major without holes; pass a contiguous copy");
      qlr_tensor &to = list[i];
      to = {t.data ? static_cast<char *>(t.data) + t.byte_offset : nullptr,
            *dtype,
            t.ndim,
            {}};
      std::copy_n(t.shape, t.ndim, to.shape);
    }
    return {};
  }
};

} // namespace

Status Module::callDlpack(int32_t function, const Workspace *workspace,
                          std::span<const qlr_dltensor *const> inputs,
                          std::span<const qlr_dltensor *const> outputs,
                          std::span<const qlr_blob> own, void *stream) const {
  QLR_TRY(checkFunction(function));
  const std::string &name = bound[size_t(function)].info->name;
  Tensors in(inputs.size()), out(outputs.size());
  QLR_TRY(in.fill(inputs, name, "input", device->cudaOrdinal()));
  QLR_TRY(out.fill(outputs, name, "output", device->cudaOrdinal()));
  return call(function, workspace, in.data(), in.size(), out.data(), out.size(), own,
              stream);
}
