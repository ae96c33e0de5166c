//===- CommandLine.cpp - What all tools with CLI11 do alike ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "common/CommandLine.h"

#include "common/Version.h"
#include "common/Wrap.h"
#include "qlinear/Encoding/OutputFile.h"
#include "qlinear/Support/Suggest.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <set>

using namespace qlinear;

namespace {

constexpr size_t kNameColumns = 30;

/// "; not with --csv, --json": in the order of their names.
std::string listed(const char *what, const std::set<CLI::Option *> &options) {
  std::set<std::string> names;
  for (const CLI::Option *option : options)
    names.insert(option->get_name());
  return names.empty() ? "" : fmt::format("; {} {}", what, fmt::join(names, ", "));
}

/// The usual help, with descriptions in as many lines as they need.
struct WrappingFormatter : CLI::Formatter {
  WrappingFormatter() { column_width(kNameColumns); }
  std::string make_description(const CLI::App *app) const override {
    return wrapped(CLI::Formatter::make_description(app), outputColumns());
  }
  /// Without the other options, which have more room behind the description.
  std::string make_option_opts(const CLI::Option *option) const override {
    std::string text = CLI::Formatter::make_option_opts(option);
    return text.substr(0, std::min(text.find(" Needs:"), text.find(" Excludes:")));
  }
  std::string make_option_desc(const CLI::Option *option) const override {
    std::string text = option->get_description() +
                       listed("with", option->get_needs()) +
                       listed("not with", option->get_excludes());
    return wrapped(text, outputColumns() - kNameColumns);
  }
};

/// The names of all options that could be given here.
void namesOf(const CLI::App &app, std::vector<std::string> &names) {
  for (const CLI::Option *option : app.get_options())
    for (const std::string &name : option->get_lnames())
      names.push_back("--" + name);
  for (const CLI::App *command : app.get_subcommands())
    namesOf(*command, names);
}

/// What is wrong with the command line. An option that is not known says more than what
/// is missing in its place.
std::string explain(const CLI::App &app, const CLI::ParseError &parsing) {
  std::vector<std::string> names;
  namesOf(app, names);
  std::string text;
  for (const std::string &word : app.remaining(/*recurse=*/true))
    if (std::string name = word.substr(0, word.find('='));
        name.size() > 1 && name[0] == '-')
      text += fmt::format("{}unknown option '{}'{}", text.empty() ? "" : "; ", name,
                          didYouMean(name, names));
  return text.empty() ? parsing.what() : text;
}

} // namespace

int qlinear::runCommand(CLI::App &app, int argc, char **argv,
                        const std::function<Result<void>()> &body) {
  auto fail = [&](const std::string &message, int status) {
    fmt::print(stderr, "{}: error: {}\n", app.get_name(), message);
    return status;
  };
  app.set_version_flag("--version", versionText(app.get_name()));
  app.formatter(std::make_shared<WrappingFormatter>());
  for (CLI::App *command : app.get_subcommands({}))
    command->formatter(app.get_formatter());
  try {
    app.parse(argc, argv);
    if (Result<void> done = body(); !done)
      return fail(done.error(), 1);
  } catch (const CLI::Success &asked) { // --help, --version
    app.exit(asked);
  } catch (const CLI::ParseError &parsing) {
    return fail(explain(app, parsing) + "\nsee " + app.get_name() + " --help", 2);
  } catch (const UsageError &usage) {
    return fail(usage.message, 2);
  } catch (const std::bad_alloc &) {
    return fail("out of memory", 1);
  } catch (const std::exception &e) {
    return fail(e.what(), 1);
  }
  if (Result<void> flushed = flushStandardOutput(); !flushed)
    return fail(flushed.error(), 1);
  return 0;
}
