//===- CpuKernels.h - The micro-kernels of one instruction set --*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// kernels/cpu compiled as ordinary functions, once per instruction set: the
// encoding and the shape are run-time values here, so that one binary covers all
// of them, and the sanitizers see every access.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_KERNELS_CPUKERNELS_H
#define QLINEAR_UNITTESTS_KERNELS_CPUKERNELS_H

#include <cstdint>

struct CpuKernels {
  using u64 = unsigned long long;
  const char *name;
  const char *set; ///< the instruction set that they need
  void (*beginTile)(u64 spec, u64 N, u64 K, int M, const unsigned char *blob, u64 tile,
                    void *state);
  void (*addUnit)(u64 spec, u64 N, u64 K, int M, const unsigned char *blob,
                  const unsigned char *activations, int rows, u64 tile, u64 unit,
                  int tail, void *state);
  void (*endTile)(int M, const void *state, float *out);
  void (*multiplyTiles)(u64 spec, u64 N, u64 K, const unsigned char *blob,
                        const unsigned char *activations, int rows, u64 tile, int tiles,
                        void *state, u64 stride, void *out);
  void (*load)(int dtype, const void *from, u64 count, void *out);
  void (*store)(int dtype, void *to, u64 count, const void *values);
  void (*quantize)(int dtype, u64 K, const unsigned char *x, unsigned char *out);
  void (*decode)(u64 spec, const void *fields, const void *first, const void *second,
                 void *out);
};

/// The build says which there are: of a library its own, of a test all.
extern const __attribute__((visibility("default"))) CpuKernels QL_CPU_KERNELS;

#endif
