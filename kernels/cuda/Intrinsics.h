//===- Intrinsics.h - All that device code asks of a GPU --------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The complete list of device operations in generated kernels. Intrinsics.cpp
// defines them for NVPTX in a bitcode file of its own; the emulated device links
// twins with the same names instead. All other device code is plain LLVM IR.
//
// A pointer into shared memory is QL_SHARED (address space 3), others are
// generic. Vectors are passed by value as <2 x i32> and <4 x i32>.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CUDA_INTRINSICS_H
#define QLINEAR_KERNELS_CUDA_INTRINSICS_H

#include "../common/Portable.h"

extern "C" {
using namespace qlinear::kernels;

// Where this thread is. Blocks and threads are one-dimensional.
i32 ql_ptx_thread();
i32 ql_ptx_block();

// Synchronisation: the whole block; the 32 threads of a warp (all of them).
void ql_ptx_barrier();
void ql_ptx_warp_barrier();
/// The value of the thread `lane ^ mask` of the same warp; all 32 take part.
u32 ql_ptx_shuffle_xor(u32 value, i32 mask);

// Arithmetic.
/// c + the dot product of 4 unsigned bytes of `a` with 4 signed bytes of `b`.
i32 ql_ptx_dp4a(u32 a, u32 b, i32 c);
/// Result byte i is the byte of {b, a} (b is bytes 4..7) that bits 4i..4i+2 of
/// `selector` name.
u32 ql_ptx_byte_permute(u32 a, u32 b, u32 selector);
/// 2^x to within 2 ulp.
float ql_ptx_exp2(float x);

// Memory.
/// 16, 8, 4 bytes of constant memory that is read once: not kept in L1.
u32x4 ql_ptx_stream16(const void *p);
u32x2 ql_ptx_stream8(const void *p);
u32 ql_ptx_stream4(const void *p);
/// 16 bytes written by another kernel: read from L2.
u32x4 ql_ptx_load16_l2(const void *p);

// Programmatic dependent launch (sm_90): let the next kernel of the stream
// start; wait until the previous one is complete and its writes are visible.
void ql_ptx_launch_dependents();
void ql_ptx_wait_prior_grids();

// Bulk copies (sm_90): global memory to shared memory, 16-byte aligned, bytes a
// multiple of 16, completing on an mbarrier.
void ql_ptx_mbarrier_init(QL_SHARED u64 *barrier); ///< one arrival per phase
void ql_ptx_mbarrier_fence();
void ql_ptx_mbarrier_expect(QL_SHARED u64 *barrier, u32 bytes); ///< and arrive
void ql_ptx_mbarrier_wait(QL_SHARED u64 *barrier, u32 parity);
u64 ql_ptx_evict_first();
void ql_ptx_bulk_copy(QL_SHARED void *dst, const void *src, u32 bytes,
                      QL_SHARED u64 *barrier);
/// The same with an L2 policy from ql_ptx_evict_first().
void ql_ptx_bulk_copy_hint(QL_SHARED void *dst, const void *src, u32 bytes,
                           QL_SHARED u64 *barrier, u64 policy);

// Asynchronous 16-byte copies (sm_80), in groups per thread; wait until at most
// `pending` (0..7) groups are still under way.
void ql_ptx_async_copy16(QL_SHARED void *dst, const void *src);
void ql_ptx_async_commit();
void ql_ptx_async_wait(i32 pending);
}
#endif
