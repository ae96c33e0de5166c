//===- Stress.cpp - The same calls over and over --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// gpu-stress ARTIFACT... [--device cuda] [--calls 100]
//
// Calls every linear of the artifacts many times with each M and in several ways, with
// random weights that are made here. The first result of each is compared with float64,
// the others with it bit by bit: what a race changes now and then shows.
//
//===----------------------------------------------------------------------===//

#include "Failed.h"
#include "Series.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fmt/format.h>
#include <fstream>
#include <random>
#include <regex>

using namespace qlinear;
using namespace qlinear::timing;
using nlohmann::json;

namespace {

/// In a series at least, so that launches follow one another without a gap.
constexpr size_t kSeries = 24;
/// Copied back and forth on the other stream, to keep memory busy.
constexpr size_t kBeside = size_t(64) << 20;

struct Options {
  std::vector<std::string> artifacts;
  std::vector<std::string> ways;
  std::string device = "cuda", function, report;
  std::vector<int64_t> rows = {1, 2, 3, 4, 5, 6, 7, 8};
  size_t calls = 100;
  bool does(const char *way) const {
    return std::count(ways.begin(), ways.end(), way) > 0;
  }
};

const std::vector<std::pair<std::string, std::string>> kWays = {
    {"cold", "weights that come from memory"},
    {"hot", "one weight, which stays in the cache where it fits"},
    {"beside", "cold, while another stream calls and copies"},
    {"graph", "cold, as a graph"},
    {"chain", "all functions of the artifact in turn, as a graph"}};

class Artifact {
  const Options &options;
  Device &device;
  qlr_artifact *artifact = nullptr;
  qlr_module *module = nullptr;
  json manifest;
  std::optional<TimedWeights> weights;
  void *other = nullptr; ///< stream
  DeviceMemory beside;
  std::map<std::string, std::unique_ptr<TimedLinear>> linears;

public:
  std::map<std::string, Verdict> byWay;
  json report = json::array();

  Artifact(const std::string &path, const Options &options, Device &device)
      : options(options), device(device) {
    try {
      orThrow(qlr_artifact_open(path.c_str(), &artifact));
      orThrow(qlr_module_load(device.handle(), artifact, nullptr, &module));
      orThrow(qlr_stream_create(device.handle(), &other));
    } catch (...) {
      close();
      throw;
    }
    manifest = json::parse(qlr_artifact_manifest(artifact));
    weights.emplace(device, manifest);
    beside = orThrow(device.allocate(device.timer() ? 2 * kBeside : 2));
  }
  ~Artifact() { close(); }
  Artifact(const Artifact &) = delete;

  void run() {
    int64_t most = *std::max_element(options.rows.begin(), options.rows.end());
    std::regex wanted(options.function);
    for (int32_t i = 0; i < qlr_function_count(module); ++i) {
      std::string name = qlr_function_name(module, i);
      if (!std::regex_search(name, wanted))
        continue;
      linears[name] =
          orThrow(TimedLinear::create(device, module, *weights, name, most));
      function(name, *linears[name]);
    }
    if (!linears.empty() && options.does("chain"))
      chain();
  }

private:
  void close() {
    linears.clear();
    weights.reset();
    if (other)
      (void)qlr_stream_destroy(device.handle(), other);
    qlr_module_unload(module);
    qlr_artifact_close(artifact);
  }

  size_t times(const Series &series) const {
    return (options.calls + series.size() - 1) / series.size();
  }

  std::unique_ptr<Series> series(const TimedLinear &linear, size_t first,
                                 size_t copies, int64_t rows, size_t lane) {
    size_t length = device.timer() ? (kSeries + copies - 1) / copies * copies : copies;
    std::vector<Series::Call> calls;
    for (size_t i = 0; i < length; ++i)
      calls.push_back({&linear, (first + i) % copies});
    auto made = orThrow(Series::create(device, std::move(calls), rows, lane));
    orThrow(made->verify());
    return made;
  }

  Verdict measure(const std::string &way, const TimedLinear &linear, size_t copies,
                  int64_t rows) {
    auto mine = series(linear, 0, way == "hot" ? 1 : copies, rows, 0);
    if (way != "beside") {
      orThrow(mine->repeat(times(*mine), way == "graph"));
      return mine->verdict();
    }
    auto its = series(linear, copies / 2, copies, rows, 1);
    for (size_t i = 0; i < times(*mine); ++i) {
      size_t half = device.timer() ? kBeside : 1;
      orThrow(device.copy(beside.at(half), beside.get(), half, other));
      orThrow(its->enqueue(other));
      orThrow(mine->enqueue(device.stream()));
      orThrow(device.copy(beside.get(), beside.at(half), half, other));
      orThrow(qlr_synchronize(device.handle(), other));
      orThrow(mine->compare());
      orThrow(its->compare());
    }
    Verdict both = mine->verdict();
    both.add(its->verdict());
    return both;
  }

  void add(const std::string &name, int64_t rows, const std::string &way,
           const Verdict &verdict, json &entry, Verdict &all) {
    Verdict named = verdict;
    if (verdict.wrong)
      named.first = fmt::format("{}, M = {}, {}: {} of {} calls are wrong; {}", name,
                                rows, way, verdict.wrong, verdict.calls, verdict.first);
    entry["ways"][way] = {{"calls", verdict.calls}, {"wrong", verdict.wrong}};
    byWay[way].add(named);
    all.add(named);
  }

  void finish(const std::string &name, int64_t rows, const Verdict &all, json entry) {
    entry.update({{"function", name},
                  {"rows", rows},
                  {"calls", all.calls},
                  {"wrong", all.wrong},
                  {"error", std::isfinite(all.error) ? json(all.error) : json()},
                  {"first", all.first}});
    report.push_back(entry);
    if (all.wrong)
      fmt::print("  WRONG {}\n", all.first);
  }

  void function(const std::string &name, const TimedLinear &linear) {
    size_t copies = device.timer() ? copiesPastCaches(linear.weightBytes()) : 2;
    orThrow(linears[name]->makeCopies(copies));
    Verdict ofAll;
    for (int64_t rows : options.rows) {
      json entry;
      Verdict all;
      for (const auto &[way, what] : kWays)
        if (way != "chain" && options.does(way.c_str()))
          add(name, rows, way, measure(way, linear, copies, rows), entry, all);
      ofAll.add(all);
      finish(name, rows, all, entry);
    }
    dropCopies();
    fmt::print("{:32} {:6.1f} MB  {:7} calls, {} wrong, largest error {:.2g}\n", name,
               double(linear.weightBytes()) / 1e6, ofAll.calls, ofAll.wrong,
               ofAll.error);
    std::fflush(stdout);
  }

  /// All functions, each with one weight, in a random order.
  void chain() {
    std::vector<Series::Call> calls;
    for (auto &[name, linear] : linears) {
      orThrow(linear->makeCopies(1));
      calls.push_back({linear.get(), 0});
    }
    std::shuffle(calls.begin(), calls.end(), std::mt19937(1));
    Verdict ofAll;
    for (int64_t rows : options.rows) {
      auto made = orThrow(Series::create(device, calls, rows));
      orThrow(made->verify());
      orThrow(made->repeat(device.timer() ? options.calls : 1, true));
      json entry;
      Verdict all;
      add("all", rows, "chain", made->verdict(), entry, all);
      ofAll.add(all);
      finish("chain", rows, all, entry);
    }
    dropCopies();
    fmt::print("{:32} {:6} functions {:7} calls, {} wrong\n", "all in a chain",
               calls.size(), ofAll.calls, ofAll.wrong);
  }

  void dropCopies() {
    for (size_t i = 0; i < weights->count(); ++i)
      weights->dropCopies(i);
  }
};

int stress(const Options &options) {
  std::unique_ptr<Device> device = orThrow(Device::open(options.device));
  std::map<std::string, Verdict> byWay;
  json report = json::array();
  for (const std::string &path : options.artifacts) {
    fmt::print("{}\n", path);
    Artifact artifact(path, options, *device);
    artifact.run();
    for (const auto &[way, verdict] : artifact.byWay)
      byWay[way].add(verdict);
    for (json &entry : artifact.report) {
      entry["artifact"] = path;
      report.push_back(std::move(entry));
    }
  }
  Verdict all;
  for (const auto &[way, what] : kWays)
    if (byWay.count(way)) {
      fmt::print("{:8} {:9} calls, {} wrong: {}\n", way, byWay[way].calls,
                 byWay[way].wrong, what);
      all.add(byWay[way]);
    }
  if (!options.report.empty())
    std::ofstream(options.report) << report.dump(1) << "\n";
  if (all.wrong)
    fmt::print("the first: {}\n", all.first);
  fmt::print("{} calls, {} wrong, largest error {:.2g} of a row's rms (bound {:.2g})\n",
             all.calls, all.wrong, all.error, kBound);
  return all.wrong || !all.calls ? 1 : 0;
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  std::vector<std::string> ways;
  std::string described = "Ways to call";
  for (const auto &[way, what] : kWays) {
    ways.push_back(way);
    described += fmt::format("; {}: {}", way, what);
  }
  options.ways = ways;
  CLI::App app{
      "Calls compiled linears many times with random weights, and compares the "
      "first result of each with float64, the others with it bit by bit"};
  app.add_option("artifacts", options.artifacts, "What quant-compile wrote")
      ->required();
  app.add_option("-d,--device", options.device, "cuda, cuda:1, emulated, cpu")
      ->capture_default_str();
  app.add_option("-f,--function", options.function,
                 "Regular expression of functions (default: all)");
  app.add_option("-M,--rows", options.rows, "Numbers of rows")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  app.add_option("--calls", options.calls, "Calls for each M and way, at least")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--ways", options.ways, described)
      ->delimiter(',')
      ->check(CLI::IsMember(ways));
  app.add_option("--json", options.report, "Report to write");
  CLI11_PARSE(app, argc, argv);
  try {
    return stress(options);
  } catch (const Failed &failed) {
    fmt::print(stderr, "gpu-stress: error: {}\n", failed.what);
    return 2;
  }
}
