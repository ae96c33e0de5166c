//===- Main.cpp - Quantized linears on a GPU, against peers and ceilings --===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// All times are medians over replays of a CUDA graph. Single shapes rotate over
// enough copies of the weight that none is in the L2 cache when its turn comes;
// the chain has every weight of a token. Compare figures of one run only.
//
//===----------------------------------------------------------------------===//
#include "Ceilings.h"
#include "GraphTimer.h"
#include "Linears.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

using namespace bench;
using nlohmann::json;

static constexpr int kLaunches = 48; ///< of a graph at least: its start is shared
static constexpr int kMaxRows = 8, kMaxK = 21504, kMaxN = 262144;

void bench::check(cudaError_t status, const char *what) {
  if (status == cudaSuccess)
    return;
  std::fprintf(stderr, "error: %s: %s\n", what, cudaGetErrorString(status));
  std::exit(1);
}

static std::vector<float> randomActivations() {
  std::mt19937 rng(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(size_t(kMaxRows) * kMaxK);
  for (float &v : x)
    v = normal(rng);
  return x;
}

Activations::Activations()
    : bf16(size_t(kMaxRows) * kMaxK * 2), f32(size_t(kMaxRows) * kMaxK * 4),
      int8(size_t(kMaxRows) * kMaxK * 2), result(size_t(kMaxRows) * kMaxN * 4) {
  std::vector<float> x = randomActivations();
  std::vector<uint16_t> half(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    half[i] = uint16_t(std::bit_cast<uint32_t>(x[i]) >> 16);
    x[i] = std::bit_cast<float>(uint32_t(half[i]) << 16);
  }
  CHECK_CUDA(cudaMemcpy(f32.get(), x.data(), x.size() * 4, cudaMemcpyDefault));
  CHECK_CUDA(
      cudaMemcpy(bf16.get(), half.data(), half.size() * 2, cudaMemcpyDefault));
  // Codes and records alike: the time does not depend on the values.
  CHECK_CUDA(
      cudaMemcpy(int8.get(), half.data(), half.size() * 2, cudaMemcpyDefault));
}

namespace {

/// Microseconds.
class Timer {
  std::unique_ptr<qlinear::timing::GraphTimer> graphs;
  size_t replays;

  template <typename T> static T checked(qlinear::Result<T> result) {
    if (!result) {
      std::fprintf(stderr, "error: %s\n", result.error().c_str());
      std::exit(1);
    }
    return std::move(*result);
  }

public:
  explicit Timer(int replays)
      : graphs(checked(qlinear::timing::GraphTimer::open("cuda"))),
        replays(size_t(replays)) {}

  /// Median time of one replay of what `enqueue` enqueues; negative if it returns false.
  double operator()(const std::function<bool(cudaStream_t)> &enqueue) {
    bool supported = true;
    auto stream = reinterpret_cast<cudaStream_t>(graphs->stream());
    auto timing = graphs->time({replays, replays, 0}, [&]() -> qlinear::Result<void> {
      supported = enqueue(stream);
      if (!supported)
        return qlinear::error("not supported");
      return {};
    });
    return supported ? checked(std::move(timing)).median * 1e6 : -1;
  }
};

struct Options {
  std::vector<std::string> artifacts, peers;
  std::vector<int> rows = {1, 2, 4, 8};
  std::string out = "gpu.json";
  int replays = 11;
  bool shapes = true, chain = true;
};

class Benchmark {
  const Options &options;
  Timer timer;
  Activations x;
  int multiprocessors = 0;
  uint32_t *sink = nullptr;

public:
  json report;

  explicit Benchmark(const Options &options)
      : options(options), timer(options.replays) {
    cudaDeviceProp device;
    CHECK_CUDA(cudaGetDeviceProperties(&device, 0));
    int driver = 0;
    CHECK_CUDA(cudaDriverGetVersion(&driver));
    multiprocessors = device.multiProcessorCount;
    CHECK_CUDA(cudaMalloc(&sink, 4));
    report["device"] = device.name;
    report["driver"] = driver;
    report["multiprocessors"] = multiprocessors;
  }

  double read(ReadMethod method, const Buffer &data,
              const std::vector<size_t> &bytes, int rounds) {
    double us = timer([&](cudaStream_t stream) {
      for (int round = 0; round < rounds; ++round) {
        size_t at = 0;
        for (size_t b : bytes) {
          CHECK_CUDA(enqueueRead(method, (const char *)data.get() + at, b,
                                 multiprocessors, sink, stream));
          at += (b + 127) / 128 * 128;
        }
      }
      return true;
    });
    return us / rounds;
  }

  /// Reads of the sizes of `bytes`, one after the other: microseconds for all.
  json ceilings(const std::vector<size_t> &bytes) {
    size_t total = 0;
    for (size_t b : bytes)
      total += (b + 127) / 128 * 128;
    Buffer data(total);
    CHECK_CUDA(cudaMemset(data.get(), 0x5A, total));
    int rounds = roundsOf(bytes.size());
    return {{"plain", read(ReadMethod::plain, data, bytes, rounds)},
            {"dependent", read(ReadMethod::dependent, data, bytes, rounds)},
            {"independent", read(ReadMethod::independent, data, bytes, rounds)}};
  }

  static int roundsOf(size_t launches) {
    return int((kLaunches + launches - 1) / launches);
  }

  static int rotation(size_t bytes) {
    return int(qlinear::timing::copiesPastCaches(bytes));
  }

  void copyRate() {
    size_t bytes = size_t(1) << 30;
    Buffer from(bytes), to(bytes);
    CHECK_CUDA(cudaMemset(from.get(), 0x5A, bytes));
    double us = timer([&](cudaStream_t stream) {
      CHECK_CUDA(enqueueCopy(from.get(), to.get(), bytes, multiprocessors, stream));
      return true;
    });
    report["copy"] = {{"bytes", 2 * bytes}, {"us", us}};
    std::printf("device-to-device copy: %.0f GB/s\n", 2e-3 * bytes / us);
  }

  void shapes(Linears &linears) {
    for (size_t shape = 0; shape < std::size(kShapes); ++shape) {
      size_t bytes = linears.weightBytes(int(shape));
      if (!bytes)
        continue;
      int copies = rotation(bytes);
      linears.makeWeights(int(shape), copies);
      int rounds = roundsOf(copies);
      json read = ceilings(std::vector<size_t>(copies, bytes));
      for (auto &item : read)
        item = item.get<double>() / copies;
      json row = {{"shape", kShapes[shape].name},
                  {"implementation", linears.name()},
                  {"bytes", bytes},
                  {"read_us", read}};
      std::printf("%-28s %-9s %6.1f MB  read %7.2f us ", linears.name().c_str(),
                  kShapes[shape].name, bytes / 1e6,
                  row["read_us"]["dependent"].get<double>());
      for (int m : options.rows) {
        double us = timer([&](cudaStream_t stream) {
          for (int i = 0; i < copies * rounds; ++i)
            if (!linears.enqueue({int(shape), i % copies}, m, x, stream))
              return false;
          return true;
        });
        if (us >= 0) {
          us /= copies * rounds;
          row["us"][std::to_string(m)] = us;
          std::printf("  M=%d %7.2f", m, us);
        }
      }
      std::printf("\n");
      std::fflush(stdout);
      report["shapes"].push_back(row);
      linears.dropWeights();
    }
  }

  void chain(Linears &linears) {
    std::vector<Link> links = decodeChain();
    int count[std::size(kShapes)] = {};
    std::vector<size_t> bytes;
    size_t total = 0;
    for (Link link : links) {
      size_t b = linears.weightBytes(link.shape);
      if (!b)
        return;
      bytes.push_back(b);
      total += b;
      count[link.shape] = std::max(count[link.shape], link.copy + 1);
    }
    json read = ceilings(bytes);
    for (size_t shape = 0; shape < std::size(kShapes); ++shape)
      if (count[shape])
        linears.makeWeights(int(shape), count[shape]);
    json row = {{"implementation", linears.name()}, {"bytes", total}, {"read_us", read}};
    double dependent = read["dependent"];
    std::printf("%-28s chain %6.2f GB  read %.3f ms ", linears.name().c_str(),
                total / 1e9, dependent / 1e3);
    for (int m : options.rows) {
      double us = timer([&](cudaStream_t stream) {
        for (Link link : links)
          if (!linears.enqueue(link, m, x, stream))
            return false;
        return true;
      });
      if (us >= 0) {
        row["us"][std::to_string(m)] = us;
        std::printf("  M=%d %.3f ms (%.3f x read)", m, us / 1e3, us / dependent);
      }
    }
    std::printf("\n");
    std::fflush(stdout);
    report["chains"].push_back(row);
    linears.dropWeights();
  }

  void run() {
    copyRate();
    std::vector<std::function<std::unique_ptr<Linears>()>> openers;
    for (const std::string &path : options.artifacts)
      for (bool quantized : {false, true})
        openers.push_back([=] { return openArtifact(path, quantized); });
    for (const std::string &path : options.peers)
      openers.push_back([=] { return openPeer(path); });
    if (options.chain)
      for (auto &open : openers)
        chain(*open());
    if (options.shapes)
      for (auto &open : openers)
        shapes(*open());
  }
};

} // namespace

int main(int argc, char **argv) {
  Options options;
  CLI::App app{"Times compiled quantized linears on a CUDA device, shape by shape "
               "and as the chain of one decoded token, against read ceilings and "
               "other projects' kernels"};
  app.add_option("--artifact", options.artifacts,
                 "Artifact with a function per shape (layers.py makes its source); "
                 "repeatable");
  app.add_option("--peer", options.peers, "Adapter library (peer.h); repeatable");
  app.add_option("--rows", options.rows, "Values of M")->delimiter(',');
  app.add_option("--replays", options.replays, "Replays per figure")
      ->check(CLI::PositiveNumber);
  app.add_option("--json", options.out, "Report to write");
  app.add_flag("!--no-shapes", options.shapes, "Leave out the single shapes");
  app.add_flag("!--no-chain", options.chain, "Leave out the chain");
  CLI11_PARSE(app, argc, argv);

  Benchmark benchmark(options);
  benchmark.run();
  std::ofstream(options.out) << benchmark.report.dump(1) << "\n";
  return 0;
}
