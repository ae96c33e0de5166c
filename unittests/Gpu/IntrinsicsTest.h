//===- IntrinsicsTest.h - Runs kernels of Inputs/intrinsics.cpp -*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The tests of IntrinsicsTest.cpp are in two programs, each with its own run(): in
// IntrinsicsTests on the emulated device, in gpu-runtime-tests on a GPU.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_GPU_INTRINSICSTEST_H
#define QLINEAR_UNITTESTS_GPU_INTRINSICSTEST_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gpu::intrinsics {

/// An argument of a kernel: a number, or an array, which goes to the device before the
/// first call of a run and comes back after the last.
struct Argument {
  uint64_t number = 0;
  void *array = nullptr;
  size_t bytes = 0;
  Argument(uint32_t number) : number(number) {}
  template <class T>
  Argument(std::vector<T> &v) : array(v.data()), bytes(v.size() * sizeof(T)) {}
};

struct Call {
  const char *kernel;
  std::vector<Argument> arguments;
  unsigned grid = 1, block = 32, smem = 0;
  unsigned cluster = 1;   ///< blocks
  bool dependent = false; ///< may start before the last call ends
};

/// Runs the calls one after the other. `seed` is for the order of the emulated device's
/// threads. What went wrong, or "".
std::string run(const std::vector<Call> &calls, unsigned seed);

/// How often a test runs its calls.
unsigned runs();

/// Gives back the device.
void release();

/// Why there is nothing to test with kernels of sm_80 (or sm_90), or ""; `exactly`:
/// those that run on one architecture only.
std::string missing(int sm, bool exactly = false);

} // namespace gpu::intrinsics
#endif
