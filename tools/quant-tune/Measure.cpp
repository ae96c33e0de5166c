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

#include "Failed.h"
#include "Series.h"
#include "Tune.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

using namespace qlinear;
using namespace qlinear::tune;
using nlohmann::ordered_json;

namespace {

/// A layer's candidates on the device.
class LayerUnderTest {
  const Generated &generated;
  qlr_artifact *artifact = nullptr;
  qlr_module *module = nullptr;
  nlohmann::json manifest;
  std::optional<timing::RandomWeights> weights;
  std::vector<std::unique_ptr<timing::RandomLinear>> linears; ///< by candidate
  size_t copies;

public:
  LayerUnderTest(const Generated &generated, const std::string &folder,
                 timing::Device &device)
      : generated(generated) {
    try {
      load(folder, device);
    } catch (...) {
      release();
      throw;
    }
  }
  LayerUnderTest(const LayerUnderTest &) = delete;
  ~LayerUnderTest() { release(); }

  size_t copyCount() const { return copies; }
  uint64_t weightBytes() const { return linears[0]->weightBytes(); }
  const timing::RandomLinear &candidate(size_t c) const { return *linears[c]; }
  const std::string &schedule(size_t c) const {
    return generated.candidates[c].schedule;
  }

private:
  void load(const std::string &folder, timing::Device &device) {
    const Layer &layer = generated.layer;
    int64_t most = *std::max_element(layer.rows.begin(), layer.rows.end());
    std::string path = folder + "/" + generated.artifact;
    timing::orThrow(qlr_artifact_open(path.c_str(), &artifact));
    timing::orThrow(qlr_module_load(device.handle(), artifact, nullptr, &module));
    manifest = nlohmann::json::parse(qlr_artifact_manifest(artifact));
    weights.emplace(device, manifest);
    for (const tune::Candidate &c : generated.candidates) {
      if (qlr_function_index(module, c.function.c_str()) < 0)
        throw timing::Failed{fmt::format("{} has no function '{}'; generate it again",
                                         generated.artifact, c.function)};
      linears.push_back(timing::orThrow(
          timing::RandomLinear::create(device, module, *weights, c.function, most)));
    }
    copies = device.timer() ? timing::copiesPastCaches(weightBytes()) : 2;
    timing::orThrow(linears[0]->makeCopies(copies));
  }

  void release() {
    linears.clear();
    weights.reset();
    qlr_module_unload(module);
    qlr_artifact_close(artifact);
  }
};

class Measurement {
  const MeasureOptions &options;
  const std::string &folder;
  std::unique_ptr<timing::Device> device;
  timing::Verdict verdict;

public:
  Measurement(const std::string &folder, const MeasureOptions &options)
      : options(options), folder(folder),
        device(timing::orThrow(timing::Device::open(options.device))) {}

  bool isDry() const { return !device->timer(); }
  const timing::Verdict &checks() const { return verdict; }

  void dryRun(const Generated &generated) {
    LayerUnderTest test(generated, folder, *device);
    for (size_t c = 0; c < generated.candidates.size(); ++c)
      for (int64_t rows : generated.layer.rows)
        time(test, c, rows);
  }

  ordered_json best(const std::string &target, const Generated &generated) {
    const Layer &layer = generated.layer;
    LayerUnderTest test(generated, folder, *device);
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
    entry["device"] = device->timer()->deviceName();
    auto rounded = [](double us) { return std::round(us * 100) / 100; };
    for (size_t i = 0; i < layer.rows.size(); ++i) {
      std::string m = std::to_string(layer.rows[i]);
      entry["us"][m] = rounded(times[chosen][i]);
      entry["model_us"][m] = rounded(times[0][i]);
    }
    report(generated, test.weightBytes(), times, chosen);
    return entry;
  }

private:
  /// Seconds of one call. Fails where any of its results is wrong.
  double time(LayerUnderTest &test, size_t candidate, int64_t rows) {
    // A graph long enough that its start does not show, over whole rotations.
    uint64_t wanted =
        isDry() ? 1
                : std::clamp<uint64_t>((uint64_t(2) << 30) / test.weightBytes(), 8, 48);
    size_t copies = test.copyCount(), rounds = size_t((wanted + copies - 1) / copies);
    std::vector<timing::Series::Call> calls;
    for (size_t i = 0; i < rounds * copies; ++i)
      calls.push_back({&test.candidate(candidate), i % copies});
    size_t replays = size_t(options.replays);
    auto series =
        timing::orThrow(timing::Series::create(*device, std::move(calls), rows));
    timing::orThrow(series->verify());
    timing::Timing timing;
    if (!series->verdict().wrong)
      timing = timing::orThrow(series->time({replays, replays, 0}));
    verdict.add(series->verdict());
    if (const timing::Verdict &v = series->verdict(); v.wrong)
      throw timing::Failed{
          fmt::format("M = {}, {}: {} of {} calls are wrong (largest error {:.2g}, "
                      "bound {:.2g}): {}",
                      rows, test.schedule(candidate), v.wrong, v.calls, v.error,
                      timing::kBound, v.first)};
    return timing.median / double(series->size());
  }

  /// The candidate with the least geometric mean of its times, of those that are with
  /// no M over 1% slower than the cost model's. That one stays unless another is 0.5%
  /// better: less is noise.
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
    const timing::Verdict &checks = measurement.checks();
    fmt::print("{} calls compared with float64 or bit by bit with such a one: 0 wrong, "
               "largest error {:.2g} (bound {:.2g})\n",
               checks.calls, checks.error, timing::kBound);
    if (measurement.isDry())
      fmt::print(
          "dry run on '{}': {} candidates of {} layers ran; its times say nothing "
          "of a GPU, so there is no table; measure on a CUDA device\n",
          options.device, candidates, plan.layers.size());
    return table;
  } catch (const timing::Failed &failed) {
    return error(layer + failed.what);
  }
}
