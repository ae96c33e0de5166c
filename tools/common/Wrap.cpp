//===- Wrap.cpp - Text in lines of a width --------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "common/Wrap.h"

#include <algorithm>
#include <sys/ioctl.h>
#include <unistd.h>

size_t qlinear::outputColumns() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return 80;
  return std::max<size_t>(size.ws_col, 60);
}

std::string qlinear::wrapped(const std::string &text, size_t columns) {
  std::string out = text;
  size_t start = 0, space = std::string::npos; // of the line; the last in it
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '\n') {
      start = i + 1;
      space = std::string::npos;
    } else if (out[i] == ' ') {
      space = i;
    }
    if (i + 1 - start > columns && space != std::string::npos) {
      out[space] = '\n';
      start = space + 1;
      space = std::string::npos;
    }
  }
  return out;
}
