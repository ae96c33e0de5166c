//===- quant-tune.cpp - Measured schedules for the compiler ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tune.h"

#include "common/Version.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>

using namespace qlinear;
using namespace qlinear::tune;

namespace {

[[nodiscard]] int fail(const std::string &message) {
  fmt::print(stderr, "quant-tune: error: {}\n", message);
  return 1;
}

/// The folder of this program, where the compiler's tools lie too.
std::string toolsFolder() {
  std::error_code ec;
  return std::filesystem::read_symlink("/proc/self/exe", ec).parent_path().string();
}

struct Options {
  std::string shapes, folder, output;
  MeasureOptions measure;
  std::vector<std::string> tables;
};

int generateOnly(const Options &o) {
  Result<Request> request = readRequest(o.shapes);
  if (!request)
    return fail(request.error());
  Result<Plan> plan = generate(*request, o.output, toolsFolder(), o.measure.verbose);
  if (!plan)
    return fail(plan.error());
  fmt::print("now: quant-tune measure {} -o table.json, where the device is\n",
             o.output);
  return 0;
}

int measureInto(OutputFile &file, const Plan &plan, const std::string &folder,
                const Options &o) {
  Result<nlohmann::ordered_json> table = measure(plan, folder, o.measure);
  if (!table)
    return fail(table.error());
  if (table->empty())
    return 0; // a dry run
  if (Result<void> written = writeTable(file, *table); !written)
    return fail(written.error());
  if (o.output != "-")
    fmt::print("{}: {} entries\n", o.output, table->size());
  return 0;
}

int measureOnly(const Options &o) {
  Result<OutputFile> file = OutputFile::create(o.output); // before the work
  if (!file)
    return fail(file.error());
  Result<Plan> plan = readPlan(o.folder);
  return plan ? measureInto(*file, *plan, o.folder, o) : fail(plan.error());
}

int mergeOnly(const Options &o) {
  Result<OutputFile> file = OutputFile::create(o.output);
  if (!file)
    return fail(file.error());
  std::vector<nlohmann::ordered_json> tables;
  for (const std::string &path : o.tables) {
    Result<nlohmann::ordered_json> table = readTable(path);
    if (!table)
      return fail(table.error());
    tables.push_back(std::move(*table));
  }
  Result<void> written = writeTable(*file, merge(tables));
  return written ? 0 : fail(written.error());
}

int both(const Options &o) {
  if (Result<void> checked = checkOutputs({o.output}, {o.shapes}); !checked)
    return fail(checked.error());
  Result<OutputFile> file = OutputFile::create(o.output); // before the work
  if (!file)
    return fail(file.error());
  Result<Request> request = readRequest(o.shapes);
  if (!request)
    return fail(request.error());
  std::string folder =
      (std::filesystem::temp_directory_path() / "quant-tune-XXXXXX").string();
  if (!mkdtemp(folder.data()))
    return fail(fmt::format("cannot create '{}'", folder));
  Result<Plan> plan = generate(*request, folder, toolsFolder(), o.measure.verbose);
  int status = plan ? measureInto(*file, *plan, folder, o) : fail(plan.error());
  std::error_code ec;
  std::filesystem::remove_all(folder, ec);
  return status;
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
      "  quant-tune merge a.json b.json -o table.json    later entries win"};
  app.set_version_flag("--version", qlinear::versionText("quant-tune"));
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
  try {
    app.parse(argc, argv);
    int status = *generating ? generateOnly(o)
                 : *timing   ? measureOnly(o)
                 : *merging  ? mergeOnly(o)
                 : o.shapes.empty() || o.output.empty()
                     ? fail("a shapes file and -o are "
                            "needed; see quant-tune "
                            "--help")
                     : both(o);
    if (status != 0)
      return status;
  } catch (const CLI::ParseError &e) {
    if (int status = app.exit(e))
      return status;
  } catch (const std::exception &e) {
    return fail(e.what());
  }
  Result<void> flushed = flushStandardOutput();
  return flushed ? 0 : fail(flushed.error());
}
