//===- Api.cpp - The C ABI ------------------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Module.h"
#include "qlinear/Encoding/Checksum.h"
#include "qlinear/Support/CacheFolder.h"

#include <algorithm>
#include <charconv>
#include <cstring>

using namespace qlinear::runtime;

struct qlr_device {
  std::shared_ptr<Device> impl;
};
struct qlr_artifact {
  std::shared_ptr<const Artifact> impl;
};
struct qlr_module {
  std::unique_ptr<Module> impl;
};
struct qlr_workspace {
  std::unique_ptr<Workspace> impl;
};

namespace {

template <typename Handle, typename T>
Status deliver(Expected<T> result, Handle **out) {
  if (!result)
    return result.status();
  *out = new Handle{std::move(*result)};
  return {};
}

/// Fails where a pointer that must not be null is.
template <typename... Ts> Status require(const char *what, Ts... pointers) {
  if ((... && (pointers != nullptr)))
    return {};
  return fail(QLR_INVALID_ARGUMENT, what, ": an argument is null");
}

} // namespace

Expected<std::shared_ptr<Device>>
qlinear::runtime::openDevice(const std::string &name) {
  if (name == "cpu")
    return openCpu("");
  if (name.starts_with("cpu:") && name.size() > 4)
    return openCpu(name.substr(4));
  if (name == "emulated")
    return openEmulated("");
  if (name.starts_with("emulated:"))
    return openEmulated(name.substr(9));
  if (name == "cuda")
    return openCuda(0);
  if (name.starts_with("cuda:")) {
    int ordinal = -1;
    const char *first = name.data() + 5, *last = name.data() + name.size();
    auto [end, error] = std::from_chars(first, last, ordinal);
    if (first != last && error == std::errc() && end == last && ordinal >= 0)
      return openCuda(ordinal);
  }
  return fail(
      QLR_INVALID_ARGUMENT, "device '", name,
      "' is none of cpu, cpu:THREADS, emulated, emulated:SEED, cuda, cuda:ORDINAL");
}

const char *qlr_version(void) { return QLINEAR_VERSION; }

int32_t qlr_abi_version(void) { return QLR_ABI_VERSION; }

const char *qlr_cache_folder(void) {
  static thread_local std::string folder;
  folder = qlinear::cacheFolder();
  return folder.c_str();
}

qlr_status qlr_checksum(const void *data, size_t bytes, char text[17]) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_checksum", data, text));
    std::string sum =
        qlinear::checksum(std::span(static_cast<const std::byte *>(data), bytes));
    std::memcpy(text, sum.c_str(), sum.size() + 1);
    return {};
  });
}

qlr_status qlr_device_open(const char *name, qlr_device **out) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_device_open", name, out));
    return deliver(openDevice(name), out);
  });
}
void qlr_device_close(qlr_device *device) { delete device; }
const char *qlr_device_target(const qlr_device *device) {
  return device ? device->impl->target().c_str() : "";
}

qlr_status qlr_alloc(qlr_device *device, size_t bytes, void **out) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_alloc", device, out));
    return device->impl->alloc(bytes, out);
  });
}
void qlr_free(qlr_device *device, void *ptr) {
  if (device && ptr)
    device->impl->free(ptr);
}
qlr_status qlr_upload(qlr_device *device, void *dst, const void *src, size_t bytes,
                      void *stream) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_upload", device));
    if (bytes)
      QLR_TRY(require("qlr_upload", dst, src));
    return device->impl->upload(dst, src, bytes, stream);
  });
}
qlr_status qlr_download(qlr_device *device, void *dst, const void *src, size_t bytes,
                        void *stream) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_download", device));
    if (bytes)
      QLR_TRY(require("qlr_download", dst, src));
    return device->impl->download(dst, src, bytes, stream);
  });
}
qlr_status qlr_stream_create(qlr_device *device, void **stream) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_stream_create", device, stream));
    return device->impl->createStream(stream);
  });
}
qlr_status qlr_stream_destroy(qlr_device *device, void *stream) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_stream_destroy", device));
    return device->impl->destroyStream(stream);
  });
}
qlr_status qlr_synchronize(qlr_device *device, void *stream) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_synchronize", device));
    return device->impl->synchronize(stream);
  });
}

qlr_status qlr_artifact_open(const char *path, qlr_artifact **out) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_artifact_open", path, out));
    return deliver(Artifact::open(path), out);
  });
}
qlr_status qlr_artifact_from_descriptor(const void *descriptor, qlr_artifact **out) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_artifact_from_descriptor", descriptor, out));
    return deliver(Artifact::fromDescriptor(descriptor), out);
  });
}
void qlr_artifact_close(qlr_artifact *artifact) { delete artifact; }
const char *qlr_artifact_manifest(const qlr_artifact *artifact) {
  return artifact ? artifact->impl->manifestText().c_str() : "";
}
const void *qlr_artifact_image(const qlr_artifact *artifact, const char *name,
                               size_t *bytes) {
  const qlinear_image *image = artifact && name ? artifact->impl->image(name) : nullptr;
  if (bytes)
    *bytes = image ? image->size : 0;
  return image ? image->data : nullptr;
}

qlr_status qlr_module_load(qlr_device *device, const qlr_artifact *artifact,
                           const char *weights, qlr_module **out) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_module_load", device, artifact, out));
    return deliver(Module::load(device->impl, artifact->impl, weights), out);
  });
}
qlr_status qlr_module_load_checked(qlr_device *device, const qlr_artifact *artifact,
                                   const char *weights, qlr_module **out) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_module_load_checked", device, artifact, weights, out));
    return deliver(
        Module::load(device->impl, artifact->impl, weights, /*checkWeights=*/true),
        out);
  });
}
void qlr_module_unload(qlr_module *module) { delete module; }
const char *qlr_module_code(const qlr_module *module) {
  return module ? module->impl->loadedCode().c_str() : "";
}
qlr_status qlr_module_set_weight(qlr_module *module, const char *name, const void *blob,
                                 size_t bytes) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_module_set_weight", module, name));
    return module->impl->setWeight(name, blob, bytes);
  });
}

int32_t qlr_module_weight_count(const qlr_module *module) {
  return module ? int32_t(module->impl->weightInfos().size()) : 0;
}
int32_t qlr_module_weight_index(const qlr_module *module, const char *name) {
  return module && name ? module->impl->weightIndex(name) : -1;
}
qlr_status qlr_module_weight(const qlr_module *module, int32_t index, qlr_weight *out) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_module_weight", module, out));
    return module->impl->describeWeight(index, *out);
  });
}

const char *qlr_module_target(const qlr_module *module) {
  return module ? module->impl->target().c_str() : "";
}

int32_t qlr_function_count(const qlr_module *module) {
  return module ? int32_t(module->impl->functions().size()) : 0;
}
const char *qlr_function_name(const qlr_module *module, int32_t index) {
  return index >= 0 && index < qlr_function_count(module)
             ? module->impl->functions()[size_t(index)].name.c_str()
             : nullptr;
}
int32_t qlr_function_index(const qlr_module *module, const char *name) {
  return module && name ? module->impl->functionIndex(name) : -1;
}

qlr_status qlr_workspace_create(qlr_module *module, int32_t function, int64_t max_rows,
                                qlr_workspace **out) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_workspace_create", module, out));
    return deliver(module->impl->createWorkspace(function, max_rows), out);
  });
}
qlr_status qlr_workspace_bytes(qlr_module *module, int32_t function, int64_t max_rows,
                               size_t *bytes) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_workspace_bytes", module, bytes));
    Expected<uint64_t> found = module->impl->workspaceBytes(function, max_rows);
    if (!found)
      return found.status();
    *bytes = *found;
    return {};
  });
}
qlr_status qlr_workspace_create_in(qlr_module *module, int32_t function,
                                   int64_t max_rows, void *memory, size_t bytes,
                                   void *stream, qlr_workspace **out) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_workspace_create_in", module, out));
    return deliver(
        module->impl->createWorkspaceIn(function, max_rows, memory, bytes, stream),
        out);
  });
}
void qlr_workspace_destroy(qlr_workspace *workspace) { delete workspace; }

qlr_status qlr_call(qlr_module *module, int32_t function, qlr_workspace *workspace,
                    const qlr_tensor *inputs, int32_t n_inputs,
                    const qlr_tensor *outputs, int32_t n_outputs, void *stream) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_call", module));
    return module->impl->call(function, workspace ? workspace->impl.get() : nullptr,
                              inputs, n_inputs, outputs, n_outputs, {}, stream);
  });
}
/// The weights of a call's own.
static Expected<std::span<const qlr_blob>>
blobs(const char *what, const qlr_blob *weights, int32_t count) {
  if (count < 0 || (count && !weights))
    return fail(QLR_INVALID_ARGUMENT, what, ": ", count, " weights",
                weights ? "" : " at NULL");
  return std::span(weights, size_t(count));
}

qlr_status qlr_call_with_weights(qlr_module *module, int32_t function,
                                 qlr_workspace *workspace, const qlr_tensor *inputs,
                                 int32_t n_inputs, const qlr_tensor *outputs,
                                 int32_t n_outputs, const qlr_blob *weights,
                                 int32_t n_weights, void *stream) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_call_with_weights", module));
    auto own = blobs("qlr_call_with_weights", weights, n_weights);
    if (!own)
      return own.status();
    return module->impl->call(function, workspace ? workspace->impl.get() : nullptr,
                              inputs, n_inputs, outputs, n_outputs, *own, stream);
  });
}

qlr_status qlr_call_dlpack(qlr_module *module, int32_t function,
                           qlr_workspace *workspace, const qlr_dltensor *const *inputs,
                           int32_t n_inputs, const qlr_dltensor *const *outputs,
                           int32_t n_outputs, const qlr_blob *weights,
                           int32_t n_weights, void *stream) {
  return guarded([&]() -> Status {
    QLR_TRY(require("qlr_call_dlpack", module));
    auto own = blobs("qlr_call_dlpack", weights, n_weights);
    if (!own)
      return own.status();
    auto tensors = [](const qlr_dltensor *const *list, int32_t count) {
      return std::span(list, list ? size_t(std::max(count, 0)) : 0);
    };
    return module->impl->callDlpack(
        function, workspace ? workspace->impl.get() : nullptr,
        tensors(inputs, n_inputs), tensors(outputs, n_outputs), *own, stream);
  });
}
