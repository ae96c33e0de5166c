/*===- peer.h - How another project's kernels are timed -----------*- C -*-===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* A peer is a shared library with one symbol, `ql_peer_open`. The benchmark
|* loads it with --peer, gives it device memory, and times its launches in the
|* same process, by the same method and in the same run as ours. Adapters are
|* written and built by whoever measures, against their own checkout of the
|* other project; README.md says what an adapter has to do.
|*
\*===----------------------------------------------------------------------===*/
#ifndef QLINEAR_BENCHMARKS_GPU_PEER_H
#define QLINEAR_BENCHMARKS_GPU_PEER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QL_PEER_VERSION 1

struct CUstream_st;

/* What a linear of the workload is to be stored as. */
enum ql_peer_codes { QL_PEER_INT4_G32 = 4, QL_PEER_INT6_G16 = 6 };

typedef struct ql_peer {
  uint32_t version; /* QL_PEER_VERSION */
  const char *name; /* "executorch": the row of the tables */

  /* Bytes of an N x K weight, and of the scratch memory of a call with M rows;
   * 0: not supported, and the case is left out of the tables. */
  size_t (*weight_bytes)(int codes, int64_t n, int64_t k);
  size_t (*scratch_bytes)(int codes, int64_t m, int64_t n, int64_t k);

  /* Enqueues filling `weight` with valid random contents. */
  void (*fill)(int codes, void *weight, int64_t n, int64_t k, uint64_t seed,
               struct CUstream_st *stream);

  /* Enqueues y = x W^T on `stream`, the peer's activation quantization
   * included: x is M x K in bf16 (x_bf16) and in f32 (x_f32), the same values;
   * y is M x N of the peer's result type (4 bytes an element are there). Must be
   * capturable into a CUDA graph. Returns 0, or 1 if this M is not supported. */
  int (*run)(int codes, const void *weight, const void *x_bf16, const float *x_f32,
             void *y, void *scratch, int64_t m, int64_t n, int64_t k,
             struct CUstream_st *stream);
} ql_peer;

const ql_peer *ql_peer_open(void);

/* The benchmark itself, in libqlinear-gpu-bench.so: what qlinear-gpu-bench does with
 * these arguments, with `count` peers besides those of --peer. For adapters in a
 * language with a runtime of its own (humming_peer.py). Returns the exit status. */
__attribute__((visibility("default"))) int ql_gpu_bench(int argc,
                                                        const char *const *argv,
                                                        const ql_peer *const *peers,
                                                        size_t count);

#ifdef __cplusplus
}
#endif
#endif
