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
#include <random>

using nlohmann::json;

namespace {

struct Options {
  std::string gguf, artifact, prompt = "Once upon a time", perplexity;
  int tokens = 64, threads = 0, context = 0, topK = 64;
  float temperature = 0, topP = 0.95f;
  uint64_t seed = 0;
  bool asJson = false, ignoreEnd = false;
};

double now() {
  auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

/// Sixteen at a time, as there are as many logits as words.
float greatest(std::span<const float> logits) {
  float most[kLanes];
  std::ranges::fill(most, logits[0]);
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane)
      most[lane] = std::max(most[lane], logits[i + lane]);
  return std::max(std::ranges::max(most), std::ranges::max(logits.subspan(i - 1)));
}

/// The next token: the likeliest at temperature 0, else one at random, of the topK
/// likeliest those that together have the probability topP.
int32_t sample(std::span<const float> logits, const Options &options,
               std::mt19937_64 &random) {
  if (options.temperature <= 0)
    return int32_t(std::ranges::find(logits, greatest(logits)) - logits.begin());
  std::vector<int32_t> best(logits.size());
  for (size_t i = 0; i < best.size(); ++i)
    best[i] = int32_t(i);
  size_t count = std::min<size_t>(std::max(options.topK, 1), best.size());
  std::ranges::partial_sort(best, best.begin() + count, std::greater(),
                            [&](int32_t i) { return logits[i]; });
  std::vector<double> weights;
  double sum = 0, kept = 0;
  for (size_t i = 0; i < count; ++i) {
    weights.push_back(
        std::exp((logits[best[i]] - logits[best[0]]) / options.temperature));
    sum += weights.back();
  }
  for (count = 0; count < weights.size() && kept < options.topP * sum; ++count)
    kept += weights[count];
  double at = std::uniform_real_distribution(0., kept)(random);
  for (size_t i = 0; i < count; ++i)
    if ((at -= weights[i]) <= 0)
      return best[i];
  return best[0];
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
             logits.subspan(size_t(i) * model.vocabulary, model.vocabulary));
    }
    if (!each && at + rows == tokens.size())
      last = model.logits(rows - 1, 1);
  }
  return last;
}

json generate(Model &model, const Tokenizer &tokenizer, const Options &options) {
  std::vector<int32_t> prompt = tokenizer.encode(options.prompt), made;
  std::mt19937_64 random(options.seed);
  if (prompt.empty())
    throw std::runtime_error("the prompt has no tokens");
  if (!options.asJson)
    std::cout << options.prompt << std::flush;
  double start = now();
  int32_t token = sample(readAll(model, prompt), options, random);
  double read = now();
  while (true) {
    if (tokenizer.isEnd(token) && !options.ignoreEnd)
      break;
    made.push_back(token);
    if (!options.asJson)
      std::cout << tokenizer.decode(token) << std::flush;
    if (int(made.size()) >= options.tokens)
      break;
    model.read({&token, 1});
    token = sample(model.logits(0, 1), options, random);
  }
  double end = now();
  std::string text;
  for (int32_t t : made)
    text += tokenizer.decode(t);
  // The first token is of the prompt's logits.
  return {{"prompt", prompt},
          {"tokens", made},
          {"text", text},
          {"target", model.target()},
          {"prompt_per_second", prompt.size() / (read - start)},
          {"tokens_per_second", std::max<double>(made.size(), 1) - 1 > 0
                                    ? (made.size() - 1) / (end - read)
                                    : 0}};
}

/// How likely the model finds a text: exp of the mean of -log p of its tokens.
json perplexity(Model &model, const Tokenizer &tokenizer, const Options &options) {
  std::ifstream file(options.perplexity);
  std::stringstream text;
  if (!(text << file.rdbuf()))
    throw std::runtime_error("cannot read '" + options.perplexity + "'");
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
  double sum = 0;
  for (double loss : losses)
    sum += loss;
  return {{"tokens", losses.size()},
          {"perplexity", std::exp(sum / losses.size())},
          {"losses", losses}};
}

} // namespace

int main(int argc, char **argv) {
  Options o;
  CLI::App app("Goes on with a text, with Gemma 3 on layers of quant-compile");
  app.add_option("gguf", o.gguf, "the model, for its sizes and its vocabulary")
      ->required();
  app.add_option("artifact", o.artifact, "what quant-compile made of it")->required();
  app.add_option("-p,--prompt", o.prompt, "the text")->capture_default_str();
  app.add_option("-n,--tokens", o.tokens, "how many to add")->capture_default_str();
  app.add_option("--threads", o.threads, "0: one per core")->capture_default_str();
  app.add_option("--temperature", o.temperature, "0: the likeliest token")
      ->capture_default_str();
  app.add_option("--top-k", o.topK)->capture_default_str();
  app.add_option("--top-p", o.topP)->capture_default_str();
  app.add_option("--seed", o.seed)->capture_default_str();
  app.add_option("--context", o.context,
                 "the longest text, in tokens; 0: 4096 or the model's");
  app.add_option("--perplexity", o.perplexity, "measure this text instead");
  app.add_flag("--ignore-end", o.ignoreEnd, "go on where the model would stop");
  app.add_flag("--json", o.asJson, "print tokens and times as JSON");
  CLI11_PARSE(app, argc, argv);
  try {
    json gguf = GgufReader(o.gguf).keys();
    Sizes sizes(gguf);
    Tokenizer tokenizer(gguf);
    Model model(sizes, o.artifact, o.threads,
                o.context ? o.context : std::min(sizes.context, 4096));
    json result = o.perplexity.empty() ? generate(model, tokenizer, o)
                                       : perplexity(model, tokenizer, o);
    if (o.asJson)
      std::cout << result.dump(-1, ' ', false, json::error_handler_t::replace) << '\n';
    else if (o.perplexity.empty())
      std::cerr << "\n\n"
                << result["prompt"].size() << " tokens read at "
                << int(result["prompt_per_second"]) << ", " << result["tokens"].size()
                << " written at " << int(result["tokens_per_second"])
                << " per second on " << result["target"].get<std::string>() << '\n';
    else
      std::cout << "perplexity " << result["perplexity"] << " of " << result["tokens"]
                << " tokens\n";
  } catch (const std::exception &problem) {
    std::cerr << "llm: " << problem.what() << '\n';
    return 1;
  }
}
