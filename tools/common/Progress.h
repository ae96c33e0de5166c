//===- Progress.h - What is being done, on a terminal -----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_COMMON_PROGRESS_H
#define QLINEAR_TOOLS_COMMON_PROGRESS_H

#include <cstdint>
#include <string>

namespace qlinear {

/// "264.24 MB".
std::string sizeText(double bytes);

/// A line on standard error, if that is a terminal.
class Progress {
public:
  explicit Progress(bool enabled);
  /// A bar of bytes.
  void show(uint64_t done, uint64_t total);
  void say(const std::string &what);
  /// Removes it, so that what follows starts on a clean line.
  void clear();

private:
  bool isShown;
};

} // namespace qlinear
#endif
