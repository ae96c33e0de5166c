//===- Experts.h - Which rows an expert has ---------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_EXPERTS_H
#define QLINEAR_KERNELS_CPU_EXPERTS_H

#include "Vector.h"

namespace qlinear::cpu {

/// The numbers of `count` choices in order of their experts, those of one in the order
/// that they have, and at last those of no expert. `starts` has room for a number per
/// expert and one more.
QL_INLINE void orderChoices(const unsigned *ids, u64 count, u64 experts,
                            unsigned *starts, unsigned *order) {
  auto groupOf = [&](u64 i) { return ids[i] < experts ? ids[i] : experts; };
  for (u64 e = 0; e <= experts; ++e)
    starts[e] = 0;
  for (u64 i = 0; i < count; ++i)
    ++starts[groupOf(i)];
  unsigned next = 0;
  for (u64 e = 0; e <= experts; ++e) {
    unsigned size = starts[e];
    starts[e] = next;
    next += size;
  }
  for (u64 i = 0; i < count; ++i)
    order[starts[groupOf(i)]++] = unsigned(i);
}

/// How many of the choices from `at` on have the expert of the first; `most` at most.
QL_INLINE unsigned sameExpert(const unsigned *ids, const unsigned *order, u64 at,
                              u64 count, u64 most) {
  unsigned n = 1;
  while (n < most && at + n < count && ids[order[at + n]] == ids[order[at]])
    ++n;
  return n;
}

} // namespace qlinear::cpu
#endif
