//===- CublasPeer.cpp - cuBLAS on bf16 weights, as a peer ------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a linear costs that is not quantized: an adapter (peer.h) that loads the cuBLAS
// of the machine it runs on, libcublas.so.13 or what QLINEAR_CUBLAS names.
//
//===----------------------------------------------------------------------===//
#include "peer.h"

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace {

[[noreturn]] void fail(const char *what, const char *why) {
  std::fprintf(stderr, "cuBLAS: %s: %s\n", what, why);
  std::exit(1);
}

class Cublas {
public:
  static Cublas &get() {
    static Cublas cublas;
    return cublas;
  }
  void check(cublasStatus_t status) const {
    if (status != CUBLAS_STATUS_SUCCESS)
      fail("a call failed", std::to_string(int(status)).c_str());
  }

  // C++ has overloads of these names.
  cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int,
                         int, const void *, const void *, cudaDataType, int,
                         const void *, cudaDataType, int, const void *, void *,
                         cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);
  decltype(&cublasSetStream) setStream;
  decltype(&cublasSetWorkspace) setWorkspace;
  cublasHandle_t handle = nullptr;

private:
  Cublas() {
    const char *named = std::getenv("QLINEAR_CUBLAS");
    void *library = dlopen(named ? named : "libcublas.so.13", RTLD_NOW | RTLD_LOCAL);
    if (!library)
      fail("it is not there", dlerror());
    auto find = [&](auto &function, const char *name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
          dlsym(library, name));
      if (!function)
        fail(name, dlerror());
    };
    decltype(&cublasCreate) create;
    find(create, "cublasCreate_v2");
    find(gemm, "cublasGemmEx");
    find(setStream, "cublasSetStream_v2");
    find(setWorkspace, "cublasSetWorkspace_v2");
    check(create(&handle));
  }
};

constexpr size_t kWorkspace = 64 << 20;

size_t weightBytes(int, int64_t n, int64_t k) { return size_t(n * k) * 2; }
size_t scratchBytes(int, int64_t, int64_t, int64_t) { return kWorkspace; }

/// Random numbers, a piece of them again and again.
void fill(int, void *weight, int64_t n, int64_t k, uint64_t seed, CUstream_st *stream) {
  Cublas::get(); // not while a graph is captured
  std::vector<uint16_t> piece(size_t(1) << 22);
  std::mt19937_64 random(seed);
  for (uint16_t &v : piece) // +- 2^-7 .. 2^-5
    v = uint16_t((random() & 0x80FF) | 0x3C00);
  size_t all = weightBytes(0, n, k), bytes = piece.size() * 2;
  for (size_t at = 0; at < all; at += bytes)
    if (cudaMemcpyAsync(static_cast<char *>(weight) + at, piece.data(),
                        std::min(bytes, all - at), cudaMemcpyHostToDevice,
                        stream) != cudaSuccess)
      fail("fill", "a copy failed");
  cudaStreamSynchronize(stream); // the piece is gone
}

int run(int, const void *weight, const void *x, const float *, void *y, void *scratch,
        int64_t m, int64_t n, int64_t k, CUstream_st *stream) {
  Cublas &c = Cublas::get();
  const float one = 1, zero = 0;
  c.check(c.setStream(c.handle, stream));
  c.check(c.setWorkspace(c.handle, scratch, kWorkspace));
  c.check(c.gemm(c.handle, CUBLAS_OP_T, CUBLAS_OP_N, int(n), int(m), int(k), &one,
                 weight, CUDA_R_16BF, int(k), x, CUDA_R_16BF, int(k), &zero, y,
                 CUDA_R_16BF, int(n), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  return 0;
}

} // namespace

extern "C" __attribute__((visibility("default"))) const ql_peer *ql_peer_open() {
  static const ql_peer peer = {QL_PEER_VERSION, "cublas bf16", weightBytes,
                               scratchBytes,    fill,          run};
  return &peer;
}
