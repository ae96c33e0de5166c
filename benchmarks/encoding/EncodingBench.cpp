//===- EncodingBench.cpp - Throughput of the codecs on one core -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// qlinear-encoding-bench: bytes of the source per second, on one thread. The
// source of select() is a weight with bf16 metadata (5 bits per weight at int4,
// group 32), that of quantize() the f32 weights, that of pack() and unpack()
// the blob.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Codec.h"

#include <benchmark/benchmark.h>
#include <cmath>
#include <cstdio>
#include <random>
#include <tbb/global_control.h>

using namespace qlinear;

namespace {

constexpr uint64_t kN = 2048, kK = 5376;

struct Source {
  const char *name;
  CodeType codes;
  unsigned group;
  Form form;
  bool integerZeros;
};
constexpr Source kSources[] = {
    {"int4 g32 integer zeros", {4, false}, 32, Form::zero, true},
    {"int4 g32 float zeros", {4, false}, 32, Form::zero, false},
    {"int4 g32 mins", {4, false}, 32, Form::min, false},
    {"int4 g128 integer zeros", {4, false}, 128, Form::zero, true},
    {"int6 g16 symmetric", {6, true}, 16, Form::symmetric, false},
    {"int8 g32 symmetric", {8, true}, 32, Form::symmetric, false}};

AffineWeight makeWeight(const Source &s) {
  std::mt19937_64 rng(1);
  std::lognormal_distribution<float> scale(-5, 0.4f);
  std::normal_distribution<float> normal;
  AffineWeight w{kN, kK, s.codes, s.group, s.form, {}, {}, {}};
  w.fields.resize(kN * kK);
  for (uint8_t &f : w.fields)
    f = uint8_t(rng() & ((1u << s.codes.bits) - 1));
  float half = float(1 << (s.codes.bits - 1));
  auto bf16 = [](float v) { return bf16ToFloat(floatToBf16(v)); };
  for (uint64_t i = 0; i < kN * w.groups(); ++i) {
    w.scales.push_back(bf16(scale(rng)));
    float z = half + half / 8 * normal(rng);
    if (s.form == Form::symmetric)
      continue;
    w.offsets.push_back(s.integerZeros        ? std::nearbyint(z)
                        : s.form == Form::min ? bf16(z * w.scales.back())
                                              : bf16(z));
  }
  return w;
}

/// Bytes of the weight with bf16 metadata.
int64_t sourceBytes(const Source &s) {
  unsigned metadata = s.form == Form::symmetric ? 2 : 4;
  return int64_t(kN * kK * s.codes.bits / 8 + kN * kK / s.group * metadata);
}

void runSelect(benchmark::State &state, Source source, const char *rule) {
  AffineWeight w = makeWeight(source);
  SelectionRule r;
  r.name = rule;
  std::string label;
  for (auto _ : state) {
    auto s = select(w, r);
    if (!s)
      return state.SkipWithError(s.error().c_str());
    label = s->name;
    benchmark::DoNotOptimize(s->weight.scaleFields.data());
  }
  state.SetLabel(label);
  state.SetBytesProcessed(int64_t(state.iterations()) * sourceBytes(source));
}

void runPack(benchmark::State &state, Source source, const char *name, bool unpacking) {
  AffineWeight w = makeWeight(source);
  Encoding e = *namedEncoding(name, w.codes, w.group, w.form);
  EncodedWeight coded = *encode(w, e);
  std::vector<std::byte> blob(layoutOf(e, kN, kK).bytes());
  auto ok = pack(coded, blob);
  for (auto _ : state)
    if (unpacking) {
      auto back = unpack(e, kN, kK, blob);
      benchmark::DoNotOptimize(back->fields.data());
    } else {
      ok = pack(coded, blob);
      benchmark::ClobberMemory();
    }
  if (!ok)
    state.SkipWithError(ok.error().c_str());
  state.SetBytesProcessed(int64_t(state.iterations()) * int64_t(blob.size()));
}

void runDequantize(benchmark::State &state, Source source) {
  AffineWeight w = makeWeight(source);
  for (auto _ : state) {
    auto values = dequantize(w);
    benchmark::DoNotOptimize(values->data());
  }
  state.SetBytesProcessed(int64_t(state.iterations()) * int64_t(kN * kK * 4));
}

void runQuantize(benchmark::State &state, Source source, bool search) {
  std::mt19937_64 rng(1);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> w(256 * kK);
  for (float &v : w)
    v = normal(rng);
  for (auto _ : state) {
    auto q = quantize(w, 256, kK, {source.codes, source.group, source.form, search});
    benchmark::DoNotOptimize(q->fields.data());
  }
  state.SetBytesProcessed(int64_t(state.iterations()) * int64_t(w.size() * 4));
}

} // namespace

int main(int argc, char **argv) {
  tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
  auto add = [](std::string name, auto run) {
    benchmark::RegisterBenchmark(name.c_str(), run)->Unit(benchmark::kMillisecond);
  };
  for (const Source &s : kSources) {
    std::string name = s.name;
    for (const char *rule : {"auto", "lossless", "row-u8"})
      add("select/" + name + "/" + rule,
          [=](benchmark::State &state) { runSelect(state, s, rule); });
    for (bool unpacking : {false, true})
      add((unpacking ? "unpack/" : "pack/") + name + "/row-u8",
          [=](benchmark::State &state) { runPack(state, s, "row-u8", unpacking); });
    add("dequantize/" + name,
        [=](benchmark::State &state) { runDequantize(state, s); });
    for (bool search : {false, true})
      add("quantize/" + name + (search ? "/search" : "/min-max"),
          [=](benchmark::State &state) { runQuantize(state, s, search); });
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
