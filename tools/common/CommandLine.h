//===- CommandLine.h - What all tools with CLI11 do alike -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_COMMON_COMMANDLINE_H
#define QLINEAR_TOOLS_COMMON_COMMANDLINE_H

#include "qlinear/Encoding/Result.h"

#include <CLI/CLI.hpp>
#include <functional>

namespace qlinear {

/// Thrown by the body of a command: wrong usage, which --help explains.
struct UsageError {
  std::string message;
};

/// Adds --version, parses the command line, with help that wraps and suggestions for
/// misspelled options, and runs `body`. Returns the exit status: 0 done, 1 failed, 2
/// wrong usage; what went wrong is on standard error, after the name of the tool. A
/// standard output that cannot be written is a failure.
int runCommand(CLI::App &app, int argc, char **argv,
               const std::function<Result<void>()> &body);

} // namespace qlinear
#endif
