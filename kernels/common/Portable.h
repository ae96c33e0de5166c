//===- Portable.h - What the micro-kernels need of a compiler ---*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Micro-kernels are freestanding C++ that is compiled to LLVM bitcode, for a GPU or for
// CPUs; unit tests compile those of CPUs as ordinary functions. Every function is
// inlined into the generated kernel, where the encoding and the shape are constants;
// all loops marked QL_UNROLL have constant trip counts there.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_COMMON_PORTABLE_H
#define QLINEAR_KERNELS_COMMON_PORTABLE_H

#include "qlinear/Encoding/Layout.h"

#define QL_INLINE inline __attribute__((always_inline))
// Inlined late, when the kernel's constants have removed most calls: this keeps
// compilation fast.
#define QL_INLINE_LATE __attribute__((noinline))
#define QL_UNROLL _Pragma("clang loop unroll(full)")
#define QL_NO_UNROLL _Pragma("clang loop unroll(disable) vectorize(disable)")

// The GPU's shared memory; plain memory on the host.
#ifdef __NVPTX__
#define QL_SHARED __attribute__((address_space(3)))
#else
#define QL_SHARED
#endif

namespace qlinear::kernels {

using layout::alignTo;
using layout::u32;
using layout::u64;
using layout::u8;
using i16 = short;
using u16 = unsigned short;
using i32 = int;
using i64 = long long;
using u32x2 = u32 __attribute__((ext_vector_type(2)));
using u32x4 = u32 __attribute__((ext_vector_type(4)));
using f32x4 = float __attribute__((ext_vector_type(4)));

template <class To, class From> QL_INLINE To bitCast(From v) {
  static_assert(sizeof(To) == sizeof(From));
  return __builtin_bit_cast(To, v);
}
QL_INLINE int min(int a, int b) { return a < b ? a : b; }
QL_INLINE int max(int a, int b) { return a > b ? a : b; }

} // namespace qlinear::kernels
#endif
