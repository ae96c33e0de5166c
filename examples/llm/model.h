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

#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

/// The sizes of a model, from its GGUF file.
struct Sizes {
  explicit Sizes(const nlohmann::json &gguf) {
    auto architecture = gguf.value("general.architecture", "none");
    if (architecture != "gemma3")
      throw std::runtime_error("the model's architecture is '" + architecture +
                               "', and this program has the norms and the attention of "
                               "'gemma3' alone; quant-run and Python call its layers");
    auto get = [&](const char *key) { return gguf.at(std::string("gemma3.") + key); };
    layers = get("block_count");
    width = get("embedding_length");
    inner = get("feed_forward_length");
    heads = get("attention.head_count");
    keyHeads = get("attention.head_count_kv");
    headSize = get("attention.key_length");
    window = get("attention.sliding_window");
    context = get("context_length");
    epsilon = get("attention.layer_norm_rms_epsilon");
    base = gguf.value("gemma3.rope.freq_base", 1e6);
    spread = gguf.value("gemma3.rope.scaling.factor", 1.0);
    if (layers < 1 || width < 1 || heads < 1 || keyHeads < 1 || heads % keyHeads ||
        width % kLanes || headSize < 1 || headSize % Memory::kMultiple || window < 1 ||
        headSize != get("attention.value_length"))
      throw std::runtime_error(
          "this program needs heads of a multiple of 64, as many as, or a multiple of, "
          "those of keys, and embeddings of a multiple of 16");
    if (layers == 62) // 27B alone; GGUF has no key for it
      throw std::runtime_error("Gemma 3 27B scales its queries otherwise, which this "
                               "program does not do; take a smaller one");
  }
  bool isGlobal(int layer) const { return layer % 6 == 5; }

  int layers, width, inner, heads, keyHeads, headSize;
  int window;          ///< how many tokens a local layer sees, its own included
  int context;         ///< how many tokens the model was made for
  float epsilon;       ///< of norms
  double base, spread; ///< of rotary embeddings of global layers
};

class Model {
public:
  static constexpr int kMaxRows = 512; ///< tokens that go through the layers together
  static constexpr int kMaxLogits = 32;

  Model(const Sizes &sizes, const std::string &artifact, int threads)
      : sizes(sizes), linears(artifact, threads),
        arena(threads ? threads : tbb::task_arena::automatic),
        embeddings(linears.weight("token_embd.weight")), words(int(embeddings.n)),
        lastNorm(linears.floats("output_norm.weight", sizes.width)),
        head(linears.module(), "token_embd", sizes.width, {words}, kMaxLogits) {
    for (int i = 0; i < sizes.layers; ++i)
      blocks.push_back(block(i));
    auto resize = [](int width, auto &...rows) {
      (rows.resize(size_t(kMaxRows) * width), ...);
    };
    resize(sizes.width, x, normed, out);
    resize(sizes.heads * sizes.headSize, q, attended);
    resize(sizes.keyHeads * sizes.headSize, k, v);
    resize(sizes.headSize, turns[0], turns[1]);
    resize(sizes.inner, inner);
  }

  /// Reads up to kMaxRows more tokens of the text.
  void read(std::span<const int32_t> tokens) {
    int rows = int(tokens.size());
    if (rows > kMaxRows || position + rows > sizes.context)
      throw std::runtime_error("the text is longer than the " +
                               std::to_string(sizes.context) +
                               " tokens that the model was made for");
    embed(tokens);
    each(rows, [&](int row) { norm(at(x, row), blocks[0].before, at(normed, row)); });
    for (int i = 0; i < sizes.layers; ++i) {
      Block &b = blocks[i];
      b.qkv(rows, normed.data(), {q.data(), k.data(), v.data()});
      attend(i, rows);
      b.output(rows, attended.data(), {out.data()});
      add(rows, b.after, b.beforeInner);
      b.gateUp(rows, normed.data(), {inner.data()});
      b.down(rows, inner.data(), {out.data()});
      add(rows, b.afterInner, i + 1 < sizes.layers ? blocks[i + 1].before : lastNorm);
    }
    position += rows;
  }

  /// The logits of what comes after each of up to kMaxLogits tokens of the last read().
  std::span<const float> logits(int first, int count) {
    scores.resize(size_t(count) * words);
    head(count, at(normed, first), {scores.data()});
    return scores;
  }

  /// How many logits there are for a token.
  int vocabulary() const { return words; }
  std::string target() const { return linears.target(); }

private:
  struct Block {
    std::vector<float> before, query, key, after, beforeInner, afterInner; ///< norms
    Linear qkv, output, gateUp, down;
    std::vector<Memory> memory; ///< for each head of keys
  };

  Block block(int layer) {
    std::string number = std::to_string(layer);
    auto norm = [&](const char *part, int size) {
      return linears.floats("blk." + number + "." + part + ".weight", size);
    };
    auto linear = [&](const char *part, int from, std::vector<int64_t> to) {
      return Linear(linears.module(), "blk_" + number + "_" + part, from, std::move(to),
                    kMaxRows);
    };
    int width = sizes.width, all = sizes.heads * sizes.headSize,
        keys = sizes.keyHeads * sizes.headSize;
    return {norm("attn_norm", width),
            norm("attn_q_norm", sizes.headSize),
            norm("attn_k_norm", sizes.headSize),
            norm("post_attention_norm", width),
            norm("ffn_norm", width),
            norm("post_ffw_norm", width),
            linear("attn_qkv", width, {all, keys, keys}),
            linear("attn_output", all, {width}),
            linear("ffn_gate_up", width, {sizes.inner}),
            linear("ffn_down", sizes.inner, {width}),
            std::vector(sizes.keyHeads, Memory(sizes.headSize))};
  }

  /// Embeddings of the tokens, and the angles of their places in the text.
  void embed(std::span<const int32_t> tokens) {
    std::vector<int64_t> ids(tokens.begin(), tokens.end());
    Linears::rows(embeddings, ids, x.data());
    for (size_t i = 0; i < ids.size() * sizes.width; ++i)
      x[i] *= std::sqrt(float(sizes.width));
    int half = sizes.headSize / 2;
    for (int global = 0; global < 2; ++global)
      for (int i = 0; i < half; ++i) {
        double speed = global ? std::pow(sizes.base, -double(i) / half) / sizes.spread
                              : std::pow(1e4, -double(i) / half);
        for (int row = 0; row < int(ids.size()); ++row) {
          at(turns[global], row)[i] = float(std::cos((position + row) * speed));
          at(turns[global], row)[i + half] = float(std::sin((position + row) * speed));
        }
      }
  }

  /// From q, k, v of the rows to `attended`.
  void attend(int layer, int rows) {
    Block &b = blocks[layer];
    int size = sizes.headSize, group = sizes.heads / sizes.keyHeads;
    for (Memory &memory : b.memory)
      memory.grow(position + rows);
    each(rows, [&](int row) {
      const float *turn = at(turns[sizes.isGlobal(layer)], row);
      for (int h = 0; h < sizes.heads; ++h) {
        float *query = at(q, row) + h * size;
        norm(query, b.query, query);
        rotate(query, turn, 1 / std::sqrt(float(size)));
      }
      for (int h = 0; h < sizes.keyHeads; ++h) {
        float *key = at(k, row) + h * size;
        norm(key, b.key, key);
        rotate(key, turn, 1);
        b.memory[h].put(position + row, key, at(v, row) + h * size);
      }
    });
    each(rows, [&](int row) {
      int last = position + row;
      int first = sizes.isGlobal(layer) ? 0 : std::max(0, last + 1 - sizes.window);
      for (int h = 0; h < sizes.heads; h += group)
        for (int i = h; i < h + group; i += Memory::kQueries)
          b.memory[h / group].attend(at(q, row) + i * size, h + group - i, first, last,
                                     at(attended, row) + i * size);
    });
  }

  /// Adds the norm of a part's result to x. The next part takes the norm of the sum.
  void add(int rows, const std::vector<float> &after, const std::vector<float> &next) {
    each(rows, [&](int row) {
      float *residual = at(x, row), *result = at(out, row);
      norm(result, after, result);
      for (int i = 0; i < sizes.width; ++i)
        residual[i] += result[i];
      norm(residual, next, at(normed, row));
    });
  }

  /// y = x / sqrt(mean(x²) + epsilon) * weight.
  void norm(const float *x, const std::vector<float> &weight, float *y) const {
    int size = int(weight.size());
    Vec sums = {};
    for (int i = 0; i < size; i += kLanes) {
      Vec part;
      std::memcpy(&part, x + i, sizeof part);
      sums += part * part;
    }
    double sum = 0;
    for (int i = 0; i < kLanes; ++i)
      sum += sums[i];
    float scale = 1 / std::sqrt(float(sum / size) + sizes.epsilon);
    for (int i = 0; i < size; ++i)
      y[i] = x[i] * scale * weight[i];
  }

  /// Rotary embedding: turns pairs of the two halves of a head.
  void rotate(float *head, const float *turn, float scale) const {
    int half = sizes.headSize / 2;
    for (int i = 0; i < half; ++i) {
      float a = head[i] * scale, b = head[i + half] * scale;
      head[i] = a * turn[i] - b * turn[i + half];
      head[i + half] = b * turn[i] + a * turn[i + half];
    }
  }

  static float *at(std::vector<float> &rows, int row) {
    return &rows[rows.size() / kMaxRows * row];
  }

  template <typename F> void each(int rows, const F &body) {
    if (rows == 1) // threads would cost more than they do
      return body(0);
    arena.execute([&] { tbb::parallel_for(0, rows, body); });
  }

  Sizes sizes;
  Linears linears;
  tbb::task_arena arena;
  int position = 0;

  const qlr_weight embeddings;
  const int words;
  std::vector<Block> blocks;
  std::vector<float> lastNorm;
  Linear head;
  /// Of each row: the residual, what goes into a linear, and what comes out.
  std::vector<float> x, normed, q, k, v, attended, inner, out;
  std::vector<float> turns[2]; ///< cosines and sines: of local layers, of global ones
  std::vector<float> scores;   ///< logits
};

#endif
