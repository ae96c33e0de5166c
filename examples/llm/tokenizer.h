//===- tokenizer.h - Text to tokens and back --------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// SentencePiece's byte-pair encoding, as GGUF describes it ("tokenizer.ggml.model" =
// "llama"): a text begins as characters, and of all neighbours that together are a
// piece of the vocabulary those with the best score are joined, until none are left.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_EXAMPLES_LLM_TOKENIZER_H
#define QLINEAR_EXAMPLES_LLM_TOKENIZER_H

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

class Tokenizer {
public:
  explicit Tokenizer(const nlohmann::json &gguf);
  Tokenizer(const Tokenizer &) = delete; // `ids` and `whole` refer to `pieces`

  /// With the token that begins a text, where the model has one.
  std::vector<int32_t> encode(std::string_view text) const;
  /// What a token is as text; nothing for those that only control.
  std::string decode(int32_t token) const;
  /// Whether a text ends here.
  bool isEnd(int32_t token) const;

private:
  void encodePart(std::string_view text, size_t first, std::vector<int32_t> &out) const;
  void encodePlain(std::string_view text, std::vector<int32_t> &out) const;

  std::vector<std::string> pieces;
  std::vector<float> scores;
  std::vector<int> types;
  std::unordered_map<std::string_view, int32_t> ids;
  /// Tokens that are found in a text as they are, before anything is joined; the longest
  /// first: runs of line breaks, and marks such as <start_of_turn>.
  std::vector<int32_t> whole;
  std::vector<int32_t> ends;
  int32_t bytes[256]; ///< the token of each byte, for what has no other
  int32_t begin = -1;
  bool spaceInFront = true;
};

#endif
