//===- Session.cpp - An artifact on a device, with host arrays ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Session.h"

#include <algorithm>
#include <fmt/format.h>

using namespace qlinear;
using namespace qlinear::run;
using nlohmann::json;

//===----------------------------------------------------------------------===//
// Session
//===----------------------------------------------------------------------===//

Result<std::unique_ptr<Session>> Session::open(const std::string &artifact,
                                               const std::string &device,
                                               const std::string &weights,
                                               WeightChecks checks) {
  std::unique_ptr<Session> s(new Session);
  s->name = device;
  if (qlr_artifact_open(artifact.c_str(), &s->art) != QLR_OK ||
      qlr_device_open(device.c_str(), &s->dev) != QLR_OK)
    return runtimeError();
  s->document =
      json::parse(qlr_artifact_manifest(s->art)); // the runtime has checked it
  std::optional<Result<Archive>> archive;
  if (!weights.empty())
    archive = Archive::open(weights);
  bool check = !weights.empty() && checks != WeightChecks::none;
  if (check && checks == WeightChecks::ifThere) {
    // An archive that is not one is the runtime's to refuse, below.
    bool bound = std::ranges::any_of(s->document["weights"],
                                     [](auto &w) { return w.contains("xxh3"); });
    if (!bound && *archive)
      check = std::ranges::all_of((*archive)->weights(),
                                  [](auto &w) { return !w.second.checksum.empty(); });
  }
  if ((check ? qlr_module_load_checked : qlr_module_load)(
          s->dev, s->art, weights.empty() ? nullptr : weights.c_str(), &s->mod) !=
      QLR_OK)
    return runtimeError();
  if (archive) {
    if (!*archive)
      return archive->takeError();
    s->weights = std::move(**archive);
  }
  return s;
}

Session::~Session() {
  qlr_module_unload(mod);
  kept.clear();
  qlr_device_close(dev);
  qlr_artifact_close(art);
}

void Session::keep(std::vector<DeviceMemory> memory) {
  for (DeviceMemory &m : memory)
    kept.push_back(std::move(m));
}

std::vector<std::string> Session::functionNames() const {
  std::vector<std::string> names;
  for (int32_t i = 0; i < qlr_function_count(mod); ++i)
    names.push_back(qlr_function_name(mod, i));
  return names;
}

const json &Session::function(const std::string &wanted) const {
  // Signature and reference are the same for every target.
  const json *found = nullptr;
  for (const json &t : document.at("targets"))
    for (const json &f : t.at("functions"))
      if (f.at("name") == wanted && (!found || t.at("target") == target()))
        found = &f;
  return *found;
}

/// The image that `entry` of the manifest names.
static Result<std::span<const std::byte>> imageOf(const qlr_artifact *artifact,
                                                  const json &entry) {
  std::string name = entry.at("image");
  size_t bytes = 0;
  const void *data = qlr_artifact_image(artifact, name.c_str(), &bytes);
  if (!data)
    return error(fmt::format("the artifact has no image '{}'", name));
  return std::span(static_cast<const std::byte *>(data), bytes);
}

Result<std::span<const std::byte>> Session::blob(size_t weight) const {
  const json &entry = document.at("weights").at(weight);
  if (entry.contains("image"))
    return imageOf(art, entry);
  std::string name = entry.at("name");
  if (!weights)
    return error(fmt::format("weight '{}' is not in the artifact; give its archive "
                             "with --weights",
                             name));
  const PackedWeight *packed = weights->find(name);
  if (!packed)
    return error(fmt::format("the archive has no weight '{}'", name));
  return packed->blob;
}

std::set<size_t> Session::weightsOf(const std::string &wanted) const {
  std::set<size_t> used;
  for (const json &step : function(wanted).at("steps"))
    for (const json &arg : step.at("args"))
      if (arg.contains("weight"))
        used.insert(arg.at("weight").get<size_t>());
  return used;
}

Result<Array> Session::constant(size_t index) const {
  size_t count = document.contains("constants") ? document.at("constants").size() : 0;
  if (index >= count)
    return error(fmt::format("the reference reads constant {} of {}", index, count));
  const json &entry = document.at("constants")[index];
  Result<std::span<const std::byte>> bytes = imageOf(art, entry);
  if (!bytes)
    return bytes.takeError();
  Array array(dtypeOf(entry), entry.at("shape"));
  if (bytes->size() != array.bytes.size())
    return error(fmt::format("constant {} of the artifact has {} bytes, not {}", index,
                             bytes->size(), array.bytes.size()));
  array.bytes.assign(bytes->begin(), bytes->end());
  return array;
}

//===----------------------------------------------------------------------===//
// Call
//===----------------------------------------------------------------------===//

qlr_dtype qlinear::run::dtypeOf(const json &tensor) {
  return dtypeNamed(tensor.at("dtype").get<std::string>());
}

std::vector<int64_t> qlinear::run::shapeOf(const json &tensor, int64_t rows) {
  std::vector<int64_t> shape = tensor.at("shape");
  if (!shape.empty() && shape[0] < 0)
    shape[0] = rows;
  return shape;
}

static qlr_tensor describe(const Array &array, void *data) {
  qlr_tensor t{data, array.dtype, int32_t(array.shape.size()), {}};
  for (size_t d = 0; d < array.shape.size() && d < 4; ++d)
    t.shape[d] = array.shape[d];
  return t;
}

Result<Call> Call::create(Session &session, const std::string &function,
                          const std::vector<Array> &inputs, int64_t rows) {
  Call call;
  call.session = &session;
  call.index = qlr_function_index(session.module(), function.c_str());
  if (qlr_workspace_create(session.module(), call.index, rows, &call.workspace) !=
      QLR_OK)
    return runtimeError();
  for (const json &output : session.function(function).at("outputs"))
    call.outputArrays.emplace_back(dtypeOf(output), shapeOf(output, rows));
  auto place = [&](const Array &array, std::vector<qlr_tensor> &tensors,
                   bool upload) -> Result<void> {
    Result<DeviceMemory> memory =
        DeviceMemory::create(session.device(), array.bytes.size());
    if (!memory)
      return memory.takeError();
    if (upload && qlr_upload(session.device(), memory->get(), array.bytes.data(),
                             array.bytes.size(), nullptr) != QLR_OK)
      return runtimeError();
    tensors.push_back(describe(array, memory->get()));
    call.memory.push_back(std::move(*memory));
    return {};
  };
  for (const Array &input : inputs)
    if (Result<void> placed = place(input, call.inputTensors, true); !placed)
      return placed.takeError();
  const json reference = session.function(function).value("reference", json::object());
  for (const json &cache : reference.value("caches", json::array())) {
    size_t of = cache.at("of");
    call.cacheTensors.push_back(call.inputTensors.at(of));
    call.cacheArrays.push_back(inputs.at(of));
  }
  // Outputs start as NaN, so that elements which a kernel leaves out show.
  for (Array &output : call.outputArrays) {
    std::ranges::fill(output.bytes, std::byte(0xFF));
    if (Result<void> placed = place(output, call.outputTensors, true); !placed)
      return placed.takeError();
  }
  return call;
}

Call::Call(Call &&other) noexcept {
  std::swap(session, other.session);
  std::swap(index, other.index);
  std::swap(workspace, other.workspace);
  std::swap(memory, other.memory);
  std::swap(inputTensors, other.inputTensors);
  std::swap(outputTensors, other.outputTensors);
  std::swap(outputArrays, other.outputArrays);
  std::swap(cacheTensors, other.cacheTensors);
  std::swap(cacheArrays, other.cacheArrays);
}

Call::~Call() { qlr_workspace_destroy(workspace); }

Result<void> Call::enqueue(void *stream) const {
  if (qlr_call(session->module(), index, workspace, inputTensors.data(),
               int32_t(inputTensors.size()), outputTensors.data(),
               int32_t(outputTensors.size()), stream) != QLR_OK)
    return runtimeError();
  return {};
}

Result<std::vector<Array>> Call::outputs() const {
  std::vector<Array> arrays = outputArrays;
  std::vector<qlr_tensor> tensors = outputTensors;
  arrays.insert(arrays.end(), cacheArrays.begin(), cacheArrays.end());
  tensors.insert(tensors.end(), cacheTensors.begin(), cacheTensors.end());
  for (size_t i = 0; i < arrays.size(); ++i)
    if (qlr_download(session->device(), arrays[i].bytes.data(), tensors[i].data,
                     arrays[i].bytes.size(), nullptr) != QLR_OK)
      return runtimeError();
  if (qlr_synchronize(session->device(), nullptr) != QLR_OK)
    return runtimeError();
  return arrays;
}
