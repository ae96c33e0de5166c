//===- Ceilings.cu - How fast bytes can be read ---------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels that read a weight and do nothing with it, launched as the linears are.
//
//   plain        16-byte loads, launched one after the other
//   dependent    per-warp rings of bulk copies, launched with programmatic
//                dependent launch; copies start before the previous launch has
//                ended, their bytes are used after it: what a linear of a chain
//                can do at best, since its input is the previous one's output
//   independent  16-byte loads that wait for nothing: no chain can do this
//
//===----------------------------------------------------------------------===//
#include "Ceilings.h"

using namespace bench;

namespace {

/// A result that is never written, so that no load is dead.
__device__ inline void keep(uint32_t x, uint32_t *sink) {
  if (x == 0x9E3779B9u)
    *sink = x;
}

__device__ inline uint4 loadStreaming(const uint4 *p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

template <bool Wait>
__global__ void __launch_bounds__(512)
    readLoads(const uint4 *p, size_t count, uint32_t *sink) {
  constexpr int kBatch = 8;
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  if constexpr (Wait)
    asm volatile("griddepcontrol.wait;" ::: "memory");
  size_t stride = size_t(gridDim.x) * blockDim.x;
  size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
  uint32_t x = 0;
  for (; i + (kBatch - 1) * stride < count; i += kBatch * stride) {
    uint4 v[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      v[b] = loadStreaming(p + i + b * stride);
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      x ^= v[b].x ^ v[b].y ^ v[b].z ^ v[b].w;
  }
  for (; i < count; i += stride) {
    uint4 v = loadStreaming(p + i);
    x ^= v.x ^ v.y ^ v.z ^ v.w;
  }
  if constexpr (!Wait)
    asm volatile("griddepcontrol.wait;" ::: "memory");
  keep(x, sink);
}

constexpr int kRingWarps = 12, kRingStages = 3, kRingStageBytes = 2304;

constexpr size_t ringSharedBytes() {
  return size_t(kRingWarps) * kRingStages * (kRingStageBytes + 8);
}

__device__ inline uint32_t sharedAddress(const void *p) {
  return uint32_t(__cvta_generic_to_shared(p));
}

/// `bytes` is a multiple of kRingStageBytes.
__global__ void __launch_bounds__(kRingWarps * 32)
    readRing(const uint8_t *p, size_t bytes, uint32_t *sink) {
  extern __shared__ __align__(128) uint8_t shared[];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  size_t stages = bytes / kRingStageBytes;
  size_t first = stages * (blockIdx.x * kRingWarps + warp) /
                 (size_t(gridDim.x) * kRingWarps);
  size_t last = stages * (blockIdx.x * kRingWarps + warp + 1) /
                (size_t(gridDim.x) * kRingWarps);
  uint8_t *ring = shared + warp * kRingStages * kRingStageBytes;
  uint32_t bars = sharedAddress(shared) +
                  kRingWarps * kRingStages * kRingStageBytes +
                  warp * kRingStages * 8;
  uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;"
               : "=l"(policy));
  auto fetch = [&](size_t stage, int slot) {
    uint32_t bar = bars + slot * 8;
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar),
                 "r"(kRingStageBytes)
                 : "memory");
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::"
                 "bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
                     sharedAddress(ring + slot * kRingStageBytes)),
                 "l"(p + stage * kRingStageBytes), "r"(kRingStageBytes),
                 "r"(bar), "l"(policy)
                 : "memory");
  };
  if (lane == 0) {
    for (int s = 0; s < kRingStages; ++s)
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(bars + s * 8)
                   : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    for (int s = 0; s < kRingStages && first + s < last; ++s)
      fetch(first + s, s);
  }
  __syncwarp();
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  asm volatile("griddepcontrol.wait;" ::: "memory");
  uint32_t x = 0, phase = 0;
  int slot = 0;
  for (size_t stage = first; stage < last; ++stage) {
    asm volatile("{\n.reg .pred done;\nagain:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n}" ::"r"(bars + slot * 8),
                 "r"(phase)
                 : "memory");
#pragma unroll
    for (int b = 0; b < (kRingStageBytes + 511) / 512; ++b) {
      int at = b * 512 + lane * 16;
      if (at < kRingStageBytes) {
        uint4 v = *(const uint4 *)(ring + slot * kRingStageBytes + at);
        x ^= v.x ^ v.y ^ v.z ^ v.w;
      }
    }
    __syncwarp();
    if (lane == 0 && stage + kRingStages < last)
      fetch(stage + kRingStages, slot);
    if (++slot == kRingStages) {
      slot = 0;
      phase ^= 1;
    }
  }
  keep(x, sink);
}

__global__ void __launch_bounds__(512)
    copyStreaming(const uint4 *p, uint4 *q, size_t count) {
  size_t stride = size_t(gridDim.x) * blockDim.x;
  for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += stride)
    q[i] = loadStreaming(p + i);
}

__global__ void countCycles(uint64_t *out) {
  auto now = [] {
    uint64_t ns;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns));
    return ns;
  };
  uint64_t start = now(), end;
  int64_t cycles = clock64();
  do
    end = now();
  while (end - start < 50000);
  out[0] = uint64_t(clock64() - cycles);
  out[1] = end - start;
}

template <typename... Params, typename... Args>
cudaError_t launch(void (*kernel)(Params...), int grid, int block, size_t shared,
                   bool dependent, cudaStream_t stream, Args... args) {
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(grid);
  config.blockDim = dim3(block);
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = dependent ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, Params(args)...);
}

} // namespace

cudaError_t bench::enqueueRead(ReadMethod method, const void *data, size_t bytes,
                               int multiprocessors, uint32_t *sink,
                               cudaStream_t stream) {
  switch (method) {
  case ReadMethod::plain:
    return launch(readLoads<true>, 4 * multiprocessors, 512, 0, false, stream,
                  (const uint4 *)data, bytes / 16, sink);
  case ReadMethod::independent:
    return launch(readLoads<false>, 4 * multiprocessors, 512, 0, true, stream,
                  (const uint4 *)data, bytes / 16, sink);
  case ReadMethod::dependent: {
    static cudaError_t prepared = cudaFuncSetAttribute(
        readRing, cudaFuncAttributeMaxDynamicSharedMemorySize,
        int(ringSharedBytes()));
    if (prepared != cudaSuccess)
      return prepared;
    return launch(readRing, multiprocessors, kRingWarps * 32, ringSharedBytes(),
                  true, stream, (const uint8_t *)data, bytes, sink);
  }
  }
  return cudaErrorInvalidValue;
}

cudaError_t bench::enqueueClock(uint64_t *out, cudaStream_t stream) {
  return launch(countCycles, 1, 1, 0, false, stream, out);
}

cudaError_t bench::enqueueCopy(const void *from, void *to, size_t bytes,
                               int multiprocessors, cudaStream_t stream) {
  return launch(copyStreaming, 4 * multiprocessors, 512, 0, false, stream,
                (const uint4 *)from, (uint4 *)to, bytes / 16);
}
