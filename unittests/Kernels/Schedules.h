//===- Schedules.h - Schedules of like kernels ------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_KERNELS_SCHEDULES_H
#define QLINEAR_UNITTESTS_KERNELS_SCHEDULES_H

#include <sstream>
#include <string>
#include <vector>

namespace qlinear::schedules {

/// A schedule with a kernel for each of `rows`, all with the same fields, from
/// "rows = [1, 4], warps = 2, quantize = separate, pdl = true".
inline std::string alike(const std::string &text, const std::string &family = "gemv") {
  std::string rows, fields, more, kernels, field;
  int depth = 0;
  auto take = [&] {
    field.erase(0, field.find_first_not_of(' '));
    if (field.starts_with("rows"))
      rows = field.substr(field.find('[') + 1, field.find(']') - field.find('[') - 1);
    else
      (field.starts_with("quantize") || field.starts_with("pdl") ? more : fields) +=
          ", " + field;
    field.clear();
  };
  for (char c : text) {
    depth += (c == '[') - (c == ']');
    if (c == ',' && !depth)
      take();
    else
      field += c;
  }
  take();
  std::istringstream list(rows);
  for (std::string r; std::getline(list, r, ',');)
    kernels += (kernels.empty() ? "" : ", ") + ("#qlinear." + family) + "<rows = " + r +
               fields + ">";
  return "#qlinear.schedule<kernels = [" + kernels + "]" + more + ">";
}

} // namespace qlinear::schedules
#endif
