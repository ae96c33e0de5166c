//===- Wrap.h - Text in lines of a width ------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_COMMON_WRAP_H
#define QLINEAR_TOOLS_COMMON_WRAP_H

#include <string>

namespace qlinear {

/// Columns of the terminal that standard output is, at least 60; 80 if it is none.
size_t outputColumns();

/// The text with line breaks in place of spaces, such that no line is longer than
/// `columns`, unless a word is.
std::string wrapped(const std::string &text, size_t columns);

} // namespace qlinear
#endif
