//===- Version.h - Which build a tool is of ---------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_COMMON_VERSION_H
#define QLINEAR_TOOLS_COMMON_VERSION_H

#include <string>

namespace qlinear {

/// "quant-pack (QLinear 1.2.3, commit 0123456789ab)"; of sources that are no checkout,
/// without the commit.
std::string versionText(const std::string &tool);

} // namespace qlinear
#endif
