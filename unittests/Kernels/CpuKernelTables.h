//===- CpuKernelTables.h - The micro-kernels as tests' parameters -*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_KERNELS_CPUKERNELTABLES_H
#define QLINEAR_UNITTESTS_KERNELS_CPUKERNELTABLES_H

#include "CpuKernels.h"
#include "qlinear/Support/InstructionSets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

template <typename... Table> auto addressesOf(const Table &...tables) {
  return std::array{&tables...};
}
inline const auto kAllCpuKernels = addressesOf(QL_CPU_KERNELS);

inline bool isSupported(const CpuKernels &kernels) {
  return qlinear::machineRuns(*qlinear::findInstructionSet(kernels.set));
}

/// In characters of identifiers.
inline std::string nameOf(const testing::TestParamInfo<const CpuKernels *> &info) {
  std::string name = info.param->name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

#endif
