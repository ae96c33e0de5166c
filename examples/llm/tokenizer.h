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

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <queue>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

class Tokenizer {
public:
  explicit Tokenizer(const nlohmann::json &gguf) {
    if (auto model = gguf.value("tokenizer.ggml.model", "none"); model != "llama")
      throw std::runtime_error("the tokenizer '" + model +
                               "' is not known here; SentencePiece's ('llama') is");
    gguf.at("tokenizer.ggml.tokens").get_to(pieces);
    gguf.at("tokenizer.ggml.scores").get_to(scores);
    gguf.at("tokenizer.ggml.token_type").get_to(types);
    if (scores.size() != pieces.size() || types.size() != pieces.size())
      throw std::runtime_error("tokens, their scores and their types in tokenizer.ggml "
                               "differ in number");
    std::ranges::fill(bytes, gguf.value("tokenizer.ggml.unknown_token_id", 0));
    for (int32_t id = 0; id < int32_t(pieces.size()); ++id) {
      ids.emplace(pieces[id], id);
      if (types[id] == kByte)
        bytes[byteOf(pieces[id])] = id;
      if ((types[id] == kControl || types[id] == kUserDefined) && !pieces[id].empty())
        whole.push_back(id);
    }
    std::ranges::sort(whole, std::greater(),
                      [&](int32_t i) { return pieces[i].size(); });
    end = gguf.value("tokenizer.ggml.eos_token_id", -1);
    if (gguf.value("tokenizer.ggml.add_bos_token", true))
      begin = gguf.value("tokenizer.ggml.bos_token_id", -1);
    spaceInFront = gguf.value("tokenizer.ggml.add_space_prefix", true);
  }
  Tokenizer(const Tokenizer &) = delete; // `ids` refers to `pieces`

  /// With the token that begins a text, where the model has one.
  std::vector<int32_t> encode(std::string_view text) const {
    std::vector<int32_t> out;
    if (begin >= 0)
      out.push_back(begin);
    encodePart(text, 0, out);
    return out;
  }

  /// What a token is as text; nothing for those that only control.
  std::string decode(int32_t token) const {
    const std::string &piece = pieces.at(token);
    if (types[token] == kByte)
      return std::string(1, char(byteOf(piece)));
    bool isText = types[token] != kControl && types[token] != kUnknown;
    return isText ? replaced(piece, kSpace, " ") : "";
  }

  /// Whether the text, or a turn of a dialogue, ends here.
  bool isEnd(int32_t token) const {
    return token == end || pieces.at(token) == "<end_of_turn>";
  }

  int size() const { return int(pieces.size()); }

private:
  /// "tokenizer.ggml.token_type" of GGUF.
  enum Type { kUnknown = 2, kControl = 3, kUserDefined = 4, kByte = 6 };
  static constexpr std::string_view kSpace = "\u2581"; ///< a space in pieces

  /// A text in which no token of `whole` before `first` is found.
  void encodePart(std::string_view text, size_t first,
                  std::vector<int32_t> &out) const {
    for (size_t i = first; i < whole.size() && !text.empty(); ++i) {
      const std::string &piece = pieces[whole[i]];
      for (size_t at; (at = text.find(piece)) != text.npos;
           text.remove_prefix(at + piece.size())) {
        encodePart(text.substr(0, at), i + 1, out);
        out.push_back(whole[i]);
      }
    }
    if (!text.empty())
      join(replaced((spaceInFront ? " " : "") + std::string(text), " ", kSpace), out);
  }

  void join(std::string_view text, std::vector<int32_t> &out) const {
    // A list of the text's parts; one that was joined to the part before has no bytes.
    struct Part {
      std::string_view text;
      int before, after;
    };
    std::vector<Part> parts;
    for (size_t at = 0; at < text.size(); at += parts.back().text.size()) {
      int n = int(parts.size());
      parts.push_back({text.substr(at, characterSize(text[at])), n - 1, n + 1});
    }
    parts.back().after = -1;
    struct Pair {
      float score;
      int left, right;
      size_t size; ///< as it was found: a pair is out of date if its parts have grown
      bool operator<(const Pair &o) const { // of equal scores the first in the text
        return score != o.score ? score < o.score : left > o.left;
      }
    };
    std::priority_queue<Pair> pairs;
    auto find = [&](int left, int right) {
      if (left < 0 || right < 0)
        return;
      size_t size = parts[left].text.size() + parts[right].text.size();
      if (auto id = ids.find({parts[left].text.data(), size}); id != ids.end())
        pairs.push({scores[id->second], left, right, size});
    };
    for (int i = 1; i < int(parts.size()); ++i)
      find(i - 1, i);
    while (!pairs.empty()) {
      Pair pair = pairs.top();
      pairs.pop();
      Part &left = parts[pair.left], &right = parts[pair.right];
      if (left.text.empty() || right.text.empty() ||
          left.text.size() + right.text.size() != pair.size)
        continue;
      left = {{left.text.data(), pair.size}, left.before, right.after};
      right.text = {};
      if (left.after >= 0)
        parts[left.after].before = pair.left;
      find(left.before, pair.left);
      find(pair.left, left.after);
    }
    for (int i = 0; i >= 0; i = parts[i].after)
      if (auto id = ids.find(parts[i].text); id != ids.end())
        out.push_back(id->second);
      else
        for (char byte : parts[i].text)
          out.push_back(bytes[uint8_t(byte)]);
  }

  static std::string replaced(std::string_view text, std::string_view from,
                              std::string_view to) {
    std::string out;
    for (size_t at; (at = text.find(from)) != text.npos;
         text.remove_prefix(at + from.size()))
      (out += text.substr(0, at)) += to;
    return out += text;
  }

  /// Bytes of the UTF-8 character that begins with this one.
  static size_t characterSize(char first) {
    auto byte = uint8_t(first);
    return byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
  }

  /// Of <0x0A> it is 10.
  static uint8_t byteOf(const std::string &piece) {
    int byte = -1;
    if (piece.size() == 6)
      std::from_chars(&piece[3], &piece[5], byte, 16);
    if (byte < 0)
      throw std::runtime_error("the token '" + piece + "' is said to be a byte");
    return uint8_t(byte);
  }

  std::vector<std::string> pieces;
  std::vector<float> scores;
  std::vector<int> types;
  std::unordered_map<std::string_view, int32_t> ids;
  /// Tokens that are found in a text as they are, before anything is joined; the
  /// longest first: runs of line breaks, and marks such as <start_of_turn>.
  std::vector<int32_t> whole;
  int32_t bytes[256]; ///< the token of each byte, for what has no other
  int32_t begin = -1, end = -1;
  bool spaceInFront = true;
};

#endif
