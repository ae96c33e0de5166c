//===- Table.h - Columns of text --------------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_COMMON_TABLE_H
#define QLINEAR_TOOLS_COMMON_TABLE_H

#include <string>
#include <vector>

namespace qlinear {

/// Columns as wide as their widest cell. The first ones are left-aligned texts, and so
/// is the last, for notes; numbers are between them.
class Table {
public:
  Table(std::vector<std::string> header, size_t leftColumns);
  void add(std::vector<std::string> row) { rows.push_back(std::move(row)); }
  std::string text() const;

private:
  size_t leftColumns;
  std::vector<std::vector<std::string>> rows;
};

} // namespace qlinear
#endif
