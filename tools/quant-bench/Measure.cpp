//===- Measure.cpp - Compiled, checked and timed --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include "Errors.h"
#include "Failed.h"
#include "HostTimer.h"
#include "PlainRead.h"
#include "Series.h"
#include "common/Programs.h"

#include <algorithm>
#include <fmt/format.h>

using namespace qlinear;
using namespace qlinear::bench;
using nlohmann::json;

namespace {

/// Bytes that tell how fast the machine reads.
constexpr size_t kReadBytes = size_t(512) << 20;

/// What quant-compile made of the encodings of a weight: function f0 of the first, ...
class Compiled {
  qlr_artifact *artifact = nullptr;
  qlr_module *module = nullptr;
  json manifest;
  std::optional<timing::TimedWeights> weights;
  std::vector<std::unique_ptr<timing::TimedLinear>> linears;

public:
  Compiled(const std::string &path, timing::Device &device,
           const std::vector<Coded> &coded, int64_t mostRows) {
    try {
      load(path, device, coded, mostRows);
    } catch (...) {
      release();
      throw;
    }
  }
  Compiled(const Compiled &) = delete;
  ~Compiled() { release(); }

  size_t indexOf(size_t linear) const {
    const json &entries = manifest.at("weights");
    for (size_t i = 0; i < entries.size(); ++i)
      if (entries[i].at("name") == fmt::format("w{}", linear))
        return i;
    throw timing::Failed{fmt::format("the artifact has no weight 'w{}'", linear)};
  }
  timing::TimedLinear &linear(size_t i) { return *linears[i]; }
  void dropCopies(size_t linear) { weights->dropCopies(indexOf(linear)); }

private:
  void load(const std::string &path, timing::Device &device,
            const std::vector<Coded> &coded, int64_t mostRows) {
    timing::orThrow(qlr_artifact_open(path.c_str(), &artifact));
    timing::orThrow(qlr_module_load(device.handle(), artifact, nullptr, &module));
    manifest = json::parse(qlr_artifact_manifest(artifact));
    weights.emplace(device, manifest);
    for (size_t i = 0; i < coded.size(); ++i) {
      weights->set(indexOf(i),
                   timing::orThrow(timing::TimedWeight::of(coded[i].weight)));
      linears.push_back(timing::orThrow(timing::TimedLinear::create(
          device, module, *weights, fmt::format("f{}", i), mostRows)));
    }
  }
  void release() {
    linears.clear();
    weights.reset();
    qlr_module_unload(module);
    qlr_artifact_close(artifact);
  }
};

class DeviceMeasurement : public Measurement {
  MeasureOptions options;
  std::unique_ptr<timing::Device> device;
  std::string target, name;
  double rate = 0;
  int64_t mostRows;

public:
  explicit DeviceMeasurement(const MeasureOptions &given)
      : options(given), device(timing::orThrow(timing::Device::open(given.device))),
        target(given.target.empty() ? qlr_device_target(device->handle())
                                    : given.target),
        mostRows(*std::ranges::max_element(given.rows)) {
    if (device->timer())
      name = fmt::format("{}, {}", device->timer()->deviceName(), target);
    else if (isCpu())
      name = fmt::format("{}, threads: {}", target, timing::threadsOf(options.device));
    else
      name = target;
    if (isCpu() || device->timer())
      measureReading();
  }

  std::string description() const override { return name; }
  double readRate() const override { return rate; }

  Result<std::vector<Row>> measure(const Source &source, std::span<const float> floats,
                                   const std::vector<Coded> &coded) override {
    try {
      return measureAll(source, floats, coded);
    } catch (const timing::Failed &failed) {
      return error(fmt::format("'{}': {}", source.name, failed.what));
    }
  }

private:
  bool isCpu() const { return options.device.starts_with("cpu"); }

  void measureReading() {
    timing::DeviceMemory memory = timing::orThrow(device->allocate(kReadBytes));
    timing::orThrow(device->fill(memory.get(), 1, kReadBytes));
    timing::orThrow(device->wait());
    std::vector<timing::Blobs> calls = {{{memory.get(), kReadBytes}}};
    rate = timing::orThrow(
        device->timer()
            ? timing::readRateOfCuda(*device->timer(), calls, 4)
            : timing::readRateOfHost(timing::threadsOf(options.device), calls));
  }

  void compile(const std::vector<Coded> &coded, const std::string &folder) {
    std::vector<Layer> layers;
    for (size_t i = 0; i < coded.size(); ++i) {
      const EncodedWeight &w = coded[i].weight;
      layers.push_back({fmt::format("f{}", i),
                        {{fmt::format("w{}", i), w.N, w.K, w.encoding, "", ""}},
                        std::nullopt});
    }
    timing::orThrow(writeOutput(folder + "/layers.mlir",
                                layersAsMlir(layers, options.dtype, "quant-bench")));
    timing::orThrow(runTool({toolsFolder() + "/quant-compile", folder + "/layers.mlir",
                             "-o", folder + "/layers.so", "--target=" + target,
                             "--activations=" + options.activations}));
  }

  std::vector<Row> measureAll(const Source &source, std::span<const float> floats,
                              const std::vector<Coded> &coded) {
    TemporaryFolder folder = timing::orThrow(TemporaryFolder::create("quant-bench"));
    compile(coded, folder.path());
    Compiled compiled(folder.path() + "/layers.so", *device, coded, mostRows);
    std::vector<float> values = compiled.linear(0).activations().floats();
    run::Matrix x{mostRows, int64_t(source.K), {values.begin(), values.end()}};
    // Of the source itself, and of activations as they come.
    run::Matrix want =
        run::product(x, source.N, [&](uint64_t n, std::span<double> row) {
          std::ranges::copy(floats.subspan(n * source.K, source.K), row.begin());
        });
    std::vector<Row> lines;
    for (size_t i = 0; i < coded.size(); ++i) {
      for (int64_t rows : options.rows) {
        Row line{source.name,
                 source.format,
                 coded[i].method,
                 coded[i].weight.encoding.str(),
                 source.N,
                 source.K,
                 compiled.linear(i).weightBytes(),
                 coded[i].bits,
                 coded[i].snr,
                 rows};
        measureOne(compiled.linear(i), want, line);
        lines.push_back(std::move(line));
      }
      compiled.dropCopies(i);
    }
    return lines;
  }

  void measureOne(timing::TimedLinear &linear, const run::Matrix &want, Row &line) {
    timing::orThrow(linear.makeCopies(1));
    double seconds = firstCall(linear, want, line);
    // Past the caches, unless each call takes so long that reading does not show.
    size_t copies = timing::copiesPastCaches(linear.weightBytes()), calls = copies;
    if (device->timer())
      calls = (64 + copies - 1) / copies * copies;
    else if (isCpu())
      calls = size_t(std::clamp(0.5 / seconds, 2.0, double(copies)));
    else
      calls = 2;
    copies = std::min(copies, calls);
    timing::orThrow(linear.makeCopies(copies));
    std::vector<timing::Series::Call> list;
    for (size_t i = 0; i < calls; ++i)
      list.push_back({&linear, i % copies});
    auto series =
        timing::orThrow(timing::Series::create(*device, std::move(list), line.rows));
    timing::orThrow(series->verify());
    timing::Replays replays{5, 200, 0.5};
    timing::Timing timing;
    if (!series->verdict().wrong)
      timing = timing::orThrow(isCpu() ? series->timeOnHost(replays)
                                       : series->time(replays));
    if (const timing::Verdict &v = series->verdict(); v.wrong)
      throw timing::Failed{
          fmt::format("{}, M = {}: {} of {} calls are wrong (largest error {:.2g}): {}",
                      line.method, line.rows, v.wrong, v.calls, v.error, v.first)};
    line.calls = series->verdict().calls;
    line.kernelError = series->verdict().error;
    line.us = timing.median / double(calls) * 1e6;
  }

  /// The error of a call against `want`; returns the seconds that it takes.
  double firstCall(timing::TimedLinear &linear, const run::Matrix &want, Row &line) {
    size_t bytes = linear.resultBytes(line.rows);
    timing::DeviceMemory memory = timing::orThrow(device->allocate(bytes));
    std::vector<std::byte> results(bytes);
    timing::Timing once =
        timing::orThrow(timing::timeOnHost({1, 1, 0}, [&](size_t) -> Result<void> {
          auto enqueued = linear.enqueue(0, line.rows, memory.get(), device->stream());
          return enqueued ? device->wait() : std::move(enqueued);
        }));
    timing::orThrow(device->download(results, memory.get()));
    run::Array y(run::dtypeNamed(options.dtype), {line.rows, want.columns});
    std::copy_n(results.begin(), y.bytes.size(), y.bytes.begin());
    std::vector<float> got = y.floats();
    auto end = want.values.begin() + line.rows * want.columns;
    line.error = run::rowError({line.rows, want.columns, {got.begin(), got.end()}},
                               {line.rows, want.columns, {want.values.begin(), end}},
                               /*anyKind=*/true, /*rounded=*/false);
    return once.median;
  }
};

} // namespace

Result<std::unique_ptr<Measurement>> Measurement::open(const MeasureOptions &options) {
  try {
    return std::unique_ptr<Measurement>(new DeviceMeasurement(options));
  } catch (const timing::Failed &failed) {
    return error(failed.what);
  }
}
