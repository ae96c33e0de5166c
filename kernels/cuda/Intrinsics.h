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
i32 ql_ptx_blocks(); ///< of the grid

// Synchronisation: the whole block; the 32 threads of a warp (all of them).
void ql_ptx_barrier();
void ql_ptx_warp_barrier();
/// The 128 threads of a group of four warps; `id` (1..15) is the group's own.
void ql_ptx_group_barrier(i32 id);
/// The value of the thread `lane ^ mask` of the same warp; all 32 take part.
u32 ql_ptx_shuffle_xor(u32 value, i32 mask);
/// The value of the warp's first thread; all 32 take part. What follows from it is in
/// registers that the warp's threads share.
u32 ql_ptx_uniform(u32 value);
/// Whether `value` is not 0 in any of the 32 threads of the warp, which all take part.
i32 ql_ptx_any(i32 value);

// Arithmetic.
/// c + the dot product of 4 unsigned bytes of `a` with 4 signed bytes of `b`.
i32 ql_ptx_dp4a(u32 a, u32 b, i32 c);
/// Result byte i is the byte of {b, a} (b is bytes 4..7) that bits 4i..4i+2 of
/// `selector` name.
u32 ql_ptx_byte_permute(u32 a, u32 b, u32 selector);
/// 2^x to within 2 ulp; subnormal numbers count as zero.
float ql_ptx_exp2(float x);
/// 1 / x to within 1 ulp, 1 <= x < 2.
float ql_ptx_reciprocal(float x);

// Tensor cores (sm_80), by whole warps. With g = lane / 4 and t = lane % 4, a lane
// holds of the matrices of m16n8k32 (k16: without those marked *): of A, unsigned,
// bytes 4 t .. 4 t + 3 of row g, of row g + 8, * bytes 16 + 4 t .. of row g, * of
// row g + 8; of B, signed, of column g bytes 4 t .. 4 t + 3, * bytes 16 + 4 t ..; of C
// and the result C + A B, int32, row g columns 2 t and 2 t + 1, row g + 8 the same.
u32x4 ql_ptx_mma32(u32x4 a, u32x2 b, u32x4 c);
u32x4 ql_ptx_mma16(u32x2 a, u32 b, u32x4 c);
/// The same for m16n8k16 of f16 with f32 sums: words of A are columns 2 t and 2 t + 1
/// of row g, of row g + 8, then columns 8 + 2 t and 9 + 2 t of both; of B rows 2 t and
/// 2 t + 1 of column g, then 8 + 2 t and 9 + 2 t. Products are exact, subnormal
/// operands too; sums are rounded, in any order and way that keeps 23 bits below the
/// largest term.
f32x4 ql_ptx_mma_half(u32x4 a, u32x2 b, f32x4 c);
/// a b + c of two f16 in a word, each rounded once, subnormal numbers too.
u32 ql_ptx_half_fma(u32 a, u32 b, u32 c);
/// Two numbers rounded to f16, in a word.
u32 ql_ptx_half_pair(float low, float high);
// The same by warp groups (sm_90a): four warps from a multiple of 4 on, each with 16
// rows of A; B is in shared memory, of `tokens` rows (16, 32 .. 256) of 16 columns: for
// each 8 tokens 8 rows of 128 bytes, of which piece p of 16 bytes is at place p ^ r in
// row r, from a multiple of 1024 on. Sums are those of ql_ptx_mma_half, side by side.
// Products of a group are under way from the commit to the wait; until then nothing
// touches sums and A, and no copy replaces B.
void ql_ptx_wgmma(float *sums, i32 tokens, u32x4 a, u64 descriptor);
/// What says where B is: `x` is the first of the 16 columns.
u64 ql_ptx_wgmma_descriptor(QL_SHARED const u8 *x);
/// Some columns on, in the same rows of 128 bytes.
u64 ql_ptx_wgmma_columns(u64 descriptor, i32 columns);
void ql_ptx_wgmma_fence(); ///< before the first product after registers were written
void ql_ptx_wgmma_commit();
void ql_ptx_wgmma_wait(i32 pending); ///< groups that may be under way still: 0 or 1
/// The value; what follows from it is not computed before operations that came before.
u32 ql_ptx_pin(u32 value);

/// Four matrices of 8 rows of 16 bytes: lane 8 i + r gives the address of row r of
/// matrix i, and gets of each matrix the word t of row g.
u32x4 ql_ptx_load_matrices(QL_SHARED const void *row);

// Memory.
/// 16, 8, 4 bytes of constant memory that is read once: not kept in L1.
u32x4 ql_ptx_stream16(const void *p);
u32x2 ql_ptx_stream8(const void *p);
u32 ql_ptx_stream4(const void *p);
/// 16 bytes written by another kernel: read from L2.
u32x4 ql_ptx_load16_l2(const void *p);
/// Adds one to a counter that blocks share; what it was before. What was written before
/// an earlier call, by threads that had met its thread since, is seen after it.
u32 ql_ptx_count(u32 *counter);
/// Waits until a counter is `value`, which running blocks take it to.
void ql_ptx_await_count(u32 *counter, u32 value);

// Clusters of `size` blocks (sm_90); `size` is only for the emulated device. The
// barrier is for all threads: writes before an arrival are seen after the wait.
i32 ql_ptx_cluster_rank(i32 size);
void ql_ptx_cluster_arrive(i32 size);
void ql_ptx_cluster_wait();
/// Stores where `at` is in the shared memory of block `rank` of the cluster.
void ql_ptx_cluster_store(QL_SHARED float *at, i32 rank, float value);
/// The value where `at` is in the shared memory of block `rank` of the cluster.
float ql_ptx_cluster_load(QL_SHARED const float *at, i32 rank);

/// Arrives where `barrier` is in block `rank`. It hands on nothing but that the thread is
/// done with reading what it read: a release would be a memory barrier each time.
void ql_ptx_cluster_mbarrier_arrive(QL_SHARED u64 *barrier, i32 rank);
/// A bulk copy to where `dst` is in both blocks of a cluster of two, which counts on the
/// mbarrier at `barrier` in each of them.
void ql_ptx_bulk_copy_pair(QL_SHARED void *dst, const void *src, u32 bytes,
                           QL_SHARED u64 *barrier);

// Programmatic dependent launch (sm_90): let the next kernel of the stream
// start; wait until the previous one is complete and its writes are visible.
void ql_ptx_launch_dependents();
void ql_ptx_wait_prior_grids();

// Bulk copies (sm_90): global memory to shared memory, 16-byte aligned, bytes a
// multiple of 16, completing on an mbarrier.
//
// A copy writes through the async proxy, threads read and write through the generic
// one, and no barrier orders the two. The rule, for every byte of shared memory:
//
//   thread, then copy   every thread that has read or written the bytes executes
//                       ql_ptx_proxy_fence(), then a barrier makes the thread that
//                       issues the copy wait for all of them. Without the fence a load
//                       may still be under way when the copy lands.
//   copy, then thread   the thread waits for the copy's mbarrier; nothing else is
//                       needed, as the completion is a generic write.
//   mbarrier, then copy ql_ptx_mbarrier_fence() after the initialization.
//
// cp.async (below) writes through the generic proxy: there a barrier suffices.
void ql_ptx_mbarrier_init(QL_SHARED u64 *barrier); ///< one arrival per phase
// What mbarriers have without bulk copies (sm_80; parities sm_80 with PTX 7.1).
void ql_ptx_mbarrier_init_count(QL_SHARED u64 *barrier, i32 arrivals);
void ql_ptx_mbarrier_arrive(QL_SHARED u64 *barrier);
void ql_ptx_mbarrier_poll(QL_SHARED u64 *barrier, u32 parity); ///< waits all the same
void ql_ptx_mbarrier_fence();
void ql_ptx_mbarrier_expect(QL_SHARED u64 *barrier, u32 bytes); ///< and arrive
void ql_ptx_mbarrier_wait(QL_SHARED u64 *barrier, u32 parity);
/// Orders what this thread did in shared memory before the bulk copies that are issued
/// after it, by this thread or after a barrier.
void ql_ptx_proxy_fence();
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
