//===- Workload.h - The linears of one decoded token ------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// gemma4-31B: 50 layers with a sliding window, 10 with global attention, and the
// output head. int4 with groups of 32, the head int6 with groups of 16.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_BENCHMARKS_GPU_WORKLOAD_H
#define QLINEAR_BENCHMARKS_GPU_WORKLOAD_H

#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <vector>

namespace bench {

struct Shape {
  const char *name; ///< also the function's name in the artifact
  int64_t n, k;
  int codes; ///< 4 (int4 group 32) or 6 (int6 group 16)
};

inline constexpr Shape kShapes[] = {
    {"qkv", 16384, 5376, 4},     {"o", 5376, 8192, 4},
    {"gate_up", 43008, 5376, 4}, {"down", 5376, 21504, 4},
    {"qk", 18432, 5376, 4},      {"o_global", 5376, 16384, 4},
    {"kv", 4096, 5376, 4},       {"lm_head", 262144, 5376, 6},
    {"q", 8192, 5376, 4},        {"gate", 21504, 5376, 4},
    {"k_global", 2048, 5376, 4},
};
enum ShapeIndex {
  kQkv,
  kO,
  kGateUp,
  kDown,
  kQk,
  kOGlobal,
  kKv,
  kLmHead,
  kQ,
  kGate,
  kKGlobal
};

/// One linear of a chain: its shape, and which copy of that shape's weight.
struct Link {
  int shape, copy;
};

/// The linears of one token in some order. Every weight is a copy of its own, so a
/// token reads all of them from memory, as decoding does.
struct ChainKind {
  const char *name;
  bool unfused; ///< q, k, v, gate and up by themselves
  bool grouped; ///< the global layers after all others, not every sixth as in the model
};
inline constexpr ChainKind kChains[] = {{"interleaved", false, false},
                                        {"grouped", false, true},
                                        {"unfused", true, false},
                                        {"unfused-grouped", true, true}};

inline constexpr int kLayers = 60;

/// With fewer layers than a token has, as many of them are global in proportion.
inline std::vector<Link> chainOf(const ChainKind &kind, int layers = kLayers) {
  std::vector<Link> chain;
  int used[std::size(kShapes)] = {};
  auto add = [&](std::initializer_list<int> shapes) {
    for (int shape : shapes)
      chain.push_back({shape, used[shape]++});
  };
  for (int layer = 0; layer < layers; ++layer) {
    bool global = kind.grouped ? layer >= layers - layers / 6 : layer % 6 == 5;
    if (!kind.unfused)
      add({global ? kQk : kQkv, global ? kOGlobal : kO, kGateUp, kDown});
    else if (global) // q has the shape of a sliding layer's q, k and v; v is k
      add({kQkv, kKGlobal, kOGlobal, kGate, kGate, kDown});
    else
      add({kQ, kKv, kKv, kO, kGate, kGate, kDown});
  }
  add({kLmHead});
  return chain;
}

} // namespace bench
#endif
