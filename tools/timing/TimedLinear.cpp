//===- TimedLinear.cpp - Linears whose results are checked ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TimedLinear.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <random>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::timing;
using nlohmann::json;
using run::Array;
using run::Matrix;

void Judgement::add(const Judgement &other) {
  if (!wrong)
    first = other.first;
  results += other.results;
  wrong += other.wrong;
  error = std::max(error, other.error);
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

TimedWeights::TimedWeights(Device &device, const json &manifest)
    : device(device), document(manifest), slots(manifest.at("weights").size()) {}

Result<const TimedWeight *> TimedWeights::get(size_t index) {
  std::optional<TimedWeight> &weight = slots[index].weight;
  if (!weight) {
    const json &w = document.at("weights")[index];
    Result<Encoding> encoding = Encoding::parse(w.at("encoding").get<std::string>());
    if (!encoding)
      return encoding.takeError();
    Result<TimedWeight> made = TimedWeight::random(*encoding, w.at("n"), w.at("k"));
    if (!made)
      return made.takeError();
    weight = std::move(*made);
  }
  return &*weight;
}

Result<void> TimedWeights::makeCopies(size_t index, size_t count) {
  Result<const TimedWeight *> weight = get(index);
  if (!weight)
    return weight.takeError();
  std::vector<DeviceMemory> &blobs = slots[index].blobs;
  for (size_t copy = blobs.size(); copy < count; ++copy) {
    Result<DeviceMemory> memory = device.allocate((*weight)->blobBytes());
    if (!memory)
      return memory.takeError();
    Result<void> done;
    if (copy == 0)
      done = device.upload(memory->get(), (*weight)->blob());
    else
      for (TimedWeight::Part part : (*weight)->parts(copy))
        if (done)
          done = device.copy(memory->at(part.to), blobs[0].at(part.from), part.bytes);
    if (!done)
      return done;
    blobs.push_back(std::move(*memory));
  }
  return device.wait();
}

//===----------------------------------------------------------------------===//
// Describing the function
//===----------------------------------------------------------------------===//

Result<std::unique_ptr<TimedLinear>>
TimedLinear::create(Device &device, qlr_module *module, TimedWeights &weights,
                    const std::string &function, int64_t mostRows) {
  std::unique_ptr<TimedLinear> linear(new TimedLinear(device, module, weights));
  linear->mostRows = mostRows;
  Result<void> done = linear->describe(function);
  if (done)
    done = linear->makeActivations();
  if (done)
    done = linear->multiply();
  for (qlr_workspace *&workspace : linear->workspaces)
    if (done)
      done = checked(qlr_workspace_create(module, linear->index, mostRows, &workspace));
  if (!done)
    return done.takeError();
  return linear;
}

TimedLinear::~TimedLinear() {
  for (qlr_workspace *workspace : workspaces)
    qlr_workspace_destroy(workspace);
}

Result<void> TimedLinear::describe(const std::string &function) {
  auto no = [&](const std::string &what) {
    return error(fmt::format("function '{}' {}", function, what));
  };
  const json &manifest = weights.manifest();
  index = qlr_function_index(module, function.c_str());
  const json *found = nullptr;
  for (const json &target : manifest.at("targets"))
    for (const json &f : target.at("functions"))
      if (f.at("name") == function)
        found = &f;
  if (index < 0 || !found)
    return no("is not in the artifact");
  // Quantization by itself gives the same numbers.
  const json &ops = found->at("reference").at("ops");
  const json &linear = ops.at(ops.size() - 1);
  if (ops.size() > 2 || (ops.size() == 2 && ops[0].at("op") != "quantize") ||
      linear.at("op") != "linear" || linear.contains("yield") ||
      found->at("inputs").size() != 1)
    return no("is not a linear by itself");
  quantizes = ops.size() == 2 || linear.value("int8", false);
  std::vector<size_t> used = linear.at("weights");
  if (found->at("outputs").size() != used.size())
    return no("does not return its linear's results");
  for (size_t i = 0; i < used.size(); ++i) {
    const json &w = manifest.at("weights").at(used[i]);
    if (w.contains("image"))
      return no(fmt::format("has the weight '{}' in the artifact",
                            w.at("name").get<std::string>()));
    Result<const TimedWeight *> weight = weights.get(used[i]);
    if (!weight)
      return weight.takeError();
    K = w.at("k");
    outputs.push_back(
        {run::dtypeNamed(found->at("outputs")[i].at("dtype").get<std::string>()),
         w.at("n"),
         used[i],
         *weight,
         {},
         {}});
  }
  kernels = *found;
  const json &input = found->at("inputs")[0];
  x.dtype = run::dtypeNamed(input.at("dtype").get<std::string>());
  return {};
}

Result<void> TimedLinear::makeActivations() {
  std::mt19937 rng(static_cast<uint32_t>(K));
  std::normal_distribution<float> normal;
  // Chunks of different sizes, so that one that takes another's scale is wrong.
  std::vector<float> values(size_t(mostRows * K));
  float size = 1;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i % layout::kChunk == 0)
      size = std::ldexp(1.0f, int(rng() % 3) - 1);
    values[i] = normal(rng) * size;
  }
  if (x.dtype == QLR_I8) {
    x = run::quantizeActivations(values, mostRows, K);
  } else {
    x = Array(x.dtype, {mostRows, K});
    x.setFloats(values);
  }
  Result<DeviceMemory> memory = device.allocate(x.bytes.size());
  if (!memory)
    return memory.takeError();
  xMemory = std::move(*memory);
  if (Result<void> uploaded = device.upload(xMemory.get(), x.bytes); !uploaded)
    return uploaded;
  return device.wait();
}

Result<void> TimedLinear::multiply() {
  Matrix exact;
  if (x.dtype == QLR_I8) {
    exact = run::dequantizeActivations(x, K);
  } else {
    std::vector<float> floats = x.floats();
    exact = {mostRows, K, {floats.begin(), floats.end()}};
    if (quantizes)
      exact = run::quantizedValues(exact);
  }
  run::Products products = run::productsOf(kernels, mostRows);
  bool asBytes = (quantizes || x.dtype == QLR_I8) && !products.floats && !products.half;
  for (Output &output : outputs)
    output.want = run::product(exact, output.weight->rows(), asBytes);
  if (quantizes && x.dtype != QLR_I8 && products.floats) {
    std::vector<float> floats = x.floats();
    exact = {mostRows, K, {floats.begin(), floats.end()}};
    for (Output &output : outputs)
      output.wantOfFloats = run::product(exact, output.weight->rows());
  }
  return {};
}

Result<void> TimedLinear::makeCopies(size_t count) {
  for (const Output &output : outputs)
    if (Result<void> made = weights.makeCopies(output.index, count); !made)
      return made;
  return {};
}

uint64_t TimedLinear::weightBytes() const {
  uint64_t bytes = 0;
  for (const Output &output : outputs)
    bytes += output.weight->blobBytes();
  return bytes;
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

size_t TimedLinear::outputBytes(const Output &output, int64_t rows) const {
  size_t bytes = size_t(rows * output.n) * run::dtypeBytes(output.dtype);
  return size_t(layout::alignTo(bytes, 256));
}

size_t TimedLinear::resultBytes(int64_t rows) const {
  size_t bytes = 0;
  for (const Output &output : outputs)
    bytes += outputBytes(output, rows);
  return bytes;
}

Result<void> TimedLinear::enqueue(size_t copy, int64_t rows, void *results,
                                  void *stream, size_t lane) const {
  std::vector<qlr_blob> blobs(weights.count(), qlr_blob{});
  for (const Output &output : outputs)
    blobs[output.index] = weights.blob(output.index, copy);
  int64_t columns = x.shape.back();
  qlr_tensor in{xMemory.get(), x.dtype, 2, {rows, columns, 0, 0}};
  std::vector<qlr_tensor> out;
  std::byte *at = static_cast<std::byte *>(results);
  for (const Output &output : outputs) {
    out.push_back({at, output.dtype, 2, {rows, output.n, 0, 0}});
    at += outputBytes(output, rows);
  }
  return checked(qlr_call_with_weights(module, index, workspaces[lane], &in, 1,
                                       out.data(), int32_t(out.size()), blobs.data(),
                                       int32_t(blobs.size()), stream));
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

Judgement TimedLinear::judge(size_t copy, int64_t rows,
                             std::span<const std::byte> results) const {
  Judgement all;
  for (size_t i = 0; i < outputs.size(); ++i) {
    size_t bytes = outputBytes(outputs[i], rows);
    all.add(judge(outputs[i], i, copy, rows, results.first(bytes)));
    results = results.subspan(bytes);
  }
  return all;
}

Judgement TimedLinear::judge(const Output &output, size_t position, size_t copy,
                             int64_t rows, std::span<const std::byte> results) const {
  // Half a step of the type at 2^e is 2^(e - bits).
  int bits = output.dtype == QLR_BF16 ? 8 : output.dtype == QLR_F16 ? 11 : 24;
  double half = std::ldexp(1.0, -bits);
  run::Products products = run::productsOf(kernels, rows);
  const Matrix &expected = products.floats && !output.wantOfFloats.values.empty()
                               ? output.wantOfFloats
                               : output.want;
  double bound = products.half ? kHalfBound : kBound;
  // Rounded terms may be large where their sum is small for all rows of a token
  // (weights that are nearly constant): those tokens are compared with the average one.
  double average = 0;
  for (double v : expected.values)
    average += products.half ? v * v / double(expected.values.size()) : 0;
  std::vector<Judgement> parts(static_cast<size_t>(rows));
  tbb::parallel_for(int64_t(0), rows, [&](int64_t m) {
    Judgement &part = parts[size_t(m)];
    size_t width = size_t(output.n) * run::dtypeBytes(output.dtype);
    Array y;
    y.dtype = output.dtype;
    y.shape = {output.n};
    auto row = results.subspan(size_t(m) * width, width);
    y.bytes.assign(row.begin(), row.end());
    std::vector<float> values = y.floats();
    const double *want = expected.values.data() + m * expected.columns;
    double squares = 0;
    for (int64_t i = 0; i < expected.columns; ++i)
      squares += want[i] * want[i];
    double rms = std::sqrt(std::max(squares / double(expected.columns), average));
    part.results = values.size();
    for (size_t n = 0; n < values.size(); ++n) {
      double right = want[output.weight->rowOf(copy, n)];
      uint64_t power = std::bit_cast<uint64_t>(right) & (uint64_t(0x7FF) << 52);
      double excess =
          std::fabs(values[n] - right) - half * std::bit_cast<double>(power);
      double relative = std::max(excess, 0.0) / rms;
      if (std::isnan(values[n])) // max() drops a NaN
        relative = INFINITY;
      part.error = std::max(part.error, relative);
      if (relative > bound && ++part.wrong == 1)
        part.first = fmt::format("y{}[{}, {}] is {} instead of {:.6g}", position, m, n,
                                 values[n], right);
    }
  });
  Judgement all;
  for (const Judgement &part : parts)
    all.add(part);
  return all;
}
