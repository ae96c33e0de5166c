//===- model.h - Gemma 3 on compiled linear layers --------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_EXAMPLES_LLM_MODEL_H
#define QLINEAR_EXAMPLES_LLM_MODEL_H

#include "attention.h"
#include "linears.h"

#include <tbb/task_arena.h>

/// The sizes of a model, from its GGUF file.
struct Sizes {
  explicit Sizes(const nlohmann::json &gguf);

  int layers, width, inner, heads, kvHeads, headSize;
  int window;           ///< how many tokens a local layer sees, its own included
  int context;          ///< how many tokens the model was made for
  float epsilon;        ///< of norms
  double base, spread;  ///< of rotary embeddings of global layers
  bool isGlobal(int layer) const { return layer % 6 == 5; }
};

class Model {
public:
  static constexpr int kMaxRows = 512; ///< tokens that go through the layers together
  static constexpr int kMaxLogits = 32;

  Model(const Sizes &sizes, const std::string &artifact, int threads, int context);

  /// Reads up to kMaxRows more tokens of the text.
  void read(std::span<const int32_t> tokens);
  /// The logits of what comes after each of `count` of the tokens of the last read().
  std::span<const float> logits(int first, int count);
  /// Forgets the text.
  void clear() { position = 0; }

  const Linears &weights() const { return linears; }
  int vocabulary;

private:
  struct Block {
    std::vector<float> attentionNorm, queryNorm, keyNorm, afterAttention, innerNorm,
        afterInner;
    Linear qkv, output, gateUp, down;
    std::vector<Memory> memory; ///< for each head of keys
  };
  Block block(int layer, int context) const;
  void attend(int layer, int rows);
  /// For each row, on all threads.
  template <typename F> void each(int rows, const F &body);
  void norm(const float *x, const std::vector<float> &weight, float *y) const;
  void rotate(float *head, const float *turns) const;

  Sizes sizes;
  Linears linears;
  tbb::task_arena arena;
  std::vector<Block> blocks;
  std::vector<float> lastNorm;
  Linear head;
  int position = 0, context;
  /// Of each row: the residual, what goes into a linear, and what comes out.
  std::vector<float> x, normed, q, k, v, attended, inner, out;
  std::vector<float> turns[2]; ///< cosines and sines: of local layers, of global ones
  std::vector<float> scores;   ///< logits
};

#endif
