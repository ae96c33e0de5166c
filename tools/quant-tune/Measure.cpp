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
  std::optional<timing::TimedWeights> weights;
  std::vector<std::unique_ptr<timing::TimedLinear>> linears; ///< by candidate
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
  const timing::TimedLinear &candidate(size_t c) const { return *linears[c]; }
  const tune::Candidate &description(size_t c) const { return generated.candidates[c]; }

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
          timing::TimedLinear::create(device, module, *weights, c.function, most)));
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
  const std::string &folder, &target;
  std::unique_ptr<timing::Device> device;
  timing::Verdict verdict;

public:
  Measurement(const std::string &folder, const std::string &target,
              const MeasureOptions &options)
      : options(options), folder(folder), target(target),
        device(timing::orThrow(timing::Device::open(options.device))) {}

  bool isDry() const { return !device->timer(); }
  const timing::Verdict &checks() const { return verdict; }

  void dryRun(const Generated &generated) {
    LayerUnderTest test(generated, folder, *device);
    for (size_t c = 0; c < generated.candidates.size(); ++c)
      for (int64_t rows : generated.layer.rows)
        if (kernelFor(generated.kernels, rows) == generated.candidates[c].kernel)
          time(test, c, rows);
  }

  ordered_json best(const Generated &generated) {
    const Layer &layer = generated.layer;
    LayerUnderTest test(generated, folder, *device);
    // Microseconds of each candidate, by M.
    std::vector<std::map<int64_t, double>> times(generated.candidates.size());
    for (int64_t rows : layer.rows) {
      std::vector<std::vector<double>> samples(times.size());
      for (int round = 0; round < options.rounds; ++round)
        for (size_t c = 0; c < times.size(); ++c)
          if (generated.candidates[c].kernel == kernelFor(generated.kernels, rows))
            samples[c].push_back(time(test, c, rows));
      for (size_t c = 0; c < times.size(); ++c)
        if (!samples[c].empty())
          times[c][rows] = timing::summarize(samples[c]).median * 1e6;
    }
    Choice chosen = choose(generated.candidates, times);
    ordered_json entry = {{"target", target}};
    if (layer.activations != "int8")
      entry["activations"] = layer.activations;
    entry["weights"] = ordered_json::array();
    for (const Layer::Weight &w : layer.weights)
      entry["weights"].push_back({{"encoding", w.encoding}, {"n", w.n}, {"k", w.k}});
    std::vector<std::string> kernels;
    for (const Kernel &kernel : generated.kernels) {
      auto found = chosen.find(kernel); // not measured: left to the cost model
      kernels.push_back(kernel.text(
          found == chosen.end() ? "" : generated.candidates[found->second].fields));
    }
    entry["schedule"] =
        scheduleText(kernels, generated.candidates[chosen.begin()->second].setting);
    entry["device"] = device->timer()->deviceName();
    auto rounded = [](double us) { return std::round(us * 100) / 100; };
    for (int64_t rows : layer.rows) {
      std::string m = std::to_string(rows);
      const Kernel &kernel = kernelFor(generated.kernels, rows);
      entry["us"][m] = rounded(times[chosen.at(kernel)].at(rows));
      entry["model_us"][m] =
          rounded(times[modelOf(generated.candidates, kernel)].at(rows));
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
          fmt::format("M = {}, {}: {} of {} calls are wrong (largest error {:.2g}): {}",
                      rows, scheduleText(test.description(candidate)), v.wrong, v.calls,
                      v.error, v.first)};
    return timing.median / double(series->size());
  }

  using Candidates = std::vector<tune::Candidate>;
  using Times = std::vector<std::map<int64_t, double>>;
  /// A candidate for each kernel.
  using Choice = std::map<Kernel, size_t>;

  /// The cost model's candidate for a kernel.
  static size_t modelOf(const Candidates &candidates, const Kernel &kernel) {
    return size_t(
        std::find_if(candidates.begin(), candidates.end(),
                     [&](const tune::Candidate &c) { return c.kernel == kernel; }) -
        candidates.begin());
  }

  /// For each kernel the candidate with the least geometric mean of its times, of those
  /// that are with no M over 1% slower than the cost model's. That one stays unless
  /// another is 0.5% better: less is noise. All kernels have one setting, chosen alike.
  static Choice choose(const Candidates &candidates, const Times &times) {
    auto score = [&](size_t c) {
      size_t model = modelOf(candidates, candidates[c].kernel);
      double sum = 0;
      for (auto [rows, time] : times[c]) {
        if (time > 1.01 * times[model].at(rows))
          return HUGE_VAL;
        sum += std::log(time);
      }
      return sum / double(times[c].size());
    };
    const double better = std::log(0.995);
    std::map<std::string, Choice> bySetting;
    for (size_t c = 0; c < candidates.size(); ++c) {
      auto [best, first] =
          bySetting[candidates[c].setting].try_emplace(candidates[c].kernel, c);
      size_t model = modelOf(candidates, candidates[c].kernel);
      if (!first && score(c) < score(best->second) &&
          (best->second != model || score(c) < score(model) + better))
        best->second = c;
    }
    const Choice *chosen = &bySetting.at("");
    auto total = [&](const Choice &kernels) {
      double sum = 0;
      for (auto [kernel, c] : kernels)
        sum += score(c);
      return kernels.size() == bySetting.at("").size() ? sum : HUGE_VAL;
    };
    double limit = total(*chosen) + better * double(chosen->size());
    for (auto &[setting, kernels] : bySetting)
      if (total(kernels) < std::min(limit, total(*chosen)))
        chosen = &kernels;
    return *chosen;
  }

  void report(const Generated &generated, uint64_t bytes, const Times &times,
              const Choice &chosen) {
    const Layer &layer = generated.layer;
    fmt::print("{} <{}>, {:.1f} MB, {} candidates\n", layer.name,
               layer.weights[0].encoding, double(bytes) / 1e6, times.size());
    for (size_t c = 0; c < times.size(); ++c) {
      const tune::Candidate &candidate = generated.candidates[c];
      bool isModel = c == modelOf(generated.candidates, candidate.kernel);
      bool isChosen = chosen.at(candidate.kernel) == c;
      if (!options.verbose && !isModel && !isChosen)
        continue;
      fmt::print("  {}{}", isChosen ? "*" : " ", isModel ? "model " : "      ");
      for (auto [rows, us] : times[c])
        fmt::print(" M = {} {:8.2f} us {:5.0f} GB/s", rows, us,
                   double(bytes) / us / 1e3);
      fmt::print("  {}\n", scheduleText(candidate));
    }
    std::fflush(stdout);
  }
};

} // namespace

Result<ordered_json> tune::measure(const Plan &plan, const std::string &folder,
                                   const MeasureOptions &options) {
  std::string layer;
  try {
    Measurement measurement(folder, plan.target, options);
    ordered_json table = ordered_json::array();
    size_t candidates = 0;
    for (const Generated &generated : plan.layers) {
      layer = fmt::format("layer '{}': ", generated.layer.name);
      candidates += generated.candidates.size();
      if (measurement.isDry())
        measurement.dryRun(generated);
      else
        table.push_back(measurement.best(generated));
    }
    const timing::Verdict &checks = measurement.checks();
    fmt::print("{} calls compared with float64 or bit by bit with such a one: 0 wrong, "
               "largest error {:.2g} (bound {:.2g}, of kernels for many rows {:.2g})\n",
               checks.calls, checks.error, timing::kBound, timing::kHalfBound);
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
