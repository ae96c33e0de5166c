//===- tokenizer.cpp - Text to tokens and back ----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "tokenizer.h"

#include <algorithm>
#include <charconv>
#include <queue>
#include <stdexcept>

using nlohmann::json;

namespace {

/// "tokenizer.ggml.token_type" of GGUF.
enum Type { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

constexpr std::string_view kSpace = "\u2581"; ///< in pieces a space is this

std::string replaced(std::string_view text, std::string_view from,
                     std::string_view to) {
  std::string out;
  for (size_t at; (at = text.find(from)) != text.npos;
       text.remove_prefix(at + from.size()))
    (out += text.substr(0, at)) += to;
  return out += text;
}

/// Bytes of the UTF-8 character that begins with this one.
size_t characterSize(char first) {
  auto byte = uint8_t(first);
  return byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/// Of <0x0A> it is 10.
uint8_t byteOf(const std::string &piece) {
  int byte = -1;
  if (piece.size() == 6)
    std::from_chars(&piece[3], &piece[5], byte, 16);
  if (byte < 0)
    throw std::runtime_error("the token '" + piece + "' is said to be a byte");
  return uint8_t(byte);
}

} // namespace

Tokenizer::Tokenizer(const json &gguf) {
  if (auto model = gguf.value("tokenizer.ggml.model", "none"); model != "llama")
    throw std::runtime_error("the tokenizer '" + model +
                             "' is not known here; SentencePiece's ('llama') is");
  pieces = gguf.at("tokenizer.ggml.tokens");
  scores = gguf.at("tokenizer.ggml.scores").get<std::vector<float>>();
  types = gguf.at("tokenizer.ggml.token_type").get<std::vector<int>>();
  if (scores.size() != pieces.size() || types.size() != pieces.size())
    throw std::runtime_error("tokenizer.ggml has tokens, scores and types in different "
                             "numbers");
  std::ranges::fill(bytes, gguf.value("tokenizer.ggml.unknown_token_id", 0));
  for (int32_t id = 0; id < int32_t(pieces.size()); ++id) {
    ids.emplace(pieces[id], id);
    if (types[id] == kByte)
      bytes[byteOf(pieces[id])] = id;
    if ((types[id] == kControl || types[id] == kUserDefined) && !pieces[id].empty())
      whole.push_back(id);
    if (pieces[id] == "<end_of_turn>" && types[id] == kControl)
      ends.push_back(id);
  }
  std::ranges::sort(whole, std::greater(),
                           [&](int32_t id) { return pieces[id].size(); });
  ends.push_back(gguf.value("tokenizer.ggml.eos_token_id", -1));
  if (gguf.value("tokenizer.ggml.add_bos_token", true))
    begin = gguf.value("tokenizer.ggml.bos_token_id", -1);
  spaceInFront = gguf.value("tokenizer.ggml.add_space_prefix", true);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> out;
  if (begin >= 0)
    out.push_back(begin);
  encodePart(text, 0, out);
  return out;
}

/// A text in which no token of `whole` before `first` is found.
void Tokenizer::encodePart(std::string_view text, size_t first,
                           std::vector<int32_t> &out) const {
  for (size_t i = first; i < whole.size() && !text.empty(); ++i)
    for (size_t at; (at = text.find(pieces[whole[i]])) != text.npos;
         text.remove_prefix(at + pieces[whole[i]].size())) {
      encodePart(text.substr(0, at), i + 1, out);
      out.push_back(whole[i]);
    }
  if (!text.empty())
    encodePlain(text, out);
}

void Tokenizer::encodePlain(std::string_view part, std::vector<int32_t> &out) const {
  std::string text = replaced((spaceInFront ? " " : "") + std::string(part), " ", kSpace);
  // The parts of the text as a list in both directions; one that was joined to the part
  // before it has no bytes.
  struct Symbol {
    size_t begin, size;
    int before, after;
  };
  std::vector<Symbol> symbols;
  for (size_t at = 0; at < text.size(); at += symbols.back().size) {
    int n = int(symbols.size());
    symbols.push_back(
        {at, std::min(characterSize(text[at]), text.size() - at), n - 1, n + 1});
  }
  symbols.back().after = -1;
  struct Pair {
    float score;
    int left, right;
    size_t size; ///< when the pair was found: it is stale if its parts have grown since
    bool operator<(const Pair &o) const { // of equal scores the first in the text
      return score != o.score ? score < o.score : left > o.left;
    }
  };
  std::priority_queue<Pair> pairs;
  auto find = [&](int left, int right) {
    if (left < 0 || right < 0)
      return;
    size_t size = symbols[left].size + symbols[right].size;
    auto piece = ids.find(std::string_view(text).substr(symbols[left].begin, size));
    if (piece != ids.end())
      pairs.push({scores[piece->second], left, right, size});
  };
  for (int i = 1; i < int(symbols.size()); ++i)
    find(i - 1, i);
  while (!pairs.empty()) {
    Pair pair = pairs.top();
    pairs.pop();
    Symbol &left = symbols[pair.left], &right = symbols[pair.right];
    if (!left.size || !right.size || left.size + right.size != pair.size)
      continue;
    left.size += right.size;
    right.size = 0;
    left.after = right.after;
    if (left.after >= 0)
      symbols[left.after].before = pair.left;
    find(left.before, pair.left);
    find(pair.left, left.after);
  }
  for (int i = 0; i >= 0; i = symbols[i].after) {
    auto piece = std::string_view(text).substr(symbols[i].begin, symbols[i].size);
    if (auto id = ids.find(piece); id != ids.end())
      out.push_back(id->second);
    else
      for (char byte : piece)
        out.push_back(bytes[uint8_t(byte)]);
  }
}

std::string Tokenizer::decode(int32_t token) const {
  const std::string &piece = pieces.at(token);
  switch (types[token]) {
  case kControl:
  case kUnknown: return "";
  case kByte: return std::string(1, char(byteOf(piece)));
  default: return replaced(piece, kSpace, " ");
  }
}

bool Tokenizer::isEnd(int32_t token) const {
  return std::ranges::find(ends, token) != ends.end();
}
