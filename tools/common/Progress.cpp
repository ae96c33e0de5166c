//===- Progress.cpp - What is being done, on a terminal -------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "common/Progress.h"

#include <cstdio>
#include <fmt/core.h>
#include <unistd.h>

using namespace qlinear;

std::string qlinear::sizeText(double bytes) {
  const char *units[] = {"B", "KB", "MB", "GB", "TB"};
  int unit = 0;
  for (; bytes >= 1000 && unit < 4; ++unit)
    bytes /= 1000;
  return unit == 0 ? fmt::format("{:.0f} B", bytes)
                   : fmt::format("{:.2f} {}", bytes, units[unit]);
}

Progress::Progress(bool enabled) : isShown(enabled && isatty(STDERR_FILENO)) {}

void Progress::show(uint64_t done, uint64_t total) {
  double part = total ? double(done) / double(total) : 1;
  constexpr int kWidth = 40;
  int full = int(part * kWidth);
  say(fmt::format("[{}{}] {:3.0f}% of {}", std::string(size_t(full), '='),
                  std::string(size_t(kWidth - full), ' '), 100 * part,
                  sizeText(double(total))));
}

void Progress::say(const std::string &what) {
  if (!isShown)
    return;
  fmt::print(stderr, "\r\033[K{}", what);
  fflush(stderr);
}

void Progress::clear() { say(""); }
