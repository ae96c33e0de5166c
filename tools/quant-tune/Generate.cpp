//===- Generate.cpp - Candidate schedules, compiled -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tune.h"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <fmt/format.h>
#include <mutex>
#include <set>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::tune;

/// A function per schedule ("" is left to the cost model), all of the same linear.
static std::string moduleOf(const Layer &layer,
                            const std::vector<Candidate> &candidates) {
  std::string text, loads, operands, types, results;
  int64_t k = layer.weights[0].k;
  std::string m = layer.m ? std::to_string(*layer.m) : "?";
  for (size_t i = 0; i < layer.weights.size(); ++i) {
    const Layer::Weight &w = layer.weights[i];
    std::string type = fmt::format("!qlinear.weight<{}x{}, #qlinear.encoding<{}>>", w.n,
                                   w.k, w.encoding);
    text += fmt::format("qlinear.parameter @w{} : {}\n", i, type);
    loads += fmt::format("  %w{} = qlinear.load @w{} : {}\n", i, i, type);
    operands += fmt::format(", %w{}", i);
    types += ", " + type;
    results += fmt::format("{}tensor<{}x{}x{}>", i ? ", " : "", m, w.n, layer.output);
  }
  std::string input = layer.input == "int8"
                          ? fmt::format("!qlinear.activations<{}x{}>", m, k)
                          : fmt::format("tensor<{}x{}x{}>", m, k, layer.input);
  std::string values = "%y";
  if (layer.weights.size() > 1) {
    values.clear();
    for (size_t i = 0; i < layer.weights.size(); ++i)
      values += fmt::format("{}%y#{}", i ? ", " : "", i);
  }
  for (const Candidate &c : candidates)
    text += fmt::format(
        "func.func @{}(%x: {}) -> ({}) {{\n{}  %y{} = qlinear.linear %x{}{} "
        ": ({}{}) -> ({})\n  return {} : {}\n}}\n",
        c.function, input, results, loads,
        layer.weights.size() > 1 ? ":" + std::to_string(layer.weights.size()) : "",
        operands, c.schedule.empty() ? "" : " {schedule = " + c.schedule + "}", input,
        types, results, values, results);
  return text;
}

namespace {

class Generator {
  const Request &request;
  std::string folder, tools;
  bool verbose;
  std::mutex mutex;

public:
  Generator(const Request &request, const std::string &folder, const std::string &tools,
            bool verbose)
      : request(request), folder(folder), tools(tools), verbose(verbose) {}

  Result<Generated> layer(size_t index) {
    Generated result{request.layers[index], fmt::format("layer{}.so", index), {}};
    const Layer &layer = result.layer;
    auto wrong = [&](const std::string &message) {
      return error(fmt::format("layer '{}': {}", layer.name, message));
    };
    std::string source = fmt::format("{}/layer{}.mlir", folder, index);
    struct Remove {
      std::string path;
      ~Remove() { std::filesystem::remove(path); }
    } remove{source};
    Result<std::string> model = modelOf(layer, source);
    if (!model)
      return wrong(model.error());
    // Only the kernels that are measured are compiled.
    auto compiledAs = [&](const std::string &schedule) {
      return withFields(schedule, {{"rows", rowsOf(layer)}});
    };
    std::set<std::string> seen;
    std::string declined;
    for (const std::string &schedule : candidatesOf(*model, layer, request.vary)) {
      Result<void> written =
          writeOutput(source, moduleOf(layer, {{"f", compiledAs(schedule)}}));
      if (!written)
        return wrong(written.error());
      Result<std::string> lowered = compile(source, {"--emit=mlir", "-o", "-"});
      if (!lowered) {
        if (result.candidates.empty())
          return wrong(lowered.error());
        declined += fmt::format("  {}: {}\n", schedule, firstLine(lowered.error()));
        continue;
      }
      // Where a plan has to give way (to shared memory, say) it may be another's.
      if (seen.insert(*lowered).second)
        result.candidates.push_back(
            {fmt::format("c{}", result.candidates.size()), schedule});
    }
    std::vector<Candidate> functions = result.candidates;
    for (Candidate &c : functions)
      c.schedule = compiledAs(c.schedule);
    if (Result<void> written = writeOutput(source, moduleOf(layer, functions));
        !written)
      return wrong(written.error());
    Result<std::string> compiled =
        compile(source, {"-o", fmt::format("{}/{}", folder, result.artifact)});
    if (!compiled)
      return wrong(compiled.error());
    std::lock_guard lock(mutex);
    fmt::print("{}: {} candidates for {}\n", layer.name, result.candidates.size(),
               describe(layer));
    if (verbose && !declined.empty())
      fmt::print("declined:\n{}", declined);
    std::fflush(stdout);
    return result;
  }

private:
  static std::string describe(const Layer &layer) {
    std::string text;
    for (const Layer::Weight &w : layer.weights)
      text +=
          fmt::format("{}{}x{} <{}>", text.empty() ? "" : " + ", w.n, w.k, w.encoding);
    return text;
  }
  static std::string firstLine(const std::string &text) {
    return text.substr(0, text.find('\n'));
  }
  static std::string rowsOf(const Layer &layer) {
    std::vector<int64_t> rows = layer.rows;
    // Kernels are for 1, 2, 4 and 8 rows; more are taken in chunks by the largest.
    for (int64_t &m : rows)
      m = std::min<int64_t>(int64_t(std::bit_ceil(uint64_t(m))), 8);
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    return fmt::format("[{}]", fmt::join(rows, ", "));
  }

  /// The cost model's schedule, as quant-opt prints it.
  Result<std::string> modelOf(const Layer &layer, const std::string &source) {
    if (Result<void> written = writeOutput(source, moduleOf(layer, {{"f", ""}}));
        !written)
      return written.takeError();
    Result<std::string> printed = runTool(
        {tools + "/quant-opt", source, "--qlinear-schedule=target=" + request.target});
    if (!printed)
      return printed;
    size_t begin = printed->find("#qlinear.schedule<");
    if (begin == std::string::npos)
      return std::string("#qlinear.schedule<>"); // the CPU's defaults
    return printed->substr(begin, printed->find('>', begin) + 1 - begin);
  }

  Result<std::string> compile(const std::string &source,
                              std::vector<std::string> more) {
    std::vector<std::string> command = {tools + "/quant-compile", source,
                                        "--target=" + request.target, "--fuse=false",
                                        "--quantize-activations=false"};
    command.insert(command.end(), more.begin(), more.end());
    return runTool(command);
  }
};

} // namespace

Result<Plan> tune::generate(const Request &request, const std::string &folder,
                            const std::string &tools, bool verbose) {
  std::error_code ec;
  std::filesystem::create_directories(folder, ec);
  if (ec)
    return error(fmt::format("cannot create '{}': {}", folder, ec.message()));
  Generator generator(request, folder, tools, verbose);
  std::vector<std::optional<Result<Generated>>> made(request.layers.size());
  tbb::parallel_for(size_t(0), made.size(),
                    [&](size_t i) { made[i] = generator.layer(i); });
  Plan plan{request.target, {}};
  for (auto &layer : made) {
    if (!*layer)
      return layer->takeError();
    plan.layers.push_back(std::move(**layer));
  }
  if (Result<void> written = writePlan(folder, plan); !written)
    return written.takeError();
  return plan;
}
