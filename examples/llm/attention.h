//===- attention.h - Keys and values of a text, and looking at them -*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_EXAMPLES_LLM_ATTENTION_H
#define QLINEAR_EXAMPLES_LLM_ATTENTION_H

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

/// 16 floats, in as many registers as the machine needs for them.
using Vec = float __attribute__((vector_size(64)));
constexpr int kLanes = 16;

/// What one layer keeps of a text for one head of keys and values. 16 keys lie side by
/// side, so that a query meets them lane by lane, and nothing is added across lanes.
class Memory {
  /// Vectors of a value that are added up at a time: their sums stay in registers.
  static constexpr int kPart = 4;

public:
  /// The size of a head is a multiple of this.
  static constexpr int kMultiple = kPart * kLanes;

  explicit Memory(int headSize) : size(headSize) {}

  /// Makes room for so many tokens.
  void grow(int tokens) {
    keys.resize(size_t(tokens + kLanes - 1) / kLanes * size);
    values.resize(size_t(tokens) * size / kLanes);
  }

  /// May be called for several positions at once.
  void put(int position, const float *key, const float *value) {
    float *lane = reinterpret_cast<float *>(&keys[size_t(position / kLanes) * size]) +
                  position % kLanes;
    for (int i = 0; i < size; ++i)
      lane[i * kLanes] = key[i];
    std::memcpy(&values[size_t(position) * size / kLanes], value, size * sizeof(float));
  }

  /// Attention of kQueries heads that share these keys, on tokens first .. last. Head i
  /// is at q + i * size and its result at y + i * size; of fewer heads the last is done
  /// several times.
  static constexpr int kQueries = 4;
  void attend(const float *q, int heads, int first, int last, float *y) const {
    const float *query[kQueries];
    for (int i = 0; i < kQueries; ++i)
      query[i] = q + std::min(i, heads - 1) * size;
    int begin = first / kLanes, count = last / kLanes + 1 - begin;
    thread_local std::vector<Vec> weights; // [block of 16 keys][query]
    weights.resize(size_t(count) * kQueries);
    for (int b = 0; b < count; ++b) {
      const Vec *block = &keys[size_t(begin + b) * size];
      Vec sums[kQueries] = {};
      for (int d = 0; d < size; ++d)
        for (int i = 0; i < kQueries; ++i)
          sums[i] += query[i][d] * block[d];
      for (int i = 0; i < kQueries; ++i)
        weights[b * kQueries + i] = sums[i];
    }
    auto weight = [&](int token, int i) -> float & {
      int at = token - begin * kLanes;
      return reinterpret_cast<float *>(
          &weights[at / kLanes * kQueries + i])[at % kLanes];
    };
    float inverse[kQueries];
    for (int i = 0; i < kQueries; ++i) {
      float most = weight(first, i), sum = 0;
      for (int t = first; t <= last; ++t)
        most = std::max(most, weight(t, i));
      for (int t = first; t <= last; ++t)
        sum += weight(t, i) = std::exp(weight(t, i) - most);
      inverse[i] = 1 / sum;
    }
    for (int part = 0; part < size / kLanes; part += kPart) {
      Vec sums[kQueries][kPart] = {};
      for (int t = first; t <= last; ++t) {
        const Vec *value = &values[size_t(t) * size / kLanes + part];
        for (int i = 0; i < kQueries; ++i)
          for (int j = 0; j < kPart; ++j)
            sums[i][j] += weight(t, i) * value[j];
      }
      for (int i = 0; i < std::min(heads, kQueries); ++i)
        for (int j = 0; j < kPart; ++j) {
          Vec result = sums[i][j] * inverse[i];
          std::memcpy(y + i * size + (part + j) * kLanes, &result, sizeof result);
        }
    }
  }

private:
  int size;
  std::vector<Vec> keys, values;
};

#endif
