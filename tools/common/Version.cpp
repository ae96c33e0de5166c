//===- Version.cpp - Which build a tool is of -----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "common/Version.h"

#include "QLinearVersion.h"

std::string qlinear::versionText(const std::string &tool) {
  std::string commit = QLINEAR_COMMIT;
  return tool + " (QLinear " QLINEAR_VERSION +
         (commit.empty() ? "" : ", commit " + commit) + ")";
}
