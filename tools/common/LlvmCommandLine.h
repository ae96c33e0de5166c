//===- LlvmCommandLine.h - What tools with LLVM's options do ----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_COMMON_LLVMCOMMANDLINE_H
#define QLINEAR_TOOLS_COMMON_LLVMCOMMANDLINE_H

#include "common/Version.h"
#include "common/Wrap.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

#include <deque>

namespace qlinear {

/// What --version prints.
inline void setVersionOf(const char *tool) {
  llvm::cl::SetVersionPrinter(
      [=](llvm::raw_ostream &os) { os << versionText(tool) << "\n"; });
}

/// Shows the options of a category alone, with help that wraps.
inline void showOnly(llvm::cl::OptionCategory &category) {
  static std::deque<std::string> texts; // options refer to them
  llvm::cl::HideUnrelatedOptions({&category});
  std::vector<llvm::cl::Option *> options;
  size_t names = 0;
  for (auto &entry : llvm::cl::getRegisteredOptions())
    if (llvm::is_contained(entry.second->Categories, &category)) {
      options.push_back(entry.second);
      names = std::max(names, entry.second->getOptionWidth());
    }
  for (llvm::cl::Option *option : options) {
    texts.push_back(wrapped(option->HelpStr.str(), outputColumns() - names - 4));
    option->setDescription(texts.back());
  }
}

} // namespace qlinear
#endif
