//===- EncodingTable.cpp - What each encoding costs and keeps -------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// qlinear-encoding-table: quantizes synthetic weights of several families and
// prints, as Markdown, what re-encoding their metadata costs: bits per weight,
// and over the families the median and the worst SNR of the tensor and of the
// worst row. The tables of docs/encodings.md come from it, and with --json FILE the
// data of its plot: every figure for every family, null where it is exact.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Codec.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <random>
#include <string_view>

using namespace qlinear;

namespace {

constexpr uint64_t kN = 512, kK = 4096;

using Random = std::mt19937_64;
double normal(Random &rng) {
  double u = (double(rng() >> 11) + 1) * 0x1p-53;
  double v = double(rng() >> 11) * 0x1p-53;
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v);
}

struct Family {
  const char *name;
  std::function<std::vector<float>(Random &)> make;
};

/// `weight(n, k)` for every weight, `row()` before each row.
template <typename Row, typename Weight>
std::vector<float> fill(Row row, Weight weight) {
  std::vector<float> w(kN * kK);
  for (uint64_t n = 0; n < kN; ++n) {
    row();
    for (uint64_t k = 0; k < kK; ++k)
      w[n * kK + k] = float(0.02 * weight(k));
  }
  return w;
}

std::vector<Family> families() {
  auto none = [] {};
  return {
      {"Gaussian",
       [=](Random &rng) { return fill(none, [&](uint64_t) { return normal(rng); }); }},
      {"log-normal rows",
       [](Random &rng) {
         double size = 1;
         return fill([&] { size = std::exp(normal(rng)); },
                     [&](uint64_t) { return size * normal(rng); });
       }},
      {"Student-t",
       [=](Random &rng) {
         return fill(none, [&](uint64_t) {
           double chi = 0;
           for (int i = 0; i < 4; ++i)
             chi += std::pow(normal(rng), 2);
           return normal(rng) / std::sqrt(chi / 4);
         });
       }},
      {"outlier channels",
       [=](Random &rng) {
         std::vector<double> size(kK, 1);
         for (int i = 0; i < 20; ++i)
           size[rng() % kK] = 10;
         return fill(none, [&, size](uint64_t k) { return size[k] * normal(rng); });
       }},
      {"skewed",
       [=](Random &rng) {
         return fill(none, [&](uint64_t) { return std::exp(0.5 * normal(rng)) - 0.8; });
       }},
      {"embedding-like", [](Random &rng) {
         double size = 1, mean = 0;
         return fill(
             [&] {
               size = std::exp(0.5 * normal(rng));
               mean = 0.3 * normal(rng);
             },
             [&](uint64_t) { return size * (normal(rng) + mean); });
       }}};
}

struct Table {
  const char *title;
  QuantizeOptions options;
  std::vector<const char *> encodings;
  bool bf16Offsets; ///< as sources with bf16 metadata have them
};

std::vector<Table> tables() {
  return {{"int4, group 32, integer zeros",
           {{4, false}, 32, Form::zero},
           {"u4, group = 32, zero, scale = log6 * row<f32>, offset = u4",
            "u4, group = 32, zero, scale = log8 * row<f32>, offset = u4",
            "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u4",
            "u4, group = 32, zero, scale = delta8 * row<bf16>, offset = u4",
            "u4, group = 32, zero, scale = delta10 * row<bf16>, offset = u4",
            "u4, group = 32, zero, scale = delta12 * row<bf16>, offset = u4", "row-u8",
            "block-u8", "bf16", "auto"},
           false},
          {"int4, group 32, float zeros",
           {{4, false}, 32, Form::centred},
           {"u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>",
            "u4, group = 32, centred, scale = u6 * block<256, f16>, offset = i6 * "
            "block<256, f16>",
            "row-u8",
            "u4, group = 32, centred, scale = log8 * row<f32>, offset = i8 * "
            "row<bf16>",
            "u4, group = 32, centred, scale = u8 * block<256, bf16>, offset = i8 * "
            "row<bf16>",
            "block-u8", "bf16", "auto"},
           true},
          {"int4, group 32, mins",
           {{4, false}, 32, Form::min},
           {"u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * "
            "block<256, f16>",
            "row-u8",
            "u4, group = 32, min, scale = log8 * row<f32>, offset = i8 * row<bf16>",
            "block-u8", "bf16", "auto"},
           true},
          {"int4, group 128, integer zeros",
           {{4, false}, 128, Form::zero},
           {"u4, group = 128, zero, scale = log8 * row<f32>, offset = u4",
            "u4, group = 128, zero, scale = delta10 * row<bf16>, offset = u4", "row-u8",
            "bf16", "auto"},
           false},
          {"int6, group 16, symmetric",
           {{6, true}, 16, Form::symmetric},
           {"i6, group = 16, symmetric, scale = log8 * row<f32>",
            "i6, group = 16, symmetric, scale = u8 * row<bf16>", "row-u8", "block-u8",
            "i6, group = 16, symmetric, scale = delta10 * row<bf16>", "bf16", "auto"},
           false}};
}

std::string decibels(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", v);
  return std::isinf(v) && v > 0 ? "exact" : text;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  size_t half = v.size() / 2;
  // Of an even count the lower one: infinities have no mean.
  return v[v.size() % 2 ? half : half - 1];
}

} // namespace

int main(int argc, char **argv) {
  bool json = argc == 3 && std::string_view(argv[1]) == "--json";
  if (argc != 1 && !json) {
    std::fputs("usage: qlinear-encoding-table [--json FILE]\n", stderr);
    return 2;
  }
  nlohmann::ordered_json report; // infinities are written as null
  report["rows"] = kN;
  report["columns"] = kK;
  std::vector<std::vector<float>> weights;
  Random rng(2024);
  std::printf("%llu x %llu weights of each family:", (unsigned long long)kN,
              (unsigned long long)kK);
  for (const Family &f : families()) {
    weights.push_back(f.make(rng));
    report["families"].push_back(f.name);
    std::printf(" %s%s", f.name, weights.size() < families().size() ? "," : ".\n");
  }
  for (const Table &t : tables()) {
    std::printf("\n### %s\n\n| encoding | bits per weight | naive steps, median "
                "dB | searched, median dB | worst family | worst row | "
                "coherent, median dB |\n| --- | --- | --- | --- | --- | --- | "
                "--- |\n",
                t.title);
    std::vector<AffineWeight> quantized;
    for (const auto &w : weights) {
      auto q = quantize(w, kN, kK, t.options);
      if (!q) {
        std::fprintf(stderr, "%s\n", q.error().c_str());
        return 1;
      }
      if (t.bf16Offsets)
        for (float &z : q->offsets)
          z = bf16ToFloat(floatToBf16(z));
      quantized.push_back(std::move(*q));
    }
    nlohmann::ordered_json &source = report["sources"].emplace_back();
    source["title"] = t.title;
    for (const char *name : t.encodings) {
      std::vector<double> naive, snr, row, coherent, bits;
      for (const AffineWeight &w : quantized) {
        SelectionRule rule;
        rule.name = name;
        auto s = select(w, rule);
        if (!s) {
          std::fprintf(stderr, "%s\n", s.error().c_str());
          return 1;
        }
        auto plain = encode(w, s->weight.encoding, {false});
        naive.push_back(measure(w, *plain)->tensorSnr);
        snr.push_back(s->quality.tensorSnr);
        row.push_back(s->quality.worstRowSnr);
        coherent.push_back(s->quality.coherentSnr);
        bits.push_back(s->quality.bitsPerWeight);
      }
      source["encodings"].push_back({{"encoding", name},
                                     {"bits_per_weight", bits},
                                     {"naive_snr_db", naive},
                                     {"snr_db", snr},
                                     {"worst_row_snr_db", row},
                                     {"coherent_snr_db", coherent}});
      auto [least, most] = std::minmax_element(bits.begin(), bits.end());
      char range[64];
      std::snprintf(range, sizeof range, *least == *most ? "%.3f" : "%.3f to %.3f",
                    *least, *most);
      std::string text = name;
      size_t at = text.find(", scale");
      if (at != std::string::npos) // the table's title says the rest
        text = text.substr(text.rfind(' ', at - 1) + 1);
      std::printf("| `%s` | %s | %s | %s | %s | %s | %s |\n", text.c_str(), range,
                  decibels(median(naive)).c_str(), decibels(median(snr)).c_str(),
                  decibels(*std::min_element(snr.begin(), snr.end())).c_str(),
                  decibels(*std::min_element(row.begin(), row.end())).c_str(),
                  decibels(median(coherent)).c_str());
    }
  }
  if (json) {
    std::ofstream file(argv[2]);
    file << report.dump(1) << "\n";
    if (!file.flush()) {
      std::fprintf(stderr, "cannot write '%s'\n", argv[2]);
      return 1;
    }
  }
  return 0;
}
