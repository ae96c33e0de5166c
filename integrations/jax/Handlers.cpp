//===- Handlers.cpp - Compiled layers inside XLA --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two handlers of XLA's foreign function interface, one for its CPUs and one for its
// CUDA devices; qlinear.jax registers both under one name. Attributes of a call:
//   artifact, weights  paths; weights is "" if the artifact has its own
//   stamps             of both files when the call was traced
//   function           its name
//   device             on CPUs: "cpu", "cpu:THREADS", "emulated"
//
//===----------------------------------------------------------------------===//

#include "../common/Modules.h"
#include "xla/ffi/api/ffi.h"

using namespace qlinear::integrations;
namespace ffi = xla::ffi;

namespace {

/// Buffers as tensors of DLPack, all but the last of many dimensions made one.
class Tensors {
  std::vector<qlr_dltensor> tensors;
  std::vector<int64_t> shapes; ///< two numbers each, or the buffer's own
  int32_t device, ordinal;

public:
  Tensors(size_t count, int32_t device, int32_t ordinal)
      : shapes(2 * count), device(device), ordinal(ordinal) {
    tensors.reserve(count);
  }
  void add(ffi::AnyBuffer buffer) {
    qlr_dltensor t{};
    ffi::AnyBuffer::Dimensions dims = buffer.dimensions();
    t.data = buffer.untyped_data();
    t.device_type = device;
    t.device_id = ordinal;
    std::tie(t.type_code, t.type_bits) = typeOf(buffer.element_type());
    t.type_lanes = 1;
    t.ndim = int32_t(dims.size());
    t.shape = const_cast<int64_t *>(dims.begin());
    if (t.ndim > 1) {
      int64_t *shape = &shapes[2 * tensors.size()];
      shape[0] = 1;
      for (size_t d = 0; d + 1 < dims.size(); ++d)
        shape[0] *= dims[d];
      shape[1] = dims.back();
      t.ndim = 2;
      t.shape = shape;
    }
    tensors.push_back(t);
  }
  /// The most rows that one of them has.
  int64_t rows() const {
    int64_t most = 1;
    for (const qlr_dltensor &t : tensors)
      if (t.ndim == 2)
        most = std::max(most, t.shape[0]);
    return most;
  }
  std::vector<const qlr_dltensor *> pointers() const {
    std::vector<const qlr_dltensor *> all;
    for (const qlr_dltensor &t : tensors)
      all.push_back(&t);
    return all;
  }
  /// DLPack's code and bits of a type; those of code 0xff name no type of a function.
  static std::pair<uint8_t, uint8_t> typeOf(ffi::DataType type) {
    switch (type) {
    case ffi::DataType::F32:
      return {2, 32};
    case ffi::DataType::F16:
      return {2, 16};
    case ffi::DataType::BF16:
      return {4, 16};
    case ffi::DataType::S8:
      return {0, 8};
    case ffi::DataType::S32:
      return {0, 32};
    default:
      return {0xff, uint8_t(8 * ffi::ByteWidth(type))};
    }
  }
};

/// Calls a function with the buffers of a call; `run(module, function, rows, inputs,
/// outputs)` knows the device.
template <typename Run>
ffi::Error call(ffi::RemainingArgs args, ffi::RemainingRets results,
                std::string_view artifact, std::string_view weights,
                std::string_view stamps, std::string_view name,
                const std::string &device, int32_t type, int32_t ordinal, Run &&run) {
  try {
    Module &module = Module::of(std::string(artifact), std::string(weights), device,
                                std::string(stamps));
    int32_t function = module.function(std::string(name));
    Tensors inputs(args.size(), type, ordinal), outputs(results.size(), type, ordinal);
    for (size_t i = 0; i < args.size(); ++i)
      inputs.add(*args.get<ffi::AnyBuffer>(i));
    for (size_t i = 0; i < results.size(); ++i)
      outputs.add(**results.get<ffi::AnyBuffer>(i));
    run(module, function, std::max(inputs.rows(), outputs.rows()), inputs.pointers(),
        outputs.pointers());
    return ffi::Error::Success();
  } catch (const Error &e) {
    return {e.code == QLR_INVALID_ARGUMENT ? ffi::ErrorCode::kInvalidArgument
                                           : ffi::ErrorCode::kInternal,
            e.what()};
  } catch (const std::exception &e) {
    return {ffi::ErrorCode::kInternal, e.what()};
  }
}

ffi::Error callOnCpu(ffi::RemainingArgs args, ffi::RemainingRets results,
                     std::string_view artifact, std::string_view weights,
                     std::string_view stamps, std::string_view name,
                     std::string_view device) {
  return call(
      args, results, artifact, weights, stamps, name, std::string(device), 1, 0,
      [](Module &module, int32_t function, int64_t rows, const auto &inputs,
         const auto &outputs) { module.call(function, rows, inputs, outputs); });
}

/// Scratch memory is XLA's, which knows when the work of the stream is done.
ffi::Error callOnCuda(void *stream, int32_t ordinal, ffi::ScratchAllocator scratch,
                      ffi::RemainingArgs args, ffi::RemainingRets results,
                      std::string_view artifact, std::string_view weights,
                      std::string_view stamps, std::string_view name,
                      std::string_view) {
  return call(args, results, artifact, weights, stamps, name,
              "cuda:" + std::to_string(ordinal), 2, ordinal,
              [&](Module &module, int32_t function, int64_t rows, const auto &inputs,
                  const auto &outputs) {
                size_t bytes = 0;
                check(qlr_workspace_bytes(module.handle(), function, rows, &bytes));
                std::optional<void *> memory = nullptr;
                if (bytes && !(memory = scratch.Allocate(bytes, 256)))
                  throw Error(QLR_OUT_OF_MEMORY, "XLA has no " + std::to_string(bytes) +
                                                     " bytes of scratch memory");
                qlr_workspace *workspace = nullptr;
                check(qlr_workspace_create_in(module.handle(), function, rows, *memory,
                                              bytes, stream, &workspace));
                qlr_status status =
                    qlr_call_dlpack(module.handle(), function, workspace, inputs.data(),
                                    int32_t(inputs.size()), outputs.data(),
                                    int32_t(outputs.size()), nullptr, 0, stream);
                qlr_workspace_destroy(workspace);
                check(status);
              });
}

/// The attributes of both, in the order of their parameters.
template <typename Binding> auto withAttributes(Binding binding) {
  return std::move(binding)
      .template Attr<std::string_view>("artifact")
      .template Attr<std::string_view>("weights")
      .template Attr<std::string_view>("stamps")
      .template Attr<std::string_view>("function")
      .template Attr<std::string_view>("device");
}

} // namespace

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    qlinear_jax_cpu, callOnCpu,
    withAttributes(ffi::Ffi::Bind().RemainingArgs().RemainingRets()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(qlinear_jax_cuda, callOnCuda,
                              withAttributes(ffi::Ffi::Bind()
                                                 .Ctx<ffi::PlatformStream<void *>>()
                                                 .Ctx<ffi::DeviceOrdinal>()
                                                 .Ctx<ffi::ScratchAllocator>()
                                                 .RemainingArgs()
                                                 .RemainingRets()));
#pragma GCC visibility pop
