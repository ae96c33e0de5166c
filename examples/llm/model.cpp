//===- model.cpp - Gemma 3 on compiled linear layers ----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "model.h"

#include <stdexcept>
#include <tbb/parallel_for.h>

using nlohmann::json;

Sizes::Sizes(const json &gguf) {
  auto architecture = gguf.value("general.architecture", "none");
  if (architecture != "gemma3")
    throw std::runtime_error("the model's architecture is '" + architecture +
                             "'; this program has the norms and the attention of "
                             "'gemma3' alone, see README.md");
  auto get = [&](const std::string &key) { return gguf.at("gemma3." + key); };
  layers = get("block_count");
  width = get("embedding_length");
  inner = get("feed_forward_length");
  heads = get("attention.head_count");
  kvHeads = get("attention.head_count_kv");
  headSize = get("attention.key_length");
  window = get("attention.sliding_window");
  context = get("context_length");
  epsilon = get("attention.layer_norm_rms_epsilon");
  base = gguf.value("gemma3.rope.freq_base", 1e6);
  spread = gguf.value("gemma3.rope.scaling.factor", 1.0);
  if (layers < 1 || width < 1 || heads < 1 || kvHeads < 1 || heads % kvHeads ||
      width % kLanes || headSize < 1 || headSize % Memory::kMultiple || window < 1 ||
      headSize != get("attention.value_length"))
    throw std::runtime_error(
        "the sizes of this model do not fit: heads of a multiple of 64, their number "
        "one of that of heads of keys, embeddings of a multiple of 16 are needed");
  if (layers == 62) // Gemma 3 27B alone; GGUF has no key for it
    throw std::runtime_error("Gemma 3 27B scales its queries otherwise, which this "
                             "program does not do; take a smaller one");
}

Model::Model(const Sizes &sizes, const std::string &artifact, int threads, int context)
    : vocabulary(0), sizes(sizes), linears(artifact, threads),
      arena(threads ? threads : tbb::task_arena::automatic),
      lastNorm(linears.floats("output_norm.weight", sizes.width)),
      head(linears.function("token_embd", sizes.width,
                            {linears.weight("token_embd.weight").at("n")}, kMaxLogits)),
      context(context) {
  vocabulary = linears.weight("token_embd.weight").at("n");
  for (int i = 0; i < sizes.layers; ++i)
    blocks.push_back(block(i, context));
  auto rows = [](int width) { return std::vector<float>(size_t(kMaxRows) * width); };
  x = rows(sizes.width);
  normed = rows(sizes.width);
  out = rows(sizes.width);
  q = rows(sizes.heads * sizes.headSize);
  attended = rows(sizes.heads * sizes.headSize);
  k = rows(sizes.kvHeads * sizes.headSize);
  v = rows(sizes.kvHeads * sizes.headSize);
  inner = rows(sizes.inner);
  for (auto &t : turns)
    t = rows(sizes.headSize);
  scores.resize(size_t(kMaxLogits) * vocabulary);
}

Model::Block Model::block(int layer, int context) const {
  std::string name = "blk." + std::to_string(layer) + ".";
  std::string function = "blk_" + std::to_string(layer) + "_";
  auto norm = [&](const char *part, int size) {
    return linears.floats(name + part + ".weight", size);
  };
  int width = sizes.width, all = sizes.heads * sizes.headSize,
      kv = sizes.kvHeads * sizes.headSize;
  return {norm("attn_norm", width),
          norm("attn_q_norm", sizes.headSize),
          norm("attn_k_norm", sizes.headSize),
          norm("post_attention_norm", width),
          norm("ffn_norm", width),
          norm("post_ffw_norm", width),
          linears.function(function + "attn_qkv", width, {all, kv, kv}, kMaxRows),
          linears.function(function + "attn_output", all, {width}, kMaxRows),
          linears.function(function + "ffn_gate_up", width, {sizes.inner}, kMaxRows),
          linears.function(function + "ffn_down", sizes.inner, {width}, kMaxRows),
          std::vector(sizes.kvHeads, Memory(context, sizes.headSize))};
}

template <typename F> void Model::each(int rows, const F &body) {
  if (rows == 1) // threads would cost more than they do
    return body(0);
  arena.execute([&] { tbb::parallel_for(0, rows, body); });
}

/// y = x / sqrt(mean(x²) + epsilon) * weight.
void Model::norm(const float *x, const std::vector<float> &weight, float *y) const {
  int size = int(weight.size());
  Vec lanes = {};
  for (int i = 0; i < size; i += kLanes) {
    Vec part;
    std::memcpy(&part, x + i, sizeof part);
    lanes += part * part;
  }
  double sum = 0;
  for (int i = 0; i < kLanes; ++i)
    sum += lanes[i];
  float scale = 1 / std::sqrt(float(sum / size) + sizes.epsilon);
  for (int i = 0; i < size; ++i)
    y[i] = x[i] * scale * weight[i];
}

/// Rotary embedding: turns pairs of a head's two halves.
void Model::rotate(float *head, const float *turns) const {
  int half = sizes.headSize / 2;
  for (int i = 0; i < half; ++i) {
    float a = head[i], b = head[i + half], cos = turns[i], sin = turns[i + half];
    head[i] = a * cos - b * sin;
    head[i + half] = b * cos + a * sin;
  }
}

/// From q, k, v of the rows to `attended`.
void Model::attend(int layer, int rows) {
  Block &b = blocks[layer];
  int size = sizes.headSize, group = sizes.heads / sizes.kvHeads;
  const std::vector<float> &turn = turns[sizes.isGlobal(layer)];
  float scale = 1 / std::sqrt(float(size));
  each(rows, [&](int row) {
    for (int h = 0; h < sizes.heads; ++h) {
      float *head = &q[(size_t(row) * sizes.heads + h) * size];
      norm(head, b.queryNorm, head);
      rotate(head, &turn[size_t(row) * size]);
      for (int i = 0; i < size; ++i)
        head[i] *= scale;
    }
    for (int h = 0; h < sizes.kvHeads; ++h) {
      float *key = &k[(size_t(row) * sizes.kvHeads + h) * size];
      norm(key, b.keyNorm, key);
      rotate(key, &turn[size_t(row) * size]);
      b.memory[h].put(position + row, key,
                      &v[(size_t(row) * sizes.kvHeads + h) * size]);
    }
  });
  each(rows, [&](int row) {
    int last = position + row;
    int first = sizes.isGlobal(layer) ? 0 : std::max(0, last + 1 - sizes.window);
    for (int h = 0; h < sizes.heads; h += Memory::kQueries) {
      // Heads of the same keys, up to kQueries of them at a time.
      for (int part = h; part < std::min(h + Memory::kQueries, sizes.heads);) {
        int count = std::min({Memory::kQueries, group - part % group, sizes.heads - part});
        size_t at = (size_t(row) * sizes.heads + part) * size;
        b.memory[part / group].attend(&q[at], count, first, last, &attended[at]);
        part += count;
      }
    }
  });
}

void Model::read(std::span<const int32_t> tokens) {
  int rows = int(tokens.size()), width = sizes.width;
  if (rows > kMaxRows || position + rows > context)
    throw std::runtime_error("the text is longer than its context of " +
                             std::to_string(context) + " tokens; --context");
  std::vector<int64_t> ids(tokens.begin(), tokens.end());
  linears.rows("token_embd.weight", ids, x.data());
  int half = sizes.headSize / 2;
  each(rows, [&](int row) {
    for (int i = 0; i < width; ++i)
      x[size_t(row) * width + i] *= std::sqrt(float(width));
    for (int global = 0; global < 2; ++global) {
      float *turn = &turns[global][size_t(row) * sizes.headSize];
      for (int i = 0; i < half; ++i) {
        double angle = (position + row) / (global ? sizes.spread : 1.0) *
                       std::pow(global ? sizes.base : 1e4, -double(i) / half);
        turn[i] = float(std::cos(angle));
        turn[i + half] = float(std::sin(angle));
      }
    }
  });
  auto norms = [&](const std::vector<float> &from, const std::vector<float> &weight) {
    each(rows, [&](int row) {
      norm(&from[size_t(row) * width], weight, &normed[size_t(row) * width]);
    });
  };
  // The norm of what a part of the block gives is added to the residual, and the next
  // part takes the norm of the sum.
  auto add = [&](const std::vector<float> &after, const std::vector<float> &next) {
    each(rows, [&](int row) {
      float *residual = &x[size_t(row) * width], *part = &out[size_t(row) * width];
      norm(part, after, part);
      for (int i = 0; i < width; ++i)
        residual[i] += part[i];
      norm(residual, next, &normed[size_t(row) * width]);
    });
  };
  norms(x, blocks[0].attentionNorm);
  for (int i = 0; i < sizes.layers; ++i) {
    Block &b = blocks[i];
    b.qkv(rows, normed.data(), {q.data(), k.data(), v.data()});
    attend(i, rows);
    b.output(rows, attended.data(), {out.data()});
    add(b.afterAttention, b.innerNorm);
    b.gateUp(rows, normed.data(), {inner.data()});
    b.down(rows, inner.data(), {out.data()});
    add(b.afterInner, i + 1 < sizes.layers ? blocks[i + 1].attentionNorm : lastNorm);
  }
  position += rows;
}

std::span<const float> Model::logits(int first, int count) {
  head(count, &normed[size_t(first) * sizes.width], {scores.data()});
  return {scores.data(), size_t(count) * vocabulary};
}
