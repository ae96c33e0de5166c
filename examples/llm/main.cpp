//===- main.cpp - Goes on with a text ------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "gguf.h"
#include "model.h"
#include "tokenizer.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <numeric>
#include <random>
#include <sstream>

using nlohmann::json;

namespace {

struct Options {
  std::string gguf, artifact, prompt = "Once upon a time", perplexity;
  int tokens = 64, threads = 0, topK = 64;
  float temperature = 0;
  uint64_t seed = 0;
  bool asJson = false, ignoreEnd = false;
};

void define(CLI::App &app, Options &o) {
  app.add_option("MODEL.gguf", o.gguf, "The model")->required();
  app.add_option("MODEL.so", o.artifact, "What quant-compile made of it")->required();
  app.add_option("-p,--prompt", o.prompt, "The text");
  app.add_option("-n,--tokens", o.tokens, "How many to add; 64");
  app.add_option("--temperature", o.temperature, "0, the default: the likeliest token");
  app.add_option("--top-k", o.topK, "Else one of so many likeliest; 64");
  app.add_option("--seed", o.seed, "Of what is random");
  app.add_option("--threads", o.threads, "One per core");
  app.add_flag("--ignore-end", o.ignoreEnd, "Go on where the model would stop");
  app.add_option("--perplexity", o.perplexity, "Measure the text of this file instead");
  app.add_flag("--json", o.asJson, "Tokens, text and times, or the text's losses");
}

double now() {
  auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

/// The greatest of many: several at a time, as the compiler does not by itself.
float greatest(std::span<const float> values) {
  float most[kLanes];
  std::ranges::fill(most, values[0]);
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane)
      most[lane] = std::max(most[lane], values[i + lane]);
  for (; i < values.size(); ++i)
    most[0] = std::max(most[0], values[i]);
  return std::ranges::max(most);
}

/// The next token: the likeliest at temperature 0, else one of the topK likeliest.
int32_t sample(std::span<const float> logits, const Options &o,
               std::mt19937_64 &random) {
  if (o.temperature <= 0)
    return int32_t(std::ranges::find(logits, greatest(logits)) - logits.begin());
  std::vector<int32_t> best(logits.size());
  std::iota(best.begin(), best.end(), 0);
  auto end = best.begin() + std::clamp<int64_t>(o.topK, 1, best.size());
  std::partial_sort(best.begin(), end, best.end(),
                    [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  std::vector<double> weights;
  for (auto i = best.begin(); i != end; ++i)
    weights.push_back(std::exp((logits[*i] - logits[best[0]]) / o.temperature));
  return best[std::discrete_distribution<size_t>(weights.begin(),
                                                 weights.end())(random)];
}

/// Reads a text of any length. Calls each(i, logits of what comes after token i), if
/// there is one; else the logits after the last token are the result.
std::span<const float>
readAll(Model &model, std::span<const int32_t> tokens,
        const std::function<void(size_t, std::span<const float>)> &each = {}) {
  std::span<const float> last;
  for (size_t at = 0; at < tokens.size(); at += Model::kMaxRows) {
    int rows = int(std::min<size_t>(Model::kMaxRows, tokens.size() - at));
    model.read(tokens.subspan(at, rows));
    for (int row = 0; each && row < rows; row += Model::kMaxLogits) {
      int count = std::min(Model::kMaxLogits, rows - row);
      auto logits = model.logits(row, count);
      for (int i = 0; i < count; ++i)
        each(at + row + i,
             logits.subspan(size_t(i) * model.vocabulary(), model.vocabulary()));
    }
    if (!each && at + rows == tokens.size())
      last = model.logits(rows - 1, 1);
  }
  return last;
}

json generate(Model &model, const Tokenizer &tokenizer, const Options &o) {
  std::vector<int32_t> prompt = tokenizer.encode(o.prompt), made;
  std::mt19937_64 random(o.seed);
  if (prompt.empty())
    throw std::runtime_error("the prompt has no tokens");
  if (!o.asJson)
    std::cout << o.prompt << std::flush;
  double start = now();
  int32_t token = sample(readAll(model, prompt), o, random);
  double read = now();
  std::string text;
  while (o.ignoreEnd || !tokenizer.isEnd(token)) {
    made.push_back(token);
    text += tokenizer.decode(token);
    if (!o.asJson)
      std::cout << tokenizer.decode(token) << std::flush;
    if (int(made.size()) >= o.tokens)
      break;
    model.read({&token, 1});
    token = sample(model.logits(0, 1), o, random);
  }
  double end = now();
  // The first token is of the prompt's logits.
  return {{"prompt", prompt},
          {"tokens", made},
          {"text", text},
          {"target", model.target()},
          {"prompt_per_second", prompt.size() / (read - start)},
          {"tokens_per_second", made.empty() ? 0 : (made.size() - 1) / (end - read)}};
}

/// How likely the model finds a text: exp of the mean of -log p of its tokens.
json perplexity(Model &model, const Tokenizer &tokenizer, const Options &o) {
  std::ifstream file(o.perplexity);
  std::stringstream text;
  if (!(text << file.rdbuf()))
    throw std::runtime_error("cannot read '" + o.perplexity + "'");
  std::vector<int32_t> tokens = tokenizer.encode(text.str());
  std::vector<double> losses;
  readAll(model, tokens, [&](size_t i, std::span<const float> logits) {
    if (i + 1 == tokens.size())
      return;
    float most = greatest(logits);
    double sum = 0;
    for (float value : logits)
      sum += std::exp(value - most);
    losses.push_back(std::log(sum) + most - logits[tokens[i + 1]]);
  });
  double sum = std::accumulate(losses.begin(), losses.end(), 0.0);
  return {{"perplexity", std::exp(sum / losses.size())}, {"losses", losses}};
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Goes on with a text, with Gemma 3 on linear layers of quant-compile.");
  Options o;
  define(app, o);
  CLI11_PARSE(app, argc, argv);
  try {
    json gguf = GgufReader(o.gguf).keys();
    Sizes sizes(gguf);
    Tokenizer tokenizer(gguf);
    Model model(sizes, o.artifact, o.threads);
    if (model.vocabulary() != tokenizer.size())
      throw std::runtime_error("the vocabulary of '" + o.gguf + "' is not that of '" +
                               o.artifact + "', which was made of another model");
    gguf.clear(); // a word of the vocabulary takes less in the tokenizer
    json r = o.perplexity.empty() ? generate(model, tokenizer, o)
                                  : perplexity(model, tokenizer, o);
    if (o.asJson)
      std::cout << r.dump(-1, ' ', false, json::error_handler_t::replace) << '\n';
    else if (!o.perplexity.empty())
      std::cout << "perplexity " << r["perplexity"] << " of " << r["losses"].size()
                << " tokens\n";
    else
      std::cerr << "\n\n"
                << r["prompt"].size() << " tokens read, " << int(r["prompt_per_second"])
                << " per second; " << r["tokens"].size() << " written, "
                << int(r["tokens_per_second"]) << " per second, on "
                << r["target"].get<std::string>() << '\n';
  } catch (const std::exception &problem) {
    std::cerr << "llm: " << problem.what() << '\n';
    return 1;
  }
}
