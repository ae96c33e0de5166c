//===- Generate.cpp - Candidate schedules, compiled -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tune.h"
#include "common/Programs.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <mutex>
#include <set>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::tune;

/// A function per schedule, all of the same linear: their names and schedules.
static std::string
moduleOf(const Layer &layer,
         const std::vector<std::pair<std::string, std::string>> &functions) {
  std::string text, loads, operands, types, results;
  int64_t k = layer.weights[0].k;
  for (size_t i = 0; i < layer.weights.size(); ++i) {
    const Layer::Weight &w = layer.weights[i];
    std::string type = fmt::format("!qlinear.weight<{}x{}, #qlinear.encoding<{}>>", w.n,
                                   w.k, w.encoding);
    text += fmt::format("qlinear.parameter @w{} : {}\n", i, type);
    loads += fmt::format("  %w{} = qlinear.load @w{} : {}\n", i, i, type);
    operands += fmt::format(", %w{}", i);
    types += ", " + type;
    results += fmt::format("{}tensor<?x{}x{}>", i ? ", " : "", w.n, layer.output);
  }
  std::string input = layer.input == "int8"
                          ? fmt::format("!qlinear.activations<?x{}>", k)
                          : fmt::format("tensor<?x{}x{}>", k, layer.input);
  std::string values = "%y";
  if (layer.weights.size() > 1) {
    values.clear();
    for (size_t i = 0; i < layer.weights.size(); ++i)
      values += fmt::format("{}%y#{}", i ? ", " : "", i);
  }
  auto attributes = [&](const std::string &schedule) {
    std::string list = layer.activations == "int8"
                           ? ""
                           : fmt::format("activations = #qlinear.activation_format<{}>",
                                         layer.activations);
    if (!schedule.empty())
      list += (list.empty() ? "schedule = " : ", schedule = ") + schedule;
    return list.empty() ? list : " {" + list + "}";
  };
  for (auto &[name, schedule] : functions)
    text += fmt::format(
        "func.func @{}(%x: {}) -> ({}) {{\n{}  %y{} = qlinear.linear %x{}{} "
        ": ({}{}) -> ({})\n  return {} : {}\n}}\n",
        name, input, results, loads,
        layer.weights.size() > 1 ? ":" + std::to_string(layer.weights.size()) : "",
        operands, attributes(schedule), input, types, results, values, results);
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
    Result<std::string> usual = completed(layer, source, "");
    if (!usual)
      return wrong(usual.error());
    result.kernels = kernelsOf(*usual);
    std::vector<Kernel> kernels;
    for (const Kernel &kernel : result.kernels)
      if (std::any_of(layer.rows.begin(), layer.rows.end(), [&](int64_t m) {
            return kernelFor(result.kernels, m) == kernel;
          }))
        kernels.push_back(kernel);
    std::string declined;
    std::vector<std::pair<std::string, std::string>> functions;
    for (const Kernel &kernel : kernels) {
      Result<std::string> model =
          completed(layer, source, scheduleText({"", kernel, "", ""}));
      if (!model)
        return wrong(model.error());
      std::set<std::string> seen;
      for (Candidate &c : candidatesOf(*model, layer, kernel, request.vary)) {
        std::string schedule = scheduleText(c);
        Result<std::string> complete = completed(layer, source, schedule);
        if (!complete) {
          declined += fmt::format("  {}: {}\n", schedule, firstLine(complete.error()));
          continue;
        }
        // The given fields may be the cost model's choice anyway.
        if (!seen.insert(*complete).second)
          continue;
        c.function = fmt::format("c{}", functions.size());
        functions.emplace_back(c.function, schedule);
        result.candidates.push_back(std::move(c));
      }
    }
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

  /// A schedule with all that it leaves to the cost model, as quant-opt prints it.
  Result<std::string> completed(const Layer &layer, const std::string &source,
                                const std::string &schedule) {
    if (Result<void> written = writeOutput(source, moduleOf(layer, {{"f", schedule}}));
        !written)
      return written.takeError();
    Result<std::string> printed =
        runTool({tools + "/quant-opt", source, "--mlir-print-local-scope",
                 "--qlinear-schedule=target=" + request.target});
    if (!printed)
      return printed;
    size_t begin = printed->find("#qlinear.schedule<"), end = begin;
    if (begin == std::string::npos)
      return error("quant-opt printed no schedule");
    int depth = 0;
    do
      depth += ((*printed)[end] == '<') - ((*printed)[end] == '>');
    while (++end < printed->size() && (depth > 0 || (*printed)[end - 1] != '>'));
    return printed->substr(begin, end - begin);
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
