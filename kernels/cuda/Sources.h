//===- Sources.h - Where units are read from --------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_SOURCES_H
#define QLINEAR_KERNELS_CUDA_SOURCES_H

#include "Intrinsics.h"

namespace qlinear::kernels {

/// Reads a unit in shared memory.
struct SharedSource {
  QL_SHARED const u8 *p;
  QL_INLINE u32x4 load16(int o) const { return *(QL_SHARED const u32x4 *)(p + o); }
  QL_INLINE u32x2 load8(int o) const { return *(QL_SHARED const u32x2 *)(p + o); }
  QL_INLINE u32 load4(int o) const { return *(QL_SHARED const u32 *)(p + o); }
  QL_INLINE u32 load2(int o) const { return *(QL_SHARED const u16 *)(p + o); }
  QL_INLINE u32 load1(int o) const { return *(QL_SHARED const u8 *)(p + o); }
};
/// Reads a unit in global memory.
struct StreamSource {
  const u8 *p;
  QL_INLINE u32x4 load16(int o) const { return ql_ptx_stream16(p + o); }
  QL_INLINE u32x2 load8(int o) const { return ql_ptx_stream8(p + o); }
  QL_INLINE u32 load4(int o) const { return ql_ptx_stream4(p + o); }
  QL_INLINE u32 load2(int o) const { return *(const u16 *)(p + o); }
  QL_INLINE u32 load1(int o) const { return p[o]; }
};

} // namespace qlinear::kernels
#endif
