//===- Measure.cpp - Times of candidates ----------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A candidate is timed as a CUDA graph of calls, one after the other on one stream,
// whose weights rotate past the caches: as a decoder's layers run, with the next launch
// starting while the last one ends where the schedule asks for it. Candidates take
// turns in several rounds, so that a drift of the clock meets all of them.
//
//===----------------------------------------------------------------------===//

#include "GraphTimer.h"
#include "RandomWeight.h"
#include "Tune.h"
#include "qlinear-runtime/runtime.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <random>

using namespace qlinear;
using namespace qlinear::tune;
using nlohmann::ordered_json;

namespace {

/// A failed call of the runtime, thrown inside this file.
struct Failed {
  std::string what;
};
void check(qlr_status status) {
  if (status != QLR_OK)
    throw Failed{qlr_last_error()};
}

struct Memory {
  qlr_device *device;
  void *ptr = nullptr;
  Memory(qlr_device *device, size_t bytes) : device(device) {
    check(qlr_alloc(device, bytes, &ptr));
  }
  Memory(Memory &&other) noexcept
      : device(other.device), ptr(std::exchange(other.ptr, nullptr)) {}
  ~Memory() { qlr_free(device, ptr); }
};

/// An opened device that closes itself.
struct Device {
  qlr_device *handle = nullptr;
  explicit Device(const std::string &name) {
    check(qlr_device_open(name.c_str(), &handle));
  }
  ~Device() { qlr_device_close(handle); }
};

/// A layer's candidates on the device.
class LayerUnderTest {
  const Generated &generated;
  qlr_device *device;
  qlr_artifact *artifact = nullptr;
  qlr_module *module = nullptr;
  std::vector<qlr_workspace *> workspaces; ///< by candidate
  std::vector<std::vector<Memory>> copies; ///< by copy, by weight
  std::vector<Memory> inputs, outputs;

public:
  uint64_t bytes = 0; ///< of the weights

  LayerUnderTest(const Generated &generated, const std::string &folder,
                 qlr_device *device, bool rotate)
      : generated(generated), device(device) {
    try {
      load(folder, rotate);
    } catch (...) {
      release();
      throw;
    }
  }
  LayerUnderTest(const LayerUnderTest &) = delete;
  ~LayerUnderTest() { release(); }

  size_t copyCount() const { return copies.size(); }

  void bind(size_t copy) {
    for (size_t i = 0; i < copies[copy].size(); ++i)
      check(qlr_module_set_weight(module, fmt::format("w{}", i).c_str(),
                                  copies[copy][i].ptr, weightBytes(i)));
  }

  void call(size_t candidate, int64_t rows, void *stream) {
    const Layer &layer = generated.layer;
    int64_t k = layer.weights[0].k;
    bool int8 = layer.input == "int8";
    qlr_tensor in{
        inputs[0].ptr,
        typeOf(layer.input),
        2,
        {rows, int8 ? int64_t(layout::ActivationLayout{uint64_t(k)}.bytes()) : k}};
    std::vector<qlr_tensor> out;
    for (size_t i = 0; i < outputs.size(); ++i)
      out.push_back(
          {outputs[i].ptr, typeOf(layer.output), 2, {rows, layer.weights[i].n}});
    check(qlr_call(module, indexOf(candidate), workspaces[candidate], &in, 1,
                   out.data(), int32_t(out.size()), stream));
  }

private:
  size_t weightBytes(size_t i) const {
    const Layer::Weight &w = generated.layer.weights[i];
    return layoutOf(*Encoding::parse(w.encoding), uint64_t(w.n), uint64_t(w.k)).bytes();
  }
  int32_t indexOf(size_t candidate) const {
    const std::string &name = generated.candidates[candidate].function;
    int32_t index = qlr_function_index(module, name.c_str());
    if (index < 0)
      throw Failed{fmt::format("{} has no function '{}'; generate it again",
                               generated.artifact, name)};
    return index;
  }
  static qlr_dtype typeOf(const std::string &name) {
    return name == "int8"   ? QLR_I8
           : name == "bf16" ? QLR_BF16
           : name == "f16"  ? QLR_F16
                            : QLR_F32;
  }

  void load(const std::string &folder, bool rotate) {
    const Layer &layer = generated.layer;
    int64_t most = *std::max_element(layer.rows.begin(), layer.rows.end());
    check(qlr_artifact_open((folder + "/" + generated.artifact).c_str(), &artifact));
    check(qlr_module_load(device, artifact, nullptr, &module));
    for (size_t i = 0; i < layer.weights.size(); ++i)
      bytes += weightBytes(i);
    size_t count = rotate ? timing::copiesPastCaches(bytes) : 1;
    for (size_t i = 0; i < layer.weights.size(); ++i) {
      const Layer::Weight &w = layer.weights[i];
      Result<std::vector<std::byte>> blob = timing::randomWeight(
          *Encoding::parse(w.encoding), uint64_t(w.n), uint64_t(w.k));
      if (!blob)
        throw Failed{blob.error()};
      copies.resize(count);
      for (std::vector<Memory> &copy : copies) {
        copy.emplace_back(device, blob->size());
        check(qlr_upload(device, copy.back().ptr, blob->data(), blob->size(), nullptr));
      }
      outputs.emplace_back(device, size_t(most * w.n * 4));
      check(qlr_synchronize(device, nullptr));
    }
    // Numbers of about one as bf16 are plausible as f16, f32 and int8 too.
    std::vector<uint16_t> x(size_t(most * layer.weights[0].k * 2));
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (uint16_t &v : x)
      v = floatToBf16(normal(random));
    inputs.emplace_back(device, x.size() * 2);
    check(qlr_upload(device, inputs[0].ptr, x.data(), x.size() * 2, nullptr));
    check(qlr_synchronize(device, nullptr));
    workspaces.resize(generated.candidates.size());
    for (size_t c = 0; c < workspaces.size(); ++c)
      check(qlr_workspace_create(module, indexOf(c), most, &workspaces[c]));
  }

  void release() {
    for (qlr_workspace *w : workspaces)
      qlr_workspace_destroy(w);
    qlr_module_unload(module);
    qlr_artifact_close(artifact);
  }
};

class Measurement {
  const MeasureOptions &options;
  const std::string &folder;
  Device device;
  std::unique_ptr<timing::GraphTimer> timer; ///< null on a dry run

public:
  Measurement(const std::string &folder, const MeasureOptions &options)
      : options(options), folder(folder), device(options.device) {
    if (!options.device.starts_with("cuda"))
      return;
    Result<std::unique_ptr<timing::GraphTimer>> opened =
        timing::GraphTimer::open(options.device);
    if (!opened)
      throw Failed{opened.error()};
    timer = std::move(*opened);
  }

  bool isDry() const { return !timer; }

  void dryRun(const Generated &generated) {
    LayerUnderTest test(generated, folder, device.handle, /*rotate=*/false);
    test.bind(0);
    for (size_t c = 0; c < generated.candidates.size(); ++c)
      for (int64_t rows : generated.layer.rows)
        test.call(c, rows, nullptr);
    check(qlr_synchronize(device.handle, nullptr));
  }

  ordered_json best(const std::string &target, const Generated &generated) {
    const Layer &layer = generated.layer;
    LayerUnderTest test(generated, folder, device.handle, /*rotate=*/true);
    size_t count = generated.candidates.size();
    // times[c][i]: microseconds of candidate c with rows[i]
    std::vector<std::vector<double>> times(count);
    for (std::vector<double> &t : times)
      t.resize(layer.rows.size());
    for (size_t i = 0; i < layer.rows.size(); ++i) {
      std::vector<std::vector<double>> samples(count);
      for (int round = 0; round < options.rounds; ++round)
        for (size_t c = 0; c < count; ++c)
          samples[c].push_back(time(test, c, layer.rows[i]));
      for (size_t c = 0; c < count; ++c)
        times[c][i] = timing::summarize(samples[c]).median * 1e6;
    }
    size_t chosen = choose(times);
    ordered_json entry = {{"target", target}};
    if (layer.m)
      entry["m"] = *layer.m;
    entry["weights"] = ordered_json::array();
    for (const Layer::Weight &w : layer.weights)
      entry["weights"].push_back({{"encoding", w.encoding}, {"n", w.n}, {"k", w.k}});
    entry["schedule"] = generated.candidates[chosen].schedule;
    entry["device"] = timer->deviceName();
    auto rounded = [](double us) { return std::round(us * 100) / 100; };
    for (size_t i = 0; i < layer.rows.size(); ++i) {
      std::string m = std::to_string(layer.rows[i]);
      entry["us"][m] = rounded(times[chosen][i]);
      entry["model_us"][m] = rounded(times[0][i]);
    }
    report(generated, test.bytes, times, chosen);
    return entry;
  }

private:
  /// Seconds of one call.
  double time(LayerUnderTest &test, size_t candidate, int64_t rows) {
    // A graph long enough that its start does not show, over whole rotations.
    uint64_t wanted = std::clamp<uint64_t>((uint64_t(2) << 30) / test.bytes, 8, 48);
    size_t calls =
        size_t((wanted + test.copyCount() - 1) / test.copyCount()) * test.copyCount();
    size_t replays = size_t(options.replays);
    test.bind(0);
    Result<timing::Timing> timing =
        timer->time({replays, replays, 0}, [&]() -> Result<void> {
          try {
            for (size_t i = 0; i < calls; ++i) {
              test.bind(i % test.copyCount());
              test.call(candidate, rows, timer->stream());
            }
          } catch (const Failed &failed) {
            return error(failed.what);
          }
          return {};
        });
    if (!timing)
      throw Failed{timing.error()};
    return timing->median / double(calls);
  }

  /// The candidate with the least geometric mean of its times, of those that are with no
  /// M over 1% slower than the cost model's. That one stays unless another is 0.5% better:
  /// less is noise.
  static size_t choose(const std::vector<std::vector<double>> &times) {
    auto score = [&](size_t c) {
      double sum = 0;
      for (size_t i = 0; i < times[c].size(); ++i) {
        if (times[c][i] > 1.01 * times[0][i])
          return HUGE_VAL;
        sum += std::log(times[c][i]);
      }
      return sum / double(times[c].size());
    };
    size_t best = 0;
    for (size_t c = 1; c < times.size(); ++c)
      if (score(c) < score(best))
        best = c;
    return score(best) < score(0) + std::log(0.995) ? best : 0;
  }

  void report(const Generated &generated, uint64_t bytes,
              const std::vector<std::vector<double>> &times, size_t chosen) {
    const Layer &layer = generated.layer;
    fmt::print("{} <{}>, {:.1f} MB, {} candidates\n", layer.name,
               layer.weights[0].encoding, double(bytes) / 1e6, times.size());
    for (size_t c = 0; c < times.size(); ++c) {
      if (!options.verbose && c != 0 && c != chosen)
        continue;
      fmt::print("  {}{}", c == chosen ? "*" : " ", c == 0 ? "model " : "      ");
      for (size_t i = 0; i < layer.rows.size(); ++i)
        fmt::print(" M = {} {:8.2f} us {:5.0f} GB/s", layer.rows[i], times[c][i],
                   double(bytes) / times[c][i] / 1e3);
      fmt::print("  {}\n", generated.candidates[c].schedule);
    }
    std::fflush(stdout);
  }
};

} // namespace

Result<ordered_json> tune::measure(const Plan &plan, const std::string &folder,
                                   const MeasureOptions &options) {
  std::string layer;
  try {
    Measurement measurement(folder, options);
    ordered_json table = ordered_json::array();
    size_t candidates = 0;
    for (const Generated &generated : plan.layers) {
      layer = fmt::format("layer '{}': ", generated.layer.name);
      candidates += generated.candidates.size();
      if (measurement.isDry())
        measurement.dryRun(generated);
      else
        table.push_back(measurement.best(plan.target, generated));
    }
    if (measurement.isDry())
      fmt::print(
          "dry run on '{}': {} candidates of {} layers ran; its times say nothing "
          "of a GPU, so there is no table; measure on a CUDA device\n",
          options.device, candidates, plan.layers.size());
    return table;
  } catch (const Failed &failed) {
    return error(layer + failed.what);
  }
}
