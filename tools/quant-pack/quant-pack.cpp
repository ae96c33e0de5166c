//===- quant-pack.cpp - Checkpoints to packed archives --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Report.h"

#include "common/CommandLine.h"
#include "common/Progress.h"

#include <csignal>
#include <filesystem>
#include <fmt/core.h>
#include <regex>
#include <tbb/global_control.h>

using namespace qlinear;

namespace {

constexpr const char *kExamples = R"(
Encodings: auto       the smallest that keeps --min-snr; K-quants stay exact
           lossless   the smallest that changes no weight
           row-u8     8-bit scales and offsets, one bf16 step per row
           block-u8   8-bit scales and offsets, one f16 step per 256 weights
           bf16       plain bf16 scales and offsets
           or a spelling: 'u4, group = 32, zero, scale = bf16, offset = u4'

Examples:
  quant-pack model.gguf -o model.safetensors
  quant-pack model.gguf -o model.safetensors --encoding row-u8 --report report.json
  quant-pack model.gguf -o model.safetensors --emit-mlir model.mlir
  quant-pack model.safetensors -o packed.safetensors --quantize int4:32
  quant-pack model.safetensors -o packed.safetensors --quantize int4:32 \
             --quantize 'lm_head=int6:16' --encoding 'down_proj=lossless'
  quant-pack model.gguf -o model.safetensors --quantize int4:32 --requantize
  quant-pack packed.safetensors -o plain.safetensors --dequantize f32
  quant-pack --list packed.safetensors
  quant-pack --check packed.safetensors

Exit status: 0 done, 1 failed (nothing is written), 2 wrong usage.)";

struct CommandLine {
  std::string input, output, report, mlir, dtype = "f32", dequantize, names = "source";
  std::vector<std::string> encodings, quantizers, include, exclude;
  double minSnr = SelectionRule().minSnr;
  bool minmax = false, search = false, requantize = false, list = false, check = false,
       quiet = false, isDryRun = false;
  int threads = 0;
};

void checkPattern(const char *option, const std::string &text) {
  try {
    std::regex pattern(text);
  } catch (const std::regex_error &e) {
    throw UsageError{fmt::format("{}: '{}' is not a regular expression: {}", option,
                                 text, e.what())};
  }
}

PackOptions optionsOf(const CommandLine &line) {
  PackOptions out;
  for (const std::string &text : line.include)
    checkPattern("--include", text);
  for (const std::string &text : line.exclude)
    checkPattern("--exclude", text);
  out.include = line.include;
  out.exclude = line.exclude;
  out.rule.minSnr = line.minSnr;
  out.useHuggingFaceNames = line.names == "hf";
  out.isDryRun = line.isDryRun;
  out.requantize = line.requantize;
  if (auto valid = verifyMinSnr(line.minSnr); !valid)
    throw UsageError{valid.error()};
  for (const std::string &text : line.encodings) {
    auto whole = verifyRuleName(text);
    if (whole) {
      out.rule.name = text;
      continue;
    }
    // NAME=ENCODING; a spelling has '=' of its own, a name hardly ever.
    size_t equal = text.find('=');
    SelectionRule rule;
    rule.minSnr = line.minSnr;
    rule.name = equal == text.npos ? "" : text.substr(equal + 1);
    // Of a misspelled spelling, the whole is what is wrong.
    auto named = equal == text.npos || text.find(',') < equal
                     ? std::move(whole)
                     : verifyRuleName(rule.name);
    if (!named)
      throw UsageError{
          fmt::format("--encoding: {}; REGEX= before it is for the weights "
                      "whose names that finds",
                      named.error())};
    checkPattern("--encoding", text.substr(0, equal));
    out.rules.push_back({text.substr(0, equal), rule});
  }
  for (const std::string &text : line.quantizers) {
    size_t equal = text.rfind('=');
    auto options = parseQuantize(equal == text.npos ? text : text.substr(equal + 1));
    if (!options)
      throw UsageError{"--quantize: " + options.error()};
    options->search = !line.minmax;
    if (equal == text.npos)
      out.quantize = *options;
    if (equal == text.npos)
      continue;
    checkPattern("--quantize", text.substr(0, equal));
    out.quantizers.push_back({text.substr(0, equal), *options});
  }
  return out;
}

Result<void> run(const CommandLine &line, PackOptions options) {
  auto checkpoint = Checkpoint::open(line.input);
  if (!checkpoint)
    return checkpoint.takeError();
  if (line.list)
    return printContents(*checkpoint);
  if (line.check)
    return checkArchive(*checkpoint);
  std::vector<std::string> inputs;
  for (const auto &file : checkpoint->files())
    inputs.push_back(file->path());
  if (auto r = checkOutputs({line.output, line.report, line.mlir}, inputs); !r)
    return r;
  // Whether the files can be written is known before the work.
  std::optional<OutputFile> reportFile, mlirFile;
  for (auto [path, to] :
       {std::pair(&line.report, &reportFile), {&line.mlir, &mlirFile}})
    if (!path->empty()) {
      auto file = OutputFile::create(*path);
      if (!file)
        return file.takeError();
      *to = std::move(*file);
    }
  auto inventory = takeInventory(*checkpoint);
  if (!inventory)
    return inventory.takeError();

  Progress bar(!line.quiet);
  options.progress = [&](uint64_t done, uint64_t total) { bar.show(done, total); };
  options.finish = [&](const PackReport &report,
                       std::vector<OutputFile> &files) -> Result<void> {
    if (mlirFile) {
      if (report.layers.empty())
        return error("no weight is packed, and so --emit-mlir has no layer to write; "
                     "float weights need --quantize");
      files.push_back(std::move(*mlirFile));
      std::string name = std::filesystem::path(line.isDryRun ? line.input : line.output)
                             .filename()
                             .string();
      if (auto r = files.back().append(layersAsMlir(report.layers, line.dtype, name));
          !r)
        return r;
    }
    if (!reportFile)
      return {};
    files.push_back(std::move(*reportFile));
    return writeReport(report, line.input, line.output, options.rule, files.back());
  };
  std::string type = line.dequantize;
  for (char &c : type)
    c = char(toupper(c));
  auto report = type.empty()
                    ? packArchive(*checkpoint, *inventory, line.output, options)
                    : dequantizeTo(type, *checkpoint, *inventory, line.output, options);
  bar.clear();
  if (!report)
    return report.takeError();
  for (const std::string &note : report->notes)
    fmt::print(stderr, "quant-pack: note: {}\n", note);
  // Standard output may be the archive.
  if (!line.quiet && line.output != "-")
    printTable(*report);
  return {};
}

void defineOptions(CLI::App &app, CommandLine &line) {
  auto list = [&](const char *name, std::vector<std::string> &to, const char *type,
                  const char *help) {
    app.add_option(name, to, help)->type_name(type)->allow_extra_args(false);
  };
  app.add_option(
         "IN", line.input,
         "GGUF, safetensors (floats, GPTQ, AWQ, compressed-tensors, torchao, HQQ, "
         "MLX), model.safetensors.index.json, a directory with one of these, or a "
         "packed "
         "archive")
      ->required()
      ->type_name("");
  auto *output = app.add_option("-o,--output", line.output,
                                "The file to write; - is standard output")
                     ->type_name("FILE");
  list("-e,--encoding", line.encodings, "[REGEX=]NAME",
       "How metadata is stored; for names that REGEX finds, the first such decides "
       "(default auto)");
  app.add_option("--min-snr", line.minSnr,
                 "dB that auto keeps, against the source's exact weights; 0 to 200")
      ->capture_default_str()
      ->check(CLI::Number);
  list("-q,--quantize", line.quantizers, "[REGEX=]CODES:GROUP[:FORM]",
       "Quantize float weights: int4:32, int5:32, int6:16, int8:32, other groups (16 "
       "to 256, row), "
       "FORM symmetric, zero, min or centred");
  app.add_flag("--requantize", line.requantize,
               "Quantize weights that are quantized already, too, from their values: "
               "their codes are lost (the table says in dB how much of the values)")
      ->needs("--quantize");
  auto *minmax = app.add_flag("--minmax", line.minmax,
                              "Scales from each group's least and largest weight");
  app.add_flag("--search", line.search,
               "Scales that minimise the squared error (the default)")
      ->excludes(minmax);
  list("--include", line.include, "REGEX",
       "Pack only weights whose name it finds; repeatable");
  list("--exclude", line.exclude, "REGEX", "Carry these over as they are; repeatable");
  auto *dequantize = app.add_option("--dequantize", line.dequantize,
                                    "Write floats instead of packed weights")
                         ->type_name("f32|bf16|f16")
                         ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  app.add_option("--names", line.names,
                 "Names in the output: the source's, or of GGUF those of transformers, "
                 "with its order of the rows of attn_q and attn_k")
      ->type_name("source|hf")
      ->capture_default_str()
      ->check(CLI::IsMember({"source", "hf"}));
  app.add_option("--report", line.report, "Write what was done, as JSON")
      ->type_name("FILE");
  auto *mlir =
      app.add_option("--emit-mlir", line.mlir,
                     "Write a module of the linear layers, for quant-compile: one "
                     "function for each, or of models whose names are known for those "
                     "that share their input")
          ->type_name("FILE")
          ->excludes(dequantize);
  app.add_option("--dtype", line.dtype,
                 "Of --emit-mlir: the type of inputs and results")
      ->type_name("f32|bf16|f16")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "bf16", "f16"}))
      ->needs(mlir);
  auto *listing =
      app.add_flag("-l,--list", line.list, "Print what is in IN, and write nothing")
          ->excludes(output);
  app.add_flag("--check", line.check,
               "Compare the weights of the archive IN with their checksums, and write "
               "nothing")
      ->excludes(output)
      ->excludes(listing);
  app.add_flag("--dry-run", line.isDryRun,
               "Do all but write the archive: the table, and --report and --emit-mlir")
      ->excludes(output)
      ->excludes(listing);
  app.add_option("-j,--threads", line.threads, "Threads (default: all cores)")
      ->check(CLI::Range(1, 4096));
  app.add_flag("--quiet", line.quiet, "No table, no progress");
  for (const char *name : {"--encoding", "--quantize", "--requantize"})
    dequantize->excludes(app.get_option(name));
  app.footer(kExamples);
}

} // namespace

int main(int argc, char **argv) {
  // Past a file size limit, writing fails with an error rather than a signal.
  signal(SIGXFSZ, SIG_IGN);
  CommandLine line;
  CLI::App app("Packs the weights of a checkpoint for compiled linear layers.",
               "quant-pack");
  defineOptions(app, line);
  return runCommand(app, argc, argv, [&]() -> Result<void> {
    if (!line.list && !line.check && !line.isDryRun && line.output.empty())
      throw UsageError{
          "no output; name it with -o FILE, look at the input with --list, "
          "or at what would be packed with --dry-run"};
    PackOptions options = optionsOf(line);
    std::optional<tbb::global_control> threads;
    if (line.threads)
      threads.emplace(tbb::global_control::max_allowed_parallelism,
                      size_t(line.threads));
    try {
      return run(line, std::move(options));
    } catch (const std::bad_alloc &) {
      return error("out of memory; a weight needs about 10 bytes for each of its "
                   "elements");
    }
  });
}
