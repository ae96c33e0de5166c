//===- Programs.h - Programs that a tool runs -------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_COMMON_PROGRAMS_H
#define QLINEAR_TOOLS_COMMON_PROGRAMS_H

#include "qlinear/Encoding/Result.h"

#include <string>
#include <vector>

namespace qlinear {

/// The folder of this program, where the other tools lie too.
std::string toolsFolder();

/// The Python for what is written in it: $QLINEAR_PYTHON, or python3.
std::string pythonProgram();

/// Runs a program and returns its standard output; an error has its standard error.
Result<std::string> runTool(const std::vector<std::string> &command);

/// A folder for files that other programs read, removed with the object.
class TemporaryFolder {
public:
  static Result<TemporaryFolder> create(const std::string &tool);
  TemporaryFolder(TemporaryFolder &&other) noexcept { name.swap(other.name); }
  ~TemporaryFolder();
  const std::string &path() const { return name; }

private:
  TemporaryFolder() = default;
  std::string name;
};

} // namespace qlinear
#endif
