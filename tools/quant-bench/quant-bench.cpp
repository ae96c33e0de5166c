//===- quant-bench.cpp - What an encoding costs and gains -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include "common/CommandLine.h"
#include "common/Programs.h"
#include "common/Progress.h"

#include <filesystem>
#include <fmt/format.h>

using namespace qlinear;
using namespace qlinear::bench;
using nlohmann::ordered_json;

namespace {

constexpr const char *kExamples = R"(
Encodings: auto, lossless, row-u8, block-u8, bf16, f16, f32
                      as in quant-pack; of floats after --quantize
           Q4_K, Q8_0, ...
                      GGUF's
           CODES:GROUP[:FORM][/NAME]
                      quantized first, also what is quantized already
           a spelling 'u4, group = 32, zero, scale = bf16, offset = u4'

Examples:
  quant-bench model.gguf --encoding lossless,row-u8,bf16 --rows 1,8,512
  quant-bench model.safetensors --tensor 'layers.0.*down_proj' --encoding int4:32,int8:32
  quant-bench 4096x14336 --encoding Q4_K,Q6_K,Q8_0 --device cuda:0 --markdown
  quant-bench packed.safetensors --largest 3 --csv > bench.csv

Exit status: 0 done, 1 failed or a result is wrong, 2 wrong usage.)";

struct CommandLine {
  Choice choice;
  std::vector<std::string> encodings;
  std::string quantize = "int4:32", plot;
  double minSnr = SelectionRule().minSnr;
  MeasureOptions measure;
  int threads = 0;
  bool asCsv = false, asJson = false, asMarkdown = false, quiet = false;
};

void defineOptions(CLI::App &app, CommandLine &line) {
  app.add_option("INPUT", line.choice.inputs,
                 "What quant-pack reads: a checkpoint or a packed archive; or a shape "
                 "NxK of random weights")
      ->required()
      ->type_name("");
  app.add_option("-t,--tensor", line.choice.tensors,
                 "Weights whose name it finds; repeatable (default: the largest)")
      ->type_name("REGEX")
      ->allow_extra_args(false);
  app.add_option("--largest", line.choice.largest,
                 "Without --tensor: so many weights of different shapes or formats")
      ->type_name("COUNT")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("-e,--encoding", line.encodings,
                 "What to compare, comma-separated; repeatable, a spelling each by "
                 "itself (default auto)")
      ->type_name("LIST")
      ->allow_extra_args(false);
  app.add_option("-q,--quantize", line.quantize,
                 "How float weights are quantized where the encoding does not say")
      ->type_name("CODES:GROUP[:FORM]")
      ->capture_default_str();
  app.add_option("--min-snr", line.minSnr, "dB that auto keeps")
      ->capture_default_str()
      ->check(CLI::Number);
  app.add_option("-M,--rows", line.measure.rows, "Rows (tokens) of a call: 1,8,512")
      ->delimiter(',')
      ->type_name("LIST")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 16));
  app.add_option("-d,--device", line.measure.device,
                 "cpu, cuda or cuda:ORDINAL; emulated has no speed, but errors")
      ->capture_default_str();
  app.add_option("-j,--threads", line.threads, "Threads of a CPU (default: all cores)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--target", line.measure.target,
                 "As of quant-compile (default: what is best for the device)");
  app.add_option("--dtype", line.measure.dtype, "The type of inputs and results")
      ->type_name("f32|bf16|f16")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  app.add_option("--activations", line.measure.activations,
                 "What weights are multiplied with: quantized inputs, or as they come")
      ->type_name("int8|float")
      ->capture_default_str()
      ->check(CLI::IsMember({"int8", "float"}));
  auto *csv = app.add_flag("--csv", line.asCsv, "Print CSV, without units");
  auto *json = app.add_flag("--json", line.asJson, "Print JSON")->excludes(csv);
  app.add_flag("--markdown", line.asMarkdown, "Print a table for Markdown")
      ->excludes(csv)
      ->excludes(json);
  app.add_option(
         "--plot", line.plot,
         "Draw it, too: a file .svg, .png or .pdf; needs Python with matplotlib")
      ->type_name("FILE");
  app.add_flag("--quiet", line.quiet, "No progress");
  app.footer(kExamples);
}

/// The file of a plot. Whether there can be one is known before the work.
Result<OutputFile> preparePlot(const std::string &path) {
  std::string end = std::filesystem::path(path).extension();
  if (end != ".svg" && end != ".png" && end != ".pdf")
    return error(fmt::format("--plot: '{}' does not end in .svg, .png or .pdf", path));
  if (auto found = runTool({pythonProgram(), "-c", "import matplotlib"}); !found)
    return error(fmt::format("--plot needs matplotlib, which '{}' does not have: "
                             "python3 -m pip install matplotlib, or name another "
                             "Python in QLINEAR_PYTHON",
                             pythonProgram()));
  return OutputFile::create(path);
}

Result<void> draw(const ordered_json &report, OutputFile &plot) {
  auto folder = TemporaryFolder::create("quant-bench");
  if (!folder)
    return folder.takeError();
  std::string data = folder->path() + "/report.json",
              picture = folder->path() + "/plot";
  picture += std::filesystem::path(plot.path()).extension();
  if (auto written = writeOutput(data, report.dump()); !written)
    return written;
  std::string script = toolsFolder() + "/../share/qlinear/plot_bench.py";
  if (auto drawn = runTool({pythonProgram(), script, data, "-o", picture}); !drawn)
    return drawn.takeError();
  auto bytes = MappedFile::open(picture);
  if (!bytes)
    return bytes.takeError();
  if (auto written = plot.append((*bytes)->bytes()); !written)
    return written;
  return plot.publish();
}

Result<std::vector<Row>> measureAll(const Sources &sources,
                                    const std::vector<Method> &methods,
                                    const QuantizeOptions &quantize,
                                    Measurement &measurement, Progress &progress) {
  std::vector<Row> rows;
  for (size_t i = 0; i < sources.weights.size(); ++i) {
    const Source &source = sources.weights[i];
    auto say = [&](const std::string &what) {
      progress.say(fmt::format("weight {} of {}, {}: {}", i + 1, sources.weights.size(),
                               source.name, what));
    };
    say("loading");
    auto loaded = source.load();
    auto floats =
        loaded ? valuesOf(*loaded) : Result<std::vector<float>>(loaded.takeError());
    if (!floats)
      return error(fmt::format("'{}': {}", source.name, floats.error()));
    std::vector<Coded> coded;
    for (const Method &method : methods) {
      say(method.text);
      auto one = encode(*loaded, *floats, source.N, source.K, method, quantize);
      if (!one)
        return error(
            fmt::format("'{}', {}: {}", source.name, method.text, one.error()));
      coded.push_back(std::move(*one));
    }
    say("compiling and measuring");
    auto lines = measurement.measure(source, *floats, coded);
    if (!lines)
      return lines.takeError();
    std::ranges::move(*lines, std::back_inserter(rows));
  }
  progress.clear();
  return rows;
}

Result<void> run(const CommandLine &line, const std::vector<Method> &methods,
                 const QuantizeOptions &quantize) {
  auto sources = chooseWeights(line.choice);
  if (!sources)
    return sources.takeError();
  std::vector<std::string> inputs;
  for (const auto &checkpoint : sources->files)
    for (const auto &file : checkpoint->files())
      inputs.push_back(file->path());
  if (auto apart = checkOutputs({line.plot}, inputs); !apart)
    return apart;
  std::optional<OutputFile> plot;
  if (!line.plot.empty()) {
    auto file = preparePlot(line.plot);
    if (!file)
      return file.takeError();
    plot = std::move(*file);
  }
  Progress progress(!line.quiet);
  progress.say("measuring how fast memory is read");
  auto measurement = Measurement::open(line.measure);
  if (!measurement) {
    progress.clear();
    return measurement.takeError();
  }
  auto rows = measureAll(*sources, methods, quantize, **measurement, progress);
  progress.clear();
  if (!rows)
    return rows.takeError();
  ordered_json report = reportOf(**measurement, *rows);
  fmt::print("{}", line.asJson ? report.dump(1) + "\n"
                               : textOf(report, line.asCsv        ? Format::csv
                                                : line.asMarkdown ? Format::markdown
                                                                  : Format::table));
  return plot ? draw(report, *plot) : Result<void>();
}

} // namespace

int main(int argc, char **argv) {
  CommandLine line;
  CLI::App app("Compares encodings of weights: bits, accuracy, and the time of a call, "
               "whose results are checked.",
               "quant-bench");
  defineOptions(app, line);
  return runCommand(app, argc, argv, [&]() -> Result<void> {
    if (line.encodings.empty())
      line.encodings = {"auto"};
    if (auto valid = verifyMinSnr(line.minSnr); !valid)
      throw UsageError{valid.error()};
    std::vector<Method> methods;
    for (const std::string &text : line.encodings) {
      auto more = parseMethods(text, line.minSnr);
      if (!more)
        throw UsageError{"--encoding: " + more.error()};
      std::ranges::move(*more, std::back_inserter(methods));
    }
    auto quantize = parseQuantize(line.quantize);
    if (!quantize)
      throw UsageError{"--quantize: " + quantize.error()};
    if (line.threads) {
      if (line.measure.device != "cpu")
        throw UsageError{"--threads is of --device cpu"};
      line.measure.device += fmt::format(":{}", line.threads);
    }
    return run(line, methods, *quantize);
  });
}
