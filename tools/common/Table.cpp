//===- Table.cpp - Columns of text ----------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "common/Table.h"

#include <algorithm>
#include <fmt/core.h>

using namespace qlinear;

Table::Table(std::vector<std::string> header, size_t leftColumns)
    : leftColumns(leftColumns) {
  rows.push_back(std::move(header));
}

std::string Table::text() const {
  std::vector<size_t> widths(rows[0].size());
  for (const auto &row : rows)
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  std::string out;
  for (const auto &row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i)
        line += "  ";
      line += i < leftColumns || i + 1 == row.size()
                  ? fmt::format("{:<{}}", row[i], widths[i])
                  : fmt::format("{:>{}}", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}
