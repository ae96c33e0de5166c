//===- Ceilings.h - How fast bytes can be read, and the clock ---*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_BENCHMARKS_GPU_CEILINGS_H
#define QLINEAR_BENCHMARKS_GPU_CEILINGS_H

#include <cstddef>
#include <cstdint>
#include <cuda_runtime.h>

namespace bench {

enum class ReadMethod { plain, dependent, independent };

/// Enqueues a read of `bytes` bytes (whole 2304-byte stages are read).
cudaError_t enqueueRead(ReadMethod method, const void *data, size_t bytes,
                        int multiprocessors, uint32_t *sink,
                        cudaStream_t stream);
/// Enqueues a probe of the clock: a thread counts its cycles, `out[0]`, of some
/// nanoseconds, `out[1]` (50 000 or more).
cudaError_t enqueueClock(uint64_t *out, cudaStream_t stream);
cudaError_t enqueueCopy(const void *from, void *to, size_t bytes,
                        int multiprocessors, cudaStream_t stream);

} // namespace bench
#endif
