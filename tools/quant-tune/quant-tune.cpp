//===- quant-tune.cpp - Measured schedules for the compiler ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tune.h"

#include "common/CommandLine.h"
#include "common/Programs.h"

#include <fmt/format.h>

using namespace qlinear;
using namespace qlinear::tune;

namespace {

struct Options {
  std::string shapes, folder, output;
  MeasureOptions measure;
  std::vector<std::string> tables;
};

Result<void> generateOnly(const Options &o) {
  Result<Request> request = readRequest(o.shapes);
  if (!request)
    return request.takeError();
  Result<Plan> plan = generate(*request, o.output, toolsFolder(), o.measure.verbose);
  if (!plan)
    return plan.takeError();
  fmt::print("now: quant-tune measure {} -o table.json, where the device is\n",
             o.output);
  return {};
}

Result<void> measureInto(OutputFile &file, const Plan &plan, const std::string &folder,
                         const Options &o) {
  Result<nlohmann::ordered_json> table = measure(plan, folder, o.measure);
  if (!table)
    return table.takeError();
  if (table->empty())
    return {}; // a dry run
  if (Result<void> written = writeTable(file, *table); !written)
    return written.takeError();
  if (o.output != "-")
    fmt::print("{}: {} entries\n", o.output, table->size());
  return {};
}

Result<void> measureOnly(const Options &o) {
  Result<OutputFile> file = OutputFile::create(o.output); // before the work
  if (!file)
    return file.takeError();
  Result<Plan> plan = readPlan(o.folder);
  return plan ? measureInto(*file, *plan, o.folder, o) : Result<void>(plan.takeError());
}

Result<void> mergeOnly(const Options &o) {
  Result<OutputFile> file = OutputFile::create(o.output);
  if (!file)
    return file.takeError();
  std::vector<nlohmann::ordered_json> tables;
  for (const std::string &path : o.tables) {
    Result<nlohmann::ordered_json> table = readTable(path);
    if (!table)
      return table.takeError();
    tables.push_back(std::move(*table));
  }
  Result<void> written = writeTable(*file, merge(tables));
  return written;
}

Result<void> both(const Options &o) {
  if (Result<void> checked = checkOutputs({o.output}, {o.shapes}); !checked)
    return checked.takeError();
  Result<OutputFile> file = OutputFile::create(o.output); // before the work
  if (!file)
    return file.takeError();
  Result<Request> request = readRequest(o.shapes);
  if (!request)
    return request.takeError();
  Result<TemporaryFolder> folder = TemporaryFolder::create("quant-tune");
  if (!folder)
    return folder.takeError();
  Result<Plan> plan =
      generate(*request, folder->path(), toolsFolder(), o.measure.verbose);
  return plan ? measureInto(*file, *plan, folder->path(), o)
              : Result<void>(plan.takeError());
}

} // namespace

int main(int argc, char **argv) {
  Options o;
  CLI::App app{
      "Measures schedules of linears on the device at hand and writes a table for "
      "quant-compile --schedule-table.\n\n"
      "  quant-tune shapes.json -o table.json            all of it\n"
      "  quant-tune generate shapes.json -o DIR          compile the candidates\n"
      "  quant-tune measure DIR -o table.json            time them; needs no "
      "compiler\n"
      "  quant-tune merge a.json b.json -o table.json    later entries win",
      "quant-tune"};
  auto measuring = [&](CLI::App *command) {
    command->add_option("--device", o.measure.device,
                        "cuda, cuda:1; emulated and cpu make a dry run");
    command->add_option("--rounds", o.measure.rounds, "Rounds over all candidates")
        ->check(CLI::PositiveNumber);
    command->add_option("--replays", o.measure.replays, "Replays of a graph per round")
        ->check(CLI::PositiveNumber);
  };
  auto verbose = [&](CLI::App *command) {
    command->add_flag("-v,--verbose", o.measure.verbose, "Print every candidate");
  };
  app.add_option("shapes", o.shapes, "Shapes file; docs/quant-tune.md describes it");
  app.add_option("-o,--output", o.output, "Table to write");
  measuring(&app);
  verbose(&app);
  app.require_subcommand(0, 1);

  CLI::App *generating = app.add_subcommand("generate", "Compile the candidates");
  generating->add_option("shapes", o.shapes, "Shapes file")->required();
  generating->add_option("-o,--output", o.output, "Folder to write")->required();
  verbose(generating);
  CLI::App *timing = app.add_subcommand("measure", "Time the candidates of a folder");
  timing->add_option("folder", o.folder, "What generate wrote")->required();
  timing->add_option("-o,--output", o.output, "Table to write")->required();
  measuring(timing);
  verbose(timing);
  CLI::App *merging = app.add_subcommand("merge", "Join tables");
  merging->add_option("tables", o.tables, "Tables, the later ones win")->required();
  merging->add_option("-o,--output", o.output, "Table to write")->required();
  return runCommand(app, argc, argv, [&]() -> Result<void> {
    if (*generating)
      return generateOnly(o);
    if (*timing)
      return measureOnly(o);
    if (*merging)
      return mergeOnly(o);
    if (o.shapes.empty() || o.output.empty())
      throw UsageError{"a shapes file and -o are needed; see quant-tune --help"};
    return both(o);
  });
}
