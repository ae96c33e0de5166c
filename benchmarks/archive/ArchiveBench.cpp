//===- ArchiveBench.cpp - Throughput of packing checkpoints ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// qlinear-archive-bench: bytes of the source per second, on one thread.
//   pack/Q4_K     GGUF blocks to the native layout, in memory: what quant-pack
//                 computes per tensor
//   file/Q4_K     the same from file to file, as quant-pack does it: with the
//                 system's work of reading and writing (TMPDIR decides where)
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Packer.h"

#include <benchmark/benchmark.h>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <tbb/global_control.h>
#include <unistd.h>

using namespace qlinear;

namespace {

constexpr uint64_t kN = 21504, kK = 5376;

struct Format {
  const char *name;
  uint32_t id, block, bytes;
  std::initializer_list<size_t> floats; ///< where a block has f16 numbers
} const kFormats[] = {{"Q4_0", 2, 32, 18, {0}},
                      {"Q8_0", 8, 32, 34, {0}},
                      {"Q4_K", 12, 256, 144, {0, 2}},
                      {"Q5_K", 13, 256, 176, {0, 2}},
                      {"Q6_K", 14, 256, 210, {208}}};

/// A GGUF file of one weight with random blocks.
std::string makeFile(const Format &f) {
  std::string path = (std::filesystem::temp_directory_path() /
                      ("qlinear-bench-" + std::to_string(getpid()) + ".gguf"))
                         .string();
  std::string bytes = "GGUF";
  auto put = [&](auto v) {
    bytes.append(reinterpret_cast<const char *>(&v), sizeof v);
  };
  put(uint32_t(3)), put(uint64_t(1)), put(uint64_t(0));
  put(uint64_t(1)), bytes += "w", put(uint32_t(2)), put(kK), put(kN);
  put(f.id), put(uint64_t(0));
  bytes.resize((bytes.size() + 31) / 32 * 32);
  size_t start = bytes.size(), size = kN * kK / f.block * f.bytes;
  bytes.resize(start + size);
  std::mt19937_64 rng(1);
  for (size_t i = start; i + 8 <= bytes.size(); i += 8) {
    uint64_t v = rng();
    std::memcpy(bytes.data() + i, &v, 8);
  }
  for (size_t i = start; i < bytes.size(); i += f.bytes)
    for (size_t at : f.floats)
      bytes[i + at + 1] &= char(0xBB); // finite
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

/// The checkpoint, and the file removed at the end.
struct Source {
  std::string path;
  Checkpoint checkpoint;
  explicit Source(const Format &f)
      : path(makeFile(f)), checkpoint(*Checkpoint::open(path)) {}
  ~Source() { std::filesystem::remove(path); }
};

void packInMemory(benchmark::State &state, const Format &f) {
  Source source(f);
  const Tensor &t = source.checkpoint.tensors()[0];
  std::vector<std::byte> blob(layoutOf(*ggufEncoding(f.name), kN, kK).bytes());
  for (auto _ : state)
    if (auto r = packGguf(t, blob); !r)
      state.SkipWithError(r.error().c_str());
  state.SetBytesProcessed(int64_t(state.iterations() * t.bytes.size()));
}

void packFile(benchmark::State &state, const Format &f) {
  Source source(f);
  auto inventory = takeInventory(source.checkpoint);
  std::string out = source.path + ".safetensors";
  for (auto _ : state)
    if (auto r = packArchive(source.checkpoint, *inventory, out, {}); !r)
      state.SkipWithError(r.error().c_str());
  std::filesystem::remove(out);
  state.SetBytesProcessed(
      int64_t(state.iterations() * source.checkpoint.tensors()[0].bytes.size()));
}

} // namespace

int main(int argc, char **argv) {
  tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
  for (const Format &f : kFormats) {
    std::string name = f.name;
    benchmark::RegisterBenchmark(("pack/" + name).c_str(), packInMemory, f)
        ->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(("file/" + name).c_str(), packFile, f)
        ->Unit(benchmark::kMillisecond)
        ->MeasureProcessCPUTime();
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 1;
  benchmark::RunSpecifiedBenchmarks();
}
