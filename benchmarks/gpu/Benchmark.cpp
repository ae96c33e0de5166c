//===- Benchmark.cpp - Linears on a GPU, against peers and ceilings --------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// All times are medians over replays of a CUDA graph. Single shapes rotate over
// enough copies of the weight that none is in the L2 cache when its turn comes;
// the chains have every weight of a token. Compare figures of one run only. After @ is
// the clock in MHz right after the replays: power limits it where products decide.
//
// The results of every call that is timed are checked (Series.h); where one is wrong
// there is no time, and the program fails in the end.
//
//===----------------------------------------------------------------------===//
#include "Ceilings.h"
#include "Linears.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <utility>

using namespace bench;
using namespace qlinear;
using nlohmann::json;

void bench::fail(const std::string &message) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  std::exit(1);
}

namespace {

void check(cudaError_t status) {
  if (status != cudaSuccess)
    fail(cudaGetErrorString(status));
}

struct Options {
  std::string device = "cuda", out = "gpu.json";
  std::vector<std::string> artifacts, peers;
  std::span<const ql_peer *const> opened; ///< by who called ql_gpu_bench
  std::vector<std::string> shapes, chains = {"interleaved"};
  std::vector<int> rows = {1, 2, 4, 8};
  int replays = 11, layers = kLayers;
  int launches = 48; ///< of a graph at least: its start is shared
  bool withShapes = true, withChains = true;
  int mostRows() const { return *std::max_element(rows.begin(), rows.end()); }
};

class Benchmark {
  const Options &options;
  std::unique_ptr<timing::Device> device;
  timing::DeviceMemory sink;
  /// Cycles and nanoseconds of the probes after replays (enqueueClock).
  timing::DeviceMemory probes;
  size_t probed = 0;
  static constexpr size_t kMostProbes = 1000;
  timing::Verdict verdict;
  /// Microseconds of a call, by implementation, shape, M.
  std::map<std::tuple<std::string, int, int>, double> singles;

public:
  json report;

  explicit Benchmark(const Options &options)
      : options(options), device(checked(timing::Device::open(options.device))),
        sink(checked(device->allocate(16))) {
    report["device"] = options.device;
    if (const timing::GraphTimer *timer = device->timer()) {
      report["device"] = timer->deviceName();
      report["driver"] = timer->driver().version();
      report["multiprocessors"] = timer->multiprocessors();
      probes = checked(device->allocate(kMostProbes * 16));
      device->timer()->afterReplay = [this]() -> Result<void> {
        if (probed < kMostProbes)
          check(enqueueClock(static_cast<uint64_t *>(probes.get()) + 2 * probed++,
                             static_cast<cudaStream_t>(device->stream())));
        return {};
      };
    } else {
      std::printf("dry run on '%s': results are checked, times say nothing of a GPU\n",
                  options.device.c_str());
    }
  }

  void run() {
    if (device->timer())
      copyRate();
    for (const std::string &path : options.artifacts)
      measure(openArtifact(*device, path, options.mostRows()));
    for (const std::string &path : options.peers)
      measure(openPeer(*device, path, options.mostRows()));
    for (const ql_peer *peer : options.opened)
      measure(usePeer(*device, peer, options.mostRows()));
    report["checked"] = describe(verdict);
    std::printf(
        "checked: %zu of %zu calls wrong, largest error %.2g of a row's rms (bound "
        "%.2g), beyond the rounding of results\n",
        verdict.wrong, verdict.calls, verdict.error, timing::kBound);
    if (verdict.wrong)
      std::printf("the first: %s\n", verdict.first.c_str());
  }
  bool isGood() const { return !verdict.wrong; }

private:
  static json describe(const timing::Verdict &v) {
    json j = {{"calls", v.calls},
              {"wrong", v.wrong},
              {"error", v.error},
              {"bound", timing::kBound}};
    if (v.wrong)
      j["first"] = v.first;
    return j;
  }

  int roundsOf(size_t calls) const {
    return int((size_t(options.launches) + calls - 1) / calls);
  }

  template <typename F> double time(F &&enqueue) {
    size_t replays = size_t(options.replays);
    return checked(device->timer()->time({replays, replays, 0},
                                         [&]() -> Result<void> {
                                           enqueue(static_cast<cudaStream_t>(
                                               device->stream()));
                                           return {};
                                         }))
               .median *
           1e6;
  }

  double read(ReadMethod method, const timing::DeviceMemory &data,
              const std::vector<size_t> &bytes, int rounds) {
    return time([&](cudaStream_t stream) {
             for (int round = 0; round < rounds; ++round) {
               size_t at = 0;
               for (size_t b : bytes) {
                 check(enqueueRead(method, data.at(at), b,
                                   device->timer()->multiprocessors(),
                                   static_cast<uint32_t *>(sink.get()), stream));
                 at += (b + 127) / 128 * 128;
               }
             }
           }) /
           rounds;
  }

  /// Reads of the sizes of `bytes`, one after the other: microseconds for all.
  json ceilings(const std::vector<size_t> &bytes) {
    size_t total = 0;
    for (size_t b : bytes)
      total += (b + 127) / 128 * 128;
    timing::DeviceMemory data = checked(device->allocate(total));
    bench::check(device->fill(data.get(), 0x5A, total));
    int rounds = roundsOf(bytes.size());
    return {{"plain", read(ReadMethod::plain, data, bytes, rounds)},
            {"dependent", read(ReadMethod::dependent, data, bytes, rounds)},
            {"independent", read(ReadMethod::independent, data, bytes, rounds)}};
  }

  void copyRate() {
    size_t bytes = size_t(1) << 30;
    timing::DeviceMemory from = checked(device->allocate(bytes)),
                         to = checked(device->allocate(bytes));
    bench::check(device->fill(from.get(), 0x5A, bytes));
    double us = time([&](cudaStream_t stream) {
      check(enqueueCopy(from.get(), to.get(), bytes, device->timer()->multiprocessors(),
                        stream));
    });
    report["copy"] = {{"bytes", 2 * bytes}, {"us", us}};
    std::printf("device-to-device copy: %.0f GB/s\n", 2e-3 * double(bytes) / us);
  }

  bool wants(size_t shape) const {
    return options.shapes.empty() ||
           std::count(options.shapes.begin(), options.shapes.end(),
                      kShapes[shape].name);
  }

  void measure(const LinearsList &list) {
    if (options.withShapes)
      for (size_t shape = 0; shape < std::size(kShapes); ++shape)
        if (wants(shape))
          single(list, int(shape));
    if (options.withChains)
      for (const std::string &name : options.chains)
        for (const ChainKind &kind : kChains)
          if (kind.name == name)
            chain(list, kind);
  }

  /// The median clock in MHz right after the replays since the last call; 0 if there
  /// were none.
  double clock() {
    std::vector<uint64_t> counts(2 * std::exchange(probed, 0));
    if (counts.empty())
      return 0;
    bench::check(
        device->download(std::as_writable_bytes(std::span(counts)), probes.get()));
    std::vector<double> clocks;
    for (size_t i = 0; i < counts.size(); i += 2)
      clocks.push_back(1e3 * double(counts[i]) / double(counts[i + 1]));
    return timing::summarize(std::move(clocks)).median;
  }

  /// Times a series for every M; adds to `row` and prints.
  void times(Linears &linears, const std::vector<Link> &links, double calls, json &row,
             const std::function<void(int, double)> &print) {
    timing::Verdict all;
    std::string wrong;
    for (int m : options.rows) {
      probed = 0;
      std::optional<Measured> measured = linears.time(links, m, options.replays);
      if (!measured)
        continue;
      double mhz = clock();
      timing::Verdict &v = measured->verdict;
      if (v.wrong) {
        v.first = linears.name() + ", " + row["title"].get<std::string>() +
                  ", M = " + std::to_string(m) + ": " + v.first;
        std::printf("  M=%d WRONG", m);
        wrong += "error: " + v.first + " (" + std::to_string(v.wrong) + " of " +
                 std::to_string(v.calls) + " calls)\n";
      } else if (measured->us > 0) {
        row["us"][std::to_string(m)] = measured->us / calls;
        row["mhz"][std::to_string(m)] = std::round(mhz);
        print(m, measured->us / calls);
        std::printf(" @%.0f", mhz);
      }
      all.add(v);
    }
    row.erase("title");
    if (all.calls)
      row["checked"] = describe(all);
    std::printf("\n");
    std::fflush(stdout);
    std::fprintf(stderr, "%s", wrong.c_str());
    verdict.add(all);
  }

  void single(const LinearsList &list, int shape) {
    const char *name = kShapes[shape].name;
    size_t bytes = list[0]->weightBytes(shape);
    if (!bytes)
      return;
    // Two are enough for checking.
    int copies = device->timer() ? int(timing::copiesPastCaches(bytes)) : 2;
    int calls = device->timer() ? copies * roundsOf(size_t(copies)) : copies;
    std::vector<Link> links;
    for (int i = 0; i < calls; ++i)
      links.push_back({shape, i % copies});
    json readUs = json::object();
    if (device->timer())
      readUs = ceilings(std::vector<size_t>(size_t(copies), bytes));
    for (auto &item : readUs)
      item = item.get<double>() / copies;
    for (const auto &linears : list) {
      linears->makeWeights(shape, copies);
      json row = {{"shape", name},
                  {"title", name},
                  {"implementation", linears->name()},
                  {"bytes", bytes},
                  {"read_us", readUs}};
      std::printf("%-28s %-9s %6.1f MB", linears->name().c_str(), name,
                  double(bytes) / 1e6);
      if (device->timer())
        std::printf("  read %7.2f us ", readUs["dependent"].get<double>());
      times(*linears, links, calls, row, [&](int m, double us) {
        singles[{linears->name(), shape, m}] = us;
        std::printf("  M=%d %7.2f", m, us);
      });
      report["shapes"].push_back(row);
    }
    for (const auto &linears : list)
      linears->dropWeights();
  }

  void chain(const LinearsList &list, const ChainKind &kind) {
    std::vector<Link> links = chainOf(kind, options.layers);
    int count[std::size(kShapes)] = {};
    std::vector<size_t> bytes;
    size_t total = 0;
    for (Link link : links) {
      size_t b = list[0]->weightBytes(link.shape);
      if (!b) {
        std::printf("%s has no '%s': the chain '%s' is left out\n",
                    list[0]->name().c_str(), kShapes[link.shape].name, kind.name);
        return;
      }
      bytes.push_back(b);
      total += b;
      count[link.shape] = std::max(count[link.shape], link.copy + 1);
    }
    json readUs = json::object();
    if (device->timer())
      readUs = ceilings(bytes);
    for (const auto &linears : list) {
      for (size_t shape = 0; shape < std::size(kShapes); ++shape)
        if (count[shape])
          linears->makeWeights(int(shape), count[shape]);
      json row = {{"chain", kind.name},
                  {"title", std::string("chain ") + kind.name},
                  {"implementation", linears->name()},
                  {"bytes", total},
                  {"read_us", readUs}};
      std::printf("%-28s %s chain %6.2f GB", linears->name().c_str(), kind.name,
                  double(total) / 1e9);
      if (device->timer())
        std::printf("  read %.3f ms ", readUs["dependent"].get<double>() / 1e3);
      times(*linears, links, 1, row, [&](int m, double us) {
        std::printf("  M=%d %.3f ms (%.3f x read", m, us / 1e3,
                    us / readUs["dependent"].get<double>());
        if (std::optional<double> sum = sumOfShapes(*linears, links, m)) {
          row["sum_us"][std::to_string(m)] = *sum;
          std::printf(", %.3f x sum", us / *sum);
        }
        std::printf(")");
      });
      report["chains"].push_back(row);
    }
    for (const auto &linears : list)
      linears->dropWeights();
  }

  /// What the links take each by itself, if all of them were measured.
  std::optional<double> sumOfShapes(const Linears &linears,
                                    const std::vector<Link> &links, int m) const {
    double sum = 0;
    for (Link link : links) {
      auto found = singles.find({linears.name(), link.shape, m});
      if (found == singles.end())
        return std::nullopt;
      sum += found->second;
    }
    return sum;
  }
};

} // namespace

int ql_gpu_bench(int argc, const char *const *argv, const ql_peer *const *peers,
                 size_t count) {
  Options options;
  options.opened = {peers, count};
  std::set<std::string> shapes, chains;
  for (const Shape &shape : kShapes)
    shapes.insert(shape.name);
  for (const ChainKind &kind : kChains)
    chains.insert(kind.name);
  CLI::App app{"Times compiled quantized linears on a CUDA device, shape by shape "
               "and as chains of one decoded token, against read ceilings and "
               "other projects' kernels; checks the results of every call"};
  app.add_option("--artifact", options.artifacts,
                 "Artifact with a function per shape (layers.py makes its source); "
                 "repeatable");
  app.add_option("--peer", options.peers, "Adapter library (peer.h); repeatable");
  app.add_option("--device", options.device,
                 "cuda, cuda:1; emulated checks results and measures nothing");
  app.add_option("--rows", options.rows, "Values of M")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  app.add_option("--shapes", options.shapes, "Single shapes (default: all)")
      ->delimiter(',')
      ->check(CLI::IsMember(shapes));
  app.add_option("--chains", options.chains, "Chains")
      ->delimiter(',')
      ->check(CLI::IsMember(chains))
      ->capture_default_str();
  app.add_option("--layers", options.layers, "Layers of a chain; a token has 60")
      ->check(CLI::Range(1, kLayers))
      ->capture_default_str();
  app.add_option("--replays", options.replays, "Replays per figure")
      ->check(CLI::PositiveNumber);
  app.add_option("--launches", options.launches,
                 "Calls of a graph, at least; its start is shared by them")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--json", options.out, "Report to write");
  app.add_flag("!--no-shapes", options.withShapes, "Leave out the single shapes");
  app.add_flag("!--no-chain", options.withChains, "Leave out the chains");
  CLI11_PARSE(app, argc, argv);

  Benchmark benchmark(options);
  benchmark.run();
  std::ofstream(options.out) << benchmark.report.dump(1) << "\n";
  return benchmark.isGood() ? 0 : 1;
}
